//===- Assemble.h - PTX to machine code --------------------------------------------------------------===//
//
// The first of: the PTX compiler library linked into the process, ptxas, nothing (the driver assembles when
// it loads). Never nvJitLink: it ignores setmaxnreg, then spills. Any log line about ignored register
// budgets, serialised WGMMA, spills or a stack frame is a failed compilation, not a slow kernel.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Manifest.h"

#include <map>
#include <string>

namespace lathe::codegen {

struct Assembled {
  std::string cubin;     ///< Empty when the driver must assemble.
  std::string assembler; ///< "nvptxcompiler 13.0", "ptxas 13.0", "driver".
  std::string log;       ///< What the assembler said, verbatim.
  std::map<std::string, KernelResources>
      resources; ///< By kernel name; PTX counts always, registers where assembled.
};

/// Which assembler would be used, without running it: "nvptxcompiler 13.0", "ptxas 13.0" or "driver".
/// LATHE_ASSEMBLER=nvptxcompiler|ptxas|driver forces one (throws UserError when it is not there).
std::string chosenAssembler();

/// Throws CompileError for an assembly error, a spill, a stack frame, an ignored setmaxnreg or a serialised
/// WGMMA; the PTX is written beside a reproducer path that the message names.
Assembled assemble(const std::string &ptx, const std::string &arch);

/// Counts of wgmma, TMA loads, mbarrier waits, setmaxnreg by kernel, from PTX text.
std::map<std::string, KernelResources> countInstructions(const std::string &ptx);

/// SASS text of a cubin through nvdisasm or cuobjdump on the PATH. Throws UserError when neither is there.
std::string disassemble(const std::string &cubin);

} // namespace lathe::codegen
