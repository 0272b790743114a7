//===- Notes.h - What a PTX text says about itself ---------------------------------------------------===//
//
// PTX has lost the names: it addresses bytes of shared memory, and its .loc directives refer to lines of the
// printed tile module. The notes are PTX comments behind the text that give the names back, one JSON object a
// line, to people and to tools that run or check the PTX. Called by the compiler.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace lathe::codegen {

/// Prints the module and gives every operation its line in that text as its location.
std::string printWithLocations(mlir::ModuleOp module);

/// Lines about the kernels of a tile module, in its order: `lathe:kernel`, and of its shared memory
/// `lathe:buffer`, `lathe:barrier` and `lathe:array`, offsets in bytes.
std::string describeKernels(mlir::ModuleOp module);

/// The block of comments for the end of `ptx`: a heading, `kernels` as describeKernels() made them, and a
/// `lathe:op` line for each line of `tileText` that a .loc of the PTX refers to.
std::string notesFor(const std::string &ptx, const std::string &tileText, const std::string &kernels);

} // namespace lathe::codegen
