// As tile-errors.mlir, of grouped products.
// RUN: lathe-opt %s --split-input-file --verify-diagnostics

tile.kernel @gatherers attributes {arg_names = ["p"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
// expected-error @+1 {{gatherers are a multiple of 8 and fill whole stages of their own CTA, got 12 with clusters of 1 and 1 groups}}
^bb0(%p: !tile.pipe<2, 16, 128 gatherers 12>):
  tile.return
}

// -----

tile.kernel @sources attributes {arg_names = ["p", "x", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 16, 128 gatherers 96>, %x: !llvm.ptr<1>, %n: i32):
  %yes = arith.constant true
  // expected-error @+1 {{a thread has up to 2 of 16 rows, got 1 sources}}
  tile.gather %p[%n] rows 16 present %n from (%x : !llvm.ptr<1>) offset %n thread %n : !tile.pipe<2, 16, 128 gatherers 96>
  tile.return
}

// -----

tile.kernel @gathered_by_tma attributes {arg_names = ["p", "x", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 16, 128>, %x: !llvm.ptr<1>, %n: i32):
  %yes = arith.constant true
  // expected-error @+1 {{pipe must have gatherers, its stages are loaded by TMA}}
  tile.gather %p[%n] rows 16 present %n from (%x : !llvm.ptr<1>) offset %n thread %n : !tile.pipe<2, 16, 128>
  tile.return
}

// -----

tile.kernel @expected attributes {arg_names = ["p", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 16, 128 gatherers 96>, %n: i32):
  // expected-error @+1 {{no bytes are announced to a pipe with gatherers}}
  tile.expect %p[%n] : !tile.pipe<2, 16, 128 gatherers 96>
  tile.return
}

// -----

tile.kernel @loaded attributes {arg_names = ["p", "m", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 16, 128 gatherers 96>, %m: !tile.tensor_map, %n: i32):
  // expected-error @+1 {{stages of a pipe with gatherers are not loaded by TMA}}
  tile.load %m[%n] into %p[%n] box 0 rows 0 to 16 : !tile.pipe<2, 16, 128 gatherers 96>
  tile.return
}

// -----

tile.kernel @pairs attributes {arg_names = ["f", "out"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>, %out: !llvm.ptr<1>):
  // expected-error @+1 {{first region makes one f32 of two}}
  tile.store_pairs %f to %out at 0 event 1 as bf16 : !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%gate: f32):
    tile.yield %gate : f32
  }, {
  ^bb0(%column: i32):
    %offset = arith.extsi %column : i32 to i64
    %yes = arith.constant true
    tile.yield %offset, %yes : i64, i1
  }
  tile.return
}

// -----

tile.kernel @pairs_event attributes {arg_names = ["f", "out"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>, %out: !llvm.ptr<1>):
  // expected-error @+1 {{event must be 1 to 15}}
  tile.store_pairs %f to %out at 0 event 0 as bf16 : !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%gate: f32, %up: f32):
    tile.yield %gate : f32
  }, {
  ^bb0(%column: i32):
    %offset = arith.extsi %column : i32 to i64
    %yes = arith.constant true
    tile.yield %offset, %yes : i64, i1
  }
  tile.return
}

// -----

tile.kernel @pairs_count attributes {arg_names = ["f", "out"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>, %out: !llvm.ptr<1>):
  // expected-error @+1 {{an index comes with a count above 1, got a count of 2}}
  tile.store_pairs %f to %out at 0 of 2 event 1 as bf16 : !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%gate: f32, %up: f32):
    tile.yield %gate : f32
  }, {
  ^bb0(%column: i32):
    %offset = arith.extsi %column : i32 to i64
    %yes = arith.constant true
    tile.yield %offset, %yes : i64, i1
  }
  tile.return
}

// -----

tile.kernel @gathered_rows attributes {arg_names = ["p", "x", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 8, 128 gatherers 96>, %x: !llvm.ptr<1>, %n: i32):
  // expected-error @+1 {{rows must be a multiple of 8 from 8 to the pipe's 8, got 12}}
  tile.gather %p[%n] rows 12 present %n from (%x : !llvm.ptr<1>) offset %n thread %n : !tile.pipe<2, 8, 128 gatherers 96>
  tile.return
}

// -----

tile.kernel @whole attributes {arg_names = ["p", "m", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%p: !tile.pipe<2, 16, 128>, %m: !tile.tensor_map, %n: i32):
  // expected-error @+1 {{only the CTAs of a cluster divide boxes among them}}
  tile.load %m[%n] into %p[%n] box 0 rows 0 to 16 whole : !tile.pipe<2, 16, 128>
  tile.return
}

// -----

tile.kernel @sums_told attributes {arg_names = ["f", "out", "n", "x"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<40>, %out: !llvm.ptr<1>, %n: i32, %x: f32):
  // expected-error @+1 {{needs a row and a factor for every 32 of 40 columns, got 2 and 1}}
  tile.add_transposed %f to %out[%n] stride 2048 rows(%n, %n) factors(%x) : !tile.fragment<40> to !llvm.ptr<1>
  tile.return
}

// -----

tile.kernel @sums_stride attributes {arg_names = ["f", "out", "n", "x"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%f: !tile.fragment<16>, %out: !llvm.ptr<1>, %n: i32, %x: f32):
  // expected-error @+1 {{stride must be the 64 rows of a fragment at least, got 63}}
  tile.add_transposed %f to %out[%n] stride 63 rows(%n) factors(%x) : !tile.fragment<16> to !llvm.ptr<1>
  tile.return
}

// -----

tile.kernel @publish_event attributes {arg_names = ["counters", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%counters: !llvm.ptr<1>, %n: i32):
  // expected-error @+1 {{event must be 1 to 15 (0 is the CTA's own barrier), got 0}}
  tile.publish %counters[%n] event 0 : !llvm.ptr<1>
  tile.return
}

// -----

tile.kernel @await_nothing attributes {arg_names = ["counters", "n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%counters: !llvm.ptr<1>, %n: i32):
  // expected-error @+1 {{least must be 1 or more, got 0}}
  tile.await %counters[%n] least 0 : !llvm.ptr<1>
  tile.return
}
