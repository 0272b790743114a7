//===- Print.h - A description as readable mathematics ------------------------------------------------===//
//
// The text of a kernel: a header with dimensions, inputs and parameters, then a line for each softmax and
// each output. It is canonical: two descriptions that mean the same give the same text, so cache keys are
// made of it. Called by `lathe inspect --emit dsl`, by the cache key, and by error messages (for single
// expressions).
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Kernel.h"

#include <string>

namespace lathe::dsl {

/// The whole description, several lines, ending in a newline.
std::string print(const Kernel &kernel);

/// One expression, operands in the order in which it was written, softmaxes in place.
std::string print(const Expr &expr);

/// "kv(batch, token, value)": how an element of an input is written.
std::string print(const TensorInfo &tensor, const std::vector<Expr> &indices);

} // namespace lathe::dsl
