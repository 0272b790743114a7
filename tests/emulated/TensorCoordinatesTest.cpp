// Where a box may begin, as an H100 has it: kernels that break the rule are found out before they meet a GPU.
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <string>
#include <vector>

using namespace lathe;
using namespace lathe::runtime;
using emulator::FindingKind;
using testing::HasSubstr;

static constexpr size_t bufferBytes = 4096;

static const char *header = R"(.version 8.7
.target sm_90a
.address_size 64
.extern .shared .align 1024 .b8 smem[];
.visible .entry test(.param .align 64 .b8 map[128], .param .u32 x, .param .u32 y)
.reqntid 32
{
.reg .b32 %r<6>; .reg .b64 %d<2>; .reg .pred %p<3>;
mov.b64 %d0, map; cvta.param.u64 %d0, %d0;
ld.param.b32 %r0, [x]; ld.param.b32 %r1, [y];
mov.b32 %r2, smem; mov.u32 %r3, %tid.x; setp.ne.s32 %p0, %r3, 0;
)";
static const char *load = R"(@%p0 bra E;
mbarrier.init.shared.b64 [%r2], 1;
fence.mbarrier_init.release.cluster;
mbarrier.arrive.expect_tx.shared.b64 _, [%r2], 64;
cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r2+1024], [%d0, {%r0, %r1}], [%r2];
L: mbarrier.try_wait.parity.shared.b64 %p1, [%r2], 0;
@!%p1 bra L;
E: ret;
})";
static const char *store = R"(mad.lo.s32 %r4, %r3, 4, %r2;
st.shared.b32 [%r4], %r3;
fence.proxy.async.shared::cta;
bar.warp.sync -1;
@%p0 ret;
cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%d0, {%r0, %r1}], [%r2];
cp.async.bulk.commit_group;
cp.async.bulk.wait_group 0;
ret;
})";

/// What is found where a box of 2 rows of 32 bytes begins at (x, y) of a tensor of 4 rows of 64 bytes.
static emulator::FindingList findingsAt(const char *access, Dtype dtype, int x, int y) {
  const auto device = openEmulator({.throwFindings = false});
  Buffer buffer(*device, bufferBytes);
  const std::vector<uint8_t> bytes(bufferBytes, 7);
  device->copyToDevice(buffer.get(), bytes.data(), bytes.size());
  TensorMapSpec spec;
  spec.base = buffer.get();
  spec.dtype = dtype;
  spec.rank = 2;
  spec.box = {uint32_t(32 / byteSize(dtype)), 2};
  spec.extent = {uint64_t(64 / byteSize(dtype)), 4};
  spec.strideBytes = {64};
  spec.swizzleBytes = 0;
  TensorMap map = device->encode(spec);
  void *arguments[] = {&map, &x, &y};
  const auto module = device->load(std::string(header) + access);
  device->launch(module->function("test", 2048), {.threads = 32, .sharedBytes = 2048}, arguments, {});
  return device->takeFindings();
}

static void expectFinding(const emulator::FindingList &found, FindingKind kind, const std::string &text) {
  bool there = false;
  for (const emulator::Finding &finding : found.findings)
    there = there || finding.kind == kind;
  EXPECT_TRUE(there) << found.text();
  EXPECT_THAT(found.text(), HasSubstr(text));
}

TEST(TensorCoordinates, TheInnermostIsAMultipleOf16Bytes) {
  for (const char *access : {load, store})
    for (Dtype dtype : {Dtype::BF16, Dtype::F32, Dtype::F64}) {
      const int step = 16 / byteSize(dtype);
      for (int x : {0, step, 3 * step})
        EXPECT_TRUE(findingsAt(access, dtype, x, 1).empty()) << name(dtype) << " at " << x;
      for (int x : {1, step - 1, step + step / 2})
        expectFinding(findingsAt(access, dtype, x, 1), FindingKind::Misaligned,
                      fmt::format("the innermost coordinate, {}, must be a multiple of 16 bytes", x));
    }
  expectFinding(findingsAt(load, Dtype::BF16, -1, 0), FindingKind::Misaligned, "coordinate, -1,");
}

TEST(TensorCoordinates, OnlyLoadsBeginBeforeTheTensor) {
  for (auto [x, y] : {std::pair(-8, 0), std::pair(0, -1), std::pair(-800, -800)}) {
    EXPECT_TRUE(findingsAt(load, Dtype::BF16, x, y).empty()) << x << " " << y;
    expectFinding(findingsAt(store, Dtype::BF16, x, y), FindingKind::OutOfBounds,
                  "a box that is stored must not begin before its tensor");
  }
}

TEST(TensorCoordinates, BothEndBehindTheTensor) {
  for (const char *access : {load, store})
    for (auto [x, y] : {std::pair(24, 0), std::pair(0, 3), std::pair(32, 4), std::pair(800, 800)})
      EXPECT_TRUE(findingsAt(access, Dtype::BF16, x, y).empty()) << x << " " << y;
}
