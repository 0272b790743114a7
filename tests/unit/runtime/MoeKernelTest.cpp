#include "MoeExample.h"

#include "lathe/runtime/MoeTensors.h"

#include <gtest/gtest.h>

#include <thread>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::test;
using ::testing::Test;

namespace {
struct MoeKernelTest : Test {
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  MoeManifest manifest = exampleMoe();
  Stream stream{reinterpret_cast<void *>(0x10)};

  MoeKernel load() {
    device->kernels.clear();
    for (const KernelEntry *entry : manifest.kernels())
      device->kernels.push_back(*entry);
    return MoeKernel(device, "image", manifest);
  }
  void withoutShared() {
    manifest.shared = 0;
    manifest.tensorMaps.resize(3);
    manifest.up.arguments.pop_back();
    manifest.down.arguments.pop_back();
  }
  /// The launches of one run: route, up, down, combine.
  std::vector<Launch> step(const MoeKernel &kernel, MoeWorkspace &workspace, const MoeTensors &t) {
    device->launches.clear();
    kernel.run(workspace, t, stream);
    return device->launches;
  }
  /// The same of a fresh kernel and workspace.
  std::vector<Launch> step(const MoeTensors &t, int maxRows = 64) {
    const MoeKernel kernel = load();
    MoeWorkspace workspace = kernel.makeWorkspace(maxRows);
    return step(kernel, workspace, t);
  }
};
} // namespace

TEST_F(MoeKernelTest, LaunchesFourKernelsWithTheirShapes) {
  auto launches = step(exampleMoeTensors(40));
  ASSERT_EQ(launches.size(), 4u);
  EXPECT_EQ(launches[0].kernel, "route");
  EXPECT_EQ(launches[0].shape.gridX, 3u); // 16 rows a CTA.
  EXPECT_EQ(launches[0].shape.threads, 256u);
  EXPECT_EQ(launches[0].shape.sharedBytes, 4000u);
  EXPECT_EQ(launches[1].kernel, "up");
  EXPECT_EQ(launches[1].shape.gridX, 2u * 132);
  EXPECT_EQ(launches[1].shape.sharedBytes, 100000u);
  EXPECT_EQ(launches[2].kernel, "down");
  EXPECT_EQ(launches[2].shape.gridX, 2u * 132);
  EXPECT_EQ(launches[2].shape.threads, 384u);
  EXPECT_EQ(device->sharedBytes["down"], 110000);
  EXPECT_EQ(launches[3].kernel, "combine");
  EXPECT_EQ(launches[3].shape.gridX, 40u); // 2048 columns of a row: a CTA's eight warps.
  for (const Launch &launch : launches) {
    EXPECT_EQ(launch.stream.handle, stream.handle);
    EXPECT_EQ(launch.shape.gridY, 1u);
  }
}

TEST_F(MoeKernelTest, ExpertsAloneForTheRoutingThatIsThere) {
  const MoeKernel kernel = load();
  MoeWorkspace workspace = kernel.makeWorkspace(64);
  auto whole = step(kernel, workspace, exampleMoeTensors());
  device->launches.clear();
  kernel.runExperts(workspace, exampleMoeTensors(), stream);
  ASSERT_EQ(device->launches.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(device->launches[i].kernel, whole.at(i + 1).kernel);
    EXPECT_EQ(device->launches[i].shape.gridX, whole[i + 1].shape.gridX);
  }
  EXPECT_EQ(device->launches[0].arguments["slots"].integer, whole[0].arguments["slots"].integer);
}

