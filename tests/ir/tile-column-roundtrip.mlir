// As tile-roundtrip.mlir, of what came with query rows on columns: groups and parts of pipes, products from a column on,
// values of columns, dependent launches.
// RUN: lathe-opt %s > %t.once
// RUN: lathe-opt %t.once > %t.twice
// RUN: diff %t.once %t.twice
// RUN: lathe-opt %s --mlir-print-op-generic | lathe-opt > %t.generic
// RUN: diff %t.once %t.generic
// RUN: FileCheck %s < %t.once

// CHECK-LABEL: tile.kernel @attend attributes
tile.kernel @attend attributes {arg_names = ["map", "out", "n"], threads = 160 : i32, shared_bytes = 90000 : i32,
                                max_registers = 0 : i32} {
^bb0(%map: !tile.tensor_map, %out: !llvm.ptr<1>, %n: i32):
  // CHECK: %[[KV:.*]] = tile.pipe "kv" at 16384 barriers 80016 releases 1 : <2, 64, 192 groups 3>
  %kv = tile.pipe "kv" at 16384 barriers 80016 releases 1 : !tile.pipe<2, 64, 192 groups 3>
  // CHECK: tile.grid_wait
  tile.grid_wait
  // CHECK: tile.grid_launch
  tile.grid_launch
  // The last role has one warp.
  // CHECK: tile.roles ["consumer", "producer"] warpgroups [1, 1] registers [0, 0] {
  tile.roles ["consumer", "producer"] warpgroups [1, 1] registers [0, 0] {
  ^bb0(%index: i32):
    // CHECK: %[[Q:.*]] = tile.buffer 0
    %q = tile.buffer 0 : !tile.buffer<16, 192, swizzle 128>
    // CHECK: %[[K0:.*]] = tile.wait %[[KV]][%[[N:.*]]] : <2, 64, 192 groups 3> -> <64, 192, swizzle 128>
    %k0 = tile.wait %kv[%n] : !tile.pipe<2, 64, 192 groups 3> -> !tile.buffer<64, 192, swizzle 128>
    // CHECK: %[[S0:.*]] = tile.mma_nt %[[K0]], %[[Q]] depth 64 : !tile.buffer<64, 192, swizzle 128>, <16, 192, swizzle 128> -> <16>
    %s0 = tile.mma_nt %k0, %q depth 64 : !tile.buffer<64, 192, swizzle 128>, !tile.buffer<16, 192, swizzle 128>
      -> !tile.fragment<16>
    // CHECK: %[[K:.*]] = tile.wait %[[KV]][%[[N]]] group 2 : <2, 64, 192 groups 3> -> <64, 192, swizzle 128>
    %k = tile.wait %kv[%n] group 2 : !tile.pipe<2, 64, 192 groups 3> -> !tile.buffer<64, 192, swizzle 128>
    // CHECK: %[[S:.*]] = tile.mma_nt %[[K]], %[[Q]] depth 128 from 64 onto %[[S0]] : !tile.fragment<16> : !tile.buffer<64, 192, swizzle 128>, <16, 192, swizzle 128> -> <16>
    %s = tile.mma_nt %k, %q depth 128 from 64 onto %s0 : !tile.fragment<16>
      : !tile.buffer<64, 192, swizzle 128>, !tile.buffer<16, 192, swizzle 128> -> !tile.fragment<16>
    // CHECK: %[[PART:.*]] = tile.reduce_rows "max" %[[S]] : <16> -> <16, f32>
    %part = tile.reduce_rows "max" %s : !tile.fragment<16> -> !tile.columns<16, f32>
    // CHECK: %[[MAX:.*]] = tile.complete_columns "max" %[[PART]] "column_maxima" at 512 event 1 : <16, f32>
    %max = tile.complete_columns "max" %part "column_maxima" at 512 event 1 : !tile.columns<16, f32>
    // CHECK: tile.complete_columns "add" %[[PART]] at 512 event 15 : <16, f32>
    %sum = tile.complete_columns "add" %part at 512 event 15 : !tile.columns<16, f32>
    // CHECK: tile.map(%[[S]], %[[MAX]] : !tile.fragment<16>, !tile.columns<16, f32>) -> !tile.fragment<16> {
    %p = tile.map(%s, %max : !tile.fragment<16>, !tile.columns<16, f32>) -> !tile.fragment<16> {
    ^bb0(%e: f32, %m: f32):
      %d = arith.subf %e, %m : f32
      tile.yield %d : f32
    }
    // CHECK: tile.splat %[[N]] : i32 -> !tile.columns<16, i32>
    %count = tile.splat %n : i32 -> !tile.columns<16, i32>
    // CHECK: tile.map(%{{.*}} : !tile.columns<16, i32>) -> !tile.columns<16, i32> {
    // CHECK: tile.column
    %columns = tile.map(%count : !tile.columns<16, i32>) -> !tile.columns<16, i32> {
    ^bb0(%e: i32):
      %column = tile.column
      %next = arith.addi %e, %column : i32
      tile.yield %next : i32
    }
    // CHECK: %[[P:.*]] = tile.buffer "p" 32768 : <16, 64, swizzle 128>
    %probabilities = tile.buffer "p" 32768 : !tile.buffer<16, 64, swizzle 128>
    // CHECK: tile.put_transposed %{{.*}}, %[[P]] : <16>, <16, 64, swizzle 128>
    tile.put_transposed %p, %probabilities : !tile.fragment<16>, !tile.buffer<16, 64, swizzle 128>
    // CHECK: %[[O:.*]] = tile.mma_tt %{{.*}}, %[[K]] box 1, %[[P]] : <16>, <64, 192, swizzle 128>, <16, 64, swizzle 128> -> <16>
    %o = tile.mma_tt %p, %k box 1, %probabilities : !tile.fragment<16>, !tile.buffer<64, 192, swizzle 128>,
      !tile.buffer<16, 64, swizzle 128> -> !tile.fragment<16>
    // CHECK: tile.store_transposed %[[O]], %[[O]] to %[[OUT:.*]] "output_rows" at 1024 event 1 limit 120 as bf16 : !tile.fragment<16>, !tile.fragment<16> to <1> {
    // CHECK: tile.yield %{{.*}}, %{{.*}} : i64, i1
    tile.store_transposed %o, %o to %out "output_rows" at 1024 event 1 limit 120 as bf16
      : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
    ^bb0(%row: i32):
      %wide = arith.extsi %row : i32 to i64
      %yes = arith.cmpi slt, %row, %n : i32
      tile.yield %wide, %yes : i64, i1
    }
    // CHECK: tile.store_columns %[[MAX]] to %[[OUT]] : <16, f32>, <1> {
    tile.store_columns %max to %out : !tile.columns<16, f32>, !llvm.ptr<1> {
    ^bb0(%row: i32):
      %wide = arith.extsi %row : i32 to i64
      %yes = arith.cmpi slt, %row, %n : i32
      tile.yield %wide, %yes : i64, i1
    }
  }, {
  ^bb0(%index: i32):
    // CHECK: tile.expect %[[KV]][%[[N]]] : <2, 64, 192 groups 3>
    tile.expect %kv[%n] : !tile.pipe<2, 64, 192 groups 3>
    // CHECK: tile.expect %[[KV]][%[[N]]] group 1 : <2, 64, 192 groups 3>
    tile.expect %kv[%n] group 1 : !tile.pipe<2, 64, 192 groups 3>
  }
  tile.return
}

