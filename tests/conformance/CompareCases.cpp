// setp and selp: PTX ISA, "Comparison and Selection Instructions". Ordered relations are false where either
// operand is a NaN, the unordered ones (…u) true.
#include "Lanewise.h"

using namespace lathe;
using namespace lathe::conformance;

namespace {
struct Relation {
  const char *name;
  bool (*holds)(int order); ///< Of -1, 0, 1.
};
} // namespace

static constexpr Relation relations[] = {
    {"eq", [](int order) { return order == 0; }}, {"ne", [](int order) { return order != 0; }},
    {"lt", [](int order) { return order < 0; }},  {"le", [](int order) { return order <= 0; }},
    {"gt", [](int order) { return order > 0; }},  {"ge", [](int order) { return order >= 0; }}};
static constexpr Relation unsignedRelations[] = {{"lo", [](int order) { return order < 0; }},
                                                 {"ls", [](int order) { return order <= 0; }},
                                                 {"hi", [](int order) { return order > 0; }},
                                                 {"hs", [](int order) { return order >= 0; }}};

template <class T>
static Exact exactOf(T value) {
  if constexpr (std::is_floating_point_v<T>)
    return decode(value);
  else if constexpr (std::is_integral_v<T>)
    return exactly(value);
  else
    return decode(formatOf<T>(), value.bits);
}

template <class T>
static int orderOf(T a, T b) {
  const Exact x = exactOf(a), y = exactOf(b);
  return less(x, y) ? -1 : less(y, x) ? 1 : 0;
}

/// Sets a bit of %d for p and one for q.
static std::string tell(const std::string &setp) {
  return "{ .reg .pred p, q; .reg .b32 x; " + setp + " selp.b32 %d, 1, 0, p; }";
}

template <class T, class F>
static void addComparison(Cases &cases, const std::string &name, F holds) {
  cases.push_back(Lanewise<uint32_t(T, T)>::make("compare", name, tell(name + " p, %a, %b;"),
                                                 [holds](T a, T b) { return uint32_t(holds(a, b)); }));
}

template <class T, size_t count>
static void addIntegers(Cases &cases, const std::string &type, const Relation (&list)[count]) {
  for (const Relation &relation : list)
    addComparison<T>(cases, fmt::format("setp.{}.{}", relation.name, type),
                     [relation](T a, T b) { return relation.holds(orderOf(a, b)); });
}

/// Only equality is asked of bits.
template <class T>
static void addBits(Cases &cases, const std::string &type) {
  addComparison<T>(cases, "setp.eq." + type, [](T a, T b) { return a == b; });
  addComparison<T>(cases, "setp.ne." + type, [](T a, T b) { return a != b; });
}

template <class T>
static T flushedIf(bool flush, T value) {
  if constexpr (std::is_same_v<T, float>)
    return flush ? std::bit_cast<float>(uint32_t(flushed(f32, std::bit_cast<uint32_t>(value)))) : value;
  else
    return value;
}

template <class T>
static void addFloats(Cases &cases, const std::string &type, bool flush = false) {
  const std::string modifiers = (flush ? ".ftz." : ".") + type;
  auto unordered = [](T a, T b) { return exactOf(a).isNan() || exactOf(b).isNan(); };
  for (const Relation &relation : relations) {
    auto holds = [=](T a, T b) { return relation.holds(orderOf(flushedIf(flush, a), flushedIf(flush, b))); };
    addComparison<T>(cases, fmt::format("setp.{}{}", relation.name, modifiers),
                     [=](T a, T b) { return !unordered(a, b) && holds(a, b); });
    addComparison<T>(cases, fmt::format("setp.{}u{}", relation.name, modifiers),
                     [=](T a, T b) { return unordered(a, b) || holds(a, b); });
  }
  addComparison<T>(cases, "setp.num" + modifiers, [=](T a, T b) { return !unordered(a, b); });
  addComparison<T>(cases, "setp.nan" + modifiers, unordered);
}

//===- With another predicate ------------------------------------------------------------------------===//

/// setp.lt.and p|q, a, b, c: p is (a < b) and c, q is (a >= b) and c; c is the lowest bit of the third
/// source.
static void addCombined(Cases &cases) {
  for (const char *operation : {"and", "or", "xor"})
    for (bool negated : {false, true}) {
      const std::string name = fmt::format("setp.lt.{}.s32{}", operation, negated ? ".negated" : "");
      const std::string text =
          fmt::format("{{ .reg .pred p, q, c; .reg .b32 x, y; and.b32 x, %c, 1; setp.ne.b32 c, x, 0; "
                      "setp.lt.{}.s32 p|q, %a, %b, {}c; selp.b32 x, 1, 0, p; selp.b32 y, 2, 0, q; "
                      "or.b32 %d, x, y; }}",
                      operation, negated ? "!" : "");
      auto result = [negated, kind = operation[0]](int32_t a, int32_t b, uint32_t c) {
        const uint32_t other = (c & 1) ^ (negated ? 1 : 0);
        auto with = [&](uint32_t mine) {
          return kind == 'a' ? mine & other : kind == 'o' ? mine | other : mine ^ other;
        };
        return with(a < b) | with(a >= b) << 1;
      };
      cases.push_back(Lanewise<uint32_t(int32_t, int32_t, uint32_t)>::make("compare", name, text, result));
    }
}

template <class T>
static void addSelection(Cases &cases, const std::string &type) {
  const std::string name = "selp." + type;
  cases.push_back(Lanewise<T(T, T, uint32_t)>::make(
      "compare", name, "{ .reg .pred p; setp.gt.u32 p, %c, 100; " + name + " %d, %a, %b, p; }",
      [](T a, T b, uint32_t c) { return c > 100 ? a : b; }));
}

void conformance::addCompareCases(Cases &cases) {
  addIntegers<uint16_t>(cases, "u16", relations);
  addIntegers<int16_t>(cases, "s16", relations);
  addIntegers<uint32_t>(cases, "u32", relations);
  addIntegers<int32_t>(cases, "s32", relations);
  addIntegers<uint64_t>(cases, "u64", relations);
  addIntegers<int64_t>(cases, "s64", relations);
  addIntegers<uint16_t>(cases, "u16", unsignedRelations);
  addIntegers<uint32_t>(cases, "u32", unsignedRelations);
  addIntegers<uint64_t>(cases, "u64", unsignedRelations);
  addBits<uint16_t>(cases, "b16");
  addBits<uint32_t>(cases, "b32");
  addBits<uint64_t>(cases, "b64");
  addFloats<float>(cases, "f32");
  addFloats<float>(cases, "f32", true);
  addFloats<double>(cases, "f64");
  addFloats<F16>(cases, "f16");
  addFloats<Bf16>(cases, "bf16");
  addCombined(cases);
  addSelection<uint16_t>(cases, "b16");
  addSelection<int16_t>(cases, "s16");
  addSelection<uint32_t>(cases, "b32");
  addSelection<float>(cases, "f32");
  addSelection<uint64_t>(cases, "u64");
  addSelection<double>(cases, "f64");
}
