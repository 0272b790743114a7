//===- BulkDecode.cpp - The forms of cp.async.bulk ---------------------------------------------------===//
//
// Reads the names and operands of bulk copies, with and without tensor maps, into BulkDetail.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/instructions/BulkCopy.h"
#include "lathe/runtime/device/emulator/instructions/Float.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

using namespace lathe::runtime::emulator;
using Kind = ptx::Operand::Kind;

//===- Reductions ------------------------------------------------------------------------------------===//

namespace {
enum class Reduction : uint8_t { Add, Min, Max };
} // namespace

template <class T>
static T reduced(Reduction how, T a, T b) {
  return how == Reduction::Add ? T(a + b) : how == Reduction::Min ? std::min(a, b) : std::max(a, b);
}

template <class T, class Op>
static void overElements(std::byte *to, const std::byte *from, uint64_t bytes, Op op) {
  for (uint64_t at = 0; at + sizeof(T) <= bytes; at += sizeof(T)) {
    T a, b;
    std::memcpy(&a, to + at, sizeof(T));
    std::memcpy(&b, from + at, sizeof(T));
    a = op(a, b);
    std::memcpy(to + at, &a, sizeof(T));
  }
}

bool lathe::runtime::emulator::canReduce(int reduction, Type type) {
  switch (type) {
  case Type::U32:
  case Type::S32:
  case Type::U64:
  case Type::F16:
  case Type::BF16:
    return true;
  case Type::S64:
    return reduction != int(Reduction::Add);
  case Type::F32:
  case Type::F64:
    return reduction == int(Reduction::Add);
  default:
    return false;
  }
}

void lathe::runtime::emulator::reduceInto(std::byte *to, const std::byte *from, uint64_t bytes, int reduction,
                                          Type type) {
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  const auto how = static_cast<Reduction>(reduction);
  switch (type) {
  case Type::F32:
    // The ISA has subnormal numbers flushed; an H100 keeps them.
    return overElements<float>(to, from, bytes, [](float a, float b) { return a + b; });
  case Type::F64:
    return overElements<double>(to, from, bytes, [](double a, double b) { return a + b; });
  case Type::BF16:
    return overElements<uint16_t>(to, from, bytes, [how](uint16_t a, uint16_t b) {
      return toBf16(reduced(how, fromBf16(a), fromBf16(b)));
    });
  case Type::F16:
    return overElements<uint16_t>(to, from, bytes, [how](uint16_t a, uint16_t b) {
      return toF16(reduced(how, fromF16(a), fromF16(b)));
    });
  case Type::S32:
    return overElements<int32_t>(to, from, bytes, [how](int32_t a, int32_t b) {
      return how == Reduction::Add ? int32_t(uint32_t(a) + uint32_t(b)) : reduced(how, a, b);
    });
  case Type::S64:
    return overElements<int64_t>(to, from, bytes, [how](int64_t a, int64_t b) {
      return how == Reduction::Add ? int64_t(uint64_t(a) + uint64_t(b)) : reduced(how, a, b);
    });
  case Type::U64:
    return overElements<uint64_t>(to, from, bytes,
                                  [how](uint64_t a, uint64_t b) { return reduced(how, a, b); });
  default:
    return overElements<uint32_t>(to, from, bytes,
                                  [how](uint32_t a, uint32_t b) { return reduced(how, a, b); });
  }
}

//===- Operands --------------------------------------------------------------------------------------===//

BulkOperand BulkSources::address(const ptx::Operand &operand) {
  BulkOperand out;
  const bool own = d_.address(operand);
  out.offset = d_.out.offset;
  out.source = own ? -1 : next_++;
  return out;
}

BulkOperand BulkSources::map(const ptx::Operand &operand, BulkDetail &detail) {
  const BulkOperand out = address(operand);
  if (operand.parts.size() != size_t(detail.rank) + 1)
    d_.refuse(fmt::format("a box of {} dimensions must have as many coordinates", detail.rank),
              fmt::format("{}", operand.parts.size() - 1));
  detail.coordinates = next_;
  for (size_t k = 1; k < operand.parts.size(); ++k, ++next_)
    d_.source(operand.parts[k], Type::B32);
  return out;
}

int BulkSources::value(const ptx::Operand &operand, Type type) {
  d_.source(operand, type);
  return next_++;
}

static bool keep(Decoder &d, const BulkDetail &detail, Handler handler) {
  d.policy();
  d.out.detail = uint32_t(d.program().bulkDetails.size());
  d.program().bulkDetails.push_back(detail);
  return d.done(handler, Mix::AsyncCopy);
}

static void takeHint(Decoder &d, size_t operands) { d.requireCount(operands + (d.takeHint() ? 1 : 0)); }

//===- Forms -----------------------------------------------------------------------------------------===//

static int takeRank(Decoder &d) { return d.takeOneOf({"1d", "2d", "3d", "4d", "5d"}) + 1; }

