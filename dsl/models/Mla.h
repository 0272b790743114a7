//===- Mla.h - Decode of multi-head latent attention in the DSL ---------------------------------------===//
//
// The absorbed form: queries against one cached row a token, [compressed latent | rotated key], whose leading
// columns are also the value. Called by the tools, the tuner and tests; users copy and edit it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Kernel.h"

namespace lathe::dsl {

/// Extents of one GPU's share of a model.
struct MlaShape {
  int heads = 0;       ///< Query heads on this GPU.
  int latent = 512;    ///< Compressed key-value columns (kv_lora_rank).
  int rope = 64;       ///< Rotated key columns after them (qk_rope_head_dim).
  int value = 0;       ///< Leading columns that are the value; 0: latent.
  int page = 64;       ///< Tokens a page.
  int queryTokens = 1; ///< Query tokens a sequence (speculative decoding: more than one).
  bool causal = true;  ///< The last query token sees all tokens, the one before it all but one, …

  int keyDim() const { return latent + rope; }            ///< Columns of a cache row.
  int valueDim() const { return value ? value : latent; } ///< Its leading columns that are the value.
  bool operator==(const MlaShape &) const = default;
};

/// Inputs q bf16 [batch, query, head, latent + rope], kv bf16 paged [token, latent + rope] with block_table
/// and lengths; parameter scale f32; outputs out bf16 [batch, query, head, value] and lse f32 [batch, head,
/// query], natural logarithm. Throws UserError for extents that are not positive or a value wider than the
/// row.
Kernel mlaDecode(const MlaShape &shape);

} // namespace lathe::dsl
