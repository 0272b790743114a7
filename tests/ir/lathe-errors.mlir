// One test a rule: each breaks it once.
// RUN: lathe-opt %s --split-input-file --verify-diagnostics

//===- !lathe.array -----------------------------------------------------------------------------------===//

lathe.kernel @element_type {
  // expected-error @+1 {{element type must be bf16, f16, f32, f64, i32, i64 or i1, got 'i8'}}
  %x = lathe.input "x" : !lathe.array<i8, row=?>
}

// -----

lathe.kernel @empty_dimension_name {
  // expected-error @+1 {{a dimension needs a name}}
  %x = lathe.input "x" : !lathe.array<f32, ""=4>
}

// -----

lathe.kernel @repeated_dimension {
  // expected-error @+1 {{dimension names must be distinct, got "row" twice}}
  %x = lathe.input "x" : !lathe.array<f32, row=?, row=4>
}

// -----

lathe.kernel @extent {
  // expected-error @+1 {{extent of "row" must be positive or '?', got 0}}
  %x = lathe.input "x" : !lathe.array<f32, row=0>
}

// -----

//===- lathe.kernel -----------------------------------------------------------------------------------===//

// expected-error @+1 {{needs at least one lathe.output}}
lathe.kernel @no_output {
  %x = lathe.input "x" : !lathe.array<f32, row=?>
}

// -----

lathe.kernel @name_taken {
  %x = lathe.input "x" : !lathe.array<f32, row=?>
  // expected-error @+1 {{argument name "x" is already taken}}
  lathe.output "x"(%x : !lathe.array<f32, row=?>) as f32 ["row"]
}

// -----

lathe.kernel @table_name_taken {
  %n = lathe.input "n" : !lathe.array<i32, row=?>
  // expected-error @+1 {{argument name "n" is already taken}}
  %a = lathe.paged "a" page 16 table "n" lengths(%n : !lathe.array<i32, row=?>)
    : !lathe.array<f16, row=?, token=?, column=4>
  lathe.output "y"(%n : !lathe.array<i32, row=?>) as i32 ["row"]
}

// -----

lathe.kernel @foreign_operation {
  %x = lathe.input "x" : !lathe.array<f32, row=?>
  // expected-error @+1 {{is not an operation of the lathe dialect}}
  %c = arith.constant 1.0 : f32
  lathe.output "y"(%x : !lathe.array<f32, row=?>) as f32 ["row"]
}

// -----

// expected-error @+1 {{body takes no block arguments}}
"lathe.kernel"() <{sym_name = "block_arguments"}> ({
^bb0(%a: f32):
  %x = lathe.input "x" : !lathe.array<f32, row=?>
  lathe.output "y"(%x : !lathe.array<f32, row=?>) as f32 ["row"]
}) : () -> ()

// -----

// expected-error @+1 {{expects parent op 'lathe.kernel'}}
%x = lathe.input "x" : !lathe.array<f32, row=?>

// -----

//===- lathe.input, lathe.param -----------------------------------------------------------------------===//

lathe.kernel @input_name {
  // expected-error @+1 {{needs a non-empty argument name}}
  %x = lathe.input "" : !lathe.array<f32, row=?>
}

// -----

lathe.kernel @param_name {
  // expected-error @+1 {{needs a non-empty argument name}}
  %x = lathe.param "" : f32
}

// -----

lathe.kernel @param_type {
  // expected-error @+1 {{must be scalar (bf16, f16, f32, f64, i32, i64 or i1), but got 'i8'}}
  %x = lathe.param "x" : i8
}

// -----

//===- lathe.paged ------------------------------------------------------------------------------------===//

lathe.kernel @paged_names {
  %n = lathe.input "n" : !lathe.array<i32, row=?>
  // expected-error @+1 {{needs non-empty names for the rows and their table}}
  %a = lathe.paged "a" page 16 table "" lengths(%n : !lathe.array<i32, row=?>)
    : !lathe.array<f16, row=?, token=?, column=4>
}

// -----

lathe.kernel @page_size {
  %n = lathe.input "n" : !lathe.array<i32, row=?>
  // expected-error @+1 {{page size must be positive, got -16}}
  %a = lathe.paged "a" page -16 table "t" lengths(%n : !lathe.array<i32, row=?>)
    : !lathe.array<f16, row=?, token=?, column=4>
}

