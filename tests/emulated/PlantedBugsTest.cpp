// Mistakes planted into correct kernels: each is caught, by the diagnosis that names it, at the place where
// it is.
#include "EmulatedKernels.h"
#include "PlantedBug.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;
using runtime::emulator::Finding;
using runtime::emulator::FindingKind;
using Edit = std::function<void(PtxEditor &)>;

namespace {

/// What is run: the default kernel, one consumer warpgroup, or two CTAs a cluster.
enum class Base { Plain, Single, Cluster };

struct Planted {
  std::string name;
  FindingKind kind;      ///< Of the first finding, or of a later one where `orFirst` says so.
  std::string address;   ///< Must be part of the finding's address; may be empty.
  std::string operation; ///< Must be part of the tile operation's text; may be empty.
  Edit edit;
  Base base = Base::Plain;
  std::string kernel = "attend";
  std::function<void(Manifest &)> editManifest = {};
  /// What may be found before it, as another view of the same mistake.
  std::vector<FindingKind> orFirst = {};
  friend void PrintTo(const Planted &entry, std::ostream *stream) { *stream << entry.name; }
};

class PlantedBugs : public testing::TestWithParam<Planted> {};

} // namespace

static const reference::ShapeCase &shapeOf(Base base) {
  static const unsigned seed = std::random_device()();
  static const reference::ShapeCase plain{"plain", {}, {700, 65, 0, 1, 333}, {.seed = seed}};
  static const reference::ShapeCase single{
      "single", {.heads = 40, .keyDim = 288, .valueDim = 256}, {700, 65, 0, 1, 333}, {.seed = seed}};
  static const reference::ShapeCase cluster{"cluster", {.heads = 128}, {400, 65, 0, 1, 200}, {.seed = seed}};
  return base == Base::Plain ? plain : base == Base::Single ? single : cluster;
}

static const codegen::Artifact &artifactOf(Base base) {
  const reference::AttentionShape &shape = shapeOf(base).shape;
  codegen::Config config = codegen::defaultConfig(problemOf(shape), {});
  config.cluster = base == Base::Cluster ? 2 : 1;
  config.consumers = base == Base::Single ? 1 : 2;
  return compiled(shape, config);
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
  auto found = std::find_if(all.begin(), all.end(), [&](const Finding &f) { return f.kind == planted.kind; });
  ASSERT_NE(found, all.end()) << "not found as " << name(planted.kind) << ":\n" << result.findings.text();
  for (auto before = all.begin(); before != found; ++before)
    EXPECT_TRUE(std::count(planted.orFirst.begin(), planted.orFirst.end(), before->kind)) << before->text();
  const Finding &first = *found;
  EXPECT_NE(first.address.find(planted.address), std::string::npos) << first.text();
  EXPECT_NE(first.place.operation.find(planted.operation), std::string::npos) << first.text();
  EXPECT_GT(first.place.line, 0) << first.text();
  EXPECT_NE(first.agent.find("CTA"), std::string::npos) << first.text();
}

TEST(PlantedBugs, UneditedKernelsHaveNoFinding) {
  for (Base base : {Base::Plain, Base::Single, Base::Cluster}) {
    const codegen::Artifact &artifact = artifactOf(base);
    const RunResult result = run(PtxEditor(artifact.ptx, "attend").text(), artifact.manifest, shapeOf(base));
    EXPECT_EQ(result.error, "");
    EXPECT_TRUE(result.findings.empty()) << result.findings.text();
    EXPECT_TRUE(result.comparison.passed) << result.comparison.message;
  }
}

//===- Fences ----------------------------------------------------------------------------------------===//

