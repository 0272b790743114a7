// ldmatrix and stmatrix: PTX ISA, "Warp-level matrix load (store) instruction". Lane 8m + r names row r of
// matrix m; lane l holds elements (l / 4, 2 (l mod 4)) and its right neighbour, transposed the other way
// round. Rows lie in any order.
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 64;
static constexpr size_t rowBytes = 16, rows = 32, warpBytes = rows * rowBytes;
static constexpr size_t warps = threads / 32;

/// The input: for each thread the slot of its row, then for each warp 32 slots (ldmatrix) or registers
/// (stmatrix).
static Bytes makeInput(Random &random) {
  Bytes bytes = randomBytes(random, threads * 4 + warps * warpBytes);
  for (size_t warp = 0; warp < warps; ++warp) {
    uint32_t slots[rows];
    std::iota(std::begin(slots), std::end(slots), 0u);
    std::shuffle(std::begin(slots), std::end(slots), random);
    std::memcpy(bytes.data() + warp * sizeof(slots), slots, sizeof(slots));
  }
  return bytes;
}

/// Slot of the row of a matrix that holds element `k` (0, 1) of a lane's register, and the element's place in
/// it.
static std::pair<size_t, size_t> place(const Bytes &input, size_t warp, size_t lane, size_t matrix, size_t k,
                                       bool trans) {
  const size_t row = trans ? lane % 4 * 2 + k : lane / 4, column = trans ? lane / 4 : lane % 4 * 2 + k;
  return {elementAt<uint32_t>(input, warp * 32 + matrix * 8 + row), column};
}

/// %own: the thread's 16 bytes of global data; %slot: its 16 bytes of shared memory; %row: where its row
/// lies.
static constexpr const char *prologue = R"(  .reg .b32 %c<4>, %v<4>, %slot, %row, %base;
  .reg .b64 %own, %p;
  mad.wide.u32 %p, %t, 4, %in;
  ld.global.b32 %row, [%p];
  mad.wide.u32 %own, %t, 16, %in;
  mad.lo.s32 %slot, %t, 16, %smem;
  mad.lo.s32 %base, %warp, 512, %smem;
  mad.lo.s32 %row, %row, 16, %base;
)";

static void addLoad(Cases &cases, unsigned count, bool trans) {
  const std::string opcode =
      fmt::format("ldmatrix.sync.aligned.m8n8.x{}{}.shared.b16", count, trans ? ".trans" : "");
  const std::string body =
      std::string(prologue) + fmt::format(R"(  ld.global.v4.b32 {{%c0, %c1, %c2, %c3}}, [%own+256];
  st.shared.v4.b32 [%slot], {{%c0, %c1, %c2, %c3}};
  bar.sync 0;
  mov.b32 %v1, 1;
  mov.b32 %v2, 2;
  mov.b32 %v3, 3;
  {} {}, [%row];
  mad.wide.u32 %p, %t, 16, %out;
  st.global.v4.b32 [%p], {{%v0, %v1, %v2, %v3}};
)",
                                          opcode, registers("v", count));
  Case entry = makeCase("matrix", opcode, {.threads = threads}, 1, warps * warpBytes, body);
  entry.element = Element::Bits16;
  entry.outputBytes = threads * 16;
  entry.input = makeInput;
  entry.expect = [=](const Bytes &input, Expected &out) {
    for (size_t t = 0; t < threads; ++t)
      for (size_t m = 0; m < 4; ++m)
        for (size_t k = 0; k < 2; ++k) {
          const auto [slot, element] = place(input, t / 32, t % 32, m, k, trans);
          const size_t from = threads * 4 + t / 32 * warpBytes + slot * rowBytes + 2 * element;
          const uint16_t value = m < count ? valueAt<uint16_t>(input, from) : uint16_t(k ? 0 : m);
          setElement(out.bytes, (t * 4 + m) * 2 + k, value);
        }
  };
  cases.push_back(std::move(entry));
}

/// Rows that no lane names stay as they are.
static void addStore(Cases &cases, unsigned count, bool trans) {
  const std::string opcode =
      fmt::format("stmatrix.sync.aligned.m8n8.x{}{}.shared.b16", count, trans ? ".trans" : "");
  const std::string body = std::string(prologue) + fmt::format(R"(  mad.wide.u32 %p, %t, 16, %out;
  ld.global.v4.b32 {{%c0, %c1, %c2, %c3}}, [%p];
  st.shared.v4.b32 [%slot], {{%c0, %c1, %c2, %c3}};
  ld.global.v4.b32 {{%v0, %v1, %v2, %v3}}, [%own+256];
  bar.sync 0;
  {} [%row], {};
  bar.sync 0;
  ld.shared.v4.b32 {{%c0, %c1, %c2, %c3}}, [%slot];
  st.global.v4.b32 [%p], {{%c0, %c1, %c2, %c3}};
)",
                                                               opcode, registers("v", count));
  Case entry = makeCase("matrix", opcode, {.threads = threads}, 1, warps * warpBytes, body);
  entry.element = Element::Bits16;
  entry.outputBytes = threads * 16;
  entry.input = makeInput;
  entry.expect = [=](const Bytes &input, Expected &out) {
    for (size_t t = 0; t < threads; ++t)
      for (size_t m = 0; m < count; ++m)
        for (size_t k = 0; k < 2; ++k) {
          const auto [slot, element] = place(input, t / 32, t % 32, m, k, trans);
          const auto value = elementAt<uint16_t>(input, (t * 4 + m) * 2 + k, threads * 4);
          setValue(out.bytes, t / 32 * warpBytes + slot * rowBytes + 2 * element, value);
        }
  };
  cases.push_back(std::move(entry));
}

/// One matrix of 8 × 8 a warp, transposed in its registers.
static void addMove(Cases &cases) {
  Case entry = makeCase("matrix", "movmatrix.sync.aligned.m8n8.trans.b16", {.threads = threads}, 1, 0,
                        R"(  .reg .b32 %v, %d;
  .reg .b64 %p;
  mad.wide.u32 %p, %t, 4, %in;
  ld.global.b32 %v, [%p];
  movmatrix.sync.aligned.m8n8.trans.b16 %d, %v;
  mad.wide.u32 %p, %t, 4, %out;
  st.global.b32 [%p], %d;
)");
  entry.element = Element::Bits16;
  entry.outputBytes = threads * 4;
  entry.input = [](Random &random) { return randomBytes(random, threads * 4); };
  entry.expect = [](const Bytes &input, Expected &out) {
    for (size_t i = 0; i < threads * 2; ++i) { // Element (row, column) is number 8·row + column of a warp's.
      const size_t warp = i / 64, row = i % 64 / 8, column = i % 8;
      setElement(out.bytes, i, elementAt<uint16_t>(input, warp * 64 + column * 8 + row));
    }
  };
  cases.push_back(std::move(entry));
}

void conformance::addMatrixCases(Cases &cases) {
  for (unsigned count : {1u, 2u, 4u})
    for (bool trans : {false, true}) {
      addLoad(cases, count, trans);
      addStore(cases, count, trans);
    }
  addMove(cases);
}
