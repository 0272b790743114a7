// One test a rule: each breaks it once.
// RUN: lathe-opt %s --split-input-file --verify-diagnostics

//===- Types ---------------------------------------------------------------------------------------===//

// expected-error @+1 {{swizzle must be 32, 64 or 128 bytes, got 16}}
func.func private @buffer_swizzle(!tile.buffer<64, 64, swizzle 16>)

// -----

// expected-error @+1 {{rows must be a positive multiple of 8, got 12}}
func.func private @buffer_rows(!tile.buffer<12, 64, swizzle 128>)

// -----

// expected-error @+1 {{rows must be a positive multiple of 8, got 0}}
func.func private @buffer_no_rows(!tile.buffer<0, 64, swizzle 128>)

// -----

// expected-error @+1 {{columns must be a positive multiple of 8, got 12}}
func.func private @buffer_columns(!tile.buffer<64, 12, swizzle 128>)

// -----

// expected-error @+1 {{columns must be a positive multiple of 8, got 0}}
func.func private @buffer_no_columns(!tile.buffer<64, 0, swizzle 128>)

// -----

// expected-error @+1 {{a pipe needs at least one stage, got 0}}
func.func private @pipe_stages(!tile.pipe<0, 64, 64>)

// -----

// expected-error @+1 {{rows must be a positive multiple of 8, got 0}}
func.func private @pipe_rows(!tile.pipe<2, 0, 64>)

// -----

// expected-error @+1 {{each of a cluster's 1 to 16 CTAs loads a multiple of 8 rows, got 4 rows for 1 CTAs}}
func.func private @pipe_row_step(!tile.pipe<2, 4, 64>)

// -----

// expected-error @+1 {{each of a cluster's 1 to 16 CTAs loads a multiple of 8 rows, got 16 rows for 4 CTAs}}
func.func private @pipe_cluster_rows(!tile.pipe<2, 16, 64, cluster 4>)

// -----

// expected-error @+1 {{each of a cluster's 1 to 16 CTAs loads a multiple of 8 rows, got 16 rows for 0 CTAs}}
func.func private @pipe_no_cluster(!tile.pipe<2, 16, 64, cluster 0>)

// -----

// expected-error @+1 {{each of a cluster's 1 to 16 CTAs loads a multiple of 8 rows, got 256 rows for 32 CTAs}}
func.func private @pipe_large_cluster(!tile.pipe<2, 256, 64, cluster 32>)

// -----

// expected-error @+1 {{columns must be a positive multiple of 8, got 60}}
func.func private @pipe_columns(!tile.pipe<2, 64, 60>)

// -----

// expected-error @+1 {{a fragment has 8 to 256 columns in steps of 8, 272 or 288, got 12}}
func.func private @fragment_step(!tile.fragment<12>)

// -----

// expected-error @+1 {{a fragment has 8 to 256 columns in steps of 8, 272 or 288, got 264}}
func.func private @fragment_wide(!tile.fragment<264>)

// -----

// expected-error @+1 {{a fragment has 8 to 256 columns in steps of 8, 272 or 288, got 304}}
func.func private @fragment_widest(!tile.fragment<304>)

// -----

// expected-error @+1 {{a fragment has 8 to 256 columns in steps of 8, 272 or 288, got 0}}
func.func private @fragment_empty(!tile.fragment<0>)

// -----

// expected-error @+1 {{an operand has 16 to 256 columns in steps of 16, got 24}}
func.func private @operand_step(!tile.operand<24>)

// -----

// expected-error @+1 {{an operand has 16 to 256 columns in steps of 16, got 272}}
func.func private @operand_wide(!tile.operand<272>)

// -----

// expected-error @+1 {{row values are f32 or i32, got 'bf16'}}
func.func private @rows_element(!tile.rows<bf16>)

// -----

//===- tile.kernel ---------------------------------------------------------------------------------===//

// expected-error @+1 {{has 1 arguments and 2 names}}
tile.kernel @names attributes {arg_names = ["n", "m"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%n: i32):

  tile.return
}

// -----

