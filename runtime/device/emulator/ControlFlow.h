//===- ControlFlow.h - Blocks, meetings, live registers ----------------------------------------------===//
//
// What must be known of a whole kernel before it runs: where lanes that part at a branch meet again (the
// nearest block on all ways to the end), and which registers are alive together, so that others can share
// rows of the register file. Called by decode().
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Program.h"

namespace lathe::runtime::emulator {

/// Instructions that run one after the other.
struct Block {
  uint32_t begin = 0, end = 0; ///< pcs
  std::vector<uint32_t> next;  ///< Blocks; none at the end of the kernel.
};

struct ControlFlow {
  std::vector<Block> blocks;
  std::vector<uint32_t> blockOf; ///< By pc.
};

/// How a decoded instruction goes on.
bool isBranch(const Instr &instr);
bool isExit(const Instr &instr);
bool isRegisterBudget(const Instr &instr);

ControlFlow buildControlFlow(const Program &program);
/// Sets Instr::meeting of all branches.
void setMeetings(Program &program, const ControlFlow &flow);
/// Replaces virtual registers by rows, counts rows, and fills Program::pressures.
void assignRows(Program &program, const ControlFlow &flow);

} // namespace lathe::runtime::emulator
