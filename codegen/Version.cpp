//===- Version.cpp - What shapes generated code ------------------------------------------------------===//
//
// Part of every cache key. The digest is of the sources of descriptions, code generator and manifests, so
// that a build does not find kernels of another one of the same version (cmake/SourceDigest.cmake).
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Compiler.h"
#include "lathe/codegen/Target/Assemble.h"

#include "llvm/Config/llvm-config.h"

#include <fmt/format.h>

#include "SourceDigest.inc"

namespace lathe::codegen {

std::string compilerVersion() {
  // With the versions of artifacts: cached ones of another are not found, rather than refused.
  return fmt::format("lathe {} (sources {}, artifacts {}, moe {}), llvm {}, {}", LATHE_VERSION,
                     LATHE_SOURCE_DIGEST, Manifest::currentVersion, MoeManifest::currentVersion,
                     LLVM_VERSION_STRING, chosenAssembler());
}

} // namespace lathe::codegen
