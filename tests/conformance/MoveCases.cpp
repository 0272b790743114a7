// mov, cvta, predicates and special registers: PTX ISA, "Data Movement and Conversion Instructions" and
// "Special Registers".
#include "Lanewise.h"

using namespace lathe;
using namespace lathe::conformance;

template <class Signature, class F>
static void addMove(Cases &cases, const std::string &name, const std::string &text, F result) {
  cases.push_back(Lanewise<Signature>::make("move", name, text, result));
}

static void addRegisters(Cases &cases) {
  addMove<uint16_t(uint16_t)>(cases, "mov.b16", "mov.b16 %d, %a;", [](uint16_t a) { return a; });
  addMove<uint32_t(uint32_t)>(cases, "mov.u32", "mov.u32 %d, %a;", [](uint32_t a) { return a; });
  addMove<float(float)>(cases, "mov.f32", "mov.f32 %d, %a;", [](float a) { return a; });
  addMove<uint64_t(uint64_t)>(cases, "mov.b64", "mov.b64 %d, %a;", [](uint64_t a) { return a; });
  addMove<uint32_t(uint32_t)>(cases, "mov.b32.immediate", "mov.b32 %d, -5;",
                              [](uint32_t) { return uint32_t(-5); });
  addMove<double(uint32_t)>(cases, "mov.f64.immediate", "mov.f64 %d, 0dBFF8000000000000;",
                            [](uint32_t) { return -1.5; });
  addMove<float(uint32_t)>(cases, "mov.f32.immediate", "mov.f32 %d, 0f40490FDB;",
                           [](uint32_t) { return std::bit_cast<float>(0x40490fdbu); });
}

static void addVectors(Cases &cases) {
  addMove<uint32_t(uint16_t, uint16_t)>(
      cases, "mov.b32.join", "mov.b32 %d, {%a, %b};",
      [](uint16_t a, uint16_t b) { return uint32_t(a) | uint32_t(b) << 16; });
  addMove<uint64_t(uint32_t, uint32_t)>(
      cases, "mov.b64.join", "mov.b64 %d, {%a, %b};",
      [](uint32_t a, uint32_t b) { return uint64_t(a) | uint64_t(b) << 32; });
  addMove<uint64_t(uint16_t, uint16_t, uint16_t, uint16_t)>(
      cases, "mov.b64.join.four", "mov.b64 %d, {%a, %b, %c, %e};",
      [](uint16_t a, uint16_t b, uint16_t c, uint16_t d) {
        return uint64_t(a) | uint64_t(b) << 16 | uint64_t(c) << 32 | uint64_t(d) << 48;
      });
  addMove<uint16_t(uint32_t)>(cases, "mov.b32.split",
                              "{ .reg .b16 x, y; mov.b32 {x, y}, %a; sub.s16 %d, y, x; }",
                              [](uint32_t a) { return uint16_t((a >> 16) - a); });
  addMove<uint32_t(uint64_t)>(cases, "mov.b64.split",
                              "{ .reg .b32 x, y; mov.b64 {x, y}, %a; sub.s32 %d, y, x; }",
                              [](uint64_t a) { return uint32_t((a >> 32) - a); });
  addMove<uint64_t(uint64_t)>(
      cases, "mov.b64.split.four",
      "{ .reg .b16 w, x, y, z; mov.b64 {w, x, y, z}, %a; mov.b64 %d, {z, y, x, w}; }",
      [](uint64_t a) { return a << 48 | (a << 16 & 0xffff00000000) | (a >> 16 & 0xffff0000) | a >> 48; });
  addMove<uint16_t(uint64_t)>(cases, "mov.b64.sink",
                              "{ .reg .b16 x; mov.b64 {_, _, x, _}, %a; mov.b16 %d, x; }",
                              [](uint64_t a) { return uint16_t(a >> 32); });
}

