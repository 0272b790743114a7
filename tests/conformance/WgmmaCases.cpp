// wgmma.mma_async: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions". All widths, both 16-bit types, A from
// registers and from shared memory, all layouts of both operands, several steps of depth. Expected in binary64; the bound
// allows each product and sum an error of a unit in the last place of the sum of magnitudes.
#include "Boxes.h"
#include "Cases.h"
#include "Kernel.h"
#include "Numbers.h"
#include "WgmmaOperand.h"

#include <fmt/format.h>

#include <cmath>

using namespace lathe;
using namespace lathe::conformance;

static constexpr unsigned threads = 128, rows = 64, stepDepth = 16;

namespace {
struct Form {
  std::string suffix = {};
  bool half = false; ///< f16, else bf16.
  bool aInRegisters = false;
  WgmmaOperand a, b; ///< `b.extent`: the columns.
  bool keepsAccumulator = true; ///< The first product adds to what is there.
  bool negatesA = false, negatesB = false;
  bool byTma = false; ///< TMA brings the operands, and swizzles them.
  bool special = false; ///< Infinities and NaNs among the elements.
  std::string question = {};

  unsigned columns() const { return b.extent; }
  unsigned depth() const { return b.depth; }
  unsigned steps() const { return depth() / stepDepth; }
  unsigned registers() const { return columns() / 2; }
  Format format() const { return half ? f16 : bf16; }
};

/// Where things lie in the input: operand A as an image of shared memory, as fragments, or as a matrix in rows for TMA; B;
/// then the accumulators of each thread.
struct Places {
  explicit Places(const Form &form)
      : aBytes(form.byTma || form.aInRegisters ? size_t(rows) * form.depth() * 2 : form.a.bytes()),
        bBytes(form.byTma ? size_t(form.columns()) * form.depth() * 2 : form.b.bytes()), b((aBytes + 255) / 256 * 256),
        accumulators((b + bBytes + 255) / 256 * 256), end(accumulators + size_t(threads) * form.registers() * 4) {}
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
static size_t aPlace(const Form &form, unsigned row, unsigned k) {
  if (form.aInRegisters) {
    for (unsigned thread = 0; thread < threads; ++thread)
      for (unsigned e = 0; e < 8; ++e)
        if (fragmentPlace(thread, e) == std::pair(row, k % stepDepth))
          return ((size_t(k / stepDepth) * threads + thread) * 8 + e) * 2;
  }
  if (!form.byTma)
    return form.a.offset(row, k);
  return 2 * (form.a.mnMajor ? size_t(k) * rows + row : size_t(row) * form.depth() + k);
}
static size_t bPlace(const Form &form, unsigned column, unsigned k) {
  if (!form.byTma)
    return form.b.offset(column, k);
  return 2 * (form.b.mnMajor ? size_t(k) * form.columns() + column : size_t(column) * form.depth() + k);
}

/// Numbers of 2^±6 with all bits of the fraction; with `special` now and then an infinity or a NaN.
static uint16_t randomElement(const Form &form, Random &random) {
  const Format format = form.format();
  const uint64_t fraction = random() & ((uint64_t(1) << format.fractionBits) - 1);
  const uint64_t exponent = uint64_t(format.bias()) - 6 + random() % 13;
  const uint64_t sign = random() & 1 ? format.signBit() : 0;
  if (form.special && random() % 512 == 0)
    return uint16_t(random() % 3 ? sign | format.infinity() : format.nan());
  return uint16_t(random() % 16 == 0 ? sign : sign | exponent << format.fractionBits | fraction);
}

static Bytes makeInput(const Form &form, Random &random) {
  const Places places(form);
  Bytes input(places.end);
  for (size_t at = 0; at < places.accumulators; at += 2)
    setValue(input, at, randomElement(form, random));
  for (size_t at = places.accumulators; at < places.end; at += 4)
    setValue(input, at, float(int64_t(random() % 4096) - 2048) / 16);
  return input;
}

static void expect(const Form &form, const Bytes &input, Expected &out) {
  const Places places(form);
  std::vector<double> a(size_t(rows) * form.depth()), b(size_t(form.columns()) * form.depth());
  for (unsigned k = 0; k < form.depth(); ++k) {
    for (unsigned row = 0; row < rows; ++row)
      a[size_t(row) * form.depth() + k] = toDouble(form.format(), valueAt<uint16_t>(input, aPlace(form, row, k)));
    for (unsigned column = 0; column < form.columns(); ++column)
      b[size_t(column) * form.depth() + k] =
          toDouble(form.format(), valueAt<uint16_t>(input, places.b + bPlace(form, column, k)));
  }
  const double sign = form.negatesA != form.negatesB ? -1 : 1;
  for (unsigned thread = 0; thread < threads; ++thread)
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

/// Tensor map of an operand as a matrix in rows, its box one swizzle wide: of all rows, in pieces of at most 256.
static Map mapOf(const WgmmaOperand &operand, size_t base, bool half) {
  Map map;
  const unsigned across = operand.mnMajor ? operand.extent : operand.depth, down = operand.mnMajor ? operand.depth : operand.extent;
  map.spec.base = base;
  map.spec.dtype = half ? Dtype::F16 : Dtype::BF16;
  map.spec.rank = 2;
  map.spec.extent = {across, down};
  map.spec.strideBytes = {2 * across};
  map.spec.box = {uint32_t(operand.swizzleBytes) / 2, down};
  map.spec.swizzleBytes = operand.swizzleBytes;
  return map;
}

/// Boxes of one operand, one behind the other.
static std::string loadBoxes(const WgmmaOperand &operand, const char *map, size_t to) {
  const unsigned across = operand.mnMajor ? operand.extent : operand.depth, down = operand.mnMajor ? operand.depth : operand.extent;
  std::string text;
  for (unsigned at = 0; at < across; at += unsigned(operand.swizzleBytes) / 2)
    text += fmt::format("  add.s32 %a, %smem, {};\n  mov.b32 %x, {};\n  cp.async.bulk.tensor.2d.shared::cluster.global.tile"
                        ".mbarrier::complete_tx::bytes [%a], [{}, {{%x, %zero}}], [%bar];\n",
                        to + size_t(at) * 2 * down, at, map);
  return text;
}

/// Brings the operands into shared memory, A at 0 and B at `bStart`; `barrier`: an mbarrier's place.
static std::string bringOperands(const Form &form, size_t bStart, size_t barrier) {
  const Places places(form);
  if (!form.byTma) {
    std::string text = form.aInRegisters ? "" : copyToShared("%in", 0, places.aBytes, threads, "copy_a");
    text += fmt::format("  add.s64 %p, %in, {};\n", places.b) + copyToShared("%p", bStart, places.bBytes, threads, "copy_b");
    return text + "  fence.proxy.async.shared::cta;\n  bar.sync 0;\n";
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
  return text + "join:\n  bar.sync 0;\nwait:\n  mbarrier.try_wait.parity.shared::cta.b64 %c, [%bar], 0;\n  @!%c bra wait;\n";
}

/// %d<n> = %smem + offset, as the start address of a descriptor with its other fields.
static std::string makeDescriptor(const char *name, size_t offset, const WgmmaOperand &operand) {
  return fmt::format("  add.s32 %q, %smem, {};\n  and.b32 %q, %q, 0x3ffff;\n  shr.u32 %q, %q, 4;\n  cvt.u64.u32 {}, %q;\n"
                     "  or.b64 {}, {}, {:#x};\n",
                     offset + 128 * operand.patternLines, name, name, name, operand.descriptor());
}

static std::string product(const Form &form, unsigned step) {
  const char *type = form.half ? "f16" : "bf16";
  std::string a = "%da";
  if (form.aInRegisters)
    a = fmt::format("{{%f{}, %f{}, %f{}, %f{}}}", 4 * step, 4 * step + 1, 4 * step + 2, 4 * step + 3);
  return fmt::format("  wgmma.mma_async.sync.aligned.m64n{}k16.f32.{}.{} {}, {}, %db, %c, {}, {}{}, {};\n", form.columns(), type,
                     type, registers("acc", form.registers()), a, form.negatesA ? -1 : 1, form.negatesB ? -1 : 1,
                     form.aInRegisters ? "" : fmt::format(", {}", int(form.a.mnMajor)), int(form.b.mnMajor));
}

static std::string moveAccumulators(const Form &form, bool load) {
  std::string text;
  for (unsigned i = 0; i < form.registers(); i += 4) {
    const std::string four = fmt::format("{{%acc{}, %acc{}, %acc{}, %acc{}}}", i, i + 1, i + 2, i + 3);
    text += load ? fmt::format("  ld.global.v4.b32 {}, [%p+{}];\n", four, 4 * i)
                 : fmt::format("  st.global.v4.b32 [%p+{}], {};\n", 4 * i, four);
  }
  return text;
}

static std::string body(const Form &form, size_t bStart, size_t barrier) {
  const Places places(form);
  std::string text = fmt::format("  .reg .b64 %p, %da, %db;\n  .reg .b32 %q, %acc<{}>, %f<{}>;\n  .reg .pred %c;\n",
                                 form.registers(), 4 * form.steps());
  text += bringOperands(form, bStart, barrier);
  for (unsigned step = 0; form.aInRegisters && step < form.steps(); ++step)
    text += fmt::format("  mad.wide.u32 %p, %t, 16, %in;\n  ld.global.v4.b32 {{%f{}, %f{}, %f{}, %f{}}}, [%p+{}];\n", 4 * step,
                        4 * step + 1, 4 * step + 2, 4 * step + 3, step * threads * 16);
  text += fmt::format("  mad.wide.u32 %p, %t, {}, %in;\n  add.s64 %p, %p, {};\n", 4 * form.registers(), places.accumulators);
  text += moveAccumulators(form, true) + "  wgmma.fence.sync.aligned;\n";
  for (unsigned step = 0; step < form.steps(); ++step) {
    if (!form.aInRegisters)
      text += makeDescriptor("%da", form.a.stepBytes(step), form.a);
    text += makeDescriptor("%db", bStart + form.b.stepBytes(step), form.b);
    text += fmt::format("  mov.b32 %q, {};\n  setp.ne.b32 %c, %q, 0;\n", int(form.keepsAccumulator || step > 0));
    text += product(form, step);
  }
  text += "  wgmma.commit_group.sync.aligned;\n  wgmma.wait_group.sync.aligned 0;\n";
  text += fmt::format("  mad.wide.u32 %p, %t, {}, %out;\n", 4 * form.registers());
  return text + moveAccumulators(form, false);
}

static void addProduct(Cases &cases, Form form) {
  form.a.extent = rows;
  form.a.depth = form.b.depth;
  auto layout = [](const WgmmaOperand &operand) {
    return fmt::format("{}{}{}", operand.mnMajor ? "mn" : "k", operand.swizzleBytes, operand.blocksAlongDepth ? "d" : "");
  };
  const std::string name =
      fmt::format("n{}.{}.{}_{}{}{}", form.columns(), form.half ? "f16" : "bf16",
                  form.aInRegisters ? "registers" : layout(form.a), layout(form.b), form.suffix.empty() ? "" : ".", form.suffix);
  const size_t bStart = form.aInRegisters ? 0 : (form.a.bytes() + 1023) / 1024 * 1024;
  const size_t barrier = bStart + (form.b.bytes() + 1023) / 1024 * 1024;
  Case entry = makeCase("wgmma", name, {.threads = threads, .maps = form.byTma ? 2u : 0u}, 1, unsigned(barrier + 64),
                        body(form, bStart, barrier));
  entry.element = Element::F32;
  entry.question = form.question;
  entry.outputBytes = size_t(threads) * form.registers() * 4;
  if (form.byTma)
    entry.maps = {mapOf(form.aInRegisters ? form.b : form.a, 0, form.half), mapOf(form.b, Places(form).b, form.half)};
  entry.input = [form](Random &random) { return makeInput(form, random); };
  entry.expect = [form](const Bytes &input, Expected &out) { expect(form, input, out); };
  cases.push_back(std::move(entry));
}

//===- The list --------------------------------------------------------------------------------------===//

static constexpr int swizzles[] = {0, 32, 64, 128};

/// Every layout of A with every layout of B.
static void addLayouts(Cases &cases) {
  Random random(11);
  for (bool half : {false, true})
    for (unsigned a = 0; a < 9; ++a)
      for (unsigned b = 0; b < 8; ++b) {
        Form form;
        form.half = half;
        form.aInRegisters = a == 8;
        form.a.mnMajor = a / 4 == 1;
        form.a.swizzleBytes = swizzles[a % 4];
        form.a.blocksAlongDepth = random() % 2;
        form.b.mnMajor = b / 4 == 1;
        form.b.swizzleBytes = swizzles[b % 4];
        form.b.blocksAlongDepth = random() % 2;
        form.b.extent = unsigned(8 * (1 + random() % 12));
        form.b.depth = 64;
        addProduct(cases, form);
      }
}

/// Every number of columns.
static void addWidths(Cases &cases) {
  Random random(12);
  for (unsigned columns = 8; columns <= 256; columns += 8)
    for (bool half : {false, true}) {
      Form form;
      form.suffix = "width";
      form.half = half;
      form.aInRegisters = random() % 2;
      form.a.swizzleBytes = swizzles[random() % 4];
      form.a.mnMajor = random() % 2;
      form.b.swizzleBytes = swizzles[random() % 4];
      form.b.mnMajor = random() % 2;
      form.b.extent = columns;
      form.b.depth = unsigned(16 * (1 + random() % 4));
      form.keepsAccumulator = random() % 2;
      addProduct(cases, form);
    }
}

static void addVariants(Cases &cases) {
  for (bool half : {false, true})
    for (bool aInRegisters : {false, true}) {
      Form form;
      form.half = half;
      form.aInRegisters = aInRegisters;
      form.b.extent = 40;
      for (unsigned signs = 1; signs < 4; ++signs) {
        form.negatesA = signs & 1;
        form.negatesB = signs & 2;
        form.suffix = fmt::format("negated_{}", signs);
        addProduct(cases, form);
      }
      form.negatesA = form.negatesB = false;
      form.keepsAccumulator = false;
      form.suffix = "from_zero";
      addProduct(cases, form);
      form.keepsAccumulator = true;
      form.special = true;
      form.suffix = "special";
      addProduct(cases, form);
    }
}

/// What TMA brings and swizzles, the tensor cores read.
static void addWithTma(Cases &cases) {
  for (int swizzle : {32, 64, 128})
    for (bool aMn : {false, true})
      for (bool bMn : {false, true}) {
        Form form;
        form.suffix = "tma";
        form.half = swizzle == 64;
        form.byTma = true;
        form.a.swizzleBytes = form.b.swizzleBytes = swizzle;
        form.a.mnMajor = aMn;
        form.b.mnMajor = bMn;
        // A box is all rows of one swizzle's width: eight rows follow eight rows.
        form.a.blocksAlongDepth = aMn;
        form.b.blocksAlongDepth = bMn;
        form.b.extent = bMn ? 128 : 72;
        form.b.depth = 64;
        addProduct(cases, form);
      }
}

/// Patterns that begin at an address that is no multiple of their length, and say so in the base offset.
static void addBaseOffsets(Cases &cases) {
  for (int swizzle : {32, 64, 128})
    for (bool mnMajor : {false, true})
      for (unsigned lines : {1u, 3u, 6u}) {
        if (lines % unsigned(swizzle / 16) == 0)
          continue;
        Form form;
        form.suffix = fmt::format("base_offset_{}", lines);
        form.a.swizzleBytes = form.b.swizzleBytes = swizzle;
        form.a.mnMajor = form.b.mnMajor = mnMajor;
        form.a.patternLines = form.b.patternLines = lines;
        form.b.extent = 64;
        form.question = "the base offset is the number of 128-byte lines from a multiple of 1024 to the pattern's start, which "
                        "the address' lines are counted from";
        addProduct(cases, form);
      }
}

void conformance::addWgmmaCases(Cases &cases) {
  addLayouts(cases);
  addWidths(cases);
  addVariants(cases);
  addWithTma(cases);
  addBaseOffsets(cases);
}
