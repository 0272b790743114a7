// atom and red: PTX ISA, "Parallel Synchronization and Communication Instructions". Every thread on a place
// of its own, where old values and results are known; and all threads on a few places, by operations whose
// order does not matter.
#include "Cases.h"
#include "Kernel.h"
#include "Numbers.h"
#include "Values.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 128;

namespace {
/// A type of operands; pairs of 16 bits have `parts` 2.
struct Kind {
  const char *name;
  unsigned bytes; ///< Of a register.
  Element element;
  unsigned parts = 1;
  bool isSigned = false;
};
struct Form {
  std::string operation; ///< "add"
  Kind kind;
  std::string space;          ///< ".global", ".shared", "" (generic, to global) or "generic_shared".
  std::string modifiers = {}; ///< Order and scope.
  bool returns = true;        ///< atom, else red.
  unsigned vector = 1;
  bool isShared() const { return space.find("shared") != std::string::npos; }
  unsigned bytes() const { return kind.bytes * vector; } ///< Of a thread.
};
} // namespace

static constexpr Kind u32{"u32", 4, Element::Bits32}, s32{"s32", 4, Element::Bits32, 1, true},
    b32{"b32", 4, Element::Bits32}, u64{"u64", 8, Element::Bits64}, s64{"s64", 8, Element::Bits64, 1, true},
    b64{"b64", 8, Element::Bits64}, b16{"b16", 2, Element::Bits16}, single{"f32", 4, Element::F32},
    doubled{"f64", 8, Element::F64}, half{"f16", 2, Element::F16}, brain{"bf16", 2, Element::BF16},
    halves{"f16x2", 4, Element::F16, 2}, brains{"bf16x2", 4, Element::BF16, 2};

static bool isFloat(const Kind &kind) {
  return kind.name[0] == 'f' || std::string_view(kind.name).starts_with("bf");
}

static Format formatOf(const Kind &kind) {
  return kind.element == Element::F16    ? f16
         : kind.element == Element::BF16 ? bf16
         : kind.element == Element::F32  ? f32
                                         : f64;
}

//===- What comes out --------------------------------------------------------------------------------===//

static uint64_t floatResult(const Form &form, uint64_t old, uint64_t value) {
  const Format format = formatOf(form.kind);
  // Adding f32 flushes subnormal numbers in global memory, and keeps them in shared memory.
  const bool flushes = form.kind.element == Element::F32 && !form.isShared();
  auto flush = [&](uint64_t bits) { return flushes ? flushed(format, bits) : bits; };
  const Exact a = decode(format, flush(old)), b = decode(format, flush(value));
  if (form.operation == "add")
    return flush(encode(format, add(a, b)));
  return less(a, b) == (form.operation == "min") ? old : value;
}

static uint64_t integerResult(const Form &form, uint64_t old, uint64_t value, uint64_t third) {
  const unsigned unused = 64 - 8 * form.kind.bytes;
  auto order = [&](uint64_t bits) { // For comparisons.
    return form.kind.isSigned ? __int128(int64_t(bits << unused) >> unused) : __int128(bits);
  };
  const std::string &operation = form.operation;
  if (operation == "add")
    return old + value;
  if (operation == "min")
    return order(old) < order(value) ? old : value;
  if (operation == "max")
    return order(old) > order(value) ? old : value;
  if (operation == "inc")
    return old >= value ? 0 : old + 1;
  if (operation == "dec")
    return old == 0 || old > value ? value : old - 1;
  if (operation == "cas")
    return old == value ? third : old;
  return operation == "and"   ? old & value
         : operation == "or"  ? old | value
         : operation == "xor" ? old ^ value
                              : value;
}

/// Of one register's bits.
static uint64_t resultOf(const Form &form, uint64_t old, uint64_t value, uint64_t third) {
  if (!isFloat(form.kind))
    return integerResult(form, old, value, third);
  if (form.kind.parts == 1)
    return floatResult(form, old, value);
  return floatResult(form, old & 0xffff, value & 0xffff) | floatResult(form, old >> 16, value >> 16) << 16;
}

static uint64_t bitsAt(const Bytes &bytes, size_t offset, size_t size) {
  uint64_t bits = 0;
  std::memcpy(&bits, bytes.data() + offset, size);
  return bits;
}

//===- What goes in ----------------------------------------------------------------------------------===//

static uint64_t randomFloat(const Form &form, Random &random) {
  const Format format = formatOf(form.kind);
  const uint64_t bits = randomBits(format, random);
  const Exact value = decode(format, bits);
  // What min and max make of a NaN, or of two zeros, the ISA does not say here.
  const bool open = form.operation != "add" && (value.isNan() || value.isZero());
  return open ? encode(format, exactly(1)) : bits;
}

