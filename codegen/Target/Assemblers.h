//===- Assemblers.h - The assemblers that may exist on a machine -------------------------------------===//
//
// One interface over the PTX compiler library linked into the process and the ptxas program, so that the
// chain in Assemble.cpp is a list. Both get the same options; what one reports, the other reports. Called by
// Assemble.cpp only.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lathe::codegen {

/// What one run of an assembler produced. Legal output may still break a rule of ours: the log decides.
struct AssemblerRun {
  bool ok = false;
  std::string cubin; ///< Empty unless ok.
  std::string log;   ///< Information and errors, verbatim.
};

class Assembler {
public:
  virtual ~Assembler() = default;
  virtual std::string name() const = 0; ///< "nvptxcompiler 13.0", "ptxas 13.0": tool and toolkit version.
  virtual AssemblerRun run(const std::string &ptx, const std::string &arch) const = 0;
};

/// Options that every assembler gets: architecture, optimisation level 3, verbose, no debug sections.
std::vector<std::string> assemblerOptions(const std::string &arch);

/// The library linked into this process; null when it was not there at build time.
std::unique_ptr<Assembler> makeNvptxCompiler();

/// ptxas of CUDA 12.8 or newer (PTX 8.7); null when there is none. `whyNot` then says what was found instead.
std::unique_ptr<Assembler> makePtxas(std::string *whyNot = nullptr);

} // namespace lathe::codegen
