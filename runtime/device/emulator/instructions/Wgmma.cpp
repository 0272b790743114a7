//===- Wgmma.cpp - The tensor cores ------------------------------------------------------------------===//
//
// wgmma.mma_async, fence, commit_group and wait_group. The four warps of a warpgroup meet at a product; its
// operands are gathered through the descriptors with every check that shared memory has, in the name of the
// warpgroup's tensor cores, until a wait says that they are done. Elements that a race or an unwritten byte
// touches are not defined: a finding is made where such a value is used, for columns that nobody keeps may be
// read from anywhere.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Cluster.h"
#include "lathe/runtime/device/emulator/Decoder.h"
#include "lathe/runtime/device/emulator/Layout.h"
#include "lathe/runtime/device/emulator/MatrixProduct.h"
#include "lathe/runtime/device/emulator/MemoryAccess.h"
#include "lathe/runtime/device/emulator/Windows.h"
#include "lathe/runtime/device/emulator/instructions/Float.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <charconv>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

static constexpr uint32_t warpsPerGroup = 4, operandRegisters = 4, chunkElements = 8;

namespace {

/// Detail of a product.
struct WgmmaDetail {
  uint32_t columns = 8;
  bool half = false; ///< f16, else bf16.
  bool aInRegisters = false, aTransposed = false, bTransposed = false, aNegated = false, bNegated = false;

  uint32_t pack() const {
    return columns | uint32_t(half) << 16 | uint32_t(aInRegisters) << 17 | uint32_t(aTransposed) << 18 |
           uint32_t(bTransposed) << 19 | uint32_t(aNegated) << 20 | uint32_t(bNegated) << 21;
  }
  static WgmmaDetail unpack(uint32_t bits) {
    auto flag = [bits](int at) { return (bits >> at & 1) != 0; };
    return {bits & 0xffff, flag(16), flag(17), flag(18), flag(19), flag(20), flag(21)};
  }
  int registers() const { return int(columns / 2); } ///< Of the accumulator, a thread.
  int aSource() const { return registers(); }
  int bSource() const { return aSource() + (aInRegisters ? int(operandRegisters) : 1); }
  int scaleSource() const { return bSource() + 1; }
};

/// One product of a warpgroup while it is made.
class Product {
public:
  Product(Cta &cta, Warpgroup &group, Warp *const *warps, const Instr &instr)
      : cta_(cta), group_(group), warps_(warps), instr_(instr), detail_(WgmmaDetail::unpack(instr.detail)) {}

  void run();

private:
  void checkRegisters(Warp &warp);
  void checkOne(Warp &warp, uint32_t reg, bool accumulator);
  bool uniformOperands();
  bool readDescriptor(int source, const char *which, MatrixDescriptor &out);
  void gatherRegisters();
  void gatherShared(const MatrixDescriptor &from, bool isA, const Clock *const *clocks);
  /// Where eight elements of an operand go.
  struct Target {
    float *values;
    size_t stride;
    uint32_t *origins;
    size_t originStride;
  };
  void takeChunk(uint32_t address, const Target &to, const Clock &clock, bool isA);
  void checkLine(const uint32_t *addresses, uint32_t chunks, uint32_t swizzle, const Target &to);
  void checkOverlap(const MatrixDescriptor &from, bool isA);
  void undefine(const Target &to, uint32_t origin);
  uint32_t originOf(const AccessFault &fault);
  uint32_t originOf(Origin::Kind kind, uint32_t offset, uint32_t otherPc);
  void loadAccumulators();
  void storeAccumulators();
  float number(uint16_t bits) const { return detail_.half ? fromF16(bits) : fromBf16(bits); }

  Cta &cta_;
  Warpgroup &group_;
  Warp *const *warps_;
  const Instr &instr_;
  WgmmaDetail detail_;
  uint32_t step_ = 0;
  bool accumulates_ = true;
  bool allDefined_ = true;
  std::array<float, size_t(productRows) * productDepth> a_;
  std::array<float, size_t(productDepth) * productColumns> b_;
  std::array<float, size_t(productRows) * productColumns> acc_;
  std::array<uint32_t, productRows> rowOrigins_{};       ///< Not 0: the row is not defined, and whence.
  std::array<uint32_t, productColumns> columnOrigins_{}; ///< The same of columns.
};

/// Marks a value that comes from nowhere though its origin has no number.
constexpr uint32_t unknownOrigin = UINT32_MAX;

} // namespace

