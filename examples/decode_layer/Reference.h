//===- Reference.h - What a layer must compute ---------------------------------------------------------===//
//
// The same stages for one sequence in float64, each from the results of earlier ones. So a stage can be
// judged from what the device gave it, and the layer from its input alone. Called by Judge.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Cache.h"
#include "HostMath.h"

namespace lathe::examples {

/// One sequence's row of each tensor of a step (Activations), and what it appended to the cache.
struct RowTensors {
  Row x, normed, query, keyValue, absorbed, appended, attended, values, projected, middle, routed, logits,
      experts, out;
};

/// Which sequence, and what its row's router chose; routing has a judge of its own.
struct RowCase {
  int sequence = 0;
  std::span<const int32_t> ids;
  std::span<const float> weights;
};

class Reference {
public:
  /// All must outlive it.
  Reference(const LayerShape &shape, const Weights &weights, const Cache &cache)
      : shape_(shape), w_(weights), cache_(cache) {}

  struct Stage {
    const char *name; ///< As Layer's.
    void (Reference::*compute)(RowTensors &, const RowCase &) const;
    std::vector<Row RowTensors::*> results; ///< That it writes.
  };
  static const std::vector<Stage> &stages();
  void compute(const Stage &stage, RowTensors &row, const RowCase &where) const {
    (this->*stage.compute)(row, where);
  }

private:
  void norm(RowTensors &row, const RowCase &where) const;
  void project(RowTensors &row, const RowCase &where) const;
  void absorb(RowTensors &row, const RowCase &where) const;
  void append(RowTensors &row, const RowCase &where) const;
  void attend(RowTensors &row, const RowCase &where) const;
  void output(RowTensors &row, const RowCase &where) const;
  void residual(RowTensors &row, const RowCase &where) const;
  void gate(RowTensors &row, const RowCase &where) const;
  void experts(RowTensors &row, const RowCase &where) const;
  void finish(RowTensors &row, const RowCase &where) const;
  Row attendHead(std::span<const double> query, const RowTensors &row, int sequence) const;

  const LayerShape &shape_;
  const Weights &w_;
  const Cache &cache_;
};

} // namespace lathe::examples