// -----

lathe.kernel @lengths_type {
  %n = lathe.input "n" : !lathe.array<i64, row=?>
  // expected-error @+1 {{lengths must be i32, got 'i64'}}
  %a = lathe.paged "a" page 16 table "t" lengths(%n : !lathe.array<i64, row=?>)
    : !lathe.array<f16, row=?, token=?, column=4>
}

// -----

lathe.kernel @paged_rank {
  %n = lathe.input "n" : !lathe.array<i32, row=?>
  // expected-error @+1 {{result needs the dimensions of the lengths, the paged axis and at least one row dimension}}
  %a = lathe.paged "a" page 16 table "t" lengths(%n : !lathe.array<i32, row=?>) : !lathe.array<f16, row=?, token=?>
}

// -----

lathe.kernel @paged_batch {
  %n = lathe.input "n" : !lathe.array<i32, row=?>
  // expected-error @+1 {{result must begin with the dimensions of the lengths, got "other" for "row"}}
  %a = lathe.paged "a" page 16 table "t" lengths(%n : !lathe.array<i32, row=?>)
    : !lathe.array<f16, other=?, token=?, column=4>
}

// -----

lathe.kernel @paged_axis {
  %n = lathe.input "n" : !lathe.array<i32, row=?>
  // expected-error @+1 {{paged axis "token" must have extent '?', got 128}}
  %a = lathe.paged "a" page 16 table "t" lengths(%n : !lathe.array<i32, row=?>)
    : !lathe.array<f16, row=?, token=128, column=4>
}

// -----

//===- lathe.output -----------------------------------------------------------------------------------===//

lathe.kernel @output_name {
  %x = lathe.input "x" : !lathe.array<f32, row=?>
  // expected-error @+1 {{needs a non-empty argument name}}
  lathe.output ""(%x : !lathe.array<f32, row=?>) as f32 ["row"]
}

// -----

lathe.kernel @output_type {
  %x = lathe.input "x" : !lathe.array<f32, row=?>
  // expected-error @+1 {{cannot write 'f32' as 'i32'}}
  lathe.output "y"(%x : !lathe.array<f32, row=?>) as i32 ["row"]
}

// -----

lathe.kernel @output_unknown_dimension {
  %x = lathe.input "x" : !lathe.array<f32, row=?>
  // expected-error @+1 {{value has no dimension "column"}}
  lathe.output "y"(%x : !lathe.array<f32, row=?>) as f32 ["column"]
}

// -----

lathe.kernel @output_repeated_dimension {
  %x = lathe.input "x" : !lathe.array<f32, row=?, column=4>
  // expected-error @+1 {{names dimension "row" twice}}
  lathe.output "y"(%x : !lathe.array<f32, row=?, column=4>) as f32 ["row", "row"]
}

// -----

lathe.kernel @output_missing_dimension {
  %x = lathe.input "x" : !lathe.array<f32, row=?, column=4>
  // expected-error @+1 {{must order all 2 dimensions of the value, got 1}}
  lathe.output "y"(%x : !lathe.array<f32, row=?, column=4>) as f32 ["row"]
}

// -----

//===- lathe.slice ------------------------------------------------------------------------------------===//

lathe.kernel @slice_dimension {
  %x = lathe.input "x" : !lathe.array<f32, row=?, column=4>
  // expected-error @+1 {{source has no dimension "col"}}
  %y = lathe.slice %x "col" [0 to 2] as "half" : !lathe.array<f32, row=?, column=4> -> !lathe.array<f32, row=?, half=2>
}

// -----

lathe.kernel @slice_dynamic {
  %x = lathe.input "x" : !lathe.array<f32, row=?, column=4>
  // expected-error @+1 {{dimension "row" must have a static extent}}
  %y = lathe.slice %x "row" [0 to 2] as "half" : !lathe.array<f32, row=?, column=4> -> !lathe.array<f32, half=2, column=4>
}

// -----

