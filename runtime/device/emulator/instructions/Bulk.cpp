//===- Bulk.cpp - Copies of the TMA unit -------------------------------------------------------------===//
//
// cp.async.bulk with and without tensor maps: loads that complete on an mbarrier, one CTA's or several's,
// stores and reductions that complete by groups, prefetches. A load touches its bytes in the name of the
// barrier's phase, from the moment it is issued, so that whoever does not wait for the phase races with it;
// the bytes themselves come when the issuing warp lets others run.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/instructions/BulkCopy.h"

#include "lathe/runtime/device/emulator/Grid.h"
#include "lathe/runtime/device/emulator/Windows.h"

#include <fmt/format.h>

#include <bit>
#include <map>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

static constexpr uint32_t chargedBytes = 1024; ///< Of copies that count as an instruction.

static uint32_t bit(int lane) { return uint32_t(1) << lane; }
static uint32_t windowAddress(uint64_t address) {
  return uint32_t(address >= sharedWindow ? address - sharedWindow : address);
}

//===- Operands --------------------------------------------------------------------------------------===//

uint64_t BulkOperand::at(const Warp &w, const Instr &i, int lane) const {
  if (source < 0)
    return sharedWindowAddress(w.cta.rank, uint32_t(offset));
  const Value &value = i.source(source);
  const uint64_t base = value.kind == ptx::RegisterClass::Bits64 ? laneAt<uint64_t>(w.row(value), lane)
                                                                 : laneAt<uint32_t>(w.row(value), lane);
  return base + uint64_t(offset);
}

/// Operands that come from nowhere make no copy.
static bool operandsDefined(Warp &w, const Instr &i, int lane) {
  if (i.hinted) [[unlikely]]
    checkPolicy(w, i);
  for (int k = 0; k < i.sources; ++k)
    if (w.undefined(i.source(k)) & bit(lane)) {
      w.cluster().reportUndefined(w, bit(lane), w.origin(i.source(k)), "is an operand of a copy");
      return false;
    }
  return true;
}

static std::optional<TensorMapSpec> mapAt(Warp &w, uint64_t address, int lane) {
  const Grid &grid = w.cluster().grid();
  const std::byte *bytes = nullptr;
  const uint64_t inParameters = address - parameterWindow;
  if (address >= parameterWindow && inParameters + sizeof(TensorMap) <= grid.launch().parameters.size())
    bytes = grid.launch().parameters.data() + inParameters;
  else if (Allocation *buffer = w.cluster().grid().memory().find(address);
           buffer && buffer->holds(address, sizeof(TensorMap)))
    bytes = buffer->at(address);
  std::optional<TensorMapSpec> spec;
  if (bytes && address % 64 == 0)
    spec = decodeTensorMap(bytes);
  if (!spec)
    w.report(FindingKind::TensorMap, bit(lane), fmt::format("there is no tensor map at {:#x}", address),
             "pass the map as a kernel parameter or in global memory, aligned to 64 bytes");
  return spec;
}

static std::array<int32_t, 5> coordinatesOf(const Warp &w, const Instr &i, const BulkDetail &detail,
                                            int lane) {
  std::array<int32_t, 5> coordinates{};
  for (int k = 0; k < detail.rank; ++k)
    coordinates[size_t(k)] = laneAt<int32_t>(w.row(i.source(detail.coordinates + k)), lane);
  return coordinates;
}

static bool checkMap(Warp &w, const TensorMapSpec &spec, const BulkDetail &detail, int lane) {
  if (spec.rank != detail.rank) {
    w.report(FindingKind::TensorMap, bit(lane),
             fmt::format("an instruction of {} dimensions with a tensor map of {}", detail.rank, spec.rank));
    return false;
  }
  if (boxBytes(spec) <= w.cta.shared.bytes())
    return true;
  w.report(FindingKind::OutOfBounds, bit(lane),
           fmt::format("the box has {} bytes, more than the CTA's memory", boxBytes(spec)),
           "use a smaller box");
  return false;
}

