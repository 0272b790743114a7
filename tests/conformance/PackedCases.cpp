// Arithmetic on 16-bit floats alone and in pairs: PTX ISA, "Half Precision Floating Point Instructions".
// Every half is computed exactly and rounded once.
#include "Lanewise.h"

using namespace lathe;
using namespace lathe::conformance;

/// `operation` of exact numbers, for each half of the operands.
template <class T, class F>
static auto halves(F operation) {
  return [operation](auto... sources) {
    uint64_t result = 0;
    for (unsigned at = 0; at < 8 * sizeof(T); at += 16)
      result |= encode(formatOf<T>(), operation(decode(formatOf<T>(), sources.bits >> at & 0xffff)...)) << at;
    return T{decltype(T::bits)(result)};
  };
}

/// The other one than a NaN; -0 is less than +0.
static Exact extreme(bool least, const Exact &a, const Exact &b) {
  if (a.isNan() || b.isNan())
    return a.isNan() ? b : a;
  const bool aIsLess = less(a, b) || (a.isZero() && b.isZero() && a.negative);
  return aIsLess == least ? a : b;
}

template <class Signature, class T, class F>
static void addOperation(Cases &cases, const std::string &opcode, F operation) {
  static constexpr const char *lists[] = {"", " %d, %a;", " %d, %a, %b;", " %d, %a, %b, %c;"};
  cases.push_back(Lanewise<Signature>::make("packed", opcode, opcode + lists[Lanewise<Signature>::sources],
                                            halves<T>(operation)));
}

template <class T>
static void addType(Cases &cases, const std::string &type) {
  addOperation<T(T, T), T>(cases, "add.rn." + type, add);
  addOperation<T(T, T), T>(cases, "sub.rn." + type, [](auto &&a, auto &&b) { return add(a, negated(b)); });
  addOperation<T(T, T), T>(cases, "mul.rn." + type, multiply);
  addOperation<T(T, T, T), T>(cases, "fma.rn." + type,
                              [](auto &&a, auto &&b, auto &&c) { return add(multiply(a, b), c); });
  addOperation<T(T, T), T>(cases, "min." + type, [](auto &&a, auto &&b) { return extreme(true, a, b); });
  addOperation<T(T, T), T>(cases, "max." + type, [](auto &&a, auto &&b) { return extreme(false, a, b); });
  for (bool least : {true, false})
    addOperation<T(T, T), T>(cases, (least ? "min.NaN." : "max.NaN.") + type, [least](auto &&a, auto &&b) {
      return a.isNan() ? a : b.isNan() ? b : extreme(least, a, b);
    });
  addOperation<T(T), T>(cases, "neg." + type, negated);
  addOperation<T(T), T>(cases, "abs." + type, [](Exact a) {
    a.negative = false;
    return a;
  });
}

/// Products that are ties, and a third operand that tells which way, however small it is.
template <class T>
static void addTies(Cases &cases, const std::string &type, T a, T b) {
  auto operation = halves<T>([](auto &&x, auto &&y, auto &&z) { return add(multiply(x, y), z); });
  cases.push_back(Lanewise<T(T, T, T)>::make("packed", "fma.rn." + type + ".ties",
                                             "fma.rn." + type + " %d, %a, %b, %c;", operation,
                                             {[a](T) { return a; }, [b](T) { return b; }, {}}));
}

void conformance::addPackedCases(Cases &cases) {
  addType<F16>(cases, "f16");
  addType<Bf16>(cases, "bf16");
  addType<F16x2>(cases, "f16x2");
  addType<Bf16x2>(cases, "bf16x2");
  addTies<F16>(cases, "f16", {0x3c20}, {0x3c10});   // (1 + 2^-5)(1 + 2^-6)
  addTies<Bf16>(cases, "bf16", {0x3f88}, {0x3f88}); // (1 + 2^-4)^2
  addTies<Bf16x2>(cases, "bf16x2", {0x3f883f88}, {0xbf883f88});
}
