//===- Parser.cpp - PTX tokens to a module -----------------------------------------------------------===//
//
// Recursive descent over what LLVM's NVPTX backend and Lathe's inline assembly write. Blocks in braces have
// registers and labels of their own, as inline assembly needs. Everything has a bound, so that no text makes
// it run long or deep.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/device/emulator/Lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_map>
#include <utility>

using namespace lathe;
using namespace lathe::runtime::emulator;
using namespace lathe::runtime::emulator::ptx;

static constexpr uint32_t maxRegisters = 1 << 18;
static constexpr size_t maxDepth = 64;
static constexpr size_t maxParts = 256;
static constexpr uint64_t maxVariableBytes = 1 << 20;

void ptx::refuse(int line, std::string rule, std::string value, std::string wayOut) {
  throw DeviceError(
      {fmt::format("PTX, line {}", line), std::move(rule), std::move(value), std::move(wayOut)});
}

std::string ptx::registerName(const Register &reg) {
  return reg.number < 0 ? std::string(reg.name) : fmt::format("{}{}", reg.name, reg.number);
}

std::string ptx::lineText(std::string_view source, int line, size_t limit) {
  size_t begin = 0;
  for (int i = 1; i < line && begin != std::string_view::npos; ++i)
    begin = source.find('\n', begin) == std::string_view::npos ? std::string_view::npos
                                                               : source.find('\n', begin) + 1;
  if (line < 1 || begin == std::string_view::npos || begin >= source.size())
    return {};
  std::string text(source.substr(begin, source.find('\n', begin) - begin));
  for (char &c : text)
    c = c == '\t' ? ' ' : c;
  text.erase(0, text.find_first_not_of(' '));
  return text.size() > limit ? text.substr(0, limit) + "…" : text;
}

namespace {

/// A register name or the prefix of a range of them.
struct Names {
  uint32_t first = 0;
  uint32_t count = 0; ///< 0: a single name.
};

/// Braces: what is declared inside, and the labels that are named but not yet seen.
struct Scope {
  std::unordered_map<std::string_view, Names> registers;
  std::unordered_map<std::string_view, uint32_t> labels;
  std::vector<std::pair<size_t, Token>> jumps; ///< Instruction, label.
};

class Parser {
public:
  explicit Parser(std::string_view text) : lexer_(text) { advance(); }
  void parseInto(Module &module);

private:
  void advance() { token_ = lexer_.next(); }
  bool accept(char c) {
    if (!token_.is(c))
      return false;
    advance();
    return true;
  }
  bool accept(std::string_view word) {
    if (!token_.is(word))
      return false;
    advance();
    return true;
  }
  void expect(char c) {
    if (!accept(c))
      unexpected(fmt::format("'{}'", c));
  }
  [[noreturn]] void unexpected(const std::string &wanted) const {
    refuse(token_.line, "there must be " + wanted,
           token_.kind == Token::Kind::End ? "the end" : fmt::format("'{}'", token_.text),
           "the emulator runs PTX that Lathe's compiler wrote");
  }
  std::string_view word(const char *what);
  uint64_t integer(const char *what, uint64_t limit);

  void parseHeader();
  Variable parseVariable(bool external);
  void parseEntry(Module &module);
  void parseParameters(Kernel &kernel);
  void parseLimits(Kernel &kernel);
  uint32_t extents(const char *what);
  void parseBody(Kernel &kernel);
  void closeScope(Kernel &kernel);
  void parseRegisters(Kernel &kernel);
  void parseLocation();
  void parseStatement(Kernel &kernel);
  void parseInstruction(Kernel &kernel);

  Operand parseOperand();
  Operand parseSimple();
  Operand parseVector();
  Operand parseAddress();
  Operand parseNumber();
  int64_t parseOffset();
  std::optional<uint32_t> findRegister(std::string_view name) const;

  Lexer lexer_;
  Token token_;
  int sourceLine_ = 0;
  std::vector<Scope> scopes_;
};

} // namespace

