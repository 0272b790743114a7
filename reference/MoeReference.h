//===- MoeReference.h - What a mixture-of-experts layer must compute ---------------------------------===//
//
// Random problems in device memory with poisoned unused memory, the layer in float64 on the CPU and, for
// large shapes, in plain CUDA C++ on the GPU, and the judges of what a kernel made of them. Tests, the tuner
// and `lathe verify` judge by this room, which knows nothing of the compiler.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/MoeRouting.h"

#include "lathe/runtime/device/Device.h"
#include "lathe/support/Dtype.h"

#include <memory>

namespace lathe::reference {

/// What an expert does with the products g (gate half) and u (up half) of a row: SwiGlu g·sigmoid(g)·u; Silu
/// g·sigmoid(g) and Gelu g·(1 + erf(g/√2))/2 of experts that have one half.
enum class Activation { SwiGlu, Silu, Gelu };

/// y[row] = sum over the row's choices of weight · W2[expert] · activation(W1[expert] · x[row]), over choices
/// of local experts, plus the same with weight 1 of each shared expert.
struct MoeShape {
  int hidden = 2048;
  int inner = 1408;
  int localExperts = 0; ///< Experts that live here, from firstExpert on; 0: all of the router's.
  int firstExpert = 0;
  int sharedExperts = 0; ///< Always on, each as wide as a routed one.
  Activation activation = Activation::SwiGlu;
  MoeRouter router = {};
  Dtype logits = Dtype::F32;    ///< Or BF16.
  bool gate = false;            ///< Logits are gate · x, in float32, made by the kernel.
  Dtype gateType = Dtype::BF16; ///< Or F32.

  int halves() const { return activation == Activation::SwiGlu ? 2 : 1; }
  LocalExperts local() const { return {firstExpert, localExperts}; }
  /// Multiply-adds of one expert and one row.
  double expertWork() const { return double(hidden) * inner * (halves() + 1); }
  /// Bytes of all experts' weights.
  double weightBytes() const;
};

/// Views of one problem; all bfloat16 where nothing else is said, innermost dimension contiguous.
struct MoeTensors {
  int rows = 0;
  runtime::DevicePtr x = 0;       ///< [rows, hidden], xStrideRow apart.
  runtime::DevicePtr w1 = 0;      ///< [localExperts, halves, inner, hidden]; gate half before up half.
  runtime::DevicePtr w2 = 0;      ///< [localExperts, hidden, inner].
  runtime::DevicePtr shared1 = 0; ///< [halves, sharedExperts, inner, hidden]; 0 without.
  runtime::DevicePtr shared2 = 0; ///< [hidden, sharedExperts, inner]; 0 without.
  runtime::DevicePtr logits = 0;  ///< f32 or bf16 [rows, experts]; with a gate, written by the kernel.
  runtime::DevicePtr bias = 0;    ///< f32 [experts]; 0 without.
  runtime::DevicePtr gate = 0;    ///< bf16 or f32 [experts, hidden]; 0 without.
  runtime::DevicePtr ids = 0;     ///< i32 [rows, topK].
  runtime::DevicePtr weights = 0; ///< f32 [rows, topK].
  runtime::DevicePtr y = 0;       ///< [rows, hidden], yStrideRow apart.
  int64_t xStrideRow = 0, yStrideRow = 0; ///< Elements.
};

/// How rows spread over experts. Uniform draws experts with equal chance. Zipf gives the i-th of a random
/// order of experts the chance 1/i^s, so that the first few get most rows. OneTakesAll: one expert is in
/// every row. SkipOne: one is in none. NoneLocal: no local one is in any, as far as there are others.
enum class Spread { Uniform, Zipf, OneTakesAll, SkipOne, NoneLocal };

struct MoeOptions {
  uint64_t seed = 0; ///< Everything random follows from it; the same on every machine.
  Spread spread = Spread::Uniform;
  double zipf = 1;       ///< The exponent s.
  bool ties = false;     ///< Logits of three values and biases of two, so that most keys have an equal.
  bool nans = false;     ///< A sixth of the logits NaN or minus infinity; the first row NaN throughout.
  bool wildIds = false;  ///< Ids far out of range and ids twice in a row, for kernels that take ids.
  bool stridedX = false; ///< NaN between rows of x.
  bool stridedY = false; ///< Gaps between rows of y, which a kernel must leave untouched.
  /// NaN behind the last row and in the weights of local experts that no row chose (without a gate, which
  /// leaves the choice to rounding); zero, and random weights, otherwise.
  bool poison = true;
};

/// One random problem in device memory and on the host. x is N(0, 1); weights are scaled so that every
/// product is about N(0, 1) again. A large matrix repeats one random block at different offsets. The device's
/// ids and weights, and a gate's logits, hold the reference's routing until a kernel overwrites them.
class MoeInstance {
public:
  /// Synchronous. `device` must outlive the instance. Throws UserError on an impossible shape or spread,
  /// DeviceError when memory is short.
  MoeInstance(runtime::Device &device, const MoeShape &shape, int rows, const MoeOptions &options);
  MoeTensors tensors() const;
  const MoeShape &shape() const; ///< With localExperts resolved.
  int rows() const;
  /// What the constructor left in ids and weights: [rows, topK].
  const std::vector<int32_t> &ids() const;
  const std::vector<float> &weights() const;
  void poisonOutputs(); ///< Fills y with NaN, gaps included. Synchronous. The constructor does it once.
  /// Fills ids with -1, weights and a gate's logits with NaN, for a kernel that routes. Synchronous.
  void poisonRouting();
  void restoreRouting(); ///< All of these as the constructor left them. Synchronous.

