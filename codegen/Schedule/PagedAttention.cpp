//===- PagedAttention.cpp - The schedule for attention over a paged cache ----------------------------===//
//
// Bound: a decode step reads each cache row once for all query rows of its sequence, 2·rows FLOP per byte;
// below about 120 rows memory is the limit, above it the tensor cores. One CTA holds 64 query rows; its
// producer warpgroup brings KV tiles by TMA into a ring, its consumer warpgroups share the scores by tokens
// and the output by columns:
//
//   producer   acquire stage · read table · TMA boxes          (runs ahead by the ring's depth)
//   consumer w 1 S = Q·Kᵀ of its own tile          4 P = 2^(f·S-m), sums, to bf16, to shared memory
//              2 mask, row maxima, to shared memory  5 O[:, w] += P·V of its own tile, from registers
//              3 event: maxima of all tiles known    6 event: P of all tiles written; O[:, w] += P·V of the
//              others
//
//   time ──▶   tile 0..W-1                          tile W..2W-1
//   producer   load │ load │ load │ load ···········▶ (release)
//   consumer 0 QK │max│•│exp│PV own│•│PV other│release│ QK …          • = event of all consumers
//   consumer 1 QK │max│•│exp│PV own│•│PV other│release│ QK …
//
// The output stays in registers (64 × valueDim / W float32 a warpgroup), softmax is online in base 2
// (f = scale · log2 e) with float32 statistics. Work items come from a list that the plan kernel wrote on the
// device.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/PagedAttention.h"

#include "lathe/codegen/Conversion/Emit.h"
#include "lathe/codegen/Schedule/AttentionKernels.h"
#include "lathe/support/Error.h"

#include <algorithm>

using namespace mlir;

namespace lathe::codegen {

static void requireServed(const AttentionPattern &pattern, const Config &config, const Target &target) {
  const AttentionProblem &problem = pattern.problem;
  if (Verdict verdict = check(problem, config, target); !verdict)
    throw UserError({problem.name, verdict.constraint + ": " + verdict.reason, config.str(),
                     "choose another config (lathe tune --explain lists the constraints)"});
  if (!pattern.pureScale)
    throw UserError({problem.name,
                     "the schedule serves scores that are a contraction times one f32 parameter", "",
                     "move other factors into the parameter"});
  if (pattern.logSumExp.empty())
    throw UserError({problem.name, "the schedule writes the log-sum-exp", "no such output",
                     "add an output p.logSumExp() to the description"});
}

static void describe(Manifest &manifest, const AttentionBuild &build, const Target &target) {
  const AttentionProblem &problem = build.pattern.problem;
  manifest.description = problem.name;
  manifest.arch = target.arch;
  manifest.heads = problem.heads;
  manifest.queryTokens = problem.queryTokens;
  manifest.keyDim = problem.keyDim;
  manifest.valueDim = problem.valueDim;
  manifest.page = problem.page;
  manifest.config = build.config;
  manifest.kvTile = build.unitTokens();
  manifest.rowBlocks = build.resources.rowBlocks;
  manifest.splitPolicy = static_cast<int>(build.config.split);
  manifest.fixedSplits = build.config.fixedSplits;
  manifest.combineColumns = build.combine().columns;
  manifest.tensorMaps = {{"q", 64, build.config.rowsPerCta},
                         {"kv", 64, std::min(problem.page, build.config.kvTile / build.config.cluster)}};
}

OwningOpRef<ModuleOp> buildPagedAttention(const AttentionPattern &pattern, const Config &config,
                                          const Target &target, Manifest &manifest) {
  requireServed(pattern, config, target);
  AttentionBuild build{pattern, config, memoryPlan(pattern.problem, config),
                       resources(pattern.problem, config)};
  describe(manifest, build, target);
  MLIRContext *context = pattern.kernel->getContext();
  OpBuilder builder(context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder, builder.getUnknownLoc());
  declareShared(*module);
  builder.setInsertionPointToEnd(module->getBody());
  buildPlanKernel(builder, build, manifest.plan);
  buildAttendKernel(builder, build, manifest.attend);
  buildCombineKernel(builder, build, manifest.combine);
  return module;
}

} // namespace lathe::codegen
