// A step appends tokens: the launch right before a run may still be writing the last query tokens of each
// sequence when the main kernel has begun, for it lets that begin at once.
#include "Cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <random>

using namespace lathe;
using namespace lathe::gputest;
using reference::AttentionInstance;
using reference::AttentionShape;

/// A CTA a row: lets the next launch begin, is late itself (30 µs), then copies `words` words from `from` to
/// `to`, both at the row's offset in bytes.
static constexpr const char *appendPtx = R"(
.version 8.0
.target sm_90
.address_size 64
.visible .entry append(.param .u64 to, .param .u64 from, .param .u64 rows, .param .u32 words)
{
  .reg .pred %p;
  .reg .b32 %index, %count, %word;
  .reg .b64 %begin, %now, %row, %offset, %source, %target, %at;
  griddepcontrol.launch_dependents;
  mov.u64 %begin, %globaltimer;
late:
  mov.u64 %now, %globaltimer;
  sub.u64 %now, %now, %begin;
  setp.lt.u64 %p, %now, 30000;
  @%p bra late;
  ld.param.u64 %row, [rows];
  mov.u32 %index, %ctaid.x;
  mul.wide.u32 %offset, %index, 8;
  add.u64 %row, %row, %offset;
  ld.global.u64 %offset, [%row];
  ld.param.u64 %source, [from];
  ld.param.u64 %target, [to];
  add.u64 %source, %source, %offset;
  add.u64 %target, %target, %offset;
  ld.param.u32 %count, [words];
  mov.u32 %index, %tid.x;
copy:
  setp.ge.u32 %p, %index, %count;
  @%p bra done;
  mul.wide.u32 %offset, %index, 4;
  add.u64 %at, %source, %offset;
  ld.global.u32 %word, [%at];
  add.u64 %at, %target, %offset;
  st.global.u32 [%at], %word;
  add.u32 %index, %index, 128;
  bra copy;
done:
  ret;
}
)";

namespace {

/// Writes the last query tokens of an instance's sequences.
class Appender {
public:
  explicit Appender(const AttentionInstance &instance)
      : tensors(instance.tensors()), words(uint32_t(instance.shape().keyDim / 2)),
        module(gpu()->load({appendPtx, std::char_traits<char>::length(appendPtx) + 1})),
        function(module->function("append", 0)) {
    const std::vector<int64_t> offsets = newestRows(instance);
    count = unsigned(offsets.size());
    rows = runtime::Buffer(*gpu(), offsets.size() * 8);
    gpu()->copyToDevice(rows.get(), offsets.data(), offsets.size() * 8);
    const size_t bytes = size_t(tensors.numPages * tensors.kvStridePage) * 2;
    std::string cache(bytes, '\xFF'); // bf16 NaN.
    poison = runtime::Buffer(*gpu(), bytes);
    gpu()->copyToDevice(poison.get(), cache.data(), bytes);
    values = runtime::Buffer(*gpu(), bytes);
    gpu()->copyToHost(cache.data(), tensors.kv, bytes);
    gpu()->copyToDevice(values.get(), cache.data(), bytes);
  }

  void appendNan(runtime::Stream stream) { launch(poison.get(), stream); }
  void appendValues(runtime::Stream stream) { launch(values.get(), stream); }

private:
  /// Byte offsets in the cache.
  std::vector<int64_t> newestRows(const AttentionInstance &instance) const {
    std::vector<int32_t> table(size_t(tensors.batch * tensors.blockTableStride));
    gpu()->copyToHost(table.data(), tensors.blockTable, table.size() * 4);
    std::vector<int64_t> offsets;
    for (int sequence = 0; sequence < tensors.batch; ++sequence) {
      const int length = instance.lengths()[size_t(sequence)], page = instance.shape().page;
      for (int token = std::max(0, length - instance.shape().queryTokens); token < length; ++token) {
        const int64_t at = table[size_t(sequence * tensors.blockTableStride + token / page)];
        offsets.push_back((at * tensors.kvStridePage + token % page * tensors.kvStrideToken) * 2);
      }
    }
    return offsets;
  }

  void launch(runtime::DevicePtr from, runtime::Stream stream) {
    runtime::DevicePtr to = tensors.kv, list = rows.get();
    void *arguments[] = {&to, &from, &list, &words};
    gpu()->launch(function, {.gridX = count, .threads = 128}, arguments, stream);
  }

  runtime::DecodeTensors tensors;
  uint32_t words;
  std::unique_ptr<runtime::Module> module;
  runtime::Function function;
  runtime::Buffer rows, poison, values;
  unsigned count = 0;
};

} // namespace

class Append : public testing::TestWithParam<std::pair<int, int>> {};

TEST_P(Append, TokensOfTheLaunchBeforeAreSeen) {
  const auto [heads, queries] = GetParam();
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  const AttentionShape shape{.heads = heads, .queryTokens = queries};
  const std::vector<int> lengths{1, 64, 65, 66, 128, 129, 130, 200, 1024, 1025};
  AttentionInstance instance(*gpu(), shape, lengths, {.seed = seed}, true);
  const runtime::Kernel &kernel = kernelOf({shape, std::nullopt});
  const int batch = int(lengths.size());
  runtime::Plan plan = kernel.makePlan(batch);
  Appender appender(instance);
  OwnStream stream(*gpu());
  kernel.plan(plan, instance.tensors().lengths, batch, stream);
  kernel.run(plan, instance.tensors(), stream); // The first run after a plan waits for it.
  for (int round = 0; round < 10; ++round) {
    appender.appendNan(stream);
    gpu()->synchronize(stream);
    instance.poisonOutputs();
    appender.appendValues(stream);
    kernel.run(plan, instance.tensors(), stream);
    gpu()->synchronize(stream);
    const reference::Comparison result = compareWithCpu(instance);
    ASSERT_TRUE(result.passed) << "round " << round << ": " << result.message;
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, Append,
                         testing::Values(std::pair{8, 1}, std::pair{16, 2}, std::pair{32, 1},
                                         std::pair{64, 1}, std::pair{128, 1}),
                         [](const auto &info) {
                           return "heads" + std::to_string(info.param.first) + "_queries" +
                                  std::to_string(info.param.second);
                         });
