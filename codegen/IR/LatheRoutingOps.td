//===- LatheRoutingOps.td - Routing, and arrays indexed by data --------------------------------------------===//
//
// The choice of experts by their scores, a choice that was made elsewhere, and the reading of arrays by what was chosen.
// For mixtures of experts: the layer between the two is contractions and maps. Included by LatheOps.td.
//
//===--------------------------------------------------------------------------------------------------===//
#ifndef LATHE_ROUTING_OPS
#define LATHE_ROUTING_OPS

def Lathe_RouteOp : Lathe_BodyOp<"route", [Pure]> {
  let summary = "the best of an axis, with their weights";
  let description = [{
    For each row of the scores the `choice` best coordinates along `axis`, best first, in a new dimension of the results in
    place of the axis. A coordinate's key is its score plus its bias. With `groups` of equally many consecutive
    coordinates, the `topGroups` groups of the best group score are taken first: the best key of a group, or the sum of its
    two best with `sumOfTwoBest`; then the best keys of these groups. Between equals the lowest index wins. Without a bias,
    scores that are a softmax's probabilities or sigmoids are ordered as real numbers, that is, as their logits. In these
    logits NaN counts as minus infinity and plus infinity as the largest finite f32; minus infinity has the key minus
    infinity whatever the bias, and so has a key or group score that is NaN.

    A weight is the score without bias, 0 where that is NaN; with `renormalize` divided by the sum over the choices (0 where
    the sum is 0); then times `scale`.

    ```mlir
    %ids, %weights = lathe.route %p over "expert" choose "choice" bias(%b : !lathe.array<f32, expert=256>)
      {groups = 8 : i64, topGroups = 4 : i64, sumOfTwoBest, renormalize, scale = 2.5 : f64}
      : !lathe.array<f32, row=?, expert=256> -> !lathe.array<i32, row=?, choice=8>, !lathe.array<f32, row=?, choice=8>
    ```
  }];
  let arguments = (ins Lathe_ArrayType:$scores, StrAttr:$axis, StrAttr:$choice, Optional<Lathe_ArrayType>:$bias,
                       DefaultValuedAttr<I64Attr, "1">:$groups, DefaultValuedAttr<I64Attr, "1">:$topGroups,
                       UnitAttr:$sumOfTwoBest, UnitAttr:$renormalize, DefaultValuedAttr<F64Attr, "1.0">:$scale);
  let results = (outs Lathe_ArrayType:$ids, Lathe_ArrayType:$weights);
  let assemblyFormat = [{
    $scores `over` $axis `choose` $choice (`bias` `(` $bias^ `:` qualified(type($bias)) `)`)? attr-dict `:`
    qualified(type($scores)) `->` qualified(type($ids)) `,` qualified(type($weights))
  }];
  let hasVerifier = 1;
}

def Lathe_GivenOp : Lathe_BodyOp<"given", [Pure, AllTypesMatch<["ids", "localIds"]>,
                                    AllTypesMatch<["weights", "localWeights"]>]> {
  let summary = "the part of a routing that concerns some experts";
  let description = [{
    Choices that were made elsewhere, by their ids: the expert of a choice is its id less `first`. A choice whose expert is
    not within the `experts` from 0 on takes no part: its expert is -1 and its weight 0. The results have the types of the
    operands.

    ```mlir
    %e, %w = lathe.given %ids, %weights within 32 first(%first : i32)
      : !lathe.array<i32, row=?, choice=8>, !lathe.array<f32, row=?, choice=8>
    ```
  }];
  let arguments = (ins Lathe_ArrayType:$ids, Lathe_ArrayType:$weights, I64Attr:$experts, Optional<I32>:$first);
  let results = (outs Lathe_ArrayType:$localIds, Lathe_ArrayType:$localWeights);
  let assemblyFormat = [{
    $ids `,` $weights `within` $experts (`first` `(` $first^ `:` type($first) `)`)? attr-dict `:`
    qualified(type($ids)) `,` qualified(type($weights))
  }];
  let hasVerifier = 1;
}

def Lathe_GatherOp : Lathe_BodyOp<"gather", [Pure]> {
  let summary = "an array indexed by another one";
  let description = [{
    Reads the source at the coordinate that `ids` hold, along dimension `dim`. The result has the dimensions of the ids and
    then those of the source without `dim`, each once: dimensions that both have are walked together. Elements whose id is
    not a coordinate of `dim` are 0. States what is read, not that it is copied: a contraction of an expert's weights reads
    them where they lie.

    ```mlir
    %w = lathe.gather %w2 along "expert" by %ids
      : !lathe.array<bf16, expert=64, hidden=2048, inner=1408>, !lathe.array<i32, row=?, choice=6>
      -> !lathe.array<bf16, row=?, choice=6, hidden=2048, inner=1408>
    ```
  }];
  let arguments = (ins Lathe_ArrayType:$source, StrAttr:$dim, Lathe_ArrayType:$ids);
  let results = (outs Lathe_ArrayType:$result);
  let assemblyFormat = [{
    $source `along` $dim `by` $ids attr-dict `:` qualified(type($source)) `,` qualified(type($ids)) `->`
    qualified(type($result))
  }];
  let hasVerifier = 1;
}

def Lathe_AtOp : Lathe_BodyOp<"at", [Pure]> {
  let summary = "an array at one coordinate of a dimension";
  let description = [{
    The elements at coordinate `index` of dimension `dim`, which has a static extent; the result lacks the dimension.

    ```mlir
    %gate = lathe.at %w1 "half"[0] : !lathe.array<bf16, half=2, inner=1408, hidden=2048>
      -> !lathe.array<bf16, inner=1408, hidden=2048>
    ```
  }];
  let arguments = (ins Lathe_ArrayType:$source, StrAttr:$dim, I64Attr:$index);
  let results = (outs Lathe_ArrayType:$result);
  let assemblyFormat = "$source $dim `[` $index `]` attr-dict `:` qualified(type($source)) `->` qualified(type($result))";
  let hasVerifier = 1;
}

#endif
