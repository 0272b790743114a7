// ld, st and prefetch: PTX ISA, "Data Movement and Conversion Instructions". All widths and vectors in all
// spaces, registers wider than what they are loaded from, orders and hints, and every way to write an
// address.
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 64;
static constexpr size_t slotBytes = 32; ///< Of a thread, in input, shared memory and output.

namespace {
struct Space {
  const char *name;      ///< In the case's name.
  const char *qualifier; ///< In the instruction.
};
} // namespace

static constexpr Space spaces[] = {{"global", ".global"},          {"shared", ".shared"},
                                   {"shared_cta", ".shared::cta"}, {"shared_cluster", ".shared::cluster"},
                                   {"generic_global", ""},         {"generic_shared", ""}};

static bool isShared(const Space &space) {
  return std::string_view(space.name).find("shared") != std::string_view::npos;
}

static unsigned bytesOf(std::string_view type) {
  return unsigned(std::stoi(std::string(type.substr(1)))) / 8;
}

/// Copies each thread's slot between global and shared memory, 16 bytes at a time. %gp, %sp: the thread's
/// slots.
static constexpr const char *copyIn = R"(  ld.global.v4.b32 {%c0, %c1, %c2, %c3}, [%gp];
  st.shared.v4.b32 [%sp], {%c0, %c1, %c2, %c3};
  ld.global.v4.b32 {%c0, %c1, %c2, %c3}, [%gp+16];
  st.shared.v4.b32 [%sp+16], {%c0, %c1, %c2, %c3};
  bar.sync 0;
)";
static constexpr const char *copyOut = R"(  bar.sync 0;
  ld.shared.v4.b32 {%c0, %c1, %c2, %c3}, [%sp];
  st.global.v4.b32 [%op], {%c0, %c1, %c2, %c3};
  ld.shared.v4.b32 {%c0, %c1, %c2, %c3}, [%sp+16];
  st.global.v4.b32 [%op+16], {%c0, %c1, %c2, %c3};
)";

/// Slots, and in %address the neighbour's slot in a space, which is written or read there. `register`: its
/// width.
static std::string prologue(const Space &space, bool ofOutput) {
  std::string text = R"(  .reg .b64 %gp, %op, %wide;
  .reg .b32 %sp, %c<4>, %other, %narrow;
  mad.wide.u32 %gp, %t, 32, %in;
  mad.wide.u32 %op, %t, 32, %out;
  mad.lo.s32 %sp, %t, 32, %smem;
  xor.b32 %other, %t, 1;
  mad.lo.s32 %narrow, %other, 32, %smem;
)";
  if (isShared(space) && !*space.qualifier)
    return text + "  cvt.u64.u32 %wide, %narrow;\n  cvta.shared.u64 %wide, %wide;\n";
  if (!isShared(space))
    text += fmt::format("  mad.wide.u32 %wide, %other, 32, {};\n", ofOutput ? "%out" : "%in");
  return text;
}

static const char *addressOf(const Space &space) {
  return isShared(space) && *space.qualifier ? "%narrow" : "%wide";
}

static std::string elements(const std::string &prefix, unsigned vector) {
  return vector == 1 ? "%" + prefix + "0" : registers(prefix, vector);
}

static std::string shapeOf(unsigned vector) { return vector == 1 ? "" : fmt::format(".v{}", vector); }

//===- Loads -----------------------------------------------------------------------------------------===//

