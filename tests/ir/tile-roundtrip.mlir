// Parse, print, parse, print: the second text equals the first, and the generic form means the same.
// RUN: lathe-opt %s > %t.once
// RUN: lathe-opt %t.once > %t.twice
// RUN: diff %t.once %t.twice
// RUN: lathe-opt %s --mlir-print-op-generic | lathe-opt > %t.generic
// RUN: diff %t.once %t.generic
// RUN: FileCheck %s < %t.once

// Producer and consumer of one pipe: every operation of kernels, roles, pipes and tensor cores.
// CHECK-LABEL: tile.kernel @attend attributes
// CHECK-SAME: arg_names = ["map", "out", "n"]
// CHECK-SAME: max_registers = 168 : i32, shared_bytes = 90000 : i32, threads = 256 : i32
// CHECK: ^bb0(%[[MAP:.*]]: !tile.tensor_map, %[[OUT:.*]]: !llvm.ptr<1>, %[[N:.*]]: i32):
tile.kernel @attend attributes {arg_names = ["map", "out", "n"], threads = 256 : i32, shared_bytes = 90000 : i32,
                                max_registers = 168 : i32} {
^bb0(%map: !tile.tensor_map, %out: !llvm.ptr<1>, %n: i32):
  // CHECK: %[[Q:.*]] = tile.pipe at 0 barriers 80000 releases 1 : <1, 64, 128>
  %q = tile.pipe at 0 barriers 80000 releases 1 : !tile.pipe<1, 64, 128>
  // CHECK: %[[KV:.*]] = tile.pipe "kv" at 16384 barriers 80016 releases 2 : <4, 32, 128>
  %kv = tile.pipe "kv" at 16384 barriers 80016 releases 2 : !tile.pipe<4, 32, 128>
  // CHECK: tile.sync_cta
  tile.sync_cta
  // CHECK: tile.roles ["consumer", "producer"] warpgroups [1, 1] registers [224, 112] {
  // CHECK-NEXT: ^bb0(%[[INDEX:.*]]: i32):
  tile.roles ["consumer", "producer"] warpgroups [1, 1] registers [224, 112] {
  ^bb0(%index: i32):
    // CHECK: %[[A:.*]] = tile.wait %[[Q]][%[[N]]] : <1, 64, 128> -> <64, 128, swizzle 128>
    %a = tile.wait %q[%n] : !tile.pipe<1, 64, 128> -> !tile.buffer<64, 128, swizzle 128>
    // CHECK: %[[B:.*]] = tile.wait %[[KV]][%[[INDEX]]]
    %b = tile.wait %kv[%index] : !tile.pipe<4, 32, 128> -> !tile.buffer<32, 128, swizzle 128>
    // CHECK: tile.zero_rows %[[B]] from %[[N]] boxes 1 : <32, 128, swizzle 128>
    tile.zero_rows %b from %n boxes 1 : !tile.buffer<32, 128, swizzle 128>
    // CHECK: tile.mma_fence
    tile.mma_fence
    // CHECK: %[[S:.*]] = tile.mma_nt %[[A]], %[[B]] depth 112 : !tile.buffer<64, 128, swizzle 128>, <32, 128, swizzle 128> -> <32>
    %s = tile.mma_nt %a, %b depth 112 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 128, swizzle 128>
      -> !tile.fragment<32>
    // CHECK: tile.mma_commit
    tile.mma_commit
    // CHECK: %[[S1:.*]] = tile.mma_wait 1, %[[S]] : !tile.fragment<32> -> !tile.fragment<32>
    %s1 = tile.mma_wait 1, %s : !tile.fragment<32> -> !tile.fragment<32>
    // CHECK: %[[P:.*]] = tile.pack %[[S1]] : <32> -> <32>
    %p = tile.pack %s1 : !tile.fragment<32> -> !tile.operand<32>
    // CHECK: %[[BOX:.*]] = tile.box %[[B]] 1 : <32, 128, swizzle 128> -> <64, 32, swizzle 64>
    %box = tile.box %b 1 : !tile.buffer<32, 128, swizzle 128> -> !tile.buffer<64, 32, swizzle 64>
    // CHECK: %[[ROWS_Q:.*]] = tile.load_operand %[[A]] box 1 : <64, 128, swizzle 128> -> <48>
    %rows_q = tile.load_operand %a box 1 : !tile.buffer<64, 128, swizzle 128> -> !tile.operand<48>
    // CHECK: tile.mma_nt %[[ROWS_Q]], %[[B]] depth 48 from 64 onto %[[S]] : !tile.fragment<32> : !tile.operand<48>, <32, 128, swizzle 128> -> <32>
    %s_q = tile.mma_nt %rows_q, %b depth 48 from 64 onto %s : !tile.fragment<32> : !tile.operand<48>, !tile.buffer<32, 128, swizzle 128>
      -> !tile.fragment<32>
    // CHECK: tile.put_operand %[[P]], %[[BOX]] : <32>, <64, 32, swizzle 64>
    tile.put_operand %p, %box : !tile.operand<32>, !tile.buffer<64, 32, swizzle 64>
    // CHECK: tile.sync_event 2 threads 128
    tile.sync_event 2 threads 128
    // CHECK: %[[ZERO:.*]] = tile.splat %{{.*}} : f32 -> !tile.fragment<64>
    %c = arith.constant 0.0 : f32
    %zero = tile.splat %c : f32 -> !tile.fragment<64>
    // CHECK: %[[O:.*]] = tile.mma_nn %[[ZERO]], %[[P]], %[[B]] box %[[INDEX]] : <64>, !tile.operand<32>, <32, 128, swizzle 128> -> <64>
    %o = tile.mma_nn %zero, %p, %b box %index : !tile.fragment<64>, !tile.operand<32>,
      !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<64>
    // CHECK: %[[O1:.*]] = tile.mma_nn %[[O]], %[[BOX]], %[[B]] box %[[INDEX]] : <64>, !tile.buffer<64, 32, swizzle 64>, <32, 128, swizzle 128> -> <64>
    %o1 = tile.mma_nn %o, %box, %b box %index : !tile.fragment<64>, !tile.buffer<64, 32, swizzle 64>,
      !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<64>
    // CHECK: %[[BOTH:.*]]:2 = tile.mma_wait 0, %[[O1]], %[[S1]] : !tile.fragment<64>, !tile.fragment<32> -> !tile.fragment<64>, !tile.fragment<32>
    %o2, %s2 = tile.mma_wait 0, %o1, %s1 : !tile.fragment<64>, !tile.fragment<32>
      -> !tile.fragment<64>, !tile.fragment<32>
    // CHECK: tile.release %[[KV]][%[[INDEX]]] : <4, 32, 128>
    tile.release %kv[%index] : !tile.pipe<4, 32, 128>
    // CHECK: tile.store %[[BOTH]]#0 to %[[OUT]] column %[[N]] from %[[INDEX]] limit 48 as bf16 : <64>, <1> {
    // CHECK: tile.yield %{{.*}}, %{{.*}} : i64, i1
    tile.store %o2 to %out column %n from %index limit 48 as bf16 : !tile.fragment<64>, !llvm.ptr<1> {
    ^bb0(%row: i32):
      %wide = arith.extsi %row : i32 to i64
      %yes = arith.cmpi slt, %row, %n : i32
      tile.yield %wide, %yes : i64, i1
    }
  }, {
  ^bb0(%index: i32):
    // CHECK: tile.elected {
    tile.elected {
      // CHECK: tile.acquire %[[KV]][%[[N]]] : <4, 32, 128>
      tile.acquire %kv[%n] : !tile.pipe<4, 32, 128>
      // CHECK: tile.expect %[[KV]][%[[N]]] : <4, 32, 128>
      tile.expect %kv[%n] : !tile.pipe<4, 32, 128>
      // CHECK: tile.load %[[MAP]][%[[N]], %[[N]], %[[N]]] into %[[KV]][%[[N]]] box 1 rows 16 to 16 : <4, 32, 128>
      tile.load %map[%n, %n, %n] into %kv[%n] box 1 rows 16 to 16 : !tile.pipe<4, 32, 128>
    }
  }
  // CHECK: tile.return
  tile.return
}

