// Planted bugs of time: fences, waits, barriers, arrivals and the bytes they count.
#include "Planted.h"

using namespace lathe;
using namespace lathe::emulatedtest;

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

/// Sets the parity of a wait to its opposite.
static void flipParity(PtxEditor &e, int n) {
  const size_t wait = e.find("mbarrier.try_wait", n);
  const std::string parity = e.group(wait, R"(\], (%r\d+))");
  e.insertBefore(e.before(wait, "^\\{|^\t\\{"), "xor.b32 " + parity + ", " + parity + ", 1;");
}

static std::vector<Planted> waits() {
  return {
      {"wait_for_query_dropped", FindingKind::DataRace, "q row", "tile.mma_nt",
       [](PtxEditor &e) { removeWait(e, e.find("mbarrier.try_wait", 0)); }},
      {"wait_for_own_tile_dropped", FindingKind::DataRace, "kv stage", "tile.mma_nt",
       [](PtxEditor &e) { removeWait(e, e.find("mbarrier.try_wait", 1)); }},
      {"wait_for_empty_stage_dropped",
       FindingKind::DataRace,
       "kv stage",
       "tile.load",
       [](PtxEditor &e) { removeWait(e, e.find("mbarrier.try_wait", 4)); },
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
      {"mma_wait_of_scores_dropped", FindingKind::MmaInFlight, "", "tile.reduce",
       [](PtxEditor &e) { e.remove(e.find("wgmma.wait_group", 0)); }},
      {"mma_wait_of_output_dropped", FindingKind::DataRace, "kv stage", "tile.load",
       [](PtxEditor &e) { e.remove(e.find("wgmma.wait_group", 1)); }},
      {"mma_commit_dropped", FindingKind::MmaInFlight, "", "tile.reduce",
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
         e.insertBefore(barrier,
                        "{ .reg .pred first; .reg .b32 n; mov.u32 n, %tid.x; setp.lt.u32 first, n, 128; "
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
         e.replace(e.findOf("mbarrier.arrive.shared", "tile.release %q"), R"(\];)", "], 9;");
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

INSTANTIATE_TEST_SUITE_P(Fences, PlantedBugs, testing::ValuesIn(fences()), plantedName);
INSTANTIATE_TEST_SUITE_P(Waits, PlantedBugs, testing::ValuesIn(waits()), plantedName);
INSTANTIATE_TEST_SUITE_P(Barriers, PlantedBugs, testing::ValuesIn(barriers()), plantedName);
INSTANTIATE_TEST_SUITE_P(Arrivals, PlantedBugs, testing::ValuesIn(arrivals()), plantedName);