std::string_view Parser::word(const char *what) {
  if (token_.kind != Token::Kind::Word)
    unexpected(what);
  return std::exchange(token_, lexer_.next()).text;
}

uint64_t Parser::integer(const char *what, uint64_t limit) {
  if (token_.kind != Token::Kind::Integer || token_.bits > limit)
    unexpected(fmt::format("{} (at most {})", what, limit));
  return std::exchange(token_, lexer_.next()).bits;
}

//===- Module ----------------------------------------------------------------------------------------===//

void Parser::parseHeader() {
  if (!accept(".version"))
    unexpected("the .version directive");
  if (token_.kind != Token::Kind::Double)
    unexpected("a version number");
  advance();
  if (!accept(".target"))
    unexpected("the .target directive");
  const int line = token_.line;
  if (std::string_view target = word("a target"); target != "sm_90a" && target != "sm_90")
    refuse(line, "the target must be sm_90a", std::string(target), "compile for a Hopper GPU");
  while (accept(','))
    word("a target option");
  if (accept(".address_size")) {
    const int lineOfSize = token_.line;
    if (integer("an address size", 64) != 64)
      refuse(lineOfSize, "addresses must have 64 bits", "fewer");
  }
}

void Parser::parseInto(Module &module) {
  parseHeader();
  while (token_.kind != Token::Kind::End) {
    bool external = false;
    while (token_.is(".visible") || token_.is(".weak") || token_.is(".extern")) {
      external = external || token_.is(".extern");
      advance();
    }
    if (token_.is(".file")) {
      advance();
      integer("a file number", UINT32_MAX);
      if (token_.kind != Token::Kind::String)
        unexpected("a file name");
      advance();
    } else if (token_.is(".shared")) {
      module.shared.push_back(parseVariable(external));
    } else if (token_.is(".entry")) {
      parseEntry(module);
    } else {
      unexpected("a kernel or a shared variable");
    }
  }
  if (module.kernels.empty())
    refuse(token_.line, "there must be a kernel", "none");
}

static uint32_t typeBytes(std::string_view type) {
  if (type == ".pred")
    return 1;
  uint32_t bits = 0;
  if (type.size() < 3 || std::string_view("bufs").find(type[1]) == std::string_view::npos)
    return 0;
  auto [rest, fault] = std::from_chars(type.data() + 2, type.data() + type.size(), bits);
  const bool whole = fault == std::errc() && rest == type.data() + type.size();
  return whole && (bits == 8 || bits == 16 || bits == 32 || bits == 64 || bits == 128) ? bits / 8 : 0;
}

Variable Parser::parseVariable(bool external) {
  advance(); // .shared
  Variable variable;
  if (accept(".align"))
    variable.alignment = uint32_t(integer("an alignment", 1024));
  const uint32_t element = typeBytes(token_.text);
  if (token_.kind != Token::Kind::Directive || element == 0)
    unexpected("an element type");
  advance();
  variable.name = word("a variable's name");
  uint64_t count = 1;
  if (accept('[')) {
    variable.dynamic = token_.is(']');
    count = variable.dynamic ? 0 : integer("a number of elements", maxVariableBytes);
    expect(']');
  }
  if (variable.dynamic && !external)
    unexpected("a size, or .extern before the variable");
  variable.bytes = uint32_t(std::min<uint64_t>(count * element, maxVariableBytes));
  if (variable.alignment == 0 || (variable.alignment & (variable.alignment - 1)))
    refuse(token_.line, "an alignment must be a power of two", fmt::format("{}", variable.alignment));
  expect(';');
  return variable;
}

//===- Kernels ---------------------------------------------------------------------------------------===//

void Parser::parseEntry(Module &module) {
  advance(); // .entry
  Kernel kernel;
  kernel.line = token_.line;
  kernel.name = std::string(word("a kernel's name"));
  if (accept('('))
    parseParameters(kernel);
  parseLimits(kernel);
  parseBody(kernel);
  module.kernels.push_back(std::move(kernel));
}

