//===- MoeFormula.h - The formula of an expert layer, from what lies in memory -----------------------===//
//
// A second implementation that shares nothing with the reference but the tensors: it reads the bytes that a
// kernel would read and sums in long double, backwards. Also what writes a perfect kernel's result, for tests
// to spoil.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/Instance.h"
#include "lathe/reference/MoeInside.h"

#include <algorithm>
#include <cmath>

namespace lathe::reference {

/// Where a tensor of a HostDevice lies.
template <class Element>
Element *hostPointer(runtime::DevicePtr base) {
  return reinterpret_cast<Element *>(base); // NOLINT(performance-no-int-to-ptr): it was a pointer.
}

template <class Element>
Element readElement(runtime::DevicePtr base, int64_t element) {
  return hostPointer<const Element>(base)[element];
}

inline long double bf16At(runtime::DevicePtr base, int64_t element) {
  return fromBf16(readElement<uint16_t>(base, element));
}

/// Adds weight · W2 · activation(W1 · x) of one expert to y; the strides tell where its rows are.
struct ExpertAt {
  runtime::DevicePtr w1, w2;
  int64_t gate, up;     ///< First elements of the halves in w1.
  int64_t down, stride; ///< First element in w2, and between its rows.
};

inline void addExpert(const MoeInstance &instance, int row, long double weight, const ExpertAt &expert,
                      std::vector<long double> &y) {
  const MoeTensors t = instance.tensors();
  const MoeShape &shape = instance.shape();
  std::vector<long double> activated;
  for (int i = 0; i < shape.inner; ++i) {
    long double gate = 0, up = 0;
    for (int h = shape.hidden - 1; h >= 0; --h) {
      const long double x = bf16At(t.x, row * t.xStrideRow + h);
      gate += x * bf16At(expert.w1, expert.gate + int64_t(i) * shape.hidden + h);
      if (shape.activation == Activation::SwiGlu)
        up += x * bf16At(expert.w1, expert.up + int64_t(i) * shape.hidden + h);
    }
    const long double silu = gate / (1 + std::exp(-gate));
    activated.push_back(shape.activation == Activation::SwiGlu ? silu * up
                        : shape.activation == Activation::Silu ? silu
                                                               : gate * std::erfc(-gate / sqrtl(2)) / 2);
  }
  for (int h = 0; h < shape.hidden; ++h)
    for (int i = shape.inner - 1; i >= 0; --i)
      y[size_t(h)] += weight * activated[size_t(i)] * bf16At(expert.w2, expert.down + h * expert.stride + i);
}

/// `device` memory must be host memory.
inline std::vector<long double> formulaRow(const MoeInstance &instance, int row) {
  const MoeTensors t = instance.tensors();
  const MoeShape &shape = instance.shape();
  const int topK = shape.router.topK, halves = shape.activation == Activation::SwiGlu ? 2 : 1;
  const int64_t half = int64_t(shape.inner) * shape.hidden;
  std::vector<long double> y(size_t(shape.hidden), 0.0L);
  for (int expert = 0; expert < shape.sharedExperts; ++expert)
    addExpert(instance, row, 1,
              {t.shared1, t.shared2, expert * half, (shape.sharedExperts + expert) * half,
               int64_t(expert) * shape.inner, int64_t(shape.sharedExperts) * shape.inner},
              y);
  for (int choice = 0; choice < topK; ++choice) {
    const int64_t expert = int64_t(readElement<int32_t>(t.ids, row * topK + choice)) - shape.firstExpert;
    if (expert >= 0 && expert < shape.localExperts)
      addExpert(
          instance, row, readElement<float>(t.weights, row * topK + choice),
          {t.w1, t.w2, expert * halves * half, (expert * halves + 1) * half, expert * half, shape.inner}, y);
  }
  return y;
}

/// Writes the reference's result for the constructor's routing into y.
inline void writeReference(MoeInstance &instance, const MoeReferenceOptions &options = {}) {
  const MoeTensors t = instance.tensors();
  parallelFor(instance.rows(), [&](int64_t row) {
    const MoeRow result = cpuReference(instance, int(row), options);
    std::vector<uint16_t> bits(result.out.size());
    std::transform(result.out.begin(), result.out.end(), bits.begin(), toBf16);
    instance.impl().device->copyToDevice(t.y + uint64_t(row * t.yStrideRow) * 2, bits.data(),
                                         bits.size() * 2);
  });
}

} // namespace lathe::reference