static std::vector<Planted> fences() {
  return {
      {"proxy_fence_after_probabilities_dropped", FindingKind::ProxyUnfenced, "kv stage", "tile.mma_nn",
       [](PtxEditor &e) { e.remove(e.after(e.find("stmatrix", -1), "fence.proxy.async")); }},
      {"proxy_fence_after_cleared_rows_dropped", FindingKind::ProxyUnfenced, "kv stage", "tile.mma_nn",
       [](PtxEditor &e) { e.remove(e.findOf("fence.proxy.async", "tile.zero_rows")); }, Base::Single},
      {"barrier_initialisation_unfenced", FindingKind::ProxyUnfenced, "q.full", "tile.load",
       [](PtxEditor &e) {
         e.remove(e.find("fence.mbarrier_init", 0));
         e.remove(e.find("fence.proxy.async", 0));
       }},
      {"wgmma_fence_dropped", FindingKind::MmaUnfenced, "", "tile.mma_nn",
       [](PtxEditor &e) { e.remove(e.find("wgmma.fence", 1)); }},
      {"all_wgmma_fences_dropped", FindingKind::MmaUnfenced, "", "tile.mma_nt",
       [](PtxEditor &e) { e.removeAll("wgmma.fence"); }},
  };
}

//===- Waits and barriers ----------------------------------------------------------------------------===//

/// Removes a spinning wait: the four lines of its loop.
static void removeWait(PtxEditor &e, int n) {
  const size_t wait = e.find("mbarrier.try_wait", n);
  e.remove(wait);
  e.remove(e.after(wait, "@P1 bra"));
  e.remove(e.after(wait, "bra.uni +LAB_WAIT"));
}

/// Sets the parity of a wait to its opposite.
static void flipParity(PtxEditor &e, int n) {
  const size_t wait = e.find("mbarrier.try_wait", n);
  const std::string parity = e.group(wait, R"(\], (%r\d+))");
  e.insertBefore(e.before(wait, "^\\{|^\t\\{"), "xor.b32 " + parity + ", " + parity + ", 1;");
}

static std::vector<Planted> waits() {
  return {
      {"wait_for_query_dropped", FindingKind::DataRace, "q row", "tile.mma_nt",
       [](PtxEditor &e) { removeWait(e, 0); }},
      {"wait_for_own_tile_dropped", FindingKind::DataRace, "kv stage", "tile.mma_nt",
       [](PtxEditor &e) { removeWait(e, 1); }},
      {"wait_for_empty_stage_dropped",
       FindingKind::DataRace,
       "kv stage",
       "tile.load",
       [](PtxEditor &e) { removeWait(e, 4); },
       Base::Plain,
       "attend",
       {},
       {FindingKind::BarrierMisuse}},
      {"consumer_phase_shifted", FindingKind::Deadlock, "", "tile.wait",
       [](PtxEditor &e) { flipParity(e, 1); }},
      {"consumer_phase_stands_still", FindingKind::Deadlock, "", "tile.wait",
       [](PtxEditor &e) {
         const size_t wait = e.find("mbarrier.try_wait", 1);
         e.replace(wait, R"(\], %r\d+,)", "], 1,");
       }},
      {"producer_phase_shifted", FindingKind::Deadlock, "", "tile.wait",
       [](PtxEditor &e) { flipParity(e, 4); }},
      {"phase_waited_twice", FindingKind::PhaseWaitedTwice, "kv.full", "tile.wait",
       [](PtxEditor &e) {
         const size_t wait = e.find("mbarrier.try_wait", 1);
         e.insertBefore(wait, "mbarrier.try_wait.parity.shared.b64 P1, " + e.group(wait, R"(P1, (.*))"));
         e.insertBefore(wait, "TWICE:");
         e.replace(wait, "(TWICE:\n[^\n]*)", "$1\n@!P1 bra TWICE;");
       }},
      {"mma_wait_of_scores_dropped", FindingKind::MmaInFlight, "", "arith.mulf",
       [](PtxEditor &e) { e.remove(e.find("wgmma.wait_group", 0)); }},
      {"mma_wait_of_output_dropped", FindingKind::DataRace, "kv stage", "tile.load",
       [](PtxEditor &e) { e.remove(e.find("wgmma.wait_group", 1)); }},
      {"mma_commit_dropped", FindingKind::MmaInFlight, "", "arith.mulf",
       [](PtxEditor &e) { e.remove(e.find("wgmma.commit_group", 0)); }},
  };
}

