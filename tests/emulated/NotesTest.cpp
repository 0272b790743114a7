// What the notes behind a kernel's PTX make of addresses, warps and lines, and that damaged notes do no harm.
#include "lathe/runtime/device/emulator/Notes.h"
#include "lathe/codegen/Layout/Swizzle.h"
#include "lathe/runtime/device/emulator/Emulator.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <random>

using namespace lathe;
using namespace lathe::runtime::emulator;

static constexpr const char *sample = R"(
// lathe:kernel {"kernel":"attend","arguments":["q","kv"],"roles":[{"name":"producer","warpgroups":1},{"name":"consumer","warpgroups":2}]}
// lathe:buffer {"kernel":"attend","name":"q","offset":0,"stages":1,"rows":64,"columns":192,"swizzle":128}
// lathe:buffer {"kernel":"attend","name":"kv","offset":24576,"stages":3,"rows":32,"columns":96,"swizzle":64}
// lathe:barrier {"kernel":"attend","name":"q.full","offset":65536,"count":1}
// lathe:barrier {"kernel":"attend","name":"kv.full","offset":65544,"count":3}
// lathe:array {"kernel":"attend","name":"row_sums","offset":66048,"bytes":256,"elementBytes":4}
// lathe:kernel {"kernel":"plan","arguments":[],"roles":[]}
// lathe:op {"line":3,"text":"tile.wait %0"}
// lathe:op {"line":17,"text":"tile.mma \"a\" \\ b"}
)";

static KernelNotes attendNotes() { return readNotes(sample).kernels.at("attend"); }

TEST(Notes, EveryElementOfABufferHasItsName) {
  const KernelNotes notes = attendNotes();
  const codegen::layout::BoxedMatrix q{64, 128}, kv{32, 64};
  for (int64_t row = 0; row < 64; ++row)
    for (int64_t column = 0; column < 192; ++column)
      ASSERT_EQ(notes.nameOf(uint32_t(q.offset(row, column))),
                fmt::format("q row {}, column {}", row, column));
  for (int64_t stage = 0; stage < 3; ++stage)
    for (int64_t row = 0; row < 32; ++row)
      for (int64_t column = 0; column < 96; ++column)
        ASSERT_EQ(notes.nameOf(uint32_t(24576 + stage * 3 * kv.boxBytes() + kv.offset(row, column))),
                  fmt::format("kv stage {}, row {}, column {}", stage, row, column));
}

TEST(Notes, BarriersArraysAndTheRest) {
  const KernelNotes notes = attendNotes();
  EXPECT_EQ(notes.nameOf(65536), "q.full");
  EXPECT_EQ(notes.nameOf(65543), "q.full");
  EXPECT_EQ(notes.nameOf(65544), "kv.full[0]");
  EXPECT_EQ(notes.nameOf(65567), "kv.full[2]");
  EXPECT_EQ(notes.nameOf(65568), "byte 65568 of dynamic shared memory");
  EXPECT_EQ(notes.nameOf(66048 + 17), "row_sums[4]");
  EXPECT_EQ(notes.nameOf(66304), "byte 66304 of dynamic shared memory");
  EXPECT_EQ(notes.nameOf(24576 + 3 * 6144), "byte 43008 of dynamic shared memory");
  EXPECT_EQ(notes.nameOf(UINT32_MAX), "byte 4294967295 of dynamic shared memory");
}

TEST(Notes, RolesOfWarps) {
  const KernelNotes notes = attendNotes();
  EXPECT_EQ(notes.roleOf(0), "producer");
  EXPECT_EQ(notes.roleOf(3), "producer");
  EXPECT_EQ(notes.roleOf(4), "consumer 0");
  EXPECT_EQ(notes.roleOf(8), "consumer 1");
  EXPECT_EQ(notes.roleOf(11), "consumer 1");
  EXPECT_EQ(notes.roleOf(12), "");
  EXPECT_EQ(KernelNotes().roleOf(0), "");
  EXPECT_EQ(readNotes(sample).kernels.at("plan").roleOf(0), "");
}

TEST(Notes, LinesAndArguments) {
  const Notes notes = readNotes(sample);
  EXPECT_EQ(notes.operationAt(3), "tile.wait %0");
  EXPECT_EQ(notes.operationAt(17), "tile.mma \"a\" \\ b");
  EXPECT_EQ(notes.operationAt(4), "");
  EXPECT_EQ(notes.kernels.at("attend").arguments, (std::vector<std::string>{"q", "kv"}));
}

//===- Damage ----------------------------------------------------------------------------------------===//

