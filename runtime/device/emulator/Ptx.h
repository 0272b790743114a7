//===- Ptx.h - A PTX module as text says it ----------------------------------------------------------===//
//
// What the parser makes of PTX: kernels with parameters, registers, and a flat list of instructions whose
// names and operands are split but not yet understood. Decoding gives them meaning (Decode.h). Text is kept
// as views into the source, which the module owns.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Error.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::runtime::emulator::ptx {

/// What a register holds for one thread. Registers narrower than 32 bits occupy 32.
enum class RegisterClass : uint8_t { Predicate, Bits16, Bits32, Bits64 };

struct Register {
  std::string_view name; ///< "%r"; a member of a range is this and its number.
  int number = -1;       ///< Of a range, -1 for a register with a name of its own.
  RegisterClass kind = RegisterClass::Bits32;
};

struct Operand {
  enum class Kind : uint8_t {
    Register, ///< %r1; with `negated`, !%p1.
    Special,  ///< %tid.x: `text`.
    Integer,  ///< `bits`, sign-extended.
    Float,    ///< `bits` of binary64.
    Single,   ///< 0f…: `bits` of binary32.
    Symbol,   ///< A variable, a parameter or a label: `text`, plus `offset` bytes.
    Sink,     ///< _
    Vector,   ///< {a, b, …}: `parts`.
    Address,  ///< [base+offset]: `parts` has the base, then the coordinates of a tensor, if any.
    Pair      ///< a|b: `parts`.
  };
  Kind kind = Kind::Sink;
  bool negated = false;
  uint32_t reg = 0;
  uint64_t bits = 0;
  int64_t offset = 0;
  std::string_view text;
  std::vector<Operand> parts;
};

struct Instruction {
  std::string_view opcode;             ///< "add.s32", whole.
  std::vector<std::string_view> words; ///< Cut at '.'.
  std::vector<Operand> operands;
  int guard = -1; ///< Register of @p; -1: none.
  bool guardNegated = false;
  int line = 0;             ///< Of the PTX text, from 1.
  int sourceLine = 0;       ///< Of the .loc in force; 0: none.
  uint32_t branchLabel = 0; ///< Index into Kernel::labels where the instruction names a label.
};

struct Parameter {
  std::string_view name;
  uint32_t offset = 0, bytes = 0, alignment = 1;
};

/// Shared memory declared with a size, inside or outside a kernel, or dynamic (`.extern`, bytes 0).
struct Variable {
  std::string_view name;
  uint32_t bytes = 0, alignment = 1;
  bool dynamic = false;
};

struct Kernel {
  std::string name;
  int line = 0;
  std::vector<Parameter> parameters;
  uint32_t parameterBytes = 0;
  std::vector<Register> registers;
  std::vector<Variable> shared;
  std::vector<Instruction> body;
  std::vector<uint32_t> labels; ///< Instruction that each label stands before; body.size() at the end.
  uint32_t requiredThreads = 0; ///< .reqntid, 0: not said.
  uint32_t maxThreads = 0;      ///< .maxntid, 0: not said.
  uint32_t maxRegisters = 0;    ///< .maxnreg, 0: not said.
  uint32_t minCtas = 0;
  uint32_t cluster = 1; ///< CTAs of .reqnctapercluster, along x.
};

struct Module {
  std::shared_ptr<const std::string> source; ///< What all views point into.
  std::vector<Variable> shared;
  std::vector<Kernel> kernels;
};

/// Parses what Lathe's compiler emits. Throws DeviceError with the line for anything else; never crashes,
/// whatever the text.
Module parse(std::string_view text);

/// "PTX, line 12": rule, got value. What all faults of loading look like.
[[noreturn]] void refuse(int line, std::string rule, std::string value, std::string wayOut = "");

/// "%r17".
std::string registerName(const Register &reg);

/// The text of a line of the source, trimmed and cut to `limit` characters; empty where there is none.
std::string lineText(std::string_view source, int line, size_t limit = 100);

} // namespace lathe::runtime::emulator::ptx