void Parser::parseParameters(Kernel &kernel) {
  while (!accept(')')) {
    if (!kernel.parameters.empty())
      expect(',');
    if (!accept(".param"))
      unexpected("a .param");
    Parameter parameter;
    while (token_.kind == Token::Kind::Directive) {
      if (accept(".align")) {
        parameter.alignment = uint32_t(integer("an alignment", 1024));
      } else if (accept(".ptr")) { // .ptr .global .align 1: about what it points to.
        if (token_.is(".global") || token_.is(".shared") || token_.is(".const") || token_.is(".local"))
          advance();
        if (accept(".align"))
          integer("an alignment", 1 << 20);
      } else if (uint32_t bytes = typeBytes(token_.text)) {
        parameter.bytes = bytes;
        advance();
      } else {
        unexpected("a parameter's type");
      }
    }
    parameter.name = word("a parameter's name");
    if (parameter.bytes == 0)
      refuse(token_.line, "a parameter must have a type", std::string(parameter.name));
    const uint32_t natural = std::min(parameter.bytes, 8u);
    if (accept('[')) {
      parameter.bytes *= uint32_t(integer("a number of elements", 4096));
      expect(']');
    }
    parameter.alignment = std::max({parameter.alignment, natural, 1u});
    if (parameter.alignment & (parameter.alignment - 1))
      refuse(token_.line, "an alignment must be a power of two", fmt::format("{}", parameter.alignment));
    parameter.offset = (kernel.parameterBytes + parameter.alignment - 1) & ~(parameter.alignment - 1);
    kernel.parameterBytes = parameter.offset + parameter.bytes;
    if (kernel.parameterBytes > 32764)
      refuse(token_.line, "parameters must fit 32,764 bytes", fmt::format("{}", kernel.parameterBytes));
    kernel.parameters.push_back(parameter);
  }
}

/// "384" or "384, 1, 1": their product.
uint32_t Parser::extents(const char *what) {
  uint64_t product = integer(what, 65536);
  for (int i = 0; i < 2 && accept(','); ++i)
    product *= integer(what, 65536);
  if (product == 0 || product > 65536)
    refuse(token_.line, fmt::format("{} must be from 1 to 65536", what), fmt::format("{}", product));
  return uint32_t(product);
}

void Parser::parseLimits(Kernel &kernel) {
  for (;;) {
    if (accept(".reqntid"))
      kernel.requiredThreads = extents("a number of threads");
    else if (accept(".maxntid"))
      kernel.maxThreads = extents("a number of threads");
    else if (accept(".minnctapersm"))
      kernel.minCtas = uint32_t(integer("a number of CTAs", 64));
    else if (accept(".maxnreg"))
      kernel.maxRegisters = uint32_t(integer("a number of registers", 256));
    else if (accept(".reqnctapercluster"))
      kernel.cluster = extents("a cluster's size");
    else if (!accept(".explicitcluster"))
      return;
  }
}

//===- Bodies ----------------------------------------------------------------------------------------===//

void Parser::parseBody(Kernel &kernel) {
  scopes_.clear();
  sourceLine_ = 0;
  expect('{');
  scopes_.emplace_back();
  while (!scopes_.empty()) {
    if (token_.kind == Token::Kind::End)
      unexpected("'}'");
    if (accept('{')) {
      if (scopes_.size() >= maxDepth)
        refuse(token_.line, "blocks must not be nested deeper than 64", "more");
      scopes_.emplace_back();
    } else if (accept('}')) {
      closeScope(kernel);
    } else {
      parseStatement(kernel);
    }
  }
}

/// Labels that the scope does not have are the outer one's.
void Parser::closeScope(Kernel &kernel) {
  Scope scope = std::move(scopes_.back());
  scopes_.pop_back();
  for (auto &[at, label] : scope.jumps) {
    if (auto found = scope.labels.find(label.text); found != scope.labels.end())
      kernel.body[at].branchLabel = found->second;
    else if (scopes_.empty())
      refuse(label.line, "a label must exist", std::string(label.text));
    else
      scopes_.back().jumps.emplace_back(at, label);
  }
}

