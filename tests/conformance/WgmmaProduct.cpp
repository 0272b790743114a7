#include "WgmmaProduct.h"

#include "Boxes.h"
#include "Kernel.h"

#include <fmt/format.h>

#include <cmath>

using namespace lathe;
using namespace lathe::conformance;

namespace {
/// Where things lie in the input: operand A as an image of shared memory, as fragments, or as a matrix in
/// rows for TMA; B; then the accumulators of each thread.
struct Places {
  explicit Places(const WgmmaProduct &form)
      : aBytes(form.byTma || form.aInRegisters ? size_t(productRows) * form.depth() * 2 : form.a.bytes()),
        bBytes(form.byTma ? size_t(form.columns()) * form.depth() * 2 : form.b.bytes()),
        b((aBytes + 255) / 256 * 256), accumulators((b + bBytes + 255) / 256 * 256),
        end(accumulators + size_t(productThreads) * form.registers() * 4) {}
  size_t aBytes, bBytes, b, accumulators, end;
};
} // namespace

//===- Elements --------------------------------------------------------------------------------------===//

/// Row and column that a thread's register holds: PTX ISA, "Register fragments", of the accumulator …
static std::pair<unsigned, unsigned> accumulatorPlace(unsigned thread, unsigned i) {
  const unsigned warp = thread / 32, lane = thread % 32;
  return {16 * warp + lane / 4 + (i & 2 ? 8 : 0), 8 * (i / 4) + 2 * (lane % 4) + (i & 1)};
}
/// … and of element `e` (0 to 7) of A.
static std::pair<unsigned, unsigned> fragmentPlace(unsigned thread, unsigned e) {
  const unsigned warp = thread / 32, lane = thread % 32;
  return {16 * warp + lane / 4 + (e & 2 ? 8 : 0), 2 * (lane % 4) + (e & 1) + (e & 4 ? 8 : 0)};
}

/// Byte of element (row, k) of A in the input.
static size_t aPlace(const WgmmaProduct &form, unsigned row, unsigned k) {
  if (form.aInRegisters) {
    for (unsigned thread = 0; thread < productThreads; ++thread)
      for (unsigned e = 0; e < 8; ++e)
        if (fragmentPlace(thread, e) == std::pair(row, k % stepDepth))
          return ((size_t(k / stepDepth) * productThreads + thread) * 8 + e) * 2;
  }
  if (!form.byTma)
    return form.a.offset(row, k);
  return 2 * (form.a.mnMajor ? size_t(k) * productRows + row : size_t(row) * form.depth() + k);
}
static size_t bPlace(const WgmmaProduct &form, unsigned column, unsigned k) {
  if (!form.byTma)
    return form.b.offset(column, k);
  return 2 * (form.b.mnMajor ? size_t(k) * form.columns() + column : size_t(column) * form.depth() + k);
}

/// Numbers of 2^±6 with all bits of the fraction; with `special` now and then an infinity or a NaN.
static uint16_t randomElement(const WgmmaProduct &form, Random &random) {
  const Format format = form.format();
  const uint64_t fraction = random() & ((uint64_t(1) << format.fractionBits) - 1);
  const uint64_t exponent = uint64_t(format.bias()) - 6 + random() % 13;
  const uint64_t sign = random() & 1 ? format.signBit() : 0;
  if (form.special && random() % 512 == 0)
    return uint16_t(random() % 3 ? sign | format.infinity() : format.nan());
  return uint16_t(random() % 16 == 0 ? sign : sign | exponent << format.fractionBits | fraction);
}

static Bytes makeInput(const WgmmaProduct &form, Random &random) {
  const Places places(form);
  Bytes input(places.end);
  for (size_t at = 0; at < places.accumulators; at += 2)
    setValue(input, at, randomElement(form, random));
  for (size_t at = places.accumulators; at < places.end; at += 4)
    setValue(input, at, float(int64_t(random() % 4096) - 2048) / 16);
  return input;
}

