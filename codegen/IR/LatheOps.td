//===- LatheOps.td - The lathe dialect: what to compute ----------------------------------------------===//
//
// Arrays over named dimensions, contractions, element-wise maps, softmax, sums, routing. It has no threads, tiles or stages: those
// belong to the tile dialect. The frontend writes it, the pattern matcher and the schedules read it.
//
//===--------------------------------------------------------------------------------------------------===//
#ifndef LATHE_OPS
#define LATHE_OPS

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Lathe_Dialect : Dialect {
  let name = "lathe";
  let cppNamespace = "::lathe::ir";
  let summary = "What to compute: mathematics over named dimensions";
  let description = [{
    A `lathe.kernel` holds the mathematics of one description. Values are arrays whose dimensions have names; two
    dimensions are the same where name and extent agree, so no operation speaks of positions. Accumulation is in f32.
  }];
  let useDefaultTypePrinterParser = 1;
}

class Lathe_Type<string name, string typeMnemonic> : TypeDef<Lathe_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Lathe_ArrayType : Lathe_Type<"Array", "array"> {
  let summary = "array over named dimensions";
  let description = [{
    An element type and a list of named dimensions, each with an extent in elements: a positive number or `?` where it is
    known at launch only. Element types are bf16, f16, f32, f64, i32, i64 and i1. Names are distinct. The order of the
    dimensions carries no meaning inside a kernel; `lathe.input` and `lathe.output` take their memory order from it.

    ```mlir
    !lathe.array<bf16, batch=?, query=1, head=16, key=576>
    ```
  }];
  let parameters = (ins "::mlir::Type":$elementType, ArrayRefParameter<"::mlir::StringAttr">:$names,
                        ArrayRefParameter<"int64_t">:$extents);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Extent of a dimension that is known at launch only.
    static constexpr int64_t dynamic = ::mlir::ShapedType::kDynamic;

    size_t getRank() const { return getNames().size(); }
    /// Position of a dimension, or nullopt.
    std::optional<size_t> find(::llvm::StringRef name) const;
    bool has(::llvm::StringRef name) const { return find(name).has_value(); }
    /// Extent of an existing dimension, `dynamic` where unknown.
    int64_t getExtent(::llvm::StringRef name) const { return getExtents()[*find(name)]; }
    /// The same array without one of its dimensions.
    ArrayType without(::llvm::StringRef name) const;
  }];
}

def Lathe_Scalar : AnyTypeOf<[BF16, F16, F32, F64, I32, I64, I1], "scalar (bf16, f16, f32, f64, i32, i64 or i1)">;
def Lathe_ArrayOrScalar : AnyTypeOf<[Lathe_ArrayType, Lathe_Scalar]>;

class Lathe_Op<string opMnemonic, list<Trait> traits = []> : Op<Lathe_Dialect, opMnemonic, traits>;

/// An operation of a kernel's body.
class Lathe_BodyOp<string opMnemonic, list<Trait> traits = []>
    : Lathe_Op<opMnemonic, traits # [HasParent<"KernelOp">]>;

//===- The kernel and its arguments -------------------------------------------------------------------===//