/// What an H100 takes, and answers with an illegal instruction otherwise; the PTX ISA does not say it.
static bool checkCoordinates(Warp &w, const TensorMapSpec &spec, const std::array<int32_t, 5> &coordinates,
                             bool isStore, int lane) {
  const int64_t inner = int64_t(coordinates[0]) * byteSize(spec.dtype);
  if (inner % 16 != 0) {
    w.report(FindingKind::Misaligned, bit(lane),
             fmt::format(
                 "the innermost coordinate, {}, must be a multiple of 16 bytes, that is of {} elements of {}",
                 coordinates[0], std::max(1, 16 / byteSize(spec.dtype)), name(spec.dtype)),
             "begin boxes at such multiples");
    return false;
  }
  for (int i = 0; i < spec.rank; ++i)
    if (isStore && coordinates[size_t(i)] < 0) {
      w.report(FindingKind::OutOfBounds, bit(lane),
               fmt::format("a box that is stored must not begin before its tensor, coordinate {} is {}", i,
                           coordinates[size_t(i)]),
               "begin it at 0 or later: only behind the extents is nothing written");
      return false;
    }
  return true;
}

//===- Loads into shared memory ----------------------------------------------------------------------===//

/// Bytes [offset, offset + size) of a row of a box from the host's copy of global memory; those that are not
/// the tensor's are zero. Gives which bytes nothing wrote.
static bool fetchRow(Cluster &cluster, const Warp &w, uint32_t pc, int lane, const BoxRow &row,
                     std::byte *out) {
  if (row.count == 0)
    return true;
  Allocation *buffer = cluster.grid().memory().find(row.address);
  if (!buffer || !buffer->holds(row.address, row.count)) {
    cluster.report(
        {FindingKind::OutOfBounds, pc,
         fmt::format("{} bytes of the box lie in the tensor map's bounds, but in no buffer", row.count),
         "give the tensor map the extents of its buffer", cluster.nameGlobal(row.address), UINT32_MAX,
         cluster.nameAgent(w, lane)});
    return true;
  }
  std::memcpy(out + row.first, buffer->at(row.address), row.count);
  return buffer->written(row.address, row.count);
}

static uint32_t unwrittenOrigin(Cluster &cluster, uint32_t pc, uint64_t address) {
  const uint32_t known = cluster.findOrigin(Origin::Kind::Global, pc);
  return known ? known
               : cluster.addOrigin({Origin::Kind::Global, pc, UINT32_MAX, cluster.nameGlobal(address), ""});
}

/// A number for the tensor and the coordinates of a box row, all but the innermost.
static uint32_t rowIdentity(const TensorMapSpec &spec, const std::array<int32_t, 5> &coordinates,
                            uint64_t row) {
  uint64_t hash = spec.base * 0x9e3779b97f4a7c15u;
  for (int i = 1; i < spec.rank; ++i) {
    hash =
        (hash ^ uint64_t(coordinates[size_t(i)] + int64_t(row % spec.box[size_t(i)]))) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
    row /= spec.box[size_t(i)];
  }
  return uint32_t(hash >> 16);
}

/// Of rows of a box that nothing orders after their writes, by their bytes in the box: where they come from.
using Unordered = std::map<uint64_t, uint32_t>;

/// Brings a box: what runs when the load arrives.
static void moveBox(const Warp &w, uint32_t pc, int lane, const TensorMapSpec &spec,
                    const std::array<int32_t, 5> &coordinates,
                    const std::vector<std::pair<Cta *, uint32_t>> &targets, const Unordered &unordered) {
  Cluster &cluster = w.cluster();
  const auto rowBytes = uint32_t(boxRowBytes(spec));
  std::vector<std::byte> row(rowBytes);
  overBoxRows(spec, coordinates, [&](const BoxRow &where) {
    std::fill(row.begin(), row.end(), std::byte(0));
    const bool written = fetchRow(cluster, w, pc, lane, where, row.data());
    uint32_t origin = written ? 0 : unwrittenOrigin(cluster, pc, where.address);
    if (const auto found = unordered.find(where.inBox); found != unordered.end()) [[unlikely]]
      origin = found->second;
    cluster.counters.tmaLoadBytes += where.count;
    cluster.counters.tmaFilledBytes += rowBytes - where.count;
    cluster.counters.tmaMulticastBytes += (targets.size() - 1) * rowBytes;
    const uint32_t identity = rowIdentity(spec, coordinates, where.inBox / rowBytes);
    for (const auto &[cta, start] : targets)
      for (uint32_t at = 0; at < rowBytes; at += 16) {
        const uint32_t bytes = std::min(16u, rowBytes - at);
        const uint32_t to = swizzled(start + uint32_t(where.inBox) + at, uint32_t(spec.swizzleBytes));
        std::memcpy(cta->shared.data() + to, row.data() + at, bytes);
        const int32_t element = coordinates[0] + int32_t(at / uint32_t(byteSize(spec.dtype)));
        cta->shared.source(to) = {true, uint8_t(spec.swizzleBytes), element, identity, pc};
        if (origin != 0)
          cta->shared.undefine(to, bytes, origin);
      }
  });
  ++cluster.counters.tmaLoads;
}