/// Three predicates from the lowest bits of %a, an operation on them, and the result as a number.
static void addPredicates(Cases &cases) {
  auto add = [&](const std::string &name, const std::string &text, uint32_t (*result)(uint32_t, uint32_t)) {
    addMove<uint32_t(uint32_t)>(cases, name,
                                "{ .reg .pred p, q, r; .reg .b32 x; and.b32 x, %a, 1; setp.ne.b32 p, x, 0; "
                                "and.b32 x, %a, 2; setp.ne.b32 q, x, 0; " +
                                    text + " selp.b32 %d, 1, 0, r; }",
                                [result](uint32_t a) { return result(a & 1, a >> 1 & 1); });
  };
  add("and.pred", "and.pred r, p, q;", [](uint32_t p, uint32_t q) { return p & q; });
  add("or.pred", "or.pred r, p, q;", [](uint32_t p, uint32_t q) { return p | q; });
  add("xor.pred", "xor.pred r, p, q;", [](uint32_t p, uint32_t q) { return p ^ q; });
  add("not.pred", "not.pred r, q;", [](uint32_t, uint32_t q) { return 1 - q; });
  add("mov.pred", "mov.pred r, q;", [](uint32_t, uint32_t q) { return q; });
  add("mov.pred.immediate", "mov.pred r, -1; and.pred r, r, p;", [](uint32_t p, uint32_t) { return p; });
}

//===- Addresses -------------------------------------------------------------------------------------===//

/// Differences of addresses of shared variables, the own window there and back, and reads through generic
/// addresses.
static void addAddresses(Cases &cases) {
  const std::string body = R"(  .shared .align 16 .b8 first[64];
  .shared .align 16 .b8 second[64];
  .reg .b32 %a, %b, %r<8>;
  .reg .b64 %p, %q, %x;
  mov.b32 %a, first;
  mov.b32 %b, first+12;
  sub.s32 %r0, %b, %a;
  mad.lo.s32 %r1, %t, 4, %a;
  st.shared.b32 [%r1], %t;
  cvt.u64.u32 %x, %r1;
  cvta.shared.u64 %p, %x;
  ld.b32 %r2, [%p];
  cvta.to.shared.u64 %q, %p;
  cvt.u32.u64 %r3, %q;
  ld.shared.b32 %r4, [%r3];
  sub.s32 %r3, %r3, %r1;
  mad.wide.u32 %p, %t, 16, %out;
  cvta.global.u64 %q, %p;
  st.v2.b32 [%q], {%r0, %r2};
  cvta.to.global.u64 %q, %q;
  st.global.v2.b32 [%q+8], {%r3, %r4};
)";
  Case entry = makeCase("move", "cvta", {.threads = 16}, 1, 0, body);
  entry.outputBytes = 256;
  entry.expect = [](const Bytes &, Expected &out) {
    for (uint32_t t = 0; t < 16; ++t) {
      const uint32_t values[] = {12, t, 0, t};
      for (size_t k = 0; k < 4; ++k)
        setElement(out.bytes, 4 * size_t(t) + k, values[k]);
    }
  };
  cases.push_back(entry);
}

/// Which space a generic address is of: of the input, and of the CTA's shared memory.
static void addSpaceTests(Cases &cases) {
  std::string body = R"(  .reg .b64 %p, %s;
  .reg .b32 %r, %bits;
  .reg .pred %q;
  cvt.u64.u32 %s, %smem;
  cvta.shared.u64 %s, %s;
  cvta.global.u64 %p, %in;
  mov.b32 %bits, 0;
)";
  unsigned bit = 0;
  uint32_t expected = 0;
  for (const char *space : {"global", "shared", "shared::cta", "shared::cluster", "local", "const"})
    for (const char *address : {"%p", "%s"}) {
      body += fmt::format("  isspacep.{} %q, {};\n  selp.b32 %r, {:#x}, 0, %q;\n  or.b32 %bits, %bits, %r;\n",
                          space, address, 1u << bit);
      const bool shared = std::string_view(space).starts_with("shared");
      expected |= uint32_t(address[1] == 's' ? shared : std::string_view(space) == "global") << bit++;
    }
  body += "  mad.wide.u32 %p, %t, 4, %out;\n  st.global.b32 [%p], %bits;\n";
  Case entry = makeCase("move", "isspacep", {.threads = 32}, 1, 64, body);
  entry.outputBytes = 128;
  entry.expect = [expected](const Bytes &, Expected &out) {
    for (size_t t = 0; t < 32; ++t)
      setElement(out.bytes, t, expected);
  };
  cases.push_back(entry);
}

