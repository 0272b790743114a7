//===- TuneMoeTest.cpp - What candidates for mixtures of experts are verified on ---------------------===//
//
// The small layer that stands for a model's on the emulator must serve every configuration that the model's
// layer serves, and be small; on a GPU the layer is the layer itself.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/tools/lathe/TuneMoeCandidates.h"

#include "lathe/tests/unit/support/Helpers.h"
#include "lathe/tools/lathe/MoeOptions.h"

using namespace lathe;
using namespace lathe::tools;
using autotuner::MoeWorkload;
using codegen::MoeConfig;

static MoeCandidateJob jobFor(const char *model, int expertParallel, const MoeWorkload &workload) {
  MoeShapeOptions options;
  options.model = model;
  options.expertParallel = expertParallel;
  return {options.shape(), workload};
}

TEST(TuneMoe, TheSmallLayerServesWhatTheModelServes) {
  for (const MoeCandidateJob &job :
       {jobFor("deepseek-v2-lite", 1, MoeWorkload(64)), jobFor("deepseek-v2", 8, MoeWorkload(1, 1)),
        jobFor("deepseek-v3", 8, MoeWorkload(4096)), jobFor("kimi-k2", 8, MoeWorkload(64))}) {
    const MoeVerification what = MoeVerification::small(job, MoeConfig{});
    const codegen::MoeProblem large = codegen::analyzeMoe(dsl::moeFfn(job.layer)),
                              small = codegen::analyzeMoe(dsl::moeFfn(what.layer));
    int served = 0;
    for (const MoeConfig &config : codegen::enumerateMoeConfigs(large))
      if (check(large, config, {})) {
        ++served;
        const codegen::Verdict verdict = check(small, config, {});
        ASSERT_TRUE(verdict) << config.str() << ": " << verdict.reason;
      }
    EXPECT_GT(served, 100);
    EXPECT_TRUE(what.crowded.small() && what.workload.small()) << what.text();
    EXPECT_EQ(small.partial, large.partial);
    EXPECT_EQ(small.scoring, large.scoring);
    EXPECT_EQ(small.shared > 0, large.shared > 0);
  }
}

TEST(TuneMoe, TheGpuVerifiesTheLayerItself) {
  const MoeCandidateJob job = jobFor("deepseek-v2-lite", 1, MoeWorkload(512, 1, 7));
  const MoeConfig config{.tokenTile = 48};
  const MoeVerification what = MoeVerification::whole(job, config);
  EXPECT_EQ(what.layer, job.layer);
  EXPECT_EQ(what.workload.rows, 512);
  EXPECT_EQ(what.workload.options.spread, reference::Spread::Zipf);
  EXPECT_EQ(what.workload.options.seed, 7u);
  EXPECT_TRUE(what.workload.options.poison) << "idle experts hold NaN";
  EXPECT_EQ(what.crowded.rows, 49) << "a tile and a row";
  EXPECT_EQ(what.crowded.options.spread, reference::Spread::OneTakesAll);
}

TEST(TuneMoe, AGateChoosesForItself) {
  MoeCandidateJob job = jobFor("deepseek-v2-lite", 1, MoeWorkload(64));
  job.layer.router = dsl::Router::Gate;
  const MoeVerification what = MoeVerification::small(job, MoeConfig{});
  EXPECT_EQ(what.crowded.options.spread, reference::Spread::Uniform);
  EXPECT_FALSE(test::contains(what.text(), "takes all")) << what.text();
}

TEST(TuneMoe, ArgumentsNameTheSameLayerAgain) {
  MoeShapeOptions options;
  options.model = "deepseek-v3";
  options.expertParallel = 8;
  options.router = "given";
  EXPECT_EQ(options.arguments(), "--model deepseek-v3 --ep 8 --router given");
  MoeShapeOptions extents;
  extents.hidden = 2048;
  extents.intermediate = 1408;
  extents.experts = 64;
  extents.topK = 6;
  extents.shared = 2;
  EXPECT_EQ(extents.arguments(), "--hidden 2048 --intermediate 1408 --experts 64 --top-k 6 --shared 2");
}
