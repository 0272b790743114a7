// As tile-errors.mlir, of products and values with query rows on columns.
// RUN: lathe-opt %s --split-input-file --verify-diagnostics

//===- tile.mma_nt, tile.mma_tt ------------------------------------------------------------------------===//

tile.kernel @nt_from_step attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{the first column must be a multiple of 16, got 8}}
  %c = tile.mma_nt %a, %b depth 16 from 8 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @nt_from_depth attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{depth must be a multiple of 16 within both operands, got 80 from column 64}}
  %c = tile.mma_nt %a, %b depth 80 from 64 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @nt_onto attributes {arg_names = ["a", "b", "c0"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<32, 128, swizzle 128>, %c0: !tile.fragment<64>):
  // expected-error @+1 {{accumulates onto '!tile.fragment<64>', result is '!tile.fragment<32>'}}
  %c = tile.mma_nt %a, %b depth 16 onto %c0 : !tile.fragment<64> : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @tt_result attributes {arg_names = ["c", "a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<16>, %a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<16, 64, swizzle 128>):
  // expected-error @+1 {{accumulates into '!tile.fragment<16>', result is '!tile.fragment<32>'}}
  %d = tile.mma_tt %c, %a box 0, %b : !tile.fragment<16>, !tile.buffer<64, 128, swizzle 128>, !tile.buffer<16, 64, swizzle 128>
    -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @tt_wide attributes {arg_names = ["c", "a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<288>, %a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<288, 64, swizzle 128>):
  // expected-error @+1 {{makes 256 columns at most, got 288; only tile.mma_nt makes more}}
  %d = tile.mma_tt %c, %a box 0, %b : !tile.fragment<288>, !tile.buffer<64, 128, swizzle 128>, !tile.buffer<288, 64, swizzle 128>
    -> !tile.fragment<288>
  tile.return
}

// -----

tile.kernel @tt_swizzle attributes {arg_names = ["c", "a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<16>, %a: !tile.buffer<64, 128, swizzle 64>, %b: !tile.buffer<16, 64, swizzle 128>):
  // expected-error @+1 {{first operand must have 128-byte swizzle}}
  %d = tile.mma_tt %c, %a box 0, %b : !tile.fragment<16>, !tile.buffer<64, 128, swizzle 64>, !tile.buffer<16, 64, swizzle 128>
    -> !tile.fragment<16>
  tile.return
}

// -----

tile.kernel @tt_box attributes {arg_names = ["c", "a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<16>, %a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<16, 64, swizzle 128>):
  // expected-error @+1 {{box 2 is past the last of 2}}
  %d = tile.mma_tt %c, %a box 2, %b : !tile.fragment<16>, !tile.buffer<64, 128, swizzle 128>, !tile.buffer<16, 64, swizzle 128>
    -> !tile.fragment<16>
  tile.return
}

// -----

tile.kernel @tt_second_rows attributes {arg_names = ["c", "a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<16>, %a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<8, 64, swizzle 128>):
  // expected-error @+1 {{second operand must be one box with a row for each of the result's 16 columns, got '!tile.buffer<8, 64, swizzle 128>'}}
  %d = tile.mma_tt %c, %a box 0, %b : !tile.fragment<16>, !tile.buffer<64, 128, swizzle 128>, !tile.buffer<8, 64, swizzle 128>
    -> !tile.fragment<16>
  tile.return
}

// -----

tile.kernel @tt_second_boxes attributes {arg_names = ["c", "a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<16>, %a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<16, 64, swizzle 64>):
  // expected-error @+1 {{second operand must be one box with a row for each of the result's 16 columns, got '!tile.buffer<16, 64, swizzle 64>'}}
  %d = tile.mma_tt %c, %a box 0, %b : !tile.fragment<16>, !tile.buffer<64, 128, swizzle 128>, !tile.buffer<16, 64, swizzle 64>
    -> !tile.fragment<16>
  tile.return
}

// -----

tile.kernel @tt_depth attributes {arg_names = ["c", "a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<16>, %a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<16, 32, swizzle 128>):
  // expected-error @+1 {{first operand has 64 rows, the second 32 columns; they must be the same multiple of 16}}
  %d = tile.mma_tt %c, %a box 0, %b : !tile.fragment<16>, !tile.buffer<64, 128, swizzle 128>, !tile.buffer<16, 32, swizzle 128>
    -> !tile.fragment<16>
  tile.return
}

// -----

tile.kernel @tt_depth_step attributes {arg_names = ["c", "a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<16>, %a: !tile.buffer<24, 128, swizzle 128>, %b: !tile.buffer<16, 24, swizzle 128>):
  // expected-error @+1 {{first operand has 24 rows, the second 24 columns; they must be the same multiple of 16}}
  %d = tile.mma_tt %c, %a box 0, %b : !tile.fragment<16>, !tile.buffer<24, 128, swizzle 128>, !tile.buffer<16, 24, swizzle 128>
    -> !tile.fragment<16>
  tile.return
}

// -----

//===- Values of columns -------------------------------------------------------------------------------===//

tile.kernel @splat_columns attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%x: f32):
  // expected-error @+1 {{value must be 'i32', got 'f32'}}
  %c = tile.splat %x : f32 -> !tile.columns<16, i32>
  tile.return
}

// -----

tile.kernel @map_columns_argument attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.columns<16, i32>):
  // expected-error @+1 {{region argument for '!tile.columns<16, i32>' must be 'i32', got 'f32'}}
  %y = tile.map(%f : !tile.columns<16, i32>) -> !tile.columns<16, f32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_columns_to_fragment attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.columns<16, f32>):
  // expected-error @+1 {{input '!tile.columns<16, f32>' must have the shape of the result '!tile.fragment<32>'}}
  %y = tile.map(%f : !tile.columns<16, f32>) -> !tile.fragment<32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_columns_to_rows attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.columns<16, f32>):
  // expected-error @+1 {{input '!tile.columns<16, f32>' must have the shape of the result '!tile.rows<f32>'}}
  %y = tile.map(%f : !tile.columns<16, f32>) -> !tile.rows<f32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_columns_to_columns attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.columns<16, f32>):
  // expected-error @+1 {{input '!tile.columns<16, f32>' must have the shape of the result '!tile.columns<8, f32>'}}
  %y = tile.map(%f : !tile.columns<16, f32>) -> !tile.columns<8, f32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_rows_to_columns attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.rows<f32>):
  // expected-error @+1 {{input '!tile.rows<f32>' must have the shape of the result '!tile.columns<16, f32>'}}
  %y = tile.map(%f : !tile.rows<f32>) -> !tile.columns<16, f32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_fragment_to_columns attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>):
  // expected-error @+1 {{input '!tile.fragment<16>' must have the shape of the result '!tile.columns<16, f32>'}}
  %y = tile.map(%f : !tile.fragment<16>) -> !tile.columns<16, f32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_columns_yield attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.columns<16, f32>):
  // expected-error @+1 {{must yield one 'i32'}}
  %y = tile.map(%f : !tile.columns<16, f32>) -> !tile.columns<16, i32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @any_row_type attributes {arg_names = ["r"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%r: !tile.rows<i32>):
  // expected-error @+1 {{compares f32 rows, got '!tile.rows<i32>'}}
  %a = tile.any_row %r differs from 0.0 : !tile.rows<i32>
  tile.return
}

// -----

//===- tile.reduce_rows, tile.complete_columns ---------------------------------------------------------===//

tile.kernel @reduce_rows_columns attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>):
  // expected-error @+1 {{result must be f32 for each of 16 columns, got '!tile.columns<8, f32>'}}
  %c = tile.reduce_rows "max" %f : !tile.fragment<16> -> !tile.columns<8, f32>
  tile.return
}

