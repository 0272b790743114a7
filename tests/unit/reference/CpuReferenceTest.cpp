// The float64 CPU reference against an independent formula, and where its value is known without one.
#include "DirectFormula.h"
#include "HostDevice.h"

#include "lathe/reference/Bf16.h"
#include "lathe/reference/ShapeTable.h"

#include <gtest/gtest.h>

#include <random>

using namespace lathe;
using namespace lathe::reference;

static void expectRow(const AttentionInstance &instance, int sequence, int query, int head) {
  SCOPED_TRACE(testing::Message() << "sequence " << sequence << " query " << query << " head " << head);
  ReferenceRow got = cpuReference(instance, sequence, query, head);
  DirectRow expected = directRow(instance, sequence, query, head);
  ASSERT_EQ(got.out.size(), expected.out.size());
  for (size_t column = 0; column < got.out.size(); ++column)
    ASSERT_NEAR(got.out[column], double(expected.out[column]), 1e-12) << "column " << column;
  if (std::isinf(double(expected.lse)))
    EXPECT_EQ(got.lse, std::numeric_limits<double>::infinity());
  else
    EXPECT_NEAR(got.lse, double(expected.lse), 1e-12 * (1 + std::abs(double(expected.lse))));
}

TEST(CpuReference, AgreesWithTheDirectFormulaOnTheShapeTable) {
  HostDevice device;
  std::mt19937 random(7);
  for (const ShapeCase &entry : smallShapeTable()) {
    SCOPED_TRACE(testing::Message() << entry.name << ", seed " << entry.options.seed);
    AttentionInstance instance(device, entry.shape, entry.lengths, entry.options, true);
    for (int i = 0; i < 4 && !entry.lengths.empty(); ++i)
      expectRow(instance, int(random() % entry.lengths.size()),
                int(random() % unsigned(entry.shape.queryTokens)),
                int(random() % unsigned(entry.shape.heads)));
    if (HasFatalFailure())
      return;
  }
}

TEST(CpuReference, AgreesOnRandomShapes) {
  HostDevice device;
  const unsigned seed = std::random_device()();
  std::mt19937 random(seed);
  for (int round = 0; round < 20; ++round) {
    AttentionShape shape{.heads = int(1 + random() % 5),
                         .queryTokens = int(1 + random() % 4),
                         .keyDim = int(8 + 8 * (random() % 10)),
                         .page = int(1 + random() % 40),
                         .causal = random() % 2 == 0};
    shape.valueDim = int(1 + random() % unsigned(shape.keyDim));
    AttentionProblemOptions options{.seed = random(),
                                    .shufflePages = random() % 2 == 0,
                                    .stridedTable = random() % 2 == 0,
                                    .stridedCache = random() % 2 == 0,
                                    .stridedQuery = random() % 2 == 0};
    std::vector<int> lengths = {int(random() % 120), int(random() % 5)};
    SCOPED_TRACE(testing::Message() << "seed " << seed << " round " << round);
    AttentionInstance instance(device, shape, lengths, options, true);
    for (int sequence = 0; sequence < 2; ++sequence)
      for (int query = 0; query < shape.queryTokens; ++query)
        expectRow(instance, sequence, query, int(random() % unsigned(shape.heads)));
    if (HasFatalFailure())
      return;
  }
}

TEST(CpuReference, EmptySequenceGivesZeroAndPlusInfinity) {
  HostDevice device;
  AttentionInstance instance(device, {.heads = 2, .keyDim = 64, .valueDim = 64}, {0}, {.seed = 1}, true);
  ReferenceRow row = cpuReference(instance, 0, 0, 1);
  EXPECT_EQ(row.out, std::vector<double>(64, 0.0));
  EXPECT_EQ(row.lse, std::numeric_limits<double>::infinity());
}

TEST(CpuReference, CausalRowsBeforeTheFirstTokenAttendNothing) {
  HostDevice device;
  AttentionShape shape{.heads = 3, .queryTokens = 4, .keyDim = 32, .valueDim = 16};
  AttentionInstance instance(device, shape, {2}, {.seed = 2}, true);
  for (int query : {0, 1}) {
    ReferenceRow row = cpuReference(instance, 0, query, 2);
    EXPECT_EQ(row.out, std::vector<double>(16, 0.0)) << query;
    EXPECT_EQ(row.lse, std::numeric_limits<double>::infinity()) << query;
  }
  for (int query : {2, 3})
    EXPECT_TRUE(std::isfinite(cpuReference(instance, 0, query, 2).lse)) << query;
  // Without the causal term every query token attends to both tokens.
  shape.causal = false;
  AttentionInstance full(device, shape, {2}, {.seed = 2}, true);
  for (int query : {0, 1, 2, 3})
    EXPECT_TRUE(std::isfinite(cpuReference(full, 0, query, 2).lse)) << query;
}

