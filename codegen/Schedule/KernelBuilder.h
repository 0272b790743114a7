//===- KernelBuilder.h - Kernels with named arguments ------------------------------------------------===//
//
// Creates a tile.kernel from a list of argument names and kinds, and the manifest entry that says the same to
// the runtime, so that the two cannot disagree. Used by the schedules.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Conversion/Emit.h"
#include "lathe/codegen/IR/TileDialect.h"
#include "lathe/support/Manifest.h"

#include "llvm/ADT/StringMap.h"

namespace lathe::codegen {

/// A kernel under construction: an Emit at the end of its body, and its arguments by name.
class KernelBuilder : public Emit {
public:
  /// `entry` has name, threads, sharedBytes and arguments set.
  KernelBuilder(mlir::OpBuilder &builder, mlir::Location loc, const KernelEntry &entry);
  Value operator[](llvm::StringRef name) const { return arguments.lookup(name); }
  /// Names the kernel's shared memory, where it addresses all of it as words without tile operations.
  void nameScratch(llvm::StringRef name);
  /// Begins the code of a role (a body of tile.roles); gives the warpgroup's number in it.
  Value enterRole(mlir::Region &region);
  /// Registers of a thread at launch, which the roles then deal out; without it as many as fit.
  void capRegisters(int registers) { kernel.setMaxRegisters(uint32_t(registers)); }
  /// Waits for all threads of the CTA or, where there is more than one, of the cluster.
  void syncAll(int cluster);
  /// Writes the terminator; the builder is behind the kernel afterwards.
  void finish();

private:
  tile::KernelOp kernel;
  llvm::StringMap<Value> arguments;
};

/// Elements `index` (i32) of a global i32 array.
mlir::Value loadI32(Emit &e, mlir::Value array, mlir::Value index);
void storeI32(Emit &e, mlir::Value value, mlir::Value array, mlir::Value index);

/// Where a row's results go: offset of its first output element and of its logarithm, from the strides among
/// the arguments. `row` counts query tokens and heads of one sequence.
mlir::Value outOffset(KernelBuilder &k, mlir::Value sequence, mlir::Value row, int heads);
mlir::Value lseOffset(KernelBuilder &k, mlir::Value sequence, mlir::Value row, int heads);

/// Names and kinds of the output arguments that outOffset and lseOffset use.
std::vector<KernelArgument> outputArguments();

} // namespace lathe::codegen
