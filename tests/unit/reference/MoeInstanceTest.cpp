// What a random expert layer promises: used memory finite, the rest poison, the spread that was asked for.
#include "HostDevice.h"
#include "MoeFormula.h"

#include "lathe/reference/MoeShapeTable.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

using namespace lathe;
using namespace lathe::reference;

static bool finiteAt(runtime::DevicePtr base, int64_t element) {
  return std::isfinite(bf16At(base, element));
}

/// Rows that each of the router's experts got.
static std::vector<int> rowsOf(const MoeInstance &instance) {
  std::vector<int> rows(size_t(instance.shape().router.experts));
  for (int32_t id : instance.ids())
    ++rows[size_t(id)];
  return rows;
}

static const MoeShape small{.hidden = 64, .inner = 64, .router = {.experts = 16, .topK = 4}};

TEST(MoeInstance, PoisonsExactlyWhatIsUnused) {
  HostDevice device;
  for (const MoeCase &entry : smallMoeShapeTable()) {
    SCOPED_TRACE(testing::Message() << entry.name << ", seed " << entry.options.seed);
    MoeInstance instance(device, entry.shape, entry.rows, entry.options);
    const MoeTensors t = instance.tensors();
    const MoeShape &shape = instance.shape();
    const bool poison = entry.options.poison;
    for (int64_t i = 0; i < (t.rows + spareRows) * t.xStrideRow; ++i)
      ASSERT_EQ(finiteAt(t.x, i), !poison || (i / t.xStrideRow < t.rows && i % t.xStrideRow < shape.hidden));
    const SortedMap map = makeSortedMap(instance.ids(), shape.local(), 1);
    const int64_t size1 = int64_t(shape.halves()) * shape.inner * shape.hidden;
    const int64_t size2 = int64_t(shape.inner) * shape.hidden;
    for (int expert = 0; expert < shape.localExperts; ++expert) {
      const bool used = map.counts[size_t(expert)] > 0 || !poison || shape.gate;
      for (int64_t i : {int64_t(0), size1 / 2, size1 - 1})
        ASSERT_EQ(finiteAt(t.w1, expert * size1 + i), used) << "expert " << expert;
      for (int64_t i : {int64_t(0), size2 / 2, size2 - 1})
        ASSERT_EQ(finiteAt(t.w2, expert * size2 + i), used) << "expert " << expert;
    }
  }
}

TEST(MoeInstance, BuffersFitTheirTensors) {
  HostDevice device;
  MoeShape shape = small;
  shape.sharedExperts = 2;
  shape.router.bias = true;
  MoeInstance instance(device, shape, 5, {.stridedX = true, .stridedY = true});
  const MoeTensors t = instance.tensors();
  EXPECT_EQ(t.xStrideRow, 64 + 24);
  EXPECT_EQ(t.yStrideRow, 64 + 8);
  EXPECT_EQ(device.blockBytes(t.w1), 16u * 2 * 64 * 64 * 2);
  EXPECT_EQ(device.blockBytes(t.w2), 16u * 64 * 64 * 2);
  EXPECT_EQ(device.blockBytes(t.shared1), 2u * 2 * 64 * 64 * 2);
  EXPECT_EQ(device.blockBytes(t.shared2), 64u * 2 * 64 * 2);
  EXPECT_EQ(device.blockBytes(t.logits), 5u * 16 * 4);
  EXPECT_EQ(device.blockBytes(t.bias), 16u * 4);
  EXPECT_EQ(int64_t(device.blockBytes(t.ids)), (20 + spareChoices) * 4);
  EXPECT_EQ(t.gate, 0u);
  EXPECT_EQ(instance.shape().weightBytes(), 18.0 * 3 * 64 * 64 * 2);
  for (size_t i = 0; i < instance.ids().size(); ++i) {
    EXPECT_EQ(readElement<int32_t>(t.ids, int64_t(i)), instance.ids()[i]);
    EXPECT_EQ(readElement<float>(t.weights, int64_t(i)), instance.weights()[i]);
  }
  instance.poisonRouting();
  EXPECT_EQ(readElement<int32_t>(t.ids, 19), -1);
  EXPECT_TRUE(std::isnan(readElement<float>(t.weights, 19)));
  EXPECT_EQ(downloadIds(instance), std::vector<int32_t>(20, -1));
  instance.restoreRouting();
  EXPECT_EQ(downloadIds(instance), instance.ids());
}