def Lathe_KernelOp : Lathe_Op<"kernel", [IsolatedFromAbove, Symbol, SingleBlock, NoTerminator]> {
  let summary = "one description: arguments, mathematics, outputs";
  let description = [{
    Holds inputs, paged inputs, parameters, the operations between them and at least one `lathe.output`. Arguments are
    bound by name at launch, so the names of inputs, page tables, parameters and outputs are distinct; only a page table may
    be shared by several paged inputs.

    ```mlir
    lathe.kernel @scaled {
      %x = lathe.input "x" : !lathe.array<f32, row=?>
      lathe.output "y"(%x : !lathe.array<f32, row=?>) as bf16 ["row"]
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
}

def Lathe_InputOp : Lathe_BodyOp<"input", [Pure]> {
  let summary = "a dense array argument";
  let description = [{
    An array in device memory, bound by name at launch. The dimensions are in memory order, the last one contiguous;
    strides of the others are given at launch.

    ```mlir
    %q = lathe.input "q" : !lathe.array<bf16, batch=?, query=1, head=16, key=576>
    ```
  }];
  let arguments = (ins StrAttr:$name);
  let results = (outs Lathe_ArrayType:$result);
  let assemblyFormat = "$name attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def Lathe_PagedOp : Lathe_BodyOp<"paged", [Pure]> {
  let summary = "an array argument scattered over pages";
  let description = [{
    Rows that live in pages of `page` rows each (tokens of a cache). `table` names the i32 array that holds, for each
    sequence, the numbers of its pages; `lengths` holds the number of rows of each sequence. The result has the
    dimensions of `lengths`, then the paged axis (extent `?`: it ends at the sequence's length), then the dimensions of a
    row. Rows at or past the length are never read.

    ```mlir
    %n = lathe.input "lengths" : !lathe.array<i32, batch=?>
    %kv = lathe.paged "kv" page 64 table "block_table" lengths(%n : !lathe.array<i32, batch=?>)
      : !lathe.array<bf16, batch=?, token=?, key=576>
    ```
  }];
  let arguments = (ins StrAttr:$name, I64Attr:$page, StrAttr:$table, Lathe_ArrayType:$lengths);
  let results = (outs Lathe_ArrayType:$result);
  let assemblyFormat = [{
    $name `page` $page `table` $table `lengths` `(` $lengths `:` qualified(type($lengths)) `)` attr-dict `:` qualified(type($result))
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Name of the axis that runs over pages.
    ::llvm::StringRef getAxis() {
      return getResult().getType().getNames()[getLengths().getType().getRank()].getValue();
    }
  }];
}

def Lathe_ParamOp : Lathe_BodyOp<"param", [Pure]> {
  let summary = "a scalar argument";
  let description = [{
    A scalar that is given at launch, bound by name.

    ```mlir
    %scale = lathe.param "scale" : f32
    ```
  }];
  let arguments = (ins StrAttr:$name);
  let results = (outs Lathe_Scalar:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Lathe_OutputOp : Lathe_BodyOp<"output"> {
  let summary = "an array result of the kernel";
  let description = [{
    Writes an array to device memory, bound by name at launch, rounded to `dtype`. `dims` is the memory order: a
    permutation of the value's dimensions.

    ```mlir
    lathe.output "lse"(%lse : !lathe.array<f32, batch=?, query=1, head=16>) as f32 ["batch", "head", "query"]
    ```
  }];
  let arguments = (ins StrAttr:$name, Lathe_ArrayType:$value, TypeAttr:$dtype, StrArrayAttr:$dims);
  let assemblyFormat = "$name `(` $value `:` qualified(type($value)) `)` `as` $dtype $dims attr-dict";
  let hasVerifier = 1;
}

//===- Mathematics ------------------------------------------------------------------------------------===//

def Lathe_SliceOp : Lathe_BodyOp<"slice", [Pure]> {
  let summary = "some columns of a dimension, under another name";
  let description = [{
    Elements `begin` (included) to `end` (excluded) of dimension `dim`, which has a static extent; in the result the
    dimension is called `as` and has `end - begin` elements, at the same position. Reads the same memory: the value of MLA
    is the first 512 of a row's 576 elements.

    ```mlir
    %v = lathe.slice %kv "key" [0 to 512] as "value"
      : !lathe.array<bf16, batch=?, token=?, key=576> -> !lathe.array<bf16, batch=?, token=?, value=512>
    ```
  }];
  let arguments = (ins Lathe_ArrayType:$source, StrAttr:$dim, I64Attr:$begin, I64Attr:$end, StrAttr:$as);
  let results = (outs Lathe_ArrayType:$result);
  let assemblyFormat = [{
    $source $dim `[` $begin `to` $end `]` `as` $as attr-dict `:` qualified(type($source)) `->` qualified(type($result))
  }];
  let hasVerifier = 1;
}

def Lathe_ContractOp : Lathe_BodyOp<"contract", [Pure]> {
  let summary = "sum of products over named dimensions";
  let description = [{
    Multiplies two floating-point arrays and sums over the dimensions `over`, which both have. Dimensions that both have
    and that are not summed are walked together (as a batch); dimensions that one has are free. The result is f32, has
    exactly the dimensions that were not summed, in any order, and is accumulated in f32.

    ```mlir
    %s = lathe.contract %q, %kv over ["key"]
      : !lathe.array<bf16, batch=?, query=1, head=16, key=576>, !lathe.array<bf16, batch=?, token=?, key=576>
      -> !lathe.array<f32, batch=?, query=1, head=16, token=?>
    ```
  }];
  let arguments = (ins Lathe_ArrayType:$lhs, Lathe_ArrayType:$rhs, StrArrayAttr:$over);
  let results = (outs Lathe_ArrayType:$result);
  let assemblyFormat = [{
    $lhs `,` $rhs `over` $over attr-dict `:` qualified(type($lhs)) `,` qualified(type($rhs)) `->` qualified(type($result))
  }];
  let hasVerifier = 1;
}

def Lathe_MapOp : Lathe_BodyOp<"map", [Pure, IsolatedFromAbove, SingleBlock]> {
  let summary = "element-wise computation";
  let description = [{
    Computes each element of the result from the elements of the operands at the same coordinates; an operand that lacks a
    dimension is broadcast along it, a scalar along all. Every dimension of an operand is one of the result. The region has
    one scalar argument an operand, holds operations of arith and math and `lathe.index`, and yields the element.

    ```mlir
    %t = lathe.map (%x = %s : !lathe.array<f32, head=16, token=?>, %c = %scale : f32)
        -> !lathe.array<f32, head=16, token=?> {
      %y = arith.mulf %x, %c : f32
      lathe.yield %y : f32
    }
    ```
  }];
  let arguments = (ins Variadic<Lathe_ArrayOrScalar>:$inputs);
  let results = (outs Lathe_ArrayType:$result);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
}

def Lathe_SoftmaxOp : Lathe_BodyOp<"softmax", [Pure, IsolatedFromAbove]> {
  let summary = "softmax along one axis, with an optional mask";
  let description = [{
    Probabilities `exp(s) / sum(exp(s))` along `axis`, and the natural logarithm of the denominator. The mask region, where
    there is one, yields i1 for each element of the scores from its operands and coordinates (`lathe.index`); elements where
    it yields false take no part and have probability 0. On a paged axis, rows at or past the sequence's length take no part
    either. A row in which nothing takes part has probabilities 0 and logarithm +inf. Scores are f32; the probabilities have
    the type of the scores, the logarithm the same without `axis`.

    ```mlir
    %p, %lse = lathe.softmax %s over "token" where (%n = %lengths : !lathe.array<i32, batch=?>) {
      %t = lathe.index "token" : i32
      %keep = arith.cmpi slt, %t, %n : i32
      lathe.yield %keep : i1
    } : !lathe.array<f32, batch=?, token=?> -> !lathe.array<f32, batch=?, token=?>, !lathe.array<f32, batch=?>
    ```
  }];
  let arguments = (ins Lathe_ArrayType:$scores, StrAttr:$axis, Variadic<Lathe_ArrayOrScalar>:$maskInputs);
  let results = (outs Lathe_ArrayType:$probabilities, Lathe_ArrayType:$logSumExp);
  let regions = (region AnyRegion:$mask);
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    bool isMasked() { return !getMask().empty(); }
  }];
}

def Lathe_SumOp : Lathe_BodyOp<"sum", [Pure]> {
  let summary = "sum of one array over named dimensions";
  let description = [{
    Sums a floating-point array over the dimensions `over`, in f32. The result has exactly the other dimensions, in any
    order.

    ```mlir
    %mass = lathe.sum %p over ["query", "head"]
      : !lathe.array<f32, batch=?, query=1, head=16, token=?> -> !lathe.array<f32, batch=?, token=?>
    ```
  }];
  let arguments = (ins Lathe_ArrayType:$source, StrArrayAttr:$over);
  let results = (outs Lathe_ArrayType:$result);
  let assemblyFormat = "$source `over` $over attr-dict `:` qualified(type($source)) `->` qualified(type($result))";
  let hasVerifier = 1;
}

//===- Inside regions ---------------------------------------------------------------------------------===//

def Lathe_IndexOp : Lathe_Op<"index", [Pure, ParentOneOf<["MapOp", "SoftmaxOp"]>]> {
  let summary = "the coordinate along a dimension";
  let description = [{
    The coordinate, counted from 0, of the element that the surrounding region computes, along a dimension of the map's
    result or of the softmax's scores.

    ```mlir
    %t = lathe.index "token" : i32
    ```
  }];
  let arguments = (ins StrAttr:$dim);
  let results = (outs I32:$result);
  let assemblyFormat = "$dim attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Lathe_YieldOp : Lathe_Op<"yield", [Pure, Terminator, ParentOneOf<["MapOp", "SoftmaxOp"]>]> {
  let summary = "the element that a region computes";
  let description = [{
    Ends the region of `lathe.map` with the element of the result, and the region of `lathe.softmax` with the mask's i1.

    ```mlir
    lathe.yield %y : f32
    ```
  }];
  let arguments = (ins Lathe_Scalar:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

include "LatheRoutingOps.td"

#endif