/// A warp a row and 2048 columns, no more CTAs than are resident; `up` reads by TMA what `permute` has
/// written, and `down` writes its results to the same place.
TEST_F(MoeKernelTest, RowsArePermutedBeforeUp) {
  manifest.permute = true;
  manifest.permuteKernel = {"permute", 256, 0, 1, {}, {}};
  for (const auto &[kind, name] :
       {std::pair{"pointer", "x"}, {"i64", "x_stride"}, {"pointer", "places"}, {"pointer", "expert_out"}})
    manifest.permuteKernel.arguments.push_back({kind, name});
  manifest.up.arguments.push_back({"tensor_map", "permuted"});
  EXPECT_THROW(load(), UserError) << "no recipe of its boxes";
  manifest.tensorMaps.push_back({"permuted", 64, 32});
  auto launches = step(exampleMoeTensors(40));
  ASSERT_EQ(launches.size(), 5u);
  EXPECT_EQ(launches[1].kernel, "permute");
  EXPECT_EQ(launches[1].shape.gridX, 40u / 8);
  EXPECT_EQ(launches[2].kernel, "up");
  const uint64_t rows = launches[1].arguments["expert_out"].integer;
  EXPECT_EQ(rows, launches[3].arguments["expert_out"].integer);
  const TensorMapSpec &map = launches[2].arguments["permuted"].map;
  EXPECT_EQ(map.base, rows);
  EXPECT_EQ(map.extent[0], 2048u);
  EXPECT_EQ(map.box[1], 32u);
  EXPECT_EQ(step(exampleMoeTensors(9000), 9000).at(1).shape.gridX, 8u * 132);
}

TEST_F(MoeKernelTest, AtomicProductsAndCombineShareTheSums) {
  manifest.atomic = true;
  manifest.down.arguments[4].name = "sums";
  manifest.combine.arguments = {{"pointer", "sums"}, {"i32", "rows"}, {"pointer", "y"}, {"i64", "y_stride"}};
  auto launches = step(exampleMoeTensors(40));
  ASSERT_EQ(launches.size(), 4u);
  EXPECT_NE(launches[2].arguments["sums"].integer, 0u);
  EXPECT_EQ(launches[2].arguments["sums"].integer, launches[3].arguments["sums"].integer);
}

TEST_F(MoeKernelTest, RoutingAlone) {
  const MoeKernel kernel = load();
  MoeWorkspace workspace = kernel.makeWorkspace(64);
  auto whole = step(kernel, workspace, exampleMoeTensors());
  device->launches.clear();
  kernel.route(workspace, exampleMoeTensors(), stream);
  ASSERT_EQ(device->launches.size(), 1u);
  EXPECT_EQ(device->launches[0].kernel, "route");
  EXPECT_EQ(device->launches[0].shape.gridX, whole.at(0).shape.gridX);
  for (const char *name : {"logits", "ids", "weights", "rows", "slots"})
    EXPECT_EQ(device->launches[0].arguments[name].integer, whole[0].arguments[name].integer) << name;
}

/// All experts of some rows, then of the next; logits go where the caller wants them, else to the workspace.
TEST_F(MoeKernelTest, GatesMakeTheLogits) {
  manifest = exampleGateMoe();
  manifest.routedExperts = manifest.experts = 60;
  MoeTensors t = exampleMoeTensors(40);
  t.gate = 0xb0000;
  t.xStrideRow = 2056;
  auto launches = step(t);
  ASSERT_EQ(launches.size(), 5u);
  EXPECT_EQ(launches[0].kernel, "gate");
  EXPECT_EQ(launches[0].shape.gridX, 3u * 8); // 16 rows and 8 experts a CTA.
  EXPECT_EQ(launches[0].shape.threads, 512u);
  EXPECT_TRUE(launches[0].shape.dependent);
  EXPECT_EQ(launches[0].arguments["x"].integer, 0x10000);
  EXPECT_EQ(launches[0].arguments["x_stride"].integer, 2056);
  EXPECT_EQ(launches[0].arguments["rows"].integer, 40);
  EXPECT_EQ(launches[0].arguments["gate"].integer, 0xb0000);
  EXPECT_EQ(launches[1].kernel, "route");
  for (int kernel : {0, 1})
    EXPECT_EQ(launches[size_t(kernel)].arguments["logits"].integer, 0x20004);

  t.logits = 0;
  const MoeKernel kernel = load();
  MoeWorkspace workspace = kernel.makeWorkspace(40);
  launches = step(kernel, workspace, t);
  const int64_t made = launches.at(0).arguments["logits"].integer;
  EXPECT_EQ(made, launches.at(1).arguments["logits"].integer);
  const auto [memory, bytes] = *device->allocations.begin();
  EXPECT_GE(made, int64_t(memory));
  EXPECT_LE(made + 40 * 60 * 4, int64_t(memory + bytes));
  const MoeLayout layout = layoutWorkspace(manifest, 40);
  EXPECT_GE(layout.scratch - layout.logits, 40u * 60 * 4) << "nothing else lies there";
  device->launches.clear();
  kernel.runExperts(workspace, t, stream);
  EXPECT_EQ(device->launches.size(), 3u);
}