static std::vector<Planted> barriers() {
  return {
      {"start_barrier_dropped", FindingKind::DataRace, "q.", "",
       [](PtxEditor &e) { e.remove(e.find("bar.sync \t0;", 0)); }},
      {"maxima_event_dropped",
       FindingKind::DataRace,
       "row_statistics",
       "",
       [](PtxEditor &e) { e.remove(e.find("bar.sync \t1, 256", 0)); },
       Base::Plain,
       "attend",
       {},
       {FindingKind::UnwrittenRead}},
      {"probability_event_dropped", FindingKind::DataRace, "kv stage", "tile.mma_nn",
       [](PtxEditor &e) { e.remove(e.find("bar.sync \t2, 256", 0)); }},
      {"event_for_one_warpgroup_only",
       FindingKind::DataRace,
       "row_statistics",
       "",
       [](PtxEditor &e) { e.replace(e.find("bar.sync \t1, 256", 0), "256", "128"); },
       Base::Plain,
       "attend",
       {},
       {FindingKind::UnwrittenRead}},
      {"event_with_two_numbers_of_threads", FindingKind::BarrierMisuse, "", "tile.sync_event",
       [](PtxEditor &e) {
         const size_t barrier = e.find("bar.sync \t1, 256", 0);
         e.insertBefore(barrier, "{ .reg .pred first; .reg .b32 n; setp.lt.u32 first, %r4, 1; "
                                 "selp.b32 n, 256, 384, first; barrier.sync 1, n; }");
         e.replace(barrier, "\n.*bar.sync.*", "");
       }},
      {"barrier_in_one_half_of_a_warp", FindingKind::Divergence, "", "",
       [](PtxEditor &e) {
         e.insertBefore(e.find("bar.sync \t1, 256", 0),
                        "{ .reg .pred half; .reg .b32 id; mov.u32 id, %laneid; setp.lt.u32 half, id, 16; "
                        "@half bra HERE; bra THERE; HERE: bar.sync 3, 32; THERE: }");
       }},
  };
}

//===- Arrivals, bytes, stages -----------------------------------------------------------------------===//

/// The register that holds the bytes of an expect_tx gets another value.
static void changeExpected(PtxEditor &e, int n, const std::string &bytes) {
  const size_t expect = e.find("arrive.expect_tx", n);
  e.replace(expect, R"(, %r\d+;)", ", " + bytes + ";");
}

