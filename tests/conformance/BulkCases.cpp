// cp.async.bulk and cp.reduce.async.bulk without tensor maps, both ways: PTX ISA, "Data Movement and
// Conversion Instructions: cp.async.bulk". Sizes and addresses are multiples of 16.
#include "Boxes.h"
#include "Cases.h"
#include "Kernel.h"
#include "Numbers.h"
#include "Values.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 128;

/// Several pieces of a buffer, by one mbarrier; each piece by a thread of its own.
static void addLoads(Cases &cases, const std::string &destination) {
  static constexpr size_t sizes[] = {16, 48, 256, 2048, 4080}, gap = 32;
  size_t total = 0;
  for (size_t size : sizes)
    total += size;
  const size_t barrier = 16384;
  std::string text = fmt::format(R"(  .reg .b32 %bar, %dst, %n;
  .reg .b64 %p;
  .reg .pred %c;
  add.s32 %bar, %smem, {0};
  setp.eq.s32 %c, %t, 0;
  @%c mbarrier.init.shared::cta.b64 [%bar], 1;
  @%c fence.mbarrier_init.release.cluster;
  @%c mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], {1};
  bar.sync 0;
)",
                                 barrier, total);
  size_t from = 16, to = 0, thread = 0;
  for (size_t size : sizes) {
    text +=
        fmt::format("  setp.eq.s32 %c, %t, {4};\n  add.s64 %p, %in, {1};\n  add.s32 %dst, %smem, {2};\n  "
                    "mov.b32 %n, {3};\n"
                    "  @%c cp.async.bulk.{0}.global.mbarrier::complete_tx::bytes [%dst], [%p], %n, [%bar];\n",
                    destination, from, to, size, 7 * thread++);
    from += size + gap, to += size;
  }
  text += "wait:\n  mbarrier.try_wait.parity.shared::cta.b64 %c, [%bar], 0;\n  @!%c bra wait;\n";
  text += copyToGlobal("%out", 0, total, threads, "copy");
  Case entry = makeCase("bulk", "load." + destination.substr(8), {.threads = threads}, 1,
                        unsigned(barrier + 64), text);
  entry.element = Element::Bits8;
  entry.outputBytes = total;
  entry.input = [from](Random &random) { return randomBytes(random, from); };
  entry.expect = [](const Bytes &input, Expected &out) {
    size_t at = 16, to = 0;
    for (size_t size : sizes) {
      std::copy_n(input.begin() + long(at), size, out.bytes.begin() + long(to));
      at += size + gap, to += size;
    }
  };
  cases.push_back(std::move(entry));
}

/// Two groups: the first is waited for so that its source may be written again, before the second is sent.
static void addStores(Cases &cases) {
  const std::string text = copyToShared("%in", 0, 2048, threads, "first") + R"(  .reg .pred %c;
  .reg .b64 %p;
  fence.proxy.async.shared::cta;
  bar.sync 0;
  setp.eq.s32 %c, %t, 0;
  @%c cp.async.bulk.global.shared::cta.bulk_group [%out], [%smem], 2048;
  @%c cp.async.bulk.commit_group;
  @%c cp.async.bulk.wait_group.read 0;
  bar.sync 0;
  add.s64 %p, %in, 2048;
)" + copyToShared("%p", 0, 2048, threads, "second") +
                           R"(  fence.proxy.async.shared::cta;
  bar.sync 0;
  @!%c ret;
  add.s64 %p, %out, 2064;
  cp.async.bulk.global.shared::cta.bulk_group [%p], [%smem+16], 2016;
  cp.async.bulk.commit_group;
  cp.async.bulk.wait_group 0;
)";
  Case entry = makeCase("bulk", "store", {.threads = threads}, 1, 4096, text);
  entry.element = Element::Bits8;
  entry.outputBytes = 4096;
  entry.input = [](Random &random) { return randomBytes(random, 4096); };
  entry.expect = [](const Bytes &input, Expected &out) {
    std::copy_n(input.begin(), 2048, out.bytes.begin());
    std::copy_n(input.begin() + 2064, 2016, out.bytes.begin() + 2064);
  };
  cases.push_back(std::move(entry));
}

/// Names of shared memory for addresses; and prefetches, which change nothing.
static void addNames(Cases &cases) {
  const std::string text = R"(  .reg .b32 %r;
  .reg .pred %c;
  .reg .b64 %p;
  setp.ne.s32 %c, %t, 0;
  @%c bra join;
  cp.async.bulk.prefetch.L2.global [%in], 64;
  cp.async.bulk.prefetch.tensor.1d.L2.global.tile [%map0, {%t}];
  mbarrier.init.shared::cta.b64 [smem], 1;
  fence.mbarrier_init.release.cluster;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [smem], 64;
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [smem+16], [%in], 64, [smem];
join:
  bar.sync 0;
wait:
  mbarrier.try_wait.parity.shared::cta.b64 %c, [smem], 0;
  @!%c bra wait;
  atom.shared.add.u32 %r, [smem+72], 0;
  fence.proxy.async.shared::cta;
  bar.sync 0;
  setp.ne.s32 %c, %t, 0;
  @%c ret;
  cp.async.bulk.global.shared::cta.bulk_group [%out], [smem+16], 64;
  cp.async.bulk.commit_group;
  cp.async.bulk.wait_group 0;
)";
  Case entry = makeCase("bulk", "names_and_prefetches", {.threads = threads, .maps = 1}, 1, 1024, text);
  entry.element = Element::Bits8;
  entry.outputBytes = 64;
  entry.maps = {{false, {.dtype = Dtype::I32, .rank = 1, .extent = {16}, .box = {16}, .swizzleBytes = 0}}};
  entry.input = [](Random &random) { return randomBytes(random, 64); };
  entry.expect = [](const Bytes &input, Expected &out) { out.bytes = input; };
  cases.push_back(std::move(entry));
}