void Parser::parseStatement(Kernel &kernel) {
  if (token_.is(".reg"))
    return parseRegisters(kernel);
  if (token_.is(".shared")) {
    kernel.shared.push_back(parseVariable(false));
    return;
  }
  if (token_.is(".loc"))
    return parseLocation();
  if (accept(".pragma")) {
    if (token_.kind != Token::Kind::String)
      unexpected("a string");
    advance();
    return expect(';');
  }
  if (token_.kind != Token::Kind::Word && !token_.is('@'))
    unexpected("an instruction");
  parseInstruction(kernel);
}

static RegisterClass classOf(const Token &type) {
  if (type.is(".pred"))
    return RegisterClass::Predicate;
  switch (type.kind == Token::Kind::Directive ? typeBytes(type.text) : 0) {
  case 1:
  case 2:
    return RegisterClass::Bits16;
  case 4:
    return RegisterClass::Bits32;
  case 8:
    return RegisterClass::Bits64;
  default:
    refuse(type.line, "a register must have a type of at most 64 bits", std::string(type.text));
  }
}

void Parser::parseRegisters(Kernel &kernel) {
  advance(); // .reg
  const RegisterClass kind = classOf(token_);
  advance();
  do {
    const std::string_view name = word("a register's name");
    Names names{uint32_t(kernel.registers.size()), 0};
    if (accept('<')) {
      names.count = uint32_t(integer("a number of registers", maxRegisters));
      expect('>');
      for (uint32_t i = 0; i < names.count && kernel.registers.size() <= maxRegisters; ++i)
        kernel.registers.push_back({name, int(i), kind});
    } else {
      kernel.registers.push_back({name, -1, kind});
    }
    if (kernel.registers.size() > maxRegisters)
      refuse(token_.line, fmt::format("a kernel must have at most {} registers", maxRegisters), "more");
    scopes_.back().registers[name] = names;
  } while (accept(','));
  expect(';');
}

/// .loc file line column [, function_name …, inlined_at …]: the rest of its line.
void Parser::parseLocation() {
  const int line = token_.line;
  advance();
  integer("a file number", UINT32_MAX);
  sourceLine_ = int(integer("a line number", INT32_MAX));
  while (token_.line == line && token_.kind != Token::Kind::End)
    advance();
}

