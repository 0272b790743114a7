// Logic, shifts and bit fields: PTX ISA, "Logic and Shift Instructions" and the bit instructions of "Integer
// Arithmetic Instructions". Results are built bit by bit, as the ISA's pseudo-code does.
#include "Lanewise.h"

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

template <class T>
static constexpr unsigned width = sizeof(T) * 8;

template <class T>
static unsigned bitAt(T value, unsigned i) {
  return unsigned(uint64_t(value) >> i & 1);
}

template <class Signature, class F>
static void addOperation(Cases &cases, const std::string &opcode, F result,
                         const std::string &operands = "") {
  static constexpr const char *lists[] = {"%d", "%d, %a", "%d, %a, %b", "%d, %a, %b, %c",
                                          "%d, %a, %b, %c, %e"};
  const std::string list = operands.empty() ? lists[Lanewise<Signature>::sources] : operands;
  cases.push_back(Lanewise<Signature>::make("bits", opcode, opcode + " " + list + ";", result));
}

template <class T>
static void addLogic(Cases &cases, const std::string &type) {
  addOperation<T(T, T)>(cases, "and." + type, [](T a, T b) { return T(a & b); });
  addOperation<T(T, T)>(cases, "or." + type, [](T a, T b) { return T(a | b); });
  addOperation<T(T, T)>(cases, "xor." + type, [](T a, T b) { return T(a ^ b); });
  addOperation<T(T)>(cases, "not." + type, [](T a) { return T(~a); });
}

/// Shifts beyond the width give what the last bit does.
template <class T>
static void addShifts(Cases &cases, const std::string &left, const std::string &right) {
  if (!left.empty())
    addOperation<T(T, uint32_t)>(cases, "shl." + left, [](T a, uint32_t by) {
      T result = 0;
      for (unsigned i = 0; i < width<T> && by < width<T>; ++i)
        if (i >= by && bitAt(a, i - by))
          result = T(result | T(T(1) << i));
      return result;
    });
  addOperation<T(T, uint32_t)>(cases, "shr." + right, [](T a, uint32_t by) {
    const unsigned fill = std::is_signed_v<T> ? bitAt(a, width<T> - 1) : 0;
    T result = 0;
    for (uint64_t i = 0; i < width<T>; ++i)
      if (i + by < width<T> ? bitAt(a, unsigned(i + by)) : fill)
        result = T(result | T(T(1) << i));
    return result;
  });
}

/// `opcode` under numbers below the width where T has 64 bits: there an H100 does not keep to the ISA beyond.
template <class T>
static std::string fieldText(const std::string &opcode, const std::string &values,
                             const std::string &position, const std::string &length) {
  const std::string text = fmt::format("{} %d, {}, {}, {};", opcode, values, position, length);
  return sizeof(T) == 4
             ? text
             : fmt::format("and.b32 {0}, {0}, 63;\n  and.b32 {1}, {1}, 63;\n  {2}", position, length, text);
}
template <class T>
static constexpr uint32_t fieldNumbers = sizeof(T) == 4 ? 0xff : 63;

template <class T>
static void addFieldExtract(Cases &cases, const std::string &type) {
  const std::string opcode = "bfe." + type;
  auto result = [](T a, uint32_t position, uint32_t length) {
    const unsigned last = width<T> - 1;
    position &= fieldNumbers<T>, length &= fieldNumbers<T>;
    const unsigned sign =
        std::is_signed_v<T> && length > 0 ? bitAt(a, std::min(position + length - 1, last)) : 0;
    uint64_t result = 0;
    for (unsigned i = 0; i <= last; ++i)
      result |= uint64_t(i < length && position + i <= last ? bitAt(a, position + i) : sign) << i;
    return T(result);
  };
  cases.push_back(Lanewise<T(T, uint32_t, uint32_t)>::make("bits", opcode,
                                                           fieldText<T>(opcode, "%a", "%b", "%c"), result));
}

template <class T>
static void addFieldInsert(Cases &cases, const std::string &type) {
  const std::string opcode = "bfi." + type;
  auto inserted = [](T a, T b, uint32_t position, uint32_t length) {
    position &= fieldNumbers<T>, length &= fieldNumbers<T>;
    uint64_t result = b;
    for (unsigned i = 0; i < length && position + i < width<T>; ++i)
      result = (result & ~(uint64_t(1) << (position + i))) | uint64_t(bitAt(a, i)) << (position + i);
    return T(result);
  };
  cases.push_back(Lanewise<T(T, T, uint32_t, uint32_t)>::make(
      "bits", opcode, fieldText<T>(opcode, "%a, %b", "%c", "%e"), inserted));
}

template <class T>
static void addCounts(Cases &cases, const std::string &type) {
  addOperation<uint32_t(T)>(cases, "popc." + type, [](T a) {
    uint32_t ones = 0;
    for (unsigned i = 0; i < width<T>; ++i)
      ones += bitAt(a, i);
    return ones;
  });
  addOperation<uint32_t(T)>(cases, "clz." + type, [](T a) {
    uint32_t zeros = 0;
    while (zeros < width<T> && !bitAt(a, width<T> - 1 - zeros))
      ++zeros;
    return zeros;
  });
  addOperation<T(T)>(cases, "brev." + type, [](T a) {
    uint64_t result = 0;
    for (unsigned i = 0; i < width<T>; ++i)
      result |= uint64_t(bitAt(a, i)) << (width<T> - 1 - i);
    return T(result);
  });
}