static uint64_t randomOperand(const Form &form, Random &random) {
  if (!isFloat(form.kind)) {
    const uint64_t width = 8 * uint64_t(form.kind.bytes);
    if (random() % 2)
      return random() >> (64 - width) >> random() % width;
    const std::vector<int64_t> values = integerEdges<int64_t>();
    return uint64_t(values[random() % values.size()]) & (~uint64_t(0) >> (64 - width));
  }
  const uint64_t low = randomFloat(form, random);
  return form.kind.parts == 1 ? low : low | randomFloat(form, random) << 16;
}

static Bytes randomOperands(const Form &form, Random &random, size_t count) {
  Bytes bytes(count * form.kind.bytes);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t bits = randomOperand(form, random);
    std::memcpy(bytes.data() + i * form.kind.bytes, &bits, form.kind.bytes);
  }
  return bytes;
}

//===- Kernels ---------------------------------------------------------------------------------------===//

static std::string elements(const std::string &prefix, unsigned vector) {
  return vector == 1 ? "%" + prefix + "0" : registers(prefix, vector);
}

static std::string instruction(const Form &form, const std::string &address) {
  const bool hasNoftz = form.kind.element == Element::F16 || form.kind.element == Element::BF16;
  const bool swaps = form.operation == "cas";
  return fmt::format("{}{}{}.{}{}{}.{} {}[{}], {}{};", form.returns ? "atom" : "red", form.modifiers,
                     form.space == "generic_shared" ? "" : form.space, form.operation,
                     hasNoftz ? ".noftz" : "", form.vector > 1 ? fmt::format(".v{}", form.vector) : "",
                     form.kind.name, form.returns ? elements("o", form.vector) + ", " : "", address,
                     elements("v", form.vector), swaps ? ", %w0" : "");
}

/// %place: where the thread's element lies in the memory that is changed; its value there comes from the
/// output and goes back to it. Old values follow the output's `count` elements.
static std::string body(const Form &form, unsigned count) {
  const std::string type = fmt::format("b{}", 8 * form.kind.bytes);
  std::string text = fmt::format(
      "  .reg .b64 %p, %q, %wide;\n  .reg .b32 %i, %narrow;\n  .reg .{} %v<8>, %w<8>, %o<8>;\n", type);
  text += fmt::format("  rem.u32 %i, %t, {};\n  mad.wide.u32 %q, %t, {}, %in;\n", count, form.bytes());
  for (unsigned k = 0; k < form.vector; ++k)
    text += fmt::format("  ld.global.{} %v{}, [%q+{}];\n", type, k, k * form.kind.bytes);
  text += fmt::format("  ld.global.{} %w0, [%q+{}];\n  mad.wide.u32 %p, %i, {}, %out;\n", type,
                      threads * form.bytes(), form.bytes());
  std::string address = "%p";
  if (form.isShared()) {
    text +=
        fmt::format("  mad.lo.s32 %narrow, %i, {0}, %smem;\n  ld.global.{1} %o0, [%p];\n  "
                    "st.volatile.shared.{1} [%narrow], "
                    "%o0;\n  cvt.u64.u32 %wide, %narrow;\n  cvta.shared.u64 %wide, %wide;\n  bar.sync 0;\n",
                    form.bytes(), type);
    address = form.space == "generic_shared" ? "%wide" : "%narrow";
  }
  text += "  " + instruction(form, address) + "\n";
  if (form.isShared())
    text += fmt::format("  bar.sync 0;\n  ld.shared.{0} %w0, [%narrow];\n  st.global.{0} [%p], %w0;\n", type);
  if (form.returns && count == threads)
    for (unsigned k = 0; k < form.vector; ++k)
      text += fmt::format("  mad.wide.u32 %q, %t, {0}, %out;\n  st.global.{1} [%q+{2}], %o{3};\n",
                          form.bytes(), type, threads * form.bytes() + size_t(k) * form.kind.bytes, k);
  return text;
}

static Case makeAtomic(const Form &form, unsigned count, const std::string &suffix) {
  std::string name = instruction(form, form.isShared() ? "shared" : "global");
  name = name.substr(0, name.find(' ')) +
         (form.space.empty() || form.space[0] != '.' ? (form.isShared() ? ".to_shared" : ".to_global") : "") +
         suffix;
  Case entry = makeCase("atomic", name, {.threads = threads}, 1, threads * 32, body(form, count));
  entry.element = form.kind.element;
  entry.input = [form](Random &random) {
    return randomOperands(form, random, size_t(2) * threads * form.vector);
  };
  entry.outputBytes = size_t(count) * form.bytes() * (count == threads && form.returns ? 2 : 1);
  return entry;
}

/// Every thread at its own place.
static void addAlone(Cases &cases, const Form &form) {
  Case entry = makeAtomic(form, threads, "");
  entry.output = [form, size = entry.outputBytes](Random &random) {
    return randomOperands(form, random, size / form.kind.bytes);
  };
  entry.expect = [form](const Bytes &input, Expected &out) {
    const size_t size = form.kind.bytes, count = size_t(threads) * form.vector;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t old = bitsAt(out.bytes, i * size, size), value = bitsAt(input, i * size, size);
      const uint64_t updated = resultOf(form, old, value, bitsAt(input, (count + i) * size, size));
      std::memcpy(out.bytes.data() + i * size, &updated, size);
      if (form.returns)
        std::memcpy(out.bytes.data() + (count + i) * size, &old, size);
    }
  };
  cases.push_back(std::move(entry));
}

