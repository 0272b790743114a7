#include "RouteCase.h"

#include "lathe/reference/MoeRouting.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

using namespace lathe;
using namespace lathe::emulatedtest;

static constexpr int slotTile = codegen::moeSlotTile;
static constexpr int32_t nothing = RouteResult::nothing;

static std::string judgeRouting(const RouteCase &route, const RouteData &inputs, const RouteResult &result) {
  const dsl::MoeShape &shape = route.shape;
  const reference::MoeRouter router{
      .experts = shape.experts,
      .topK = shape.topK,
      .scoring =
          shape.scoring == dsl::Scoring::Softmax ? reference::Scoring::Softmax : reference::Scoring::Sigmoid,
      .renormalize = shape.renormalize,
      .scale = float(shape.scale),
      .bias = shape.bias,
      .groups = shape.groups,
      .topGroups = shape.topGroups,
      .groupScore = shape.groupScore == dsl::GroupScore::Best ? reference::GroupScore::Best
                                                              : reference::GroupScore::TwoBest};
  const auto experts = size_t(shape.experts), topK = size_t(shape.topK);
  for (size_t row = 0; row < size_t(route.rows); ++row) {
    const reference::RouterRow one{.logits = std::span(inputs.logits).subspan(row * experts, experts),
                                   .logitErrors = {},
                                   .bias = inputs.bias};
    const auto check = reference::checkRoutedRow(router, one, std::span(result.ids).subspan(row * topK, topK),
                                                 std::span(result.weights).subspan(row * topK, topK));
    if (!check.fault.empty())
      return fmt::format("row {}: {}", row, check.fault);
  }
  return "";
}

/// NaN is less than all else, and weighs nothing.
static std::string judgePlain(const RouteCase &route, const RouteData &inputs, const RouteResult &result) {
  const auto experts = size_t(route.shape.experts), topK = size_t(route.shape.topK);
  for (size_t row = 0; row < size_t(route.rows); ++row) {
    const double *logits = &inputs.logits[row * experts];
    auto key = [&](int32_t i) { return std::isnan(logits[i]) ? -HUGE_VAL : logits[i]; };
    std::vector<int32_t> order(experts);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(),
              [&](int32_t a, int32_t b) { return key(a) != key(b) ? key(a) > key(b) : a < b; });
    for (size_t i = 0; i < topK; ++i) {
      const size_t choice = row * topK + i;
      const double weight = std::isnan(logits[order[i]]) ? 0 : logits[order[i]];
      if (result.ids[choice] != order[i] || double(result.weights[choice]) != weight)
        return fmt::format("row {} choice {}: expert {} weighs {}, expected {} and {}", row, i,
                           result.ids[choice], result.weights[choice], order[i], weight);
    }
  }
  return "";
}

static std::string judgePlaces(const RouteResult &result, const RouteExtents &extents) {
  std::vector<int32_t> expected(extents.choices, -1);
  for (size_t slot = 0; slot < size_t(result.offsets.back()); ++slot)
    if (result.slots[slot] >= 0)
      expected[size_t(result.slots[slot])] = int32_t(slot);
  for (size_t choice = 0; choice < extents.choices; ++choice)
    if (result.places[choice] != expected[choice])
      return fmt::format("place of choice {}: {}, expected {}", choice, result.places[choice],
                         expected[choice]);
  return "";
}

static std::string judgeShared(const RouteCase &route, const RouteResult &result,
                               const RouteExtents &extents) {
  for (size_t slot = size_t(result.offsets.back()); slot < extents.slots; ++slot) {
    const auto padded = size_t((route.rows + slotTile - 1) / slotTile * slotTile);
    int32_t expected = nothing;
    if (slot >= extents.sharedStart) {
      const size_t row = (slot - extents.sharedStart) % padded;
      expected = row < size_t(route.rows) ? int32_t(row) * route.shape.topK : -1;
    }
    if (result.slots[slot] != expected)
      return fmt::format("slot {}: {}, expected {}", slot, result.slots[slot], expected);
  }
  return "";
}

/// Entries of one expert's tiles from number `at` on, which is moved behind them.
static std::string judgeTiles(const RouteCase &route, const RouteResult &result, int expert, int first,
                              int rows, size_t &at) {
  const int tokenTile = route.config.tokenTile, count = (rows + tokenTile - 1) / tokenTile;
  for (int i = 0; i < count; ++i, ++at) {
    const int32_t *tile = &result.tiles[at * 4];
    if (tile[0] != expert || tile[1] != first || tile[2] != rows || tile[3] != (count << 16 | i))
      return fmt::format("tile {}: expert {} slot {} rows {} last word {}, expected {} {} {} {}", at, tile[0],
                         tile[1], tile[2], tile[3], expert, first, rows, count << 16 | i);
  }
  return "";
}

static std::string judgeAllTiles(const RouteCase &route, const RouteResult &result,
                                 const RouteExtents &extents) {
  size_t at = 0;
  const int padded = (route.rows + slotTile - 1) / slotTile * slotTile;
  for (int expert = 0; expert < int(extents.experts) + route.shape.shared; ++expert) {
    const auto i = size_t(expert);
    const bool shared = i >= extents.experts;
    const int first =
        shared ? int(extents.sharedStart) + (expert - int(extents.experts)) * padded : result.offsets[i];
    const int rows = shared ? route.rows : result.counts[i];
    if (std::string fault = judgeTiles(route, result, expert, first, rows, at); !fault.empty())
      return fault;
  }
  if (result.tileCount[0] != int(at))
    return fmt::format("{} tiles, expected {}", result.tileCount[0], at);
  for (size_t word = at * 4; word < result.tiles.size(); ++word)
    if (result.tiles[word] != nothing)
      return fmt::format("word {} behind the last of {} tiles was written", word, at);
  return "";
}

std::string emulatedtest::judgeRoute(const RouteCase &route, const RouteData &inputs,
                                     const RouteResult &result) {
  const RouteExtents extents(route);
  if (inputs.ids.empty()) {
    const auto judgeChoice = route.plain ? judgePlain : judgeRouting;
    if (std::string fault = judgeChoice(route, inputs, result); !fault.empty())
      return fault;
  } else if (result.ids != inputs.ids ||
             !std::all_of(result.weights.begin(), result.weights.end(),
                          [](float w) { return std::bit_cast<int32_t>(w) == nothing; })) {
    return "a given routing was written";
  }
  const reference::SortedMap map{slotTile, result.counts, result.offsets, result.slots};
  if (std::string fault =
          reference::checkSortedMap(map, result.ids, {route.firstExpert, int(extents.experts)});
      !fault.empty())
    return fault;
  for (const std::string &fault : {judgePlaces(result, extents), judgeShared(route, result, extents),
                                   judgeAllTiles(route, result, extents)})
    if (!fault.empty())
      return fault;
  return "";
}
