//===- Cases.cpp - Which shapes meet which configurations --------------------------------------------===//
//
// Builds the two lists of Cases.h without a GPU, so that tests can be listed anywhere, and holds the one
// routine that decides whether a kernel computes what it must.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

using namespace lathe;
using namespace lathe::gputest;
using codegen::Config;
using codegen::SplitPolicy;
using reference::AttentionInstance;
using reference::ShapeCase;

/// Multiply-adds above which the CPU reference would be waited for.
static constexpr double cpuWork = 2e9;

/// Shapes whose corners differ by configuration: tails, pages on both sides of a tile, several row blocks,
/// splits.
static const char *const tellingShapes[] = {"ragged",
                                            "ragged_long",
                                            "one_long",
                                            "batch_301",
                                            "heads_128",
                                            "queries_2_heads_128_long",
                                            "page_16",
                                            "page_256_queries_2",
                                            "queries_4_heads_5_causal",
                                            "length_0",
                                            "dims_288_256_queries_2",
                                            "queries_4_heads_63_full",
                                            "page_32_strided",
                                            "dims_80_48_queries_1",
                                            "layout_all_strided_queries_2"};

static std::string nameOf(const Config &config) {
  std::string split = config.split == SplitPolicy::Balanced ? "balanced"
                      : config.split == SplitPolicy::Whole  ? "whole"
                                                            : fmt::format("fixed{}", config.fixedSplits);
  return fmt::format("kvTile{}_rows{}_stages{}_consumers{}_cluster{}_{}", config.kvTile, config.rowsPerCta,
                     config.stages, config.consumers, config.cluster, split);
}

/// `config` with the most stages, up to those asked for, that check() accepts; nothing when no number does.
static std::optional<Config> fitStages(const codegen::AttentionProblem &problem, Config config) {
  for (; config.stages >= 1; --config.stages)
    if (codegen::check(problem, config, {}))
      return config;
  return std::nullopt;
}

/// The default changed along one axis at a time, and a few pairs of changes that belong together.
static std::vector<Config> variations(const codegen::AttentionProblem &problem) {
  const Config base = codegen::defaultConfig(problem, {});
  std::vector<Config> wanted;
  auto add = [&](auto change) {
    Config config = base;
    change(config);
    wanted.push_back(config);
  };
  for (int kvTile : {16, 32, 64})
    for (SplitPolicy split : {SplitPolicy::Balanced, SplitPolicy::Whole})
      add([&](Config &c) {
        c.kvTile = kvTile, c.split = split, c.stages = std::max(c.stages, 6), c.fixedSplits = 1;
      });
  for (int stages : {1, 2, 3, 4, 12})
    add([&](Config &c) { c.stages = stages; });
  for (int consumers : {1, 2})
    add([&](Config &c) { c.consumers = consumers; });
  for (int cluster : {2, 4})
    add([&](Config &c) { c.cluster = cluster; });
  for (int rows : {128, 192})
    add([&](Config &c) { c.rowsPerCta = rows; });
  for (int parts : {2, 4, 8, 32})
    add([&](Config &c) { c.split = SplitPolicy::Fixed, c.fixedSplits = parts; });

  std::vector<Config> accepted;
  for (const Config &candidate : wanted)
    if (auto config = fitStages(problem, candidate))
      if (*config != base && std::find(accepted.begin(), accepted.end(), *config) == accepted.end())
        accepted.push_back(*config);
  return accepted;
}

const std::vector<KernelCase> &gputest::tableCases() {
  static const std::vector<KernelCase> cases = [] {
    std::vector<KernelCase> list;
    for (const ShapeCase &shape : reference::shapeTable())
      list.push_back({shape.name + "__default", &shape, std::nullopt});
    return list;
  }();
  return cases;
}

const std::vector<KernelCase> &gputest::configCases() {
  static const std::vector<KernelCase> cases = [] {
    std::vector<KernelCase> list;
    for (const char *name : tellingShapes) {
      const ShapeCase &shape = reference::shapeCase(name);
      for (const Config &config : variations(problemOf(shape.shape)))
        list.push_back({fmt::format("{}__{}", name, nameOf(config)), &shape, config});
    }
    return list;
  }();
  return cases;
}

/// Both outputs as bytes, gaps included.
static std::string outputBytes(const AttentionInstance &instance) {
  const runtime::DecodeTensors t = instance.tensors();
  const size_t outBytes = size_t(t.batch * t.outStrideBatch) * 2,
               lseBytes = size_t(t.batch * t.lseStrideBatch) * 4;
  std::string bytes(outBytes + lseBytes, '\0');
  if (!bytes.empty()) {
    gpu()->copyToHost(bytes.data(), t.out, outBytes);
    gpu()->copyToHost(bytes.data() + outBytes, t.lse, lseBytes);
  }
  return bytes;
}

void gputest::decode(const runtime::Kernel &kernel, runtime::Plan &plan, AttentionInstance &instance,
                     runtime::Stream stream) {
  instance.poisonOutputs();
  const runtime::DecodeTensors tensors = instance.tensors();
  kernel.plan(plan, tensors.lengths, tensors.batch, stream);
  kernel.run(plan, tensors, stream);
  gpu()->synchronize(stream);
}

void gputest::expectRight(AttentionInstance &instance, double work) {
  // Without NVRTC a large problem is judged by a sample, which still sees every kind of mistake but a rare
  // one.
  const reference::Comparison result = work <= cpuWork               ? compareWithCpu(instance)
                                       : reference::nvrtcAvailable() ? compareWithGpu(instance)
                                                                     : compareWithCpu(instance, 64);
  ASSERT_TRUE(result.passed) << result.message;
}

void gputest::expectMatchesReference(const runtime::Kernel &kernel, const ShapeCase &shape) {
  SCOPED_TRACE(testing::Message() << shape.name << ", seed " << shape.options.seed);
  AttentionInstance instance(*gpu(), shape.shape, shape.lengths, shape.options, true);
  runtime::Plan plan = kernel.makePlan(std::max(1, int(shape.lengths.size())));
  OwnStream stream(*gpu());
  decode(kernel, plan, instance, stream);
  const std::string first = outputBytes(instance);
  decode(kernel, plan, instance, stream);
  const std::string second = outputBytes(instance);
  expectRight(instance, shape.work());
  EXPECT_TRUE(first == second) << "two runs differ in their bits";
}
