//===- RowKernels.cpp - Packing rows and summing what comes back -------------------------------------===//
//
// A CTA of 256 threads for each row; each thread takes every 256th word of it. Plain loads and stores: the
// rows of a step are megabytes where the experts' weights are gigabytes.
//
//===--------------------------------------------------------------------------------------------------===//
#include "RowKernels.h"

#include <string>

using namespace lathe;
using namespace lathe::examples;
using namespace lathe::runtime;

static constexpr unsigned threads = 256; // .reqntid and the step of both loops.

/// The string ends in a zero byte, as PTX must.
static constexpr const char ptx[] = R"ptx(
.version 8.0
.target sm_90a
.address_size 64

.visible .entry gather_rows(.param .u64 to, .param .u64 from, .param .u64 index, .param .u32 words)
.reqntid 256
{
  .reg .pred %done;
  .reg .b32 %row, %words, %word, %value;
  .reg .b64 %to, %from, %index, %at;
  ld.param.u64 %to, [to];
  ld.param.u64 %from, [from];
  ld.param.u64 %index, [index];
  ld.param.u32 %words, [words];
  mov.u32 %row, %ctaid.x;
  mad.wide.u32 %index, %row, 4, %index;
  mul.wide.u32 %at, %row, %words;            // to += row * words * 4
  shl.b64 %at, %at, 2;
  add.u64 %to, %to, %at;
  ld.global.u32 %row, [%index];
  mul.wide.u32 %at, %row, %words;            // from += index[row] * words * 4
  shl.b64 %at, %at, 2;
  add.u64 %from, %from, %at;
  mov.u32 %word, %tid.x;
next:
  setp.ge.u32 %done, %word, %words;
  @%done bra end;
  mad.wide.u32 %at, %word, 4, %from;
  ld.global.u32 %value, [%at];
  mad.wide.u32 %at, %word, 4, %to;
  st.global.u32 [%at], %value;
  add.u32 %word, %word, 256;
  bra next;
end:
  ret;
}

.visible .entry sum_rows(.param .u64 y, .param .u64 parts, .param .u64 places, .param .u32 ranks,
                         .param .u32 rows, .param .u32 words)
.reqntid 256
{
  .reg .pred %done, %none;
  .reg .b32 %row, %rows, %rank, %ranks, %word, %words, %place, %pair, %bits;
  .reg .f32 %low, %high, %part;
  .reg .b64 %y, %parts, %places, %list, %at;
  ld.param.u64 %y, [y];
  ld.param.u64 %parts, [parts];
  ld.param.u64 %places, [places];
  ld.param.u32 %ranks, [ranks];
  ld.param.u32 %rows, [rows];
  ld.param.u32 %words, [words];
  mov.u32 %row, %ctaid.x;
  mul.wide.u32 %at, %row, %words;            // y += row * words * 4
  shl.b64 %at, %at, 2;
  add.u64 %y, %y, %at;
  mad.wide.u32 %places, %row, 4, %places;    // places[0][row]
  mov.u32 %word, %tid.x;
nextWord:
  setp.ge.u32 %done, %word, %words;
  @%done bra end;
  mov.f32 %low, 0f00000000;
  mov.f32 %high, 0f00000000;
  mov.u64 %list, %places;
  mov.u32 %rank, 0;
nextRank:
  ld.global.s32 %place, [%list];
  setp.lt.s32 %none, %place, 0;
  @%none bra skip;
  mul.wide.u32 %at, %place, %words;          // parts[place][word]: two bf16
  shl.b64 %at, %at, 2;
  add.u64 %at, %parts, %at;
  mad.wide.u32 %at, %word, 4, %at;
  ld.global.u32 %pair, [%at];
  shl.b32 %bits, %pair, 16;
  mov.b32 %part, %bits;
  add.rn.f32 %low, %low, %part;
  and.b32 %bits, %pair, 0xffff0000;
  mov.b32 %part, %bits;
  add.rn.f32 %high, %high, %part;
skip:
  mad.wide.u32 %list, %rows, 4, %list;       // places[rank + 1][row]
  add.u32 %rank, %rank, 1;
  setp.lt.u32 %none, %rank, %ranks;
  @%none bra nextRank;
  cvt.rn.bf16x2.f32 %pair, %high, %low;
  mad.wide.u32 %at, %word, 4, %y;
  st.global.u32 [%at], %pair;
  add.u32 %word, %word, 256;
  bra nextWord;
end:
  ret;
}
)ptx";

RowKernels::RowKernels(Device &device)
    : device_(device), module_(device.load({ptx, sizeof(ptx)})), gather_(module_->function("gather_rows", 0)),
      sum_(module_->function("sum_rows", 0)) {}

void RowKernels::gather(const Gather &call, Stream stream) const {
  if (call.rows == 0)
    return;
  Gather c = call;
  void *arguments[] = {&c.to, &c.from, &c.index, &c.words};
  device_.launch(gather_, {.gridX = unsigned(c.rows), .threads = threads}, arguments, stream);
}

void RowKernels::sum(const Sum &call, Stream stream) const {
  if (call.rows == 0)
    return;
  Sum c = call;
  void *arguments[] = {&c.y, &c.parts, &c.places, &c.ranks, &c.rows, &c.words};
  device_.launch(sum_, {.gridX = unsigned(c.rows), .threads = threads}, arguments, stream);
}
