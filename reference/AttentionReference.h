//===- AttentionReference.h - What paged attention decode must compute -------------------------------===//
//
// The float64 reference on the CPU, plain CUDA C++ reference kernels compiled by NVRTC for large shapes on
// the GPU, random problems with poisoned unused memory, and the comparison with its tolerances. Tests, the
// tuner and `lathe verify` all judge by this room, which knows nothing of the compiler.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/Kernel.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace lathe::reference {

struct AttentionShape {
  int heads = 16;
  int queryTokens = 1;
  int keyDim = 576;
  int valueDim = 512; ///< Leading elements of a cache row; at most keyDim.
  int page = 64;
  bool causal = true; ///< The last query token attends to all tokens, the one before to all but one, …
  float scale = 0;    ///< Softmax scale. 0: a random problem takes 192^-0.5, as DeepSeek's models do.

  int rows() const { return heads * queryTokens; } ///< Row = query token * heads + head.
  /// Tokens of a sequence of `length` that query token `query` attends to.
  int visibleTokens(int length, int query) const;
};

struct AttentionProblemOptions {
  uint64_t seed = 0; ///< Everything random follows from it; the same on every machine.
  bool shufflePages = true;
  bool stridedTable = true;    ///< Table rows wider than needed, with garbage in the unused entries.
  bool stridedCache = false;   ///< NaN between tokens and between pages.
  bool stridedQuery = false;   ///< NaN between query rows and between sequences.
  bool stridedOutputs = false; ///< Gaps in out and lse, which a kernel must leave untouched.
  bool poison = true;          ///< NaN in every unused cache slot and every spare page; zero otherwise.
};

/// One random decode problem in device memory (and the host copies that the CPU reference needs when
/// keepHost). Queries and cache rows are N(0,1) rounded to bf16. Cache content is independent up to some
/// eight megabytes; a larger cache repeats the same random block at different offsets, so that making it
/// costs no more than copying. Unused table entries hold garbage, pages of no sequence hold poison, in every
/// instance.
class AttentionInstance {
public:
  /// Synchronous. `lengths`: tokens a sequence, 0 allowed; its size is the batch, 0 allowed. `device` must
  /// outlive the instance. Throws UserError on a negative length or an impossible shape, DeviceError when
  /// memory is short.
  AttentionInstance(runtime::Device &device, const AttentionShape &shape, const std::vector<int> &lengths,
                    const AttentionProblemOptions &options, bool keepHost);
  /// Views; out and lse are this instance's own buffers. All strides are given, none is left 0.
  runtime::DecodeTensors tensors() const;
  /// Fills out and lse with NaN patterns, gaps included. Synchronous. The constructor does it once.
  void poisonOutputs();
  const std::vector<int> &lengths() const;
  const AttentionShape &shape() const; ///< With the scale that was chosen.
  /// Entries of a table row that the longest sequence needs; at least 1.
  int maxPagesPerSequence() const;

  struct Impl;
  ~AttentionInstance();
  AttentionInstance(AttentionInstance &&) noexcept;
  Impl &impl() const { return *impl_; } ///< For this room only (Instance.h).

private:
  std::unique_ptr<Impl> impl_;
};

struct Comparison {
  bool passed = false;
  double worstRatio = 0;       ///< Largest |a-b| / (8e-4 + 2.01/128·|b|); passes at 1 or less.
  double cosineDifference = 0; ///< 1 - 2<a,b>/(<a,a>+<b,b>) over the output; passes below
  double cosineAllowed = 5e-6; ///< this, which is more where it has few elements (Compare.h).
  double worstLse = 0;         ///< Largest |a-b| / (1e-6 + 8/65536·|b|); passes at 1 or less.
  std::string message; ///< First failure: sequence, query, head, column, got, expected; empty when passed.
};

/// One row of the float64 reference, not rounded.
struct ReferenceRow {
  std::vector<double> out; ///< [valueDim]; all 0 where nothing is attended.
  double lse = 0;          ///< Natural logarithm; +inf where nothing is attended.
  /// What errors grow with: the sum of |probability · value| of each column, the largest sum of |query · key|
  /// times the scale. Only where they were asked for.
  std::vector<double> magnitude;
  double scoreMagnitude = 0;
};

/// How two runs of one kernel on the same problem, on different devices, differ.
struct Agreement {
  bool passed = false;
  int64_t elements = 0, identical = 0; ///< Of the output; of these, the same bits.
  double worstRatio = 0;               ///< Largest |a-b| over the element's own bound; passes at 1 or less.
  double meanRatio = 0;                ///< Over all elements.
  int worstUlps = 0;        ///< Largest distance in units of bf16's last place, of elements above 1e-3.
  double worstLseRatio = 0; ///< The same of log-sum-exps.
  std::string message;      ///< First failure; empty when passed.
};

/// Compares the outputs of two instances of one problem (same shape, lengths, options) element by element.
/// The bound of an element is what a different order of additions can do to it, from the float64 reference:
/// scores summed in float32 in any order, each probability rounded to bf16 to the one side or the other,
/// products summed in float32 in any order, the result rounded to bf16. Throws UserError when the instances
/// differ or the first kept no host copies.
Agreement compareRuns(const AttentionInstance &first, const AttentionInstance &second);

/// The CPU reference for one (sequence, query token, head). Throws UserError if the instance kept no host
/// copies.
ReferenceRow cpuReference(const AttentionInstance &instance, int sequence, int query, int head);

/// Compares the outputs of the instance with the float64 CPU reference (all rows, or `sampleRows` random ones
/// when it is not 0). NaN and Inf positions are compared first; gaps of strided outputs must still hold their
/// poison. Waits for the whole device. Throws UserError if the instance kept no host copies.
Comparison compareWithCpu(const AttentionInstance &instance, int sampleRows = 0);

/// Compares with the NVRTC reference kernels on the GPU (plain loops in float64; every row). The reference of
/// an instance is computed once and kept. Waits for the whole device. Throws DeviceError when NVRTC is
/// missing or the GPU fails.
Comparison compareWithGpu(AttentionInstance &instance);

/// Whether libnvrtc can be opened (LATHE_NVRTC, then the loader's path, then the toolkit's folders).
bool nvrtcAvailable();

} // namespace lathe::reference