TEST_F(MoeKernelTest, GridsHaveNoMoreThanThereIsWorkFor) {
  withoutShared();
  manifest.experts = manifest.routedExperts = 8;
  manifest.topK = 1;
  manifest.hidden = 192;
  manifest.intermediate = 128;
  auto launches = step(exampleMoeTensors(1));
  EXPECT_EQ(launches.at(0).shape.gridX, 1u);
  EXPECT_EQ(launches.at(1).shape.gridX, 128u / 32); // One tile.
  EXPECT_EQ(launches.at(2).shape.gridX, 192u / 64);
  EXPECT_EQ(launches.at(3).shape.gridX, 1u);
  manifest.halves = 1;
  EXPECT_EQ(step(exampleMoeTensors(1)).at(1).shape.gridX, 128u / 64);
  EXPECT_EQ(step(exampleMoeTensors(9)).at(3).shape.gridX, 2u);
  EXPECT_EQ(step(exampleMoeTensors(5000), 5000).at(0).shape.gridX, 64u) << "routeBlocks";
}

TEST_F(MoeKernelTest, GridsOfProductsAreWholeClusters) {
  manifest.ctasPerSm = 1;
  manifest.up.cluster = 2;
  for (TensorMapRecipe &map : manifest.tensorMaps)
    if (map.name == "w1" || map.name == "shared1") // Each CTA brings half of a box.
      map.boxRows = 32;
  device->properties_.smCount = 131;
  auto launches = step(exampleMoeTensors(40));
  EXPECT_EQ(launches.at(1).shape.gridX, 130u);
  EXPECT_EQ(launches.at(2).shape.gridX, 131u);
  withoutShared();
  manifest.topK = 1;
  manifest.hidden = manifest.intermediate = 64;
  EXPECT_EQ(step(exampleMoeTensors(1)).at(1).shape.gridX, 2u * 2) << "two items";
}

/// In place of two, with what both take and what tells which rows are ready.
TEST_F(MoeKernelTest, BothProductsInOneLaunch) {
  const MoeManifest two = manifest;
  makeOneLaunch(manifest);
  auto launches = step(exampleMoeTensors(40));
  ASSERT_EQ(launches.size(), 3u);
  EXPECT_EQ(launches[1].kernel, "experts");
  EXPECT_EQ(launches[1].shape.gridX, 2u * 132);
  auto &experts = launches[1].arguments, &combine = launches[2].arguments;
  EXPECT_NE(experts["ready"].integer, 0);
  EXPECT_EQ(experts["ready"].integer, combine["ready"].integer);
  EXPECT_NE(experts["ready"].integer, experts["tile_count"].integer);
  EXPECT_EQ(experts["expert_out"].integer, combine["expert_out"].integer);
  EXPECT_EQ(experts["activated"].map.base, DevicePtr(experts["activated_base"].integer));
  manifest = two;
  withoutShared();
  makeOneLaunch(manifest);
  manifest.topK = 1;
  manifest.hidden = 192, manifest.intermediate = 128;
  EXPECT_EQ(step(exampleMoeTensors(1)).at(1).shape.gridX, 4u + 3) << "items of both products";
}

