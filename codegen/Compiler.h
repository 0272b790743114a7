//===- Compiler.h - From a description to an artifact ------------------------------------------------===//
//
// The compiler's only public face: a dsl::Kernel and a Config (attention) or MoeConfig (mixtures of experts)
// go in, PTX, cubin and manifest come out. No LLVM type crosses it, so the tuner, the tools and the JIT see
// plain C++. Thread-safe: each call has its own contexts.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/Config.h"
#include "lathe/codegen/Schedule/MoeConfig.h"
#include "lathe/dsl/Kernel.h"
#include "lathe/support/Manifest.h"
#include "lathe/support/MoeManifest.h"

#include <concepts>
#include <string>
#include <vector>

namespace lathe::codegen {

/// Where the lowering can be looked at. Order is the way of the data.
enum class Stage { Dsl, Lathe, Tile, Nvvm, Llvm, Ptx, Sass };

/// Milliseconds of one named step.
struct StageTime {
  std::string name; ///< "import", "schedule", "lower", "translate", "optimize", "ptx", "assemble".
  double milliseconds = 0;
};

/// PTX, machine code and how to launch it.
template <class ManifestType>
struct ArtifactOf {
  std::string ptx;
  std::string cubin; ///< Empty when no assembler was found: the driver assembles at load ("driver").
  ManifestType manifest;
  std::vector<StageTime> times;
};
using Artifact = ArtifactOf<Manifest>;
using MoeArtifact = ArtifactOf<MoeManifest>;

struct CompileOptions {
  Target target;
  bool assemble = true; ///< False: stop at PTX.
};

/// Whether a description routes rows to experts: then it is compiled with a MoeConfig.
bool isMoe(const dsl::Kernel &kernel);

/// Recognises the pattern of a description. Throws UserError naming the expression that no schedule serves,
/// or the other family.
AttentionProblem analyze(const dsl::Kernel &kernel);
MoeProblem analyzeMoe(const dsl::Kernel &kernel);

/// Compiles. Throws UserError (a config or shape that check() rejects, a description of the other family) or
/// CompileError (a spill, a serialised WGMMA, an assembler error; a reproducer is written and its path is in
/// the message).
Artifact compile(const dsl::Kernel &kernel, const Config &config, const CompileOptions &options = {});
/// Of mixtures of experts. A template so that `{}` means the Config above.
template <std::same_as<MoeConfig> C>
MoeArtifact compile(const dsl::Kernel &kernel, const C &config, const CompileOptions &options = {});

/// Text of one stage. Sass needs nvdisasm or cuobjdump on the PATH; throws UserError where they are missing.
std::string emit(const dsl::Kernel &kernel, const Config &config, Stage stage,
                 const CompileOptions &options = {});
template <std::same_as<MoeConfig> C>
std::string emit(const dsl::Kernel &kernel, const C &config, Stage stage, const CompileOptions &options = {});

/// Version of everything that shapes generated code (Lathe and a digest of its sources, LLVM, assembler):
/// part of every cache key.
std::string compilerVersion();

} // namespace lathe::codegen