lathe.kernel @slice_range {
  %x = lathe.input "x" : !lathe.array<f32, row=?, column=4>
  // expected-error @+1 {{range [2 to 6] must be non-empty and within the 4 elements of "column"}}
  %y = lathe.slice %x "column" [2 to 6] as "half" : !lathe.array<f32, row=?, column=4> -> !lathe.array<f32, row=?, half=4>
}

// -----

lathe.kernel @slice_name_taken {
  %x = lathe.input "x" : !lathe.array<f32, row=?, column=4>
  // expected-error @+1 {{dimension names must be distinct, got "row" twice}}
  %y = lathe.slice %x "column" [0 to 2] as "row" : !lathe.array<f32, row=?, column=4> -> !lathe.array<f32, row=?, half=2>
}

// -----

lathe.kernel @slice_result {
  %x = lathe.input "x" : !lathe.array<f32, row=?, column=4>
  // expected-error @+1 {{result must be '!lathe.array<f32, row=?, half=2>', got '!lathe.array<f32, row=?, half=3>'}}
  %y = lathe.slice %x "column" [0 to 2] as "half" : !lathe.array<f32, row=?, column=4> -> !lathe.array<f32, row=?, half=3>
}

// -----

//===- lathe.contract ---------------------------------------------------------------------------------===//

lathe.kernel @contract_operand_type {
  %a = lathe.input "a" : !lathe.array<i32, row=?, k=4>
  %b = lathe.input "b" : !lathe.array<f32, k=4, column=8>
  // expected-error @+1 {{operands must be floating-point, got 'i32' and 'f32'}}
  %c = lathe.contract %a, %b over ["k"] : !lathe.array<i32, row=?, k=4>, !lathe.array<f32, k=4, column=8>
    -> !lathe.array<f32, row=?, column=8>
}

// -----

lathe.kernel @contract_result_type {
  %a = lathe.input "a" : !lathe.array<bf16, row=?, k=4>
  %b = lathe.input "b" : !lathe.array<bf16, k=4, column=8>
  // expected-error @+1 {{accumulates in f32, got a result of 'bf16'}}
  %c = lathe.contract %a, %b over ["k"] : !lathe.array<bf16, row=?, k=4>, !lathe.array<bf16, k=4, column=8>
    -> !lathe.array<bf16, row=?, column=8>
}

// -----

lathe.kernel @contract_over_nothing {
  %a = lathe.input "a" : !lathe.array<bf16, row=?>
  %b = lathe.input "b" : !lathe.array<bf16, column=8>
  // expected-error @+1 {{must sum over at least one dimension}}
  %c = lathe.contract %a, %b over [] : !lathe.array<bf16, row=?>, !lathe.array<bf16, column=8>
    -> !lathe.array<f32, row=?, column=8>
}

// -----

lathe.kernel @contract_over_left {
  %a = lathe.input "a" : !lathe.array<bf16, row=?>
  %b = lathe.input "b" : !lathe.array<bf16, k=4, column=8>
  // expected-error @+1 {{left operand has no dimension "k"}}
  %c = lathe.contract %a, %b over ["k"] : !lathe.array<bf16, row=?>, !lathe.array<bf16, k=4, column=8>
    -> !lathe.array<f32, row=?, column=8>
}

// -----

lathe.kernel @contract_over_right {
  %a = lathe.input "a" : !lathe.array<bf16, row=?, k=4>
  %b = lathe.input "b" : !lathe.array<bf16, column=8>
  // expected-error @+1 {{right operand has no dimension "k"}}
  %c = lathe.contract %a, %b over ["k"] : !lathe.array<bf16, row=?, k=4>, !lathe.array<bf16, column=8>
    -> !lathe.array<f32, row=?, column=8>
}

// -----

lathe.kernel @contract_over_twice {
  %a = lathe.input "a" : !lathe.array<bf16, row=?, k=4>
  %b = lathe.input "b" : !lathe.array<bf16, k=4, column=8>
  // expected-error @+1 {{names dimension "k" twice}}
  %c = lathe.contract %a, %b over ["k", "k"] : !lathe.array<bf16, row=?, k=4>, !lathe.array<bf16, k=4, column=8>
    -> !lathe.array<f32, row=?, column=8>
}

// -----

