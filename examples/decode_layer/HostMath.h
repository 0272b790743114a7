//===- HostMath.h - The mathematics of a layer, in binary64 --------------------------------------------===//
//
// Norm, rotation and products as formulas over plain numbers. The reference is made of them, and so is what
// stands in for cuBLAS and NVRTC where there is neither. Called by Reference, HostProducts and HostElements.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Shape.h"

#include "lathe/reference/Bf16.h"

#include <cmath>
#include <span>
#include <vector>

namespace lathe::examples {

using Row = std::vector<double>;

/// vector · row, of which `row` is bfloat16.
inline double dot(std::span<const double> vector, const uint16_t *row) {
  double sums[8] = {}; // Independent, so that the compiler keeps them in vector registers.
  size_t i = 0;
  for (; i + 8 <= vector.size(); i += 8)
    for (size_t lane = 0; lane < 8; ++lane)
      sums[lane] += vector[i + lane] * double(reference::fromBf16(row[i + lane]));
  double sum = 0;
  for (; i < vector.size(); ++i)
    sum += vector[i] * double(reference::fromBf16(row[i]));
  for (const double part : sums)
    sum += part;
  return sum;
}

/// row / sqrt(mean of squares + epsilon) · gain.
inline Row rmsNorm(std::span<const double> row, const uint16_t *gain) {
  double squares = 0;
  for (const double value : row)
    squares += value * value;
  const double factor = 1 / std::sqrt(squares / double(row.size()) + normEpsilon);
  Row result;
  for (size_t i = 0; i < row.size(); ++i)
    result.push_back(row[i] * factor * double(reference::fromBf16(gain[i])));
  return result;
}

/// Rotates the pairs (i, i + half) by the angle position · base^(-2i / width), the order of halves, in which
/// DeepSeek's code puts its interleaved columns first.
inline Row rotate(std::span<const double> row, int position) {
  const size_t half = row.size() / 2;
  Row result(row.size());
  for (size_t i = 0; i < half; ++i) {
    const double angle = position * std::pow(ropeBase, -2.0 * double(i) / double(row.size()));
    const double sine = std::sin(angle), cosine = std::cos(angle);
    result[i] = row[i] * cosine - row[i + half] * sine;
    result[i + half] = row[i + half] * cosine + row[i] * sine;
  }
  return result;
}

inline Row fromBf16(const uint16_t *bits, int64_t count) {
  Row result;
  for (int64_t i = 0; i < count; ++i)
    result.push_back(double(reference::fromBf16(bits[i])));
  return result;
}

} // namespace lathe::examples
