//===- TileOps.td - The tile dialect: how to compute -------------------------------------------------===//
//
// Warp roles, shared-memory pipes with their barriers, TMA boxes, WGMMA, fragments. A schedule writes it, the conversion
// lowers it operation by operation to NVVM; nothing here knows what is being computed.
//
//===--------------------------------------------------------------------------------------------------===//
#ifndef TILE_OPS
#define TILE_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"
include "mlir/Dialect/LLVMIR/LLVMOpBase.td"

def Tile_Dialect : Dialect {
  let name = "tile";
  let cppNamespace = "::lathe::tile";
  let summary = "How to compute: roles, pipes, tensor-core fragments";
  let description = [{
    A `tile.kernel` is one Hopper kernel. Shared memory is laid out by the schedule (byte offsets are attributes), a
    `tile.pipe` is a ring of stages with a full and an empty mbarrier each, and a position in it is one number: the count
    of stages taken so far, from which stage and phase follow. Fragments are matrices spread over a warpgroup as WGMMA
    leaves them: thread t holds rows 16·(t/32) + (t%32)/4 and that plus 8, and in every eight columns the two that start at
    2·(t%4).
  }];
  let useDefaultTypePrinterParser = 1;
}

class Tile_Type<string name, string typeMnemonic> : TypeDef<Tile_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Tile_BufferType : Tile_Type<"Buffer", "buffer"> {
  let summary = "bf16 matrix in shared memory, row-major within swizzled boxes";
  let description = [{
    `rows` × `columns` bf16, cut into boxes of `swizzle`/2 columns; a box is `rows` rows of `swizzle` bytes, in which the
    16-byte chunk c of row r lies at chunk c xor (r mod 8), (r/2 mod 4) or (r/4 mod 2) for a swizzle of 128, 64 or 32
    bytes (the layout that TMA writes and WGMMA descriptors name). Lowered to its address.
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$columns, "int64_t":$swizzle);
  let assemblyFormat = "`<` $rows `,` $columns `,` `swizzle` $swizzle `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getBoxColumns() const { return getSwizzle() / 2; }
    int64_t getBoxBytes() const { return getRows() * getSwizzle(); }
    int64_t getBoxes() const { return (getColumns() + getBoxColumns() - 1) / getBoxColumns(); }
    int64_t getBytes() const { return getBoxes() * getBoxBytes(); }
  }];
}

def Tile_PipeType : Tile_Type<"Pipe", "pipe"> {
  let summary = "ring of shared-memory stages with full and empty barriers";
  let description = [{
    `stages` buffers of `rows` × `columns` bf16 with 128-byte swizzle. The producer acquires a stage (waits until it is
    empty), announces its bytes and loads it; a consumer waits until it is full, reads it and releases it.

    The CTAs of a `cluster` may share a pipe: every CTA has its own stages and barriers, each load goes to all of them, and a
    stage is empty when the consumers of all CTAs have released it.

    With `groups` a stage has that many full barriers, one for each `getGroupBoxes()` boxes in order, so that a consumer can
    begin with the first boxes while the others are on their way. With `parts` a stage has that many empty barriers: its
    parts are released, acquired and loaded again one by one. Which boxes are a part's is up to the schedule.

    With `gatherers` a stage is not loaded by TMA but filled by so many threads, each of which copies its share
    (`tile.gather`); it is full when the copies of all of them have arrived.
  }];
  let parameters = (ins "int64_t":$stages, "int64_t":$rows, "int64_t":$columns,
                        DefaultValuedParameter<"int64_t", "1">:$cluster, DefaultValuedParameter<"int64_t", "1">:$groups,
                        DefaultValuedParameter<"int64_t", "1">:$parts, DefaultValuedParameter<"int64_t", "0">:$gatherers);
  let assemblyFormat = [{
    `<` $stages `,` $rows `,` $columns (`,` `cluster` $cluster^)? (`groups` $groups^)? (`parts` $parts^)?
    (`gatherers` $gatherers^)? `>`
  }];
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    BufferType getStageType() const { return BufferType::get(getContext(), getRows(), getColumns(), 128); }
    int64_t getStageBytes() const { return getStageType().getBytes(); }
    int64_t getFullBarriers() const { return getStages() * getGroups(); }
    int64_t getEmptyBarriers() const { return getStages() * getParts(); }
    int64_t getGroupBoxes() const { return (getStageType().getBoxes() + getGroups() - 1) / getGroups(); }
    int64_t getGroupBytes(int64_t group) const {
      int64_t left = getStageType().getBoxes() - group * getGroupBoxes();
      return std::min(getGroupBoxes(), left) * getStageType().getBoxBytes();
    }
  }];
}