lathe.kernel @contract_extents {
  %a = lathe.input "a" : !lathe.array<bf16, row=?, k=576>
  %b = lathe.input "b" : !lathe.array<bf16, k=512, column=8>
  // expected-error @+1 {{extents along "k" must agree, got 576 and 512}}
  %c = lathe.contract %a, %b over ["k"] : !lathe.array<bf16, row=?, k=576>, !lathe.array<bf16, k=512, column=8>
    -> !lathe.array<f32, row=?, column=8>
}

// -----

lathe.kernel @contract_extra_dimension {
  %a = lathe.input "a" : !lathe.array<bf16, row=?, k=4>
  %b = lathe.input "b" : !lathe.array<bf16, k=4, column=8>
  // expected-error @+1 {{result has dimension "k", the operands without the summed dimensions has none}}
  %c = lathe.contract %a, %b over ["k"] : !lathe.array<bf16, row=?, k=4>, !lathe.array<bf16, k=4, column=8>
    -> !lathe.array<f32, row=?, column=8, k=4>
}

// -----

lathe.kernel @contract_missing_dimension {
  %a = lathe.input "a" : !lathe.array<bf16, row=?, k=4>
  %b = lathe.input "b" : !lathe.array<bf16, k=4, column=8>
  // expected-error @+1 {{has dimension "column", result has none}}
  %c = lathe.contract %a, %b over ["k"] : !lathe.array<bf16, row=?, k=4>, !lathe.array<bf16, k=4, column=8>
    -> !lathe.array<f32, row=?>
}

// -----

lathe.kernel @contract_result_extent {
  %a = lathe.input "a" : !lathe.array<bf16, row=?, k=4>
  %b = lathe.input "b" : !lathe.array<bf16, k=4, column=8>
  // expected-error @+1 {{result has extent ? along "column", the operands without the summed dimensions has 8}}
  %c = lathe.contract %a, %b over ["k"] : !lathe.array<bf16, row=?, k=4>, !lathe.array<bf16, k=4, column=8>
    -> !lathe.array<f32, row=?, column=?>
}

// -----

//===- lathe.map --------------------------------------------------------------------------------------===//

lathe.kernel @map_operand_dimension {
  %a = lathe.input "a" : !lathe.array<f32, row=?, column=8>
  // expected-error @+1 {{operand 0 has dimension "column", the result has none}}
  %b = lathe.map (%x = %a : !lathe.array<f32, row=?, column=8>) -> !lathe.array<f32, row=?> {
    lathe.yield %x : f32
  }
}

// -----

lathe.kernel @map_operand_extent {
  %a = lathe.input "a" : !lathe.array<f32, row=8>
  // expected-error @+1 {{operand 0 has extent 8 along "row", the result has 9}}
  %b = lathe.map (%x = %a : !lathe.array<f32, row=8>) -> !lathe.array<f32, row=9> {
    lathe.yield %x : f32
  }
}

// -----

lathe.kernel @map_argument_count {
  %a = lathe.input "a" : !lathe.array<f32, row=8>
  // expected-error @+1 {{region needs one argument an operand, got 2 for 1}}
  %b = "lathe.map"(%a) ({
  ^bb0(%x: f32, %y: f32):
    lathe.yield %x : f32
  }) : (!lathe.array<f32, row=8>) -> !lathe.array<f32, row=8>
}

// -----

lathe.kernel @map_argument_type {
  %a = lathe.input "a" : !lathe.array<bf16, row=8>
  // expected-error @+1 {{region argument 0 must be 'bf16', got 'f32'}}
  %b = "lathe.map"(%a) ({
  ^bb0(%x: f32):
    lathe.yield %x : f32
  }) : (!lathe.array<bf16, row=8>) -> !lathe.array<f32, row=8>
}

// -----

lathe.kernel @map_foreign_operation {
  %a = lathe.input "a" : !lathe.array<i32, row=8>
  // expected-error @+1 {{region may hold arith, math and lathe.index only, got llvm.add}}
  %b = lathe.map (%x = %a : !lathe.array<i32, row=8>) -> !lathe.array<i32, row=8> {
    %y = llvm.add %x, %x : i32
    lathe.yield %y : i32
  }
}

// -----

