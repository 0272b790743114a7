// What PTX the emulator takes and what it refuses: each refusal names the line, the rule and what is wrong.
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/runtime/device/emulator/Ptx.h"
#include "lathe/support/Error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::runtime::emulator;
using testing::HasSubstr;
using testing::StartsWith;

static constexpr const char *header = ".version 8.7\n.target sm_90a\n.address_size 64\n";

/// A kernel whose statements begin in line 9.
static std::string kernel(const std::string &statements) {
  return std::string(header) +
         ".extern .shared .align 16 .b8 smem[];\n.visible .entry test(.param .u64 a, .param .u32 b)\n{\n"
         ".reg .pred %p<4>;\n.reg .b16 %rs<8>; .reg .b32 %r<8>; .reg .b64 %rd<8>;\n" +
         statements + "\nret;\n}\n";
}

/// The message of loading a text; empty where it is taken.
static std::string refusal(const std::string &text) {
  static const auto device = runtime::openEmulator();
  try {
    device->load(text);
    return {};
  } catch (const DeviceError &error) {
    return error.what();
  }
}

static ptx::Kernel parsed(const std::string &text) {
  static std::vector<ptx::Module> kept; // Owners of what the kernels' views point into.
  kept.push_back(ptx::parse(text));
  return kept.back().kernels.at(0);
}

namespace {
/// Statements, and the line and the rule of their refusal.
struct Refused {
  const char *statements;
  int line;
  const char *rule;
};
} // namespace

static void expectRefused(const std::string &text, int line, const char *rule) {
  SCOPED_TRACE(text);
  const std::string message = refusal(text);
  EXPECT_THAT(message, StartsWith(fmt::format("PTX, line {}: ", line)));
  EXPECT_THAT(message, HasSubstr(rule));
}

//===- The module ------------------------------------------------------------------------------------===//

TEST(Parser, TakesWhatTheCompilerWrites) {
  EXPECT_EQ(refusal(kernel("")), "");
  EXPECT_EQ(refusal(kernel("ld.param.b64 %rd1, [a];\nadd.s32 %r1, %r2, 0x10;\n@%p1 bra L;\nL:\nbar.sync 0;")),
            "");
  EXPECT_EQ(refusal(kernel("/* of\nthree\nlines */ mov.u32 %r1, %tid.x; // and a rest")), "");
  EXPECT_EQ(refusal(kernel("mov.b32 %r1, 1;\r\n\tadd.s32\t%r1,%r1,-1;\r")), "");
  EXPECT_EQ(refusal(kernel(".pragma \"nounroll\";")), "");
  EXPECT_EQ(refusal(kernel("mov.b32 %r1, 0xFFFFFFFFU;")), "");
  // A zero byte ends the text, whatever comes behind it.
  EXPECT_EQ(refusal(kernel("") + std::string(1, '\0') + "garbage"), "");
}

TEST(Parser, RefusesHeadersOfOthers) {
  const std::string rest = ".visible .entry k()\n{\nret;\n}\n";
  expectRefused("// .version\n.target sm_90a\n" + rest, 2, "there must be the .version directive");
  expectRefused(".version eight\n", 1, "there must be a version number");
  expectRefused(".version 8.7\n.address_size 64\n" + rest, 2, "there must be the .target directive");
  expectRefused(".version 8.7\n.target sm_80\n" + rest, 2, "the target must be sm_90a, got sm_80");
  expectRefused(".version 8.7\n.target sm_100a\n" + rest, 2, "compile for a Hopper GPU");
  expectRefused(".version 8.7\n.target sm_90a\n.address_size 32\n" + rest, 3, "addresses must have 64 bits");
  expectRefused(header, 4, "there must be a kernel");
  expectRefused(std::string(header) + ".func f() { ret; }", 4,
                "there must be a kernel or a shared variable, got '.func'");
  expectRefused(std::string(header) + ".shared .b8 x[];\n" + rest, 4,
                "a size, or .extern before the variable");
  expectRefused(std::string(header) + ".shared .align 24 .b8 x[8];\n" + rest, 4,
                "an alignment must be a power of two, got 24");
  expectRefused(std::string(header) + ".shared .q32 x[8];\n" + rest, 4, "there must be an element type");
}

