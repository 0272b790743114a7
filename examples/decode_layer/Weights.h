//===- Weights.h - A layer's random weights ------------------------------------------------------------===//
//
// Every matrix on the device and, for the reference, on the host, with entries that keep the columns of a row
// about as large as they came. Made once; used by Layer and Reference.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Shape.h"

#include "lathe/reference/RandomMatrix.h"

#include <vector>

namespace lathe::examples {

/// bfloat16 [rows, width], contiguous.
struct Matrix {
  Matrix() = default;
  Matrix(runtime::Device &device, reference::Random &random, int64_t rows, int64_t width, double deviation);
  runtime::DevicePtr get() const { return memory.get(); }

  reference::RandomMatrix host;
  runtime::Buffer memory;
};

/// A norm's gain, about 1; or the router's bias.
template <class Element>
struct Vector {
  Vector() = default;
  Vector(runtime::Device &device, std::vector<Element> values) : host(std::move(values)) {
    if (host.empty())
      return;
    memory = runtime::Buffer(device, host.size() * sizeof(Element));
    device.copyToDevice(memory.get(), host.data(), memory.bytes());
  }
  runtime::DevicePtr get() const { return memory.get(); }

  std::vector<Element> host;
  runtime::Buffer memory;
};

struct Weights {
  Weights(runtime::Device &device, const LayerShape &shape, reference::Random &random);

  Vector<uint16_t> attentionGain, cacheGain, expertsGain; ///< [hidden], [latent], [hidden].
  Matrix query;                                           ///< [heads · (nope + rope), hidden].
  Matrix keyValue;    ///< [latent + rope, hidden]: what a token leaves in the cache.
  Matrix absorbed;    ///< [heads · latent, nope]: W_UK, transposed as absorption wants it.
  Matrix values;      ///< [heads · value, latent]: W_UV.
  Matrix output;      ///< [hidden, heads · value].
  Matrix gate;        ///< [experts, hidden].
  Vector<float> bias; ///< [experts]; empty without one.
  // As runtime::MoeTensors wants them.
  Matrix w1;               ///< [experts · 2 · intermediate, hidden].
  Matrix w2;               ///< [experts · hidden, intermediate].
  Matrix shared1, shared2; ///< [2 · shared · intermediate, hidden], [hidden, shared · intermediate].
};

} // namespace lathe::examples