/// Never more than fit, never more than the configuration says.
TEST_F(MoeKernelTest, GridsOfProductsFitTheGpu) {
  manifest.up.cluster = 2;
  for (TensorMapRecipe &map : manifest.tensorMaps)
    if (map.name == "w1" || map.name == "shared1")
      map.boxRows = 32;
  struct {
    int64_t upFit, downFit;
    unsigned up, down;
  } cases[] = {{120, 200, 240, 200}, {132, 264, 264, 264}, {500, 500, 264, 264}, {0, 0, 264, 264}};
  for (auto [upFit, downFit, up, down] : cases) {
    SCOPED_TRACE(upFit);
    device->clustersThatFit = {{"up", upFit}, {"down", downFit}};
    device->askedFit.clear();
    const MoeKernel kernel = load();
    MoeWorkspace workspace = kernel.makeWorkspace(64);
    for (int run = 0; run < 2; ++run) {
      auto launches = step(kernel, workspace, exampleMoeTensors(40));
      EXPECT_EQ(launches.at(1).shape.gridX, up);
      EXPECT_EQ(launches.at(2).shape.gridX, down);
    }
    ASSERT_EQ(device->askedFit["up"].size(), 1u) << "when the kernel is loaded, and never again";
    EXPECT_EQ(device->askedFit["up"][0].cluster, 2u);
    EXPECT_EQ(device->askedFit["up"][0].sharedBytes, 100000u);
    ASSERT_EQ(device->askedFit["down"].size(), 1u);
    EXPECT_EQ(device->askedFit["down"][0].threads, 384u);
  }
}

TEST_F(MoeKernelTest, RoutingCtasAreAllResident) {
  device->properties_.smCount = 24;
  EXPECT_EQ(step(exampleMoeTensors(5000), 5000).at(0).shape.gridX, 24u) << "they wait for each other";
}

TEST_F(MoeKernelTest, BindsArgumentsByName) {
  MoeTensors t = exampleMoeTensors();
  t.ids = 0x90004;
  t.weights = 0xa0004;
  auto launches = step(t);
  auto &route = launches.at(0).arguments, &up = launches.at(1).arguments, &down = launches.at(2).arguments,
       &combine = launches.at(3).arguments;
  EXPECT_EQ(route["logits"].integer, 0x20004);
  EXPECT_EQ(route["bias"].integer, 0x30004);
  EXPECT_EQ(route["ids"].integer, 0x90004);
  EXPECT_EQ(route["weights"].integer, 0xa0004);
  EXPECT_EQ(combine["weights"].integer, 0xa0004);
  EXPECT_EQ(route["rows"].integer, 20);
  EXPECT_EQ(combine["rows"].integer, 20);
  EXPECT_EQ(route["first_expert"].integer, 0);
  EXPECT_EQ(up["x"].integer, 0x10000);
  EXPECT_EQ(up["x_stride"].integer, 2048);
  EXPECT_EQ(combine["y"].integer, 0x80010);
  EXPECT_EQ(combine["y_stride"].integer, 2048);
  for (const char *name : {"tiles", "tile_count"}) {
    EXPECT_EQ(route[name].integer, up[name].integer) << name;
    EXPECT_EQ(route[name].integer, down[name].integer) << name;
  }
  EXPECT_EQ(up["w1_base"].integer, 0x40000);
  EXPECT_EQ(down["w2_base"].integer, 0x50000);
  EXPECT_EQ(route["slots"].integer, up["slots"].integer);
  EXPECT_EQ(route["places"].integer, combine["places"].integer);
  EXPECT_EQ(down["expert_out"].integer, combine["expert_out"].integer);
  EXPECT_EQ(down["activated"].map.base, DevicePtr(up["activated_base"].integer));
  // 120 choices of at most 64 experts, each padded to eight; the shared experts' slots come next.
  EXPECT_EQ(route["shared_start"].integer, 120 + 64 * 7);
  EXPECT_EQ(combine["shared_start"].integer, 120 + 64 * 7);
}