TEST(CpuReference, OneTokenGivesItsValueRowAndItsScore) {
  HostDevice device;
  AttentionShape shape{.heads = 2, .keyDim = 48, .valueDim = 40, .page = 16, .scale = 0.25f};
  AttentionInstance instance(device, shape, {1}, {.seed = 3}, true);
  const runtime::DecodeTensors t = instance.tensors();
  const int64_t token = tokenElement(t, shape.page, 0, 0);
  for (int head : {0, 1}) {
    ReferenceRow row = cpuReference(instance, 0, 0, head);
    for (int column = 0; column < shape.valueDim; ++column)
      EXPECT_EQ(row.out[size_t(column)], double(readBf16(t.kv, token + column)));
    long double score = 0;
    for (int i = 0; i < shape.keyDim; ++i)
      score += readBf16(t.q, head * t.qStrideRow + i) * readBf16(t.kv, token + i);
    EXPECT_NEAR(row.lse, double(score) / 4, 1e-12);
  }
}

TEST(CpuReference, SurvivesScoresThatOverflowWithoutAMaximum) {
  HostDevice device;
  AttentionInstance instance(device, {.heads = 1, .keyDim = 576, .valueDim = 512, .scale = 60}, {300},
                             {.seed = 4}, true);
  ReferenceRow row = cpuReference(instance, 0, 0, 0);
  EXPECT_GT(row.lse, 800) << "the case must overflow exp() to mean anything";
  EXPECT_TRUE(std::isfinite(row.lse));
  for (double element : row.out)
    ASSERT_TRUE(std::isfinite(element));
}

TEST(CpuReference, RefusesWithoutHostCopiesAndOutsideTheProblem) {
  HostDevice device;
  AttentionInstance without(device, {.heads = 1, .keyDim = 16, .valueDim = 16}, {5}, {}, false);
  EXPECT_THROW(cpuReference(without, 0, 0, 0), UserError);
  EXPECT_THROW(compareWithCpu(without), UserError);
  AttentionInstance with(device, {.heads = 1, .keyDim = 16, .valueDim = 16}, {5}, {}, true);
  EXPECT_NO_THROW(cpuReference(with, 0, 0, 0));
  EXPECT_THROW(cpuReference(with, 1, 0, 0), UserError);
  EXPECT_THROW(cpuReference(with, 0, 1, 0), UserError);
  EXPECT_THROW(cpuReference(with, 0, 0, -1), UserError);
}

TEST(Bf16, RoundsToNearestEvenFromBinary64) {
  EXPECT_EQ(toBf16(1.0), 0x3f80);
  EXPECT_EQ(toBf16(-2.0), 0xc000);
  EXPECT_EQ(toBf16(1 + 0x1p-8), 0x3f80) << "tie to even, down";
  EXPECT_EQ(toBf16(1 + 3 * 0x1p-8), 0x3f82) << "tie to even, up";
  EXPECT_EQ(toBf16(1 + 0x1p-8 + 0x1p-40), 0x3f81) << "just above a tie, lost by float";
  EXPECT_EQ(toBf16(1 + 3 * 0x1p-8 - 0x1p-40), 0x3f81) << "just below a tie, lost by float";
  EXPECT_EQ(toBf16(-(1 + 0x1p-8 + 0x1p-40)), 0xbf81);
  EXPECT_EQ(toBf16(-(1 + 3 * 0x1p-8 - 0x1p-40)), 0xbf81);
  EXPECT_EQ(toBf16(1e300), 0x7f80);
  EXPECT_TRUE(std::isnan(fromBf16(toBf16(std::nan("")))));
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  for (int i = 0; i < 10000; ++i) {
    const double value = normal(random);
    EXPECT_LE(std::abs(double(fromBf16(toBf16(value))) - value), std::abs(value) / 256);
  }
  for (uint32_t bits = 0; bits < 0x7f80; ++bits)
    ASSERT_EQ(toBf16(double(fromBf16(uint16_t(bits)))), bits);
}
