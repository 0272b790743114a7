// As tile-errors.mlir, of groups and parts of pipes, types of columns, small roles, events and hints.
// RUN: lathe-opt %s --split-input-file --verify-diagnostics

//===- Types -------------------------------------------------------------------------------------------===//

// expected-error @+1 {{each group of a stage's 2 boxes has at least one, got 0 groups}}
func.func private @pipe_no_groups(!tile.pipe<2, 64, 128 groups 0>)

// -----

// expected-error @+1 {{each group of a stage's 2 boxes has at least one, got 3 groups}}
func.func private @pipe_many_groups(!tile.pipe<2, 64, 128 groups 3>)

// -----

// expected-error @+1 {{each group of a stage's 4 boxes has at least one, got 3 groups}}
func.func private @pipe_empty_group(!tile.pipe<2, 64, 256 groups 3>)

// -----

// expected-error @+1 {{each part of a stage's 2 boxes has at least one, got 0 parts}}
func.func private @pipe_no_parts(!tile.pipe<2, 64, 128 parts 0>)

// -----

// expected-error @+1 {{each part of a stage's 2 boxes has at least one, got 3 parts}}
func.func private @pipe_many_parts(!tile.pipe<2, 64, 128 parts 3>)

// -----

// expected-error @+1 {{column values are f32 or i32, got 'bf16'}}
func.func private @columns_element(!tile.columns<16, bf16>)

// -----

// expected-error @+1 {{a fragment has 8 to 256 columns in steps of 8, 272 or 288, got 12}}
func.func private @columns_step(!tile.columns<12, f32>)

// -----

//===- tile.roles, events ------------------------------------------------------------------------------===//

tile.kernel @roles_budget_of_one_warp attributes {arg_names = [], threads = 160 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{gives roles to 256 threads, the kernel has 160}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [224, 40] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @roles_without_a_warp attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{gives roles to 256 threads, the kernel has 128}}
  tile.roles ["a", "b"] warpgroups [1, 1] registers [0, 0] {
  ^bb0(%i: i32):
  }, {
  ^bb0(%i: i32):
  }
  tile.return
}

// -----

tile.kernel @arrive_zero attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{event must be 1 to 15 (0 is the CTA's own barrier), got 0}}
  tile.arrive_event 0 threads 128
  tile.return
}

// -----

tile.kernel @arrive_threads attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
  // expected-error @+1 {{threads must be a multiple of 32, got 100}}
  tile.arrive_event 1 threads 100
  tile.return
}

// -----

//===- Pipes, TMA --------------------------------------------------------------------------------------===//

tile.kernel @expect_group attributes {arg_names = ["p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 32, 128 groups 2>, %n: i32):
  // expected-error @+1 {{group 2 is past the last of 2}}
  tile.expect %p[%n] group 2 : !tile.pipe<2, 32, 128 groups 2>
  tile.return
}

// -----

tile.kernel @expect_negative_group attributes {arg_names = ["p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 32, 128 groups 2>, %n: i32):
  // expected-error @+1 {{group -1 is past the last of 2}}
  tile.expect %p[%n] group -1 : !tile.pipe<2, 32, 128 groups 2>
  tile.return
}

// -----

tile.kernel @wait_group attributes {arg_names = ["p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 32, 128 groups 2>, %n: i32):
  // expected-error @+1 {{group 2 is past the last of 2}}
  %b = tile.wait %p[%n] group 2 : !tile.pipe<2, 32, 128 groups 2> -> !tile.buffer<32, 128, swizzle 128>
  tile.return
}

// -----

tile.kernel @acquire_part attributes {arg_names = ["p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 32, 128 parts 2>, %n: i32):
  // expected-error @+1 {{part 2 is past the last of 2}}
  tile.acquire %p[%n] part 2 : !tile.pipe<2, 32, 128 parts 2>
  tile.return
}

// -----

tile.kernel @release_part attributes {arg_names = ["p", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                            max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 32, 128 parts 2>, %n: i32):
  // expected-error @+1 {{part -1 is past the last of 2}}
  tile.release %p[%n] part -1 : !tile.pipe<2, 32, 128 parts 2>
  tile.return
}