// -----

tile.kernel @reduce_rows_element attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>):
  // expected-error @+1 {{result must be f32 for each of 16 columns, got '!tile.columns<16, i32>'}}
  %c = tile.reduce_rows "max" %f : !tile.fragment<16> -> !tile.columns<16, i32>
  tile.return
}

// -----

tile.kernel @reduce_rows_kind attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>):
  // expected-error @+1 {{kind must be "max" or "add", got "min"}}
  %c = tile.reduce_rows "min" %f : !tile.fragment<16> -> !tile.columns<16, f32>
  tile.return
}

// -----

tile.kernel @complete_element attributes {arg_names = ["p"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.columns<16, i32>):
  // expected-error @+1 {{completes f32 columns, got '!tile.columns<16, i32>'}}
  %c = tile.complete_columns "add" %p at 16 event 1 : !tile.columns<16, i32>
  tile.return
}

// -----

tile.kernel @complete_offset attributes {arg_names = ["p"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.columns<16, f32>):
  // expected-error @+1 {{offset must be a multiple of 16 bytes, got 24}}
  %c = tile.complete_columns "add" %p at 24 event 1 : !tile.columns<16, f32>
  tile.return
}

// -----

tile.kernel @complete_event_zero attributes {arg_names = ["p"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.columns<16, f32>):
  // expected-error @+1 {{event must be 1 to 15 (0 is the CTA's own barrier), got 0}}
  %c = tile.complete_columns "add" %p at 16 event 0 : !tile.columns<16, f32>
  tile.return
}

// -----

tile.kernel @complete_event_sixteen attributes {arg_names = ["p"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.columns<16, f32>):
  // expected-error @+1 {{event must be 1 to 15 (0 is the CTA's own barrier), got 16}}
  %c = tile.complete_columns "add" %p at 16 event 16 : !tile.columns<16, f32>
  tile.return
}

// -----

