// Planted bugs of the form with operands exchanged: query rows on the columns of the scores.
#include "Planted.h"

using namespace lathe;
using namespace lathe::emulatedtest;

//===- Operands exchanged -----------------------------------------------------------------------------===//

static std::vector<Planted> swapped() {
  auto at = [](const char *name, FindingKind kind, const char *address, const char *operation,
               std::function<void(PtxEditor &)> edit, std::vector<FindingKind> orFirst = {}) {
    return Planted{name,          kind,     address, operation,         std::move(edit),
                   Base::Swapped, "attend", {},      std::move(orFirst)};
  };
  return {
      at("transposed_probabilities_unfenced", FindingKind::ProxyUnfenced, "probabilities", "tile.mma_tt",
         [](PtxEditor &e) { e.remove(e.findOf("fence.proxy.async", "tile.put_transposed")); }),
      at("products_before_all_probabilities", FindingKind::DataRace, "probabilities", "tile.mma_tt",
         [](PtxEditor &e) {
           e.remove(e.after(e.findOf("stmatrix", "tile.put_transposed", -1), "bar.sync"));
         }),
      at("maxima_read_before_all_are_written", FindingKind::DataRace, "column_maxima",
         "tile.complete_columns",
         [](PtxEditor &e) { e.remove(e.findOf("bar.sync", "tile.complete_columns \"max\"")); },
         {FindingKind::UnwrittenRead}),
      at("sums_read_before_all_are_written", FindingKind::DataRace, "column_sums", "tile.complete_columns",
         [](PtxEditor &e) { e.remove(e.findOf("bar.sync", "tile.complete_columns \"add\"")); },
         {FindingKind::UnwrittenRead}),
      at("rows_copied_before_they_are_staged", FindingKind::DataRace, "output_rows", "tile.store_transposed",
         [](PtxEditor &e) { e.remove(e.findOf("bar.sync", "tile.store_transposed", 1)); },
         {FindingKind::UnwrittenRead}),
      at("second_group_not_waited_for", FindingKind::DataRace, "kv stage", "tile.mma_nt",
         [](PtxEditor &e) { removeWait(e, e.findOf("mbarrier.try_wait", "tile.wait .*group 1")); }),
      at("bytes_of_a_group_halved", FindingKind::TransactionCount, "kv.full", "",
         [](PtxEditor &e) {
           e.replace(e.findOf("mbarrier.arrive.expect_tx", "tile.expect .*group 2"), R"(\], [^;]*;)",
                     "], 12288;");
         }),
      at("swizzle_of_the_values_changed", FindingKind::Descriptor, "kv stage", "tile.mma_tt",
         [](PtxEditor &e) {
           changeDescriptorAt(e, e.findOf(descriptorFields, "tile.mma_tt"),
                              [](uint64_t bits) { return (bits & ~(3ull << 62)) | 2ull << 62; });
         }),
      at("values_read_past_their_stage", FindingKind::DataRace, "kv stage", "tile.mma_tt",
         [](PtxEditor &e) {
           // The last box of the values and one stage on: the next tile is on its way there.
           e.replace(e.findOf("wgmma.mma_async", "tile.mma_tt .*box 7"), R"(da, (%rd\d+), 3584;)",
                     "da, $1, 8192;");
         }),
      at("tile_loaded_with_the_map_of_queries", FindingKind::TransactionCount, "kv.full", "tile.wait",
         [](PtxEditor &e) { e.replace(e.find("mov.b64 .*attend_param_1;", 0), "_1;", "_0;"); }),
  };
}

INSTANTIATE_TEST_SUITE_P(Swapped, PlantedBugs, testing::ValuesIn(swapped()), plantedName);