TEST(MoeInstance, SeedsDecideEverything) {
  HostDevice device;
  auto content = [&](uint64_t seed) {
    MoeInstance instance(device, small, 9, {.seed = seed});
    std::vector<uint16_t> bits;
    for (int64_t i = 0; i < int64_t(9) * 64; ++i)
      bits.push_back(readElement<uint16_t>(instance.tensors().x, i));
    return std::tuple(bits, instance.ids(), instance.weights());
  };
  EXPECT_EQ(content(1), content(1));
  EXPECT_NE(content(1), content(2));
  // Pinned, so that a seed in a report means the same problem tomorrow.
  EXPECT_EQ(readElement<uint16_t>(MoeInstance(device, small, 1, {.seed = 7}).tensors().x, 0),
            normalBf16(*std::make_unique<Random>(7), 64, 1)[0]);
}

TEST(MoeInstance, LargeMatricesRepeatABlock) {
  HostDevice device;
  MoeShape shape{.hidden = 1024, .inner = 512, .router = {.experts = 16, .topK = 1}};
  MoeInstance instance(device, shape, 20, {.seed = 3, .poison = false});
  const MoeTensors t = instance.tensors();
  std::set<uint64_t> heads; // First elements of every 64th row of the first matrix: hardly two alike.
  for (int64_t row = 0; row < int64_t(16) * 2 * 512; row += 64)
    heads.insert(readElement<uint64_t>(t.w1, row * 1024 / 4));
  EXPECT_GE(heads.size(), 250u);
  const MoeRow got = cpuReference(instance, 11);
  const std::vector<long double> expected = formulaRow(instance, 11);
  for (size_t h = 0; h < expected.size(); ++h)
    ASSERT_NEAR(got.out[h], double(expected[h]), 1e-11);
}

TEST(MoeInstance, UniformAndZipfSpreads) {
  HostDevice device;
  auto largestShare = [&](Spread spread, double zipf) {
    MoeInstance instance(device, small, 2000, {.seed = 5, .spread = spread, .zipf = zipf});
    const std::vector<int> rows = rowsOf(instance);
    return double(*std::max_element(rows.begin(), rows.end())) / 2000;
  };
  EXPECT_NEAR(largestShare(Spread::Uniform, 1), 4.0 / 16, 0.04);
  EXPECT_GT(largestShare(Spread::Zipf, 1), 0.6);
  EXPECT_GT(largestShare(Spread::Zipf, 2), largestShare(Spread::Zipf, 1));
  // With one choice, the first of 16 has 1 / (1 + 1/2 + … + 1/16) of all.
  MoeShape shape = small;
  shape.router.topK = 1;
  MoeInstance instance(device, shape, 4000, {.seed = 6, .spread = Spread::Zipf});
  const std::vector<int> rows = rowsOf(instance);
  EXPECT_NEAR(*std::max_element(rows.begin(), rows.end()) / 4000.0, 1 / 3.380729, 0.025);
}

TEST(MoeInstance, ExtremeSpreads) {
  HostDevice device;
  std::vector<MoeRouter> routers(4, small.router);
  routers[1].scoring = Scoring::Sigmoid;
  routers[2].scoring = Scoring::Sigmoid;
  routers[2].bias = true;
  routers[3] = routers[2];
  routers[3].groups = 4;
  routers[3].topGroups = 2;
  routers[3].groupScore = GroupScore::TwoBest;
  for (const MoeRouter &router : routers) {
    MoeShape shape = small;
    shape.router = router;
    auto rows = [&](Spread spread) {
      return rowsOf(MoeInstance(device, shape, 300, {.seed = 9, .spread = spread}));
    };
    const std::vector<int> all = rows(Spread::OneTakesAll), skipped = rows(Spread::SkipOne);
    EXPECT_EQ(*std::max_element(all.begin(), all.end()), 300);
    EXPECT_EQ(std::count(skipped.begin(), skipped.end(), 0), 1);
    shape.localExperts = 4;
    shape.firstExpert = 8;
    const std::vector<int> foreign = rows(Spread::NoneLocal);
    EXPECT_EQ(std::count(foreign.begin() + 8, foreign.begin() + 12, 0), 4);
  }
}