TEST(Parser, RefusesImpossibleKernels) {
  const auto entry = [](const std::string &text) { return std::string(header) + ".visible .entry k" + text; };
  expectRefused(entry("(.param u64 a)\n{\nret;\n}\n"), 4, "a parameter must have a type, got u64");
  expectRefused(entry("(.param a)\n{\nret;\n}\n"), 4, "a parameter must have a type");
  expectRefused(entry("(.param .align 3 .b8 a[4])\n{\nret;\n}\n"), 4, "an alignment must be a power of two");
  expectRefused(entry("(.param .b64 a[4096],\n.param .b32 b)\n{\nret;\n}\n"), 4,
                "parameters must fit 32,764 bytes, got 32768");
  expectRefused(entry("()\n.reqntid 0\n{\nret;\n}\n"), 6, "a number of threads must be from 1 to 65536");
  expectRefused(entry("()\n.reqnctapercluster 65536, 2\n{\nret;\n}\n"), 6,
                "a cluster's size must be from 1 to 65536");
  expectRefused(entry("()\n.maxnreg 1000\n{\nret;\n}\n"), 5,
                "there must be a number of registers (at most 256)");
  expectRefused(entry("()\n{\nret;\n"), 7, "there must be '}', got the end");
  expectRefused(entry("()\n.shared 4\n{\nret;\n}\n"), 5, "there must be '{'");
}

//===- Texts -----------------------------------------------------------------------------------------===//

TEST(Parser, RefusesBrokenText) {
  static constexpr Refused table[] = {
      {"/* of\nthree\nlines", 9, "a comment must end"},
      {".pragma \"open", 9, "a string must end on its line"},
      {"\nadd.s32 %r1, %r2, #3;", 10, "a character must be one that PTX has, got 0x23"},
      {"add.s32 %r1, %r2, 0xFG;", 9, "a number must be well formed and fit 64 bits"},
      {"add.s32 %r1, %r2, 18446744073709551616;", 9, "fit 64 bits, got 18446744073709551616"},
      {"mov.f32 %r1, 1.2.3;", 9, "a number must be well formed"},
      {"\n\nadd.s32 %r1 %r2, 3;", 11, "there must be ',', got '%r2'"},
      {"add.s32 %r1, %r2,\n;", 10, "a register, a number or a name, got ';'"},
      {"add.s32 %r1, !3, %r2;", 9, "there must be a predicate"},
      {"ld.param.b64 %rd1, [a;", 9, "there must be ']'"},
      {"mov.b64 %rd1, {%r1, %r2;", 9, "there must be '}'"},
      {".reg .b128 %q;", 9, "a register must have a type of at most 64 bits, got .b128"},
      {".reg .b32 %q<300000>;", 9, "at most 262144"},
      {".loc 1;", 9, "a line number"},
      {"4: ret;", 9, "there must be an instruction"},
  };
  for (const Refused &entry : table)
    expectRefused(kernel(entry.statements), entry.line, entry.rule);
}

TEST(Parser, RefusesWhatGoesBeyondItsBounds) {
  expectRefused(kernel(std::string(70, '{')), 9, "blocks must not be nested deeper than 64");
  std::string many = "mov.b32 %r1";
  for (int i = 0; i < 300; ++i)
    many += ", %r1";
  expectRefused(kernel(many + ";"), 9, "an instruction must have at most 256 operands");
  many = "mov.b64 %rd1, {%r1";
  for (int i = 0; i < 300; ++i)
    many += ", %r1";
  expectRefused(kernel(many + "};"), 9, "a vector must have at most 256 parts");
  expectRefused(kernel(".reg .b32 %a<200000>;\n.reg .b32 %b<200000>;"), 10, "at most 262144 registers");
}

//===- Instructions ----------------------------------------------------------------------------------===//