// A pipe whose stages are released in parts, events that are reached without waiting, hints to the L2 cache.
// CHECK-LABEL: tile.kernel @parts attributes
tile.kernel @parts attributes {arg_names = ["cache", "n", "x"], threads = 128 : i32, shared_bytes = 90000 : i32,
                               max_registers = 0 : i32} {
^bb0(%cache: !llvm.ptr<1>, %n: i32, %x: f32):
  // CHECK: %[[KV:.*]] = tile.pipe at 0 barriers 80016 releases 2 : <2, 32, 256, cluster 2 groups 2 parts 4>
  %kv = tile.pipe at 0 barriers 80016 releases 2 : !tile.pipe<2, 32, 256, cluster 2 groups 2 parts 4>
  // CHECK: tile.acquire %[[KV]][%[[N:.*]]] part 3 : <2, 32, 256, cluster 2 groups 2 parts 4>
  tile.acquire %kv[%n] part 3 : !tile.pipe<2, 32, 256, cluster 2 groups 2 parts 4>
  // CHECK: tile.release %[[KV]][%[[N]]] : <2, 32, 256, cluster 2 groups 2 parts 4>
  tile.release %kv[%n] : !tile.pipe<2, 32, 256, cluster 2 groups 2 parts 4>
  // CHECK: tile.pipe at 65536 barriers 81000 releases 1 : <1, 32, 128 parts 2>
  %alone = tile.pipe at 65536 barriers 81000 releases 1 : !tile.pipe<1, 32, 128 parts 2>
  // CHECK: tile.arrive_event 3 threads 256
  tile.arrive_event 3 threads 256
  // CHECK: tile.prefetch %{{.*}} bytes %[[N]] : <1>
  tile.prefetch %cache bytes %n : !llvm.ptr<1>
  // CHECK: tile.any_row %{{.*}} differs from 1.000000e+00 : <f32>
  %rows = tile.splat %x : f32 -> !tile.rows<f32>
  %any = tile.any_row %rows differs from 1.0 : !tile.rows<f32>
  tile.return
}
