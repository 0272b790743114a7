//===- Decoder.h - Reading one PTX instruction -------------------------------------------------------===//
//
// What each family of instructions uses to turn names and operands into an Instr: modifiers are taken one by
// one, and whatever is left over is refused, so nothing is ever ignored in silence. One function a family
// (instructions/*.cpp) says whether the instruction is its own.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Program.h"

#include <initializer_list>
#include <map>
#include <optional>

namespace lathe::runtime::emulator {

enum class Type : uint8_t {
  U8,
  S8,
  B8,
  U16,
  S16,
  B16,
  F16,
  BF16,
  U32,
  S32,
  B32,
  F32,
  F16x2,
  BF16x2,
  U64,
  S64,
  B64,
  F64,
  Pred
};
int bitsOf(Type type);
bool isSigned(Type type);
bool isFloat(Type type);

enum class Space : uint8_t { Generic, Global, Shared, SharedCluster, Parameter };

/// State of decoding a kernel that its instructions share: constants, labels, names.
struct DecodeContext {
  const ptx::Module &module;
  const ptx::Kernel &kernel;
  Program &program;
  std::map<std::pair<uint64_t, int>, uint32_t> constants; ///< (bits, row bytes) to row.
  std::map<std::string_view, uint32_t> sharedOffsets;     ///< Of variables, in a CTA's window.
};

class Decoder {
public:
  Decoder(DecodeContext &context, const ptx::Instruction &in) : context_(context), in_(in) {}

  //===- The name -------------------------------------------------------------------------------------===//

  std::string_view root() const { return in_.words.front(); }
  /// The rest of the name, before anything was taken.
  bool startsWith(std::string_view text) const { return in_.opcode.starts_with(text); }
  /// Takes the next word if it is this one.
  bool take(std::string_view word);
  /// Takes the next word if it is one of these; its number, or -1.
  int takeOneOf(std::initializer_list<std::string_view> words);
  /// Takes the next words that are among these, in any order (cache hints, scopes).
  void takeAny(std::initializer_list<std::string_view> words);
  Type takeType();
  std::optional<Type> tryType();
  /// Whether a word of the name, taken or not, is this one.
  bool mentions(std::string_view word) const;
  bool mentionsFloat() const;
  bool atEnd() const { return word_ == in_.words.size(); }

  //===- Operands -------------------------------------------------------------------------------------===//

  size_t count() const { return in_.operands.size(); }
  const ptx::Operand &operand(size_t i) const;
  void requireCount(size_t least, size_t most);
  void requireCount(size_t exact) { requireCount(exact, exact); }
  /// Adds a result or a source of a type: a register of its width, a constant, or for results `_`.
  void result(const ptx::Operand &operand, Type type);
  void source(const ptx::Operand &operand, Type type);
  /// Operands 0 and 1 …: the usual form, results first.
  void results(std::initializer_list<Type> types);
  void sources(size_t first, std::initializer_list<Type> types);
  /// Adds a source of 32 or 64 bits, whatever the register has (addresses).
  bool sourceWide(const ptx::Operand &operand);
  void constantSource(uint64_t bits, Type type);
  /// Takes .L2::cache_hint; policy() then adds the last operand, the policy, as the last source.
  bool takeHint() { return out.hinted = take("L2::cache_hint"); }
  void policy();
  /// An address [base + offset]: adds its base as the next source and sets out.offset. A symbol of shared
  /// memory gives no source and true.
  bool address(const ptx::Operand &operand);
  /// Offset of a shared variable in a CTA's window, or of a parameter; nothing for another name.
  std::optional<uint32_t> sharedOffset(std::string_view name) const;
  std::optional<uint32_t> parameterOffset(std::string_view name) const;
  /// Bits of an immediate as a type takes them.
  uint64_t immediate(const ptx::Operand &operand, Type type) const;
  int64_t integer(const ptx::Operand &operand, int64_t least, int64_t most) const;

  //===- The end --------------------------------------------------------------------------------------===//

  Instr out;
  const ptx::Instruction &in() const { return in_; }
  const ptx::Kernel &kernel() const { return context_.kernel; }
  Program &program() { return context_.program; }
  /// Checks that every word was taken, then sets handler and kind. True, so that a family can return it.
  bool done(Handler handler, Mix mix);
  /// The finished instruction, its operands in one array.
  Instr finish(std::vector<std::unique_ptr<Value[]>> &store);

  [[noreturn]] void refuse(std::string rule, std::string value) const;
  [[noreturn]] void refuseModifiers() const;

private:
  Value registerValue(const ptx::Operand &operand, Type type) const;
  Value constantValue(uint64_t bits, Type type);

  DecodeContext &context_;
  const ptx::Instruction &in_;
  size_t word_ = 1;
  std::vector<Value> results_, sources_;
};

// The families. False: not mine.
bool decodeInteger(Decoder &d);
bool decodeFloat(Decoder &d);
bool decodePacked(Decoder &d);
bool decodeConvert(Decoder &d);
bool decodeMove(Decoder &d);
bool decodeCompare(Decoder &d);
bool decodeControl(Decoder &d);
bool decodeShuffle(Decoder &d);
bool decodeMemory(Decoder &d);
bool decodeAtomic(Decoder &d);
bool decodeSync(Decoder &d);
bool decodeMbarrier(Decoder &d);
bool decodeBulk(Decoder &d);
bool decodeCopy(Decoder &d);
bool decodeCache(Decoder &d);
bool decodeMatrix(Decoder &d);
bool decodeMma(Decoder &d);
bool decodeWgmma(Decoder &d);

} // namespace lathe::runtime::emulator
