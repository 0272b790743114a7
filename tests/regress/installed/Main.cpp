//===- Main.cpp - An application of the installed package ----------------------------------------------===//
//
// Includes the faces of the runtime and the emulator as an installation has them, and runs a kernel written
// by hand: every thread adds 1 to its word, and one that reads too far is found.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/Kernel.h"
#include "lathe/runtime/device/emulator/Emulator.h"

#include <cstdio>
#include <numeric>

using namespace lathe::runtime;

static constexpr const char *ptx = R"(
.version 8.0
.target sm_90a
.address_size 64
.visible .entry count(.param .u64 words)
.reqntid 128
{
  .reg .b32 %r<4>;
  .reg .b64 %rd<4>;
  ld.param.u64 %rd1, [words];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd3, %rd1, %rd2;
  ld.global.u32 %r2, [%rd3];
  add.s32 %r3, %r2, 1;
  st.global.u32 [%rd3], %r3;
  ret;
}
)";

static bool run(Emulator &emulator, Function function, int words) {
  std::vector<int> values(static_cast<size_t>(words));
  std::iota(values.begin(), values.end(), 0);
  Buffer buffer(emulator, values.size() * 4);
  emulator.copyToDevice(buffer.get(), values.data(), buffer.bytes());
  DevicePtr address = buffer.get();
  void *arguments[] = {&address};
  emulator.launch(function, {.threads = 128}, arguments, {});
  emulator.copyToHost(values.data(), buffer.get(), buffer.bytes());
  return values.front() == 1 && values.back() == words;
}

int main() {
  const auto emulator = openEmulator({.throwFindings = false});
  const auto module = emulator->load({ptx, std::char_traits<char>::length(ptx) + 1});
  const Function function = module->function("count", 0);
  const bool right = run(*emulator, function, 128) && emulator->takeFindings().empty();
  const auto launches = emulator->takeLaunches();
  run(*emulator, function, 100);
  const auto findings = emulator->takeFindings();
  std::printf("%s\n%s", openDevice()->properties().name.c_str(), findings.text().c_str());
  const bool found =
      !findings.empty() && findings.findings.front().kind == emulator::FindingKind::OutOfBounds;
  return right && found && launches.size() == 1 && launches.front().counters.globalLoadBytes == 512 ? 0 : 1;
}
