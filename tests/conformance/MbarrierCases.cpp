// mbarrier: PTX ISA, "Parallel Synchronization and Communication Instructions: mbarrier". Sequences of one
// thread, in which each test says whether the phase has ended, and threads that pass values through shared
// memory, phase by phase.
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 128;

namespace {
/// An instruction, and for a test what it must say.
struct Step {
  std::string text;
  int answer = -1; ///< -1: it tests nothing.
};
} // namespace

static Step done(const std::string &parity) {
  return {"mbarrier.test_wait.parity.shared.b64 %c, [%b], " + parity + ";", 1};
}
static Step pending(const std::string &parity) {
  return {"mbarrier.test_wait.parity.shared.b64 %c, [%b], " + parity + ";", 0};
}

/// Thread 0 takes all steps; a bit of the result for each test. No phase is found ended twice by one thread.
static void addSequence(Cases &cases, const std::string &name, const std::vector<Step> &steps) {
  std::string text = "  .reg .b32 %b, %r, %x;\n  .reg .b64 %s<4>;\n  .reg .pred %c;\n  mov.b32 %b, %smem;\n  "
                     "mov.b32 %r, 0;\n"
                     "  setp.ne.s32 %c, %t, 0;\n  @%c ret;\n";
  uint32_t answers = 0;
  unsigned bit = 0;
  for (const Step &step : steps) {
    text += "  " + step.text + "\n";
    if (step.answer < 0)
      continue;
    text += fmt::format("  selp.b32 %x, {:#x}, 0, %c;\n  or.b32 %r, %r, %x;\n", 1u << bit);
    answers |= uint32_t(step.answer) << bit++;
  }
  text += "  st.global.b32 [%out], %r;\n";
  Case entry = makeCase("mbarrier", name, {.threads = 32}, 1, 64, text);
  entry.outputBytes = 4;
  entry.expect = [answers](const Bytes &, Expected &out) { setValue(out.bytes, 0, answers); };
  cases.push_back(std::move(entry));
}

static void addSequences(Cases &cases) {
  const Step one{"mbarrier.arrive.shared.b64 _, [%b];"};
  auto init = [](unsigned count) { return Step{fmt::format("mbarrier.init.shared.b64 [%b], {};", count)}; };
  addSequence(cases, "parity",
              {init(2), done("1"), pending("0"), one, pending("0"), one, done("0"), pending("1"), one, one,
               done("1"), pending("0")});
  addSequence(cases, "count",
              {init(5),
               {"mbarrier.arrive.shared.b64 %s0, [%b], 4;"},
               pending("0"),
               one,
               done("0"),
               {"mbarrier.arrive.release.cta.shared::cta.b64 %s0, [%b], 5;"},
               done("1")});
  addSequence(
      cases, "largest_count",
      {init((1 << 20) - 1), {"mbarrier.arrive.shared.b64 _, [%b], 1048574;"}, pending("0"), one, done("0")});
  addSequence(cases, "token",
              {init(1),
               {"mbarrier.arrive.shared.b64 %s0, [%b];"},
               {"mbarrier.test_wait.shared.b64 %c, [%b], %s0;", 1},
               {"mbarrier.arrive.shared.b64 %s1, [%b];"},
               {"mbarrier.test_wait.shared.b64 %c, [%b], %s1;", 1}});
  addSequence(cases, "no_complete",
              {init(3),
               {"mbarrier.arrive.noComplete.shared.b64 %s0, [%b], 2;"},
               {"mbarrier.test_wait.shared.b64 %c, [%b], %s0;", 0},
               one,
               {"mbarrier.test_wait.shared.b64 %c, [%b], %s0;", 1}});
  addSequence(cases, "drop",
              {init(3),
               {"mbarrier.arrive_drop.shared.b64 _, [%b];"},
               pending("0"),
               one,
               one,
               done("0"),
               one,
               pending("1"),
               one,
               done("1")});
  addSequence(cases, "drop_count",
              {init(5),
               {"mbarrier.arrive_drop.shared.b64 _, [%b], 3;"},
               pending("0"),
               one,
               one,
               done("0"),
               one,
               pending("1"),
               one,
               done("1")});
}

static void addByteSequences(Cases &cases) {
  const Step one{"mbarrier.arrive.shared.b64 _, [%b];"};
  auto init = [](unsigned count) { return Step{fmt::format("mbarrier.init.shared.b64 [%b], {};", count)}; };
  const Step expect{"mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%b], 48;"};
  auto complete = [](unsigned bytes) {
    return Step{fmt::format("mbarrier.complete_tx.relaxed.cta.shared::cta.b64 [%b], {};", bytes)};
  };
  addSequence(cases, "bytes",
              {init(1), expect, complete(16), one, pending("0"), complete(32), done("0"), one, done("1")});
  addSequence(cases, "bytes_with_arrival",
              {init(1),
               {"mbarrier.arrive.expect_tx.shared.b64 _, [%b], 64;"},
               pending("0"),
               complete(64),
               done("0")});
  addSequence(cases, "drop_with_bytes",
              {init(2),
               {"mbarrier.arrive_drop.expect_tx.shared::cta.b64 %s0, [%b], 8;"},
               one,
               pending("0"),
               complete(8),
               done("0"),
               one,
               done("1")});
  addSequence(cases, "invalidated",
              {init(2),
               one,
               {"mbarrier.inval.shared.b64 [%b];"},
               {"st.shared.b64 [%b], %in;"},
               init(1),
               pending("0"),
               one,
               done("0")});
}

