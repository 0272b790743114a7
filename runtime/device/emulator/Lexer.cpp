#include "lathe/runtime/device/emulator/Lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>

using namespace lathe::runtime::emulator::ptx;

static bool isDigit(char c) { return c >= '0' && c <= '9'; }
static bool isLetter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%';
}
static bool isWordPart(char c) { return isLetter(c) || isDigit(c); }

void Lexer::skipBlanks() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '\n')
      ++line_;
    if (c == '\n' || c == ' ' || c == '\t' || c == '\r') {
      ++at_;
    } else if (startsAt(at_, "//")) {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (startsAt(at_, "/*")) {
      const size_t end = text_.find("*/", at_ + 2);
      if (end == std::string_view::npos)
        refuse(line_, "a comment must end", "/*");
      line_ += int(std::count(text_.begin() + at_, text_.begin() + end, '\n'));
      at_ = end + 2;
    } else {
      return;
    }
  }
}

Token Lexer::take(Token::Kind kind, size_t length) {
  Token token{kind, text_.substr(at_, length), 0, line_};
  at_ += length;
  return token;
}

/// A word with its dotted and double-colon parts, which begins `begin` characters after here.
Token Lexer::word(Token::Kind kind, size_t begin) {
  size_t end = at_ + begin;
  for (;;) {
    while (end < text_.size() && isWordPart(text_[end]))
      ++end;
    size_t separator = startsAt(end, "::") ? 2 : startsAt(end, ".") ? 1 : 0;
    if (separator == 0 || end + separator >= text_.size() || !isWordPart(text_[end + separator]))
      break;
    end += separator;
  }
  return take(kind, end - at_);
}

Token Lexer::number() {
  size_t end = at_;
  while (end < text_.size() && (isWordPart(text_[end]) || text_[end] == '.'))
    ++end;
  Token token = take(Token::Kind::Integer, end - at_);
  std::string_view digits = token.text;
  int base = 10;
  const bool hex = digits.size() > 2 && digits[0] == '0';
  const char form = hex ? digits[1] : ' ';
  if (form == 'f' || form == 'F' || form == 'd' || form == 'D') {
    token.kind = form == 'f' || form == 'F' ? Token::Kind::Single : Token::Kind::Double;
    base = 16;
  } else if (form == 'x' || form == 'X') {
    base = 16;
  } else if (digits.find('.') != std::string_view::npos) {
    double value = 0;
    auto [rest, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (fault != std::errc() || rest != digits.data() + digits.size())
      refuse(token.line, "a number must be well formed", std::string(digits));
    token.kind = Token::Kind::Double;
    token.bits = std::bit_cast<uint64_t>(value);
    return token;
  }
  if (base == 16)
    digits.remove_prefix(2);
  if (token.kind == Token::Kind::Integer && !digits.empty() && digits.back() == 'U')
    digits.remove_suffix(1);
  auto [rest, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), token.bits, base);
  if (fault != std::errc() || rest != digits.data() + digits.size())
    refuse(token.line, "a number must be well formed and fit 64 bits", std::string(token.text));
  return token;
}

Token Lexer::next() {
  skipBlanks();
  if (at_ >= text_.size() || text_[at_] == '\0')
    return {Token::Kind::End, {}, 0, line_};
  const char c = text_[at_];
  if (isDigit(c))
    return number();
  if (isLetter(c))
    return word(Token::Kind::Word, 0);
  if (c == '.' && at_ + 1 < text_.size() && isWordPart(text_[at_ + 1]))
    return word(Token::Kind::Directive, 1);
  if (c == '"') {
    const size_t end = text_.find('"', at_ + 1);
    if (end == std::string_view::npos || text_.substr(at_, end - at_).find('\n') != std::string_view::npos)
      refuse(line_, "a string must end on its line", "\"");
    return take(Token::Kind::String, end + 1 - at_);
  }
  if (std::string_view("{}[](),;:@!|+-<>=").find(c) == std::string_view::npos)
    refuse(line_, "a character must be one that PTX has",
           fmt::format("{:#04x}", int(static_cast<unsigned char>(c))));
  return take(Token::Kind::Punctuation, 1);
}
