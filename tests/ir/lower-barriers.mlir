// Pipes and events: a position is a count, its stage the remainder by the number of stages, its phase the parity of the
// quotient. Barriers lie full ones first.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// CHECK: llvm.mlir.global external @lathe_shared() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>

// Three full barriers of one arrival, then three empty ones of four arrivals a release, by thread 0 alone.
// CHECK-LABEL: llvm.func @pipe
// CHECK: %[[SHARED:.*]] = llvm.mlir.addressof @lathe_shared
// CHECK: %[[RING:.*]] = llvm.getelementptr inbounds %[[SHARED]][1024]
// CHECK: %[[BARRIERS:.*]] = llvm.getelementptr inbounds %[[SHARED]][65536]
// CHECK: %[[THREAD:.*]] = nvvm.read.ptx.sreg.tid.x
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[THREAD]], %c0_i32
// CHECK: scf.if %[[FIRST]] {
// CHECK:   nvvm.mbarrier.init %[[BARRIERS]], %c1_i32
// CHECK:   %[[FULL1:.*]] = llvm.getelementptr inbounds %[[BARRIERS]][8]
// CHECK:   nvvm.mbarrier.init %[[FULL1]], %c1_i32
// CHECK:   %[[FULL2:.*]] = llvm.getelementptr inbounds %[[BARRIERS]][16]
// CHECK:   nvvm.mbarrier.init %[[FULL2]], %c1_i32
// CHECK:   %[[EMPTY0:.*]] = llvm.getelementptr inbounds %[[BARRIERS]][24]
// CHECK:   nvvm.mbarrier.init %[[EMPTY0]], %c8_i32
// CHECK:   %[[EMPTY1:.*]] = llvm.getelementptr inbounds %[[BARRIERS]][32]
// CHECK:   nvvm.mbarrier.init %[[EMPTY1]], %c8_i32
// CHECK:   %[[EMPTY2:.*]] = llvm.getelementptr inbounds %[[BARRIERS]][40]
// CHECK:   nvvm.mbarrier.init %[[EMPTY2]], %c8_i32
// CHECK-NOT: mbarrier.init
// CHECK: }
// TMA sees the barriers before any thread passes.
// CHECK: scf.if %[[FIRST]] {
// CHECK-NEXT: nvvm.fence.mbarrier.init
// CHECK-NEXT: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
// CHECK-NEXT: }
// CHECK-NEXT: nvvm.barrier0
// CHECK-NEXT: llvm.return
tile.kernel @pipe attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
  %p = tile.pipe at 1024 barriers 65536 releases 2 : !tile.pipe<3, 32, 128>
  tile.sync_cta
  tile.return
}

// The producer waits on the empty barrier for the phase before: a fresh ring is empty.
// CHECK-LABEL: llvm.func @acquire
// CHECK-SAME: (%[[N:[^:]*]]: i32)
// CHECK: %[[PIPE:.*]] = llvm.insertvalue %{{.*}}, %{{.*}}[1] : !llvm.struct<(ptr<3>, ptr<3>)>
// CHECK: %[[BARRIERS:.*]] = llvm.extractvalue %[[PIPE]][1]
// CHECK: %[[STAGE:.*]] = arith.remui %[[N]], %c3_i32
// CHECK: %[[BYTES:.*]] = arith.muli %[[STAGE]], %c8_i32
// CHECK: %[[FULL:.*]] = llvm.getelementptr inbounds %[[BARRIERS]][%[[BYTES]]]
// CHECK: %[[EMPTY:.*]] = llvm.getelementptr inbounds %[[FULL]][24]
// CHECK: %[[ROUND:.*]] = arith.divui %[[N]], %c3_i32
// CHECK: %[[PHASE:.*]] = arith.andi %[[ROUND]], %c1_i32
// CHECK: %[[BEFORE:.*]] = arith.xori %[[PHASE]], %c1_i32
// CHECK: nvvm.mbarrier.try_wait.parity %[[EMPTY]], %[[BEFORE]], %{{.*}} : !llvm.ptr<3>, i32, i32
// A whole stage of bytes: two boxes of 32 rows of 128.
// CHECK: nvvm.mbarrier.arrive.expect_tx %[[FULL]], %c8192_i32 : !llvm.ptr<3>, i32
tile.kernel @acquire attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32,
                                 max_registers = 0 : i32} {
^bb0(%n: i32):
  %p = tile.pipe at 1024 barriers 65536 releases 2 : !tile.pipe<3, 32, 128>
  tile.acquire %p[%n] : !tile.pipe<3, 32, 128>
  tile.expect %p[%n] : !tile.pipe<3, 32, 128>
  tile.return
}