TEST_F(MoeKernelTest, SharedSlotsBeginByTheRowsOfTheRun) {
  const MoeKernel kernel = load();
  MoeWorkspace workspace = kernel.makeWorkspace(64);
  auto start = [&](int rows) {
    return step(kernel, workspace, exampleMoeTensors(rows)).at(0).arguments["shared_start"].integer;
  };
  EXPECT_EQ(start(1), 6 + 6 * 7 /* 48 */);
  EXPECT_EQ(start(3), 18 + 18 * 7);
  EXPECT_EQ(start(64), 384 + 64 * 7);
  EXPECT_EQ(start(11), 520) << "66 + 64 * 7, up to a multiple of eight";
}

TEST_F(MoeKernelTest, StridesOfRows) {
  MoeTensors t = exampleMoeTensors();
  t.xStrideRow = 2056;
  t.yStrideRow = 4096;
  auto launches = step(t);
  EXPECT_EQ(launches.at(1).arguments["x_stride"].integer, 2056);
  EXPECT_EQ(launches.at(3).arguments["y_stride"].integer, 4096);
  t = exampleMoeTensors(1);
  t.xStrideRow = t.yStrideRow = 3; // Of one row: means nothing.
  EXPECT_EQ(step(t).at(1).arguments["x_stride"].integer, 2048);
}

TEST_F(MoeKernelTest, RoutingMayBeLeftToTheWorkspace) {
  const MoeKernel kernel = load();
  MoeWorkspace workspace = kernel.makeWorkspace(64);
  auto launches = step(kernel, workspace, exampleMoeTensors());
  auto [base, bytes] = *device->allocations.begin();
  EXPECT_EQ(workspace.bytes(), bytes);
  for (const char *name : {"ids", "weights"}) {
    const auto address = DevicePtr(launches.at(0).arguments[name].integer);
    EXPECT_GE(address, base) << name;
    EXPECT_LT(address, base + bytes) << name;
  }
  EXPECT_EQ(launches[0].arguments["weights"].integer, launches.at(3).arguments["weights"].integer);
}

TEST_F(MoeKernelTest, RoutingMayBeGiven) {
  manifest = exampleGivenMoe();
  auto launches = step(exampleGivenTensors());
  auto &route = launches.at(0).arguments;
  EXPECT_EQ(route["ids"].integer, 0x90004);
  EXPECT_EQ(route["weights"].integer, 0xa0004);
  EXPECT_EQ(route["first_expert"].integer, 48);
  EXPECT_EQ(route["shared_start"].integer, 120 + 16 * 7);
}

//===- Tensor maps -----------------------------------------------------------------------------------===//

TEST_F(MoeKernelTest, WeightsOfTwoHalvesInterleaveByEights) {
  auto launches = step(exampleMoeTensors());
  const uint64_t row = 2048 * 2, inner = 1408 * row;
  TensorMapSpec w1 = launches.at(1).arguments["w1"].map, shared1 = launches.at(1).arguments["shared1"].map;
  EXPECT_EQ(w1.base, 0x40000u);
  EXPECT_EQ(w1.dtype, Dtype::BF16);
  EXPECT_EQ(w1.swizzleBytes, 128);
  EXPECT_EQ(w1.rank, 5);
  EXPECT_EQ(w1.extent, (std::array<uint64_t, 5>{2048, 8, 2, 176, 64}));
  EXPECT_EQ(w1.strideBytes, (std::array<uint64_t, 4>{row, inner, 8 * row, 2 * inner}));
  EXPECT_EQ(w1.box, (std::array<uint32_t, 5>{64, 8, 2, 4, 1}));
  EXPECT_EQ(shared1.base, 0x60000u);
  EXPECT_EQ(shared1.extent, (std::array<uint64_t, 5>{2048, 8, 2, 176, 2}));
  EXPECT_EQ(shared1.strideBytes, (std::array<uint64_t, 4>{row, 2 * inner, 8 * row, inner}));
  EXPECT_EQ(shared1.box, w1.box);
}

