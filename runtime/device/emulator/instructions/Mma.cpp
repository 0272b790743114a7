//===- Mma.cpp - mma.sync ----------------------------------------------------------------------------===//
//
// Products of a warp, m16n8k16 of 16-bit elements in float32: PTX ISA, "Matrix fragments for mma.m16n8k16".
// Everything is in registers, so there is nothing to race with; an element of the result is undefined where
// one of its row of A, its column of B or what it is added to is.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Decoder.h"
#include "lathe/runtime/device/emulator/Lanes.h"
#include "lathe/runtime/device/emulator/instructions/Float.h"

#include <fmt/format.h>

#include <array>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

static constexpr int rows = 16, columns = 8, depth = 16;
static constexpr int aRegisters = 4, bRegisters = 2, cRegisters = 4; // Of a lane; the sources in this order.
static constexpr int cSource = aRegisters + bRegisters;

namespace {
/// The operands as matrices.
struct Operands {
  float a[rows][depth], b[columns][depth], c[rows][columns];
  /// Which rows of A, columns of B and elements of C are not known, and where that comes from.
  bool aUndefined[rows] = {}, bUndefined[columns] = {}, cUndefined[rows][columns] = {};
  uint32_t origin = 0;
};
} // namespace

/// Row and column of element `i` of a lane's accumulator.
static std::pair<int, int> place(int lane, int i) {
  return {lane / 4 + (i & 2 ? 8 : 0), lane % 4 * 2 + (i & 1)};
}

/// Both elements of one register of A (`line` a row) or B (a column).
static void take(const Warp &w, const Value &source, int lane, bool half, float *line) {
  const auto bits = laneAt<uint32_t>(w.row(source), lane);
  for (int k = 0; k < 2; ++k) {
    const auto element = uint16_t(bits >> (16 * k));
    line[k] = half ? fromF16(element) : fromBf16(element);
  }
}

static void gather(const Warp &w, const Instr &i, Operands &to) {
  const bool half = i.detail != 0;
  auto unknown = [&](const Value &source, int lane) {
    if (!(w.undefined(source) >> lane & 1))
      return false;
    to.origin = w.origin(source);
    return true;
  };
  for (int lane = 0; lane < laneCount; ++lane) {
    const int line = lane / 4, first = lane % 4 * 2;
    for (int r = 0; r < aRegisters; ++r) { // Row and row + 8; then the same of the other half of the depth.
      const int row = line + (r & 1 ? 8 : 0);
      take(w, i.source(r), lane, half, to.a[row] + first + (r & 2 ? 8 : 0));
      to.aUndefined[row] |= unknown(i.source(r), lane);
    }
    for (int r = 0; r < bRegisters; ++r) {
      take(w, i.source(aRegisters + r), lane, half, to.b[line] + first + 8 * r);
      to.bUndefined[line] |= unknown(i.source(aRegisters + r), lane);
    }
    for (int r = 0; r < cRegisters; ++r) {
      const auto [row, column] = place(lane, r);
      to.c[row][column] = laneAt<float>(w.row(i.source(cSource + r)), lane);
      to.cUndefined[row][column] = unknown(i.source(cSource + r), lane);
    }
  }
}

/// Products are added one after the other in the order of the depth; the hardware has an order of its own.
static void multiply(Warp &w, const Instr &i) {
  if (!w.requireConverged(allLanes, "mma.sync"))
    return;
  Operands operands;
  gather(w, i, operands);
  for (int r = 0; r < cRegisters; ++r) {
    uint32_t undefined = 0;
    for (int lane = 0; lane < laneCount; ++lane) {
      const auto [row, column] = place(lane, r);
      float sum = operands.c[row][column];
      for (int k = 0; k < depth; ++k)
        sum += operands.a[row][k] * operands.b[column][k];
      setLane<float>(w.row(i.result(r)), lane, sum);
      undefined |= uint32_t(operands.aUndefined[row] || operands.bUndefined[column] ||
                            operands.cUndefined[row][column])
                   << lane;
    }
    w.setUndefined(i.result(r), undefined, operands.origin);
  }
  Counters &counters = w.counters();
  ++counters.mmas;
  counters.mmaFlops += uint64_t(2) * rows * columns * depth;
}

static const std::vector<ptx::Operand> &parts(Decoder &d, size_t operand, int count) {
  const ptx::Operand &vector = d.operand(operand);
  if (vector.kind != Kind::Vector || vector.parts.size() != size_t(count))
    d.refuse(fmt::format("operand {} of {} must have {} registers", operand, d.in().opcode, count),
             fmt::format("{}", vector.kind == Kind::Vector ? vector.parts.size() : 1));
  return vector.parts;
}

bool lathe::runtime::emulator::decodeMma(Decoder &d) {
  if (d.root() != "mma")
    return false;
  for (std::string_view word : {"sync", "aligned", "m16n8k16", "row", "col", "f32"})
    if (!d.take(word))
      d.refuseModifiers();
  const int type = d.takeOneOf({"bf16", "f16"});
  if (type < 0 || d.takeOneOf({"bf16", "f16"}) != type || !d.take("f32"))
    d.refuseModifiers();
  d.requireCount(4);
  for (const ptx::Operand &part : parts(d, 0, cRegisters))
    d.result(part, Type::F32);
  for (const ptx::Operand &part : parts(d, 1, aRegisters))
    d.source(part, Type::B32);
  for (const ptx::Operand &part : parts(d, 2, bRegisters))
    d.source(part, Type::B32);
  for (const ptx::Operand &part : parts(d, 3, cRegisters))
    d.source(part, Type::F32);
  d.out.detail = uint32_t(type);
  return d.done(&multiply, Mix::Mma);
}