TEST(Parser, RefusesUnknownInstructions) {
  static constexpr Refused table[] = {
      {"frobnicate.u32 %r1, %r2;", 9,
       "the instruction must be one that the emulator knows, got frobnicate.u32"},
      {"\ntex.2d.v4.f32.s32 {%r1, %r2, %r3, %r4}, [a, {%r1, %r2}];", 10, "one that the emulator knows"},
      {"add.q32 %r1, %r2, %r3;", 9, "add must have a form that the emulator knows, got add.q32"},
      {"add.sat.s32 %r1, %r2, %r3;", 9, "add must have a form"},
      {"add.rz.f32 %r1, %r2, %r3;", 9, "add must have a form"},
      {"mul.s32 %r1, %r2, %r3;", 9, "mul must have a form"},
      {"setp.between.s32 %p1, %r1, %r2;", 9, "setp must have a form"},
      {"setp.lt.ftz.f64 %p1, %rd1, %rd2;", 9, "setp must have a form"},
      {"ld.global.b32.often %r1, [%rd1];", 9, "ld must have a form"},
      {"cvt.rn.s32.s64 %r1, %rd1;", 9, "cvt must have a form"},
      {"cvt.rni.sat.f32.f32 %r1, %r2;", 9, "cvt must have a form"},
      {"shfl.up.b32 %r1, %r2, 1, 0;", 9, "shfl must have a form"},
      {"vote.sync.most.pred %p1, %p2, -1;", 9, "vote must have a form"},
      {"mbarrier.arrive.shared.b32 _, [smem];", 9, "mbarrier must have a form"},
      {"cp.async.bulk.tensor.6d.global.shared::cta.bulk_group [%rd1, {%r1}], [smem];", 9,
       "cp must have a form"},
      {"cp.reduce.async.bulk.global.shared::cta.bulk_group.min.f32 [%rd1], [smem], 16;", 9,
       "cp must have a form"},
      {"wgmma.mma_async.sync.aligned.m64n12k16.f32.bf16.bf16 {%r1}, %rd1, %rd2, %p1, 1, 1, 0, 0;", 9,
       "wgmma must have a form"},
      {"fence.proxy.tensormap;", 9, "fence must have a form"},
      {"setmaxnreg.inc.sync.u32 40;", 9, "setmaxnreg must have a form"},
  };
  for (const Refused &entry : table)
    expectRefused(kernel(entry.statements), entry.line, entry.rule);
}

TEST(Parser, RefusesWrongOperands) {
  static constexpr Refused table[] = {
      {"add.s32 %r1, %r2;", 9, "add.s32 must have 3 operands, got 2"},
      {"add.s32 %r1, %r2, %r3, %r4;", 9, "add.s32 must have 3 operands, got 4"},
      {"ret %r1;", 9, "ret must have 0 operands, got 1"},
      {"bar.sync;", 9, "bar.sync must have 1 to 2 operands, got 0"},
      {"add.s64 %rd1, %r2, %rd3;", 9, "the width of %r2 must be the instruction's, got add.s64"},
      {"add.s16 %rs1, %r2, %rs3;", 9, "the width of %r2 must be the instruction's"},
      {"add.s32 %p1, %r2, %r3;", 9, "the width of %p1 must be the instruction's"},
      {"selp.b32 %r1, %r2, %r3, %r4;", 9, "the width of %r4 must be the instruction's"},
      {"add.s32 4, %r2, %r3;", 9, "a result of add.s32 must be a register"},
      {"add.s32 %r1, %r9, %r3;", 9, "a source of add.s32 must be a register or a number, got %r9"},
      {"add.s32 %r1, x, %r3;", 9, "a source of add.s32 must be a register or a number, got x"},
      {"add.s32 %r1, !%p1, %r3;", 9, "a source of add.s32 must not be negated"},
      {"mov.u32 %r1, %tid.w;", 9, "a special register must be one that the emulator has, got %tid.w"},
      {"mov.b32 %r1, elsewhere;", 9, "a name must be a shared variable's or a parameter's, got elsewhere"},
      {"ld.global.b32 %r1, %rd1;", 9, "must be an address in brackets"},
      {"ld.shared.b32 %r1, [elsewhere];", 9,
       "a name in an address must be a shared variable's, got elsewhere"},
      {"ld.global.b32 %r1, [smem];", 9, "a name in a global address must be a global variable's"},
      {"ld.param.b32 %r1, [c];", 9, "a parameter must exist, got c"},
      {"ld.param.b64 %rd1, [b];", 9, "a parameter must be read inside its bytes"},
      {"ld.param.b32 %r1, [a+-4];", 9, "a parameter must be read inside its bytes, got byte -4"},
      {"ld.global.v4.b32 {%r1, %r2}, [%rd1];", 9, "must move 4 elements"},
      {"bra %r1;", 9, "a label must exist, got %r1"},
      {"bra 5;", 9, "a branch must be to a label"},
      {"add.s32 %r1, %r2, 1.5;", 9, "a number of 64 bits must be for a type of 64 bits"},
      {"cp.async.ca.shared.global [smem], [%rd1], 12;", 9, "cp.async must copy 4, 8 or 16 bytes, got 12"},
      {"wgmma.wait_group.sync.aligned %r1;", 9, "must be a constant from 0"},
      {"setmaxnreg.inc.sync.aligned.u32 100;", 9, "a register budget must be a multiple of 8, got 100"},
      {"setmaxnreg.inc.sync.aligned.u32 264;", 9, "must be a constant from 24 to 256, got 264"},
      {"ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1}, [smem];", 9, "must have 2 registers, got 1"},
      {"wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%r1, %r2}, %rd1, %rd2, %p1, 1, 1, 0, 0;", 9,
       "must have 4 accumulator registers, got 2"},
      {"cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd1, {%r1}], [smem];", 9,
       "a box of 2 dimensions must have as many coordinates, got 1"},
  };
  for (const Refused &entry : table)
    expectRefused(kernel(entry.statements), entry.line, entry.rule);
}

