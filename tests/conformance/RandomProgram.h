//===- RandomProgram.h - A program of nested branches, as PTX and as C++ -----------------------------===//
//
// Draws conditions, loops with a number of rounds for each lane, breaks and early ends from a seed, writes
// them as PTX, and computes what one thread gets. The hardware and the emulator must keep lanes apart and
// bring them together again; here a thread is alone. Called by the branch cases.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Case.h"

#include <string>
#include <vector>

namespace lathe::conformance {

class RandomProgram {
public:
  explicit RandomProgram(uint64_t seed) : random_(seed) { statements_ = block(0, false); }

  /// What a program does to a thread's two words, and what it keeps beside them.
  struct State {
    uint32_t x = 0, y = 0;
    uint64_t wide = 0;
    uint16_t narrow = 0;
    bool flags[4] = {};
    bool broken = false; ///< Leaves the innermost loop.
    bool ended = false;  ///< Leaves the program.
  };
  State run(uint32_t x, uint32_t y) const;
  /// The body of a kernel (Kernel.h): each thread of the grid has two words of the input and of the output.
  std::string text();

private:
  enum class Kind : uint8_t { Compute, Wide, Narrow, Flag, Predicated, If, IfElse, Loop, Break, End };
  /// With constants of its own and statements inside.
  struct Statement {
    Kind kind = Kind::Compute;
    uint32_t a = 0, b = 0;
    std::vector<Statement> inside, otherwise;
  };

  std::vector<Statement> block(int depth, bool inLoop);
  void write(std::string &text, const std::vector<Statement> &block, int loops);
  void writeOne(std::string &text, const Statement &statement, int loops);
  void writeLoop(std::string &text, const Statement &statement, int loops);
  static std::string straight(const Statement &statement);
  static void executeStraight(State &state, const Statement &statement);
  void execute(State &state, const std::vector<Statement> &block) const;

  std::string label(const char *name);
  static std::string condition(const Statement &statement);
  static bool holds(const State &state, const Statement &statement);

  Random random_;
  int labels_ = 0;
  std::vector<Statement> statements_;
  std::string after_; ///< Where a break goes.
};

} // namespace lathe::conformance