//===- Reductions ------------------------------------------------------------------------------------===//

namespace {
struct Kind {
  const char *name;
  Element element;
  bool isSigned = false;
};
} // namespace

static uint64_t reduced(const std::string &operation, const Kind &kind, uint64_t old, uint64_t value) {
  const unsigned unused = 64 - 8 * unsigned(byteSize(kind.element));
  const bool least = operation == "min";
  if (kind.element == Element::Bits32 || kind.element == Element::Bits64) {
    if (operation == "add")
      return old + value;
    const bool isLess = kind.isSigned ? int64_t(old << unused) < int64_t(value << unused) : old < value;
    return isLess == least ? old : value;
  }
  const Format format = kind.element == Element::F16    ? f16
                        : kind.element == Element::BF16 ? bf16
                        : kind.element == Element::F32  ? f32
                                                        : f64;
  // The ISA has subnormal numbers flushed for f32; an H100 keeps them.
  const Exact a = decode(format, old), b = decode(format, value);
  if (operation == "add")
    return encode(format, add(a, b));
  return less(a, b) == least ? old : value;
}

static Bytes randomElements(const std::string &operation, const Kind &kind, Random &random, size_t bytes) {
  Bytes out = randomBytes(random, bytes);
  if (kind.element == Element::Bits32 || kind.element == Element::Bits64)
    return out;
  const auto size = size_t(byteSize(kind.element));
  const Format format = size == 8 ? f64 : size == 4 ? f32 : kind.element == Element::F16 ? f16 : bf16;
  for (size_t at = 0; at < bytes; at += size) {
    uint64_t bits = randomBits(format, random);
    const Exact value = decode(format, bits);
    if (operation != "add" && (value.isNan() || value.isZero()))
      bits = encode(format, exactly(3));
    std::memcpy(out.data() + at, &bits, size);
  }
  return out;
}

static void addReduction(Cases &cases, const std::string &operation, const Kind &kind) {
  static constexpr size_t bytes = 1024;
  const bool noftz = operation == "add" && (kind.element == Element::F16 || kind.element == Element::BF16);
  const std::string opcode = fmt::format("cp.reduce.async.bulk.global.shared::cta.bulk_group.{}{}.{}",
                                         operation, noftz ? ".noftz" : "", kind.name);
  const std::string text =
      copyToShared("%in", 0, bytes, threads, "copy") +
      fmt::format("  .reg .pred %c;\n  .reg .b64 %p;\n  fence.proxy.async.shared::cta;\n  bar.sync 0;\n"
                  "  setp.ne.s32 %c, %t, 0;\n  @%c ret;\n  add.s64 %p, %out, 16;\n  {} [%p], [%smem], {};\n"
                  "  cp.async.bulk.commit_group;\n  cp.async.bulk.wait_group 0;\n",
                  opcode, bytes);
  Case entry = makeCase("bulk", fmt::format("reduce.{}.{}", operation, kind.name), {.threads = threads}, 1,
                        2048, text);
  entry.element = kind.element;
  entry.outputBytes = bytes + 32;
  entry.input = [=](Random &random) { return randomElements(operation, kind, random, bytes); };
  entry.output = [=](Random &random) { return randomElements(operation, kind, random, bytes + 32); };
  entry.expect = [=](const Bytes &input, Expected &out) {
    const auto size = size_t(byteSize(kind.element));
    for (size_t at = 0; at < bytes; at += size) {
      uint64_t old = 0, value = 0;
      std::memcpy(&old, out.bytes.data() + 16 + at, size);
      std::memcpy(&value, input.data() + at, size);
      const uint64_t updated = reduced(operation, kind, old, value);
      std::memcpy(out.bytes.data() + 16 + at, &updated, size);
    }
  };
  cases.push_back(std::move(entry));
}

void conformance::addBulkCases(Cases &cases) {
  addLoads(cases, "shared::cluster");
  addLoads(cases, "shared::cta");
  addStores(cases);
  addNames(cases);
  for (const Kind &kind : {Kind{"u32", Element::Bits32},
                           {"s32", Element::Bits32, true},
                           {"u64", Element::Bits64},
                           {"f16", Element::F16},
                           {"bf16", Element::BF16}})
    for (const char *operation : {"add", "min", "max"})
      addReduction(cases, operation, kind);
  for (const char *operation : {"min", "max"})
    addReduction(cases, operation, {"s64", Element::Bits64, true});
  addReduction(cases, "add", {"f32", Element::F32});
  addReduction(cases, "add", {"f64", Element::F64});
}