//===- Between threads -------------------------------------------------------------------------------===//

/// Thread 0 publishes a value a round, all others read it and give the place free: two barriers, eight
/// rounds.
static void addRing(Cases &cases, bool tokens) {
  static constexpr size_t rounds = 8;
  const std::string wait = tokens ? "mbarrier.try_wait.shared.b64 %c, [%full], %s;"
                                  : "mbarrier.try_wait.parity.shared.b64 %c, [%full], %parity;";
  const std::string body = fill(R"(  .reg .b32 %full, %empty, %i, %v, %parity, %a, %other;
  .reg .b64 %p, %s;
  .reg .pred %c, %first, %last;
  add.s32 %full, %smem, 64;
  add.s32 %empty, %smem, 72;
  setp.eq.s32 %first, %t, 0;
  @%first mbarrier.init.shared.b64 [%full], 128;
  @%first mbarrier.init.shared.b64 [%empty], 127;
  bar.sync 0;
  mov.b32 %i, 0;
round:
  and.b32 %parity, %i, 1;
  xor.b32 %other, %parity, 1;
  mul.wide.u32 %p, %i, 4;
  add.s64 %p, %p, %in;
  @!%first bra arrive;
  ld.global.b32 %v, [%p];
wait_empty:
  mbarrier.try_wait.parity.shared.b64 %c, [%empty], %other;
  @!%c bra wait_empty;
  st.shared.b32 [%smem], %v;
arrive:
  mbarrier.arrive.shared.b64 %s, [%full];
wait_full:
  $wait
  @!%c bra wait_full;
  @%first bra next;
  ld.shared.b32 %v, [%smem];
  mad.lo.s32 %a, %i, 128, %t;
  mad.wide.u32 %p, %a, 4, %out;
  st.global.b32 [%p], %v;
  mbarrier.arrive.shared.b64 _, [%empty];
next:
  add.s32 %i, %i, 1;
  setp.lt.s32 %last, %i, 8;
  @%last bra round;
)",
                                {{"$wait", wait}});
  Case entry =
      makeCase("mbarrier", tokens ? "ring_by_token" : "ring_by_parity", {.threads = threads}, 1, 128, body);
  entry.outputBytes = rounds * threads * 4;
  entry.input = [](Random &random) { return randomBytes(random, rounds * 4); };
  entry.expect = [](const Bytes &input, Expected &out) {
    for (size_t i = 0; i < rounds * threads; ++i)
      if (i % threads != 0)
        setElement(out.bytes, i, elementAt<uint32_t>(input, i / threads));
  };
  cases.push_back(std::move(entry));
}

/// Half of the threads leave the barrier for good after the first phase.
static void addDroppers(Cases &cases) {
  Case entry = makeCase("mbarrier", "threads_drop", {.threads = threads}, 1, 1024, R"(  .reg .b32 %b, %a, %v;
  .reg .b64 %p;
  .reg .pred %c, %first, %stays;
  add.s32 %b, %smem, 512;
  setp.eq.s32 %first, %t, 0;
  @%first mbarrier.init.shared.b64 [%b], 128;
  bar.sync 0;
  mad.lo.s32 %a, %t, 4, %smem;
  st.shared.b32 [%a], %t;
  setp.lt.s32 %stays, %t, 64;
  @!%stays mbarrier.arrive_drop.shared.b64 _, [%b];
  @!%stays ret;
  mbarrier.arrive.shared.b64 _, [%b];
first:
  mbarrier.try_wait.parity.shared.b64 %c, [%b], 0;
  @!%c bra first;
  ld.shared.b32 %v, [%a+256];
  mbarrier.arrive.shared.b64 _, [%b];
second:
  mbarrier.try_wait.parity.shared.b64 %c, [%b], 1;
  @!%c bra second;
  mad.wide.u32 %p, %t, 4, %out;
  st.global.b32 [%p], %v;
)");
  entry.outputBytes = 256;
  entry.expect = [](const Bytes &, Expected &out) {
    for (uint32_t t = 0; t < 64; ++t)
      setElement(out.bytes, t, t + 64);
  };
  cases.push_back(std::move(entry));
}

void conformance::addMbarrierCases(Cases &cases) {
  addSequences(cases);
  addByteSequences(cases);
  addRing(cases, false);
  addRing(cases, true);
  addDroppers(cases);
}