  struct Impl;
  ~MoeInstance();
  MoeInstance(MoeInstance &&) noexcept;
  Impl &impl() const { return *impl_; } ///< For this room only (MoeInside.h).

private:
  std::unique_ptr<Impl> impl_;
};

struct RoutingCheck {
  bool passed = false;
  int64_t rows = 0;            ///< Judged.
  int64_t otherOrder = 0;      ///< Of these, rows that differ from float64's choice by what rounding allows.
  double worstWeightRatio = 0; ///< Largest error of a weight over what rounding allows.
  double worstLogitRatio = 0;  ///< Of a logit that a gate made.
  std::string message;         ///< First failure; empty when passed.
};

/// Judges ids and weights on the device by checkRoutedRow(), all rows or `sampleRows` random ones, and that
/// nothing was written behind them. With a gate the kernel's logits are compared with those of float64, and
/// the routing is judged by the logits that the kernel made, as if these were given: where two of them are
/// nearly equal, either choice follows from some rounding, but only one from these. Waits for the whole
/// device.
RoutingCheck checkRouting(const MoeInstance &instance, int sampleRows = 0);

/// The routing of one row by the rules, from the host copies.
RoutedRow referenceRouting(const MoeInstance &instance, int row);

/// Downloads a map that a kernel made for the instance's experts: counts [localExperts], offsets
/// [localExperts + 1], `slotCapacity` slots, all i32. Waits for the whole device.
SortedMap downloadSortedMap(const MoeInstance &instance, runtime::DevicePtr counts,
                            runtime::DevicePtr offsets, runtime::DevicePtr slots, int64_t slotCapacity,
                            int tile);

/// The ids that are on the device now: [rows, topK]. Waits for the whole device.
std::vector<int32_t> downloadIds(const MoeInstance &instance);
/// The bits of y without gaps: [rows, hidden]; what two runs of a deterministic kernel agree in. Waits.
std::vector<uint16_t> downloadOutput(const MoeInstance &instance);

struct MoeReferenceOptions {
  /// Rounds the activated products to bfloat16 as kernels do that keep them in memory. The error against
  /// float64 is the one without.
  bool roundActivated = false;
};

/// One row of y in float64, not rounded, and the allowed distance of each element (MoeCompare.h).
struct MoeRow {
  std::vector<double> out, allowed; ///< [hidden]; both exactly 0 where nothing contributes.
};

struct MoeComparison {
  bool passed = false;
  int64_t rows = 0;
  double worstRatio = 0;    ///< Largest |got - expected| over what is allowed; passes at 1 or less.
  double relativeError = 0; ///< ||got - expected|| / ||expected|| of all compared rows (MoeCompare.h: 4e-3).
  std::string message;      ///< First failure: row, column, got, expected; empty when passed.
};

/// The CPU reference of one row for the ids and weights that the constructor left.
MoeRow cpuReference(const MoeInstance &instance, int row, const MoeReferenceOptions &options = {});

/// Compares y with the float64 CPU reference, all rows or `sampleRows` random ones, for the ids and weights
/// that are on the device now: routing has its own judge. NaN and Inf positions are compared first; gaps and
/// the memory behind the last row must still hold their poison. Waits for the whole device.
MoeComparison compareWithCpu(const MoeInstance &instance, int sampleRows = 0,
                             const MoeReferenceOptions &options = {});

/// The same of every row against plain CUDA kernels in float64. Their result is kept until ids, weights or
/// options differ. Throws DeviceError when NVRTC is missing or the GPU fails.
MoeComparison compareWithGpu(MoeInstance &instance, const MoeReferenceOptions &options = {});

} // namespace lathe::reference