TEST(Parser, RefusesWrongGuards) {
  expectRefused(kernel("@%r1 ret;"), 9, "a guard must be a predicate register, got %r1");
  expectRefused(kernel("\n@%p9 ret;"), 10, "a guard must be a predicate register, got %p9");
  expectRefused(kernel("@!4 ret;"), 9, "there must be a predicate");
  expectRefused(kernel("@%p1 L: ret;"), 9, "there must be");
}

//===- Lines, scopes, ranges -------------------------------------------------------------------------===//

TEST(Parser, LocationsHoldUntilTheNext) {
  const ptx::Kernel found =
      parsed(kernel("mov.b32 %r1, 1;\n.loc 1 7 3\nmov.b32 %r1, 2;\n\nmov.b32 %r1, 3;\n"
                    ".loc\t1 2000000 0, function_name $L__info, inlined_at 1 5 3\nmov.b32 %r1, 4;"));
  ASSERT_EQ(found.body.size(), 5u);
  const int lines[] = {9, 11, 13, 15, 16}, sourceLines[] = {0, 7, 7, 2000000, 2000000};
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(found.body[i].line, lines[i]);
    EXPECT_EQ(found.body[i].sourceLine, sourceLines[i]);
  }
}

/// Registers of an inner block hide the outer ones, and end with it.
TEST(Parser, BlocksHaveRegistersOfTheirOwn) {
  const ptx::Kernel found =
      parsed(kernel("mov.b32 %r1, 1;\n{ .reg .b32 %r1; .reg .pred p; mov.b32 %r1, 2;\n"
                    "{ .reg .b64 %r1; mov.b64 %r1, 3; } mov.b32 %r1, 4; }\nmov.b32 %r1, 5;"));
  ASSERT_EQ(found.body.size(), 6u);
  const uint32_t outer = found.body[0].operands[0].reg, inner = found.body[1].operands[0].reg;
  EXPECT_NE(outer, inner);
  EXPECT_EQ(found.registers[found.body[2].operands[0].reg].kind, ptx::RegisterClass::Bits64);
  EXPECT_EQ(found.body[3].operands[0].reg, inner);
  EXPECT_EQ(found.body[4].operands[0].reg, outer);
  expectRefused(kernel("{ .reg .pred p; setp.eq.s32 p, 1, 1; }\n@p ret;"), 10,
                "a guard must be a predicate register, got p");
}