static void expect(const WgmmaProduct &form, const Bytes &input, Expected &out) {
  const Places places(form);
  std::vector<double> a(size_t(productRows) * form.depth()), b(size_t(form.columns()) * form.depth());
  for (unsigned k = 0; k < form.depth(); ++k) {
    for (unsigned row = 0; row < productRows; ++row)
      a[size_t(row) * form.depth() + k] =
          toDouble(form.format(), valueAt<uint16_t>(input, aPlace(form, row, k)));
    for (unsigned column = 0; column < form.columns(); ++column)
      b[size_t(column) * form.depth() + k] =
          toDouble(form.format(), valueAt<uint16_t>(input, places.b + bPlace(form, column, k)));
  }
  const double sign = form.negatesA != form.negatesB ? -1 : 1;
  for (unsigned thread = 0; thread < productThreads; ++thread)
    for (unsigned i = 0; i < form.registers(); ++i) {
      const auto [row, column] = accumulatorPlace(thread, i);
      const size_t at = size_t(thread) * form.registers() + i;
      double sum = form.keepsAccumulator ? elementAt<float>(input, at, places.accumulators) : 0;
      double magnitude = std::fabs(sum);
      for (unsigned k = 0; k < form.depth(); ++k) {
        const double product = a[size_t(row) * form.depth() + k] * b[size_t(column) * form.depth() + k];
        sum += sign * product;
        magnitude += std::fabs(product);
      }
      setElement(out.bytes, at, float(sum));
      out.bounds.push_back(std::isfinite(magnitude) ? magnitude * (form.depth() + 2) * 0x1p-23 : 0);
    }
}

//===- Kernels ---------------------------------------------------------------------------------------===//

/// Tensor map of an operand as a matrix in rows, its box one swizzle wide and of all rows.
static Map mapOf(const WgmmaOperand &operand, size_t base, bool half) {
  Map map;
  const unsigned across = operand.mnMajor ? operand.extent : operand.depth,
                 down = operand.mnMajor ? operand.depth : operand.extent;
  map.spec.base = base;
  map.spec.dtype = half ? Dtype::F16 : Dtype::BF16;
  map.spec.rank = 2;
  map.spec.extent = {across, down};
  map.spec.strideBytes = {2 * uint64_t(across)};
  map.spec.box = {uint32_t(operand.swizzleBytes) / 2, down};
  map.spec.swizzleBytes = operand.swizzleBytes;
  return map;
}

/// Boxes of one operand, one behind the other.
static std::string loadBoxes(const WgmmaOperand &operand, const char *map, size_t to) {
  const unsigned across = operand.mnMajor ? operand.extent : operand.depth,
                 down = operand.mnMajor ? operand.depth : operand.extent;
  std::string text;
  for (unsigned at = 0; at < across; at += unsigned(operand.swizzleBytes) / 2)
    text += fmt::format(
        "  add.s32 %a, %smem, {};\n  mov.b32 %x, {};\n  cp.async.bulk.tensor.2d.shared::cluster.global.tile"
        ".mbarrier::complete_tx::bytes [%a], [{}, {{%x, %zero}}], [%bar];\n",
        to + size_t(at) * 2 * down, at, map);
  return text;
}

/// Brings the operands into shared memory, A at 0 and B at `bStart`; `barrier`: an mbarrier's place.
static std::string bringOperands(const WgmmaProduct &form, size_t bStart, size_t barrier) {
  const Places places(form);
  if (!form.byTma) {
    const auto copy = form.byCopies ? &copyToSharedLate : &copyToShared;
    std::string text = form.aInRegisters ? "" : copy("%in", 0, places.aBytes, productThreads, "copy_a");
    text += fmt::format("  add.s64 %p, %in, {};\n", places.b) +
            copy("%p", bStart, places.bBytes, productThreads, "copy_b");
    return text + (form.byCopies ? "  cp.async.wait_all;\n" : "") +
           "  fence.proxy.async.shared::cta;\n  bar.sync 0;\n";
  }
  std::string text = fmt::format(R"(  .reg .b32 %a, %x, %zero, %bar;
  mov.b32 %zero, 0;
  add.s32 %bar, %smem, {};
  setp.ne.s32 %c, %t, 0;
  @%c bra join;
  mbarrier.init.shared::cta.b64 [%bar], 1;
  fence.mbarrier_init.release.cluster;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], {};
)",
                                 barrier, (form.aInRegisters ? 0 : places.aBytes) + places.bBytes);
  text += (form.aInRegisters ? "" : loadBoxes(form.a, "%map0", 0)) + loadBoxes(form.b, "%map1", bStart);
  return text + "join:\n  bar.sync 0;\nwait:\n  mbarrier.try_wait.parity.shared::cta.b64 %c, [%bar], 0;\n  "
                "@!%c bra wait;\n";
}

/// %d<n> = %smem + offset, as the start address of a descriptor with its other fields.
static std::string makeDescriptor(const char *name, size_t offset, const WgmmaOperand &operand) {
  return fmt::format(
      "  add.s32 %q, %smem, {};\n  and.b32 %q, %q, 0x3ffff;\n  shr.u32 %q, %q, 4;\n  cvt.u64.u32 {}, %q;\n"
      "  or.b64 {}, {}, {:#x};\n",
      offset + 128 * size_t(operand.patternLines), name, name, name, operand.descriptor());
}

