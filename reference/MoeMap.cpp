//===- MoeMap.cpp - The sorted map of rows to experts and its judge ----------------------------------===//
//
// Makes the map that grouped matrix products read from the ids of a routing, and says of a kernel's map where
// it first differs from the only right one. Plain host code on plain arrays.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/MoeRouting.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::reference;

static void requireTile(int tile) {
  if (tile < 1)
    throw UserError({"sorted map of experts", "the tile must be at least 1", std::to_string(tile), ""});
}

/// The pairs of each local expert, ascending.
static std::vector<std::vector<int32_t>> pairsOf(std::span<const int32_t> ids, const LocalExperts &experts) {
  std::vector<std::vector<int32_t>> pairs(size_t(experts.count));
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t local = int64_t(ids[i]) - experts.first;
    if (local >= 0 && local < experts.count)
      pairs[size_t(local)].push_back(int32_t(i));
  }
  return pairs;
}

static int32_t padded(size_t pairs, int tile) {
  return int32_t((pairs + size_t(tile) - 1) / size_t(tile) * size_t(tile));
}

SortedMap lathe::reference::makeSortedMap(std::span<const int32_t> ids, const LocalExperts &experts,
                                          int tile) {
  requireTile(tile);
  SortedMap map;
  map.tile = tile;
  map.offsets.push_back(0);
  for (const std::vector<int32_t> &pairs : pairsOf(ids, experts)) {
    map.counts.push_back(int32_t(pairs.size()));
    map.slots.insert(map.slots.end(), pairs.begin(), pairs.end());
    map.offsets.push_back(map.offsets.back() + padded(pairs.size(), tile));
    map.slots.resize(size_t(map.offsets.back()), -1);
  }
  return map;
}

static std::string checkExtents(const SortedMap &map, const std::vector<std::vector<int32_t>> &expected,
                                int firstExpert) {
  if (map.counts.size() != expected.size() || map.offsets.size() != expected.size() + 1)
    return fmt::format("{} counts and {} offsets for {} experts, which need {} and {}", map.counts.size(),
                       map.offsets.size(), expected.size(), expected.size(), expected.size() + 1);
  int32_t offset = 0;
  for (size_t expert = 0; expert <= expected.size(); ++expert) {
    if (map.offsets[expert] != offset)
      return fmt::format("offset {}: got {}, expected {}", expert, map.offsets[expert], offset);
    if (expert == expected.size())
      break;
    if (map.counts[expert] != int32_t(expected[expert].size()))
      return fmt::format("count of expert {}: got {}, expected {}", firstExpert + int(expert),
                         map.counts[expert], expected[expert].size());
    offset += padded(expected[expert].size(), map.tile);
  }
  if (map.slots.size() < size_t(offset))
    return fmt::format("{} slots, the last expert ends at {}", map.slots.size(), offset);
  return "";
}

/// Why the slots of one expert, sorted, are not its pairs.
static std::string missingOrForeign(std::vector<int32_t> got, const std::vector<int32_t> &expected,
                                    const std::string &place) {
  std::sort(got.begin(), got.end());
  if (auto twice = std::adjacent_find(got.begin(), got.end()); twice != got.end())
    return fmt::format("{}: {} stands twice", place, *twice);
  for (int32_t pair : expected)
    if (!std::binary_search(got.begin(), got.end(), pair))
      return fmt::format("{}: {} is missing", place, pair);
  return "";
}

std::string lathe::reference::checkSortedMap(const SortedMap &map, std::span<const int32_t> ids,
                                             const LocalExperts &experts, bool anyOrder) {
  requireTile(map.tile);
  const std::vector<std::vector<int32_t>> expected = pairsOf(ids, experts);
  if (std::string fault = checkExtents(map, expected, experts.first); !fault.empty())
    return fault;
  for (size_t expert = 0; expert < expected.size(); ++expert) {
    const std::vector<int32_t> &pairs = expected[expert];
    const int32_t begin = map.offsets[expert], end = map.offsets[expert + 1];
    const std::string place = fmt::format("expert {}", experts.first + int(expert));
    const auto first = map.slots.begin() + begin;
    const std::vector<int32_t> got(first, first + int64_t(pairs.size()));
    if (std::string fault = missingOrForeign(got, pairs, place); !fault.empty())
      return fault;
    for (size_t i = 0; !anyOrder && i < pairs.size(); ++i)
      if (got[i] != pairs[i])
        return fmt::format("{}, slot {}: got {}, expected {} (pairs must ascend)", place, begin + int32_t(i),
                           got[i], pairs[i]);
    for (int32_t slot = begin + int32_t(pairs.size()); slot < end; ++slot)
      if (map.slots[size_t(slot)] != -1)
        return fmt::format("{}, slot {}: got {}, expected -1 (padding)", place, slot,
                           map.slots[size_t(slot)]);
  }
  return "";
}
