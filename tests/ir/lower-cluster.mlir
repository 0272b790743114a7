// Pipes that a cluster shares: every CTA has its own stages and barriers, each load is multicast to all CTAs, and a stage
// is empty when the consumers of all have released it.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// Two CTAs of two consumer warpgroups: 1 arrival fills, 2 · 4 · 2 empty.
// CHECK-LABEL: llvm.func @shared
// CHECK-SAME: nvvm.cluster_dim = array<i32: 2, 1, 1>
// CHECK: nvvm.mbarrier.init %{{.*}}, %c1_i32
// CHECK: nvvm.mbarrier.init %{{.*}}, %c16_i32
// CHECK: scf.if
// CHECK-NEXT: nvvm.fence.mbarrier.init
// CHECK: nvvm.cluster.arrive
// CHECK-NEXT: nvvm.cluster.wait
// CHECK-NOT: nvvm.barrier0
// CHECK: llvm.return
tile.kernel @shared attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32,
                                cluster = 2 : i32} {
  %p = tile.pipe at 1024 barriers 65536 releases 2 : !tile.pipe<3, 32, 128, cluster 2>
  tile.sync_cluster
  tile.return
}

// The CTA of rank r loads the rows 16 · r further on, of 128 bytes each, into all CTAs; its own barrier's place counts.
// CHECK-LABEL: llvm.func @load
// CHECK-SAME: (%[[MAP:[^:]*]]: !llvm.ptr {{.*}}, %[[N:[^:]*]]: i32)
// CHECK: %[[BOX:.*]] = llvm.getelementptr inbounds %{{.*}}[4096]
// CHECK: %[[RANK:.*]] = nvvm.read.ptx.sreg.cluster.ctaid.x
// CHECK: %[[BYTES:.*]] = arith.muli %[[RANK]], %c2048_i32
// CHECK: %[[SHARE:.*]] = llvm.getelementptr inbounds %[[BOX]][%[[BYTES]]]
// CHECK: %[[TARGET:.*]] = llvm.addrspacecast %[[SHARE]] : !llvm.ptr<3> to !llvm.ptr<7>
// CHECK: %[[MASK:.*]] = arith.constant 3 : i16
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %[[TARGET]], %[[MAP]], %{{.*}}, box[%[[N]], %[[N]]] multicast_mask = %[[MASK]]
// CHECK-NOT: isCTAOnly = true
tile.kernel @load attributes {arg_names = ["map", "n"], threads = 128 : i32, shared_bytes = 0 : i32,
                              max_registers = 0 : i32, cluster = 2 : i32} {
^bb0(%map: !tile.tensor_map, %n: i32):
  %p = tile.pipe at 1024 barriers 65536 releases 2 : !tile.pipe<3, 32, 128, cluster 2>
  tile.load %map[%n, %n] into %p[%n] box 1 rows 0 to 16 : !tile.pipe<3, 32, 128, cluster 2>
  tile.return
}

// Each warp arrives in every CTA, one lane a CTA.
// CHECK-LABEL: llvm.func @release
// CHECK: %[[BARRIERS:.*]] = llvm.extractvalue %{{.*}}[1]
// CHECK: %[[FULL:.*]] = llvm.getelementptr inbounds %[[BARRIERS]][%{{.*}}]
// CHECK: %[[EMPTY:.*]] = llvm.getelementptr inbounds %[[FULL]][24]
// CHECK: %[[LANE:.*]] = arith.andi %{{.*}}, %c31_i32
// CHECK: %[[FEW:.*]] = arith.cmpi slt, %[[LANE]], %c2_i32
// CHECK: scf.if %[[FEW]] {
// CHECK: %[[ADDRESS:.*]] = llvm.ptrtoint %[[EMPTY]] : !llvm.ptr<3> to i32
// CHECK: llvm.inline_asm has_side_effects
// CHECK-SAME: mapa.shared::cluster.u32 remote, $0, $1; mbarrier.arrive.shared::cluster.b64 _, [remote];
// CHECK-SAME: %[[ADDRESS]], %[[LANE]] :
tile.kernel @release attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32,
                                 max_registers = 0 : i32, cluster = 2 : i32} {
^bb0(%n: i32):
  %p = tile.pipe at 1024 barriers 65536 releases 2 : !tile.pipe<3, 32, 128, cluster 2>
  tile.release %p[%n] : !tile.pipe<3, 32, 128, cluster 2>
  tile.return
}

// With `whole` the box goes where it is told, whichever CTA loads it.
// CHECK-LABEL: llvm.func @load_whole
// CHECK-NOT: cluster.ctaid
// CHECK: %[[BOX:.*]] = llvm.getelementptr inbounds %{{.*}}[4096]
// CHECK: %[[TARGET:.*]] = llvm.addrspacecast %[[BOX]] : !llvm.ptr<3> to !llvm.ptr<7>
// CHECK: nvvm.cp.async.bulk.tensor.shared.cluster.global %[[TARGET]], %{{.*}} multicast_mask
tile.kernel @load_whole attributes {arg_names = ["map", "n"], threads = 128 : i32, shared_bytes = 100000 : i32,
                                    max_registers = 0 : i32, cluster = 2 : i32} {
^bb0(%map: !tile.tensor_map, %n: i32):
  %p = tile.pipe at 1024 barriers 65536 releases 2 : !tile.pipe<3, 32, 128, cluster 2>
  tile.load %map[%n, %n] into %p[%n] box 1 rows 0 to 16 whole : !tile.pipe<3, 32, 128, cluster 2>
  tile.return
}