static bool decodeLoad(Decoder &d, BulkDetail detail, bool tensor) {
  d.take("tile");
  if (!d.take("mbarrier::complete_tx::bytes"))
    d.refuseModifiers();
  detail.multicast = d.take("multicast::cluster");
  const size_t operands = tensor ? 3 : 4;
  takeHint(d, operands + (detail.multicast ? 1 : 0));
  BulkSources sources(d);
  detail.shared = sources.address(d.operand(0));
  if (tensor) {
    detail.map = sources.map(d.operand(1), detail);
  } else {
    detail.global = sources.address(d.operand(1));
    detail.size = sources.value(d.operand(2), Type::U32);
  }
  detail.barrier = sources.address(d.operand(operands - 1));
  if (detail.multicast)
    detail.mask = sources.value(d.operand(operands), Type::U16);
  return keep(d, detail, tensor ? bulkHandlers().loadTensor : bulkHandlers().loadBytes);
}

static bool decodeStore(Decoder &d, BulkDetail detail, bool tensor) {
  d.take("tile");
  if (!d.take("bulk_group"))
    d.refuseModifiers();
  const size_t hints = d.takeHint() ? 1 : 0;
  if (!tensor && detail.reduction == reductionWanted)
    detail.reduction = d.takeOneOf({"add", "min", "max"});
  if (!tensor && detail.reduction >= 0) {
    d.take("noftz");
    const Type type = d.takeType();
    if (!canReduce(detail.reduction, type))
      d.refuseModifiers();
    detail.type = int(type);
  }
  d.requireCount((tensor ? 2 : 3) + hints);
  BulkSources sources(d);
  if (tensor) {
    detail.map = sources.map(d.operand(0), detail);
    detail.shared = sources.address(d.operand(1));
  } else {
    detail.global = sources.address(d.operand(0));
    detail.shared = sources.address(d.operand(1));
    detail.size = sources.value(d.operand(2), Type::U32);
  }
  return keep(d, detail, tensor ? bulkHandlers().storeTensor : bulkHandlers().storeBytes);
}

static bool decodePrefetch(Decoder &d) {
  BulkDetail detail;
  BulkSources sources(d);
  if (d.take("tensor")) {
    detail.rank = takeRank(d);
    if (!d.take("L2") || !d.take("global"))
      d.refuseModifiers();
    d.take("tile");
    takeHint(d, 1);
    detail.map = sources.map(d.operand(0), detail);
  } else {
    if (!d.take("L2") || !d.take("global"))
      d.refuseModifiers();
    takeHint(d, 2);
    detail.global = sources.address(d.operand(0));
    detail.size = sources.value(d.operand(1), Type::U32);
  }
  return keep(d, detail, bulkHandlers().prefetch);
}

static bool decodeGroups(Decoder &d) {
  if (d.take("commit_group")) {
    d.requireCount(0);
    return d.done(bulkHandlers().commitGroup, Mix::AsyncCopy);
  }
  d.take("wait_group");
  d.out.offset = d.take("read") ? 1 : 0; // Only that shared memory was read is waited for.
  d.requireCount(1);
  d.out.detail = uint32_t(d.integer(d.operand(0), 0, 1 << 20));
  return d.done(bulkHandlers().waitGroup, Mix::Barrier);
}

/// After cp.async.bulk or cp.reduce.async.bulk.
static bool decodeTransfer(Decoder &d, BulkDetail detail) {
  const bool tensor = d.take("tensor");
  if (tensor)
    detail.rank = takeRank(d);
  if (tensor && detail.rank == 0)
    d.refuseModifiers();
  if (d.takeOneOf({"shared::cluster", "shared::cta"}) >= 0) {
    if (!d.take("global") || detail.reduction == reductionWanted)
      d.refuseModifiers();
    return decodeLoad(d, detail, tensor);
  }
  if (!d.take("global") || !d.take("shared::cta"))
    d.refuseModifiers();
  if (tensor && detail.reduction == reductionWanted) {
    detail.reduction = d.takeOneOf({"add", "min", "max"});
    detail.type = -1; // The tensor map's.
  }
  return decodeStore(d, detail, tensor);
}

bool lathe::runtime::emulator::decodeBulk(Decoder &d) {
  BulkDetail detail;
  if (d.startsWith("cp.reduce.async.bulk")) {
    d.take("reduce"), d.take("async"), d.take("bulk");
    detail.reduction = reductionWanted;
    return decodeTransfer(d, detail);
  }
  if (!d.startsWith("cp.async.bulk"))
    return false;
  d.take("async"), d.take("bulk");
  if (d.mentions("commit_group") || d.mentions("wait_group"))
    return decodeGroups(d);
  if (d.take("prefetch"))
    return decodePrefetch(d);
  return decodeTransfer(d, detail);
}