// expected-error @+1 {{threads must be a multiple of 32 from 32 to 1024, got 48}}
tile.kernel @threads attributes {arg_names = [], threads = 48 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {

  tile.return
}

// -----

// expected-error @+1 {{threads must be a multiple of 32 from 32 to 1024, got 0}}
tile.kernel @no_threads attributes {arg_names = [], threads = 0 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {

  tile.return
}

// -----

// expected-error @+1 {{threads must be a multiple of 32 from 32 to 1024, got 1056}}
tile.kernel @many_threads attributes {arg_names = [], threads = 1056 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {

  tile.return
}

// -----

// expected-error @+1 {{names scratch memory "scan" and has no shared memory}}
tile.kernel @scratch attributes {arg_names = [], threads = 32 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32,
                            scratch = "scan"} {
  tile.return
}

// -----

func.func @no_kernel() {
  // expected-error @+1 {{expects parent op 'tile.kernel'}}
  tile.return
}

// -----

//===- tile.roles, tile.sync_event -----------------------------------------------------------------===//

tile.kernel @roles_warpgroups attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{needs one warpgroup count, register count and region for each of its 2 roles}}
  tile.roles ["a", "b"] warpgroups [2] registers [0, 0] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_register_counts attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{needs one warpgroup count, register count and region for each of its 2 roles}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [0] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_regions attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{needs one warpgroup count, register count and region for each of its 2 roles}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [0, 0] {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_registers_step attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{registers must be a multiple of 8 from 24 to 256, got 100}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [0, 100] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_registers_few attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{registers must be a multiple of 8 from 24 to 256, got 16}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [16, 0] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_registers_many attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{registers must be a multiple of 8 from 24 to 256, got 264}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [264, 0] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_argument attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{a role takes one argument, its warpgroup's index (i32)}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [0, 0] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i64):
  }
  tile.return
}

// -----

tile.kernel @roles_arguments attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{a role takes one argument, its warpgroup's index (i32)}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [0, 0] {
  ^bb0(%i: i32, %j: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_of_more_registers attributes {arg_names = [], threads = 640 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{deals out 65536 registers, a launch of 640 threads has 61440}}
  tile.roles ["a", "b"] warpgroups [4, 1] registers [104, 96] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_of_more_than_the_cap attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                            max_registers = 168 : i32} {
  // expected-error @+1 {{deals out 50176 registers, a launch of 256 threads has 43008}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [224, 0] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_threads attributes {arg_names = [], threads = 384 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{gives roles to 256 threads, the kernel has 384}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [0, 0] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

func.func @roles_outside() {
  // expected-error @+1 {{expects parent op 'tile.kernel'}}
  tile.roles ["a"] warpgroups [1] registers [0] {
  ^bb0(%i: i32):
  }
  return
}

// -----

tile.kernel @event_zero attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{event must be 1 to 15 (0 is the CTA's own barrier), got 0}}
  tile.sync_event 0 threads 128
  tile.return
}

// -----

tile.kernel @event_sixteen attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{event must be 1 to 15 (0 is the CTA's own barrier), got 16}}
  tile.sync_event 16 threads 128
  tile.return
}

// -----

tile.kernel @event_threads attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{threads must be a multiple of 32, got 100}}
  tile.sync_event 1 threads 100
  tile.return
}

// -----

tile.kernel @event_no_threads attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{threads must be a multiple of 32, got 0}}
  tile.sync_event 1 threads 0
  tile.return
}

// -----

//===- tile.buffer, tile.box -----------------------------------------------------------------------===//

tile.kernel @buffer_offset attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{offset must be a multiple of 1024 bytes, got 512}}
  %b = tile.buffer 512 : !tile.buffer<64, 64, swizzle 128>
  tile.return
}

// -----

tile.kernel @buffer_index attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%n: i32):
  // expected-error @+1 {{indexed buffers must be multiples of 1024 bytes, got 512}}
  %b = tile.buffer 1024[%n] : !tile.buffer<8, 32, swizzle 64>
  tile.return
}

// -----

tile.kernel @buffer_count attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%n: i32):
  // expected-error @+1 {{is one of at least one, got 0}}
  %b = tile.buffer 1024[%n] of 0 : !tile.buffer<64, 64, swizzle 128>
  tile.return
}

// -----

tile.kernel @buffer_count_no_index attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{is one of 2 and has no index}}
  %b = tile.buffer 1024 of 2 : !tile.buffer<64, 64, swizzle 128>
  tile.return
}

// -----