//===- Special registers -----------------------------------------------------------------------------===//

static constexpr const char *special[] = {
    "%tid.x",       "%tid.y",       "%tid.z",       "%ntid.x",           "%ntid.y",
    "%ntid.z",      "%laneid",      "%ctaid.x",     "%ctaid.y",          "%ctaid.z",
    "%nctaid.x",    "%nctaid.y",    "%nctaid.z",    "%lanemask_eq",      "%lanemask_lt",
    "%lanemask_le", "%lanemask_gt", "%lanemask_ge", "%dynamic_smem_size"};

static uint32_t specialValue(size_t which, uint32_t thread, const uint32_t *cta,
                             const runtime::LaunchShape &shape) {
  const uint32_t lane = thread % 32;
  uint32_t masks[5] = {};
  for (uint32_t bit = 0; bit < 32; ++bit) {
    const bool holds[] = {bit == lane, bit<lane, bit <= lane, bit> lane, bit >= lane};
    for (size_t k = 0; k < 5; ++k)
      masks[k] |= uint32_t(holds[k]) << bit;
  }
  const uint32_t values[] = {thread,      0,           0,           shape.threads,    1,
                             1,           lane,        cta[0],      cta[1],           cta[2],
                             shape.gridX, shape.gridY, shape.gridZ, masks[0],         masks[1],
                             masks[2],    masks[3],    masks[4],    shape.sharedBytes};
  return values[which];
}

static void addSpecialRegister(Cases &cases, size_t which) {
  const std::string name = special[which];
  const std::string body = fmt::format(R"(  .reg .b32 %r<4>;
  .reg .b64 %p;
  mov.u32 %r0, %ctaid.z;
  mov.u32 %r1, %ctaid.y;
  mad.lo.s32 %r0, %r0, 2, %r1;
  mov.u32 %r1, %ctaid.x;
  mad.lo.s32 %r0, %r0, 3, %r1;
  mad.lo.s32 %r0, %r0, 80, %t;
  mad.wide.u32 %p, %r0, 4, %out;
  mov.u32 %r2, {};
  st.global.b32 [%p], %r2;
)",
                                       name);
  Case entry = makeCase("move", name.substr(1), {.threads = 80}, 3, 4096, body);
  entry.shape.gridY = entry.shape.gridZ = 2;
  entry.outputBytes = size_t(80) * 12 * 4;
  entry.expect = [which, shape = entry.shape](const Bytes &, Expected &out) {
    for (uint32_t i = 0; i < 12; ++i) {
      const uint32_t cta[] = {i % 3, i / 3 % 2, i / 6};
      for (uint32_t thread = 0; thread < 80; ++thread)
        setElement(out.bytes, i * 80 + thread, specialValue(which, thread, cta, shape));
    }
  };
  cases.push_back(entry);
}

/// Two readings of a clock, the second not before the first.
static void addClocks(Cases &cases) {
  for (const char *name : {"clock64", "globaltimer"}) {
    const std::string body = fmt::format(R"(  .reg .b64 %a, %b, %p;
  .reg .b32 %r;
  .reg .pred %q;
  mov.u64 %a, %{0};
  mad.wide.u32 %p, %t, 4, %out;
  membar.cta;
  mov.u64 %b, %{0};
  setp.ge.s64 %q, %b, %a;
  selp.b32 %r, 1, 0, %q;
  st.global.b32 [%p], %r;
)",
                                         name);
    Case entry = makeCase("move", name, {.threads = 32}, 1, 0, body);
    entry.outputBytes = 128;
    entry.expect = [](const Bytes &, Expected &out) {
      for (size_t i = 0; i < 32; ++i)
        setElement<uint32_t>(out.bytes, i, 1);
    };
    cases.push_back(entry);
  }
}

void conformance::addMoveCases(Cases &cases) {
  addRegisters(cases);
  addVectors(cases);
  addPredicates(cases);
  addAddresses(cases);
  addSpaceTests(cases);
  for (size_t which = 0; which < std::size(special); ++which)
    addSpecialRegister(cases, which);
  addClocks(cases);
}
