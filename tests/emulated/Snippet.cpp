#include "Snippet.h"

#include "lathe/support/Error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::emulatedtest;
using namespace lathe::runtime;
using emulator::FindingKind;

static constexpr const char *prologue = R"(.reg .b32 %smem, %t, %cta, %lane, %r<16>;
.reg .b64 %in, %map, %d<8>;
.reg .f32 %f<8>;
.reg .pred %first, %p<4>;
ld.param.b64 %in, [buffer];
mov.b64 %map, map;
cvta.param.u64 %map, %map;
mov.b32 %smem, smem;
mov.u32 %t, %tid.x;
mov.u32 %cta, %ctaid.x;
mov.u32 %lane, %laneid;
setp.eq.u32 %first, %t, 0;
)";

static std::string moduleOf(const Snippet &snippet) {
  const std::string cluster =
      snippet.cluster > 1 ? fmt::format(".explicitcluster\n.reqnctapercluster {}, 1, 1\n", snippet.cluster)
                          : "";
  return fmt::format(".version 8.7\n.target sm_90a\n.address_size 64\n"
                     ".extern .shared .align 1024 .b8 smem[];\n"
                     ".visible .entry test(.param .u64 buffer, .param .align 64 .b8 map[128])\n"
                     ".reqntid {}\n{}{{\n{}{}\nret;\n}}\n",
                     snippet.threads, cluster, prologue, snippet.text);
}

const emulator::Finding *SnippetResult::find(FindingKind kind) const {
  for (const emulator::Finding &finding : findings.findings)
    if (finding.kind == kind)
      return &finding;
  return nullptr;
}

int64_t emulatedtest::residentClusters(const Snippet &snippet) {
  const auto device = openEmulator(snippet.device);
  const auto module = device->load(moduleOf(snippet));
  return device->residentClusters(module->function("test", int(snippet.sharedBytes)),
                                  {snippet.threads, snippet.sharedBytes, snippet.cluster});
}

SnippetResult emulatedtest::run(const Snippet &snippet) {
  SnippetResult result;
  EmulatorOptions options = snippet.device;
  options.throwFindings = false;
  const auto device = openEmulator(options);
  Buffer buffer(*device, snippet.bufferBytes);
  std::vector<uint32_t> words(snippet.bufferBytes / 4);
  std::copy(snippet.words.begin(), snippet.words.end(), words.begin());
  DevicePtr pointer = buffer.get();
  device->copyToDevice(pointer, words.data(), std::min(snippet.bufferBytes, snippet.writtenBytes));
  TensorMap map{};
  if (snippet.map.rank) {
    TensorMapSpec spec = snippet.map;
    spec.base += pointer;
    map = device->encode(spec);
    if (snippet.mapInBuffer)
      device->copyToDevice(pointer + snippet.bufferBytes - sizeof(map), &map, sizeof(map));
  }
  void *arguments[] = {&pointer, &map};
  try {
    const auto module = device->load(moduleOf(snippet));
    device->launch(module->function("test", int(snippet.sharedBytes)),
                   {.gridX = snippet.ctas, .threads = snippet.threads, .sharedBytes = snippet.sharedBytes},
                   arguments, {});
    device->copyToHost(words.data(), pointer, snippet.bufferBytes);
  } catch (const Error &error) {
    result.error = error.what();
  }
  result.findings = device->takeFindings();
  for (const auto &launch : device->takeLaunches())
    result.counters.add(launch.counters);
  result.words = std::move(words);
  return result;
}

void emulatedtest::expectFound(const SnippetResult &result, FindingKind kind, const std::string &text) {
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.has(kind)) << "not found as " << name(kind) << ":\n" << result.findings.text();
  for (const emulator::Finding &finding : result.findings.findings)
    EXPECT_EQ(name(finding.kind), name(kind)) << finding.text();
  EXPECT_THAT(result.findings.text(), testing::HasSubstr(text));
}

void emulatedtest::expectClean(const SnippetResult &result) {
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.findings.empty()) << result.findings.text();
}