namespace {
/// A load's way into one CTA.
struct Landing {
  Cta *cta = nullptr;
  uint32_t offset = 0;
  Mbarrier *barrier = nullptr;
};
} // namespace

static Mbarrier *landingBarrier(Warp &w, Cta &cta, uint32_t offset, int lane) {
  const std::string name = w.cluster().nameShared(cta, offset, &w.cta);
  Mbarrier *barrier = cta.shared.barrierAt(offset);
  if (!barrier) {
    w.report(FindingKind::BarrierMisuse, bit(lane), "a load completes on an mbarrier that is not initialised",
             "initialise it, or check the offset", name);
    return nullptr;
  }
  if (w.clock.seen(barrier->initAgent) < barrier->initStep)
    w.report(FindingKind::DataRace, bit(lane),
             "the mbarrier is used and nothing orders that after its initialisation",
             "put a barrier of the CTA (of the cluster for other CTAs) between the two", name,
             barrier->initPc);
  else if (!barrier->fenced)
    w.report(FindingKind::ProxyUnfenced, bit(lane),
             "a load completes on an mbarrier whose initialisation was not fenced",
             "execute fence.mbarrier_init or fence.proxy.async after mbarrier.init", name, barrier->initPc);
  return barrier;
}

/// Claims the bytes of a landing for the barrier's phase. False when they are not there.
static bool land(Warp &w, Landing &landing, uint32_t bytes, uint32_t alignment, int lane) {
  if (landing.offset % alignment != 0) {
    w.report(
        FindingKind::Misaligned, bit(lane),
        fmt::format("the destination at offset {} must be a multiple of {} bytes", landing.offset, alignment),
        "", w.cluster().nameShared(*landing.cta, landing.offset, &w.cta));
    return false;
  }
  if (!findShared(w, sharedWindowAddress(landing.cta->rank, landing.offset), false, bytes, lane))
    return false;
  Mbarrier &barrier = *landing.barrier;
  const Accessor who{barrier.agent, barrier.phase + 1, w.pc, Proxy::Async, &w.clock};
  if (const AccessFault fault = landing.cta->shared.write(landing.offset, bytes, who))
    reportShared(w, *landing.cta, fault, true, lane);
  barrier.loadedPhase = barrier.phase + 1;
  barrier.loadPc = w.pc;
  ++barrier.loadsInFlight;
  return true;
}

/// All CTAs that a load goes to: one, or those of the mask at the same offsets.
static std::vector<Landing> landings(Warp &w, const Instr &i, const BulkDetail &detail, int lane) {
  const uint32_t to = windowAddress(detail.shared.at(w, i, lane)),
                 at = windowAddress(detail.barrier.at(w, i, lane));
  uint32_t ranks = 1u << std::min(rankOf(to), 31u);
  if (detail.multicast)
    ranks = laneAt<uint16_t>(w.row(i.source(detail.mask)), lane);
  else if (rankOf(at) != rankOf(to))
    w.report(FindingKind::BarrierMisuse, bit(lane),
             "the mbarrier of a load lies in another CTA than its destination");
  std::vector<Landing> found;
  for (uint32_t rank = 0; rank < 32; ++rank) {
    if (!(ranks >> rank & 1))
      continue;
    Cta *cta = findShared(w, sharedWindowAddress(rank, offsetOf(at)), false, 8, lane);
    if (!cta)
      return {};
    Mbarrier *barrier = landingBarrier(w, *cta, offsetOf(at), lane);
    if (!barrier)
      return {};
    found.push_back({cta, offsetOf(to), barrier});
  }
  return found;
}