/// All threads at five places; the last value does not depend on their order.
static void addTogether(Cases &cases, const Form &form) {
  static constexpr unsigned places = 5;
  Case entry = makeAtomic(form, places, ".together");
  // Small whole numbers: sums of floats are exact. inc and dec all have the same bound.
  const bool bounded = form.operation == "inc" || form.operation == "dec";
  auto small = [form, bounded](Random &random, size_t count, bool operand) {
    Bytes bytes(count * form.kind.bytes);
    for (size_t i = 0; i < count; ++i) {
      const uint64_t number = operand && bounded ? 9 : random() % 8;
      uint64_t bits =
          isFloat(form.kind) ? encode(formatOf(form.kind), exactly(__int128(number % 2))) : number;
      bits |= form.kind.parts == 2 ? bits << 16 : 0;
      std::memcpy(bytes.data() + i * form.kind.bytes, &bits, form.kind.bytes);
    }
    return bytes;
  };
  if (isFloat(form.kind) || bounded)
    entry.input = [small](Random &random) { return small(random, size_t(2) * threads, true); };
  entry.output = [small](Random &random) { return small(random, places, false); };
  entry.expect = [form](const Bytes &input, Expected &out) {
    const size_t size = form.kind.bytes;
    for (size_t t = 0; t < threads; ++t) {
      const size_t at = t % places * size;
      const uint64_t updated = resultOf(form, bitsAt(out.bytes, at, size), bitsAt(input, t * size, size), 0);
      std::memcpy(out.bytes.data() + at, &updated, size);
    }
  };
  cases.push_back(std::move(entry));
}

static void addScalars(Cases &cases) {
  struct Operations {
    Kind kind;
    std::vector<const char *> operations;
  };
  const Operations table[] = {{u32, {"add", "min", "max", "inc", "dec"}},
                              {s32, {"add", "min", "max"}},
                              {b32, {"and", "or", "xor", "exch", "cas"}},
                              {u64, {"add", "min", "max"}},
                              {s64, {"min", "max"}},
                              {b64, {"and", "or", "xor", "exch", "cas"}},
                              {b16, {"cas"}},
                              {single, {"add"}},
                              {doubled, {"add"}},
                              {half, {"add"}},
                              {brain, {"add"}},
                              {halves, {"add"}},
                              {brains, {"add"}}};
  for (const char *space : {".global", ".shared", "", "generic_shared"})
    for (const Operations &row : table)
      for (const std::string operation : row.operations) {
        const bool swaps = operation == "exch" || operation == "cas";
        addAlone(cases, {operation, row.kind, space});
        if (!swaps)
          addAlone(cases, {operation, row.kind, space, "", false});
        if (!swaps && (*space == '.')) {
          addTogether(cases, {operation, row.kind, space});
          addTogether(cases, {operation, row.kind, space, "", false});
        }
      }
}

static void addVectors(Cases &cases) {
  for (bool returns : {false, true}) {
    for (unsigned vector : {2u, 4u})
      addAlone(cases, {"add", single, ".global", "", returns, vector});
    for (const char *operation : {"add", "min", "max"}) {
      for (const Kind &kind : {half, brain})
        for (unsigned vector : {2u, 4u, 8u})
          addAlone(cases, {operation, kind, ".global", "", returns, vector});
      for (const Kind &kind : {halves, brains})
        for (unsigned vector : {2u, 4u})
          addAlone(cases, {operation, kind, ".global", "", returns, vector});
    }
  }
}

void conformance::addAtomicCases(Cases &cases) {
  addScalars(cases);
  addVectors(cases);
  for (const char *modifiers : {".relaxed.gpu", ".acquire.gpu", ".release.gpu", ".acq_rel.gpu",
                                ".acq_rel.sys", ".relaxed.cta", ".acq_rel.cluster"}) {
    addAlone(cases, {"add", u32, ".global", modifiers});
    addAlone(cases, {"exch", b64, ".shared", modifiers});
  }
  addAlone(cases, {"add", u32, ".global", ".release.gpu", false});
  addAlone(cases, {"add", single, ".global", ".relaxed.gpu", false, 4});
  for (const char *modifiers : {".release.gpu", ".relaxed.gpu", ".release.sys"})
    addAlone(cases, {"add", s32, ".global", modifiers, false});
  for (const char *modifiers : {".acquire.gpu", ".release.gpu", ".acq_rel.gpu"}) {
    addAlone(cases, {"add", s32, ".global", modifiers});
    addAlone(cases, {"cas", b32, ".global", modifiers});
    addAlone(cases, {"max", u64, ".global", modifiers});
  }
  addAlone(cases, {"add", brains, ".global", ".relaxed.gpu", false});
  addAlone(cases, {"add", single, ".global", ".relaxed.gpu", false, 2});
}
