// Maxima of the scores that grow from tile to tile, by less and by more than what lets them stay: the result
// is right, and outputs are scaled exactly as often as maxima move.
#include "EmulatedKernels.h"

#include "lathe/reference/Bf16.h"
#include "lathe/reference/Instance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;
using codegen::Config;
using codegen::SplitPolicy;
using reference::AttentionInstance;
using reference::AttentionShape;
using runtime::emulator::Mix;

static constexpr int tile = 64;
static constexpr double keyUnit = 1.0 / 64; // Where the last column is a value too, it is one among others.

/// Scores of a row, in base 2: its growth times the number of the tile at one token of each tile, at most one
/// growth less at the others. All from the last column; values keep their content.
static void setScores(AttentionInstance &instance, const std::vector<double> &growth, std::mt19937 &random) {
  AttentionInstance::Impl &impl = instance.impl();
  const AttentionShape &shape = impl.shape;
  const int last = shape.keyDim - 1;
  std::fill(impl.query.begin(), impl.query.end(), uint16_t(0));
  for (int64_t row = 0; row < impl.totalRows(); ++row)
    impl.query[size_t(row * shape.keyDim + last)] =
        reference::toBf16(growth[size_t(row) % growth.size()] / keyUnit);
  impl.device->copyToDevice(impl.tensors.q, impl.query.data(), impl.query.size() * 2);
  for (int sequence = 0; sequence < impl.batch(); ++sequence)
    for (int token = 0, highest = 0; token < impl.lengths[size_t(sequence)]; ++token) {
      if (token % tile == 0) // The masked tail of the last tile is not there.
        highest = token + int(random() % unsigned(std::min(tile, impl.lengths[size_t(sequence)] - token)));
      const double below = token == highest ? 0 : double(1 + random() % 8) / 8;
      const int before = token / tile;
      const uint16_t key = reference::toBf16((before - below) * keyUnit);
      const int64_t page = impl.table[size_t(sequence * impl.tensors.blockTableStride + token / shape.page)];
      const int64_t inPage = token % shape.page;
      impl.block[size_t(impl.pageOffsets[size_t(page)] + inPage * shape.keyDim + last)] = key;
      const int64_t element = page * impl.tensors.kvStridePage + inPage * impl.tensors.kvStrideToken + last;
      impl.device->copyToDevice(impl.tensors.kv + uint64_t(element) * 2, &key, 2);
    }
}

static Config seesaw(bool prefetch, SplitPolicy split = SplitPolicy::Whole) {
  return {.kvTile = tile, .stages = 2, .split = split, .seesaw = true, .prefetch = prefetch};
}

/// Runs with a scale that makes scores base-2 logarithms, and expects the reference's result.
static RunResult runGrowing(AttentionShape shape, const std::vector<int> &lengths,
                            const std::vector<double> &growth, const Config &config) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed << " dims " << shape.keyDim << "/" << shape.valueDim);
  std::mt19937 random(seed);
  shape.scale = float(M_LN2);
  const codegen::Artifact &artifact = compiled(shape, config);
  RunResult result = run(
      artifact.ptx, artifact.manifest, {"growing", shape, lengths, {.seed = seed}},
      {.seed = seed, .prepare = [&](AttentionInstance &instance) { setScores(instance, growth, random); }});
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.findings.empty()) << result.findings.text();
  EXPECT_TRUE(result.comparison.passed) << result.comparison.message;
  return result;
}

/// Rows of one warp that move at every tile, at every second one, never, by so much that nothing of before
/// is left, and downwards. Without moving, 2^(8.0625 · 22) would be infinite.
TEST(SeesawMaxima, RowsThatGrowDifferently) {
  const std::vector<double> growth = {0, 8.0625, 7.96875, 2, 300, -9, 8, 1};
  for (auto [keyDim, valueDim] : {std::pair{576, 512}, {512, 512}, {256, 128}})
    for (SplitPolicy split : {SplitPolicy::Whole, SplitPolicy::Balanced})
      for (bool prefetch : {false, true})
        runGrowing({.heads = 40, .queryTokens = 2, .keyDim = keyDim, .valueDim = valueDim}, {1450, 200, 65},
                   growth, seesaw(prefetch, split));
}

/// Sixteen growths from the first one on, so that rows differ: rounded probabilities of equal rows err
/// together, by chance further than the comparison takes.
static std::vector<double> from(double growth, double step) {
  std::vector<double> growths;
  for (int i = 0; i < 16; ++i)
    growths.push_back(growth + i * step);
  return growths;
}

static int64_t multiplications(bool prefetch, const std::vector<double> &growth, int tiles) {
  const AttentionShape shape{.heads = 128, .causal = false};
  const RunResult result = runGrowing(shape, {tiles * tile}, growth, seesaw(prefetch));
  for (const auto &launch : result.launches)
    if (launch.kernel == "attend")
      return int64_t(launch.counters.instructions[size_t(Mix::Float)]);
  ADD_FAILURE() << "the main kernel did not run";
  return 0;
}

/// The threshold is 2^8: growing by just more moves the maxima at every tile, by just less at every second
/// one, and each time outputs are scaled.
TEST(SeesawMaxima, OutputsAreScaledWhereMaximaMove) {
  const int tiles = 8;
  const int64_t scaling = int64_t(2) * 8 * 128; // CTAs, warps and registers.
  for (bool prefetch : {false, true}) {
    SCOPED_TRACE(prefetch);
    const int64_t stay =
        multiplications(prefetch, {0}, tiles); // But for the first, where the output is empty.
    const int64_t seldom = multiplications(prefetch, from(7.96875, -1.0 / 8), tiles),
                  always = multiplications(prefetch, from(8.0625, 1.0 / 16), tiles);
    EXPECT_GE(seldom, stay + (tiles / 2 - 1) * scaling);
    EXPECT_GE(always, seldom + scaling);
    EXPECT_EQ(multiplications(prefetch, from(-9, 1.0 / 8), tiles), stay);
    EXPECT_EQ(multiplications(prefetch, from(0.875, -1.0 / 32), tiles), stay)
        << "at most 6.125 after all tiles";
  }
}
