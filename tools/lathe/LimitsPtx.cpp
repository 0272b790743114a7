//===- LimitsPtx.cpp - The two kernels that measure a GPU's limits ------------------------------------===//
//
// Written as PTX text, so that neither NVRTC nor the compiler's own schedules stand between the measurement
// and the machine: the driver assembles them. Unrolled lists of registers are generated; the rest reads as it
// runs.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Limits.h"

#include <fmt/format.h>

using namespace lathe::tools;

static constexpr const char *ptxHead = ".version 8.0\n.target sm_90a\n.address_size 64\n";

std::string lathe::tools::readStreamPtx() {
  std::string loads, folds;
  for (int i = 0; i < readUnroll; ++i) {
    loads += fmt::format("  ld.global.nc.L1::no_allocate.v4.u32 {{%v{}, %v{}, %v{}, %v{}}}, [%address];\n",
                         4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3);
    loads += "  add.u64 %address, %address, %stride;\n";
  }
  for (int i = 0; i < 4 * readUnroll; ++i)
    folds += fmt::format("  xor.b32 %fold, %fold, %v{};\n", i);
  return fmt::format(R"({head}
.visible .entry read_stream(.param .u64 base, .param .u32 iterations, .param .u64 sink)
.reqntid {threads}
{{
  .reg .pred %more, %hit;
  .reg .b32 %v<{values}>;
  .reg .b32 %fold, %left, %cta, %thread, %ctas, %index;
  .reg .b64 %address, %stride, %offset, %sink;
  ld.param.u64 %address, [base];
  ld.param.u32 %left, [iterations];
  ld.param.u64 %sink, [sink];
  mov.u32 %cta, %ctaid.x;
  mov.u32 %ctas, %nctaid.x;
  mov.u32 %thread, %tid.x;
  mad.lo.u32 %index, %cta, {threads}, %thread;
  mul.wide.u32 %offset, %index, 16;
  add.u64 %address, %address, %offset;
  mul.wide.u32 %stride, %ctas, {strideBytes};
  mov.u32 %fold, 0;
again:
{loads}{folds}  sub.u32 %left, %left, 1;
  setp.ne.u32 %more, %left, 0;
  @%more bra again;
  setp.eq.u32 %hit, %fold, 0x7f4a7c15;
  @%hit st.global.u32 [%sink], %fold;
  ret;
}}
)",
                     fmt::arg("head", ptxHead), fmt::arg("threads", readThreads),
                     fmt::arg("values", 4 * readUnroll), fmt::arg("strideBytes", readThreads * 16),
                     fmt::arg("loads", loads), fmt::arg("folds", folds));
}

/// One chained WGMMA on operands `k` steps of 16 into their 64-column tiles (32 bytes a step: 2 in descriptor
/// units).
static std::string chainedWgmma(int k) {
  std::string registers;
  for (int i = 0; i < 128; ++i)
    registers += fmt::format("{}%d{}", i ? ", " : "", i);
  return fmt::format(
      "  add.u64 %a, %aBase, {0};\n  add.u64 %b, %bBase, {0};\n"
      "  wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {{{1}}}, %a, %b, 1, 1, 1, 0, 0;\n",
      2 * k, registers);
}

/// Fills shared memory with bf16 in ±[1, 2): a hash of the position, because zeros would draw less power.
static constexpr const char *fillShared = R"(
  mov.u32 %at, %thread;
fill:
  mul.lo.u32 %hash, %at, 0x9e3779b1;
  shr.u32 %word, %hash, 15;
  xor.b32 %hash, %hash, %word;
  mul.lo.u32 %hash, %hash, 0x85ebca77;
  and.b32 %word, %hash, 0x807f807f;
  or.b32 %word, %word, 0x3f803f80;
  shl.b32 %byte, %at, 2;
  add.u32 %byte, %byte, %shared;
  st.shared.u32 [%byte], %word;
  add.u32 %at, %at, 256;
  setp.lt.u32 %more, %at, 12288;
  @%more bra fill;
  fence.proxy.async.shared::cta;
  bar.sync 0;
)";

std::string lathe::tools::matrixRatePtx() {
  std::string clears, products, sums;
  for (int i = 0; i < 128; ++i) {
    clears += fmt::format("  mov.f32 %d{}, 0f00000000;\n", i);
    sums += fmt::format("  add.f32 %total, %total, %d{};\n", i);
  }
  for (int i = 0; i < matrixUnroll; ++i)
    products += chainedWgmma(i % 4);
  // Descriptors: start address >> 4, stride offset 1024 bytes, 128-byte swizzle. A: one 8 KB tile a
  // warpgroup; B shared.
  return fmt::format(R"({head}
.extern .shared .align 1024 .b8 tiles[];
.visible .entry wgmma_rate(.param .u32 iterations, .param .u64 sink)
.reqntid {threads}
{{
  .reg .pred %more, %hit;
  .reg .f32 %d<128>;
  .reg .f32 %total;
  .reg .b32 %left, %thread, %at, %hash, %word, %byte, %shared, %group;
  .reg .b64 %a, %b, %aBase, %bBase, %sink;
  ld.param.u32 %left, [iterations];
  ld.param.u64 %sink, [sink];
  mov.u32 %thread, %tid.x;
  mov.u32 %shared, tiles;
{fill}
  shr.u32 %group, %thread, 7;
  mad.lo.u32 %at, %group, 8192, %shared;
  shr.u32 %at, %at, 4;
  cvt.u64.u32 %aBase, %at;
  or.b64 %aBase, %aBase, 0x4000004000010000;
  add.u32 %at, %shared, 16384;
  shr.u32 %at, %at, 4;
  cvt.u64.u32 %bBase, %at;
  or.b64 %bBase, %bBase, 0x4000004000010000;
{clears}
again:
  wgmma.fence.sync.aligned;
{products}  wgmma.commit_group.sync.aligned;
  wgmma.wait_group.sync.aligned 0;
  sub.u32 %left, %left, 1;
  setp.ne.u32 %more, %left, 0;
  @%more bra again;
  mov.f32 %total, 0f00000000;
{sums}  setp.eq.f32 %hit, %total, 0f12345678;
  @%hit st.global.f32 [%sink], %total;
  ret;
}}
)",
                     fmt::arg("head", ptxHead), fmt::arg("threads", matrixThreads),
                     fmt::arg("fill", fillShared), fmt::arg("clears", clears), fmt::arg("products", products),
                     fmt::arg("sums", sums));
}
