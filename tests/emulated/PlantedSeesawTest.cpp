// Planted bugs of the form with two consumers in turns: their events, the parts they give back, the boxes
// they wait for.
#include "Planted.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::emulatedtest;

static Planted seesaw(std::string name, FindingKind kind, std::string address, std::string operation,
                      std::function<void(PtxEditor &)> edit, std::vector<FindingKind> orFirst = {}) {
  return {std::move(name), kind, std::move(address), std::move(operation), std::move(edit), Base::Seesaw,
          "attend",        {},   std::move(orFirst)};
}

//===- Events ----------------------------------------------------------------------------------------===//

/// The arrival at an event moves before the first matrix of the probabilities.
static void tellEarly(PtxEditor &e, int event, const std::string &buffer) {
  e.remove(e.findOf("bar.arrive", fmt::format("tile.arrive_event {} ", event)));
  e.insertBefore(e.findOf("stmatrix", "tile.put_operand %\\d+, " + buffer),
                 fmt::format("bar.arrive {}, 256;", event));
}

static std::vector<Planted> events() {
  return {
      // Who is not waited for arrives twice at an event that nobody else comes to.
      seesaw("left_is_not_waited_for", FindingKind::DataRace, "row_statistics", "tile.get_rows",
             [](PtxEditor &e) { e.remove(e.findOf("bar.sync", "tile.sync_event 1 ")); },
             {FindingKind::UnwrittenRead}),
      seesaw("right_is_not_waited_for", FindingKind::DataRace, "row", "",
             [](PtxEditor &e) { e.remove(e.findOf("bar.sync", "tile.sync_event 2 ")); },
             {FindingKind::UnwrittenRead}),
      seesaw("left_does_not_tell", FindingKind::Deadlock, "", "",
             [](PtxEditor &e) { e.remove(e.findOf("bar.arrive", "tile.arrive_event 1 ")); }),
      seesaw("right_does_not_tell", FindingKind::Deadlock, "", "",
             [](PtxEditor &e) { e.remove(e.findOf("bar.arrive", "tile.arrive_event 2 ")); }),
      seesaw("left_tells_before_it_writes", FindingKind::DataRace, "probabilities", "",
             [](PtxEditor &e) { tellEarly(e, 1, "%probabilities"); }),
      seesaw("right_tells_before_it_writes", FindingKind::DataRace, "kv1 row", "",
             [](PtxEditor &e) { tellEarly(e, 2, "%\\d+"); }),
      seesaw("maxima_are_told_before_they_are_written", FindingKind::DataRace, "row_statistics", "",
             [](PtxEditor &e) {
               e.remove(e.findOf("bar.arrive", "tile.arrive_event 1 "));
               // One lane of four writes: before the branch around it.
               const size_t store = e.findOf("st.shared", "tile.put_rows .*%c0_i32");
               e.insertBefore(e.before(store, "@%p\\d+ bra"), "bar.arrive 1, 256;");
             },
             {FindingKind::UnwrittenRead}),
      seesaw("sums_read_before_both_are_written", FindingKind::DataRace, "row_statistics", "_rows",
             [](PtxEditor &e) { e.removeAll("bar.sync \t3, 256"); }, {FindingKind::UnwrittenRead}),
      seesaw("values_multiplied_before_rows_are_cleared", FindingKind::DataRace, "kv0 row", "",
             [](PtxEditor &e) { e.remove(e.findOf("bar.sync", "tile.sync_event 4 ", 1)); }),
  };
}

static std::vector<Planted> fences() {
  auto unfenced = [](const char *name, const char *address, const char *operation) {
    // Seen where they are multiplied with, or where the next tile is loaded over them.
    return seesaw(name, FindingKind::ProxyUnfenced, address, "tile.",
                  [operation](PtxEditor &e) { e.remove(e.findOf("fence.proxy.async", operation)); });
  };
  return {
      unfenced("left_probabilities_unfenced", "probabilities", "tile.put_operand %\\d+, %probabilities"),
      unfenced("right_probabilities_unfenced", "kv1 row", "tile.put_operand %\\d+, %\\d+"),
  };
}

//===- Parts and boxes -------------------------------------------------------------------------------===//

static constexpr int stageParts = 3; // Their barriers are the last that a pipe makes.

/// A part is given back behind another instruction.
static void releaseBehind(PtxEditor &e, const std::string &tile, int part, size_t line) {
  const std::string name = part == 0 ? "" : fmt::format(" part {}", part);
  e.remove(e.findOf("mbarrier.arrive.shared", fmt::format("tile.release %{}\\[%\\w+\\]{} :", tile, name)));
  const size_t init = e.findOf("mbarrier.init", fmt::format("%{} = tile.pipe", tile), part - stageParts);
  e.insertAfter(line, fmt::format("{{ .reg .pred lane0; .reg .b32 id; .reg .b64 none; mov.u32 id, %laneid; "
                                  "setp.eq.u32 lane0, id, 0; @lane0 mbarrier.arrive.shared.b64 none, {}; }}",
                                  e.group(init, R"((\[.*\]))")));
}

