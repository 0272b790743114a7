// Integer arithmetic: PTX ISA, "Integer Arithmetic Instructions". Everything is computed in 128 bits and cut.
#include "Lanewise.h"

using namespace lathe;
using namespace lathe::conformance;

using Int = __int128;

namespace {
template <class T>
struct Named {
  using Type = T;
  const char *name;
};
} // namespace

template <class T>
static constexpr int width = int(sizeof(T) * 8);

/// `text` with "T" for the type: "add.T" is "add.s32".
static std::string typed(std::string text, const char *type) {
  for (size_t at = text.find('T'); at != std::string::npos; at = text.find('T', at + 1))
    text.replace(at, 1, type);
  return text;
}

template <class T, class F>
static void addUnary(Cases &cases, const char *opcode, const char *type, F result) {
  const std::string name = typed(opcode, type);
  cases.push_back(Lanewise<T(T)>::make("integer", name, name + " %d, %a;", result));
}

template <class T, class F>
static void addBinary(Cases &cases, const char *opcode, const char *type, F result,
                      const std::tuple<Limit<T>, Limit<T>> &limits = {}) {
  const std::string name = typed(opcode, type);
  cases.push_back(Lanewise<T(T, T)>::make("integer", name, name + " %d, %a, %b;", result, limits));
}

template <class T>
static void addSums(Cases &cases, const char *type) {
  addBinary<T>(cases, "add.T", type, [](T a, T b) { return T(Int(a) + Int(b)); });
  addBinary<T>(cases, "sub.T", type, [](T a, T b) { return T(Int(a) - Int(b)); });
  addBinary<T>(cases, "min.T", type, [](T a, T b) { return a < b ? a : b; });
  addBinary<T>(cases, "max.T", type, [](T a, T b) { return a < b ? b : a; });
  if (std::is_signed_v<T>) {
    addUnary<T>(cases, "neg.T", type, [](T a) { return T(-Int(a)); });
    addUnary<T>(cases, "abs.T", type, [](T a) { return T(a < 0 ? -Int(a) : Int(a)); });
  }
}

template <class T>
static void addProducts(Cases &cases, const char *type) {
  using U = std::make_unsigned_t<T>;
  auto product = [](T a, T b) {
    // Unsigned, so that 64 times 64 bits fit; a signed factor's bits are extended by its sign.
    return static_cast<unsigned __int128>(Int(a)) * static_cast<unsigned __int128>(Int(b));
  };
  addBinary<T>(cases, "mul.lo.T", type, [product](T a, T b) { return T(U(product(a, b))); });
  addBinary<T>(cases, "mul.hi.T", type, [product](T a, T b) { return T(U(product(a, b) >> width<T>)); });
  auto add3 = [&](const char *opcode, auto result) {
    const std::string name = typed(opcode, type);
    cases.push_back(Lanewise<T(T, T, T)>::make("integer", name, name + " %d, %a, %b, %c;", result));
  };
  add3("mad.lo.T", [product](T a, T b, T c) { return T(U(product(a, b)) + U(c)); });
  add3("mad.hi.T", [product](T a, T b, T c) { return T(U(product(a, b) >> width<T>) + U(c)); });
}

/// T × T in W, of twice the width.
template <class T, class W>
static void addWideProducts(Cases &cases, const char *type) {
  const std::string multiply = typed("mul.wide.T", type), add = typed("mad.wide.T", type);
  cases.push_back(Lanewise<W(T, T)>::make("integer", multiply, multiply + " %d, %a, %b;",
                                          [](T a, T b) { return W(Int(a) * Int(b)); }));
  cases.push_back(Lanewise<W(T, T, W)>::make("integer", add, add + " %d, %a, %b, %c;",
                                             [](T a, T b, W c) { return W(Int(a) * Int(b) + Int(c)); }));
}

/// A division by zero has no answer in the ISA, nor has the smallest number by -1.
template <class T>
static void addQuotients(Cases &cases, const char *type) {
  const std::tuple<Limit<T>, Limit<T>> limits{
      [](T a) { return std::is_signed_v<T> && a == std::numeric_limits<T>::min() ? T(a + 1) : a; },
      [](T b) { return b == 0 ? T(5) : b; }};
  addBinary<T>(cases, "div.T", type, [](T a, T b) { return T(Int(a) / Int(b)); }, limits);
  addBinary<T>(cases, "rem.T", type, [](T a, T b) { return T(Int(a) % Int(b)); }, limits);
}

template <class T>
static void addOverflowingQuotients(Cases &cases, const char *type) {
  const std::tuple<Limit<T>, Limit<T>> limits{[](T) { return std::numeric_limits<T>::min(); },
                                              [](T) { return T(-1); }};
  for (const char *opcode : {"div.T", "rem.T"}) {
    const bool quotient = opcode[0] == 'd';
    addBinary<T>(cases, opcode, type, [quotient](T a, T) { return quotient ? a : T(0); }, limits);
    cases.back().name += ".overflow";
    cases.back().question = "the smallest number divided by -1 gives itself, and the remainder is 0";
  }
}

void conformance::addIntegerCases(Cases &cases) {
  addSums<uint16_t>(cases, "u16");
  addSums<int16_t>(cases, "s16");
  addSums<uint32_t>(cases, "u32");
  addSums<int32_t>(cases, "s32");
  addSums<uint64_t>(cases, "u64");
  addSums<int64_t>(cases, "s64");
  addProducts<uint16_t>(cases, "u16");
  addProducts<int16_t>(cases, "s16");
  addProducts<uint32_t>(cases, "u32");
  addProducts<int32_t>(cases, "s32");
  addProducts<uint64_t>(cases, "u64");
  addProducts<int64_t>(cases, "s64");
  addWideProducts<uint16_t, uint32_t>(cases, "u16");
  addWideProducts<int16_t, int32_t>(cases, "s16");
  addWideProducts<uint32_t, uint64_t>(cases, "u32");
  addWideProducts<int32_t, int64_t>(cases, "s32");
  addQuotients<uint16_t>(cases, "u16");
  addQuotients<int16_t>(cases, "s16");
  addQuotients<uint32_t>(cases, "u32");
  addQuotients<int32_t>(cases, "s32");
  addQuotients<uint64_t>(cases, "u64");
  addQuotients<int64_t>(cases, "s64");
  addOverflowingQuotients<int16_t>(cases, "s16");
  addOverflowingQuotients<int32_t>(cases, "s32");
  addOverflowingQuotients<int64_t>(cases, "s64");
  auto relu = [](int32_t value) { return value < 0 ? 0 : value; };
  addBinary<int32_t>(cases, "min.relu.s32", "", [relu](int32_t a, int32_t b) { return relu(a < b ? a : b); });
  addBinary<int32_t>(cases, "max.relu.s32", "", [relu](int32_t a, int32_t b) { return relu(a < b ? b : a); });
  // Immediate operands.
  cases.push_back(Lanewise<int32_t(int32_t)>::make("integer", "add.s32.immediate", "add.s32 %d, %a, -17;",
                                                   [](int32_t a) { return int32_t(Int(a) - 17); }));
  cases.push_back(Lanewise<uint64_t(uint64_t)>::make("integer", "xor.b64.immediate",
                                                     "xor.b64 %d, %a, 0xfedcba9876543210;",
                                                     [](uint64_t a) { return a ^ 0xfedcba9876543210u; }));
  cases.push_back(Lanewise<uint16_t(uint16_t)>::make("integer", "mul.lo.s16.immediate",
                                                     "mul.lo.s16 %d, %a, -3;",
                                                     [](uint16_t a) { return uint16_t(Int(a) * -3); }));
}