tile.kernel @box_number attributes {arg_names = ["b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{box 2 is past the last of 2}}
  %c = tile.box %b 2 : !tile.buffer<32, 128, swizzle 128> -> !tile.buffer<64, 32, swizzle 64>
  tile.return
}

// -----

tile.kernel @box_bytes attributes {arg_names = ["b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{result needs 8192 bytes, a box has 4096}}
  %c = tile.box %b 1 : !tile.buffer<32, 128, swizzle 128> -> !tile.buffer<64, 64, swizzle 128>
  tile.return
}

// -----

tile.kernel @box_alignment attributes {arg_names = ["b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%b: !tile.buffer<16, 128, swizzle 32>):
  // expected-error @+1 {{boxes must be multiples of 1024 bytes, got 512}}
  %c = tile.box %b 1 : !tile.buffer<16, 128, swizzle 32> -> !tile.buffer<8, 16, swizzle 32>
  tile.return
}

// -----

//===- tile.pipe, tile.wait, tile.load, tile.zero_rows ---------------------------------------------===//

tile.kernel @pipe_offset attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{offset must be a multiple of 1024 bytes, got 128}}
  %p = tile.pipe at 128 barriers 65536 releases 1 : !tile.pipe<2, 32, 128>
  tile.return
}

// -----

tile.kernel @pipe_barriers attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{barrier offset must be a multiple of 8 bytes, got 65540}}
  %p = tile.pipe at 0 barriers 65540 releases 1 : !tile.pipe<2, 32, 128>
  tile.return
}

// -----

tile.kernel @pipe_releases attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{releases must be positive, got 0}}
  %p = tile.pipe at 0 barriers 65536 releases 0 : !tile.pipe<2, 32, 128>
  tile.return
}

// -----

