// As tile-roundtrip.mlir, of grouped products: pipes that threads fill, pairs of rows.
// RUN: lathe-opt %s > %t.once
// RUN: lathe-opt %t.once > %t.twice
// RUN: diff %t.once %t.twice
// RUN: lathe-opt %s --mlir-print-op-generic | lathe-opt > %t.generic
// RUN: diff %t.once %t.generic
// RUN: FileCheck %s < %t.once

// CHECK-LABEL: tile.kernel @grouped attributes
tile.kernel @grouped attributes {arg_names = ["x", "out", "n", "t"], threads = 256 : i32, shared_bytes = 60000 : i32,
                                 max_registers = 0 : i32} {
^bb0(%x: !llvm.ptr<1>, %out: !llvm.ptr<1>, %n: i32, %t: i32):
  // CHECK: %[[ROWS:.*]] = tile.pipe "rows" at 0 barriers 50000 releases 1 : <2, 16, 128 gatherers 96>
  %rows = tile.pipe "rows" at 0 barriers 50000 releases 1 : !tile.pipe<2, 16, 128 gatherers 96>
  %yes = arith.constant true
  // CHECK: tile.gather %[[ROWS]][%{{.*}}] rows 16 present %{{.*}} from(%{{.*}}, %{{.*}} : !llvm.ptr<1>, !llvm.ptr<1>) offset %{{.*}} thread %{{.*}} : <2, 16, 128 gatherers 96>
  tile.gather %rows[%n] rows 16 present %n from (%x, %x : !llvm.ptr<1>, !llvm.ptr<1>) offset %n thread %t : !tile.pipe<2, 16, 128 gatherers 96>
  %zero = arith.constant 0.0 : f32
  %sum = tile.splat %zero : f32 -> !tile.fragment<16>
  // CHECK: tile.store_pairs %{{.*}} to %{{.*}} "result" at 40000 event 1 as bf16 : <16> to <1> {
  tile.store_pairs %sum to %out "result" at 40000 event 1 as bf16 : !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%gate: f32, %up: f32):
    // CHECK: tile.tanh
    %h = tile.tanh %gate
    %y = arith.mulf %h, %up : f32
    tile.yield %y : f32
  }, {
  ^bb0(%column: i32):
    %offset = arith.extsi %column : i32 to i64
    tile.yield %offset, %yes : i64, i1
  }
  // CHECK: tile.add_transposed %{{.*}} to %{{.*}}[%{{.*}}] stride 2048 rows(%{{.*}}) factors(%{{.*}}) : <16> to <1>
  tile.add_transposed %sum to %out[%n] stride 2048 rows(%t) factors(%zero) : !tile.fragment<16> to !llvm.ptr<1>
  // CHECK: tile.publish %{{.*}}[%{{.*}}] event 1 : <1>
  tile.publish %out[%n] event 1 : !llvm.ptr<1>
  // CHECK: tile.publish %{{.*}}[%{{.*}}] event 2 of %{{.*}} : <1>
  tile.publish %out[%n] event 2 of %t : !llvm.ptr<1>
  // CHECK: tile.await %{{.*}}[%{{.*}}] least 44 : <1>
  tile.await %out[%n] least 44 : !llvm.ptr<1>
  tile.return
}
