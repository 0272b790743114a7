//===- MoeInside.h - The inside of a random mixture-of-experts problem -------------------------------===//
//
// Buffers and host copies behind MoeInstance, shared by the files of this room and by nobody else. Weights on
// the host are random matrices that cost little (RandomMatrix.h), and the references read them all the same
// way.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/MoeReference.h"
#include "lathe/reference/RandomMatrix.h"

#include <memory>

namespace lathe::reference {

struct MoeInstance::Impl {
  runtime::Device *device = nullptr;
  MoeShape shape;
  MoeOptions options;
  MoeTensors tensors;

  RandomMatrix x, w1, w2, shared1, shared2, gate;
  std::vector<float> logits; ///< [rows, experts], after rounding to the shape's type.
  std::vector<float> bias;
  std::vector<int32_t> ids; ///< As the constructor left them.
  std::vector<float> weights;

  runtime::Buffer xBuffer, w1Buffer, w2Buffer, shared1Buffer, shared2Buffer, logitsBuffer, biasBuffer;
  runtime::Buffer gateBuffer, idsBuffer, weightsBuffer, yBuffer;

  /// What the GPU reference computed, and for which routing.
  struct GpuExpected {
    std::vector<int32_t> ids;
    std::vector<float> weights;
    bool roundActivated = false;
    std::vector<float> out, allowed; ///< [rows, hidden].
  };
  std::unique_ptr<GpuExpected> gpuExpected;

  /// Element of the gate, as the device holds it. A float32 one has 24 random bits.
  float gateAt(int64_t expert, int64_t column) const {
    const float value = fromBf16(gate.row(expert)[column]);
    return shape.gateType == Dtype::F32 ? value * 1.236067977F : value;
  }
  int rows() const { return tensors.rows; }
  int topK() const { return shape.router.topK; }
  int64_t choices() const { return int64_t(rows()) * topK(); }
  /// Rows of w1 and w2 of a local expert: half, inner → row of w1; hidden → row of w2.
  int64_t firstRow1(int expert, int half) const {
    return (int64_t(expert) * shape.halves() + half) * shape.inner;
  }
  int64_t firstRow2(int expert) const { return int64_t(expert) * shape.hidden; }
  /// The same of a shared expert; row h of shared2 holds all shared experts behind each other.
  int64_t firstSharedRow1(int expert, int half) const {
    return (int64_t(half) * shape.sharedExperts + expert) * shape.inner;
  }
};

/// Elements behind the last one of ids, weights, a gate's logits and of rows of x and y that must be neither
/// read nor written.
constexpr int64_t spareChoices = 16, spareRows = 3;

/// Draws logits and biases so that the spread comes about. Not with a gate.
void drawLogits(MoeInstance::Impl &impl, Random &random);
/// Replaces some ids by such as MoeOptions::wildIds promises.
void drawWildIds(MoeInstance::Impl &impl, Random &random);

/// One row's logits for the judges. The views are into `logits`, `errors` and the instance.
struct RowInputs {
  std::vector<double> logits, errors;
  RouterRow row;
};
RowInputs routerInputs(const MoeInstance::Impl &impl, int64_t row);

/// What is on the device, and whether something was written that must not be.
struct MoeProduced {
  std::vector<uint16_t> out; ///< Without gaps: [rows, hidden].
  std::vector<int32_t> ids;
  std::vector<float> weights, logits; ///< Logits of a gate.
  std::string outFault, routingFault; ///< Empty, or which place lost its poison.
};
MoeProduced downloadMoe(const MoeInstance::Impl &impl);

/// One row in float64 for a routing.
MoeRow computeMoeRow(const MoeInstance::Impl &impl, int64_t row, std::span<const int32_t> ids,
                     std::span<const float> weights, const MoeReferenceOptions &options);

/// All rows, ascending, or `sampleRows` different ones chosen by the seed.
std::vector<int64_t> chooseMoeRows(const MoeInstance::Impl &impl, int sampleRows);

} // namespace lathe::reference