/// Loads `vector` elements at `offset` of the neighbour's slot and stores each register, whole, in 8 bytes of
/// the own.
static void addLoad(Cases &cases, const Space &space, const std::string &type, unsigned registerBytes,
                    unsigned vector, const std::string &modifiers = "", int offset = 0) {
  const unsigned bytes = bytesOf(type);
  const std::string holder = fmt::format("b{}", 8 * registerBytes);
  std::string text = prologue(space, false) + fmt::format("  .reg .{} %v<8>;\n", holder);
  if (isShared(space))
    text += copyIn;
  text += fmt::format("  ld{}{}{}{}.{} {}, [{}{:+}];\n", modifiers.starts_with('!') ? "" : modifiers,
                      space.qualifier, modifiers.starts_with('!') ? modifiers.substr(1) : "", shapeOf(vector),
                      type, elements("v", vector), addressOf(space), offset);
  for (unsigned k = 0; k < vector; ++k)
    text += fmt::format("  st.global.{} [%op+{}], %v{};\n", holder, 8 * k, k);
  const std::string name =
      fmt::format("ld.{}{}{}.{}.in_{}.at_{}", space.name, modifiers, shapeOf(vector), type, holder, offset);
  Case entry = makeCase("memory", name, {.threads = threads}, 1, threads * slotBytes, text);
  entry.outputBytes = threads * slotBytes;
  entry.input = [](Random &random) { return randomBytes(random, threads * slotBytes); };
  entry.expect = [=](const Bytes &input, Expected &out) {
    for (size_t t = 0; t < threads; ++t)
      for (size_t k = 0; k < vector; ++k) {
        std::byte value[8];
        const std::byte *from = input.data() + (t ^ 1) * slotBytes + size_t(offset) + k * bytes;
        const bool negative = type[0] == 's' && (from[bytes - 1] & std::byte(0x80)) != std::byte(0);
        std::fill(std::begin(value), std::end(value), negative ? std::byte(0xff) : std::byte(0));
        std::copy(from, from + bytes, value);
        std::copy(value, value + registerBytes, out.bytes.data() + t * slotBytes + 8 * k);
      }
  };
  cases.push_back(std::move(entry));
}

//===- Stores ----------------------------------------------------------------------------------------===//

/// Stores `vector` registers, each loaded whole from 8 bytes of the own slot, into the neighbour's slot of
/// the output.
static void addStore(Cases &cases, const Space &space, const std::string &type, unsigned registerBytes,
                     unsigned vector, const std::string &modifiers = "", int offset = 0) {
  const unsigned bytes = bytesOf(type);
  const std::string holder = fmt::format("b{}", 8 * registerBytes);
  std::string text = prologue(space, true) + fmt::format("  .reg .{} %v<8>;\n", holder);
  if (isShared(space))
    text += fill(copyIn, {{"%gp", "%op"}});
  for (unsigned k = 0; k < vector; ++k)
    text += fmt::format("  ld.global.{} %v{}, [%gp+{}];\n", holder, k, 8 * k);
  text += fmt::format("  st{}{}{}{}.{} [{}{:+}], {};\n", modifiers.starts_with('!') ? "" : modifiers,
                      space.qualifier, modifiers.starts_with('!') ? modifiers.substr(1) : "", shapeOf(vector),
                      type, addressOf(space), offset, elements("v", vector));
  if (isShared(space))
    text += copyOut;
  const std::string name =
      fmt::format("st.{}{}{}.{}.from_{}.at_{}", space.name, modifiers, shapeOf(vector), type, holder, offset);
  Case entry = makeCase("memory", name, {.threads = threads}, 1, threads * slotBytes, text);
  entry.element = Element::Bits8;
  entry.outputBytes = threads * slotBytes;
  entry.input = [](Random &random) { return randomBytes(random, threads * slotBytes); };
  entry.expect = [=](const Bytes &input, Expected &out) {
    for (size_t t = 0; t < threads; ++t)
      for (size_t k = 0; k < vector; ++k) {
        const std::byte *from = input.data() + t * slotBytes + 8 * k;
        std::copy(from, from + bytes, out.bytes.data() + (t ^ 1) * slotBytes + size_t(offset) + k * bytes);
      }
  };
  cases.push_back(std::move(entry));
}

static void addWidths(Cases &cases, const Space &space) {
  for (const char *type :
       {"b8", "u8", "s8", "b16", "u16", "s16", "b32", "u32", "s32", "f32", "b64", "u64", "s64", "f64"})
    for (unsigned registerBytes : {2u, 4u, 8u}) {
      const unsigned bytes = bytesOf(type);
      // A float's register is of its own width.
      if (bytes > registerBytes || (type[0] == 'f' && bytes != registerBytes))
        continue;
      addLoad(cases, space, type, registerBytes, 1, "", int(bytes));
      if (type[0] != 's')
        addStore(cases, space, type, registerBytes, 1, "", int(3 * bytes));
    }
  for (auto [type, most] :
       {std::pair("b8", 4u), {"s8", 4u}, {"b16", 4u}, {"u16", 4u}, {"b32", 4u}, {"f32", 4u}, {"b64", 2u}})
    for (unsigned vector = 2; vector <= most; vector *= 2) {
      addLoad(cases, space, type, std::max(2u, bytesOf(type)), vector, "", int(vector * bytesOf(type)));
      if (type[0] != 's')
        addStore(cases, space, type, std::max(2u, bytesOf(type)), vector);
    }
}