tile.kernel @wait_result attributes {arg_names = ["p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 32, 128>, %n: i32):
  // expected-error @+1 {{result must be a stage of the pipe, '!tile.buffer<32, 128, swizzle 128>'}}
  %b = tile.wait %p[%n] : !tile.pipe<2, 32, 128> -> !tile.buffer<32, 64, swizzle 128>
  tile.return
}

// -----

tile.kernel @load_no_coordinates attributes {arg_names = ["m", "p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%m: !tile.tensor_map, %p: !tile.pipe<2, 32, 128>, %n: i32):
  // expected-error @+1 {{needs 1 to 5 coordinates, got 0}}
  tile.load %m[] into %p[%n] box 0 rows 0 to 32 : !tile.pipe<2, 32, 128>
  tile.return
}

// -----

tile.kernel @load_coordinates attributes {arg_names = ["m", "p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%m: !tile.tensor_map, %p: !tile.pipe<2, 32, 128>, %n: i32):
  // expected-error @+1 {{needs 1 to 5 coordinates, got 6}}
  tile.load %m[%n, %n, %n, %n, %n, %n] into %p[%n] box 0 rows 0 to 32 : !tile.pipe<2, 32, 128>
  tile.return
}

// -----

tile.kernel @load_box attributes {arg_names = ["m", "p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%m: !tile.tensor_map, %p: !tile.pipe<2, 32, 128>, %n: i32):
  // expected-error @+1 {{box 2 is past the last of 2}}
  tile.load %m[%n, %n] into %p[%n] box 2 rows 0 to 32 : !tile.pipe<2, 32, 128>
  tile.return
}

// -----

tile.kernel @load_first_row attributes {arg_names = ["m", "p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%m: !tile.tensor_map, %p: !tile.pipe<2, 32, 128>, %n: i32):
  // expected-error @+1 {{rows 4 + 16 must start at a multiple of 8 and fit 32}}
  tile.load %m[%n, %n] into %p[%n] box 0 rows 4 to 16 : !tile.pipe<2, 32, 128>
  tile.return
}

// -----

tile.kernel @load_last_row attributes {arg_names = ["m", "p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%m: !tile.tensor_map, %p: !tile.pipe<2, 32, 128>, %n: i32):
  // expected-error @+1 {{rows 16 + 24 must start at a multiple of 8 and fit 32}}
  tile.load %m[%n, %n] into %p[%n] box 0 rows 16 to 24 : !tile.pipe<2, 32, 128>
  tile.return
}

// -----

tile.kernel @zero_rows_boxes attributes {arg_names = ["b", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%b: !tile.buffer<32, 128, swizzle 128>, %n: i32):
  // expected-error @+1 {{has 3 boxes to clear, the buffer 2}}
  tile.zero_rows %b from %n boxes 3 : !tile.buffer<32, 128, swizzle 128>
  tile.return
}

// -----

//===- tile.mma_nt, tile.mma_nn, tile.mma_wait -----------------------------------------------------===//

tile.kernel @nt_rows attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<32, 128, swizzle 128>, %b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{first operand must have 64 rows, or more and the row to begin at, got 32}}
  %c = tile.mma_nt %a, %b depth 128 : !tile.buffer<32, 128, swizzle 128>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @nt_columns attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{second operand has 32 rows, the result 64 columns}}
  %c = tile.mma_nt %a, %b depth 128 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<64>
  tile.return
}

// -----

tile.kernel @nt_depth_step attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{depth must be a multiple of 16 within both operands, got 24}}
  %c = tile.mma_nt %a, %b depth 24 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @nt_no_depth attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{depth must be a multiple of 16 within both operands, got 0}}
  %c = tile.mma_nt %a, %b depth 0 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @nt_depth_right attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<32, 64, swizzle 128>):
  // expected-error @+1 {{depth must be a multiple of 16 within both operands, got 128}}
  %c = tile.mma_nt %a, %b depth 128 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 64, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @nt_depth_left attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 64, swizzle 128>, %b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{depth must be a multiple of 16 within both operands, got 128}}
  %c = tile.mma_nt %a, %b depth 128 : !tile.buffer<64, 64, swizzle 128>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @nt_swizzle_left attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 32, swizzle 64>, %b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{operands must have 128-byte swizzle}}
  %c = tile.mma_nt %a, %b depth 32 : !tile.buffer<64, 32, swizzle 64>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @nt_swizzle_right attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>, %b: !tile.buffer<32, 32, swizzle 64>):
  // expected-error @+1 {{operands must have 128-byte swizzle}}
  %c = tile.mma_nt %a, %b depth 32 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 32, swizzle 64> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @nt_registers attributes {arg_names = ["a", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%a: !tile.operand<64>, %b: !tile.buffer<32, 128, swizzle 128>):
  // expected-error @+1 {{an operand in registers has no first row and depth columns, got '!tile.operand<64>' for a depth of 32}}
  %c = tile.mma_nt %a, %b depth 32 : !tile.operand<64>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @load_operand_box attributes {arg_names = ["a"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>):
  // expected-error @+1 {{buffer must have 64 rows and a box 2, got '!tile.buffer<64, 128, swizzle 128>'}}
  %c = tile.load_operand %a box 2 : !tile.buffer<64, 128, swizzle 128> -> !tile.operand<64>
  tile.return
}

// -----

tile.kernel @load_operand_columns attributes {arg_names = ["a"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%a: !tile.buffer<64, 128, swizzle 128>):
  // expected-error @+1 {{a box has 64 columns, the operand 80}}
  %c = tile.load_operand %a box 0 : !tile.buffer<64, 128, swizzle 128> -> !tile.operand<80>
  tile.return
}

// -----

tile.kernel @nn_wide attributes {arg_names = ["c", "a", "b", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<272>, %a: !tile.operand<32>, %b: !tile.buffer<32, 320, swizzle 128>, %n: i32):
  // expected-error @+1 {{makes 256 columns at most, got 272; only tile.mma_nt makes more}}
  %d = tile.mma_nn %c, %a, %b box %n : !tile.fragment<272>, !tile.operand<32>, !tile.buffer<32, 320, swizzle 128> -> !tile.fragment<272>
  tile.return
}

// -----

tile.kernel @nn_result attributes {arg_names = ["c", "a", "b", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<64>, %a: !tile.operand<32>, %b: !tile.buffer<32, 128, swizzle 128>, %n: i32):
  // expected-error @+1 {{accumulates into '!tile.fragment<64>', result is '!tile.fragment<128>'}}
  %d = tile.mma_nn %c, %a, %b box %n : !tile.fragment<64>, !tile.operand<32>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<128>
  tile.return
}

// -----

tile.kernel @nn_rows attributes {arg_names = ["c", "a", "b", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<64>, %a: !tile.buffer<32, 32, swizzle 64>, %b: !tile.buffer<32, 128, swizzle 128>, %n: i32):
  // expected-error @+1 {{first operand must be 64 rows in one box, got '!tile.buffer<32, 32, swizzle 64>'}}
  %d = tile.mma_nn %c, %a, %b box %n : !tile.fragment<64>, !tile.buffer<32, 32, swizzle 64>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<64>
  tile.return
}

// -----

tile.kernel @nn_boxes attributes {arg_names = ["c", "a", "b", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<64>, %a: !tile.buffer<64, 64, swizzle 64>, %b: !tile.buffer<64, 128, swizzle 128>, %n: i32):
  // expected-error @+1 {{first operand must be 64 rows in one box, got '!tile.buffer<64, 64, swizzle 64>'}}
  %d = tile.mma_nn %c, %a, %b box %n : !tile.fragment<64>, !tile.buffer<64, 64, swizzle 64>, !tile.buffer<64, 128, swizzle 128> -> !tile.fragment<64>
  tile.return
}

// -----

tile.kernel @nn_depth attributes {arg_names = ["c", "a", "b", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<64>, %a: !tile.buffer<64, 24, swizzle 64>, %b: !tile.buffer<24, 128, swizzle 128>, %n: i32):
  // expected-error @+1 {{depth must be a multiple of 16, got 24}}
  %d = tile.mma_nn %c, %a, %b box %n : !tile.fragment<64>, !tile.buffer<64, 24, swizzle 64>, !tile.buffer<24, 128, swizzle 128> -> !tile.fragment<64>
  tile.return
}

// -----

tile.kernel @nn_operand_rows attributes {arg_names = ["c", "a", "b", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<64>, %a: !tile.operand<32>, %b: !tile.buffer<64, 128, swizzle 128>, %n: i32):
  // expected-error @+1 {{first operand has 32 columns, the second 64 rows}}
  %d = tile.mma_nn %c, %a, %b box %n : !tile.fragment<64>, !tile.operand<32>, !tile.buffer<64, 128, swizzle 128> -> !tile.fragment<64>
  tile.return
}

// -----

tile.kernel @nn_buffer_rows attributes {arg_names = ["c", "a", "b", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<64>, %a: !tile.buffer<64, 16, swizzle 32>, %b: !tile.buffer<32, 128, swizzle 128>, %n: i32):
  // expected-error @+1 {{first operand has 16 columns, the second 32 rows}}
  %d = tile.mma_nn %c, %a, %b box %n : !tile.fragment<64>, !tile.buffer<64, 16, swizzle 32>, !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<64>
  tile.return
}

// -----

tile.kernel @nn_swizzle attributes {arg_names = ["c", "a", "b", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%c: !tile.fragment<64>, %a: !tile.operand<32>, %b: !tile.buffer<32, 128, swizzle 64>, %n: i32):
  // expected-error @+1 {{second operand must have 128-byte swizzle}}
  %d = tile.mma_nn %c, %a, %b box %n : !tile.fragment<64>, !tile.operand<32>, !tile.buffer<32, 128, swizzle 64> -> !tile.fragment<64>
  tile.return
}

// -----

tile.kernel @wait_results attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{results must be the fragments waited for}}
  %g = tile.mma_wait 0, %f : !tile.fragment<32> -> !tile.fragment<64>
  tile.return
}

