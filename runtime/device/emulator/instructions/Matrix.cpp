//===- Matrix.cpp - ldmatrix, stmatrix, movmatrix ----------------------------------------------------===//
//
// 8×8 matrices of 16-bit elements between shared memory and the fragments of a warp: lane 8·m + r names row r
// of matrix m, lane l holds the elements 2·(l mod 4) and the next of row l / 4, or with .trans of column l
// / 4.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/MemoryAccess.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

static constexpr uint32_t rowBytes = 16, matrixRows = 8;

namespace {
/// Detail of a matrix move.
struct MatrixDetail {
  uint32_t count = 1;
  bool transposed = false, ownBase = false;
  uint32_t pack() const { return count | uint32_t(transposed) << 8 | uint32_t(ownBase) << 9; }
  static MatrixDetail unpack(uint32_t bits) {
    return {bits & 255, (bits >> 8 & 1) != 0, (bits >> 9 & 1) != 0};
  }
};

/// The rows of up to four matrices, found and checked.
struct Rows {
  Place places[32];
  uint32_t lanes = 0; ///< That name a row.
  bool whole = true;  ///< All rows are there.
};
} // namespace

static Rows findRows(Warp &w, const Instr &i, const MatrixDetail &detail, bool write) {
  Rows rows;
  LaneAddresses addresses = laneAddresses(w, i, detail.ownBase ? -1 : 0);
  rows.lanes = detail.count == 4 ? allLanes : (uint32_t(1) << (detail.count * matrixRows)) - 1;
  addresses.mask &= rows.lanes;
  uint32_t offsets[laneCount] = {};
  overLanes(addresses.mask, [&](int lane) {
    rows.places[lane] = access(w, Space::Shared, addresses.at[lane], rowBytes, {write, false}, lane);
    offsets[lane] = rows.places[lane].offset;
  });
  for (uint32_t lane = 0; lane < detail.count * matrixRows; ++lane)
    rows.whole = rows.whole && rows.places[lane];
  countBanks(w, offsets, addresses.mask, rowBytes);
  (write ? w.counters().sharedStoreBytes : w.counters().sharedLoadBytes) +=
      uint64_t(detail.count) * matrixRows * rowBytes;
  return rows;
}

/// Where element `k` (0 or 1) of a lane's register lies: row and byte.
static std::pair<int, int> elementPlace(const MatrixDetail &detail, int lane, int k) {
  const int major = lane / 4, minor = lane % 4 * 2 + k;
  return detail.transposed ? std::pair(minor, major * 2) : std::pair(major, minor * 2);
}

static void loadMatrix(Warp &w, const Instr &i) {
  const MatrixDetail detail = MatrixDetail::unpack(i.detail);
  if (!w.requireConverged(allLanes, "ldmatrix"))
    return;
  const Rows rows = findRows(w, i, detail, false);
  for (uint32_t m = 0; m < detail.count; ++m) {
    uint32_t undefined = 0, origin = 0;
    overLanes(w.mask, [&](int lane) {
      uint32_t bits = 0;
      for (int k = 0; k < 2; ++k) {
        const auto [row, byte] = elementPlace(detail, lane, k);
        const Place &place = rows.places[m * matrixRows + uint32_t(row)];
        uint16_t element = 0;
        if (place)
          std::memcpy(&element, place.bytes + byte, sizeof(element));
        bits |= uint32_t(element) << (16 * k);
        if (place.undefined) {
          undefined |= uint32_t(1) << lane;
          origin = place.origin;
        }
      }
      setLane<uint32_t>(w.row(i.result(int(m))), lane, bits);
    });
    w.setUndefined(i.result(int(m)), undefined, origin);
  }
}