/// Whether what the load reads was written before it: as it is issued, whenever it comes.
static Unordered checkSources(Warp &w, const TensorMapSpec &spec, const std::array<int32_t, 5> &coordinates,
                              int lane) {
  Unordered unordered;
  GlobalMemory &memory = w.cluster().grid().memory();
  Allocation *buffer = memory.find(spec.base);
  if (!buffer || !buffer->log().usedIn(w.cluster().grid().number()))
    return unordered;
  overBoxRows(spec, coordinates, [&](const BoxRow &row) {
    if (row.count != 0 && buffer->holds(row.address, row.count))
      if (const uint32_t origin = orderRead(w, *buffer, row.address, row.count, lane))
        unordered[row.inBox] = origin;
  });
  return unordered;
}

static void issue(Warp &w, std::vector<Landing> &targets, uint32_t bytes, uint32_t alignment, int lane,
                  std::function<void()> move) {
  w.charge(targets.size() * bytes / chargedBytes);
  for (Landing &landing : targets)
    if (!land(w, landing, bytes, alignment, lane))
      return;
  for (Landing &landing : targets) {
    w.cluster().addLoad({landing.cta->rank, landing.barrier->offset, landing.barrier->phase, w.pc, bytes, &w,
                         uint32_t(lane), std::exchange(move, [] {})});
  }
  w.cluster().progress();
}

static void loadTensor(Warp &w, const Instr &i) {
  const BulkDetail &detail = w.program().bulkDetails[i.detail];
  overLanes(w.mask, [&](int lane) {
    if (!operandsDefined(w, i, lane))
      return;
    const auto spec = mapAt(w, detail.map.at(w, i, lane), lane);
    const auto coordinates = coordinatesOf(w, i, detail, lane);
    if (!spec || !checkMap(w, *spec, detail, lane) || !checkCoordinates(w, *spec, coordinates, false, lane))
      return;
    std::vector<Landing> targets = landings(w, i, detail, lane);
    if (targets.empty())
      return;
    std::vector<std::pair<Cta *, uint32_t>> places;
    for (const Landing &landing : targets)
      places.emplace_back(landing.cta, landing.offset);
    Unordered unordered = checkSources(w, *spec, coordinates, lane);
    // A swizzle pattern repeats every 8 of its widths, of which 128 bytes are required; 1024 make it start at
    // row 0.
    issue(w, targets, uint32_t(boxBytes(*spec)), 128, lane,
          [&w, pc = w.pc, lane, spec = *spec, coordinates, places, unordered = std::move(unordered)] {
            moveBox(w, pc, lane, spec, coordinates, places, unordered);
          });
  });
}

/// Plain bytes from global memory, or from the own shared memory to another CTA's.
static void loadBytes(Warp &w, const Instr &i) {
  const BulkDetail &detail = w.program().bulkDetails[i.detail];
  overLanes(w.mask, [&](int lane) {
    if (!operandsDefined(w, i, lane))
      return;
    const uint32_t bytes = laneAt<uint32_t>(w.row(i.source(detail.size)), lane);
    const uint64_t from = detail.global.at(w, i, lane);
    if (bytes == 0 || bytes % 16 != 0 || from % 16 != 0)
      return w.report(
          FindingKind::Misaligned, bit(lane),
          fmt::format("a bulk copy of {} bytes from {:#x}: both must be multiples of 16", bytes, from));
    std::vector<Landing> targets = landings(w, i, detail, lane);
    if (targets.empty())
      return;
    TensorMapSpec spec; // A box of one row.
    spec.base = from;
    spec.dtype = Dtype::I32;
    spec.rank = 1;
    spec.extent[0] = spec.box[0] = bytes / 4;
    spec.swizzleBytes = 0;
    std::vector<std::pair<Cta *, uint32_t>> places;
    for (const Landing &landing : targets)
      places.emplace_back(landing.cta, landing.offset);
    Unordered unordered = checkSources(w, spec, {}, lane);
    issue(w, targets, bytes, 16, lane, [&w, pc = w.pc, lane, spec, places, unordered = std::move(unordered)] {
      moveBox(w, pc, lane, spec, {}, places, unordered);
    });
  });
}

