//===- Print.h - A description as readable mathematics ------------------------------------------------===//
//
// The text of a kernel: a header with dimensions, inputs and parameters, then a line for each softmax, each
// routing and each output. It is canonical: two descriptions that mean the same give the same text, so cache
// keys are made of it. Called by `lathe inspect --emit dsl`, by the cache key, and by error messages (for
// single expressions).
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Kernel.h"

#include <string>

namespace lathe::dsl {

/// The whole description, several lines, ending in a newline.
std::string print(const Kernel &kernel);

/// One expression, operands in the order in which it was written, softmaxes and routings in place.
std::string print(const Expr &expr);

/// One expression of a kernel as print(expr), but with the kernel's routings by the names that print(kernel)
/// gives them: for messages, which are long otherwise.
std::string print(const Kernel &kernel, const Expr &expr);

/// "kv(batch, token, value)": how an element of an input is written.
std::string print(const TensorInfo &tensor, const std::vector<Expr> &indices);

} // namespace lathe::dsl