/// The highest bit that is not the sign; all ones where there is none.
template <class T>
static void addFind(Cases &cases, const std::string &type) {
  addOperation<uint32_t(T)>(cases, "bfind." + type, [](T a) {
    const unsigned sign = std::is_signed_v<T> ? bitAt(a, width<T> - 1) : 0;
    for (unsigned i = width<T>; i-- > 0;)
      if (bitAt(a, i) != sign)
        return uint32_t(i);
    return ~uint32_t(0);
  });
}

static uint32_t permuted(uint32_t a, uint32_t b, uint32_t selection) {
  uint32_t result = 0;
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned control = selection >> (4 * i) & 15, source = control & 7;
    uint32_t byte = (source < 4 ? a >> (8 * source) : b >> (8 * (source - 4))) & 0xff;
    if (control & 8)
      byte = byte >> 7 ? 0xff : 0;
    result |= byte << (8 * i);
  }
  return result;
}

/// shf.l: the high word of {b, a} << n; shf.r: the low word of {b, a} >> n.
static void addFunnels(Cases &cases) {
  auto shifted = [](bool left, bool clamp) {
    return [left, clamp](uint32_t a, uint32_t b, uint32_t c) {
      const uint32_t n = clamp ? std::min(c, 32u) : c & 31;
      uint32_t result = 0;
      for (uint32_t i = 0; i < 32; ++i) {
        const uint32_t from = left ? 32 + i - n : i + n; // Of the 64 bits.
        result |= uint32_t(from < 32 ? bitAt(a, from) : bitAt(b, from - 32)) << i;
      }
      return result;
    };
  };
  addOperation<uint32_t(uint32_t, uint32_t, uint32_t)>(cases, "shf.l.wrap.b32", shifted(true, false));
  addOperation<uint32_t(uint32_t, uint32_t, uint32_t)>(cases, "shf.l.clamp.b32", shifted(true, true));
  addOperation<uint32_t(uint32_t, uint32_t, uint32_t)>(cases, "shf.r.wrap.b32", shifted(false, false));
  addOperation<uint32_t(uint32_t, uint32_t, uint32_t)>(cases, "shf.r.clamp.b32", shifted(false, true));
}

/// Tables of a few named functions of three bits, and odd ones.
static void addLookups(Cases &cases) {
  for (unsigned table :
       {0x00u, 0x80u, 0xfeu, 0x96u, 0xe8u, 0xcau, 0x1du, 0x2eu, 0xf0u, 0xaau, 0xccu, 0xffu}) {
    addOperation<uint32_t(uint32_t, uint32_t, uint32_t)>(
        cases, "lop3.b32",
        [table](uint32_t a, uint32_t b, uint32_t c) {
          uint32_t result = 0;
          for (unsigned i = 0; i < 32; ++i)
            result |= (table >> (bitAt(a, i) * 4 + bitAt(b, i) * 2 + bitAt(c, i)) & 1) << i;
          return result;
        },
        fmt::format("%d, %a, %b, %c, {:#x}", table));
    cases.back().name += fmt::format(".{:02x}", table);
  }
}

void conformance::addBitCases(Cases &cases) {
  addLogic<uint16_t>(cases, "b16");
  addLogic<uint32_t>(cases, "b32");
  addLogic<uint64_t>(cases, "b64");
  addShifts<uint16_t>(cases, "b16", "b16");
  addShifts<uint32_t>(cases, "b32", "b32");
  addShifts<uint64_t>(cases, "b64", "b64");
  addShifts<uint16_t>(cases, "", "u16");
  addShifts<uint32_t>(cases, "", "u32");
  addShifts<uint64_t>(cases, "", "u64");
  addShifts<int16_t>(cases, "", "s16");
  addShifts<int32_t>(cases, "", "s32");
  addShifts<int64_t>(cases, "", "s64");
  addFieldExtract<uint32_t>(cases, "u32");
  addFieldExtract<int32_t>(cases, "s32");
  addFieldExtract<uint64_t>(cases, "u64");
  addFieldExtract<int64_t>(cases, "s64");
  addFieldInsert<uint32_t>(cases, "b32");
  addFieldInsert<uint64_t>(cases, "b64");
  addCounts<uint32_t>(cases, "b32");
  addCounts<uint64_t>(cases, "b64");
  addFind<uint32_t>(cases, "u32");
  addFind<int32_t>(cases, "s32");
  addFind<uint64_t>(cases, "u64");
  addFind<int64_t>(cases, "s64");
  addOperation<uint32_t(uint32_t, uint32_t, uint32_t)>(cases, "prmt.b32", permuted);
  addFunnels(cases);
  addLookups(cases);
}