static std::vector<Planted> parts() {
  auto early = [](const char *name, const char *tile, int part, const char *instruction,
                  const char *operation) {
    return seesaw(name, FindingKind::DataRace, fmt::format("{} row", tile), "",
                  [=](PtxEditor &e) { releaseBehind(e, tile, part, e.findOf(instruction, operation)); });
  };
  auto acquire = [](const char *name, const char *tile, const char *part, int change) {
    return seesaw(name, FindingKind::DataRace, fmt::format("{} row", tile), "",
                  [=](PtxEditor &e) {
                    const size_t wait =
                        e.findOf("mbarrier.try_wait", fmt::format("tile.acquire %{}.*{} :", tile, part));
                    const std::string address = e.group(wait, R"(\[(%r\d+)\])");
                    e.insertBefore(e.before(wait, "\t\\.reg"),
                                   fmt::format("add.s32 {0}, {0}, {1};", address, change));
                  },
                  {FindingKind::PhaseWaitedTwice});
  };
  return {
      early("keys_of_the_first_tile_given_back_early", "kv0", 2, "mbarrier.try_wait",
            "tile.wait %kv0.* group 4"),
      early("left_values_of_the_first_tile_given_back_early", "kv0", 0, "bar.arrive", "tile.arrive_event 1 "),
      early("right_values_of_the_first_tile_given_back_early", "kv0", 1, "bar.sync", "tile.sync_event 1 "),
      early("right_values_of_the_second_tile_given_back_early", "kv1", 1, "bar.arrive",
            "tile.arrive_event 2 "),
      early("left_values_of_the_second_tile_given_back_early", "kv1", 0, "bar.sync", "tile.sync_event 2 "),
      acquire("left_part_acquired_in_place_of_right", "kv0", " part 1", -8),
      acquire("keys_acquired_in_place_of_right_part", "kv1", " part 1", 8),
  };
}

static std::vector<Planted> boxes() {
  auto notWaited = [](const char *name, const char *tile, int box) {
    return seesaw(name, FindingKind::DataRace, fmt::format("{} row", tile), "tile.mma_nt", [=](PtxEditor &e) {
      removeWait(e, e.findOf("mbarrier.try_wait", fmt::format("tile.wait %{}.* group {}", tile, box)));
    });
  };
  return {
      notWaited("a_box_of_the_first_tile_not_waited_for", "kv0", 3),
      notWaited("a_box_of_the_second_tile_not_waited_for", "kv1", 4),
      seesaw("bytes_of_a_box_halved", FindingKind::TransactionCount, "kv0.full", "",
             [](PtxEditor &e) {
               e.replace(e.findOf("arrive.expect_tx", "tile.expect %kv0.* group 2"), R"(, %r\d+;)",
                         ", 4096;");
             }),
      seesaw("a_box_counts_for_another", FindingKind::TransactionCount, "kv1.full", "",
             [](PtxEditor &e) {
               // Boxes 2 and 3 have barriers that lie next to one another.
               const size_t load = e.findOf("cp.async.bulk.tensor", "tile.load .* into %kv1.* box 2 ");
               const int barrier = std::stoi(e.group(load, R"(, \[%rd\d+\+(\d+)\])"));
               e.replace(load, R"((, \[%rd\d+\+)\d+\])", fmt::format("$01{}]", barrier + 8));
             }),
      seesaw("a_box_of_one_tile_lands_in_the_other", FindingKind::DataRace, "kv1 row", "",
             [](PtxEditor &e) {
               const size_t load = e.findOf("cp.async.bulk.tensor", "tile.load .* into %kv0.* box 1 ");
               const int place = std::stoi(e.group(load, R"( \[%rd\d+\+(\d+)\], \[%rd)"));
               e.replace(load, R"(( \[%rd\d+\+)\d+\], \[%rd)", fmt::format("$01{}], [%rd", place + 40960));
             }),
      seesaw("probabilities_written_over_values", FindingKind::DataRace, "kv1 row", "",
             [](PtxEditor &e) {
               const size_t matrix = e.findOf("stmatrix", "tile.put_operand %\\d+, %\\d+");
               const int place = std::stoi(e.group(matrix, R"(\+(\d+)\])"));
               e.replace(matrix, R"(\+\d+\])", fmt::format("+{}]", place - 8192));
             }),
  };
}

//===- Next scores begun early -----------------------------------------------------------------------===//

static std::vector<Planted> early() {
  auto planted = [](const char *name, FindingKind kind, const char *address, auto edit,
                    std::vector<FindingKind> orFirst = {}) {
    Planted bug = seesaw(name, kind, address, "", edit, std::move(orFirst));
    bug.base = Base::SeesawEarly;
    return bug;
  };
  auto unheard = [](int event) {
    return [=](PtxEditor &e) { e.remove(e.findOf("bar.sync", fmt::format("tile.sync_event {} ", event))); };
  };
  return {
      planted("early_left_probabilities_not_waited_for", FindingKind::DataRace, "row_statistics", unheard(1),
              {FindingKind::UnwrittenRead}),
      planted("early_right_probabilities_not_waited_for", FindingKind::DataRace, "kv1 row", unheard(2),
              {FindingKind::UnwrittenRead}),
      planted("early_second_tile_given_back_before_its_product_ended", FindingKind::DataRace, "kv1 row",
              [](PtxEditor &e) { e.remove(e.find("wgmma.wait_group.sync.aligned \t?1").front()); }),
      planted(
          "early_next_scores_do_not_wait_for_a_box", FindingKind::DataRace, "kv0 row",
          [](PtxEditor &e) { removeWait(e, e.findOf("mbarrier.try_wait", "tile.wait %kv0.* group 1 ", 1)); }),
  };
}

INSTANTIATE_TEST_SUITE_P(SeesawEarly, PlantedBugs, testing::ValuesIn(early()), plantedName);
INSTANTIATE_TEST_SUITE_P(SeesawEvents, PlantedBugs, testing::ValuesIn(events()), plantedName);
INSTANTIATE_TEST_SUITE_P(SeesawFences, PlantedBugs, testing::ValuesIn(fences()), plantedName);
INSTANTIATE_TEST_SUITE_P(SeesawParts, PlantedBugs, testing::ValuesIn(parts()), plantedName);
INSTANTIATE_TEST_SUITE_P(SeesawBoxes, PlantedBugs, testing::ValuesIn(boxes()), plantedName);