tile.kernel @complete_kind attributes {arg_names = ["p"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.columns<16, f32>):
  // expected-error @+1 {{kind must be "max" or "add", got "mean"}}
  %c = tile.complete_columns "mean" %p at 16 event 1 : !tile.columns<16, f32>
  tile.return
}

// -----

//===- tile.put_transposed -----------------------------------------------------------------------------===//

tile.kernel @put_transposed_rows attributes {arg_names = ["f", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>, %b: !tile.buffer<64, 64, swizzle 128>):
  // expected-error @+1 {{buffer must be one box of 16 rows and 64 columns, got '!tile.buffer<64, 64, swizzle 128>'}}
  tile.put_transposed %f, %b : !tile.fragment<16>, !tile.buffer<64, 64, swizzle 128>
  tile.return
}

// -----

tile.kernel @put_transposed_columns attributes {arg_names = ["f", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>, %b: !tile.buffer<16, 32, swizzle 128>):
  // expected-error @+1 {{buffer must be one box of 16 rows and 64 columns, got '!tile.buffer<16, 32, swizzle 128>'}}
  tile.put_transposed %f, %b : !tile.fragment<16>, !tile.buffer<16, 32, swizzle 128>
  tile.return
}

// -----

tile.kernel @put_transposed_swizzle attributes {arg_names = ["f", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>, %b: !tile.buffer<16, 64, swizzle 64>):
  // expected-error @+1 {{buffer must be one box of 16 rows and 64 columns, got '!tile.buffer<16, 64, swizzle 64>'}}
  tile.put_transposed %f, %b : !tile.fragment<16>, !tile.buffer<16, 64, swizzle 64>
  tile.return
}

// -----

//===- tile.store_transposed, tile.store_columns -------------------------------------------------------===//

tile.kernel @transposed_none attributes {arg_names = ["q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{needs fragments of one type}}
  "tile.store_transposed"(%q) <{element = bf16, event = 1 : i32, limit = 64 : i32, offset = 0 : i32,
    operandSegmentSizes = array<i32: 0, 1, 0>}> ({
  ^bb0(%r: i32):
    "tile.yield"(%w, %t) : (i64, i1) -> ()
  }) : (!llvm.ptr<1>) -> ()
  tile.return
}

// -----

tile.kernel @transposed_types attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<8>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{needs fragments of one type}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 128 as bf16 : !tile.fragment<16>, !tile.fragment<8> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_element attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{element must be bf16 or f16, got 'f32'}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 128 as f32 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_offset attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{offset must be a multiple of 16 bytes, got 8}}
  tile.store_transposed %f0, %f1 to %q at 8 event 1 limit 128 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_limit_step attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{limit must be a multiple of 8 from 8 to the fragments' 128 rows, got 100}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 100 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_limit_rows attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{limit must be a multiple of 8 from 8 to the fragments' 128 rows, got 136}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 136 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_no_limit attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{limit must be a multiple of 8 from 8 to the fragments' 128 rows, got 0}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 0 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_event attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{event must be 1 to 15 (0 is the CTA's own barrier), got 0}}
  tile.store_transposed %f0, %f1 to %q at 0 event 0 limit 128 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_argument attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region takes one argument, the column (i32)}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 128 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i64):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_arguments attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region takes one argument, the column (i32)}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 128 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32, %s: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_yield_one attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 128 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w : i64
  }
  tile.return
}

// -----

tile.kernel @transposed_yield_offset attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 128 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %r, %t : i32, i1
  }
  tile.return
}

// -----

tile.kernel @transposed_yield_condition attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 128 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %w : i64, i64
  }
  tile.return
}

// -----

tile.kernel @transposed_no_yield attributes {arg_names = ["f0", "f1", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %f1: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store_transposed %f0, %f1 to %q at 0 event 1 limit 128 as bf16 : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
  }
  tile.return
}

// -----

tile.kernel @transposed_apart attributes {arg_names = ["f0", "q", "w", "t", "n"], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f0: !tile.fragment<16>, %q: !llvm.ptr<1>, %w: i64, %t: i1, %n: i32):
  // expected-error @+1 {{warpgroups' rows must be apart by their 2304 bytes or more, a multiple of 16, got 2288}}
  tile.store_transposed %f0 to %q at 0[%n] of 2 apart 2288 event 1 limit 64 as bf16 at_once 16 : !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @store_columns_type attributes {arg_names = ["c", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.columns<16, i32>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{writes f32 columns, got '!tile.columns<16, i32>'}}
  tile.store_columns %c to %q : !tile.columns<16, i32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @store_columns_argument attributes {arg_names = ["c", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.columns<16, f32>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region takes one argument, the column (i32)}}
  tile.store_columns %c to %q : !tile.columns<16, f32>, !llvm.ptr<1> {
  ^bb0(%r: f32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @store_columns_yield attributes {arg_names = ["c", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.columns<16, f32>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store_columns %c to %q : !tile.columns<16, f32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %t, %w : i1, i64
  }
  tile.return
}