static std::vector<Planted> arrivals() {
  return {
      {"expected_bytes_halved", FindingKind::TransactionCount, "kv.full", "tile.load",
       [](PtxEditor &e) { changeExpected(e, 1, "36864"); }},
      {"expected_bytes_doubled", FindingKind::TransactionCount, "q.full", "tile.wait",
       [](PtxEditor &e) { changeExpected(e, 0, "147456"); }},
      {"a_box_is_not_loaded", FindingKind::TransactionCount, "kv.full", "tile.wait",
       [](PtxEditor &e) { e.remove(e.find(R"(cp.async.bulk.tensor.*\[%rd\d+\+81920\])", 0)); }},
      {"one_warp_does_not_release", FindingKind::Deadlock, "", "tile.wait",
       [](PtxEditor &e) {
         const size_t arrive = e.find(R"(mbarrier.arrive.shared.*\+222240\])", 0);
         e.insertBefore(arrive,
                        "{ .reg .pred some; .reg .b32 id; mov.u32 id, %tid.x; setp.ge.u32 some, id, 32;");
         e.replace(arrive, "\tmbarrier", "\t@some mbarrier");
         e.insertAfter(arrive, "}");
       }},
      {"released_twice", FindingKind::Deadlock, "", "tile.wait",
       [](PtxEditor &e) {
         const size_t arrive = e.find(R"(mbarrier.arrive.shared.*\+222240\])", 0);
         e.insertAfter(arrive, e.line(arrive));
       }},
      {"released_before_it_is_read", FindingKind::DataRace, "kv stage", "",
       [](PtxEditor &e) {
         const size_t event = e.find("bar.sync \t2, 256", 0);
         // Both stages, in the middle of the unit: the other tile is still to be multiplied.
         e.insertAfter(
             event,
             "{ .reg .pred lane0; .reg .b32 id; .reg .b64 none; mov.u32 id, %laneid; "
             "setp.eq.u32 lane0, id, 0; @lane0 mbarrier.arrive.shared.b64 none, "
             "[lathe_shared+222240]; @lane0 mbarrier.arrive.shared.b64 none, [lathe_shared+222248]; }");
         e.removeAll(R"(mbarrier.arrive.shared.*\+222240\])");
       }},
      {"too_many_arrivals", FindingKind::BarrierMisuse, "q.empty", "tile.release",
       [](PtxEditor &e) {
         const size_t arrive = e.find(R"(mbarrier.arrive.shared.*lathe_shared\+222216\])", 0);
         e.replace(arrive, R"(222216\];)", "222216], 9;");
       }},
      {"box_written_past_its_stage", FindingKind::DataRace, "kv stage", "",
       [](PtxEditor &e) {
         // The last box of the unit's first tile lands in the first box of the next stage.
         e.replace(e.find(R"(\[%rd\d+\+139264\], \[%rd1,)", 0), R"(\+139264\])", "+147456]");
       }},
      {"barrier_used_before_it_is_made", FindingKind::BarrierMisuse, "kv.full", "",
       [](PtxEditor &e) { e.remove(e.find(R"(mbarrier.init.*222224\])", 0)); }},
      {"barrier_made_twice", FindingKind::BarrierMisuse, "q.full", "tile.pipe",
       [](PtxEditor &e) {
         const size_t init = e.find(R"(mbarrier.init.*222208\])", 0);
         e.insertAfter(init, e.line(init));
       }},
      {"statistics_overlap_the_ring", FindingKind::DataRace, "kv stage", "tile.put_rows",
       [](PtxEditor &e) {
         e.replaceAll(R"(\+221184\])", "+73728]");
         e.replaceAll(R"(\+221216\])", "+73760]");
       }},
      {"statistics_overlap_the_barriers", FindingKind::BarrierMisuse, "kv.full", "tile.put_rows",
       [](PtxEditor &e) { e.replaceAll(R"(\+221216\])", "+222224]"); }},
  };
}

//===- Descriptors, tensor maps, addresses -----------------------------------------------------------===//

/// The constant of a WGMMA descriptor, with its fields changed.
static void changeDescriptor(PtxEditor &e, int n, const std::function<uint64_t(uint64_t)> &change) {
  const size_t make = e.find(R"(or.b64 .*, \d{12,};)", n);
  const uint64_t bits = std::stoull(e.group(make, R"(, (\d{12,});)"));
  e.replace(make, R"(, \d{12,};)", fmt::format(", {};", int64_t(change(bits))));
}
static uint64_t exchangeOffsets(uint64_t bits) {
  const uint64_t leading = bits >> 16 & 0x3fff, stride = bits >> 32 & 0x3fff;
  return (bits & ~(0x3fffull << 16 | 0x3fffull << 32)) | stride << 16 | leading << 32;
}

