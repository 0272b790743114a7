//===- 2-compile.cpp - Lesson 2: from a description to PTX ---------------------------------------------===//
//
// Compiles MLA decode for an H100 on any machine, looks at the stages on the way, and at what the kernel asks
// of the hardware. The same as `lathe inspect --emit tile|ptx|resources`.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Compiler.h"
#include "lathe/dsl/models/Mla.h"

#include <cstdio>

using namespace lathe;

static void printHead(const char *title, const std::string &text, size_t bytes) {
  std::printf("== %s, %zu bytes\n%s\n\n", title, text.size(), text.substr(0, bytes).c_str());
}

int main() {
  const dsl::Kernel kernel = dsl::mlaDecode({.heads = 16});

  // What a schedule must know of the description, found in the mathematics.
  const codegen::AttentionProblem problem = codegen::analyze(kernel);
  std::printf("%d rows, %d key columns, %d of them the value, %d tokens a page\n\n", problem.rows(),
              problem.keyDim, problem.valueDim, problem.page);

  // Everything that depends on the machine is a Config. check() says no with a reason; the tuner never sees
  // such a one.
  const codegen::Target h100;
  const codegen::Config config = codegen::defaultConfig(problem, h100);
  codegen::Config greedy = config;
  greedy.kvTile = 64;
  greedy.stages = 12;
  const codegen::Verdict verdict = codegen::check(problem, greedy, h100);
  std::printf("%s\n12 stages of 64 tokens: %s\n\n", config.str().c_str(), verdict.reason.c_str());

  // The way of the data: what (lathe), how (tile), PTX.
  printHead("lathe", codegen::emit(kernel, config, codegen::Stage::Lathe), 1200);
  printHead("tile", codegen::emit(kernel, config, codegen::Stage::Tile), 1200);
  const codegen::Artifact artifact = codegen::compile(kernel, config);
  printHead("ptx", artifact.ptx, 400);

  for (const codegen::StageTime &time : artifact.times)
    std::printf("%-10s %7.1f ms\n", time.name.c_str(), time.milliseconds);
  const KernelResources &attend = artifact.manifest.attend.resources;
  std::printf(
      "attend: %d registers, %d bytes spilled, %d wgmma, %d TMA loads, %d bytes of shared memory (%s)\n",
      attend.registers, attend.spillBytes, attend.wgmmaCount, attend.tmaLoadCount,
      artifact.manifest.attend.sharedBytes, artifact.manifest.assembler.c_str());
  return !verdict && attend.wgmmaCount > 0 && attend.tmaLoadCount > 0 && attend.spillBytes == 0 ? 0 : 1;
}
