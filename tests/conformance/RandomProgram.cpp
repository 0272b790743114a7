#include "RandomProgram.h"

#include <fmt/format.h>

#include <utility>

using namespace lathe;
using namespace lathe::conformance;

std::string RandomProgram::label(const char *name) { return fmt::format("L{}_{}", ++labels_, name); }

/// Sets %c to (x · a >> 28) < b, which is what conditions are made of.
std::string RandomProgram::condition(const Statement &statement) {
  return fmt::format("  mul.lo.s32 %z, %x, {:#x};\n  shr.u32 %z, %z, 28;\n  setp.lt.u32 %c, %z, {};\n",
                     statement.a, statement.b % 16);
}
bool RandomProgram::holds(const State &state, const Statement &statement) {
  return (state.x * statement.a >> 28) < statement.b % 16;
}

std::vector<RandomProgram::Statement> RandomProgram::block(int depth, bool inLoop) {
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
      static constexpr Kind kinds[] = {Kind::Compute, Kind::Wide, Kind::Narrow,
                                       Kind::Flag,    Kind::Flag, Kind::Predicated};
      statement.kind = choice == 7 && inLoop ? Kind::Break : kinds[random_() % std::size(kinds)];
      if (choice == 8 && depth > 1) {
        statement.kind = Kind::End;
        statement.b = 1; // Rarely.
      }
    }
    statements.push_back(std::move(statement));
  }
  return statements;
}

/// Statements without jumps. Flags are set in one place and used in others, and all values live for long.
std::string RandomProgram::straight(const Statement &statement) {
  const uint32_t a = statement.a, by = statement.b % 32, flag = statement.b >> 8 & 3;
  switch (statement.kind) {
  case Kind::Wide:
    return fmt::format("  mad.wide.u32 %w, %x, {:#x}, %w;\n  shr.u64 %v, %w, {};\n  cvt.u32.u64 %z, %v;\n  "
                       "xor.b32 %y, %y, %z;\n",
                       a, by);
  case Kind::Narrow:
    return fmt::format(
        "  cvt.u16.u32 %i, %x;\n  mad.lo.s16 %h, %h, {}, %i;\n  cvt.u32.u16 %z, %h;\n  add.s32 %x, %x, %z;\n",
        a & 0x7fff);
  case Kind::Flag:
    return condition(statement) +
           fmt::format("  mov.pred %q{0}, %c;\n  xor.pred %q{1}, %q{1}, %q{0};\n", flag, (flag + 1) % 4);
  case Kind::Predicated:
    return fmt::format(
        "  @%q{0} xor.b32 %x, %x, %y;\n  @!%q{1} add.s32 %y, %y, {2:#x};\n  selp.b32 %z, %x, {2:#x}, %q{3};\n"
        "  add.s32 %x, %x, %z;\n",
        flag, (flag + 1) % 4, a, (flag + 2) % 4);
  default:
    return fmt::format("  mad.lo.s32 %x, %x, {:#x}, %y;\n  shf.l.wrap.b32 %y, %y, %x, {};\n", a, by);
  }
}

void RandomProgram::executeStraight(State &state, const Statement &statement) {
  const uint32_t a = statement.a, by = statement.b % 32, flag = statement.b >> 8 & 3;
  switch (statement.kind) {
  case Kind::Wide:
    state.wide += uint64_t(state.x) * a;
    state.y ^= uint32_t(state.wide >> by);
    return;
  case Kind::Narrow:
    state.narrow = uint16_t(state.narrow * (a & 0x7fff) + state.x);
    state.x += state.narrow;
    return;
  case Kind::Flag:
    state.flags[flag] = holds(state, statement);
    state.flags[(flag + 1) % 4] ^= state.flags[flag];
    return;
  case Kind::Predicated:
    if (state.flags[flag])
      state.x ^= state.y;
    if (!state.flags[(flag + 1) % 4])
      state.y += a;
    state.x += state.flags[(flag + 2) % 4] ? state.x : a;
    return;
  default:
    state.x = state.x * a + state.y;
    state.y = uint32_t((uint64_t(state.x) << 32 | state.y) << by >> 32);
  }
}

void RandomProgram::write(std::string &text, const std::vector<Statement> &block, int loops) {
  for (const Statement &statement : block)
    writeOne(text, statement, loops);
}

void RandomProgram::writeOne(std::string &text, const Statement &statement, int loops) {
  const std::string end = label("end"), otherwise = label("else");
  switch (statement.kind) {
  case Kind::Compute:
  case Kind::Wide:
  case Kind::Narrow:
  case Kind::Flag:
  case Kind::Predicated:
    text += straight(statement);
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
void RandomProgram::writeLoop(std::string &text, const Statement &statement, int loops) {
  const std::string begin = label("loop"), outer = std::exchange(after_, label("after"));
  text += fmt::format("  shr.u32 %n{0}, %y, {1};\n  and.b32 %n{0}, %n{0}, 3;\n{2}:\n", loops,
                      statement.b % 30, begin);
  write(text, statement.inside, loops + 1);
  text +=
      fmt::format("  add.s32 %n{0}, %n{0}, -1;\n  setp.ge.s32 %k{0}, %n{0}, 0;\n  @%k{0} bra {1};\n{2}:\n",
                  loops, begin, after_);
  after_ = outer;
}

void RandomProgram::execute(State &state, const std::vector<Statement> &block) const {
  for (const Statement &statement : block) {
    if (state.broken || state.ended)
      return;
    switch (statement.kind) {
    case Kind::Compute:
    case Kind::Wide:
    case Kind::Narrow:
    case Kind::Flag:
    case Kind::Predicated:
      executeStraight(state, statement);
      break;
    case Kind::If:
      if (holds(state, statement))
        execute(state, statement.inside);
      break;
    case Kind::IfElse:
      execute(state, holds(state, statement) ? statement.inside : statement.otherwise);
      break;
    case Kind::Loop:
      for (uint32_t rounds = (state.y >> (statement.b % 30) & 3) + 1;
           rounds > 0 && !state.broken && !state.ended; --rounds)
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

//===- The whole -------------------------------------------------------------------------------------===//

std::string RandomProgram::text() {
  std::string text =
      "  .reg .b32 %x, %y, %z, %n<16>;\n  .reg .b64 %p, %w, %v;\n  .reg .b16 %h, %i;\n"
      "  .reg .pred %c, %k<16>, %q<4>;\n  mov.b64 %w, 0;\n  mov.b16 %h, 0;\n"
      "  setp.ne.s32 %q0, 0, 0;\n  mov.pred %q1, %q0;\n  mov.pred %q2, %q0;\n  mov.pred %q3, %q0;\n"
      "  mad.wide.u32 %p, %g, 8, %in;\n  ld.global.v2.b32 {%x, %y}, [%p];\n"
      "  mad.wide.u32 %p, %g, 8, %out;\n";
  write(text, statements_, 0);
  return text + "  st.global.v2.b32 [%p], {%x, %y};\n";
}

RandomProgram::State RandomProgram::run(uint32_t x, uint32_t y) const {
  State state;
  state.x = x;
  state.y = y;
  execute(state, statements_);
  return state;
}
