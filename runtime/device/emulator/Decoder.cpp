#include "lathe/runtime/device/emulator/Decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

using namespace lathe::runtime::emulator;
using ptx::RegisterClass;
using Kind = ptx::Operand::Kind;

//===- Types -----------------------------------------------------------------------------------------===//

namespace {
struct TypeName {
  std::string_view name;
  Type type;
  int bits;
};
} // namespace

static constexpr TypeName typeNames[] = {
    {"u8", Type::U8, 8},        {"s8", Type::S8, 8},          {"b8", Type::B8, 8},
    {"u16", Type::U16, 16},     {"s16", Type::S16, 16},       {"b16", Type::B16, 16},
    {"f16", Type::F16, 16},     {"bf16", Type::BF16, 16},     {"u32", Type::U32, 32},
    {"s32", Type::S32, 32},     {"b32", Type::B32, 32},       {"f32", Type::F32, 32},
    {"f16x2", Type::F16x2, 32}, {"bf16x2", Type::BF16x2, 32}, {"u64", Type::U64, 64},
    {"s64", Type::S64, 64},     {"b64", Type::B64, 64},       {"f64", Type::F64, 64},
    {"pred", Type::Pred, 1}};

int lathe::runtime::emulator::bitsOf(Type type) {
  for (const TypeName &entry : typeNames)
    if (entry.type == type)
      return entry.bits;
  return 0;
}

bool lathe::runtime::emulator::isSigned(Type type) {
  return type == Type::S8 || type == Type::S16 || type == Type::S32 || type == Type::S64;
}

bool lathe::runtime::emulator::isFloat(Type type) {
  return type == Type::F16 || type == Type::BF16 || type == Type::F32 || type == Type::F64 ||
         type == Type::F16x2 || type == Type::BF16x2;
}

static RegisterClass classOf(Type type) {
  const int bits = bitsOf(type);
  return type == Type::Pred ? RegisterClass::Predicate
         : bits <= 16       ? RegisterClass::Bits16
         : bits == 32       ? RegisterClass::Bits32
                            : RegisterClass::Bits64;
}

//===- The name --------------------------------------------------------------------------------------===//

bool Decoder::take(std::string_view word) {
  if (word_ >= in_.words.size() || in_.words[word_] != word)
    return false;
  ++word_;
  return true;
}

int Decoder::takeOneOf(std::initializer_list<std::string_view> words) {
  int number = 0;
  for (std::string_view word : words) {
    if (take(word))
      return number;
    ++number;
  }
  return -1;
}

void Decoder::takeAny(std::initializer_list<std::string_view> words) {
  while (takeOneOf(words) >= 0) {
  }
}

bool Decoder::mentions(std::string_view word) const {
  return std::find(in_.words.begin(), in_.words.end(), word) != in_.words.end();
}

bool Decoder::mentionsFloat() const {
  for (const TypeName &entry : typeNames)
    if (isFloat(entry.type) && mentions(entry.name))
      return true;
  return false;
}

std::optional<Type> Decoder::tryType() {
  for (const TypeName &entry : typeNames)
    if (take(entry.name))
      return entry.type;
  return std::nullopt;
}

Type Decoder::takeType() {
  if (auto type = tryType())
    return *type;
  refuseModifiers();
}

void Decoder::refuse(std::string rule, std::string value) const {
  ptx::refuse(in_.line, std::move(rule), std::move(value),
              "the emulator runs PTX that Lathe's compiler wrote");
}

void Decoder::refuseModifiers() const {
  refuse(fmt::format("{} must have a form that the emulator knows", root()), std::string(in_.opcode));
}

bool Decoder::done(Handler handler, Mix mix) {
  if (!atEnd() || !handler)
    refuseModifiers();
  out.run = handler;
  out.mix = mix;
  return true;
}

//===- Operands --------------------------------------------------------------------------------------===//

const ptx::Operand &Decoder::operand(size_t i) const {
  if (i >= in_.operands.size())
    refuse(fmt::format("{} must have more than {} operands", in_.opcode, i),
           fmt::format("{}", in_.operands.size()));
  return in_.operands[i];
}

void Decoder::requireCount(size_t least, size_t most) {
  if (count() < least || count() > most)
    refuse(fmt::format("{} must have {} operands", in_.opcode,
                       least == most ? fmt::format("{}", least) : fmt::format("{} to {}", least, most)),
           fmt::format("{}", count()));
}

Value Decoder::registerValue(const ptx::Operand &operand, Type type) const {
  const ptx::Register &reg = context_.kernel.registers[operand.reg];
  if (reg.kind != classOf(type))
    refuse(fmt::format("the width of {} must be the instruction's", ptx::registerName(reg)),
           std::string(in_.opcode));
  return {false, reg.kind, operand.reg + firstRegister, operand.reg + firstRegister};
}

Value Decoder::constantValue(uint64_t bits, Type type) {
  Program &program = context_.program;
  if (type == Type::Pred)
    return {true, RegisterClass::Predicate, constantRegister, bits ? 1u : 0u};
  const int width = bitsOf(type) == 64 ? 8 : 4;
  const size_t rows = program.constants.size() / 128;
  auto [found, isNew] = context_.constants.try_emplace({bits, width}, uint32_t(rows));
  if (isNew) {
    program.constants.resize(program.constants.size() + size_t(width) * 32);
    for (int lane = 0; lane < 32; ++lane)
      std::memcpy(program.constants.data() + rows * 128 + size_t(lane) * size_t(width), &bits, size_t(width));
  }
  return {true, classOf(type), constantRegister, found->second};
}

