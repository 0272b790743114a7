//===- Lexer.h - PTX text to tokens ------------------------------------------------------------------===//
//
// Cuts PTX into words, numbers and punctuation with their lines, and skips comments. A dotted instruction
// name is one word. Called by the parser alone.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Ptx.h"

namespace lathe::runtime::emulator::ptx {

struct Token {
  enum class Kind : uint8_t {
    Word,      ///< add.s32, %r1, $L__BB0_1
    Directive, ///< .reg
    Integer,   ///< `bits`
    Single,    ///< 0f3F800000: `bits` of binary32
    Double,    ///< 0d… or 1.5: `bits` of binary64
    String,
    Punctuation, ///< One character.
    End
  };
  Kind kind = Kind::End;
  std::string_view text;
  uint64_t bits = 0;
  int line = 0;

  bool is(char c) const { return kind == Kind::Punctuation && text.front() == c; }
  bool is(std::string_view word) const {
    return (kind == Kind::Word || kind == Kind::Directive) && text == word;
  }
};

class Lexer {
public:
  explicit Lexer(std::string_view text) : text_(text) {}
  /// The next token. Throws DeviceError for a character or a number that PTX does not have.
  Token next();

private:
  void skipBlanks();
  bool startsAt(size_t at, std::string_view what) const { return text_.substr(at).starts_with(what); }
  Token take(Token::Kind kind, size_t length);
  Token word(Token::Kind kind, size_t begin);
  Token number();

  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
};

} // namespace lathe::runtime::emulator::ptx