//===- Stores and reductions -------------------------------------------------------------------------===//

static uint32_t beginStore(Warp &w, Cta &cta, uint32_t offset, uint32_t bytes, uint32_t alignment, int lane) {
  const uint32_t step = w.bulk.issue();
  if (offset % alignment != 0)
    w.report(FindingKind::Misaligned, bit(lane),
             fmt::format("the source at offset {} must be a multiple of {} bytes", offset, alignment), "",
             w.cluster().nameShared(cta, offset, &w.cta));
  const Accessor who{w.bulkAgent, step, w.pc, Proxy::Async, &w.clock};
  if (const AccessFault fault = cta.shared.read(offset, bytes, who)) {
    if (fault.undefined && fault.origin != 0 && !fault.conflict)
      w.cluster().reportUndefined(w, bit(lane), fault.origin, "is written to global memory");
    else
      reportShared(w, cta, fault, false, lane);
  }
  return step;
}

static Type elementType(Dtype dtype) {
  switch (dtype) {
  case Dtype::BF16:
    return Type::BF16;
  case Dtype::F16:
    return Type::F16;
  case Dtype::F32:
    return Type::F32;
  case Dtype::I32:
    return Type::S32;
  case Dtype::F64:
    return Type::F64;
  default:
    return Type::S64;
  }
}

/// There are none of f64, minimum and maximum of f32, and sums of signed 64 bits.
static bool checkReduction(Warp &w, const TensorMapSpec &spec, const BulkDetail &detail, int lane) {
  if (detail.reduction < 0 ||
      (spec.dtype != Dtype::F64 && canReduce(detail.reduction, elementType(spec.dtype))))
    return true;
  w.report(FindingKind::TensorMap, bit(lane),
           fmt::format("TMA has no such reduction of a tensor of {}", name(spec.dtype)),
           "use an element type that the instruction takes");
  return false;
}

static void storeBox(Warp &w, const TensorMapSpec &spec, const std::array<int32_t, 5> &coordinates,
                     uint64_t source, const BulkDetail &detail, int lane) {
  const auto bytes = uint32_t(boxBytes(spec)), rowBytes = uint32_t(boxRowBytes(spec));
  Cta *cta = findShared(w, windowAddress(source), true, bytes, lane);
  if (!cta)
    return;
  w.charge(bytes / chargedBytes);
  const uint32_t start = offsetOf(windowAddress(source));
  const uint32_t step = beginStore(w, *cta, start, bytes, detail.rank > 0 ? 128 : 16, lane);
  const bool adds = detail.reduction >= 0; // Element by element an atomic.
  std::vector<std::byte> row(rowBytes);
  GlobalMemory &memory = w.cluster().grid().memory();
  overBoxRows(spec, coordinates, [&](const BoxRow &where) {
    if (where.count == 0)
      return;
    for (uint32_t at = 0; at < rowBytes; at += 16)
      std::memcpy(row.data() + at,
                  cta->shared.data() +
                      swizzled(start + uint32_t(where.inBox) + at, uint32_t(spec.swizzleBytes)),
                  std::min(16u, rowBytes - at));
    Allocation *buffer = memory.find(where.address);
    if (!buffer || !buffer->holds(where.address, where.count))
      return w.report(FindingKind::OutOfBounds, bit(lane),
                      fmt::format("{} bytes of the copy lie in no buffer", where.count),
                      "give the tensor map the extents of its buffer", w.cluster().nameGlobal(where.address));
    const bool changes =
        adds || std::memcmp(buffer->at(where.address), row.data() + where.first, where.count) != 0;
    orderGlobal(w, *buffer, where.address, where.count,
                {true, adds, adds, changes, Proxy::Async, w.bulkWriteAgent, step}, lane);
    if (adds)
      reduceInto(buffer->at(where.address), row.data() + where.first, where.count, detail.reduction,
                 detail.type >= 0 ? static_cast<Type>(detail.type) : elementType(spec.dtype));
    else
      std::memcpy(buffer->at(where.address), row.data() + where.first, where.count);
    buffer->markWritten(where.address, where.count);
    w.counters().tmaStoreBytes += where.count;
  });
  ++w.counters().tmaStores;
  w.cluster().progress();
}