uint64_t Decoder::immediate(const ptx::Operand &operand, Type type) const {
  uint64_t bits = operand.bits;
  if (operand.kind == Kind::Single && type == Type::F64)
    bits = std::bit_cast<uint64_t>(double(std::bit_cast<float>(uint32_t(bits))));
  else if (operand.kind == Kind::Float && type == Type::F32)
    bits = std::bit_cast<uint32_t>(float(std::bit_cast<double>(bits)));
  else if (operand.kind == Kind::Float && type != Type::F64 && type != Type::B64)
    refuse("a number of 64 bits must be for a type of 64 bits", std::string(in_.opcode));
  const int width = std::max(bitsOf(type), 1);
  return width >= 64 ? bits : bits & ((uint64_t(1) << width) - 1);
}

int64_t Decoder::integer(const ptx::Operand &operand, int64_t least, int64_t most) const {
  const auto value = int64_t(operand.bits);
  if (operand.kind != Kind::Integer || value < least || value > most)
    refuse(fmt::format("an operand of {} must be a constant from {} to {}", in_.opcode, least, most),
           operand.kind == Kind::Integer ? fmt::format("{}", value) : "something else");
  return value;
}

void Decoder::result(const ptx::Operand &operand, Type type) {
  if (operand.kind == Kind::Sink)
    results_.push_back({false, classOf(type), sinkRegister, sinkRegister});
  else if (operand.kind == Kind::Register && !operand.negated)
    results_.push_back(registerValue(operand, type));
  else
    refuse(fmt::format("a result of {} must be a register", in_.opcode), "something else");
}

void Decoder::source(const ptx::Operand &operand, Type type) {
  switch (operand.kind) {
  case Kind::Register:
    if (operand.negated)
      refuse(fmt::format("a source of {} must not be negated", in_.opcode), "!");
    sources_.push_back(registerValue(operand, type));
    return;
  case Kind::Integer:
  case Kind::Single:
  case Kind::Float:
    sources_.push_back(constantValue(immediate(operand, type), type));
    return;
  default:
    refuse(fmt::format("a source of {} must be a register or a number", in_.opcode),
           operand.text.empty() ? "something else" : std::string(operand.text));
  }
}

void Decoder::results(std::initializer_list<Type> types) {
  size_t i = 0;
  for (Type type : types)
    result(operand(i++), type);
}

void Decoder::sources(size_t first, std::initializer_list<Type> types) {
  for (Type type : types)
    source(operand(first++), type);
}

bool Decoder::sourceWide(const ptx::Operand &operand) {
  const bool wide =
      operand.kind == Kind::Register && context_.kernel.registers[operand.reg].kind == RegisterClass::Bits64;
  source(operand, wide ? Type::B64 : Type::B32);
  return wide;
}

void Decoder::constantSource(uint64_t bits, Type type) { sources_.push_back(constantValue(bits, type)); }

void Decoder::policy() {
  if (out.hinted)
    source(operand(count() - 1), Type::B64);
}

std::optional<uint32_t> Decoder::sharedOffset(std::string_view name) const {
  auto found = context_.sharedOffsets.find(name);
  return found == context_.sharedOffsets.end() ? std::nullopt : std::optional(found->second);
}

std::optional<uint32_t> Decoder::parameterOffset(std::string_view name) const {
  for (const ptx::Parameter &parameter : context_.kernel.parameters)
    if (parameter.name == name)
      return parameter.offset;
  return std::nullopt;
}

bool Decoder::address(const ptx::Operand &operand) {
  if (operand.kind != Kind::Address)
    refuse(fmt::format("an operand of {} must be an address in brackets", in_.opcode), "something else");
  const ptx::Operand &base = operand.parts[0];
  out.offset = operand.offset;
  if (base.kind == Kind::Symbol) {
    auto offset = sharedOffset(base.text);
    if (!offset)
      refuse("a name in an address must be a shared variable's", std::string(base.text));
    out.offset = int64_t(*offset) + base.offset;
    return true;
  }
  if (base.kind == Kind::Integer)
    source(base, Type::B64);
  else
    sourceWide(base);
  return false;
}

Instr Decoder::finish(std::vector<std::unique_ptr<Value[]>> &store) {
  out.results = uint16_t(results_.size());
  out.sources = uint16_t(sources_.size());
  auto values = std::make_unique<Value[]>(std::max<size_t>(results_.size() + sources_.size(), 1));
  std::copy(results_.begin(), results_.end(), values.get());
  std::copy(sources_.begin(), sources_.end(), values.get() + results_.size());
  out.ops = values.get();
  store.push_back(std::move(values));
  if (in_.guard >= 0) {
    out.guarded = true;
    out.guardNegated = in_.guardNegated;
    const uint32_t reg = uint32_t(in_.guard) + firstRegister;
    out.guard = {false, RegisterClass::Predicate, reg, reg};
  }
  return out;
}
