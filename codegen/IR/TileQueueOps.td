//===- TileQueueOps.td - Work that one thread gives to the others of its CTA ---------------------------===//
//
// For kernels whose producer finds the next piece of work and says it to all roles. Included by TileOps.td.
//
//===--------------------------------------------------------------------------------------------------===//
#ifndef TILE_QUEUE_OPS
#define TILE_QUEUE_OPS

def Tile_QueueType : Tile_Type<"Queue", "queue"> {
  let summary = "ring of entries in shared memory with full and empty barriers";
  let description = [{
    `slots` entries of `words` i32 (1, 2 or 4). One thread pushes entries in order, each of the readers pulls all of them in order. A
    position in it is one number: the count of entries pushed or pulled before.
  }];
  let parameters = (ins "int64_t":$slots, "int64_t":$words);
  let assemblyFormat = "`<` $slots `,` $words `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getEntryBytes() const { return getWords() * 4; }
    int64_t getBarrierBytes() const { return 2 * 8 * getSlots(); }
  }];
}

def Tile_QueueOp : Tile_Op<"queue", [Tile_NamedResult]> {
  let summary = "makes a queue and initialises its barriers";
  let description = [{
    Entries start at byte `offset`, a multiple of an entry's bytes; barriers of 8 bytes at `barrier_offset`, full ones, then empty ones.
    `readers` is the number of warps and single threads that pull each entry. Used before `tile.sync_cta`.

    ```mlir
    %items = tile.queue "items" at 1024 barriers 1088 readers 9 : !tile.queue<4, 4>
    ```
  }];
  let arguments = (ins I32Attr:$offset, I32Attr:$barrier_offset, I32Attr:$readers, OptionalAttr<StrAttr>:$name);
  let results = (outs Tile_QueueType:$queue);
  let assemblyFormat = "($name^)? `at` $offset `barriers` $barrier_offset `readers` $readers attr-dict `:` type($queue)";
  let hasVerifier = 1;
}

def Tile_PushOp : Tile_Op<"push"> {
  let summary = "one thread: waits until the entry's slot is empty, writes it";
  let arguments = (ins Tile_QueueType:$queue, I32:$count, Variadic<I32>:$words);
  let assemblyFormat = "$queue `[` $count `]` `,` $words attr-dict `:` type($queue)";
  let hasVerifier = 1;
}

def Tile_PullOp : Tile_Op<"pull"> {
  let summary = "a warp, or a `single` thread: waits for the entry, reads it and gives its slot back";
  let description = "All lanes of a warp get the same words.";
  let arguments = (ins Tile_QueueType:$queue, I32:$count, UnitAttr:$single);
  let results = (outs Variadic<I32>:$words);
  let assemblyFormat = "$queue `[` $count `]` (`single` $single^)? attr-dict `:` type($queue) `->` type($words)";
  let hasVerifier = 1;
}

#endif // TILE_QUEUE_OPS
