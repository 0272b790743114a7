//===- Dtype.h - Element types -----------------------------------------------------------------------===//
//
// The element types that tensors, fragments and kernel arguments can have, with sizes and names. One
// enumeration for all rooms, so that a description, a tensor map and a manifest speak of the same thing.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <string_view>

namespace lathe {

enum class Dtype : uint8_t { BF16, F16, F32, F64, I32, I64, Bool };

/// Bytes of one element.
int byteSize(Dtype type);

/// "bf16", "f16", "f32", "f64", "i32", "i64", "bool".
std::string_view name(Dtype type);

/// Inverse of name(). Throws UserError for anything else.
Dtype parseDtype(std::string_view text);

} // namespace lathe