TEST(MoeInstance, TiesNansAndWildIds) {
  HostDevice device;
  MoeInstance ties(device, small, 50, {.seed = 10, .ties = true});
  std::set<uint32_t> values;
  for (int64_t i = 0; i < int64_t(50) * 16; ++i)
    values.insert(readElement<uint32_t>(ties.tensors().logits, i));
  EXPECT_EQ(values.size(), 4u) << "-1, -0, 0, 1";
  MoeInstance nans(device, small, 50, {.seed = 11, .nans = true});
  EXPECT_EQ(std::vector<int32_t>(nans.ids().begin(), nans.ids().begin() + 4),
            (std::vector<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(nans.weights()[3], 0.0f);
  EXPECT_EQ(nans.ids()[4], 8) << "the only number of the second row";
  MoeInstance wild(device, small, 200, {.seed = 12, .wildIds = true});
  int outside = 0, twice = 0;
  for (size_t i = 0; i < wild.ids().size(); ++i) {
    outside += wild.ids()[i] < 0 || wild.ids()[i] >= 16;
    twice += i % 4 != 0 && wild.ids()[i] == wild.ids()[i - 1];
  }
  EXPECT_GT(outside, 50);
  EXPECT_GT(twice, 40);
}

TEST(MoeInstance, Bf16LogitsAreRoundedBeforeRouting) {
  HostDevice device;
  MoeShape shape = small;
  shape.logits = Dtype::BF16;
  MoeInstance instance(device, shape, 3, {.seed = 13});
  EXPECT_EQ(device.blockBytes(instance.tensors().logits), 3u * 16 * 2);
  for (int64_t i = 0; i < int64_t(3) * 16; ++i)
    EXPECT_EQ(double(bf16At(instance.tensors().logits, i)), double(instance.impl().logits[size_t(i)]));
}

TEST(MoeInstance, GatesMakeTheLogits) {
  HostDevice device;
  for (Dtype type : {Dtype::BF16, Dtype::F32}) {
    SCOPED_TRACE(name(type));
    MoeShape shape = small;
    shape.gate = true;
    shape.gateType = type;
    MoeInstance instance(device, shape, 6, {.seed = 14});
    const MoeTensors t = instance.tensors();
    EXPECT_EQ(device.blockBytes(t.gate), 16u * 64 * size_t(byteSize(type)));
    int wide = 0; // Elements that bf16 does not hold.
    for (int row = 0; row < 6; ++row) {
      const RowInputs inputs = routerInputs(instance.impl(), row);
      double logit = 0;
      for (int h = 0; h < 64; ++h) {
        const double gate = type == Dtype::F32 ? double(readElement<float>(t.gate, 5 * 64 + h))
                                               : double(bf16At(t.gate, 5 * 64 + h));
        logit += double(bf16At(t.x, row * t.xStrideRow + h)) * gate;
        wide += double(fromBf16(toBf16(gate))) != gate;
      }
      EXPECT_NEAR(inputs.logits[5], logit, 1e-12);
      EXPECT_EQ(readElement<float>(t.logits, row * 16 + 5), float(inputs.logits[5]));
      EXPECT_GT(inputs.errors[5], 1e-6);
      EXPECT_LT(inputs.errors[5], 1e-3);
    }
    EXPECT_EQ(wide > 300, type == Dtype::F32) << wide;
    EXPECT_TRUE(checkRouting(instance).passed);
  }
}

/// A kernel's logits are judged by float64, and its choices by its own logits, without the gate's rounding.
TEST(MoeInstance, LogitsOfAGateAndWhatFollowsAreJudgedApart) {
  HostDevice device;
  MoeShape shape = small;
  shape.gate = true;
  MoeInstance instance(device, shape, 6, {.seed = 14});
  const MoeTensors t = instance.tensors();
  auto put = [&](int row, int expert, double logit) {
    const auto value = float(logit);
    device.copyToDevice(t.logits + 4 * uint64_t(row * 16 + expert), &value, 4);
  };
  const RowInputs inputs = routerInputs(instance.impl(), 2);
  const int best = instance.ids()[2 * size_t(shape.router.topK)];
  put(2, best, inputs.logits[size_t(best)] + 0.9 * inputs.errors[size_t(best)]);
  RoutingCheck check = checkRouting(instance);
  EXPECT_TRUE(std::isfinite(check.worstLogitRatio));
  EXPECT_NEAR(check.worstLogitRatio, 0.9, 0.05);
  put(2, best, inputs.logits[size_t(best)] + 1.5 * inputs.errors[size_t(best)]);
  check = checkRouting(instance);
  EXPECT_NE(check.message.find("row 2, expert " + std::to_string(best) + ": the gate's logit"),
            std::string::npos)
      << check.message;

  instance.restoreRouting();
  EXPECT_TRUE(checkRouting(instance).passed);
  // Two logits that no kernel has made so far apart: the choice that follows from the gate does not from
  // them.
  const int second = instance.ids()[2 * size_t(shape.router.topK) + 1];
  put(2, best, inputs.logits[size_t(second)]);
  put(2, second, inputs.logits[size_t(best)]);
  check = checkRouting(instance);
  EXPECT_FALSE(check.passed);
  EXPECT_GT(check.worstLogitRatio, 1);

  instance.poisonRouting();
  EXPECT_FALSE(checkRouting(instance).passed) << "logits that were not written";
  instance.restoreRouting();
  put(6, 0, 1);
  EXPECT_NE(checkRouting(instance).message.find("behind the last row"), std::string::npos);
}

TEST(MoeInstance, DownloadsMaps) {
  HostDevice device;
  MoeInstance instance(device, small, 7, {.seed = 15});
  const SortedMap map = makeSortedMap(instance.ids(), instance.shape().local(), 16);
  auto upload = [&](const std::vector<int32_t> &list) {
    runtime::Buffer buffer(device, list.size() * 4);
    device.copyToDevice(buffer.get(), list.data(), list.size() * 4);
    return buffer;
  };
  const runtime::Buffer counts = upload(map.counts), offsets = upload(map.offsets), slots = upload(map.slots);
  SortedMap got =
      downloadSortedMap(instance, counts.get(), offsets.get(), slots.get(), int64_t(map.slots.size()), 16);
  EXPECT_EQ(checkSortedMap(got, downloadIds(instance), instance.shape().local()), "");
  std::swap(got.slots[0], got.slots[1]);
  EXPECT_NE(checkSortedMap(got, downloadIds(instance), instance.shape().local()), "");
}

TEST(MoeInstance, RefusesImpossibleShapes) {
  HostDevice device;
  auto refused = [&](MoeShape shape, int rows, const MoeOptions &options, const char *rule) {
    try {
      MoeInstance instance(device, shape, rows, options);
      ADD_FAILURE() << rule;
    } catch (const UserError &error) {
      EXPECT_NE(std::string(error.what()).find(rule), std::string::npos) << error.what();
    }
  };
  auto with = [](auto change) {
    MoeShape shape = small;
    change(shape);
    return shape;
  };
  refused(small, -1, {}, "rows must not be negative");
  refused(with([](MoeShape &s) { s.hidden = 60; }), 1, {}, "hidden must be a multiple of 8");
  refused(with([](MoeShape &s) { s.inner = 4; }), 1, {}, "inner must be a multiple of 8");
  refused(with([](MoeShape &s) { s.sharedExperts = -1; }), 1, {}, "shared experts must not be negative");
  refused(with([](MoeShape &s) { s.localExperts = -2; }), 1, {}, "local experts must be at least 1");
  refused(with([](MoeShape &s) { s.firstExpert = -1; }), 1, {}, "must not be negative");
  refused(with([](MoeShape &s) { s.firstExpert = 1; }), 1, {}, "must be one of the router's");
  refused(with([](MoeShape &s) { s.logits = Dtype::F16; }), 1, {}, "logits must be f32 or bf16");
  refused(with([](MoeShape &s) { s.router.topK = 17; }), 1, {}, "top-k must be at most");
  const MoeShape gated = with([](MoeShape &s) { s.gate = true; });
  refused(gated, 1, {.ties = true}, "logits of a gate cannot be chosen");
  refused(gated, 1, {.spread = Spread::Zipf}, "logits of a gate cannot be chosen");
  refused(with([](MoeShape &s) { s.gate = true, s.gateType = Dtype::F16; }), 1, {},
          "a gate must be bf16 or f32");
  EXPECT_EQ(device.liveBlocks(), 0u);
}