static std::vector<Planted> addresses() {
  return {
      {"swizzle_of_the_keys_changed", FindingKind::Descriptor, "kv stage", "tile.mma_nt",
       [](PtxEditor &e) {
         changeDescriptor(e, 1, [](uint64_t bits) { return (bits & ~(3ull << 62)) | 2ull << 62; });
       }},
      {"swizzle_of_the_values_dropped", FindingKind::Descriptor, "", "tile.mma_nn",
       [](PtxEditor &e) { changeDescriptor(e, 2, [](uint64_t bits) { return bits & ~(3ull << 62); }); }},
      {"offsets_of_the_keys_exchanged", FindingKind::Descriptor, "", "tile.mma_nt",
       [](PtxEditor &e) { changeDescriptor(e, 1, exchangeOffsets); }},
      {"offsets_of_the_values_exchanged", FindingKind::Descriptor, "kv stage", "tile.mma_nn",
       [](PtxEditor &e) { changeDescriptor(e, 2, exchangeOffsets); }},
      {"descriptor_past_shared_memory", FindingKind::OutOfBounds, "", "tile.mma_nn",
       [](PtxEditor &e) { changeDescriptor(e, 2, [](uint64_t bits) { return bits | 0x3000ull << 16; }); }},
      {"load_with_another_map", FindingKind::TensorMap, "", "tile.load",
       [](PtxEditor &e) { e.replace(e.find("cvta.param.u64", 0), "%rd48", "%rd36"); }},
      {"store_past_the_output", FindingKind::OutOfBounds, "partial_out", "tile.store",
       [](PtxEditor &e) {
         e.replace(e.find("st.global.v2.b32", 5), R"(\[(%rd\d+)\+?(\d*)\])", "[$1+1000000]");
       }},
      {"store_misaligned", FindingKind::Misaligned, "partial_out", "tile.store",
       [](PtxEditor &e) { e.replace(e.find("st.global.v2.b32", 5), R"(\[(%rd\d+)\+?(\d*)\])", "[$1+36]"); }},
      {"length_read_past_its_end", FindingKind::OutOfBounds, "lengths", "",
       [](PtxEditor &e) {
         const size_t load = e.find("ld.global.v4.b32", 0);
         const std::string sequence = e.group(load, R"(\{(%r\d+),)");
         e.insertAfter(load, "add.s32 " + sequence + ", " + sequence + ", 5;");
       }},
      {"shared_store_past_the_end", FindingKind::OutOfBounds, "", "tile.put_rows",
       [](PtxEditor &e) { e.replaceAll(R"(\+221184\])", "+232000]"); }},
  };
}

//===- Values, registers, sizes ----------------------------------------------------------------------===//

static std::vector<Planted> values() {
  return {
      {"statistics_never_written", FindingKind::UnwrittenRead, "row_statistics", "tile.get_rows",
       [](PtxEditor &e) { e.remove(e.find(R"(st.shared.b32.*\+221184\])", 0)); }},
      {"work_list_never_written", FindingKind::UnwrittenRead, "worker_begin", "llvm.load",
       [](PtxEditor &e) { e.remove(e.find("st.global.b32", -1)); }, Base::Plain, "plan"},
      {"partial_logarithm_never_written", FindingKind::UnwrittenRead, "partial_lse", "llvm.load",
       [](PtxEditor &e) { e.remove(e.findOf("st.global.b32", R"(tile.store_rows .* to %arg17 )")); }},
      {"factor_never_computed", FindingKind::UndefinedValue, "", "",
       [](PtxEditor &e) { e.remove(e.find(R"(mul.f32 .*0f3FB8AA3B)", 0)); }},
      {"budget_below_the_accumulators", FindingKind::RegisterBudget, "", "tile.roles",
       [](PtxEditor &e) { e.replace(e.find("setmaxnreg.inc", 0), "inc(.*)232", "dec$01120"); }},
      {"budget_raised_by_a_decrease", FindingKind::RegisterBudget, "", "tile.roles",
       [](PtxEditor &e) { e.replace(e.find("setmaxnreg.inc", 0), "inc", "dec"); }},
      {"registers_never_given_back", FindingKind::Deadlock, "", "tile.roles",
       [](PtxEditor &e) { e.remove(e.find("setmaxnreg.dec", 0)); }},
      {"more_shared_memory_than_there_is", FindingKind::SharedLimit, "", "", [](PtxEditor &) {}, Base::Plain,
       "attend", [](Manifest &m) { m.attend.sharedBytes = 240000; }},
      {"less_shared_memory_than_is_used", FindingKind::OutOfBounds, "", "", [](PtxEditor &) {}, Base::Plain,
       "attend", [](Manifest &m) { m.attend.sharedBytes = 200000; }},
      {"endless_loop", FindingKind::Livelock, "", "",
       [](PtxEditor &e) { e.insertBefore(e.find("ld.param", 0), "FOREVER: bra FOREVER;"); }, Base::Plain,
       "combine"},
      {"lanes_part_before_a_shuffle", FindingKind::Divergence, "", "nvvm.shfl.sync",
       [](PtxEditor &e) {
         const size_t shuffle = e.find("shfl.sync.bfly", 0);
         e.insertBefore(shuffle,
                        "{ .reg .pred half; .reg .b32 id; mov.u32 id, %laneid; setp.lt.u32 half, id, 16; "
                        "@half bra AROUND;");
         e.insertAfter(shuffle, "AROUND: }");
       },
       Base::Plain, "combine"},
  };
}