// Fragments, rows and the exchange of rows; corners of the syntax: no arguments, no index, nothing waited for.
// CHECK-LABEL: tile.kernel @fragments attributes
tile.kernel @fragments attributes {arg_names = [], threads = 128 : i32, shared_bytes = 20000 : i32,
                                   max_registers = 0 : i32} {
  %one = arith.constant 1 : i32
  // CHECK: tile.mma_wait 0{{$}}
  tile.mma_wait 0
  // CHECK: tile.buffer 1024 : <64, 16, swizzle 32>
  %alone = tile.buffer 1024 : !tile.buffer<64, 16, swizzle 32>
  // CHECK: tile.buffer 2048[%{{.*}}] : <64, 64, swizzle 128>
  %indexed = tile.buffer 2048[%one] : !tile.buffer<64, 64, swizzle 128>
  // CHECK: tile.buffer "alone" 1024 : <64, 16, swizzle 32>
  %named = tile.buffer "alone" 1024 : !tile.buffer<64, 16, swizzle 32>
  // CHECK: tile.buffer "probabilities" 2048[%{{.*}}] of 2 : <64, 64, swizzle 128>
  %counted = tile.buffer "probabilities" 2048[%one] of 2 : !tile.buffer<64, 64, swizzle 128>
  // CHECK: %[[COUNT:.*]] = tile.splat %{{.*}} : i32 -> !tile.rows<i32>
  %count = tile.splat %one : i32 -> !tile.rows<i32>
  // CHECK: %[[ROW:.*]] = tile.row : <i32>
  %row = tile.row : !tile.rows<i32>
  // CHECK: %[[X:.*]] = tile.map(%[[ROW]], %[[COUNT]], %{{.*}} : !tile.rows<i32>, !tile.rows<i32>, i32) -> !tile.fragment<16> {
  // CHECK-NEXT: ^bb0(%{{.*}}: i32, %{{.*}}: i32, %{{.*}}: i32):
  // CHECK: tile.column
  // CHECK: tile.exp2
  // CHECK: tile.log2
  // CHECK: tile.rcp
  // CHECK: tile.yield %{{.*}} : f32
  %x = tile.map(%row, %count, %one : !tile.rows<i32>, !tile.rows<i32>, i32) -> !tile.fragment<16> {
  ^bb0(%r: i32, %c: i32, %o: i32):
    %column = tile.column
    %sum = arith.addi %r, %column : i32
    %float = arith.sitofp %sum : i32 to f32
    %power = tile.exp2 %float
    %log = tile.log2 %power
    %inverse = tile.rcp %log
    tile.yield %inverse : f32
  }
  // CHECK: tile.map() -> !tile.rows<f32> {
  %constant = tile.map() -> !tile.rows<f32> {
    %c = arith.constant 1.0 : f32
    tile.yield %c : f32
  }
  // CHECK: %[[PART:.*]] = tile.reduce "add" %[[X]] partial : !tile.fragment<16> -> <f32>
  %part = tile.reduce "add" %x partial : !tile.fragment<16> -> !tile.rows<f32>
  // CHECK: %[[SUM:.*]] = tile.reduce "add" %[[PART]] : !tile.rows<f32> -> <f32>
  %sum = tile.reduce "add" %part : !tile.rows<f32> -> !tile.rows<f32>
  // CHECK: tile.reduce "max" %[[X]] : !tile.fragment<16> -> <f32>
  %max = tile.reduce "max" %x : !tile.fragment<16> -> !tile.rows<f32>
  // CHECK: tile.put_rows %[[SUM]], %{{.*}} at 512 : <f32>
  tile.put_rows %sum, %one at 512 : !tile.rows<f32>
  // CHECK: %[[THEIRS:.*]] = tile.get_rows %{{.*}} at 512 : <f32>
  %theirs = tile.get_rows %one at 512 : !tile.rows<f32>
  // CHECK: tile.put_rows "row_statistics" %[[SUM]], %{{.*}} of 4 at 512 : <f32>
  tile.put_rows "row_statistics" %sum, %one of 4 at 512 : !tile.rows<f32>
  // CHECK: tile.get_rows "row_statistics" %{{.*}} of 4 at 512 : <f32>
  %named_rows = tile.get_rows "row_statistics" %one of 4 at 512 : !tile.rows<f32>
  %address = arith.constant 4096 : i64
  %base = llvm.inttoptr %address : i64 to !llvm.ptr<1>
  // CHECK: tile.store_rows %[[THEIRS]] to %{{.*}} : <f32>, <1> {
  tile.store_rows %theirs to %base : !tile.rows<f32>, !llvm.ptr<1> {
  ^bb0(%r: i32):
    %wide = arith.extsi %r : i32 to i64
    %yes = arith.constant true
    tile.yield %wide, %yes : i64, i1
  }
  tile.return
}