// -----

//===- tile.splat, tile.row, tile.map, tile.column -------------------------------------------------===//

tile.kernel @splat_fragment attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%n: i32):
  // expected-error @+1 {{value must be 'f32', got 'i32'}}
  %f = tile.splat %n : i32 -> !tile.fragment<32>
  tile.return
}

// -----

tile.kernel @splat_rows attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%x: f32):
  // expected-error @+1 {{value must be 'i32', got 'f32'}}
  %f = tile.splat %x : f32 -> !tile.rows<i32>
  tile.return
}

// -----

tile.kernel @row_type attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{result must be i32 rows, got '!tile.rows<f32>'}}
  %r = tile.row : !tile.rows<f32>
  tile.return
}

// -----

tile.kernel @map_arguments attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{has 1 inputs, its region 2 arguments}}
  %y = tile.map(%f : !tile.fragment<32>) -> !tile.fragment<32> {
  ^bb0(%e: f32, %g: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_fragment_argument attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{region argument for '!tile.fragment<32>' must be 'f32', got 'i32'}}
  %y = tile.map(%f : !tile.fragment<32>) -> !tile.rows<i32> {
  ^bb0(%e: i32):
    tile.yield %e : i32
  }
  tile.return
}

// -----

tile.kernel @map_rows_argument attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.rows<i32>):
  // expected-error @+1 {{region argument for '!tile.rows<i32>' must be 'i32', got 'f32'}}
  %y = tile.map(%f : !tile.rows<i32>) -> !tile.fragment<32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_scalar_argument attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: i32):
  // expected-error @+1 {{region argument for 'i32' must be 'i32', got 'f32'}}
  %y = tile.map(%f : i32) -> !tile.fragment<32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_shape attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{input '!tile.fragment<32>' must have the shape of the result '!tile.fragment<64>'}}
  %y = tile.map(%f : !tile.fragment<32>) -> !tile.fragment<64> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_to_rows attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{input '!tile.fragment<32>' must have the shape of the result '!tile.rows<f32>'}}
  %y = tile.map(%f : !tile.fragment<32>) -> !tile.rows<f32> {
  ^bb0(%e: f32):
    tile.yield %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_yield_type attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: i32):
  // expected-error @+1 {{must yield one 'f32'}}
  %y = tile.map(%f : i32) -> !tile.fragment<32> {
  ^bb0(%e: i32):
    tile.yield %e : i32
  }
  tile.return
}

