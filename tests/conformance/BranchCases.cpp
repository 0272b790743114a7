// Branches that part the lanes of a warp: PTX ISA, "Control Flow Instructions". Programs of nested
// conditions, loops with a number of rounds for each lane, breaks and early ends are drawn from a seed,
// written as PTX, and computed thread by thread; a few more are written by hand.
#include "Cases.h"
#include "Kernel.h"
#include "RandomProgram.h"

#include <fmt/format.h>

#include <memory>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 96, ctas = 2, total = threads * ctas;

static void addProgram(Cases &cases, uint64_t seed) {
  const auto program = std::make_shared<RandomProgram>(seed);
  Case entry =
      makeCase("branch", fmt::format("program_{}", seed), {.threads = threads}, ctas, 0, program->text());
  entry.outputBytes = total * 8;
  entry.input = [](Random &random) { return randomBytes(random, total * 8); };
  entry.expect = [program](const Bytes &input, Expected &out) {
    for (size_t i = 0; i < total; ++i) {
      const RandomProgram::State state =
          program->run(elementAt<uint32_t>(input, 2 * i), elementAt<uint32_t>(input, 2 * i + 1));
      setElement(out.bytes, 2 * i, state.x);
      setElement(out.bytes, 2 * i + 1, state.y);
    }
  };
  cases.push_back(std::move(entry));
}

//===- By hand ---------------------------------------------------------------------------------------===//

/// expected(thread's word): its word of the output.
template <class F>
static void addByHand(Cases &cases, const std::string &name, const std::string &text, F expected) {
  const std::string prologue =
      "  .reg .b32 %v, %w, %z, %m;\n  .reg .b64 %p;\n  .reg .pred %c, %d;\n"
      "  mad.wide.u32 %p, %g, 4, %in;\n  ld.global.b32 %v, [%p];\n  mad.wide.u32 %p, %g, 4, %out;\n";
  Case entry = makeCase("branch", name, {.threads = threads}, ctas, 0, prologue + text);
  entry.outputBytes = total * 4;
  entry.input = [](Random &random) { return randomBytes(random, total * 4); };
  entry.expect = [expected](const Bytes &input, Expected &out) {
    for (size_t i = 0; i < total; i += 32) {
      uint32_t warp[32];
      std::memcpy(warp, input.data() + 4 * i, sizeof(warp));
      for (size_t lane = 0; lane < 32; ++lane)
        setElement<uint32_t>(out.bytes, i + lane, expected(warp, lane));
    }
  };
  cases.push_back(std::move(entry));
}

/// Lanes part, meet, and only then speak to each other.
static void addMeetings(Cases &cases) {
  addByHand(cases, "meet_before_shuffle", R"(  and.b32 %z, %v, 1;
  setp.eq.s32 %c, %z, 0;
  @%c bra even;
  mul.lo.s32 %v, %v, 3;
  bra meet;
even:
  shr.u32 %v, %v, 1;
meet:
  shfl.sync.bfly.b32 %w, %v, 1, 31, -1;
  add.s32 %v, %v, %w;
  st.global.b32 [%p], %v;
)",
            [](const uint32_t *warp, size_t lane) {
              auto own = [&](size_t i) { return warp[i] & 1 ? warp[i] * 3 : warp[i] >> 1; };
              return own(lane) + own(lane ^ 1);
            });
  // Lanes leave a loop one after the other and meet behind it.
  addByHand(cases, "meet_behind_loop", R"(  and.b32 %z, %v, 15;
  mov.b32 %w, 0;
loop:
  add.s32 %w, %w, 7;
  setp.eq.s32 %c, %z, 0;
  add.s32 %z, %z, -1;
  @!%c bra loop;
  vote.sync.all.pred %d, %c, -1;
  redux.sync.add.s32 %m, %w, -1;
  selp.b32 %w, %m, 0, %d;
  st.global.b32 [%p], %w;
)",
            [](const uint32_t *warp, size_t) {
              uint32_t sum = 0;
              for (size_t i = 0; i < 32; ++i)
                sum += 7 * ((warp[i] & 15) + 1);
              return sum;
            });
  // Some lanes end inside a loop; the others go on together.
  addByHand(cases, "end_in_loop", R"(  and.b32 %z, %v, 7;
  mov.b32 %w, 0;
loop:
  setp.eq.s32 %c, %w, %z;
  @%c st.global.b32 [%p], %w;
  @%c exit;
  add.s32 %w, %w, 1;
  setp.lt.s32 %c, %w, 5;
  @%c bra loop;
  setp.ge.s32 %d, %z, 5;
  vote.sync.ballot.b32 %z, %d, -1;
  st.global.b32 [%p], %z;
)",
            [](const uint32_t *warp, size_t lane) {
              uint32_t left = 0;
              for (size_t i = 0; i < 32; ++i)
                left |= uint32_t((warp[i] & 7) >= 5) << i;
              return (warp[lane] & 7) < 5 ? warp[lane] & 7 : left;
            });
}

/// Two labels of the same name in two blocks, and a jump out of one.
static void addScopes(Cases &cases) {
  addByHand(cases, "scopes", R"(  mov.b32 %w, 0;
  { .reg .pred q; .reg .b32 v; and.b32 v, %v, 3; setp.ne.s32 q, v, 0; @q bra skip; add.s32 %w, %w, 1; skip: add.s32 %w, %w, 2; }
  { .reg .pred q; .reg .b64 v; cvt.u64.u32 v, %v; setp.gt.u64 q, v, 0x7fffffff; @q bra skip; add.s32 %w, %w, 4; skip: }
  { .reg .b32 %v; mov.b32 %v, 8; add.s32 %w, %w, %v; setp.eq.s32 %c, %w, 10; @%c bra out; }
  add.s32 %w, %w, 16;
out:
  st.global.b32 [%p], %w;
)",
            [](const uint32_t *warp, size_t lane) {
              uint32_t w = (warp[lane] & 3 ? 0u : 1u) + 2;
              w += warp[lane] > 0x7fffffff ? 0 : 4;
              w += 8;
              return w == 10 ? w : w + 16;
            });
}

void conformance::addBranchCases(Cases &cases) {
  for (uint64_t seed = 1; seed <= 32; ++seed)
    addProgram(cases, seed);
  addMeetings(cases);
  addScopes(cases);
}
