//===- Faults.h - Counting mistakes and naming the first ---------------------------------------------===//
//
// The few lines that every judge of this room shares: what a number looks like in a message, when two numbers
// are of one kind, and the first broken position of a rule with how many there are. Called by the
// comparisons of attention and of mixture-of-experts.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <string>

namespace lathe::reference {

/// The first broken position of one rule, and how many there are.
struct Faults {
  int64_t count = 0;
  std::string first;

  template <class Describe>
  void add(const Describe &describe) {
    if (count++ == 0)
      first = describe();
  }
  std::string message() const {
    return count <= 1 ? first : fmt::format("{}; {} positions in all", first, count);
  }
};

/// A number for a message; NaN without its sign.
inline std::string number(double value) { return std::isnan(value) ? "nan" : fmt::format("{:.8g}", value); }

/// NaN, +inf, -inf and finite must stand at the same places.
inline bool sameClass(double a, double b) {
  if (std::isfinite(a) && std::isfinite(b))
    return true;
  return (std::isnan(a) && std::isnan(b)) || a == b;
}

} // namespace lathe::reference
