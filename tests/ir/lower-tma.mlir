// TMA loads: one instruction a box, into its place in the stage, completing on the stage's full barrier.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// The descriptor is a parameter of 128 bytes that is never copied.
// CHECK-LABEL: llvm.func @load
// CHECK-SAME: (%[[MAP:[^:]*]]: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<128 x i8>, nvvm.grid_constant}, %[[X:[^:]*]]: i32, %[[Y:[^:]*]]: i32, %[[N:[^:]*]]: i32)
// CHECK: %[[RING:.*]] = llvm.extractvalue %{{.*}}[0] : !llvm.struct<(ptr<3>, ptr<3>)>
// CHECK: %[[STAGE:.*]] = arith.remui %[[N]], %c3_i32
// CHECK: %[[OFFSET:.*]] = arith.muli %[[STAGE]], %c8192_i32
// CHECK: %[[BUFFER:.*]] = llvm.getelementptr inbounds %[[RING]][%[[OFFSET]]]
// Box 1 of 32 rows of 128 bytes, and 16 rows on: 4096 + 2048.
// CHECK: %[[TARGET:.*]] = llvm.getelementptr inbounds %[[BUFFER]][6144]
// CHECK: %[[BARRIERS:.*]] = llvm.extractvalue %{{.*}}[1] : !llvm.struct<(ptr<3>, ptr<3>)>
// CHECK: %[[BYTES:.*]] = arith.muli %[[STAGE]], %c8_i32
// CHECK: %[[FULL:.*]] = llvm.getelementptr inbounds %[[BARRIERS]][%[[BYTES]]]
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %[[TARGET]], %[[MAP]], %[[FULL]], box[%[[X]], %[[Y]], %[[N]]] {isCTAOnly = true} : !llvm.ptr<3>, !llvm.ptr
tile.kernel @load attributes {arg_names = ["map", "x", "y", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                              max_registers = 0 : i32} {
^bb0(%map: !tile.tensor_map, %x: i32, %y: i32, %n: i32):
  %p = tile.pipe at 1024 barriers 65536 releases 1 : !tile.pipe<3, 32, 128>
  tile.load %map[%x, %y, %n] into %p[%n] box 1 rows 16 to 16 : !tile.pipe<3, 32, 128>
  tile.return
}

// Box 0, row 0 is the stage itself; a ring of one stage has its barrier first.
// CHECK-LABEL: llvm.func @first
// CHECK-SAME: (%[[MAP:[^:]*]]: !llvm.ptr {{.*}}, %[[N:[^:]*]]: i32)
// CHECK-NOT: remui
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %[[MAP]], %{{.*}}, box[%[[N]], %[[N]]]
tile.kernel @first attributes {arg_names = ["map", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                               max_registers = 0 : i32} {
^bb0(%map: !tile.tensor_map, %n: i32):
  %p = tile.pipe at 0 barriers 65536 releases 1 : !tile.pipe<1, 64, 64>
  tile.load %map[%n, %n] into %p[%n] box 0 rows 0 to 64 : !tile.pipe<1, 64, 64>
  tile.return
}

// A box completes on its group's barrier: of five boxes two each are a group's, the last one's alone is the third's.
// CHECK-LABEL: llvm.func @groups
// CHECK-SAME: %[[MAP:[^:]*]]: !llvm.ptr
// CHECK: %[[BYTES:.*]] = arith.muli %{{.*}}, %c24_i32
// CHECK: %[[FULL:.*]] = llvm.getelementptr inbounds %{{.*}}[%[[BYTES]]]
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %[[MAP]], %[[FULL]], box
// CHECK: %[[SECOND:.*]] = llvm.getelementptr inbounds %[[FULL]][8]
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %[[MAP]], %[[SECOND]], box
// CHECK: %[[THIRD:.*]] = llvm.getelementptr inbounds %[[FULL]][16]
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %{{.*}}, %[[MAP]], %[[THIRD]], box
tile.kernel @groups attributes {arg_names = ["map", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                                max_registers = 0 : i32} {
^bb0(%map: !tile.tensor_map, %n: i32):
  %p = tile.pipe at 0 barriers 65536 releases 1 : !tile.pipe<2, 32, 320 groups 3>
  tile.load %map[%n, %n] into %p[%n] box 1 rows 0 to 32 : !tile.pipe<2, 32, 320 groups 3>
  tile.load %map[%n, %n] into %p[%n] box 2 rows 0 to 32 : !tile.pipe<2, 32, 320 groups 3>
  tile.load %map[%n, %n] into %p[%n] box 4 rows 0 to 32 : !tile.pipe<2, 32, 320 groups 3>
  tile.return
}

// CHECK-LABEL: llvm.func @prefetch
// CHECK-SAME: (%[[CACHE:[^:]*]]: !llvm.ptr<1>, %[[N:[^:]*]]: i32)
// CHECK: nvvm.cp.async.bulk.prefetch %[[CACHE]], %[[N]]
tile.kernel @prefetch attributes {arg_names = ["cache", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                                  max_registers = 0 : i32} {
^bb0(%cache: !llvm.ptr<1>, %n: i32):
  tile.prefetch %cache bytes %n : !llvm.ptr<1>
  tile.return
}

// The policy that createpolicy.fractional.L2::evict_first makes for all of the data.
// CHECK-LABEL: llvm.func @evict_first
// CHECK: %[[HINT:.*]] = arith.constant 1364590687093260288 : i64
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global {{.*}} l2_cache_hint = %[[HINT]]
tile.kernel @evict_first attributes {arg_names = ["map", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                                     max_registers = 0 : i32} {
^bb0(%map: !tile.tensor_map, %n: i32):
  %p = tile.pipe at 0 barriers 65536 releases 1 : !tile.pipe<1, 64, 64>
  tile.load %map[%n, %n] into %p[%n] box 0 rows 0 to 64 evict_first : !tile.pipe<1, 64, 64>
  tile.return
}