//===- Registers -------------------------------------------------------------------------------------===//

void Product::checkOne(Warp &warp, uint32_t reg, bool accumulator) {
  const bool runs = warp.inFlight(reg) > warp.wgmma.done(),
             runsAsOperand = warp.operandInFlight(reg) > warp.wgmma.done();
  const std::string name = warp.program().registerName(reg);
  if (runs ? !accumulator || runsAsOperand : accumulator && runsAsOperand) {
    warp.report(FindingKind::MmaInFlight, warp.mask,
                fmt::format("{} is taken as {} while a WGMMA before still uses it", name,
                            accumulator ? "the accumulator" : "an operand"),
                "wait for the group of that WGMMA first (wgmma.wait_group)", "", warp.lastWritePc(reg));
    return;
  }
  if (warp.writtenSinceFence(reg) && !runs)
    warp.report(FindingKind::MmaUnfenced, warp.mask,
                fmt::format("{} was written and no wgmma.fence follows before the WGMMA that takes it", name),
                "execute wgmma.fence.sync.aligned after the last write", "", warp.lastWritePc(reg));
}

void Product::checkRegisters(Warp &warp) {
  if (!warp.fencedOnce())
    warp.report(FindingKind::MmaUnfenced, warp.mask, "the first WGMMA has no wgmma.fence before it",
                "execute wgmma.fence.sync.aligned first");
  for (int i = 0; i < detail_.registers(); ++i) {
    checkOne(warp, instr_.result(i).reg, true);
    warp.inFlight(instr_.result(i).reg) = step_;
    warp.lastWritePc(instr_.result(i).reg) = warp.pc;
  }
  for (uint32_t i = 0; detail_.aInRegisters && i < operandRegisters; ++i)
    if (const Value &value = instr_.source(detail_.aSource() + int(i)); !value.constant) {
      checkOne(warp, value.reg, false);
      warp.operandInFlight(value.reg) = step_;
      warp.lastWritePc(value.reg) = warp.pc;
    }
}

/// Row and pair of columns that each register of the first operand holds.
void Product::gatherRegisters() {
  for (uint32_t w = 0; w < warpsPerGroup; ++w)
    for (uint32_t i = 0; i < operandRegisters; ++i) {
      const Value &value = instr_.source(detail_.aSource() + int(i));
      const std::byte *bits = warps_[w]->row(value);
      for (uint32_t lane = 0; lane < uint32_t(laneCount); ++lane) {
        const uint32_t pair = laneAt<uint32_t>(bits, int(lane)), row = operandRow(w, lane, i);
        float *to = &a_[row * productDepth + operandColumn(lane, i)];
        to[0] = number(uint16_t(pair));
        to[1] = number(uint16_t(pair >> 16));
        if (warps_[w]->undefined(value) >> lane & 1) [[unlikely]] {
          const uint32_t origin = warps_[w]->origin(value);
          rowOrigins_[row] = origin ? origin : unknownOrigin;
          allDefined_ = false;
        }
      }
    }
}

void Product::loadAccumulators() {
  for (uint32_t w = 0; w < warpsPerGroup; ++w)
    for (int i = 0; i < detail_.registers(); ++i) {
      const std::byte *bits = warps_[w]->row(instr_.result(i));
      for (uint32_t lane = 0; lane < uint32_t(laneCount); ++lane)
        acc_[accumulatorRow(w, lane, uint32_t(i)) * detail_.columns + accumulatorColumn(lane, uint32_t(i))] =
            accumulates_ ? laneAt<float>(bits, int(lane)) : 0.0f;
    }
}

void Product::storeAccumulators() {
  for (uint32_t w = 0; w < warpsPerGroup; ++w)
    for (int i = 0; i < detail_.registers(); ++i) {
      const Value &value = instr_.result(i);
      std::byte *bits = warps_[w]->row(value);
      uint32_t undefined = accumulates_ ? warps_[w]->undefined(value) : 0, origin = warps_[w]->origin(value);
      for (uint32_t lane = 0; lane < uint32_t(laneCount); ++lane) {
        const uint32_t row = accumulatorRow(w, lane, uint32_t(i)),
                       column = accumulatorColumn(lane, uint32_t(i));
        setLane<float>(bits, int(lane), acc_[row * detail_.columns + column]);
        if (allDefined_)
          continue;
        if (const uint32_t from = rowOrigins_[row] ? rowOrigins_[row] : columnOrigins_[column]) {
          origin = undefined >> lane & 1 ? origin : from == unknownOrigin ? 0 : from;
          undefined |= uint32_t(1) << lane;
        }
      }
      warps_[w]->setUndefined(value, undefined, origin);
    }
}

