//===- Unserved.h - What no schedule serves ----------------------------------------------------------===//
//
// The error of patterns: every step that finds anything but what it looks for names the expression it stands
// at, what is not served there, and the way out. Called by the patterns.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/IR/LatheDialect.h"

#include <string>

namespace lathe::codegen {

/// The text of the description where the import left it, else the operation itself.
std::string describe(mlir::Operation *op);

/// Throws UserError: "kernel NAME: no schedule serves WHAT, got 'EXPRESSION'; WAYOUT".
[[noreturn]] void unserved(mlir::Operation *op, const std::string &what, std::string wayOut);

} // namespace lathe::codegen