// Shared memory that the kernel addresses itself.
// CHECK-LABEL: tile.kernel @scratch attributes
// CHECK-SAME: scratch = "scan"
tile.kernel @scratch attributes {arg_names = [], threads = 128 : i32, shared_bytes = 128 : i32, max_registers = 0 : i32,
                                 scratch = "scan"} {
  tile.return
}

// A cluster that shares a pipe.
// CHECK-LABEL: tile.kernel @shared attributes
// CHECK-SAME: cluster = 2 : i32
tile.kernel @shared attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 20000 : i32,
                                max_registers = 0 : i32, cluster = 2 : i32} {
^bb0(%n: i32):
  // CHECK: tile.pipe at 0 barriers 16384 releases 1 : <2, 32, 128, cluster 2>
  %p = tile.pipe at 0 barriers 16384 releases 1 : !tile.pipe<2, 32, 128, cluster 2>
  // CHECK: tile.sync_cluster
  tile.sync_cluster
  // CHECK: tile.wait %{{.*}}[%{{.*}}] : <2, 32, 128, cluster 2> -> <32, 128, swizzle 128>
  %b = tile.wait %p[%n] : !tile.pipe<2, 32, 128, cluster 2> -> !tile.buffer<32, 128, swizzle 128>
  tile.return
}
