// Mistakes planted into correct kernels: each is caught, by the diagnosis that names it, at the place where
// it is.
#include "Planted.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;
using runtime::emulator::Finding;

static const reference::ShapeCase &shapeOf(Base base) {
  static const unsigned seed = std::random_device()();
  static const reference::ShapeCase plain{"plain", {}, {700, 65, 0, 1, 333}, {.seed = seed}};
  static const reference::ShapeCase single{
      "single", {.heads = 40, .keyDim = 288, .valueDim = 256}, {700, 65, 0, 1, 333}, {.seed = seed}};
  static const reference::ShapeCase cluster{"cluster", {.heads = 128}, {400, 65, 0, 1, 200}, {.seed = seed}};
  static const reference::ShapeCase seesaw{
      "seesaw", {.heads = 64, .keyDim = 288, .valueDim = 256}, {700, 0, 65, 0, 1, 333, 0}, {.seed = seed}};
  static const reference::ShapeCase early{
      "early", {.heads = 128, .keyDim = 288, .valueDim = 256}, {700, 0, 65, 333}, {.seed = seed}};
  switch (base) {
  case Base::Single:
    return single;
  case Base::Cluster:
    return cluster;
  case Base::Seesaw:
    return seesaw;
  case Base::SeesawEarly:
    return early;
  default:
    return plain;
  }
}

static const codegen::Artifact &artifactOf(Base base) {
  const reference::AttentionShape &shape = shapeOf(base).shape;
  codegen::Config config{.kvTile = 64, .stages = 2};
  if (base != Base::Cluster) { // Every sequence is cut, so that there are partial results.
    config.split = codegen::SplitPolicy::Fixed;
    config.fixedSplits = 2;
  }
  config.cluster = base == Base::Cluster ? 2 : 1;
  config.consumers = base == Base::Single || base == Base::Swapped ? 1 : 2;
  if (base == Base::Swapped) {
    config.swapOperands = true;
    config.rowsPerCta = 16;
  }
  if (base == Base::Seesaw || base == Base::SeesawEarly) { // Workers with several items, some of them empty.
    config.seesaw = true;
    config.prefetch = base == Base::SeesawEarly;
    config.split = codegen::SplitPolicy::Whole;
    config.fixedSplits = 1;
  }
  return compiled(shape, config);
}

/// "CTA 0, 0".
static std::string ctaOf(const Finding &finding) {
  const size_t from = finding.agent.find("CTA");
  return from == std::string::npos ? "" : finding.agent.substr(from);
}

/// Whether findings of this kind follow from others.
static bool follows(FindingKind kind) {
  return kind == FindingKind::UndefinedValue || kind == FindingKind::Deadlock ||
         kind == FindingKind::ExitInFlight;
}

TEST_P(PlantedBugs, IsCaught) {
  const Planted &planted = GetParam();
  const codegen::Artifact &artifact = artifactOf(planted.base);
  Manifest manifest = artifact.manifest;
  if (planted.editManifest)
    planted.editManifest(manifest);
  PtxEditor editor(artifact.ptx, planted.kernel);
  planted.edit(editor);
  const RunResult result = run(editor.text(), manifest, shapeOf(planted.base));
  SCOPED_TRACE(testing::Message() << "seed " << shapeOf(planted.base).options.seed);
  ASSERT_EQ(result.error, "");
  ASSERT_FALSE(result.findings.empty())
      << "nothing was found; the result is " << (result.comparison.passed ? "right" : "wrong");
  const std::vector<Finding> &all = result.findings.findings;
  auto there = [&](const Finding &f) { // The kind, on the memory that is meant.
    return f.kind == planted.kind && f.address.find(planted.address) != std::string::npos;
  };
  auto found = std::find_if(all.begin(), all.end(), [&](const Finding &f) {
    return there(f) && f.place.operation.find(planted.operation) != std::string::npos;
  });
  ASSERT_NE(found, all.end()) << "not found as " << name(planted.kind) << ":\n" << result.findings.text();
  // With some data another access to the same memory is seen first: who does not wait for a load does not
  // order the next one behind it either; or what follows from the mistake is. CTAs are told of in their
  // order, not in that of time, and the first serious finding stops all of them.
  for (auto before = all.begin(); before != found; ++before)
    if (ctaOf(*before) == ctaOf(*found))
      EXPECT_TRUE(there(*before) || follows(before->kind) ||
                  std::count(planted.orFirst.begin(), planted.orFirst.end(), before->kind))
          << before->text();
  const Finding &first = *found;
  EXPECT_GT(first.place.line, 0) << first.text();
  EXPECT_NE(first.agent.find("CTA"), std::string::npos) << first.text();
}

TEST(PlantedBugs, UneditedKernelsHaveNoFinding) {
  for (Base base :
       {Base::Plain, Base::Single, Base::Cluster, Base::Swapped, Base::Seesaw, Base::SeesawEarly}) {
    const codegen::Artifact &artifact = artifactOf(base);
    const RunResult result = run(PtxEditor(artifact.ptx, "attend").text(), artifact.manifest, shapeOf(base));
    EXPECT_EQ(result.error, "");
    EXPECT_TRUE(result.findings.empty()) << result.findings.text();
    EXPECT_TRUE(result.comparison.passed) << result.comparison.message;
  }
}

void emulatedtest::removeWait(PtxEditor &e, size_t wait) {
  e.remove(wait);
  e.remove(e.after(wait, "@P1 bra"));
  e.remove(e.after(wait, "bra.uni +LAB_WAIT"));
}

void emulatedtest::changeDescriptorAt(PtxEditor &e, size_t line,
                                      const std::function<uint64_t(uint64_t)> &change) {
  const uint64_t bits = std::stoull(e.group(line, R"(, (\d{12,});)"));
  e.replace(line, R"(, \d{12,};)", fmt::format(", {};", int64_t(change(bits))));
}
