//===- PtxSamples.h - PTX texts whose fate is known ---------------------------------------------------===//
//
// Small kernels, written by hand, that every assembler must accept or that every assembler must make us
// refuse. Used by the tests of the assembler chain and of the resource report.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <fmt/format.h>

#include <string>

namespace lathe::codegen::samples {

inline std::string header() { return ".version 8.7\n.target sm_90a\n.address_size 64\n"; }

/// Copies the thread index through `sharedBytes` of static shared memory. Assembles.
inline std::string tiny(const std::string &name, int sharedBytes) {
  return fmt::format(R"(
.visible .entry {0}(.param .u64 p) .reqntid 128 {{
  .reg .b64 %rd<3>; .reg .b32 %r<3>;
  .shared .align 4 .b8 buffer_{0}[{1}];
  ld.param.u64 %rd1, [p];
  mov.u32 %r1, %tid.x;
  st.shared.u32 [buffer_{0}], %r1;
  bar.sync 0;
  ld.shared.u32 %r2, [buffer_{0}];
  st.global.u32 [%rd1], %r2;
  ret;
}}
)",
                     name, sharedBytes);
}

/// Holds 96 values in at most 24 registers: spills, whatever the assembler does.
inline std::string hungry() {
  std::string text = header() + ".visible .entry hungry(.param .u64 p) .maxnreg 24 {\n"
                                "  .reg .b64 %rd<3>; .reg .f32 %f<100>;\n  ld.param.u64 %rd1, [p];\n";
  for (int i = 0; i < 96; ++i)
    text += fmt::format("  ld.volatile.global.f32 %f{}, [%rd1+{}];\n", i, 4 * i);
  text += "  bar.sync 0;\n";
  for (int i = 0; i < 96; ++i)
    text += fmt::format("  st.volatile.global.f32 [%rd1+{}], %f{};\n", 4 * (i * 7 % 96), i);
  return text + "  ret;\n}\n";
}

/// Indexes a local array at run time: a stack frame of 64 bytes, no spill.
inline std::string stacky() {
  return header() + R"(
.visible .entry stacky(.param .u64 p, .param .u32 i) .reqntid 128 {
  .reg .b64 %rd<6>; .reg .b32 %r<5>;
  .local .align 4 .b8 local[64];
  ld.param.u64 %rd1, [p];
  ld.param.u32 %r1, [i];
  mov.u64 %rd2, local;
  mul.wide.u32 %rd3, %r1, 4;
  add.s64 %rd4, %rd2, %rd3;
  st.local.u32 [%rd4], %r1;
  ld.local.u32 %r2, [local+8];
  st.global.u32 [%rd1], %r2;
  ret;
}
)";
}

/// Uses setmaxnreg without saying how many threads a CTA has, so the assembler ignores it (C7508).
inline std::string ignoredBudget() {
  return header() + R"(
.visible .entry ignored(.param .u64 p) {
  .reg .b64 %rd<2>;
  ld.param.u64 %rd1, [p];
  setmaxnreg.dec.sync.aligned.u32 40;
  st.global.u64 [%rd1], %rd1;
  ret;
}
)";
}

/// Two accumulators of 128 registers each, alive together: more than a thread has.
inline std::string serialised() {
  std::string text = header() + ".visible .entry serialised(.param .u64 p, .param .u64 d) .reqntid 128 {\n"
                                "  .reg .b64 %rd<3>; .reg .f32 %f<256>;\n"
                                "  ld.param.u64 %rd1, [p];\n  ld.param.u64 %rd2, [d];\n";
  for (int i = 0; i < 256; ++i)
    text += fmt::format("  mov.f32 %f{}, 0f00000000;\n", i);
  text += "  wgmma.fence.sync.aligned;\n";
  for (int i = 0; i < 4; ++i) {
    text += "  wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {";
    for (int j = 0; j < 128; ++j)
      text += fmt::format("{}%f{}", j ? "," : "", 128 * (i % 2) + j);
    text += "}, %rd2, %rd2, 1, 1, 1, 0, 0;\n";
  }
  text += "  wgmma.commit_group.sync.aligned;\n  wgmma.wait_group.sync.aligned 0;\n";
  for (int i = 0; i < 256; ++i)
    text += fmt::format("  st.global.f32 [%rd1+{}], %f{};\n", 4 * i, i);
  return text + "  ret;\n}\n";
}

} // namespace lathe::codegen::samples
