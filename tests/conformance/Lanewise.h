//===- Lanewise.h - Cases of instructions that one thread executes for itself ------------------------===//
//
// Makes a case from an instruction and a function that says its result: threads load operands from arrays,
// execute, and store. Operands are all pairs (or as many as fit) of edge values, then random ones. Called by
// the files of arithmetic, conversions, comparisons and moves.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Cases.h"
#include "Kernel.h"
#include "Values.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

namespace lathe::conformance {

/// A result that an approximation may miss by `bound`.
struct Near {
  double value = 0, bound = 0;
};

template <class T>
const char *registerType() {
  return sizeof(T) <= 2 ? "b16" : sizeof(T) == 4 ? "b32" : "b64";
}

/// How an operand is loaded or stored.
template <class T>
std::string accessType() {
  return fmt::format("b{}", 8 * sizeof(T));
}

/// Restricts what a source is tried on: value `i` of source `source`.
template <class T>
using Limit = std::function<T(T)>;

template <class Signature>
struct Lanewise;

/// D result, S sources; where an approximation may be off the function gives a Near.
template <class D, class... S>
struct Lanewise<D(S...)> {
  static constexpr size_t sources = sizeof...(S);
  static constexpr unsigned threads = 128;
  static constexpr size_t count = sources == 1 ? 1024 : sources == 2 ? 4096 : 8192;
  static constexpr size_t alignedBytes(size_t bytes) { return (bytes + 255) / 256 * 256; }
  static constexpr std::array<size_t, sources> sizes{sizeof(S)...};

  /// Where the array of a source begins; of source `sources`: the input's end.
  static size_t begin(size_t source) {
    size_t at = 0;
    for (size_t k = 0; k < source; ++k)
      at += alignedBytes(count * sizes[k]);
    return at;
  }

  static std::string body(const std::string &text) {
    static constexpr const char *names[] = {"%a", "%b", "%c", "%e"};
    std::string ptx = fmt::format("  .reg .{} %d;\n  .reg .b64 %p;\n", registerType<D>());
    const std::array<std::string, sources> kinds{registerType<S>()...}, accesses{accessType<S>()...};
    for (size_t k = 0; k < sources; ++k)
      ptx +=
          fmt::format("  .reg .{0} {1};\n  mad.wide.u32 %p, %g, {2}, %in;\n  ld.global.{3} {1}, [%p+{4}];\n",
                      kinds[k], names[k], sizes[k], accesses[k], begin(k));
    return ptx + "  " + text +
           fmt::format("\n  mad.wide.u32 %p, %g, {}, %out;\n  st.global.{} [%p], %d;\n", sizeof(D),
                       accessType<D>());
  }

  template <class T, size_t source>
  static void fill(Bytes &bytes, Random &random, const std::tuple<Limit<S>...> &limits) {
    const std::vector<T> values = edges<T>();
    size_t stride = 1;
    const std::array<size_t, sources> edgeCounts{edges<S>().size()...};
    size_t combinations = 1;
    for (size_t k = 0; k < sources; ++k) {
      if (k < source)
        stride *= edgeCounts[k];
      combinations *= edgeCounts[k];
    }
    const size_t used = std::min(combinations, count * 3 / 4);
    for (size_t i = 0; i < count; ++i) {
      // Spread over all combinations where they do not fit.
      const size_t which = combinations == used ? i : size_t(double(i) * double(combinations) / double(used));
      T value = i < used ? values[which / stride % values.size()] : randomValue<T>(random);
      if (const Limit<T> &limit = std::get<source>(limits))
        value = limit(value);
      setElement<T>(bytes, i, value, begin(source));
    }
  }

  template <class F>
  static void expect(const F &result, const Bytes &input, Expected &out) {
    for (size_t i = 0; i < count; ++i)
      [&]<size_t... K>(std::index_sequence<K...>) {
        const auto value = result(elementAt<S>(input, i, begin(K))...);
        if constexpr (std::is_same_v<std::decay_t<decltype(value)>, Near>) {
          setElement<D>(out.bytes, i, D(value.value));
          out.bounds.push_back(value.bound);
        } else {
          setElement<D>(out.bytes, i, value);
        }
      }(std::index_sequence_for<S...>());
  }

  /// `text` computes %d from %a, %b, %c.
  template <class F>
  static Case make(std::string family, std::string name, const std::string &text, F result,
                   std::tuple<Limit<S>...> limits = {}) {
    Case entry =
        makeCase(std::move(family), std::move(name), {.threads = threads}, count / threads, 0, body(text));
    entry.element = elementOf<D>();
    entry.outputBytes = count * sizeof(D);
    entry.input = [limits](Random &random) {
      Bytes bytes(begin(sources));
      [&]<size_t... K>(std::index_sequence<K...>) {
        (fill<S, K>(bytes, random, limits), ...);
      }(std::index_sequence_for<S...>());
      return bytes;
    };
    entry.expect = [result](const Bytes &input, Expected &out) { expect(result, input, out); };
    return entry;
  }
};

} // namespace lathe::conformance
