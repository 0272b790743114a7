//===- Moe.h - Mixture-of-experts layers in the DSL ---------------------------------------------------===//
//
// The feed-forward half of a layer: a router, two projections of each chosen expert with an activation
// between them, the weighted sum over choices, and experts that every row goes to. One description for all
// routers and activations of the known models. Called by the tools, the tuner and tests; users copy and edit
// it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Kernel.h"
#include "lathe/dsl/models/ModelConfig.h"

namespace lathe::dsl {

/// What an expert does between its projections.
enum class Activation {
  SwiGlu, ///< silu(gate) * up: the first projection has two halves.
  Silu,   ///< silu of one half.
  Gelu    ///< gelu of one half.
};

/// How logits become scores.
enum class Scoring { Softmax, Sigmoid };

/// Where the routing begins.
enum class Router {
  Logits, ///< Input logits [row, expert].
  Gate,   ///< Input gate [expert, hidden]: the logits are its product with the rows.
  Given   ///< Inputs ids i32 and weights f32 [row, choice], of a router that ran already.
};

/// Extents and options of one GPU's share of a layer.
struct MoeShape {
  int hidden = 0;       ///< Columns of a row.
  int intermediate = 0; ///< Columns between the projections of an expert, on this GPU.
  int experts = 0;      ///< Routed experts of the layer.
  int localExperts = 0; ///< Of these on this GPU, from parameter first_expert on; 0: all.
  int topK = 0;         ///< Experts a row.
  int shared = 0;       ///< Experts that every row goes to, with weight 1.
  Activation activation = Activation::SwiGlu;

  Router router = Router::Logits;
  // Where the routing is given, the rest is not looked at.
  Dtype logits = f32; ///< Of the input of that name: f32, bf16 or f16.
  Dtype gate = bf16;  ///< Of the input of that name: bf16 or f32.
  Scoring scoring = Scoring::Softmax;
  bool bias = false; ///< Input bias f32 [expert], for the choice only.
  int groups = 1;
  int topGroups = 1;
  GroupScore groupScore = GroupScore::Best;
  bool renormalize = false;
  double scale = 1;

  int heldExperts() const { return localExperts ? localExperts : experts; } ///< Whose weights this GPU has.
  bool operator==(const MoeShape &) const = default;
};

/// Inputs x bf16 [row, hidden], those of the router (Router, bias), w1 bf16 [expert, half, inner, hidden]
/// (gate, then up; without the half dimension where the activation has one half), w2 bf16 [expert, hidden,
/// inner]; where there are shared experts, shared1 bf16 [half, shared, inner, hidden] and shared2 bf16
/// [hidden, shared, inner]; where only some experts are local, parameter first_expert i32, and choices of
/// others add nothing. Output y bf16 [row, hidden]. Throws UserError for extents that are not positive and
/// for a router that topK() refuses.
Kernel moeFfn(const MoeShape &shape);

/// The router alone: outputs ids i32 [row, choice], of the layer's experts, best first, and weights f32 [row,
/// choice]. Throws UserError where the routing is given, and as moeFfn.
Kernel moeRouting(const MoeShape &shape);

/// The shape of one GPU when each expert's columns are divided among `tp` GPUs and the experts among `ep`.
/// With ep above 1 the shared experts are left out: they belong to a GPU's own rows, not to those that others
/// sent. Scores that a configuration does not state are those of a softmax, chosen greedily. Throws UserError
/// for a dense model and for sizes that do not divide.
MoeShape moeShape(const ModelConfig &config, int tp, int ep);

} // namespace lathe::dsl
