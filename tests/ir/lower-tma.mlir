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