static std::string product(const WgmmaProduct &form, unsigned step) {
  const char *type = form.half ? "f16" : "bf16";
  std::string a = "%da";
  if (form.aInRegisters)
    a = fmt::format("{{%f{}, %f{}, %f{}, %f{}}}", 4 * step, 4 * step + 1, 4 * step + 2, 4 * step + 3);
  return fmt::format("  wgmma.mma_async.sync.aligned.m64n{}k16.f32.{}.{} {}, {}, %db, %c, {}, {}{}, {};\n",
                     form.columns(), type, type, registers("acc", form.registers()), a,
                     form.negatesA ? -1 : 1, form.negatesB ? -1 : 1,
                     form.aInRegisters ? "" : fmt::format(", {}", int(form.a.mnMajor)), int(form.b.mnMajor));
}

static std::string moveAccumulators(const WgmmaProduct &form, bool load) {
  std::string text;
  for (unsigned i = 0; i < form.registers(); i += 4) {
    const std::string four = fmt::format("{{%acc{}, %acc{}, %acc{}, %acc{}}}", i, i + 1, i + 2, i + 3);
    text += load ? fmt::format("  ld.global.v4.b32 {}, [%p+{}];\n", four, 4 * i)
                 : fmt::format("  st.global.v4.b32 [%p+{}], {};\n", 4 * i, four);
  }
  return text;
}

static std::string body(const WgmmaProduct &form, size_t bStart, size_t barrier) {
  const Places places(form);
  std::string text =
      fmt::format("  .reg .b64 %p, %da, %db;\n  .reg .b32 %q, %acc<{}>, %f<{}>;\n  .reg .pred %c;\n",
                  form.registers(), 4 * form.steps());
  text += bringOperands(form, bStart, barrier);
  for (unsigned step = 0; form.aInRegisters && step < form.steps(); ++step)
    text += fmt::format(
        "  mad.wide.u32 %p, %t, 16, %in;\n  ld.global.v4.b32 {{%f{}, %f{}, %f{}, %f{}}}, [%p+{}];\n",
        4 * step, 4 * step + 1, 4 * step + 2, 4 * step + 3, step * productThreads * 16);
  text += fmt::format("  mad.wide.u32 %p, %t, {}, %in;\n  add.s64 %p, %p, {};\n", 4 * form.registers(),
                      places.accumulators);
  text += moveAccumulators(form, true) + "  wgmma.fence.sync.aligned;\n";
  for (unsigned step = 0; step < form.steps(); ++step) {
    if (!form.aInRegisters)
      text += makeDescriptor("%da", form.a.stepBytes(step), form.a);
    text += makeDescriptor("%db", bStart + form.b.stepBytes(step), form.b);
    text +=
        fmt::format("  mov.b32 %q, {};\n  setp.ne.b32 %c, %q, 0;\n", int(form.keepsAccumulator || step > 0));
    text += product(form, step);
  }
  text += "  wgmma.commit_group.sync.aligned;\n  wgmma.wait_group.sync.aligned 0;\n";
  text += fmt::format("  mad.wide.u32 %p, %t, {}, %out;\n", 4 * form.registers());
  return text + moveAccumulators(form, false);
}

Case conformance::makeProduct(WgmmaProduct form) {
  form.a.extent = productRows;
  form.a.depth = form.b.depth;
  auto layout = [](const WgmmaOperand &operand) {
    return fmt::format("{}{}{}", operand.mnMajor ? "mn" : "k", operand.swizzleBytes,
                       operand.blocksAlongDepth ? "d" : "");
  };
  const std::string name = fmt::format("n{}.{}.{}_{}{}{}", form.columns(), form.half ? "f16" : "bf16",
                                       form.aInRegisters ? "registers" : layout(form.a), layout(form.b),
                                       form.suffix.empty() ? "" : ".", form.suffix);
  const size_t bStart = form.aInRegisters ? 0 : (form.a.bytes() + 1023) / 1024 * 1024;
  const size_t barrier = bStart + (form.b.bytes() + 1023) / 1024 * 1024;
  Case entry = makeCase("wgmma", name, {.threads = productThreads, .maps = form.byTma ? 2u : 0u}, 1,
                        unsigned(barrier + 64), body(form, bStart, barrier));
  entry.element = Element::F32;
  entry.question = form.question;
  entry.outputBytes = size_t(productThreads) * form.registers() * 4;
  if (form.byTma)
    entry.maps = {mapOf(form.aInRegisters ? form.b : form.a, 0, form.half),
                  mapOf(form.b, Places(form).b, form.half)};
  entry.input = [form](Random &random) { return makeInput(form, random); };
  entry.expect = [form](const Bytes &input, Expected &out) { expect(form, input, out); };
  return entry;
}
