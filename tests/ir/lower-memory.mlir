// Shared memory by ordinary accesses: buffers and boxes, probabilities in swizzled order, rows exchanged between
// warpgroups, rows cleared.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// The second box of 32 rows lies 4096 bytes on; the third of equal buffers 2 · 8192.
// CHECK-LABEL: llvm.func @buffers
// CHECK-SAME: %[[I:[^:]*]]: i32
// CHECK: %[[SHARED:.*]] = llvm.mlir.addressof @lathe_shared
// CHECK: %[[FIRST:.*]] = llvm.getelementptr inbounds %[[SHARED]][2048]
// CHECK: %[[BYTES:.*]] = arith.muli %[[I]], %c8192_i32
// CHECK: %[[BUFFER:.*]] = llvm.getelementptr inbounds %[[FIRST]][%[[BYTES]]]
// CHECK: %[[BOX:.*]] = llvm.getelementptr inbounds %[[BUFFER]][4096]
// The same address from a base of its own (Emit::rebased).
// CHECK: %[[BASE:.*]] = llvm.inline_asm has_side_effects {{.*}}"mov.b64 $0, lathe_shared;"
// CHECK: %[[ADDRESS:.*]] = llvm.ptrtoint %[[BOX]]
// CHECK: %[[ORIGIN:.*]] = llvm.ptrtoint %[[SHARED]]
// CHECK: %[[DISTANCE:.*]] = llvm.sub %[[ADDRESS]], %[[ORIGIN]]
// CHECK: %[[AGAIN:.*]] = llvm.getelementptr inbounds %[[BASE]][%[[DISTANCE]]]
// CHECK: llvm.getelementptr inbounds %[[AGAIN]][%{{.*}}]
// CHECK: nvvm.stmatrix
tile.kernel @buffers attributes {arg_names = ["i", "x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                 max_registers = 0 : i32} {
^bb0(%i: i32, %x: f32):
  %b = tile.buffer 2048[%i] : !tile.buffer<32, 128, swizzle 128>
  %box = tile.box %b 1 : !tile.buffer<32, 128, swizzle 128> -> !tile.buffer<64, 32, swizzle 64>
  %f = tile.splat %x : f32 -> !tile.fragment<32>
  %p = tile.pack %f : !tile.fragment<32> -> !tile.operand<32>
  tile.put_operand %p, %box : !tile.operand<32>, !tile.buffer<64, 32, swizzle 64>
  tile.return
}

// 64 columns, 128-byte swizzle: the chunk is turned by row mod 8. Lane l names row
// 16·warp + 8·(l/8 mod 2) + l mod 8 and chunk 2·step + l/16. WGMMA sees the writes through the fence.
// CHECK-LABEL: llvm.func @put_128
// CHECK: %[[LANE:.*]] = arith.andi %[[THREAD:.*]], %c31_i32
// CHECK: %[[MATRIX:.*]] = arith.shrui %[[LANE]], %c3_i32
// CHECK: %[[INNER:.*]] = arith.andi %[[LANE]], %c7_i32
// CHECK: %[[WARPROW:.*]] = arith.muli %{{.*}}, %c16_i32
// CHECK: %[[ODD:.*]] = arith.andi %[[MATRIX]], %c1_i32
// CHECK: %[[DOWN:.*]] = arith.muli %[[ODD]], %c8_i32
// CHECK: %[[TOP:.*]] = arith.addi %[[WARPROW]], %[[DOWN]]
// CHECK: %[[ROW:.*]] = arith.addi %[[TOP]], %[[INNER]]
// CHECK: %[[TURN:.*]] = arith.andi %[[ROW]], %c7_i32
// CHECK: %[[RIGHT:.*]] = arith.shrui %[[MATRIX]], %c1_i32
// CHECK: %[[CHUNK:.*]] = arith.xori %[[RIGHT]], %[[TURN]]
// CHECK: %[[ROWBYTES:.*]] = arith.muli %[[ROW]], %c128_i32
// CHECK: %[[START:.*]] = llvm.getelementptr inbounds %{{.*}}[%[[ROWBYTES]]]
// CHECK: %[[AT0:.*]] = arith.muli %[[CHUNK]], %c16_i32
// CHECK: %[[ADDRESS0:.*]] = llvm.getelementptr inbounds %[[START]][%[[AT0]]]
// CHECK: nvvm.stmatrix %[[ADDRESS0]], %{{.*}} {{{.*}}layout = #nvvm.mma_layout<row>{{.*}}} : !llvm.ptr<3>, i32, i32, i32, i32
// CHECK: %[[CHUNK1:.*]] = arith.xori %[[CHUNK]], %c2_i32
// CHECK: %[[AT1:.*]] = arith.muli %[[CHUNK1]], %c16_i32
// CHECK: %[[ADDRESS1:.*]] = llvm.getelementptr inbounds %[[START]][%[[AT1]]]
// CHECK: nvvm.stmatrix %[[ADDRESS1]],
// CHECK: arith.xori %[[CHUNK]], %c4_i32
// CHECK: nvvm.stmatrix
// CHECK: arith.xori %[[CHUNK]], %c6_i32
// CHECK: nvvm.stmatrix
// CHECK-NOT: nvvm.stmatrix
// CHECK: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
tile.kernel @put_128 attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                 max_registers = 0 : i32} {
^bb0(%x: f32):
  %f = tile.splat %x : f32 -> !tile.fragment<64>
  %p = tile.pack %f : !tile.fragment<64> -> !tile.operand<64>
  %b = tile.buffer 0 : !tile.buffer<64, 64, swizzle 128>
  tile.put_operand %p, %b : !tile.operand<64>, !tile.buffer<64, 64, swizzle 128>
  tile.return
}