// The first rows of two boxes: 256 bytes a row.
// CHECK-LABEL: llvm.func @expect_rows
// CHECK-SAME: (%{{.*}}: i32, %[[ROWS:[^:]*]]: i32)
// CHECK: %[[BYTES:.*]] = arith.muli %[[ROWS]], %c256_i32
// CHECK: nvvm.mbarrier.arrive.expect_tx %{{.*}}, %[[BYTES]] : !llvm.ptr<3>, i32
tile.kernel @expect_rows attributes {arg_names = ["n", "rows"], threads = 128 : i32, shared_bytes = 0 : i32,
                                     max_registers = 0 : i32} {
^bb0(%n: i32, %rows: i32):
  %p = tile.pipe at 1024 barriers 65536 releases 2 : !tile.pipe<3, 32, 128>
  tile.expect %p[%n] rows %rows : !tile.pipe<3, 32, 128>
  tile.return
}

// A consumer waits on the full barrier for this phase, gets the stage's address; one lane a warp releases it.
// CHECK-LABEL: llvm.func @wait
// CHECK-SAME: (%[[N:[^:]*]]: i32)
// CHECK: %[[PIPE:.*]] = llvm.insertvalue %{{.*}}, %{{.*}}[1] : !llvm.struct<(ptr<3>, ptr<3>)>
// CHECK: %[[BARRIERS:.*]] = llvm.extractvalue %[[PIPE]][1]
// CHECK: %[[STAGE:.*]] = arith.remui %[[N]], %c3_i32
// CHECK: %[[FULL:.*]] = llvm.getelementptr inbounds %[[BARRIERS]][%{{.*}}]
// CHECK: %[[ROUND:.*]] = arith.divui %[[N]], %c3_i32
// CHECK: %[[PHASE:.*]] = arith.andi %[[ROUND]], %c1_i32
// CHECK-NOT: xori
// CHECK: nvvm.mbarrier.try_wait.parity %[[FULL]], %[[PHASE]], %{{.*}} : !llvm.ptr<3>, i32, i32
// CHECK: %[[RING:.*]] = llvm.extractvalue %[[PIPE]][0]
// CHECK: %[[OFFSET:.*]] = arith.muli %[[STAGE]], %c8192_i32
// CHECK: %[[BUFFER:.*]] = llvm.getelementptr inbounds %[[RING]][%[[OFFSET]]]
// CHECK: llvm.ptrtoint %[[BUFFER]]
// CHECK: %[[EMPTY:.*]] = llvm.getelementptr inbounds %[[FULL]][24]
// CHECK: %[[LANE:.*]] = arith.andi %{{.*}}, %c31_i32
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[LANE]], %c0_i32
// CHECK: scf.if %[[FIRST]] {
// CHECK-NEXT: nvvm.mbarrier.arrive %[[EMPTY]] : !llvm.ptr<3> -> i64
tile.kernel @wait attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32,
                              max_registers = 0 : i32} {
^bb0(%n: i32):
  %p = tile.pipe at 1024 barriers 65536 releases 2 : !tile.pipe<3, 32, 128>
  %b = tile.wait %p[%n] : !tile.pipe<3, 32, 128> -> !tile.buffer<32, 128, swizzle 128>
  %a = tile.buffer 32768 : !tile.buffer<64, 128, swizzle 128>
  %s = tile.mma_nt %a, %b depth 16 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<32, 128, swizzle 128>
    -> !tile.fragment<32>
  tile.release %p[%n] : !tile.pipe<3, 32, 128>
  tile.return
}

// A ring of one stage: no remainder, each use is a new phase.
// CHECK-LABEL: llvm.func @single
// CHECK-SAME: (%[[N:[^:]*]]: i32)
// CHECK-NOT: remui
// CHECK-NOT: divui
// CHECK: %[[PHASE:.*]] = arith.andi %[[N]], %c1_i32
// CHECK: nvvm.mbarrier.try_wait.parity %{{.*}}, %[[PHASE]],
tile.kernel @single attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32,
                                max_registers = 0 : i32} {
^bb0(%n: i32):
  %p = tile.pipe at 0 barriers 65536 releases 1 : !tile.pipe<1, 64, 64>
  %b = tile.wait %p[%n] : !tile.pipe<1, 64, 64> -> !tile.buffer<64, 64, swizzle 128>
  tile.return
}

