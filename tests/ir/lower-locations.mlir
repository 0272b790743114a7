// What an operation becomes keeps its location, and functions have the scope that makes .loc directives of locations
// and nothing more.
// RUN: lathe-opt %s --tile-to-nvvm --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s
// RUN: lathe-opt %s --lathe-lower --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s --check-prefix=LLVM

// CHECK-LABEL: llvm.func @located
// CHECK: nvvm.mbarrier.init{{.*}} loc("tile":5:10)
// CHECK: nvvm.wgmma.fence.aligned loc("tile":6:10)
// CHECK: llvm.inline_asm{{.*}}wgmma.mma_async{{.*}} loc("tile":7:10)
// CHECK: arith.mulf{{.*}} loc("tile":9:12)
// CHECK: nvvm.mbarrier.try_wait.parity{{.*}} loc("tile":11:10)
// CHECK: llvm.return loc("tile":12:10)

// LLVM-LABEL: llvm.func @located
// LLVM: llvm.inline_asm{{.*}}wgmma.mma_async{{.*}} loc("tile":7:10)
// LLVM: llvm.fmul{{.*}} loc("tile":9:12)
// LLVM: llvm.inline_asm{{.*}}mbarrier.try_wait.parity{{.*}} loc("tile":11:10)
// LLVM: emissionKind = DebugDirectivesOnly
// LLVM-SAME: name = "located"
tile.kernel @located attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 65536 : i32,
                                 max_registers = 0 : i32} {
^bb0(%n: i32):
  %p = tile.pipe at 0 barriers 32768 releases 1 : !tile.pipe<2, 64, 64> loc("tile":5:10)
  %a = tile.buffer 33792 : !tile.buffer<64, 64, swizzle 128>
  tile.mma_fence loc("tile":6:10)
  %s = tile.mma_nt %a, %a depth 64 : !tile.buffer<64, 64, swizzle 128>, !tile.buffer<64, 64, swizzle 128>
    -> !tile.fragment<64> loc("tile":7:10)
  %t = tile.map(%s : !tile.fragment<64>) -> !tile.fragment<64> {
  ^bb0(%e: f32):
    %d = arith.mulf %e, %e : f32 loc("tile":9:12)
    tile.yield %d : f32
  } loc("tile":8:10)
  %b = tile.wait %p[%n] : !tile.pipe<2, 64, 64> -> !tile.buffer<64, 64, swizzle 128> loc("tile":11:10)
  tile.return loc("tile":12:10)
} loc("tile":3:1)