// 32 columns, 64-byte swizzle: turned by row/2 mod 4.
// CHECK-LABEL: llvm.func @put_64
// CHECK: %[[MATRIX:.*]] = arith.shrui %{{.*}}, %c3_i32
// CHECK: %[[ROW:.*]] = arith.addi %{{.*}}, %{{.*}}
// CHECK-NEXT: %[[LANEROW:.*]] = arith.addi %[[ROW]],
// CHECK-NEXT: %[[HALF:.*]] = arith.shrui %[[LANEROW]], %c1_i32
// CHECK-NEXT: %[[TURN:.*]] = arith.andi %[[HALF]], %c3_i32
// CHECK: %[[RIGHT:.*]] = arith.shrui %[[MATRIX]], %c1_i32
// CHECK: arith.xori %[[RIGHT]], %[[TURN]]
// CHECK: arith.muli %[[LANEROW]], %c64_i32
// CHECK-COUNT-2: nvvm.stmatrix
// CHECK-NOT: nvvm.stmatrix
// CHECK: nvvm.fence.proxy
tile.kernel @put_64 attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                max_registers = 0 : i32} {
^bb0(%x: f32):
  %f = tile.splat %x : f32 -> !tile.fragment<32>
  %p = tile.pack %f : !tile.fragment<32> -> !tile.operand<32>
  %b = tile.buffer 0 : !tile.buffer<64, 32, swizzle 64>
  tile.put_operand %p, %b : !tile.operand<32>, !tile.buffer<64, 32, swizzle 64>
  tile.return
}

// 16 columns, 32-byte swizzle: turned by row/4 mod 2.
// CHECK-LABEL: llvm.func @put_32
// CHECK: %[[ROW:.*]] = arith.addi %{{.*}}, %{{.*}}
// CHECK-NEXT: %[[LANEROW:.*]] = arith.addi %[[ROW]],
// CHECK: %[[QUARTER:.*]] = arith.shrui %[[LANEROW]], %c2_i32
// CHECK-NEXT: %[[TURN:.*]] = arith.andi %[[QUARTER]], %c1_i32
// CHECK: arith.xori %{{.*}}, %[[TURN]]
// CHECK: arith.muli %[[LANEROW]], %c32_i32
// CHECK-COUNT-1: nvvm.stmatrix
// CHECK-NOT: nvvm.stmatrix
// CHECK: nvvm.fence.proxy
tile.kernel @put_32 attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                max_registers = 0 : i32} {
^bb0(%x: f32):
  %f = tile.splat %x : f32 -> !tile.fragment<16>
  %p = tile.pack %f : !tile.fragment<16> -> !tile.operand<16>
  %b = tile.buffer 0 : !tile.buffer<64, 16, swizzle 32>
  tile.put_operand %p, %b : !tile.operand<16>, !tile.buffer<64, 16, swizzle 32>
  tile.return
}