// CHECK-LABEL: llvm.func @event
// CHECK: nvvm.barrier id = %c2_i32 number_of_threads = %c256_i32
tile.kernel @event attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
  tile.sync_event 2 threads 256
  tile.return
}

// With groups a stage's full barriers lie together, the empty ones behind all of them; a group announces its own boxes' bytes.
// CHECK-LABEL: llvm.func @groups
// CHECK-COUNT-4: nvvm.mbarrier.init %{{.*}}, %c1_i32
// CHECK: llvm.getelementptr inbounds %{{.*}}[32]
// CHECK: nvvm.mbarrier.init %{{.*}}, %c4_i32
// CHECK: llvm.getelementptr inbounds %{{.*}}[40]
// CHECK: nvvm.mbarrier.init %{{.*}}, %c4_i32
// CHECK: %[[STAGE:.*]] = arith.remui %{{.*}}, %c2_i32
// CHECK: %[[BYTES:.*]] = arith.muli %[[STAGE]], %c16_i32
// CHECK: %[[FULL:.*]] = llvm.getelementptr inbounds %{{.*}}[%[[BYTES]]]
// Two boxes, then the one that is left.
// CHECK: nvvm.mbarrier.arrive.expect_tx %[[FULL]], %c8192_i32
// CHECK: %[[SECOND:.*]] = llvm.getelementptr inbounds %[[FULL]][8]
// CHECK: nvvm.mbarrier.arrive.expect_tx %[[SECOND]], %c4096_i32
// CHECK: nvvm.mbarrier.try_wait.parity %[[SECOND]]
tile.kernel @groups attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%n: i32):
  %p = tile.pipe at 1024 barriers 65536 releases 1 : !tile.pipe<2, 32, 192 groups 2>
  tile.expect %p[%n] : !tile.pipe<2, 32, 192 groups 2>
  tile.expect %p[%n] group 1 : !tile.pipe<2, 32, 192 groups 2>
  %b = tile.wait %p[%n] group 1 : !tile.pipe<2, 32, 192 groups 2> -> !tile.buffer<32, 192, swizzle 128>
  tile.return
}

// Programmatic dependent launch.
// CHECK-LABEL: llvm.func @grid
// CHECK: nvvm.griddepcontrol wait
// CHECK: nvvm.griddepcontrol launch_dependents
tile.kernel @grid attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
  tile.grid_wait
  tile.grid_launch
  tile.return
}

// With parts a stage has an empty barrier for each, beside one another; a part is acquired and released by itself.
// CHECK-LABEL: llvm.func @parts
// CHECK-COUNT-2: nvvm.mbarrier.init %{{.*}}, %c1_i32
// CHECK-COUNT-4: nvvm.mbarrier.init %{{.*}}, %c4_i32
// CHECK-NOT: mbarrier.init
// CHECK: %[[STAGE:.*]] = arith.remui %{{.*}}, %c2_i32
// CHECK: %[[BYTES:.*]] = arith.muli %[[STAGE]], %c16_i32
// CHECK: %[[OFSTAGE:.*]] = llvm.getelementptr inbounds %{{.*}}[%[[BYTES]]]
// Behind two full ones, and one part on.
// CHECK: %[[EMPTY:.*]] = llvm.getelementptr inbounds %[[OFSTAGE]][24]
// CHECK: nvvm.mbarrier.try_wait.parity %[[EMPTY]]
// CHECK: nvvm.mbarrier.arrive %[[EMPTY]]
tile.kernel @parts attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%n: i32):
  %p = tile.pipe at 1024 barriers 65536 releases 1 : !tile.pipe<2, 32, 128 parts 2>
  tile.acquire %p[%n] part 1 : !tile.pipe<2, 32, 128 parts 2>
  tile.release %p[%n] part 1 : !tile.pipe<2, 32, 128 parts 2>
  tile.return
}

// Reached, not waited for.
// CHECK-LABEL: llvm.func @arrive
// CHECK-NOT: nvvm.barrier id
// CHECK: nvvm.barrier.arrive id = %c2_i32 number_of_threads = %c256_i32
tile.kernel @arrive attributes {arg_names = [], threads = 256 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
  tile.arrive_event 2 threads 256
  tile.return
}
