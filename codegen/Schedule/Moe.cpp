//===- Moe.cpp - The schedule for mixtures of experts ------------------------------------------------===//
//
// See Moe.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/Moe.h"

#include "lathe/codegen/Conversion/Emit.h"
#include "lathe/codegen/Schedule/GatePlan.h"
#include "lathe/codegen/Schedule/MoeKernels.h"
#include "lathe/codegen/Schedule/RoutePlan.h"
#include "lathe/support/Error.h"

using namespace mlir;

namespace lathe::codegen {

static void describe(MoeManifest &manifest, const MoeBuild &build, const Target &target) {
  const MoeProblem &problem = build.problem();
  manifest.description = problem.name;
  manifest.arch = target.arch;
  manifest.router = problem.router == MoeRouter::Given ? "given" : "logits";
  manifest.logits = std::string(name(problem.logits));
  if (problem.gate) {
    const GatePlan gate = gatePlan(problem, build.config);
    manifest.gate = std::string(name(*problem.gate));
    manifest.gateRows = gate.rows;
    manifest.gateExperts = gate.experts;
  }
  manifest.bias = problem.bias;
  manifest.offset = problem.offset;
  manifest.routedExperts = problem.routedExperts;
  manifest.experts = problem.experts;
  manifest.topK = problem.topK;
  manifest.hidden = problem.hidden;
  manifest.intermediate = problem.intermediate;
  manifest.halves = problem.halves;
  manifest.shared = problem.shared;
  manifest.slotTile = moeSlotTile;
  manifest.tokenTile = build.config.tokenTile;
  manifest.ctasPerSm = build.config.ctasPerSm;
  manifest.routeRows = routeRows(problem);
  manifest.routeBlocks = routeBlocks(problem);
  manifest.routeScratchWords = routeScratchWords(problem);
  manifest.config = build.config;
  manifest.permute = build.config.permute;
  manifest.atomic = build.config.atomic;
  manifest.oneLaunch = build.config.oneLaunch;
  const int weightRows = 64 * build.config.consumers; // Of a box.
  manifest.tensorMaps = {
      {"w1", 64, weightRows}, {"w2", 64, weightRows}, {"activated", 64, moeRowBox(build.config)}};
  if (build.config.permute)
    manifest.tensorMaps.push_back({"permuted", 64, moeRowBox(build.config)});
  if (problem.shared > 0) {
    manifest.tensorMaps.push_back({"shared1", 64, weightRows});
    manifest.tensorMaps.push_back({"shared2", 64, weightRows});
  }
}

OwningOpRef<ModuleOp> buildMoe(const MoePattern &pattern, const MoeConfig &config, const Target &target,
                               MoeManifest &manifest) {
  if (Verdict verdict = check(pattern.problem, config, target); !verdict)
    throw UserError({pattern.problem.name, verdict.constraint + ": " + verdict.reason, config.str(),
                     "choose another config"});
  const MoeBuild build{pattern, config, moeMemory(config)};
  describe(manifest, build, target);
  OpBuilder builder(pattern.kernel->getContext());
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder, builder.getUnknownLoc());
  declareShared(*module);
  builder.setInsertionPointToEnd(module->getBody());
  if (pattern.problem.gate)
    buildGateKernel(builder, build, manifest.gateKernel);
  buildRouteKernel(builder, build, manifest.route);
  if (config.permute)
    buildPermuteKernel(builder, build, manifest.permuteKernel);
  if (config.oneLaunch) {
    buildExpertsKernel(builder, build, manifest.expertsKernel);
  } else {
    buildUpKernel(builder, build, manifest.up);
    buildDownKernel(builder, build, manifest.down);
  }
  buildMoeCombineKernel(builder, build, manifest.combine);
  return module;
}

} // namespace lathe::codegen