lathe.kernel @map_terminator {
  %a = lathe.input "a" : !lathe.array<f32, row=8>
  %b = lathe.map (%x = %a : !lathe.array<f32, row=8>) -> !lathe.array<f32, row=8> {
    // expected-error @+1 {{block with no terminator}}
    %y = arith.addf %x, %x : f32
  }
}

// -----

lathe.kernel @map_yield_type {
  %a = lathe.input "a" : !lathe.array<bf16, row=8>
  // expected-error @+1 {{region must yield 'f32', got 'bf16'}}
  %b = lathe.map (%x = %a : !lathe.array<bf16, row=8>) -> !lathe.array<f32, row=8> {
    lathe.yield %x : bf16
  }
}

// -----

lathe.kernel @map_isolated {
  %a = lathe.input "a" : !lathe.array<f32, row=8>
  // expected-note @+2 {{required by region isolation constraints}}
  %c = lathe.param "c" : f32
  %b = lathe.map (%x = %a : !lathe.array<f32, row=8>) -> !lathe.array<f32, row=8> {
    // expected-error @+1 {{using value defined outside the region}}
    %y = arith.mulf %x, %c : f32
    lathe.yield %y : f32
  }
}

// -----

//===- lathe.softmax ----------------------------------------------------------------------------------===//

lathe.kernel @softmax_scores {
  %s = lathe.input "s" : !lathe.array<bf16, row=8, token=?>
  // expected-error @+1 {{scores must be f32, got 'bf16'}}
  %p, %l = lathe.softmax %s over "token" : !lathe.array<bf16, row=8, token=?>
    -> !lathe.array<bf16, row=8, token=?>, !lathe.array<bf16, row=8>
}

// -----

lathe.kernel @softmax_axis {
  %s = lathe.input "s" : !lathe.array<f32, row=8, token=?>
  // expected-error @+1 {{scores have no dimension "key"}}
  %p, %l = lathe.softmax %s over "key" : !lathe.array<f32, row=8, token=?>
    -> !lathe.array<f32, row=8, token=?>, !lathe.array<f32, row=8>
}

// -----

lathe.kernel @softmax_probabilities {
  %s = lathe.input "s" : !lathe.array<f32, row=8, token=?>
  // expected-error @+1 {{probabilities must have the type of the scores, got '!lathe.array<bf16, row=8, token=?>'}}
  %p, %l = lathe.softmax %s over "token" : !lathe.array<f32, row=8, token=?>
    -> !lathe.array<bf16, row=8, token=?>, !lathe.array<f32, row=8>
}

// -----

lathe.kernel @softmax_logarithm {
  %s = lathe.input "s" : !lathe.array<f32, row=8, token=?>
  // expected-error @+1 {{logarithm must be '!lathe.array<f32, row=8>', got '!lathe.array<f32, token=?>'}}
  %p, %l = lathe.softmax %s over "token" : !lathe.array<f32, row=8, token=?>
    -> !lathe.array<f32, row=8, token=?>, !lathe.array<f32, token=?>
}

// -----

lathe.kernel @softmax_operands_without_mask {
  %s = lathe.input "s" : !lathe.array<f32, row=8, token=?>
  // expected-error @+1 {{has mask operands but no mask}}
  %p, %l = "lathe.softmax"(%s, %s) <{axis = "token"}> ({}) : (!lathe.array<f32, row=8, token=?>, !lathe.array<f32, row=8, token=?>)
    -> (!lathe.array<f32, row=8, token=?>, !lathe.array<f32, row=8>)
}

// -----

lathe.kernel @softmax_mask_operand {
  %s = lathe.input "s" : !lathe.array<f32, row=8, token=?>
  %n = lathe.input "n" : !lathe.array<i1, batch=?>
  // expected-error @+1 {{operand 0 has dimension "batch", the scores has none}}
  %p, %l = lathe.softmax %s over "token" where (%x = %n : !lathe.array<i1, batch=?>) {
    lathe.yield %x : i1
  } : !lathe.array<f32, row=8, token=?> -> !lathe.array<f32, row=8, token=?>, !lathe.array<f32, row=8>
}

// -----