TEST_F(MoeKernelTest, WeightsOfOneHalf) {
  manifest.halves = 1;
  auto launches = step(exampleMoeTensors());
  TensorMapSpec w1 = launches.at(1).arguments["w1"].map, shared1 = launches.at(1).arguments["shared1"].map;
  EXPECT_EQ(w1.rank, 3);
  EXPECT_EQ(w1.extent, (std::array<uint64_t, 5>{2048, 1408, 64}));
  EXPECT_EQ(w1.strideBytes, (std::array<uint64_t, 4>{4096, 1408 * 4096}));
  EXPECT_EQ(w1.box, (std::array<uint32_t, 5>{64, 64, 1}));
  EXPECT_EQ(shared1.extent, (std::array<uint64_t, 5>{2048, 1408, 2}));
  EXPECT_EQ(shared1.strideBytes, w1.strideBytes);
}

TEST_F(MoeKernelTest, SecondWeightsAndActivatedRows) {
  auto launches = step(exampleMoeTensors());
  auto &down = launches.at(2).arguments;
  TensorMapSpec w2 = down["w2"].map, shared2 = down["shared2"].map, activated = down["activated"].map;
  EXPECT_EQ(w2.base, 0x50000u);
  EXPECT_EQ(w2.rank, 3);
  EXPECT_EQ(w2.extent, (std::array<uint64_t, 5>{1408, 2048, 64}));
  EXPECT_EQ(w2.strideBytes, (std::array<uint64_t, 4>{2816, 2048 * 2816}));
  EXPECT_EQ(w2.box, (std::array<uint32_t, 5>{64, 64, 1}));
  EXPECT_EQ(shared2.base, 0x70000u);
  EXPECT_EQ(shared2.extent, (std::array<uint64_t, 5>{1408, 2048, 2}));
  EXPECT_EQ(shared2.strideBytes, (std::array<uint64_t, 4>{2 * 2816, 2816}));
  EXPECT_EQ(activated.rank, 2);
  // Slots for 64 rows, whatever this run has: 64 * 6 + 64 * 7, then twice 64.
  EXPECT_EQ(activated.extent, (std::array<uint64_t, 5>{1408, 832 + 128}));
  EXPECT_EQ(activated.strideBytes, (std::array<uint64_t, 4>{2816}));
  EXPECT_EQ(activated.box, (std::array<uint32_t, 5>{64, 16}));
}

TEST_F(MoeKernelTest, NoSharedExpertsNoMapsOfThem) {
  withoutShared();
  MoeTensors t = exampleMoeTensors();
  t.shared1 = t.shared2 = 0;
  EXPECT_EQ(step(t).size(), 4u);
  EXPECT_EQ(device->encoded.size(), 3u);
}

//===- Streams and memory ----------------------------------------------------------------------------===//

TEST_F(MoeKernelTest, DependentLaunchWhereTheConfigSaysSo) {
  for (const char *when : {"off", "early"}) {
    manifest.config["dependentLaunch"] = when;
    for (const Launch &launch : step(exampleMoeTensors()))
      EXPECT_EQ(launch.shape.dependent, when != std::string("off")) << launch.kernel << " " << when;
  }
  manifest.config = nullptr;
  EXPECT_FALSE(step(exampleMoeTensors()).at(1).shape.dependent);
}

TEST_F(MoeKernelTest, NoRowsLaunchNothing) {
  const MoeKernel kernel = load();
  MoeWorkspace workspace = kernel.makeWorkspace(1);
  EXPECT_TRUE(step(kernel, workspace, MoeTensors{}).empty());
  EXPECT_TRUE(device->encoded.empty());
}