/// A jump goes to the innermost label of its name, before or behind it; labels of inner blocks cannot be
/// reached.
TEST(Parser, BlocksHaveLabelsOfTheirOwn) {
  const ptx::Kernel found =
      parsed(kernel("L: bra L;\n{ bra L; L: bra L; { bra L; } }\n{ bra M; bra L; }\nM: bra L;"));
  ASSERT_EQ(found.body.size(), 8u);
  const uint32_t targets[] = {0, 2, 2, 2, 6, 0, 0};
  for (size_t i = 0; i < 7; ++i)
    EXPECT_EQ(found.labels[found.body[i].branchLabel], targets[i]) << i;
  expectRefused(kernel("bra inside;\n{ inside: ret; }"), 9, "a label must exist, got inside");
  expectRefused(kernel("\n@%p1 bra nowhere;"), 10, "a label must exist, got nowhere");
}

TEST(Parser, RangesOfRegisters) {
  const ptx::Kernel found = parsed(kernel(".reg .b32 %x<3>, %y, %z<2>;\nadd.s32 %x2, %y, %z1;"));
  const auto &operands = found.body[0].operands;
  EXPECT_EQ(ptx::registerName(found.registers[operands[0].reg]), "%x2");
  EXPECT_EQ(ptx::registerName(found.registers[operands[1].reg]), "%y");
  EXPECT_EQ(ptx::registerName(found.registers[operands[2].reg]), "%z1");
  expectRefused(kernel(".reg .b32 %x<3>;\nmov.b32 %x3, 1;"), 10, "a result of mov.b32 must be a register");
  expectRefused(kernel(".reg .b32 %x<3>;\nmov.b32 %x, 1;"), 10, "a result of mov.b32 must be a register");
}

TEST(Parser, OperandsAreWhatTheTextSays) {
  const ptx::Kernel found =
      parsed(kernel("st.shared.v2.b32 [smem+12], {%r1, _};\nsetp.lt.and.s32 %p1|%p2, %r1, -3, !%p3;\n"
                    "mov.f32 %r1, -0f3F800000;\nld.global.b32 %r2, [%rd1+-8];\nmov.b64 %rd1, -1.5;"));
  using Kind = ptx::Operand::Kind;
  const auto &store = found.body[0].operands;
  EXPECT_EQ(store[0].kind, Kind::Address);
  EXPECT_EQ(store[0].parts[0].text, "smem");
  EXPECT_EQ(store[0].parts[0].offset, 12);
  EXPECT_EQ(store[1].parts[1].kind, Kind::Sink);
  const auto &compare = found.body[1].operands;
  EXPECT_EQ(compare[0].kind, Kind::Pair);
  EXPECT_EQ(compare[2].bits, uint64_t(-3));
  EXPECT_TRUE(compare[3].negated);
  EXPECT_EQ(found.body[2].operands[1].bits, 0xbf800000u);
  EXPECT_EQ(found.body[3].operands[1].offset, -8);
  EXPECT_EQ(found.body[4].operands[1].bits, 0xbff8000000000000u);
}

TEST(Parser, ParametersLieWhereTheirAlignmentWants) {
  const ptx::Kernel found = parsed(std::string(header) + R"(.visible .entry k(
  .param .u32 a,
  .param .u64 .ptr .global .align 1 b,
  .param .b8 c,
  .param .align 64 .b8 map[128],
  .param .u16 d
)
.reqntid 32, 2, 2
.minnctapersm 2
.maxnreg 128
.explicitcluster
.reqnctapercluster 4, 1, 1
{
ret;
}
)");
  const uint32_t offsets[] = {0, 8, 16, 64, 192};
  ASSERT_EQ(found.parameters.size(), 5u);
  for (size_t i = 0; i < 5; ++i)
    EXPECT_EQ(found.parameters[i].offset, offsets[i]);
  EXPECT_EQ(found.parameterBytes, 194u);
  EXPECT_EQ(found.requiredThreads, 128u);
  EXPECT_EQ(found.minCtas, 2u);
  EXPECT_EQ(found.maxRegisters, 128u);
  EXPECT_EQ(found.cluster, 4u);
}

TEST(Parser, TextOfALineIsTrimmedAndCut) {
  EXPECT_EQ(ptx::lineText("a\n\t  b c\nd", 2), "b c");
  EXPECT_EQ(ptx::lineText("a\nb", 3), "");
  EXPECT_EQ(ptx::lineText("a\nb", 0), "");
  EXPECT_EQ(ptx::lineText("abcdef", 1, 3), "abc…");
}
