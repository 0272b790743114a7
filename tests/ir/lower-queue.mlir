// Entries that one thread pushes and warps pull.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// Two full barriers of one arrival, two empty ones of one a reader.
// CHECK-LABEL: llvm.func @queue
// CHECK-SAME: (%[[N:[^:]*]]: i32
// CHECK: llvm.getelementptr inbounds %{{.*}}[128]
// CHECK-COUNT-2: nvvm.mbarrier.init %{{.*}}, %c1_i32
// CHECK-COUNT-2: nvvm.mbarrier.init %{{.*}}, %c5_i32
// A slot is awaited empty in the phase before, written at once, and full after one arrival.
// CHECK: %[[SLOT:.*]] = arith.remui %[[N]], %c2_i32
// CHECK: %[[BYTES:.*]] = arith.muli %[[SLOT]], %c16_i32
// CHECK: %[[ENTRY:.*]] = llvm.getelementptr inbounds %{{.*}}[%[[BYTES]]]
// CHECK: %[[FULL:.*]] = llvm.getelementptr inbounds
// CHECK: %[[EMPTY:.*]] = llvm.getelementptr inbounds %[[FULL]][16]
// CHECK: %[[PHASE:.*]] = arith.andi
// CHECK: %[[BEFORE:.*]] = arith.xori %[[PHASE]], %c1_i32
// CHECK: nvvm.mbarrier.try_wait.parity %[[EMPTY]], %[[BEFORE]]
// CHECK: llvm.store %{{.*}}, %[[ENTRY]] : vector<4xi32>
// CHECK: nvvm.mbarrier.arrive %[[FULL]]
// All lanes have lane 0's words before it gives the slot back.
// CHECK: nvvm.mbarrier.try_wait.parity %[[FULL]], %[[PHASE]]
// CHECK: llvm.load %[[ENTRY]] : !llvm.ptr<3> -> vector<4xi32>
// CHECK-COUNT-4: nvvm.shfl.sync idx
// CHECK: scf.if
// CHECK-NEXT: nvvm.mbarrier.arrive %[[EMPTY]]
// A thread alone needs no shuffle.
// CHECK: nvvm.mbarrier.try_wait.parity %[[FULL]], %[[PHASE]]
// CHECK-NOT: nvvm.shfl.sync
// CHECK: nvvm.mbarrier.arrive %[[EMPTY]]
tile.kernel @queue attributes {arg_names = ["n", "out"], threads = 128 : i32, shared_bytes = 512 : i32, max_registers = 0 : i32} {
^bb0(%n: i32, %out: !llvm.ptr<1>):
  %items = tile.queue "items" at 64 barriers 128 readers 5 : !tile.queue<2, 4>
  tile.push %items[%n], %n, %n, %n, %n : !tile.queue<2, 4>
  %a:4 = tile.pull %items[%n] : !tile.queue<2, 4> -> i32, i32, i32, i32
  llvm.store %a#3, %out : i32, !llvm.ptr<1>
  %b:4 = tile.pull %items[%n] single : !tile.queue<2, 4> -> i32, i32, i32, i32
  llvm.store %b#0, %out : i32, !llvm.ptr<1>
  tile.return
}