// One lane of a row's four writes; all read. Array i of those at byte 512: 256 bytes each, rows eight apart 32 bytes.
// CHECK-LABEL: llvm.func @exchange
// CHECK-SAME: %[[I:[^:]*]]: i32)
// CHECK: %[[QUAD:.*]] = arith.andi %{{.*}}, %c3_i32
// CHECK: %[[WRITES:.*]] = arith.cmpi eq, %[[QUAD]], %c0_i32
// CHECK: scf.if %[[WRITES]] {
// CHECK:   %[[ARRAY:.*]] = arith.muli %[[I]], %c256_i32{{.*}} : i32
// CHECK:   %[[ROW:.*]] = arith.muli %{{.*}}, %c4_i32{{.*}} : i32
// CHECK:   %[[BYTES:.*]] = arith.addi %[[ARRAY]], %[[ROW]]
// CHECK:   %[[BASE:.*]] = llvm.getelementptr inbounds %{{.*}}[512]
// CHECK:   %[[ADDRESS:.*]] = llvm.getelementptr inbounds %[[BASE]][%[[BYTES]]]
// CHECK:   llvm.store %{{.*}}, %[[ADDRESS]] : f32, !llvm.ptr<3>
// CHECK:   %[[ADDRESS8:.*]] = llvm.getelementptr inbounds %[[ADDRESS]][32]
// CHECK:   llvm.store %{{.*}}, %[[ADDRESS8]] : f32, !llvm.ptr<3>
// CHECK: }
// CHECK: %[[THEIRS:.*]] = llvm.load %[[AT:.*]] : !llvm.ptr<3> -> f32
// CHECK: %[[AT8:.*]] = llvm.getelementptr inbounds %[[AT]][32]
// CHECK: %[[THEIRS8:.*]] = llvm.load %[[AT8]] : !llvm.ptr<3> -> f32
// CHECK: llvm.insertvalue %[[THEIRS]], %{{.*}}[0]
tile.kernel @exchange attributes {arg_names = ["x", "i"], threads = 128 : i32, shared_bytes = 0 : i32,
                                  max_registers = 0 : i32} {
^bb0(%x: f32, %i: i32):
  %mine = tile.splat %x : f32 -> !tile.rows<f32>
  tile.put_rows %mine, %i at 512 : !tile.rows<f32>
  %theirs = tile.get_rows %i at 512 : !tile.rows<f32>
  tile.return
}

// From row `first`, not below 0, to row 15: 8 chunks of 16 bytes a row, dealt to 128 threads, in both leading boxes.
// CHECK-LABEL: llvm.func @zero_rows
// CHECK-SAME: %[[GIVEN:[^:]*]]: i32)
// CHECK: %[[FIRST:.*]] = arith.maxsi %[[GIVEN]], %c0_i32
// CHECK: %[[LEFT:.*]] = arith.subi %c16_i32, %[[FIRST]]
// CHECK: %[[ROWS:.*]] = arith.maxsi %[[LEFT]], %c0_i32
// CHECK: %[[CHUNKS:.*]] = arith.muli %[[ROWS]], %c8_i32
// CHECK: %[[ZERO:.*]] = llvm.mlir.zero : vector<4xi32>
// CHECK: %[[BYTES:.*]] = arith.muli %[[FIRST]], %c128_i32
// CHECK: %[[START:.*]] = llvm.getelementptr inbounds %[[BUFFER:.*]][%[[BYTES]]]
// CHECK: %[[THREAD:.*]] = arith.andi %{{.*}}, %c127_i32
// CHECK: scf.for %[[I:.*]] = %[[THREAD]] to %[[CHUNKS]] step %c128_i32 : i32 {
// CHECK:   %[[AT:.*]] = arith.muli %[[I]], %c16_i32
// CHECK:   %[[ADDRESS:.*]] = llvm.getelementptr inbounds %[[START]][%[[AT]]]
// CHECK:   llvm.store %[[ZERO]], %[[ADDRESS]] : vector<4xi32>, !llvm.ptr<3>
// CHECK: %[[NEXTBOX:.*]] = arith.addi %[[BYTES]], %c2048_i32
// CHECK: llvm.getelementptr inbounds %[[BUFFER]][%[[NEXTBOX]]]
// CHECK: scf.for
// CHECK-NOT: scf.for
// CHECK: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
tile.kernel @zero_rows attributes {arg_names = ["first"], threads = 128 : i32, shared_bytes = 0 : i32,
                                   max_registers = 0 : i32} {
^bb0(%first: i32):
  %b = tile.buffer 2048 : !tile.buffer<16, 192, swizzle 128>
  tile.zero_rows %b from %first boxes 2 : !tile.buffer<16, 192, swizzle 128>
  tile.return
}
