// Branches that part the lanes of a warp: PTX ISA, "Control Flow Instructions". Programs of nested conditions, loops with a
// number of rounds for each lane, breaks and early ends are drawn from a seed, written as PTX, and computed thread by
// thread; a few more are written by hand.
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

#include <memory>

using namespace lathe;
using namespace lathe::conformance;

static constexpr unsigned threads = 96, ctas = 2, total = threads * ctas;

namespace {

/// What a program does to its two words.
struct State {
  uint32_t x = 0, y = 0;
  bool broken = false; ///< Leaves the innermost loop.
  bool ended = false;  ///< Leaves the program.
};

/// A statement: what it is by `kind`, with constants of its own and statements inside.
struct Statement {
  enum class Kind : uint8_t { Compute, Predicated, If, IfElse, Loop, Break, End } kind = Kind::Compute;
  uint32_t a = 0, b = 0;
  std::vector<Statement> inside, otherwise;
};

/// Writes and computes a random program.
class Program {
public:
  explicit Program(uint64_t seed) : random_(seed) { statements_ = block(0, false); }

  std::string text() {
    std::string text = "  .reg .b32 %x, %y, %z, %n<16>;\n  .reg .b64 %p;\n  .reg .pred %c, %k<16>;\n"
                       "  mad.wide.u32 %p, %g, 8, %in;\n  ld.global.v2.b32 {%x, %y}, [%p];\n"
                       "  mad.wide.u32 %p, %g, 8, %out;\n";
    write(text, statements_, 0);
    return text + "  st.global.v2.b32 [%p], {%x, %y};\n";
  }
  State run(uint32_t x, uint32_t y) const {
    State state{x, y, false, false};
    execute(state, statements_);
    return state;
  }

private:
  using Kind = Statement::Kind;

  std::vector<Statement> block(int depth, bool inLoop);
  void write(std::string &text, const std::vector<Statement> &block, int loops);
  void writeOne(std::string &text, const Statement &statement, int loops);
  void writeLoop(std::string &text, const Statement &statement, int loops);
  void execute(State &state, const std::vector<Statement> &block) const;

  std::string label(const char *name) { return fmt::format("L{}_{}", ++labels_, name); }
  /// Sets %c to (x * a >> 28) < b, which is what conditions are made of.
  static std::string condition(const Statement &statement) {
    return fmt::format("  mul.lo.s32 %z, %x, {:#x};\n  shr.u32 %z, %z, 28;\n  setp.lt.u32 %c, %z, {};\n", statement.a,
                       statement.b % 16);
  }
  static bool holds(const State &state, const Statement &statement) {
    return (state.x * statement.a >> 28) < statement.b % 16;
  }

  Random random_;
  int labels_ = 0;
  std::vector<Statement> statements_;
  std::string after_; ///< Where a break goes.
};

} // namespace

std::vector<Statement> Program::block(int depth, bool inLoop) {
  std::vector<Statement> statements;
  const auto count = 2 + random_() % 3;
  for (uint64_t i = 0; i < count; ++i) {
    Statement statement;
    statement.a = uint32_t(random_()) | 1;
    statement.b = uint32_t(random_());
    const auto choice = random_() % 10;
    if (depth < 4 && choice < 6) {
      statement.kind = choice < 2 ? Kind::If : choice < 4 ? Kind::IfElse : Kind::Loop;
      statement.inside = block(depth + 1, inLoop || statement.kind == Kind::Loop);
      if (statement.kind == Kind::IfElse)
        statement.otherwise = block(depth + 1, inLoop);
    } else {
      statement.kind = choice == 6 ? Kind::Predicated : choice == 7 && inLoop ? Kind::Break : Kind::Compute;
      if (choice == 8 && depth > 1) {
        statement.kind = Kind::End;
        statement.b = 1; // Rarely.
      }
    }
    statements.push_back(std::move(statement));
  }
  return statements;
}

void Program::write(std::string &text, const std::vector<Statement> &block, int loops) {
  for (const Statement &statement : block)
    writeOne(text, statement, loops);
}

