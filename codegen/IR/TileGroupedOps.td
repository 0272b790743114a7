//===- TileGroupedOps.td - Operations of grouped products ----------------------------------------------===//
//
// For products whose rows come from anywhere and whose results are combined by pairs of rows. Included by TileOps.td.
//
//===--------------------------------------------------------------------------------------------------===//
#ifndef TILE_GROUPED_OPS
#define TILE_GROUPED_OPS

def Tile_GatherOp : Tile_Op<"gather", [AttrSizedOperandSegments]> {
  let summary = "a thread copies its share of the first rows of a stage, asynchronously";
  let description = [{
    Run by all `gatherers` threads of the pipe, a multiple of 8, of which this one is number `thread`. It copies 16 bytes in each
    box of rows thread / 8, thread / 8 + gatherers / 8, … below `rows` (a multiple of 8): source i points to the first byte of the
    i-th of these rows in global memory, a multiple of 16; columns begin `offset` bytes behind it. There is a source for each row
    that a thread may have. Rows from `present` on, where that is told, arrive as zeros and are not read; those from `rows` on are left as they
    are. The stage is full when the copies of all threads have
    arrived; its reader, `tile.wait`, makes them visible to WGMMA.

    ```mlir
    tile.gather %pipe[%n] rows 8 present %p from (%a : !llvm.ptr<1>) offset %k thread %t : !tile.pipe<4, 8, 128 gatherers 96>
    ```
  }];
  let arguments = (ins Variadic<LLVM_PointerInAddressSpace<1>>:$sources, Tile_PipeType:$pipe, I32:$count, I32:$offset,
                       I32:$thread, I32Attr:$rows, Optional<I32>:$present);
  let assemblyFormat = [{
    $pipe `[` $count `]` `rows` $rows (`present` $present^)? `from` `(` $sources `:` type($sources) `)` `offset` $offset `thread` $thread attr-dict
    `:` type($pipe)
  }];
  let hasVerifier = 1;
}

def Tile_TanhOp : Tile_Op<"tanh", [Pure]> {
  let summary = "hyperbolic tangent by the special function unit (tanh.approx: relative error 2^-11)";
  let arguments = (ins F32:$x);
  let results = (outs F32:$result);
  let assemblyFormat = "$x attr-dict";
}

def Tile_StorePairsOp : Tile_Op<"store_pairs"> {
  let summary = "a warpgroup combines the rows of a fragment by pairs and writes the results, transposed, to global memory";
  let description = [{
    Of every 16 rows the first eight are one half and the last eight the other: row r is paired with row r + 8. The first region
    makes of both elements (f32) one; so there are 32 results a column. Those of a column go, rounded to `element` (bf16 or f16),
    one behind the other to a row of the result; the second region maps a column to the element offset of its row, a multiple of
    8, and whether it is written at all. Rows pass through shared memory, named `name`: one a column, from byte `offset` on, each of
    64 bytes and 16 more; with `at_once` (a multiple of 8) so many columns at a time. The threads meet at the named event before
    and after they write it. With `index` and `count` the code is that of `count` warpgroups: that of number `index` has the memory
    behind those before, or `index` times `apart` bytes behind the first, and the event of number `event` + `index`.
  }];
  let arguments = (ins Tile_FragmentType:$fragment, LLVM_PointerInAddressSpace<1>:$base, Optional<I32>:$index,
                       OptionalAttr<StrAttr>:$name, I32Attr:$offset, I32Attr:$event, TypeAttr:$element,
                       OptionalAttr<I32Attr>:$apart, DefaultValuedAttr<I32Attr, "256">:$at_once,
                       DefaultValuedAttr<I32Attr, "1">:$count);
  let regions = (region SizedRegion<1>:$pair, SizedRegion<1>:$body);
  let assemblyFormat = [{
    $fragment `to` $base ($name^)? `at` $offset (`[` $index^ `]`)? (`of` $count^)? (`apart` $apart^)? `event` $event `as` $element (`at_once` $at_once^)? attr-dict
    `:` type($fragment) `to` type($base) $pair `,` $body
  }];
  let hasVerifier = 1;
}

def Tile_AddTransposedOp : Tile_Op<"add_transposed", [AttrSizedOperandSegments]> {
  let summary = "a warpgroup adds the columns of a fragment, each times a factor, to rows of global memory (red.add.f32)";
  let description = [{
    Element (r, c) goes, times the factor of column c, onto element from + r of the row of column c; rows have `stride` f32. Lane
    l of each warp tells the rows and the factors of columns l, l + 32, …, one operand each for every 32 columns or part of them;
    a negative row takes nothing. Sums of several adders are in no certain order, so their last bits differ between runs.

    ```mlir
    tile.add_transposed %sum to %sums[%from] stride 2048 rows(%row) factors(%weight) : !tile.fragment<24> to !llvm.ptr<1>
    ```
  }];
  let arguments = (ins Tile_FragmentType:$fragment, LLVM_PointerInAddressSpace<1>:$base, I32:$from, I64Attr:$stride,
                       Variadic<I32>:$rows, Variadic<F32>:$factors);
  let assemblyFormat = [{
    $fragment `to` $base `[` $from `]` `stride` $stride `rows` `(` $rows `)` `factors` `(` $factors `)` attr-dict
    `:` type($fragment) `to` type($base)
  }];
  let hasVerifier = 1;
}

def Tile_PublishOp : Tile_Op<"publish"> {
  let summary = "a warpgroup: adds one to a counter in global memory, when its writes to global memory before it are there for others";
  let description = [{
    Who sees the sum by `tile.await` sees what the warpgroup's threads wrote before. `event` is a named event of its 128 threads;
    with an index (an i32, the warpgroup's number) event + index is.

    ```mlir
    tile.publish %ready[%at] event 1 of %consumer : !llvm.ptr<1>
    ```
  }];
  let arguments = (ins LLVM_PointerInAddressSpace<1>:$counters, I32:$element, I32Attr:$event, Optional<I32>:$index);
  let assemblyFormat = "$counters `[` $element `]` `event` $event (`of` $index^)? attr-dict `:` type($counters)";
  let hasVerifier = 1;
}

def Tile_AwaitOp : Tile_Op<"await"> {
  let summary = "one thread: looks at a counter of `tile.publish` until it is `least` or more";
  let description = [{
    Then what was written before the additions is there, for loads by TMA, too. What awaits must not keep from running who
    publishes.

    ```mlir
    tile.await %ready[%at] least 44 : !llvm.ptr<1>
    ```
  }];
  let arguments = (ins LLVM_PointerInAddressSpace<1>:$counters, I32:$element, I32Attr:$least);
  let assemblyFormat = "$counters `[` $element `]` `least` $least attr-dict `:` type($counters)";
  let hasVerifier = 1;
}

#endif // TILE_GROUPED_OPS