static std::vector<std::string_view> splitWords(std::string_view opcode) {
  std::vector<std::string_view> words;
  for (size_t begin = 0; begin <= opcode.size();) {
    const size_t end = std::min(opcode.find('.', begin), opcode.size());
    words.push_back(opcode.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

void Parser::parseInstruction(Kernel &kernel) {
  Instruction instruction;
  if (accept('@')) {
    instruction.guardNegated = accept('!');
    const Token name = token_;
    auto guard = findRegister(word("a predicate"));
    if (!guard || kernel.registers[*guard].kind != RegisterClass::Predicate)
      refuse(name.line, "a guard must be a predicate register", std::string(name.text));
    instruction.guard = int(*guard);
  }
  const Token opcode = token_;
  word("an instruction");
  if (instruction.guard < 0 && accept(':')) {
    scopes_.back().labels[opcode.text] = uint32_t(kernel.labels.size());
    kernel.labels.push_back(uint32_t(kernel.body.size()));
    return;
  }
  instruction.opcode = opcode.text;
  instruction.words = splitWords(opcode.text);
  instruction.line = opcode.line;
  instruction.sourceLine = sourceLine_;
  const bool jumps = instruction.words.front() == "bra";
  while (!accept(';')) {
    if (!instruction.operands.empty())
      expect(',');
    if (jumps && token_.kind == Token::Kind::Word)
      scopes_.back().jumps.emplace_back(kernel.body.size(), token_);
    instruction.operands.push_back(parseOperand());
    if (instruction.operands.size() > maxParts)
      refuse(opcode.line, "an instruction must have at most 256 operands", "more");
  }
  kernel.body.push_back(std::move(instruction));
}

//===- Operands --------------------------------------------------------------------------------------===//

std::optional<uint32_t> Parser::findRegister(std::string_view name) const {
  size_t digits = name.size();
  while (digits > 1 && name[digits - 1] >= '0' && name[digits - 1] <= '9')
    --digits;
  uint32_t number = 0;
  const bool numbered = digits < name.size() && name.size() - digits < 9;
  if (numbered)
    std::from_chars(name.data() + digits, name.data() + name.size(), number);
  for (size_t depth = scopes_.size(); depth-- > 0;) {
    const auto &registers = scopes_[depth].registers;
    if (auto found = registers.find(name); found != registers.end() && found->second.count == 0)
      return found->second.first;
    if (!numbered)
      continue;
    if (auto found = registers.find(name.substr(0, digits));
        found != registers.end() && number < found->second.count)
      return found->second.first + number;
  }
  return std::nullopt;
}

Operand Parser::parseOperand() {
  Operand first = token_.is('{') ? parseVector() : token_.is('[') ? parseAddress() : parseSimple();
  if (!accept('|'))
    return first;
  Operand pair;
  pair.kind = Operand::Kind::Pair;
  pair.parts.push_back(std::move(first));
  pair.parts.push_back(parseSimple());
  return pair;
}

Operand Parser::parseNumber() {
  const bool negative = accept('-');
  Operand operand;
  operand.bits = token_.bits;
  switch (token_.kind) {
  case Token::Kind::Integer:
    operand.kind = Operand::Kind::Integer;
    operand.bits = negative ? 0 - operand.bits : operand.bits;
    break;
  case Token::Kind::Single:
    operand.kind = Operand::Kind::Single;
    operand.bits ^= negative ? uint64_t(1) << 31 : 0;
    break;
  case Token::Kind::Double:
    operand.kind = Operand::Kind::Float;
    operand.bits ^= negative ? uint64_t(1) << 63 : 0;
    break;
  default:
    unexpected("a register, a number or a name");
  }
  advance();
  return operand;
}

/// "+ 16" or "- 16" or nothing.
int64_t Parser::parseOffset() {
  const bool minus = token_.is('-');
  if (!minus && !accept('+'))
    return 0;
  const bool negative = accept('-');
  const auto offset = int64_t(integer("an offset", INT32_MAX));
  return negative ? -offset : offset;
}

Operand Parser::parseSimple() {
  Operand operand;
  operand.negated = accept('!');
  if (token_.kind != Token::Kind::Word) {
    if (operand.negated)
      unexpected("a predicate");
    return parseNumber();
  }
  operand.text = token_.text;
  if (auto reg = findRegister(token_.text)) {
    operand.kind = Operand::Kind::Register;
    operand.reg = *reg;
  } else if (operand.text == "_") {
    operand.kind = Operand::Kind::Sink;
  } else if (operand.text.front() == '%') {
    operand.kind = Operand::Kind::Special;
  } else {
    operand.kind = Operand::Kind::Symbol;
  }
  advance();
  if (operand.kind == Operand::Kind::Symbol)
    operand.offset = parseOffset();
  return operand;
}

Operand Parser::parseVector() {
  expect('{');
  Operand vector;
  vector.kind = Operand::Kind::Vector;
  do {
    vector.parts.push_back(parseSimple());
    if (vector.parts.size() > maxParts)
      refuse(token_.line, "a vector must have at most 256 parts", "more");
  } while (accept(','));
  expect('}');
  return vector;
}

Operand Parser::parseAddress() {
  expect('[');
  Operand address;
  address.kind = Operand::Kind::Address;
  address.parts.push_back(parseSimple());
  address.offset = address.parts[0].kind == Operand::Kind::Symbol ? 0 : parseOffset();
  if (accept(',')) {
    Operand coordinates = parseVector();
    for (Operand &part : coordinates.parts)
      address.parts.push_back(std::move(part));
  }
  expect(']');
  return address;
}

Module ptx::parse(std::string_view text) {
  Module module;
  // A zero byte ends the text, as it does for the driver.
  module.source = std::make_shared<const std::string>(text.substr(0, text.find('\0')));
  Parser(*module.source).parseInto(module);
  return module;
}