void Program::writeOne(std::string &text, const Statement &statement, int loops) {
  const std::string end = label("end"), otherwise = label("else");
  switch (statement.kind) {
  case Kind::Compute:
    text += fmt::format("  mad.lo.s32 %x, %x, {:#x}, %y;\n  shf.l.wrap.b32 %y, %y, %x, {};\n", statement.a, statement.b % 32);
    return;
  case Kind::Predicated:
    text += condition(statement) + fmt::format("  @%c xor.b32 %x, %x, %y;\n  @!%c add.s32 %y, %y, {:#x};\n", statement.a);
    return;
  case Kind::If:
    text += condition(statement) + "  @!%c bra " + end + ";\n";
    write(text, statement.inside, loops);
    text += end + ":\n";
    return;
  case Kind::IfElse:
    text += condition(statement) + "  @%c bra " + otherwise + ";\n";
    write(text, statement.otherwise, loops);
    text += "  bra.uni " + end + ";\n" + otherwise + ":\n";
    write(text, statement.inside, loops);
    text += end + ":\n";
    return;
  case Kind::Loop:
    return writeLoop(text, statement, loops);
  case Kind::Break:
    text += condition(statement) + "  @%c bra " + after_ + ";\n";
    return;
  case Kind::End:
    text += condition(statement) + "  @%c st.global.v2.b32 [%p], {%x, %y};\n  @%c exit;\n";
    return;
  }
}

/// From one to four rounds.
void Program::writeLoop(std::string &text, const Statement &statement, int loops) {
  const std::string begin = label("loop"), outer = std::exchange(after_, label("after"));
  text += fmt::format("  shr.u32 %n{0}, %y, {1};\n  and.b32 %n{0}, %n{0}, 3;\n{2}:\n", loops, statement.b % 30, begin);
  write(text, statement.inside, loops + 1);
  text += fmt::format("  add.s32 %n{0}, %n{0}, -1;\n  setp.ge.s32 %k{0}, %n{0}, 0;\n  @%k{0} bra {1};\n{2}:\n", loops, begin,
                      after_);
  after_ = outer;
}

void Program::execute(State &state, const std::vector<Statement> &block) const {
  for (const Statement &statement : block) {
    if (state.broken || state.ended)
      return;
    switch (statement.kind) {
    case Kind::Compute: {
      state.x = state.x * statement.a + state.y;
      const uint32_t by = statement.b % 32;
      state.y = uint32_t((uint64_t(state.x) << 32 | state.y) << by >> 32);
      break;
    }
    case Kind::Predicated:
      if (holds(state, statement))
        state.x ^= state.y;
      else
        state.y += statement.a;
      break;
    case Kind::If:
      if (holds(state, statement))
        execute(state, statement.inside);
      break;
    case Kind::IfElse:
      execute(state, holds(state, statement) ? statement.inside : statement.otherwise);
      break;
    case Kind::Loop:
      for (uint32_t rounds = (state.y >> (statement.b % 30) & 3) + 1; rounds > 0 && !state.broken && !state.ended; --rounds)
        execute(state, statement.inside);
      state.broken = false;
      break;
    case Kind::Break:
      state.broken = holds(state, statement);
      break;
    case Kind::End:
      state.ended = holds(state, statement);
      break;
    }
  }
}

static void addProgram(Cases &cases, uint64_t seed) {
  const auto program = std::make_shared<Program>(seed);
  Case entry = makeCase("branch", fmt::format("program_{}", seed), {.threads = threads}, ctas, 0, program->text());
  entry.outputBytes = total * 8;
  entry.input = [](Random &random) { return randomBytes(random, total * 8); };
  entry.expect = [program](const Bytes &input, Expected &out) {
    for (size_t i = 0; i < total; ++i) {
      const State state = program->run(elementAt<uint32_t>(input, 2 * i), elementAt<uint32_t>(input, 2 * i + 1));
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
  const std::string prologue = "  .reg .b32 %v, %w, %z, %m;\n  .reg .b64 %p;\n  .reg .pred %c, %d;\n"
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