/// Stores write whole chunks of 16 bytes on an H100, also where only their begin lies in the tensor.
static void extendToChunks(TensorMapSpec &spec) {
  const uint64_t perChunk = std::max<uint64_t>(1, 16 / uint64_t(byteSize(spec.dtype)));
  spec.extent[0] = (spec.extent[0] + perChunk - 1) / perChunk * perChunk;
}

static void storeTensor(Warp &w, const Instr &i) {
  const BulkDetail &detail = w.program().bulkDetails[i.detail];
  overLanes(w.mask, [&](int lane) {
    if (!operandsDefined(w, i, lane))
      return;
    auto spec = mapAt(w, detail.map.at(w, i, lane), lane);
    const auto coordinates = coordinatesOf(w, i, detail, lane);
    if (!spec || !checkMap(w, *spec, detail, lane) || !checkReduction(w, *spec, detail, lane) ||
        !checkCoordinates(w, *spec, coordinates, true, lane))
      return;
    extendToChunks(*spec);
    storeBox(w, *spec, coordinates, detail.shared.at(w, i, lane), detail, lane);
  });
}

static void storeBytes(Warp &w, const Instr &i) {
  const BulkDetail &detail = w.program().bulkDetails[i.detail];
  overLanes(w.mask, [&](int lane) {
    if (!operandsDefined(w, i, lane))
      return;
    const uint32_t bytes = laneAt<uint32_t>(w.row(i.source(detail.size)), lane);
    const uint64_t to = detail.global.at(w, i, lane);
    if (bytes == 0 || bytes % 16 != 0 || to % 16 != 0 || bytes > 1 << 20)
      return w.report(
          FindingKind::Misaligned, bit(lane),
          fmt::format("a bulk copy of {} bytes to {:#x}: both must be multiples of 16", bytes, to));
    TensorMapSpec spec;
    spec.base = to;
    spec.dtype = Dtype::I32;
    spec.rank = 1;
    spec.extent[0] = spec.box[0] = bytes / 4;
    spec.swizzleBytes = 0;
    storeBox(w, spec, {}, detail.shared.at(w, i, lane), detail, lane);
  });
}

static void commitGroup(Warp &w, const Instr &) { w.bulk.commit(); }
static void waitGroup(Warp &w, const Instr &i) {
  w.clock.see(w.bulkAgent, w.bulk.wait(i.detail));
  if (i.offset == 0) // Not .read: what they write is there too.
    w.clock.see(w.bulkWriteAgent, w.bulk.before(i.detail));
}

static void checkPrefetched(Warp &w, const Instr &i, const BulkDetail &detail, int lane) {
  const uint32_t bytes = laneAt<uint32_t>(w.row(i.source(detail.size)), lane);
  const uint64_t from = detail.global.at(w, i, lane);
  if (bytes % 16 != 0 || from % 16 != 0)
    return w.report(
        FindingKind::Misaligned, bit(lane),
        fmt::format("a bulk prefetch of {} bytes from {:#x}: both must be multiples of 16", bytes, from));
  const Allocation *buffer = w.cluster().grid().memory().find(from);
  if (bytes != 0 && (!buffer || !buffer->holds(from, bytes)))
    w.report(FindingKind::OutOfBounds, bit(lane),
             fmt::format("a prefetch of {} bytes at a global address that no buffer holds", bytes),
             "check index and extent", w.cluster().nameGlobal(from));
}

/// A prefetch changes nothing, but its map and address must be right.
static void prefetch(Warp &w, const Instr &i) {
  const BulkDetail &detail = w.program().bulkDetails[i.detail];
  overLanes(w.mask, [&](int lane) {
    if (!operandsDefined(w, i, lane))
      return;
    if (detail.rank == 0)
      return checkPrefetched(w, i, detail, lane);
    if (const auto spec = mapAt(w, detail.map.at(w, i, lane), lane))
      checkMap(w, *spec, detail, lane);
  });
}

BulkHandlers lathe::runtime::emulator::bulkHandlers() {
  return {&loadTensor, &loadBytes, &storeTensor, &storeBytes, &prefetch, &commitGroup, &waitGroup};
}