//===- Shared memory ---------------------------------------------------------------------------------===//

uint32_t Product::originOf(Origin::Kind kind, uint32_t offset, uint32_t otherPc) {
  Cluster &cluster = cta_.cluster;
  const uint32_t pc = warps_[0]->pc;
  if (const uint32_t known = cluster.findOrigin(kind, pc))
    return known;
  return cluster.addOrigin(
      {kind, pc, otherPc, cluster.nameShared(cta_, offset), cluster.nameAgent(*warps_[0], -1)});
}

uint32_t Product::originOf(const AccessFault &fault) {
  if (fault.undefined && fault.origin != 0 && !fault.conflict)
    return fault.origin;
  const auto kind = fault.conflict.order == Order::Race       ? Origin::Kind::Race
                    : fault.conflict.order == Order::Unfenced ? Origin::Kind::Unfenced
                                                              : Origin::Kind::Shared;
  return originOf(kind, fault.offset, fault.conflict ? fault.conflict.earlier.pc : UINT32_MAX);
}

void Product::undefine(const Target &to, uint32_t origin) {
  for (uint32_t e = 0; e < chunkElements; ++e)
    to.origins[e * to.originStride] = origin;
  allDefined_ = false;
}

/// Eight elements that lie together, `stride` apart in the operand's array.
void Product::takeChunk(uint32_t address, const Target &to, const Clock &clock, bool isA) {
  if (!cta_.shared.holds(address, chunkBytes)) [[unlikely]] {
    warps_[0]->report(
        FindingKind::OutOfBounds, warps_[0]->mask,
        fmt::format("the descriptor of operand {} reaches byte {} of dynamic shared memory, which has {}",
                    isA ? "A" : "B", int64_t(address) - warps_[0]->program().dynamicOffset,
                    int64_t(cta_.shared.bytes()) - warps_[0]->program().dynamicOffset),
        "check start, leading and stride offsets of the descriptor");
    for (uint32_t e = 0; e < chunkElements; ++e)
      to.values[e * to.stride] = 0;
    return;
  }
  const Accessor who{group_.agent, step_, warps_[0]->pc, Proxy::Async, &clock};
  if (const AccessFault fault = cta_.shared.read(address, chunkBytes, who)) [[unlikely]]
    undefine(to, originOf(fault));
  const std::byte *bytes = cta_.shared.data() + address;
  for (uint32_t e = 0; e < chunkElements; ++e) {
    uint16_t bits;
    std::memcpy(&bits, bytes + size_t(2) * e, sizeof(bits));
    to.values[e * to.stride] = number(bits);
  }
}

/// Elements that the operand wants side by side must be neighbours in the tensor they came from.
void Product::checkLine(const uint32_t *addresses, uint32_t chunks, uint32_t swizzle, const Target &to) {
  const ChunkSource *first = nullptr;
  uint32_t firstIndex = 0;
  for (uint32_t i = 0; i < chunks; ++i) {
    if (!cta_.shared.holds(addresses[i], chunkBytes))
      continue;
    const ChunkSource &source = cta_.shared.source(addresses[i]);
    if (!source.known)
      continue;
    if (!first) {
      first = &source;
      firstIndex = i;
    }
    const bool follows = source.row == first->row &&
                         source.element == first->element + int32_t((i - firstIndex) * chunkElements);
    if (source.swizzle != swizzle || !follows) [[unlikely]]
      return undefine({nullptr, 0, to.origins + size_t(i) * chunkElements * to.originStride, to.originStride},
                      originOf(Origin::Kind::Layout, addresses[i], source.pc));
  }
}