TEST_F(MoeKernelTest, RunNeitherAllocatesNorSynchronizesAndKeepsTensorMaps) {
  const MoeKernel kernel = load();
  MoeWorkspace workspace = kernel.makeWorkspace(64);
  const int allocations = device->allocationCount, synchronizations = device->synchronizations;
  for (int rows = 1; rows <= 64; ++rows)
    step(kernel, workspace, exampleMoeTensors(rows));
  EXPECT_EQ(device->allocationCount, allocations);
  EXPECT_EQ(device->synchronizations, synchronizations);
  EXPECT_EQ(device->encoded.size(), 5u);
  MoeTensors moved = exampleMoeTensors();
  moved.w2 += 4096;
  EXPECT_EQ(step(kernel, workspace, moved).at(2).arguments["w2"].map.base, moved.w2);
  EXPECT_EQ(device->encoded.size(), 6u);
}

TEST_F(MoeKernelTest, PartsOfTheWorkspaceLieApart) {
  const MoeKernel kernel = load();
  const int maxRows = 37;
  MoeWorkspace workspace = kernel.makeWorkspace(maxRows);
  auto launches = step(kernel, workspace, exampleMoeTensors(maxRows));
  auto &route = launches.at(0).arguments;
  const int64_t slots = int64_t(launches.at(2).arguments["activated"].map.extent[1]);
  const int64_t choices = maxRows * 6, tiles = 64 + choices / 8 + 2 * 3;
  std::map<int64_t, int64_t> parts; // Address to bytes at least.
  for (const auto &[name, words] : {std::pair<const char *, int64_t>{"counts", 64},
                                    {"offsets", 65},
                                    {"slots", slots},
                                    {"places", choices},
                                    {"tiles", 4 * tiles},
                                    {"tile_count", 3},
                                    {"ids", choices},
                                    {"weights", choices},
                                    {"scratch", 100}})
    parts[route[name].integer] = 4 * words;
  parts[launches.at(1).arguments["activated_base"].integer] = 2 * slots * 1408;
  parts[launches.at(3).arguments["expert_out"].integer] = 2 * slots * 2048;
  ASSERT_EQ(parts.size(), 11u);
  auto [base, bytes] = *device->allocations.begin();
  int64_t end = int64_t(base);
  for (const auto &[address, size] : parts) {
    EXPECT_EQ(address % 256, 0);
    EXPECT_GE(address, end);
    end = address + size;
  }
  EXPECT_LE(end, int64_t(base + bytes));
  std::array<int32_t, 100> scratch{};
  device->copyToHost(scratch.data(), DevicePtr(route["scratch"].integer), sizeof(scratch));
  for (int32_t word : scratch)
    ASSERT_EQ(word, 0) << "the first launch counts from it";
  EXPECT_EQ(device->synchronizations, 1) << "so that any stream sees the zeros";
}

TEST_F(MoeKernelTest, ManyThreadsShareOneKernel) {
  const MoeKernel kernel = load();
  std::vector<MoeWorkspace> workspaces;
  for (int thread = 0; thread < 4; ++thread)
    workspaces.push_back(kernel.makeWorkspace(64));
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      for (int i = 0; i < 100; ++i) {
        MoeTensors t = exampleMoeTensors(1 + (i + thread) % 64);
        t.w1 += 4096 * DevicePtr(i % 50);
        kernel.run(workspaces[thread], t, stream);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(device->launches.size(), 4u * 100 * 4);
  for (Launch &launch : device->launches)
    if (launch.kernel == "down") {
      EXPECT_EQ(launch.arguments["w2"].map.base, 0x50000u);
    }
}

TEST_F(MoeKernelTest, WorkspaceOutlivesItsKernelAndFreesItsMemory) {
  {
    MoeWorkspace workspace;
    {
      const MoeKernel kernel = load();
      workspace = kernel.makeWorkspace(8);
      EXPECT_EQ(device->allocations.size(), 1u);
    }
    EXPECT_GT(workspace.bytes(), 0u);
    EXPECT_EQ(workspace.maxRows(), 8);
  }
  EXPECT_TRUE(device->allocations.empty());
}