// -----

tile.kernel @map_yield_two attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{must yield one 'f32'}}
  %y = tile.map(%f : !tile.fragment<32>) -> !tile.fragment<32> {
  ^bb0(%e: f32):
    tile.yield %e, %e : f32, f32
  }
  tile.return
}

// -----

tile.kernel @map_no_yield attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{must yield one 'f32'}}
  %y = tile.map(%f : !tile.fragment<32>) -> !tile.fragment<32> {
  ^bb0(%e: f32):
    %g = arith.addf %e, %e : f32
  }
  tile.return
}

// -----

tile.kernel @map_column_of_rows attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.rows<i32>):
  // expected-error @+1 {{over rows has no columns}}
  %y = tile.map(%f : !tile.rows<i32>) -> !tile.rows<i32> {
  ^bb0(%e: i32):
    %c = tile.column
    tile.yield %c : i32
  }
  tile.return
}

// -----

tile.kernel @column_outside attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{expects parent op 'tile.map'}}
  %c = tile.column
  tile.return
}

// -----

//===- tile.reduce, tile.pack, tile.put_operand, tile.put_rows, tile.get_rows ----------------------===//

tile.kernel @reduce_kind attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{kind must be "max" or "add", got "min"}}
  %r = tile.reduce "min" %f : !tile.fragment<32> -> !tile.rows<f32>
  tile.return
}

// -----

tile.kernel @reduce_input attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.rows<i32>):
  // expected-error @+1 {{reduces f32 to f32, got '!tile.rows<i32>' and '!tile.rows<f32>'}}
  %r = tile.reduce "max" %f : !tile.rows<i32> -> !tile.rows<f32>
  tile.return
}

// -----

tile.kernel @reduce_result attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{reduces f32 to f32, got '!tile.fragment<32>' and '!tile.rows<i32>'}}
  %r = tile.reduce "max" %f : !tile.fragment<32> -> !tile.rows<i32>
  tile.return
}

// -----

tile.kernel @reduce_partial attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.rows<f32>):
  // expected-error @+1 {{of rows completes partial results and cannot be partial}}
  %r = tile.reduce "add" %f partial : !tile.rows<f32> -> !tile.rows<f32>
  tile.return
}

// -----

tile.kernel @pack_columns attributes {arg_names = ["f"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>):
  // expected-error @+1 {{operand must have the fragment's 32 columns, got 16}}
  %o = tile.pack %f : !tile.fragment<32> -> !tile.operand<16>
  tile.return
}

// -----

tile.kernel @put_rows attributes {arg_names = ["o", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%o: !tile.operand<32>, %b: !tile.buffer<32, 32, swizzle 64>):
  // expected-error @+1 {{buffer must be 64 rows of 32 columns in one box, got '!tile.buffer<32, 32, swizzle 64>'}}
  tile.put_operand %o, %b : !tile.operand<32>, !tile.buffer<32, 32, swizzle 64>
  tile.return
}

// -----

tile.kernel @put_columns attributes {arg_names = ["o", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%o: !tile.operand<32>, %b: !tile.buffer<64, 16, swizzle 64>):
  // expected-error @+1 {{buffer must be 64 rows of 32 columns in one box, got '!tile.buffer<64, 16, swizzle 64>'}}
  tile.put_operand %o, %b : !tile.operand<32>, !tile.buffer<64, 16, swizzle 64>
  tile.return
}

// -----