/// No two elements of an operand may be the same bytes. Depends on the descriptor's constants alone.
void Product::checkOverlap(const MatrixDescriptor &from, bool isA) {
  const bool transposed = isA ? detail_.aTransposed : detail_.bTransposed;
  const uint32_t extent = isA ? uint32_t(productRows) : detail_.columns;
  const MatrixDescriptor relative{0, from.leading, from.stride, from.baseLines, from.swizzle, 0};
  if (!cta_.cluster.firstSight(warps_[0]->pc, isA, relative))
    return;
  std::vector<uint32_t> chunks;
  for (uint32_t mn = 0; mn < extent; mn += transposed ? chunkElements : 1)
    for (uint32_t k = 0; k < uint32_t(productDepth); k += transposed ? 1 : chunkElements)
      chunks.push_back(relative.address(mn, k, transposed));
  std::sort(chunks.begin(), chunks.end());
  if (std::adjacent_find(chunks.begin(), chunks.end()) != chunks.end())
    warps_[0]->report(
        FindingKind::Descriptor, warps_[0]->mask,
        fmt::format("the descriptor of operand {} (leading offset {}, stride offset {}, swizzle {}) names "
                    "the same bytes for several elements",
                    isA ? "A" : "B", from.leading, from.stride, from.swizzle),
        "check which of the two offsets is which for this major order");
}

/// A: rows × depth into a_, each warp's rows by its own clock. B: depth × columns into b_, by what all warps
/// know.
void Product::gatherShared(const MatrixDescriptor &from, bool isA, const Clock *const *clocks) {
  checkOverlap(from, isA);
  const bool transposed = isA ? detail_.aTransposed : detail_.bTransposed;
  const uint32_t extent = isA ? uint32_t(productRows) : detail_.columns;
  // Strides of the operand's array along mn and along the depth.
  const size_t alongMn = isA ? productDepth : 1, alongDepth = isA ? 1 : detail_.columns;
  float *values = isA ? a_.data() : b_.data();
  uint32_t *origins = isA ? rowOrigins_.data() : columnOrigins_.data();
  // Lines of elements that lie side by side: rows along the depth, or of one depth along mn.
  const uint32_t lines = transposed ? uint32_t(productDepth) : extent,
                 chunks = (transposed ? extent : uint32_t(productDepth)) / chunkElements;
  for (uint32_t line = 0; line < lines; ++line) {
    uint32_t addresses[productColumns / chunkElements];
    for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
      const uint32_t mn = transposed ? chunk * chunkElements : line,
                     k = transposed ? line : chunk * chunkElements;
      addresses[chunk] = from.address(mn, k, transposed);
      const Target to{values + mn * alongMn + k * alongDepth, transposed ? alongMn : alongDepth, origins + mn,
                      transposed ? 1u : 0u};
      takeChunk(addresses[chunk], to, *clocks[isA ? mn / (productRows / warpsPerGroup) : 0], isA);
    }
    checkLine(addresses, chunks, from.swizzle,
              {nullptr, 0, origins + (transposed ? 0 : line), transposed ? 1u : 0u});
  }
}

bool Product::readDescriptor(int source, const char *which, MatrixDescriptor &out) {
  const uint64_t bits = laneAt<uint64_t>(warps_[0]->row(instr_.source(source)), 0);
  out = MatrixDescriptor::decode(bits);
  // Addresses of a descriptor are the CTA's own: 18 bits of offset.
  if (out.unused == 0 && out.start >= reservedSharedBytes)
    return true;
  warps_[0]->report(FindingKind::Descriptor, warps_[0]->mask,
                    fmt::format("the descriptor of operand {} is {:#018x}: {}", which, bits,
                                out.unused
                                    ? fmt::format("bits {:#x} must be zero", out.unused)
                                    : fmt::format("it starts at {:#x}, which is the system's", out.start)),
                    "mask the address to 18 bits before it goes into the descriptor");
  return out.unused != 0;
}

//===- The product -----------------------------------------------------------------------------------===//

