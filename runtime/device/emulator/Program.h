//===- Program.h - A kernel ready to run -------------------------------------------------------------===//
//
// Decoded PTX: each instruction is a function over the 32 lanes of a warp with its operands resolved to rows
// of a register file; control flow knows where diverged lanes meet again; rows are shared by registers that
// are never alive together. Built once when a module is loaded, immutable, shared by all host threads.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Mix.h"
#include "lathe/runtime/device/emulator/Notes.h"
#include "lathe/runtime/device/emulator/Ptx.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lathe::runtime::emulator {

class Warp;
struct Instr;

/// Runs one instruction on the active lanes of a warp.
using Handler = void (*)(Warp &, const Instr &);

/// Registers that every program has: a place for results that nobody wants, and one that is always defined.
inline constexpr uint32_t sinkRegister = 0, constantRegister = 1, firstRegister = 2;

/// A register or a constant. Rows hold one value a lane: 4 bytes each, or 8; predicates are 32-bit masks.
struct Value {
  bool constant = false;
  ptx::RegisterClass kind = ptx::RegisterClass::Bits32;
  uint32_t reg = sinkRegister; ///< Virtual register; constantRegister for constants.
  uint32_t row = 0;            ///< In units of 128 bytes; an index for predicates.
};

struct Instr {
  Handler run = nullptr;
  const Value *ops = nullptr; ///< Results, then sources.
  uint16_t results = 0, sources = 0;
  Mix mix = Mix::Other;
  bool guarded = false, guardNegated = false;
  bool tracked = false; ///< Touches a register that some WGMMA uses.
  bool hinted = false;  ///< The last source is a cache policy.
  bool fresh = false;   ///< The first sources are the results' registers, whose old values play no part.
  Value guard;
  uint32_t detail = 0;              ///< Meaning is the handler's.
  int64_t offset = 0;               ///< Of an address.
  uint32_t target = 0, meeting = 0; ///< Of a branch: where it goes, where diverged lanes meet.

  const Value &result(int i = 0) const { return ops[i]; }
  const Value &source(int i) const { return ops[results + i]; }
};

/// An address among the operands of a bulk copy: source `source` plus `offset`, or the own shared memory at
/// `offset` where source is -1.
struct BulkOperand {
  int source = -1;
  int64_t offset = 0;
  uint64_t at(const Warp &warp, const Instr &instr, int lane) const;
};

inline constexpr int reductionWanted = 64;

/// What a bulk copy does (instructions/Bulk.cpp).
struct BulkDetail {
  int rank = 0; ///< Of the tensor map; 0: plain bytes.
  bool multicast = false;
  int reduction = -1; ///< -1: none; else add, min, max.
  int type = -1;      ///< Of a reduction's elements (Type), -1: the tensor map's.
  BulkOperand shared, global, barrier, map;
  int coordinates = 0, size = -1, mask = 0; ///< Numbers of sources; -1: there is none.
  uint32_t bytes = 0;                       ///< Of cp.async: to write.
  int ignores = -1;                         ///< Of cp.async: the predicate that says to read nothing.
};

/// Where an instruction stands.
struct CodeLine {
  int line = 0, sourceLine = 0;
};

/// What a register is called, for findings.
struct Program {
  std::string name;
  std::shared_ptr<const ptx::Module> module; ///< Owns the text.
  std::shared_ptr<const Notes> notes;
  const ptx::Kernel *kernel = nullptr;
  const KernelNotes *kernelNotes = nullptr; ///< Never null.

  std::vector<Instr> code; ///< Ends in an exit.
  std::vector<CodeLine> lines;
  std::vector<std::unique_ptr<Value[]>> operands; ///< What Instr::ops point into.

  uint32_t registers = firstRegister; ///< Virtual ones, by their first use in the code.
  std::vector<uint32_t> declared;     ///< From firstRegister on: which of the kernel's registers each is.
  uint32_t rows = 0;                  ///< Of a warp's file.
  uint32_t predicates = 0;
  std::vector<std::byte> constants;         ///< Rows.
  std::vector<uint32_t> constantPredicates; ///< 0 and all ones.
  std::vector<bool> ofWgmma;                ///< Of a virtual register.
  std::vector<BulkDetail> bulkDetails;      ///< What Instr::detail of bulk copies counts.
  std::vector<uint32_t> matrixInstructions; ///< pc of each wgmma.mma_async.

  uint32_t sharedStaticBytes = 0; ///< Declared with a size; dynamic memory follows.
  uint32_t dynamicOffset = 0;     ///< Of dynamic shared memory in a CTA's window.

  /// Least number of 32-bit registers that the code from the setmaxnreg at `pc` to the next one needs: values
  /// that are alive together and cannot be computed again.
  struct Pressure {
    uint32_t pc = 0, registers = 0, peakPc = 0;
  };
  std::vector<Pressure> pressures;

  std::string registerName(uint32_t reg) const;
};

/// Bytes at the start of a CTA's shared window that belong to the system, as on Hopper.
inline constexpr uint32_t reservedSharedBytes = 1024;

/// Decodes a kernel of a module. Throws DeviceError with the PTX line of an instruction that is not known.
std::shared_ptr<const Program> decode(std::shared_ptr<const ptx::Module> module, const ptx::Kernel &kernel,
                                      std::shared_ptr<const Notes> notes);

} // namespace lathe::runtime::emulator