def Tile_FragmentType : Tile_Type<"Fragment", "fragment"> {
  let summary = "f32 matrix of 64 rows in the registers of a warpgroup";
  let description = [{
    64 rows × `columns` f32, columns/2 registers a thread: a multiple of 8 up to 256, which is what one WGMMA has, or 272 or 288,
    which tile.mma_nt alone makes, as two halves.
  }];
  let parameters = (ins "int64_t":$columns);
  let assemblyFormat = "`<` $columns `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{ int64_t getRegisters() const { return getColumns() / 2; } }];
}

def Tile_OperandType : Tile_Type<"Operand", "operand"> {
  let summary = "bf16 matrix of 64 rows in registers, as WGMMA takes its first operand";
  let description = "64 rows × `columns` (a multiple of 16) bf16, two a register, columns/4 registers a thread.";
  let parameters = (ins "int64_t":$columns);
  let assemblyFormat = "`<` $columns `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{ int64_t getRegisters() const { return getColumns() / 4; } }];
}

def Tile_RowsType : Tile_Type<"Rows", "rows"> {
  let summary = "one value for each of a fragment's 64 rows";
  let description = "Two values a thread, for its two rows; element type f32 or i32.";
  let parameters = (ins "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $elementType `>`";
  let genVerifyDecl = 1;
}

def Tile_ColumnsType : Tile_Type<"Columns", "columns"> {
  let summary = "one value for each of a fragment's columns";
  let description = "columns/4 values a thread, for its two columns of every eight; element type f32 or i32.";
  let parameters = (ins "int64_t":$columns, "::mlir::Type":$elementType);
  let assemblyFormat = "`<` $columns `,` $elementType `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{ int64_t getRegisters() const { return getColumns() / 4; } }];
}

def Tile_TensorMapType : Tile_Type<"TensorMap", "tensor_map"> {
  let summary = "TMA descriptor, a kernel argument of 128 bytes";
}

def Tile_FragmentOrRows : AnyTypeOf<[Tile_FragmentType, Tile_RowsType]>;
def Tile_Spread : AnyTypeOf<[Tile_FragmentType, Tile_RowsType, Tile_ColumnsType]>;
def Tile_MapInput : AnyTypeOf<[Tile_FragmentType, Tile_RowsType, Tile_ColumnsType, F32, I32, I1]>;

class Tile_Op<string opMnemonic, list<Trait> traits = []> : Op<Tile_Dialect, opMnemonic, traits>;

//===- Kernels and roles ------------------------------------------------------------------------------===//

def Tile_KernelOp : Tile_Op<"kernel", [IsolatedFromAbove, Symbol, SingleBlock]> {
  let summary = "one GPU kernel";
  let description = [{
    The block arguments are the kernel's arguments, named by `arg_names` for the launch. `threads` is the size of a CTA, a
    multiple of 32; `shared_bytes` the dynamic shared memory; `max_registers`, where it is not 0, the register cap at entry
    that `tile.roles` redistributes; `cluster` the CTAs of a cluster, along x. `scratch` is the name of the shared memory where
    the kernel addresses all of it without tile operations, as words of 4 bytes.

    ```mlir
    tile.kernel @copy attributes {arg_names = ["n"], threads = 32 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
    ^bb0(%n: i32):
      tile.return
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$arg_names, I32Attr:$threads, I32Attr:$shared_bytes,
                       I32Attr:$max_registers, DefaultValuedAttr<I32Attr, "1">:$cluster, OptionalAttr<StrAttr>:$scratch);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Tile_ReturnOp : Tile_Op<"return", [Terminator, HasParent<"KernelOp">]> {
  let summary = "end of a kernel";
  let assemblyFormat = "attr-dict";
}

def Tile_RolesOp : Tile_Op<"roles", [NoTerminator, HasParent<"KernelOp">]> {
  let summary = "gives each warpgroup its role and its registers";
  let description = [{
    Region i is run by the next `warpgroups[i]` warpgroups, each thread with `registers[i]` registers (setmaxnreg; 0 leaves
    the budget alone), all together no more than they had at launch. The region's argument is the warpgroup's index within the role. The warpgroups of all roles are those
    of the kernel; the last of them may have fewer than four warps where no role changes its registers.

    ```mlir
    tile.roles ["consumer", "producer"] warpgroups [2, 1] registers [224, 56] {
    ^bb0(%index: i32):
    }, {
    ^bb0(%index: i32):
    }
    ```
  }];
  let arguments = (ins StrArrayAttr:$names, DenseI32ArrayAttr:$warpgroups, DenseI32ArrayAttr:$registers);
  let regions = (region VariadicRegion<SizedRegion<1>>:$bodies);
  let assemblyFormat = "$names `warpgroups` $warpgroups `registers` $registers $bodies attr-dict";
  let hasVerifier = 1;
}

def Tile_ElectedOp : Tile_Op<"elected", [NoTerminator, SingleBlock]> {
  let summary = "code of a single lane of the role's first warp";
  let description = [{
    One elected thread of the warpgroup's first warp runs the region: the place for TMA.

    ```mlir
    tile.elected {
      tile.expect %pipe[%n]
    }
    ```
  }];
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$body attr-dict";
}

def Tile_SyncCtaOp : Tile_Op<"sync_cta"> {
  let summary = "all threads of the CTA; initialised barriers become visible to TMA";
  let assemblyFormat = "attr-dict";
}

def Tile_SyncClusterOp : Tile_Op<"sync_cluster"> {
  let summary = "all threads of the cluster's CTAs; initialised barriers become visible to TMA and to the other CTAs";
  let description = [{
    Also the last operation of a kernel whose pipes are shared: a CTA must not end while others still write to its memory.
  }];
  let assemblyFormat = "attr-dict";
}

def Tile_GridWaitOp : Tile_Op<"grid_wait"> {
  let summary = "waits until the launch before has ended and its results are visible (programmatic dependent launch)";
  let assemblyFormat = "attr-dict";
}
def Tile_GridLaunchOp : Tile_Op<"grid_launch"> {
  let summary = "lets the next launch start; it starts when all CTAs have said so or ended";
  let assemblyFormat = "attr-dict";
}

class Tile_EventOp<string opMnemonic> : Tile_Op<opMnemonic> {
  let arguments = (ins I32Attr:$event, I32Attr:$threads);
  let assemblyFormat = "$event `threads` $threads attr-dict";
  let hasVerifier = 1;
}
def Tile_SyncEventOp : Tile_EventOp<"sync_event"> {
  let summary = "waits until `threads` threads have reached the named event (1 to 15)";
}
def Tile_ArriveEventOp : Tile_EventOp<"arrive_event"> {
  let summary = "reaches the named event without waiting for the others; they see what was written before";
}

//===- Shared memory and pipes ------------------------------------------------------------------------===//

/// Results print as %name, where there is one.
def Tile_NamedResult : DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>;

def Tile_BufferOp : Tile_Op<"buffer", [Pure, Tile_NamedResult]> {
  let summary = "a buffer at a byte offset of shared memory";
  let description = [{
    `offset` is a multiple of 1024, so that swizzle patterns start at row 0. With an index: that one of equal buffers that lie
    one behind the other, `count` of them where that is told. `name` is for people and for tools that read the PTX.

    ```mlir
    %p = tile.buffer "probabilities" 40960[%consumer] of 2 : !tile.buffer<64, 32, swizzle 64>
    ```
  }];
  let arguments = (ins I32Attr:$offset, Optional<I32>:$index, OptionalAttr<StrAttr>:$name, OptionalAttr<I32Attr>:$count);
  let results = (outs Tile_BufferType:$buffer);
  let assemblyFormat = "($name^)? $offset (`[` $index^ `]`)? (`of` $count^)? attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

def Tile_BoxOp : Tile_Op<"box", [Pure]> {
  let summary = "the memory of one box of a buffer, seen as another buffer";
  let description = [{
    For memory whose content is spent: the last box of a key tile, once the scores are computed, holds probabilities. The
    result fits into the box.
  }];
  let arguments = (ins Tile_BufferType:$source, I32Attr:$box);
  let results = (outs Tile_BufferType:$buffer);
  let assemblyFormat = "$source $box attr-dict `:` type($source) `->` type($buffer)";
  let hasVerifier = 1;
}

def Tile_PipeOp : Tile_Op<"pipe", [Tile_NamedResult]> {
  let summary = "makes a pipe and initialises its barriers";
  let description = [{
    Stages start at byte `offset` (a multiple of 1024), barriers of 8 bytes at `barrier_offset`: full ones, those of a stage
    together, then empty ones likewise. `releases` is the number of `tile.release` (one a warpgroup) that empty a part of a
    stage. Used before `tile.sync_cta`.
    `name` is for people and for tools that read the PTX.

    ```mlir
    %kv = tile.pipe "kv" at 73728 barriers 222224 releases 2 : !tile.pipe<4, 32, 576>
    ```
  }];
  let arguments = (ins I32Attr:$offset, I32Attr:$barrier_offset, I32Attr:$releases, OptionalAttr<StrAttr>:$name);
  let results = (outs Tile_PipeType:$pipe);
  let assemblyFormat = "($name^)? `at` $offset `barriers` $barrier_offset `releases` $releases attr-dict `:` type($pipe)";
  let hasVerifier = 1;
}

class Tile_PartAccess<string opMnemonic> : Tile_Op<opMnemonic> {
  let arguments = (ins Tile_PipeType:$pipe, I32:$count, DefaultValuedAttr<I32Attr, "0">:$part);
  let assemblyFormat = "$pipe `[` $count `]` (`part` $part^)? attr-dict `:` type($pipe)";
  let hasVerifier = 1;
}

def Tile_AcquireOp : Tile_PartAccess<"acquire"> {
  let summary = "producer: waits until the stage, or a part of it, is empty";
}
def Tile_ExpectOp : Tile_Op<"expect"> {
  let summary = "producer: announces that the bytes of a stage, or of one of its groups of boxes, will arrive";
  let description = "With `rows` (at most the pipe's) only so many first rows of each box.";
  let arguments = (ins Tile_PipeType:$pipe, I32:$count, DefaultValuedAttr<I32Attr, "0">:$group, Optional<I32>:$rows);
  let assemblyFormat = "$pipe `[` $count `]` (`group` $group^)? (`rows` $rows^)? attr-dict `:` type($pipe)";
  let hasVerifier = 1;
}
def Tile_ReleaseOp : Tile_PartAccess<"release"> {
  let summary = "consumer warpgroup: has read the stage, or a part of it (each warp arrives)";
}

def Tile_WaitOp : Tile_Op<"wait"> {
  let summary = "consumer: waits until the stage, or a group of its boxes, is full, gives the stage's buffer";
  let arguments = (ins Tile_PipeType:$pipe, I32:$count, DefaultValuedAttr<I32Attr, "0">:$group);
  let results = (outs Tile_BufferType:$buffer);
  let assemblyFormat = "$pipe `[` $count `]` (`group` $group^)? attr-dict `:` type($pipe) `->` type($buffer)";
  let hasVerifier = 1;
}

def Tile_LoadOp : Tile_Op<"load"> {
  let summary = "TMA: one box of a tensor into a stage";
  let description = [{
    Loads the box at `coordinates` (innermost first) into rows `row` … `row`+`rows` of column box `box` of the stage. Elements
    out of the tensor's bounds arrive as zeros and are counted. Run by one thread. In a pipe that a cluster shares, the CTA of
    rank r loads for all CTAs the rows r·pipe.rows/cluster further on: each brings its share; with `whole` the rows that are named,
    the CTAs divide the boxes among them. `evict_first`: the L2 cache may drop the data before others.

    ```mlir
    tile.load %map[%x, %y, %z] into %pipe[%n] box 3 rows 0 to 32 : !tile.pipe<4, 32, 576>
    ```
  }];
  let arguments = (ins Tile_TensorMapType:$map, Variadic<I32>:$coordinates, Tile_PipeType:$pipe, I32:$count, I32Attr:$box,
                       I32Attr:$row, I32Attr:$rows, UnitAttr:$evict_first, UnitAttr:$whole);
  let assemblyFormat = [{
    $map `[` $coordinates `]` `into` $pipe `[` $count `]` `box` $box `rows` $row `to` $rows (`evict_first` $evict_first^)?
    (`whole` $whole^)? attr-dict `:` type($pipe)
  }];
  let hasVerifier = 1;
}

def Tile_PrefetchOp : Tile_Op<"prefetch"> {
  let summary = "brings bytes of global memory to the L2 cache; a hint, run by one thread";
  let description = "Address and number of bytes are multiples of 16, and the bytes exist.";
  let arguments = (ins LLVM_PointerInAddressSpace<1>:$address, I32:$bytes);
  let assemblyFormat = "$address `bytes` $bytes attr-dict `:` type($address)";
}

def Tile_ZeroRowsOp : Tile_Op<"zero_rows"> {
  let summary = "a warpgroup sets rows `first` … of the leading boxes of a buffer to zero";
  let description = [{
    Probability 0 times a NaN is a NaN, so rows that hold no token are zeroed before they are used as values. Visible to
    WGMMA of all threads that pass an event afterwards.
  }];
  let arguments = (ins Tile_BufferType:$buffer, I32:$first, I32Attr:$boxes);
  let assemblyFormat = "$buffer `from` $first `boxes` $boxes attr-dict `:` type($buffer)";
  let hasVerifier = 1;
}

//===- Tensor cores -----------------------------------------------------------------------------------===//

def Tile_MmaNtOp : Tile_Op<"mma_nt", [AttrSizedOperandSegments]> {
  let summary = "result = a · bᵀ over `depth` columns of both from column `from` on (asynchronous)";
  let description = [{
    The product takes 64 rows of `a`, from `row` on (a multiple of 8, told where `a` has more), and of `b` the first rows, as many as
    the result has columns; `depth` and `from` are multiples of 16. An `a` in registers has `depth` columns, which belong to those of
    `b` from `from` on. With an accumulator, `onto` it.
  }];
  let arguments = (ins AnyTypeOf<[Tile_OperandType, Tile_BufferType]>:$a, Tile_BufferType:$b, I32Attr:$depth, DefaultValuedAttr<I32Attr, "0">:$from,
                       Optional<Tile_FragmentType>:$acc, Optional<I32>:$row);
  let results = (outs Tile_FragmentType:$result);
  let assemblyFormat = [{
    $a (`rows` $row^)? `,` $b `depth` $depth (`from` $from^)? (`onto` $acc^ `:` type($acc))? attr-dict `:` type($a) `,` type($b) `->`
    type($result)
  }];
  let hasVerifier = 1;
}

def Tile_MmaNnOp : Tile_Op<"mma_nn"> {
  let summary = "acc += a · b, for the columns of b that start at a box (asynchronous)";
  let description = [{
    `a` (64 × k, in registers or in a buffer of one box) times the k rows of `b`; the result's columns are those of `b` from
    box `box` on. They must lie in `b`: what lies behind it may be changing.
  }];
  let arguments = (ins Tile_FragmentType:$acc, AnyTypeOf<[Tile_OperandType, Tile_BufferType]>:$a, Tile_BufferType:$b, I32:$box);
  let results = (outs Tile_FragmentType:$result);
  let assemblyFormat = "$acc `,` $a `,` $b `box` $box attr-dict `:` type($acc) `,` type($a) `,` type($b) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_MmaFenceOp : Tile_Op<"mma_fence"> {
  let summary = "registers written so far are visible to the next WGMMA";
  let assemblyFormat = "attr-dict";
}
def Tile_MmaCommitOp : Tile_Op<"mma_commit"> {
  let summary = "closes a group of WGMMA";
  let assemblyFormat = "attr-dict";
}
def Tile_MmaWaitOp : Tile_Op<"mma_wait"> {
  let summary = "waits until at most `pending` groups run; only then may the fragments be read";
  let arguments = (ins I32Attr:$pending, Variadic<Tile_FragmentType>:$fragments);
  let results = (outs Variadic<Tile_FragmentType>:$results);
  let assemblyFormat = "$pending (`,` $fragments^ `:` type($fragments) `->` type($results))? attr-dict";
  let hasVerifier = 1;
}

//===- Fragments --------------------------------------------------------------------------------------===//

def Tile_SplatOp : Tile_Op<"splat", [Pure]> {
  let summary = "one scalar everywhere";
  let arguments = (ins AnyTypeOf<[F32, I32]>:$value);
  let results = (outs Tile_Spread:$result);
  let assemblyFormat = "$value attr-dict `:` type($value) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_AnyRowOp : Tile_Op<"any_row"> {
  let summary = "whether a row value of any of the warp's rows differs from `from`; the same in all its lanes";
  let arguments = (ins Tile_RowsType:$rows, F32Attr:$from);
  let results = (outs I1:$result);
  let assemblyFormat = "$rows `differs` `from` $from attr-dict `:` type($rows)";
  let hasVerifier = 1;
}

def Tile_RowOp : Tile_Op<"row", [Pure]> {
  let summary = "the index of each row, 0 to 63";
  let results = (outs Tile_RowsType:$result);
  let assemblyFormat = "attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Tile_MapOp : Tile_Op<"map", [SingleBlock]> {
  let summary = "element-wise code over fragments, rows, columns and scalars";
  let description = [{
    The region sees one scalar an input, a row's or column's value for each of its elements, and yields one scalar: an element
    of the result. `tile.column` gives the element's column.

    ```mlir
    %y = tile.map(%x, %m : !tile.fragment<32>, !tile.rows<f32>) -> !tile.fragment<32> {
    ^bb0(%e: f32, %r: f32):
      %d = arith.subf %e, %r : f32
      tile.yield %d : f32
    }
    ```
  }];
  let arguments = (ins Variadic<Tile_MapInput>:$inputs);
  let results = (outs Tile_Spread:$result);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`(` ($inputs^ `:` type($inputs))? `)` `->` type($result) $body attr-dict";
  let hasVerifier = 1;
}

def Tile_YieldOp : Tile_Op<"yield", [Terminator]> {
  let summary = "result of a region";
  let arguments = (ins Variadic<AnyType>:$values);
  let assemblyFormat = "$values `:` type($values) attr-dict";
}

def Tile_ColumnOp : Tile_Op<"column", [Pure, ParentOneOf<["MapOp"]>]> {
  let summary = "inside tile.map over a fragment or columns: the element's column";
  let results = (outs I32:$result);
  let assemblyFormat = "attr-dict";
}

def Tile_Exp2Op : Tile_Op<"exp2", [Pure]> {
  let summary = "2^x by the special function unit (ex2.approx.ftz: 2 ulp, -inf gives 0)";
  let arguments = (ins F32:$x);
  let results = (outs F32:$result);
  let assemblyFormat = "$x attr-dict";
}
def Tile_Log2Op : Tile_Op<"log2", [Pure]> {
  let summary = "log2(x) by the special function unit (lg2.approx.ftz)";
  let arguments = (ins F32:$x);
  let results = (outs F32:$result);
  let assemblyFormat = "$x attr-dict";
}

def Tile_RcpOp : Tile_Op<"rcp", [Pure]> {
  let summary = "1/x by the special function unit (rcp.approx.ftz: 1 ulp)";
  let arguments = (ins F32:$x);
  let results = (outs F32:$result);
  let assemblyFormat = "$x attr-dict";
}

def Tile_ReduceOp : Tile_Op<"reduce"> {
  let summary = "maximum or sum over the columns of a fragment, or over the lanes that share a row";
  let description = [{
    Of a fragment: with `partial` each lane keeps the result of its own columns. Of rows: completes partial results over
    the four lanes of a row. `kind` is "max" or "add".
  }];
  let arguments = (ins StrAttr:$kind, Tile_FragmentOrRows:$input, UnitAttr:$partial);
  let results = (outs Tile_RowsType:$result);
  let assemblyFormat = "$kind $input (`partial` $partial^)? attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_PackOp : Tile_Op<"pack", [Pure]> {
  let summary = "rounds a fragment to bf16, as an operand in registers";
  let arguments = (ins Tile_FragmentType:$fragment);
  let results = (outs Tile_OperandType:$result);
  let assemblyFormat = "$fragment attr-dict `:` type($fragment) `->` type($result)";
  let hasVerifier = 1;
}

def Tile_PutOperandOp : Tile_Op<"put_operand"> {
  let summary = "writes an operand to a buffer of one box (stmatrix), visible to WGMMA after the next event";
  let arguments = (ins Tile_OperandType:$operand, Tile_BufferType:$buffer);
  let assemblyFormat = "$operand `,` $buffer attr-dict `:` type($operand) `,` type($buffer)";
  let hasVerifier = 1;
}

def Tile_LoadOperandOp : Tile_Op<"load_operand"> {
  let summary = "a warpgroup reads the first columns of box `box` of a buffer of 64 rows as an operand (ldmatrix)";
  let description = "The memory may be loaded over once the readers have given it back.";
  let arguments = (ins Tile_BufferType:$buffer, I32Attr:$box);
  let results = (outs Tile_OperandType:$operand);
  let assemblyFormat = "$buffer `box` $box attr-dict `:` type($buffer) `->` type($operand)";
  let hasVerifier = 1;
}

def Tile_PutRowsOp : Tile_Op<"put_rows"> {
  let summary = "writes 64 row values to the shared array number `index` of those that start at byte `offset`";
  let description = [{
    The arrays lie one behind the other, 256 bytes each, `count` of them where that is told; `name` is that of all.

    ```mlir
    tile.put_rows "row_statistics" %maxima, %consumer of 4 at 221184 : !tile.rows<f32>
    ```
  }];
  let arguments = (ins Tile_RowsType:$rows, I32:$index, I32Attr:$offset, OptionalAttr<StrAttr>:$name,
                       OptionalAttr<I32Attr>:$count);
  let assemblyFormat = "($name^)? $rows `,` $index (`of` $count^)? `at` $offset attr-dict `:` type($rows)";
  let hasVerifier = 1;
}
def Tile_GetRowsOp : Tile_Op<"get_rows"> {
  let summary = "reads what tile.put_rows wrote";
  let arguments = (ins I32:$index, I32Attr:$offset, OptionalAttr<StrAttr>:$name, OptionalAttr<I32Attr>:$count);
  let results = (outs Tile_RowsType:$rows);
  let assemblyFormat = "($name^)? $index (`of` $count^)? `at` $offset attr-dict `:` type($rows)";
  let hasVerifier = 1;
}

def Tile_StoreOp : Tile_Op<"store"> {
  let summary = "writes a fragment to global memory";
  let description = [{
    The region maps a row (0 to 63) to the element offset of its first column and whether the row is written at all.
    Columns are the fragment's plus `column`; those before `from` (a multiple of 8, where it is given) and those at or past
    `limit` (a multiple of 8) are left out, a limit of 0 leaves out none. `element` is bf16, f16 or f32.
  }];
  let arguments = (ins Tile_FragmentType:$fragment, LLVM_PointerInAddressSpace<1>:$base, I32:$column, Optional<I32>:$from,
                       I32Attr:$limit, TypeAttr:$element);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $fragment `to` $base `column` $column (`from` $from^)? `limit` $limit `as` $element attr-dict `:` type($fragment) `,` type($base) $body
  }];
  let hasVerifier = 1;
}

def Tile_StoreRowsOp : Tile_Op<"store_rows"> {
  let summary = "writes row values (f32) to global memory; the region as in tile.store";
  let arguments = (ins Tile_RowsType:$rows, LLVM_PointerInAddressSpace<1>:$base);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$rows `to` $base attr-dict `:` type($rows) `,` type($base) $body";
  let hasVerifier = 1;
}

include "TileColumnOps.td"
include "TileGroupedOps.td"
include "TileQueueOps.td"

#endif // TILE_OPS