tile.kernel @put_boxes attributes {arg_names = ["o", "b"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%o: !tile.operand<32>, %b: !tile.buffer<64, 32, swizzle 32>):
  // expected-error @+1 {{buffer must be 64 rows of 32 columns in one box, got '!tile.buffer<64, 32, swizzle 32>'}}
  tile.put_operand %o, %b : !tile.operand<32>, !tile.buffer<64, 32, swizzle 32>
  tile.return
}

// -----

tile.kernel @put_rows_count attributes {arg_names = ["r", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%r: !tile.rows<f32>, %n: i32):
  // expected-error @+1 {{is one of at least one, got -1}}
  tile.put_rows %r, %n of -1 at 512 : !tile.rows<f32>
  tile.return
}

// -----

tile.kernel @get_rows_count attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%n: i32):
  // expected-error @+1 {{is one of at least one, got 0}}
  %r = tile.get_rows %n of 0 at 512 : !tile.rows<f32>
  tile.return
}

// -----

//===- tile.store, tile.store_rows -----------------------------------------------------------------===//

tile.kernel @store_element attributes {arg_names = ["f", "q", "n", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>, %q: !llvm.ptr<1>, %n: i32, %w: i64, %t: i1):
  // expected-error @+1 {{element must be bf16, f16 or f32, got 'f64'}}
  tile.store %f to %q column %n limit 0 as f64 : !tile.fragment<32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @store_limit attributes {arg_names = ["f", "q", "n", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>, %q: !llvm.ptr<1>, %n: i32, %w: i64, %t: i1):
  // expected-error @+1 {{limit must be a multiple of 8 columns, got 20}}
  tile.store %f to %q column %n limit 20 as bf16 : !tile.fragment<32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @store_argument attributes {arg_names = ["f", "q", "n", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>, %q: !llvm.ptr<1>, %n: i32, %w: i64, %t: i1):
  // expected-error @+1 {{region takes one argument, the row (i32)}}
  tile.store %f to %q column %n limit 0 as bf16 : !tile.fragment<32>, !llvm.ptr<1> {
  ^bb0(%r: i64):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @store_arguments attributes {arg_names = ["f", "q", "n", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>, %q: !llvm.ptr<1>, %n: i32, %w: i64, %t: i1):
  // expected-error @+1 {{region takes one argument, the row (i32)}}
  tile.store %f to %q column %n limit 0 as bf16 : !tile.fragment<32>, !llvm.ptr<1> {
  ^bb0(%r: i32, %s: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @store_yield_one attributes {arg_names = ["f", "q", "n", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>, %q: !llvm.ptr<1>, %n: i32, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store %f to %q column %n limit 0 as bf16 : !tile.fragment<32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w : i64
  }
  tile.return
}

// -----

tile.kernel @store_yield_offset attributes {arg_names = ["f", "q", "n", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>, %q: !llvm.ptr<1>, %n: i32, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store %f to %q column %n limit 0 as bf16 : !tile.fragment<32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %n, %t : i32, i1
  }
  tile.return
}

// -----

tile.kernel @store_yield_condition attributes {arg_names = ["f", "q", "n", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>, %q: !llvm.ptr<1>, %n: i32, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store %f to %q column %n limit 0 as bf16 : !tile.fragment<32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %n : i64, i32
  }
  tile.return
}

// -----

tile.kernel @store_no_yield attributes {arg_names = ["f", "q", "n", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<32>, %q: !llvm.ptr<1>, %n: i32, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store %f to %q column %n limit 0 as bf16 : !tile.fragment<32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
  }
  tile.return
}

// -----

tile.kernel @store_rows_type attributes {arg_names = ["f", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.rows<i32>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{writes f32 rows, got '!tile.rows<i32>'}}
  tile.store_rows %f to %q : !tile.rows<i32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @store_rows_region attributes {arg_names = ["f", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.rows<f32>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region takes one argument, the row (i32)}}
  tile.store_rows %f to %q : !tile.rows<f32>, !llvm.ptr<1> {
  ^bb0(%r: f32):
    tile.yield %w, %t : i64, i1
  }
  tile.return
}

// -----

tile.kernel @store_rows_yield attributes {arg_names = ["f", "q", "w", "t"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%f: !tile.rows<f32>, %q: !llvm.ptr<1>, %w: i64, %t: i1):
  // expected-error @+1 {{region must yield an element offset (i64) and a condition (i1)}}
  tile.store_rows %f to %q : !tile.rows<f32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    tile.yield %t, %w : i1, i64
  }
  tile.return
}