lathe.kernel @softmax_mask_argument_type {
  %s = lathe.input "s" : !lathe.array<f32, row=8, token=?>
  %n = lathe.input "n" : !lathe.array<i32, row=8>
  // expected-error @+1 {{region argument 0 must be 'i32', got 'i1'}}
  %p, %l = "lathe.softmax"(%s, %n) <{axis = "token"}> ({
  ^bb0(%x: i1):
    lathe.yield %x : i1
  }) : (!lathe.array<f32, row=8, token=?>, !lathe.array<i32, row=8>)
    -> (!lathe.array<f32, row=8, token=?>, !lathe.array<f32, row=8>)
}

// -----

lathe.kernel @softmax_mask_blocks {
  %s = lathe.input "s" : !lathe.array<f32, row=8, token=?>
  // expected-error @+1 {{region must have one block}}
  %p, %l = "lathe.softmax"(%s) <{axis = "token"}> ({
    %x = arith.constant true
    lathe.yield %x : i1
  ^bb1:
    %y = arith.constant true
    lathe.yield %y : i1
  }) : (!lathe.array<f32, row=8, token=?>) -> (!lathe.array<f32, row=8, token=?>, !lathe.array<f32, row=8>)
}

// -----

lathe.kernel @softmax_mask_yield {
  %s = lathe.input "s" : !lathe.array<f32, row=8, token=?>
  // expected-error @+1 {{region must yield 'i1', got 'i32'}}
  %p, %l = lathe.softmax %s over "token" where () {
    %t = lathe.index "token" : i32
    lathe.yield %t : i32
  } : !lathe.array<f32, row=8, token=?> -> !lathe.array<f32, row=8, token=?>, !lathe.array<f32, row=8>
}

// -----

//===- lathe.sum --------------------------------------------------------------------------------------===//

lathe.kernel @sum_source {
  %a = lathe.input "a" : !lathe.array<i32, row=8, column=4>
  // expected-error @+1 {{source must be floating-point, got 'i32'}}
  %b = lathe.sum %a over ["row"] : !lathe.array<i32, row=8, column=4> -> !lathe.array<f32, column=4>
}

// -----

lathe.kernel @sum_result {
  %a = lathe.input "a" : !lathe.array<bf16, row=8, column=4>
  // expected-error @+1 {{accumulates in f32, got a result of 'bf16'}}
  %b = lathe.sum %a over ["row"] : !lathe.array<bf16, row=8, column=4> -> !lathe.array<bf16, column=4>
}

// -----

lathe.kernel @sum_over_nothing {
  %a = lathe.input "a" : !lathe.array<f32, row=8, column=4>
  // expected-error @+1 {{must sum over at least one dimension}}
  %b = lathe.sum %a over [] : !lathe.array<f32, row=8, column=4> -> !lathe.array<f32, row=8, column=4>
}

// -----

lathe.kernel @sum_over {
  %a = lathe.input "a" : !lathe.array<f32, row=8, column=4>
  // expected-error @+1 {{source has no dimension "token"}}
  %b = lathe.sum %a over ["token"] : !lathe.array<f32, row=8, column=4> -> !lathe.array<f32, row=8, column=4>
}

// -----

lathe.kernel @sum_dimensions {
  %a = lathe.input "a" : !lathe.array<f32, row=8, column=4>
  // expected-error @+1 {{result has dimension "row", the source without the summed dimensions has none}}
  %b = lathe.sum %a over ["row"] : !lathe.array<f32, row=8, column=4> -> !lathe.array<f32, row=8>
}

// -----

//===- lathe.index, lathe.yield -----------------------------------------------------------------------===//

lathe.kernel @index_dimension {
  %b = lathe.map () -> !lathe.array<i32, row=8> {
    // expected-error @+1 {{the surrounding lathe.map has no dimension "token"}}
    %t = lathe.index "token" : i32
    lathe.yield %t : i32
  }
}

// -----

lathe.kernel @index_outside {
  // expected-error @+1 {{expects parent op to be one of 'lathe.map, lathe.softmax'}}
  %t = lathe.index "token" : i32
}

// -----

// The terminator belongs to regions alone.
func.func @yield_outside(%x: f32) {
  // expected-error @+1 {{expects parent op to be one of 'lathe.map, lathe.softmax'}}
  lathe.yield %x : f32
}