TEST(Notes, LinesThatAreNotWellFormedAreLeftOut) {
  for (const char *line :
       {"// lathe:", "// lathe:buffer", "// lathe:buffer ", "// lathe:buffer {", "// lathe:buffer []",
        "// lathe:buffer 7",
        "// lathe:buffer {\"kernel\":\"k\",\"name\":\"b\",\"rows\":0,\"columns\":8,\"swizzle\":128}",
        "// lathe:buffer {\"kernel\":\"k\",\"name\":\"b\",\"rows\":8,\"columns\":8,\"swizzle\":48}",
        "// lathe:buffer {\"kernel\":\"k\",\"name\":\"b\",\"rows\":-8,\"columns\":8,\"swizzle\":128}",
        "// lathe:buffer {\"kernel\":\"k\",\"name\":\"b\",\"rows\":8,\"columns\":100000,\"swizzle\":128}",
        "// lathe:buffer {\"kernel\":\"k\",\"rows\":8,\"columns\":8,\"stages\":99999999999,\"swizzle\":128}",
        "// lathe:barrier {\"kernel\":\"k\",\"name\":7,\"offset\":\"0\",\"count\":null}",
        "// lathe:array {\"kernel\":\"k\",\"name\":\"a\",\"offset\":1e99,\"bytes\":[4]}",
        "// lathe:kernel {\"kernel\":\"k\",\"arguments\":{\"a\":1},\"roles\":[7,{\"name\":1}]}",
        "// lathe:unknown {\"kernel\":\"k\"}",
        "mov.u32 %r1, 0; // lathe:op {\"line\":1,\"text\":\"not at the line's start\"}",
        "// lathe:op {\"line\":\"1\",\"text\":1}", "// lathe:op {\"text\":\"\xff\xfe\"}"}) {
    const Notes notes = readNotes(line);
    SCOPED_TRACE(line);
    EXPECT_EQ(notes.operationAt(1), "");
    for (const auto &[name, kernel] : notes.kernels) {
      EXPECT_EQ(kernel.nameOf(4), "byte 4 of dynamic shared memory");
      EXPECT_EQ(kernel.roleOf(2), "");
    }
  }
}

/// Whatever happens to the text, reading and asking come to an end.
TEST(Notes, SurviveRandomDamage) {
  const unsigned seed = std::random_device()();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string text = sample;
    for (int change = 0; change < 1 + round % 8; ++change) {
      const size_t at = random() % text.size();
      switch (random() % 3) {
      case 0:
        text[at] = char(random());
        break;
      case 1:
        text.erase(at, random() % 16);
        break;
      default:
        text.insert(at, std::string("\"{}[]:,0123456789").substr(random() % 16, 1));
      }
    }
    const Notes notes = readNotes(text);
    for (const auto &[name, kernel] : notes.kernels) {
      EXPECT_FALSE(kernel.nameOf(random() % 70000).empty());
      kernel.roleOf(random() % 64);
    }
    notes.operationAt(int(random() % 20));
  }
}

//===- In a finding ----------------------------------------------------------------------------------===//

TEST(Notes, NameThePlaceOfAFinding) {
  const codegen::layout::BoxedMatrix kv{32, 64};
  const auto offset = uint32_t(24576 + 3 * kv.boxBytes() + kv.offset(17, 40)) & ~3u;
  const std::string ptx = fmt::format(".version 8.7\n.target sm_90a\n.address_size 64\n"
                                      ".extern .shared .align 1024 .b8 smem[];\n"
                                      ".visible .entry attend()\n{{\n.reg .b32 %r<2>;\n.loc 1 3 4\n"
                                      "ld.shared.b32 %r0, [smem+{}];\nret;\n}}\n{}",
                                      offset, sample);
  const auto device = runtime::openEmulator({.throwFindings = false});
  const auto module = device->load(ptx);
  device->launch(module->function("attend", 65536), {.threads = 384, .sharedBytes = 70000}, nullptr, {});
  const FindingList found = device->takeFindings();
  ASSERT_EQ(found.findings.size(), 1u) << found.text();
  const Finding &finding = found.findings[0];
  EXPECT_EQ(finding.kind, FindingKind::UnwrittenRead);
  EXPECT_EQ(finding.address, "kv stage 1, row 17, column 40");
  EXPECT_EQ(finding.place.line, 9);
  EXPECT_EQ(finding.place.tileLine, 3);
  EXPECT_EQ(finding.place.operation, "tile.wait %0");
  EXPECT_TRUE(finding.agent.starts_with("producer (warp 0)")) << finding.agent;
}