static void storeMatrix(Warp &w, const Instr &i) {
  const MatrixDetail detail = MatrixDetail::unpack(i.detail);
  if (!w.requireConverged(allLanes, "stmatrix"))
    return;
  const Rows rows = findRows(w, i, detail, true);
  if (!rows.whole)
    return;
  const int first = detail.ownBase ? 0 : 1;
  for (uint32_t m = 0; m < detail.count; ++m) {
    const Value &source = i.source(first + int(m));
    overLanes(w.mask, [&](int lane) {
      const uint32_t bits = laneAt<uint32_t>(w.row(source), lane);
      for (int k = 0; k < 2; ++k) {
        const auto [row, byte] = elementPlace(detail, lane, k);
        const Place &place = rows.places[m * matrixRows + uint32_t(row)];
        const auto element = uint16_t(bits >> (16 * k));
        std::memcpy(place.bytes + byte, &element, sizeof(element));
        if (w.undefined(source) >> lane & 1)
          place.cta->shared.undefine(place.offset + uint32_t(byte), sizeof(element), w.origin(source));
      }
    });
  }
  w.cluster().progress();
}

/// movmatrix: one matrix, transposed from registers to registers.
static void moveMatrix(Warp &w, const Instr &i) {
  if (!w.requireConverged(allLanes, "movmatrix"))
    return;
  uint16_t elements[matrixRows][matrixRows] = {};
  bool undefined[matrixRows][matrixRows];
  std::fill_n(&undefined[0][0], matrixRows * matrixRows, true); // Those of lanes that are not there remain.
  const Value &source = i.source(0);
  overLanes(w.mask, [&](int lane) {
    const uint32_t bits = laneAt<uint32_t>(w.row(source), lane);
    for (int k = 0; k < 2; ++k) {
      elements[lane / 4][lane % 4 * 2 + k] = uint16_t(bits >> (16 * k));
      undefined[lane / 4][lane % 4 * 2 + k] = (w.undefined(source) >> lane & 1) != 0;
    }
  });
  uint32_t lanes = 0;
  overLanes(w.mask, [&](int lane) {
    const int row = lane / 4, column = lane % 4 * 2;
    setLane<uint32_t>(w.row(i.result()), lane,
                      elements[column][row] | uint32_t(elements[column + 1][row]) << 16);
    lanes |= uint32_t(undefined[column][row] || undefined[column + 1][row]) << lane;
  });
  w.setUndefined(i.result(), lanes, w.origin(source));
}

static bool decodeTransposition(Decoder &d) {
  for (std::string_view word : {"sync", "aligned", "m8n8", "trans", "b16"})
    if (!d.take(word))
      d.refuseModifiers();
  d.requireCount(2);
  d.results({Type::B32});
  d.sources(1, {Type::B32});
  return d.done(&moveMatrix, Mix::Shuffle);
}

bool lathe::runtime::emulator::decodeMatrix(Decoder &d) {
  if (d.root() == "movmatrix")
    return decodeTransposition(d);
  const bool loads = d.root() == "ldmatrix";
  if (!loads && d.root() != "stmatrix")
    return false;
  if (!d.take("sync") || !d.take("aligned") || !d.take("m8n8"))
    d.refuseModifiers();
  MatrixDetail detail;
  const int count = d.takeOneOf({"x1", "x2", "x4"});
  if (count < 0)
    d.refuseModifiers();
  detail.count = 1u << count;
  detail.transposed = d.take("trans");
  d.takeOneOf({"shared", "shared::cta"});
  if (!d.take("b16"))
    d.refuseModifiers();
  d.requireCount(2);
  const ptx::Operand &registers = d.operand(loads ? 0 : 1);
  const std::vector<ptx::Operand> parts =
      registers.kind == Kind::Vector ? registers.parts : std::vector{registers};
  if (parts.size() != detail.count)
    d.refuse(fmt::format("{} must have {} registers", d.in().opcode, detail.count),
             fmt::format("{}", parts.size()));
  detail.ownBase = d.address(d.operand(loads ? 1 : 0));
  for (const ptx::Operand &part : parts)
    loads ? d.result(part, Type::B32) : d.source(part, Type::B32);
  d.out.detail = detail.pack();
  return d.done(loads ? &loadMatrix : &storeMatrix, loads ? Mix::SharedLoad : Mix::SharedStore);
}