//===- Clusters --------------------------------------------------------------------------------------===//

static std::vector<Planted> clusters() {
  return {
      {"cluster_ends_without_its_barrier", FindingKind::ExitInFlight, "of CTA", "tile.release",
       [](PtxEditor &e) {
         e.remove(e.find("barrier.cluster.arrive", -1));
         e.remove(e.find("barrier.cluster.wait", -1));
       },
       Base::Cluster},
      {"releases_reach_the_first_cta_only", FindingKind::DataRace, "kv stage", "tile.load",
       [](PtxEditor &e) {
         e.replaceAll(R"(mapa.shared::cluster.u32 remote, (%r\d+), %r\d+)",
                      "mapa.shared::cluster.u32 remote, $1, 0");
       },
       Base::Cluster},
      {"multicast_to_a_cta_that_is_not_there", FindingKind::OutOfBounds, "", "tile.load",
       [](PtxEditor &e) { e.replaceAll(R"(mov.b16 (.*), 3;)", "mov.b16 $1, 7;"); }, Base::Cluster},
      {"multicast_to_one_cta_only", FindingKind::TransactionCount, "kv.full", "tile.wait",
       [](PtxEditor &e) { e.replaceAll(R"(mov.b16 (.*), 3;)", "mov.b16 $1, 1;"); }, Base::Cluster},
      {"descriptor_with_the_rank_in_it", FindingKind::Descriptor, "", "tile.mma_nn",
       [](PtxEditor &e) { e.replaceAll("bfe.u64 (.*), 4, 14;", "bfe.u64 $1, 4, 28;"); }, Base::Cluster},
  };
}

static std::string plantedName(const testing::TestParamInfo<Planted> &info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(Fences, PlantedBugs, testing::ValuesIn(fences()), plantedName);
INSTANTIATE_TEST_SUITE_P(Waits, PlantedBugs, testing::ValuesIn(waits()), plantedName);
INSTANTIATE_TEST_SUITE_P(Barriers, PlantedBugs, testing::ValuesIn(barriers()), plantedName);
INSTANTIATE_TEST_SUITE_P(Arrivals, PlantedBugs, testing::ValuesIn(arrivals()), plantedName);
INSTANTIATE_TEST_SUITE_P(Addresses, PlantedBugs, testing::ValuesIn(addresses()), plantedName);
INSTANTIATE_TEST_SUITE_P(Values, PlantedBugs, testing::ValuesIn(values()), plantedName);
INSTANTIATE_TEST_SUITE_P(Clusters, PlantedBugs, testing::ValuesIn(clusters()), plantedName);
