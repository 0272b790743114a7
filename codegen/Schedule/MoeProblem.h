//===- MoeProblem.h - What schedules must know of a mixture of experts -------------------------------===//
//
// Extents, element types and options of a recognised router and its experts, without the module that they
// were found in. Plain C++: the pattern fills it in, schedules and the tuner decide by it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Dtype.h"

#include <optional>
#include <string>

namespace lathe::codegen {

/// Where the routing begins.
enum class MoeRouter {
  Given, ///< Expert ids i32 and weights f32 are inputs.
  Logits ///< Logits are an input, or with a gate made by the kernel.
};

/// How logits become scores.
enum class MoeScoring {
  Plain,   ///< They are the scores.
  Softmax, ///< NaN logits take no part.
  Sigmoid
};

/// What an expert does between its projections, g and u being the halves of the first.
enum class MoeActivation {
  SwiGlu, ///< g * sigmoid(g) * u.
  Silu,   ///< g * sigmoid(g), of one half.
  Gelu,   ///< g / 2 * (1 + erf(g / sqrt(2))), of one half.
  Other   ///< Any element-wise function of the halves: the pattern's map says which.
};

/// Router and experts of a kernel. What a kernel has not is 0, false or 1.
struct MoeProblem {
  std::string name; ///< Name of the dsl::Kernel.
  int topK = 0;     ///< Choices a row.

  MoeRouter router = MoeRouter::Logits;
  MoeScoring scoring = MoeScoring::Plain;
  Dtype logits = Dtype::F32; ///< f32, bf16 or f16; f32 where the kernel makes them.
  /// Of the gate matrix (bf16, f32) whose product with the rows the logits are; none where they are an input.
  std::optional<Dtype> gate = std::nullopt;
  int routedExperts = 0; ///< Experts that the router chooses from; 0 where the routing is given.
  bool bias = false;     ///< Added to scores for the choice only, f32.
  int groups = 1;
  int topGroups = 1;
  bool sumOfTwoBest = false; ///< A group's score; else its best.
  bool renormalize = false;
  double scale = 1;
  bool writesRouting = false; ///< Ids or weights are outputs.

  bool ffn = false;      ///< Whether there are experts at all, not a router alone.
  int experts = 0;       ///< Experts whose weights the kernel has.
  bool partial = false;  ///< Choices may lie outside of these; they add nothing.
  bool offset = false;   ///< A parameter is the id of the first of them; else it is 0.
  int hidden = 0;        ///< Columns of a row, in and out.
  int intermediate = 0;  ///< Columns between an expert's projections.
  int halves = 0;        ///< Of the first projection: 1 or 2.
  int shared = 0;        ///< Experts that every row goes to, with weight 1.
  int sharedColumns = 0; ///< Columns between the projections of one of those.
  MoeActivation activation = MoeActivation::Other;
  Dtype output = Dtype::BF16; ///< bf16 or f32. Rows and weights are bf16.

  bool operator==(const MoeProblem &) const = default;
};

} // namespace lathe::codegen