/// Orders, caches and hints do not change what one thread reads. "!": behind the space.
static void addModifiers(Cases &cases) {
  for (const char *modifiers : {"!.ca", "!.cg", "!.cs", "!.nc", "!.L1::no_allocate", "!.L1::evict_last",
                                "!.L2::128B", "!.nc.L1::no_allocate.L2::256B", ".volatile", ".relaxed.gpu",
                                ".acquire.gpu", ".acquire.sys", ".relaxed.cta", ".weak"})
    addLoad(cases, spaces[0], "b32", 4, 1, modifiers);
  for (const char *modifiers : {"!.wb", "!.cg", "!.cs", "!.wt", "!.L1::no_allocate", ".volatile",
                                ".relaxed.gpu", ".release.gpu", ".release.sys", ".relaxed.cluster", ".weak"})
    addStore(cases, spaces[0], "b32", 4, 1, modifiers);
  for (const char *modifiers : {".volatile", ".relaxed.cta", ".acquire.cta"})
    addLoad(cases, spaces[1], "b32", 4, 1, modifiers);
  for (const char *modifiers : {".volatile", ".relaxed.cta", ".release.cta"})
    addStore(cases, spaces[1], "b64", 8, 1, modifiers);
  addLoad(cases, spaces[0], "b64", 8, 1, ".relaxed.gpu");
  addLoad(cases, spaces[0], "b32", 4, 2, ".relaxed.gpu");
}

/// Names with offsets, negative offsets, parts of parameters, prefetches.
static void addAddresses(Cases &cases) {
  const std::string body = R"(  .shared .align 8 .b32 words[64];
  .reg .b32 %a, %b, %r<8>;
  .reg .b64 %p, %q, %w;
  .reg .pred %c;
  shl.b32 %a, %t, 2;
  mov.b32 %b, words;
  add.s32 %a, %a, %b;
  add.s32 %a, %a, 128;
  st.shared.b32 [%a+-128], %t;
  st.shared.b32 [%a], -1;
  bar.sync 0;
  ld.shared.b32 %r0, [words];
  ld.shared.b32 %r1, [words+20];
  ld.shared.v2.b32 {%r2, %r3}, [words+8];
  ld.param.b32 %r4, [test_param_0+4];
  ld.param.v2.b32 {%r5, %r6}, [test_param_0];
  mov.b64 %p, {%r5, %r4};
  mov.b64 %q, {%r5, %r6};
  sub.s64 %p, %p, %in;
  sub.s64 %q, %q, %in;
  or.b64 %p, %p, %q;
  cvt.u32.u64 %r4, %p;
  prefetch.global.L2 [%in];
  mad.wide.u32 %q, %t, 32, %out;
  add.s64 %q, %q, 64;
  st.global.v4.b32 [%q+-64], {%r0, %r1, %r2, %r3};
  st.global.b32 [%q+-48], %r4;
  ld.shared.b32 %r7, [%a+0];
  st.global.b32 [%q+-44], %r7;
)";
  Case entry = makeCase("memory", "addresses", {.threads = 32}, 1, 0, body);
  entry.outputBytes = 32 * slotBytes;
  entry.expect = [](const Bytes &, Expected &out) {
    for (size_t t = 0; t < 32; ++t) {
      const uint32_t values[] = {0, 5, 2, 3, 0, ~0u};
      for (size_t k = 0; k < 6; ++k)
        setElement(out.bytes, 8 * t + k, values[k]);
    }
  };
  cases.push_back(entry);
}

void conformance::addMemoryCases(Cases &cases) {
  for (const Space &space : spaces)
    addWidths(cases, space);
  addModifiers(cases);
  addAddresses(cases);
}