/// Descriptors and scale must be the same in all threads of the warpgroup.
bool Product::uniformOperands() {
  const int first = detail_.aInRegisters ? detail_.bSource() : detail_.aSource();
  for (uint32_t w = 0; w < warpsPerGroup; ++w) {
    const uint32_t scale = warps_[w]->predicate(instr_.source(detail_.scaleSource()));
    bool same = scale == (warps_[0]->predicate(instr_.source(detail_.scaleSource())) & 1 ? allLanes : 0);
    for (int source = first; source <= detail_.bSource(); ++source) {
      const Value &value = instr_.source(source);
      if (const uint32_t lanes = warps_[w]->undefined(value)) {
        cta_.cluster.reportUndefined(*warps_[w], lanes, warps_[w]->origin(value), "is a WGMMA descriptor");
        return false;
      }
      const uint64_t expected = laneAt<uint64_t>(warps_[0]->row(instr_.source(source)), 0);
      for (int lane = 0; lane < laneCount; ++lane)
        same = same && laneAt<uint64_t>(warps_[w]->row(value), lane) == expected;
    }
    if (!same)
      warps_[w]->report(FindingKind::Divergence, warps_[w]->mask,
                        "descriptors or scale differ among the threads of a warpgroup",
                        "compute them from values that all threads share");
  }
  return true;
}

void Product::run() {
  Clock shared = warps_[0]->clock;
  for (uint32_t w = 0; w < warpsPerGroup; ++w) {
    const uint32_t step = warps_[w]->wgmma.issue();
    if (w > 0 && step != step_)
      warps_[w]->report(FindingKind::Divergence, warps_[w]->mask,
                        "the warps of a warpgroup have issued different numbers of WGMMA");
    step_ = std::max(step_, step);
    shared.meet(warps_[w]->clock);
  }
  for (uint32_t w = 0; w < warpsPerGroup; ++w)
    checkRegisters(*warps_[w]);
  if (!uniformOperands())
    return;
  accumulates_ = warps_[0]->predicate(instr_.source(detail_.scaleSource())) & 1;
  MatrixDescriptor a, b;
  if (!readDescriptor(detail_.bSource(), "B", b) ||
      (!detail_.aInRegisters && !readDescriptor(detail_.aSource(), "A", a)))
    return;
  const Clock *own[warpsPerGroup], *all[] = {&shared};
  for (uint32_t w = 0; w < warpsPerGroup; ++w)
    own[w] = &warps_[w]->clock;
  if (detail_.aInRegisters)
    gatherRegisters();
  else
    gatherShared(a, true, own);
  gatherShared(b, false, all);
  if (detail_.aNegated != detail_.bNegated)
    for (float &value : a_)
      value = -value;
  loadAccumulators();
  multiplyAdd(acc_.data(), a_.data(), b_.data(), int(detail_.columns));
  storeAccumulators();
  Counters &counters = cta_.cluster.counters;
  ++counters.wgmmas;
  counters.wgmmaFlops += uint64_t(2) * productRows * productDepth * detail_.columns;
}

/// The four warps meet; the last one makes the product for all.
static void multiply(Warp &w, const Instr &i) {
  if (!w.requireConverged(allLanes, "wgmma"))
    return;
  Cta &cta = w.cta;
  Warpgroup &group = cta.warpgroups[w.index / warpsPerGroup];
  if (group.arrived != 0 && group.pc != w.pc) {
    w.report(FindingKind::Divergence, w.mask, "the warps of a warpgroup are at different WGMMA",
             "let all four warps run the same instructions", "", group.pc);
    return;
  }
  group.pc = w.pc;
  group.arrived |= 1u << (w.index % warpsPerGroup);
  if (group.arrived != (1u << warpsPerGroup) - 1)
    return w.block({Wait::Kind::Warpgroup, 0, 0, 0});
  Warp *warps[warpsPerGroup];
  for (uint32_t k = 0; k < warpsPerGroup; ++k) {
    warps[k] = cta.warps[w.index / warpsPerGroup * warpsPerGroup + k].get();
    for (Group &waiting : warps[k]->groups())
      if (waiting.wait.kind == Wait::Kind::Warpgroup) {
        waiting.wait = {};
        ++waiting.pc;
      }
  }
  group.arrived = 0;
  Product(cta, group, warps, i).run();
  w.charge(WgmmaDetail::unpack(i.detail).columns / 2);
  w.cluster().progress();
}

static void fence(Warp &w, const Instr &) {
  if (w.requireConverged(allLanes, "wgmma.fence"))
    w.fenceRegisters();
}

static void commit(Warp &w, const Instr &) {
  if (w.requireConverged(allLanes, "wgmma.commit_group"))
    w.wgmma.commit();
}

