//===- Hash.h - Content hashes ------------------------------------------------------------------------===//
//
// The 128-bit XXH3 hash of bytes, written as 32 hexadecimal digits. It names cache entries, checks their
// files and tells generated code apart; it guards against accidents, not against attackers (directory
// ownership does that). Called by the kernel cache, the tuning database and the compiler.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <string>
#include <string_view>

namespace lathe {

/// 32 lower-case hexadecimal digits, the most significant first. The same on every machine and in every
/// version.
std::string contentHash(std::string_view bytes);

} // namespace lathe
