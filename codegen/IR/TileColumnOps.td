//===- TileColumnOps.td - Operations on columns of fragments -------------------------------------------===//
//
// For schedules with operands exchanged, whose query rows are a fragment's columns. Included by TileOps.td.
//
//===--------------------------------------------------------------------------------------------------===//
#ifndef TILE_COLUMN_OPS
#define TILE_COLUMN_OPS

def Tile_MmaTtOp : Tile_Op<"mma_tt"> {
  let summary = "acc += aᵀ · bᵀ, for the 64 columns of box `box` of a (asynchronous)";
  let description = [{
    The product over the rows of `a`, which are the columns of `b`: `b` has one box, with as many rows as the result has
    columns. Both operands lie in shared memory.
  }];
  let arguments = (ins Tile_FragmentType:$acc, Tile_BufferType:$a, I32Attr:$box, Tile_BufferType:$b);
  let results = (outs Tile_FragmentType:$result);
  let assemblyFormat = "$acc `,` $a `box` $box `,` $b attr-dict `:` type($acc) `,` type($a) `,` type($b) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_ReduceRowsOp : Tile_Op<"reduce_rows"> {
  let summary = "maximum or sum over the two rows that each lane has of a fragment";
  let description = "Partial results of the columns, for tile.complete_columns. `kind` is \"max\" or \"add\".";
  let arguments = (ins StrAttr:$kind, Tile_FragmentType:$input);
  let results = (outs Tile_ColumnsType:$result);
  let assemblyFormat = "$kind $input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_CompleteColumnsOp : Tile_Op<"complete_columns", [AllTypesMatch<["partial", "result"]>]> {
  let summary = "maximum or sum of the columns' partial results over all lanes of the warpgroup";
  let description = [{
    The warps exchange theirs through shared memory: four arrays of `columns` f32 from byte `offset` on, named `name`. The
    128 threads meet at the named event; until they meet again, at any event, the memory must not be used otherwise.

    ```mlir
    %m = tile.complete_columns "max" %partial "column_maxima" at 221184 event 1 : !tile.columns<16, f32>
    ```
  }];
  let arguments = (ins StrAttr:$kind, Tile_ColumnsType:$partial, OptionalAttr<StrAttr>:$name, I32Attr:$offset, I32Attr:$event);
  let results = (outs Tile_ColumnsType:$result);
  let assemblyFormat = "$kind $partial ($name^)? `at` $offset `event` $event attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_PutTransposedOp : Tile_Op<"put_transposed"> {
  let summary = "writes a fragment, rounded to bf16 and transposed, to a buffer of one box (stmatrix)";
  let description = "The buffer has a row for each column and 64 columns. Visible to WGMMA after the next event.";
  let arguments = (ins Tile_FragmentType:$fragment, Tile_BufferType:$buffer);
  let assemblyFormat = "$fragment `,` $buffer attr-dict `:` type($fragment) `,` type($buffer)";
  let hasVerifier = 1;
}

def Tile_StoreTransposedOp : Tile_Op<"store_transposed", [AttrSizedOperandSegments]> {
  let summary = "a warpgroup writes fragments that lie one below the other, transposed, to global memory";
  let description = [{
    Fragment i has rows 64·i …: element (row, column) goes to row `column` of the result, whose columns are the fragments'
    rows below `limit` (a multiple of 8). The region maps a column to the element offset of its row, a multiple of 8, and whether
    it is written at all. `element` is bf16 or f16. Rows pass through shared memory, named `name`: one a column, from byte
    `offset` on, each of 128 bytes a fragment and 16 more; with `at_once` (a multiple of 8) so many columns at a time. The threads
    meet at the named event before and after they write it. `index`, `count` and `apart` as in
    tile.store_pairs.
  }];
  let arguments = (ins Variadic<Tile_FragmentType>:$fragments, LLVM_PointerInAddressSpace<1>:$base, Optional<I32>:$index,
                       OptionalAttr<StrAttr>:$name, I32Attr:$offset, I32Attr:$event, I32Attr:$limit, TypeAttr:$element,
                       OptionalAttr<I32Attr>:$apart, DefaultValuedAttr<I32Attr, "256">:$at_once,
                       DefaultValuedAttr<I32Attr, "1">:$count);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $fragments `to` $base ($name^)? `at` $offset (`[` $index^ `]`)? (`of` $count^)? (`apart` $apart^)? `event` $event `limit` $limit `as` $element
    (`at_once` $at_once^)? attr-dict `:` type($fragments) `to` type($base) $body
  }];
  let hasVerifier = 1;
}

def Tile_StoreColumnsOp : Tile_Op<"store_columns"> {
  let summary = "writes columns' values (f32) to global memory; the region as in tile.store_transposed";
  let arguments = (ins Tile_ColumnsType:$columns, LLVM_PointerInAddressSpace<1>:$base);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$columns `to` $base attr-dict `:` type($columns) `,` type($base) $body";
  let hasVerifier = 1;
}

#endif // TILE_COLUMN_OPS