static void wait(Warp &w, const Instr &i) {
  if (!w.requireConverged(allLanes, "wgmma.wait_group"))
    return;
  const uint32_t done = w.wgmma.wait(i.detail);
  w.clock.see(w.cta.warpgroups[w.index / warpsPerGroup].agent, done);
}

//===- Decoding --------------------------------------------------------------------------------------===//

/// m64n<columns>k16
static uint32_t takeShape(Decoder &d) {
  for (uint32_t columns = 8; columns <= uint32_t(productColumns); columns += 8)
    if (d.take(fmt::format("m64n{}k16", columns)))
      return columns;
  d.refuseModifiers();
}

static bool takeSign(Decoder &d, size_t at) { return d.integer(d.operand(at), -1, 1) < 0; }
static bool takeFlag(Decoder &d, size_t at) { return d.integer(d.operand(at), 0, 1) != 0; }

/// Whether the predicate before the product says that nothing is added to: `setp.ne.b32 p, 0, 0`, whose
/// scope is the product's own.
static bool beginsAnew(Decoder &d, const ptx::Operand &scale) {
  const std::vector<ptx::Instruction> &code = d.kernel().body;
  for (auto at = size_t(&d.in() - code.data()); at-- > 0;) {
    const ptx::Instruction &before = code[at];
    if (before.operands.empty() || before.operands[0].kind != Kind::Register ||
        before.operands[0].reg != scale.reg)
      continue;
    return before.opcode == "setp.ne.b32" && before.guard < 0 && before.operands.size() == 3 &&
           before.operands[1].kind == Kind::Integer && before.operands[2].kind == Kind::Integer &&
           before.operands[1].bits == before.operands[2].bits;
  }
  return false;
}

static bool decodeProduct(Decoder &d) {
  WgmmaDetail detail;
  if (!d.take("sync") || !d.take("aligned"))
    d.refuseModifiers();
  detail.columns = takeShape(d);
  const Type acc = d.takeType(), a = d.takeType(), b = d.takeType();
  if (acc != Type::F32 || a != b || (a != Type::BF16 && a != Type::F16))
    d.refuseModifiers();
  detail.half = a == Type::F16;
  detail.aInRegisters = d.operand(1).kind == Kind::Vector;
  d.requireCount(detail.aInRegisters ? 7 : 8);
  const ptx::Operand &accumulator = d.operand(0);
  if (accumulator.kind != Kind::Vector || accumulator.parts.size() != detail.columns / 2)
    d.refuse(fmt::format("{} must have {} accumulator registers", d.in().opcode, detail.columns / 2),
             fmt::format("{}", accumulator.parts.size()));
  for (const ptx::Operand &part : accumulator.parts) {
    d.result(part, Type::F32);
    d.source(part, Type::F32);
  }
  if (detail.aInRegisters) {
    if (d.operand(1).parts.size() != operandRegisters)
      d.refuse("the first operand must have 4 registers", fmt::format("{}", d.operand(1).parts.size()));
    for (const ptx::Operand &part : d.operand(1).parts)
      d.source(part, Type::B32);
  } else {
    d.source(d.operand(1), Type::B64);
  }
  d.source(d.operand(2), Type::B64);
  d.source(d.operand(3), Type::Pred);
  d.out.fresh = beginsAnew(d, d.operand(3));
  detail.aNegated = takeSign(d, 4);
  detail.bNegated = takeSign(d, 5);
  detail.aTransposed = !detail.aInRegisters && takeFlag(d, 6);
  detail.bTransposed = takeFlag(d, detail.aInRegisters ? 6 : 7);
  d.out.detail = detail.pack();
  return d.done(&multiply, Mix::Wgmma);
}

bool lathe::runtime::emulator::decodeWgmma(Decoder &d) {
  if (d.root() != "wgmma")
    return false;
  const int what = d.takeOneOf({"mma_async", "fence", "commit_group", "wait_group"});
  if (what == 0)
    return decodeProduct(d);
  if (what < 0 || !d.take("sync") || !d.take("aligned"))
    d.refuseModifiers();
  d.requireCount(what == 3 ? 1 : 0);
  if (what == 3)
    d.out.detail = uint32_t(d.integer(d.operand(0), 0, 1 << 20));
  return d.done(what == 1 ? &fence : what == 2 ? &commit : &wait, Mix::Wgmma);
}
