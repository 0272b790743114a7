// Kernels, roles and elected code: launch facts as attributes, one if/else over the warpgroup index with the register
// budget set first in each branch, a single thread for TMA.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// Entry budget: 65536 / 512 = 128 registers; 160 is an increase, 56 a decrease, 0 leaves it alone.
// CHECK-LABEL: llvm.func @three
// CHECK-SAME: nvvm.kernel
// CHECK-NOT: maxnreg
// CHECK-SAME: nvvm.minctasm = 1 : i32
// CHECK-SAME: nvvm.reqntid = array<i32: 512>
// CHECK: %[[THREAD:.*]] = nvvm.read.ptx.sreg.tid.x
// CHECK: %[[OWN:.*]] = arith.shrui %[[THREAD]], %c7_i32
// CHECK: %[[GROUP:.*]] = nvvm.shfl.sync idx %{{.*}}, %[[OWN]], %c0_i32
// CHECK: %[[CONSUMER:.*]] = arith.cmpi slt, %[[GROUP]], %c2_i32
// CHECK: scf.if %[[CONSUMER]] {
// CHECK-NEXT: nvvm.setmaxregister increase 160
// CHECK: nvvm.barrier id = %[[GROUP]]
// CHECK: } else {
// CHECK: %[[INDEX:.*]] = arith.subi %[[GROUP]], %c2_i32
// CHECK: %[[PRODUCER:.*]] = arith.cmpi slt, %[[GROUP]], %c3_i32
// CHECK: scf.if %[[PRODUCER]] {
// CHECK-NEXT: nvvm.setmaxregister decrease 56
// CHECK: nvvm.barrier id = %[[INDEX]]
// CHECK: } else {
// CHECK-NOT: setmaxregister
// CHECK: %[[LAST:.*]] = arith.subi %[[GROUP]], %c3_i32
// CHECK: nvvm.barrier id = %[[LAST]]
// CHECK: llvm.return
tile.kernel @three attributes {arg_names = [], threads = 512 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
  %threads = arith.constant 128 : i32
  tile.roles ["consumer", "producer", "rest"] warpgroups [2, 1, 1] registers [160, 56, 0] {
  ^bb0(%index: i32):
    nvvm.barrier id = %index number_of_threads = %threads
  }, {
  ^bb0(%index: i32):
    nvvm.barrier id = %index number_of_threads = %threads
  }, {
  ^bb0(%index: i32):
    nvvm.barrier id = %index number_of_threads = %threads
  }
  tile.return
}

// With a cap of its own the kernel starts from that: 168 is what both roles have, 160 is a decrease.
// CHECK-LABEL: llvm.func @capped
// CHECK-SAME: nvvm.maxnreg = 168 : i32
// CHECK-NOT: minctasm
// CHECK: nvvm.setmaxregister increase 168
// CHECK: nvvm.setmaxregister decrease 160
tile.kernel @capped attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32,
                                max_registers = 168 : i32} {
  tile.roles ["a", "b"] warpgroups [1, 1] registers [168, 160] {
  ^bb0(%index: i32):
  }, {
  ^bb0(%index: i32):
  }
  tile.return
}

// The first warp of the warpgroup, and in it the elected lane.
// CHECK-LABEL: llvm.func @elected
// CHECK: %[[WARP:.*]] = arith.andi %{{.*}}, %c3_i32
// CHECK: %[[UNIFORM:.*]] = nvvm.shfl.sync idx %{{.*}}, %[[WARP]], %c0_i32
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[UNIFORM]], %c0_i32
// CHECK: scf.if %[[FIRST]] {
// CHECK-NEXT: %[[LANE:.*]] = nvvm.elect.sync -> i1
// CHECK-NEXT: scf.if %[[LANE]] {
// CHECK-NEXT: nvvm.fence.mbarrier.init
// CHECK-NEXT: }
// CHECK-NEXT: }
tile.kernel @elected attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32,
                                 max_registers = 0 : i32} {
  tile.elected {
    nvvm.fence.mbarrier.init
  }
  tile.return
}
