// Tensor-core products: descriptors (start / 16, leading and stride offsets in 16 bytes, swizzle code in bits 62 and 63)
// and the assembly, up to four steps a piece with the offsets added inside.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// Q·Kᵀ over 80 columns: five steps, the fifth in the second box. 128-byte swizzle: 1 << 62 | 64 << 32 | 1 << 16.
// CHECK-LABEL: llvm.func @nt
// CHECK: nvvm.wgmma.fence.aligned
// Without the bits above 18 that name a CTA of the cluster.
// CHECK: %[[A:.*]] = llvm.ptrtoint %{{.*}} : !llvm.ptr<3> to i32
// CHECK: %[[LOCAL:.*]] = arith.andi %[[A]], %c262143_i32
// CHECK: %[[START:.*]] = arith.shrui %[[LOCAL]], %c4_i32
// CHECK: %[[LOW:.*]] = arith.extui %[[START]] : i32 to i64
// CHECK: %[[FIELDS:.*]] = arith.constant 4611686293305360384 : i64
// CHECK: %[[DA:.*]] = arith.ori %[[LOW]], %[[FIELDS]]
// CHECK: %[[DB:.*]] = arith.ori %{{.*}}, %[[FIELDS]]
// The first step overwrites (p is false), the others add. A step is 32 bytes.
// CHECK: %[[FOUR:.*]] = llvm.inline_asm has_side_effects
// CHECK-SAME: setp.ne.b32 p, 0, 0;
// CHECK-SAME: add.s64 da, $8, 0; add.s64 db, $9, 0; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, p, 1, 1, 0, 0;
// CHECK-SAME: add.s64 da, $8, 2; add.s64 db, $9, 2; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, 1, 1, 1, 0, 0;
// CHECK-SAME: add.s64 da, $8, 4; add.s64 db, $9, 4; wgmma
// CHECK-SAME: add.s64 da, $8, 6; add.s64 db, $9, 6; wgmma
// CHECK-SAME: "=f,=f,=f,=f,0,1,2,3,l,l"
// CHECK-SAME: %[[DA]], %[[DB]] :
// The next box: 64 rows of 128 bytes of A on, 8 of B. It goes on from the first piece's registers.
// CHECK: %[[C0:.*]] = llvm.extractvalue %[[FOUR]][0]
// CHECK: %[[FIVE:.*]] = llvm.inline_asm has_side_effects
// CHECK-SAME: setp.ne.b32 p, 1, 0;
// CHECK-SAME: add.s64 da, $8, 512; add.s64 db, $9, 64; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, p, 1, 1, 0, 0; }"
// CHECK-SAME: %[[C0]],
// CHECK: nvvm.wgmma.commit.group.sync.aligned
// Nothing reads the fragment but through the wait.
// CHECK: %[[RAW:.*]] = llvm.extractvalue %[[FIVE]][0]
// CHECK: llvm.inline_asm has_side_effects asm_dialect = att "wgmma.wait_group.sync.aligned 1;", "=f,=f,=f,=f,0,1,2,3" %[[RAW]],
// CHECK: llvm.inline_asm has_side_effects asm_dialect = att "wgmma.wait_group.sync.aligned 0;", ""
tile.kernel @nt attributes {arg_names = [], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
  %a = tile.buffer 0 : !tile.buffer<64, 128, swizzle 128>
  %b = tile.buffer 16384 : !tile.buffer<8, 128, swizzle 128>
  tile.mma_fence
  %s = tile.mma_nt %a, %b depth 80 : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<8, 128, swizzle 128>
    -> !tile.fragment<8>
  tile.mma_commit
  %waited = tile.mma_wait 1, %s : !tile.fragment<8> -> !tile.fragment<8>
  tile.mma_wait 0
  tile.return
}

// More columns than one product has are two halves, the second one's rows 136 · 128 / 16 further.
// CHECK-LABEL: llvm.func @nt_halves
// CHECK: %[[LEFT:.*]] = llvm.inline_asm has_side_effects
// CHECK-SAME: add.s64 da, $136, 0; add.s64 db, $137, 0; wgmma.mma_async.sync.aligned.m64n136k16.f32.bf16.bf16 {$0,
// CHECK-SAME: add.s64 da, $136, 2; add.s64 db, $137, 2; wgmma
// CHECK: %[[RIGHT:.*]] = llvm.inline_asm has_side_effects
// CHECK-SAME: add.s64 da, $136, 0; add.s64 db, $137, 1088; wgmma.mma_async.sync.aligned.m64n136k16.f32.bf16.bf16 {$0,
// CHECK-SAME: add.s64 da, $136, 2; add.s64 db, $137, 1090; wgmma
// CHECK-NOT: wgmma.mma_async
// CHECK: llvm.return
tile.kernel @nt_halves attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32):
  %a = tile.buffer 0 : !tile.buffer<64, 64, swizzle 128>
  %b = tile.buffer 16384 : !tile.buffer<288, 64, swizzle 128>
  %c = tile.splat %x : f32 -> !tile.fragment<272>
  %s = tile.mma_nt %a, %b depth 32 onto %c : !tile.fragment<272> : !tile.buffer<64, 64, swizzle 128>, !tile.buffer<288, 64, swizzle 128>
    -> !tile.fragment<272>
  tile.return
}

// The second box of a row in registers: ldmatrix of its swizzled chunks, 64 rows of 128 bytes behind the first, then a product
// with columns 64 to 95 of B.
// CHECK-LABEL: llvm.func @nt_registers
// CHECK: %[[BOX:.*]] = llvm.getelementptr inbounds %{{.*}}[8192]
// CHECK: %[[ROW:.*]] = llvm.getelementptr inbounds %[[BOX]]
// CHECK: %[[CHUNK:.*]] = llvm.getelementptr inbounds %[[ROW]]
// CHECK: llvm.inline_asm has_side_effects asm_dialect = att "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0,$1,$2,$3}, [$4];", "=r,=r,=r,=r,l" %[[CHUNK]]
// CHECK: ldmatrix.sync.aligned
// CHECK-NOT: ldmatrix
// CHECK: llvm.inline_asm has_side_effects
// CHECK-SAME: add.s64 db, $16, 64; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, {$8,$9,$10,$11}, db, p, 1, 1, 0;
// CHECK-SAME: add.s64 db, $16, 66; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, {$12,$13,$14,$15}, db, 1, 1, 1, 0; }"
tile.kernel @nt_registers attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32):
  %a = tile.buffer 0 : !tile.buffer<64, 128, swizzle 128>
  %b = tile.buffer 16384 : !tile.buffer<8, 128, swizzle 128>
  %q = tile.load_operand %a box 1 : !tile.buffer<64, 128, swizzle 128> -> !tile.operand<32>
  %c = tile.splat %x : f32 -> !tile.fragment<8>
  %s = tile.mma_nt %q, %b depth 32 from 64 onto %c : !tile.fragment<8> : !tile.operand<32>, !tile.buffer<8, 128, swizzle 128>
    -> !tile.fragment<8>
  tile.return
}

// P·V, P in registers, V transposed: its next box is the leading offset, 1 << 62 | 64 << 32 | (32 · 128 / 16) << 16; a step
// is 16 rows. Accumulates from the first step on.
// CHECK-LABEL: llvm.func @nn_registers
// CHECK-SAME: %[[BOX:[^:]*]]: i32
// CHECK: %[[OFFSET:.*]] = arith.muli %[[BOX]], %c4096_i32
// CHECK: %[[V:.*]] = llvm.getelementptr inbounds %{{.*}}[%[[OFFSET]]]
// CHECK: llvm.ptrtoint %[[V]]
// CHECK: %[[FIELDS:.*]] = arith.constant 4611686293322072064 : i64
// CHECK: %[[DB:.*]] = arith.ori %{{.*}}, %[[FIELDS]]
// CHECK: llvm.inline_asm has_side_effects
// CHECK-SAME: setp.ne.b32 p, 1, 0;
// CHECK-SAME: add.s64 db, $16, 0; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, {$8,$9,$10,$11}, db, p, 1, 1, 1;
// CHECK-SAME: add.s64 db, $16, 128; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, {$12,$13,$14,$15}, db, 1, 1, 1, 1; }"
// CHECK-SAME: "=f,=f,=f,=f,0,1,2,3,r,r,r,r,r,r,r,r,l"
// CHECK-SAME: %[[DB]] :
tile.kernel @nn_registers attributes {arg_names = ["box", "x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                      max_registers = 0 : i32} {
^bb0(%box: i32, %x: f32):
  %v = tile.buffer 16384 : !tile.buffer<32, 128, swizzle 128>
  %c = tile.splat %x : f32 -> !tile.fragment<8>
  %f = tile.splat %x : f32 -> !tile.fragment<32>
  %p = tile.pack %f : !tile.fragment<32> -> !tile.operand<32>
  %o = tile.mma_nn %c, %p, %v box %box : !tile.fragment<8>, !tile.operand<32>, !tile.buffer<32, 128, swizzle 128>
    -> !tile.fragment<8>
  tile.return
}

// P in shared memory, 16 tokens: 32-byte swizzle, 3 << 62 | 16 << 32 | 1 << 16.
// CHECK-LABEL: llvm.func @nn_swizzle_32
// CHECK-DAG: arith.constant -4611685949707845632 : i64
// CHECK: llvm.inline_asm has_side_effects
// CHECK-SAME: add.s64 da, $8, 0; add.s64 db, $9, 0; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, p, 1, 1, 0, 1; }"
tile.kernel @nn_swizzle_32 attributes {arg_names = ["box", "x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                       max_registers = 0 : i32} {
^bb0(%box: i32, %x: f32):
  %p = tile.buffer 0 : !tile.buffer<64, 16, swizzle 32>
  %v = tile.buffer 16384 : !tile.buffer<16, 128, swizzle 128>
  %c = tile.splat %x : f32 -> !tile.fragment<8>
  %o = tile.mma_nn %c, %p, %v box %box : !tile.fragment<8>, !tile.buffer<64, 16, swizzle 32>,
    !tile.buffer<16, 128, swizzle 128> -> !tile.fragment<8>
  tile.return
}

// 32 tokens: 64-byte swizzle, 2 << 62 | 32 << 32 | 1 << 16; two steps.
// CHECK-LABEL: llvm.func @nn_swizzle_64
// CHECK-DAG: arith.constant -9223371899415756800 : i64
// CHECK: llvm.inline_asm has_side_effects
// CHECK-SAME: add.s64 da, $8, 0; add.s64 db, $9, 0; wgmma
// CHECK-SAME: add.s64 da, $8, 2; add.s64 db, $9, 128; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, 1, 1, 1, 0, 1; }"
tile.kernel @nn_swizzle_64 attributes {arg_names = ["box", "x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                       max_registers = 0 : i32} {
^bb0(%box: i32, %x: f32):
  %p = tile.buffer 0 : !tile.buffer<64, 32, swizzle 64>
  %v = tile.buffer 16384 : !tile.buffer<32, 128, swizzle 128>
  %c = tile.splat %x : f32 -> !tile.fragment<8>
  %o = tile.mma_nn %c, %p, %v box %box : !tile.fragment<8>, !tile.buffer<64, 32, swizzle 64>,
    !tile.buffer<32, 128, swizzle 128> -> !tile.fragment<8>
  tile.return
}

// 64 tokens: 128-byte swizzle; four steps.
// CHECK-LABEL: llvm.func @nn_swizzle_128
// CHECK-DAG: arith.constant 4611686293305360384 : i64
// CHECK: llvm.inline_asm has_side_effects
// CHECK-SAME: add.s64 da, $8, 0; add.s64 db, $9, 0; wgmma
// CHECK-SAME: add.s64 da, $8, 2; add.s64 db, $9, 128; wgmma
// CHECK-SAME: add.s64 da, $8, 4; add.s64 db, $9, 256; wgmma
// CHECK-SAME: add.s64 da, $8, 6; add.s64 db, $9, 384; wgmma
tile.kernel @nn_swizzle_128 attributes {arg_names = ["box", "x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                        max_registers = 0 : i32} {
^bb0(%box: i32, %x: f32):
  %p = tile.buffer 0 : !tile.buffer<64, 64, swizzle 128>
  %v = tile.buffer 16384 : !tile.buffer<64, 128, swizzle 128>
  %c = tile.splat %x : f32 -> !tile.fragment<8>
  %o = tile.mma_nn %c, %p, %v box %box : !tile.fragment<8>, !tile.buffer<64, 64, swizzle 128>,
    !tile.buffer<64, 128, swizzle 128> -> !tile.fragment<8>
  tile.return
}

// K·Qᵀ from column 64 on: the second box of both; onto an accumulator, so that the first step adds too.
// CHECK-LABEL: llvm.func @nt_from
// CHECK: llvm.inline_asm has_side_effects
// CHECK-SAME: setp.ne.b32 p, 1, 0;
// CHECK-SAME: add.s64 da, $8, 512; add.s64 db, $9, 64; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, p, 1, 1, 0, 0;
// CHECK-SAME: add.s64 da, $8, 514; add.s64 db, $9, 66; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, 1, 1, 1, 0, 0; }"
// CHECK-NOT: wgmma
// CHECK: llvm.return
tile.kernel @nt_from attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32):
  %a = tile.buffer 0 : !tile.buffer<64, 128, swizzle 128>
  %b = tile.buffer 16384 : !tile.buffer<8, 128, swizzle 128>
  %c = tile.splat %x : f32 -> !tile.fragment<8>
  %s = tile.mma_nt %a, %b depth 32 from 64 onto %c : !tile.fragment<8>
    : !tile.buffer<64, 128, swizzle 128>, !tile.buffer<8, 128, swizzle 128> -> !tile.fragment<8>
  tile.return
}

// The lower half of 128 rows, 128 bytes each, and the first 8 of 16 rows; the second box lies behind all 128 rows.
// CHECK-LABEL: llvm.func @nt_rows
// CHECK-SAME: (%{{.*}}: f32, %[[ROW:[^:]*]]: i32)
// CHECK: %[[BYTES:.*]] = arith.muli %[[ROW]], %c128_i32
// CHECK: %[[FIRST:.*]] = llvm.getelementptr inbounds %{{.*}}[%[[BYTES]]]
// CHECK: llvm.ptrtoint %[[FIRST]]
// CHECK: llvm.inline_asm has_side_effects
// CHECK-SAME: add.s64 da, $8, 1024; add.s64 db, $9, 128; wgmma.mma_async.sync.aligned.m64n8k16
tile.kernel @nt_rows attributes {arg_names = ["x", "row"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32, %row: i32):
  %a = tile.buffer 0 : !tile.buffer<128, 128, swizzle 128>
  %b = tile.buffer 32768 : !tile.buffer<16, 128, swizzle 128>
  %c = tile.splat %x : f32 -> !tile.fragment<8>
  %s = tile.mma_nt %a rows %row, %b depth 16 from 64 onto %c : !tile.fragment<8>
    : !tile.buffer<128, 128, swizzle 128>, !tile.buffer<16, 128, swizzle 128> -> !tile.fragment<8>
  tile.return
}

// Vᵀ·Pᵀ: the 64 tokens are summed over. V is transposed where it lies, its fields those of @nn_registers with boxes of 64 rows,
// 1 << 62 | 64 << 32 | (64 · 128 / 16) << 16; its box, 8192 bytes, is part of every step's offset. P's rows are read along.
// CHECK-LABEL: llvm.func @tt
// CHECK: %[[VFIELDS:.*]] = arith.constant 4611686293338849280 : i64
// CHECK: %[[DA:.*]] = arith.ori %{{.*}}, %[[VFIELDS]]
// CHECK: %[[PFIELDS:.*]] = arith.constant 4611686293305360384 : i64
// CHECK: %[[DB:.*]] = arith.ori %{{.*}}, %[[PFIELDS]]
// CHECK: llvm.inline_asm has_side_effects
// CHECK-SAME: setp.ne.b32 p, 1, 0;
// CHECK-SAME: add.s64 da, $8, 512; add.s64 db, $9, 0; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, p, 1, 1, 1, 0;
// CHECK-SAME: add.s64 da, $8, 640; add.s64 db, $9, 2; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, 1, 1, 1, 1, 0;
// CHECK-SAME: add.s64 da, $8, 768; add.s64 db, $9, 4; wgmma
// CHECK-SAME: add.s64 da, $8, 896; add.s64 db, $9, 6; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {$0,$1,$2,$3}, da, db, 1, 1, 1, 1, 0; }"
// CHECK-SAME: %[[DA]], %[[DB]] :
tile.kernel @tt attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32):
  %v = tile.buffer 0 : !tile.buffer<64, 128, swizzle 128>
  %p = tile.buffer 16384 : !tile.buffer<8, 64, swizzle 128>
  %c = tile.splat %x : f32 -> !tile.fragment<8>
  %o = tile.mma_tt %c, %v box 1, %p : !tile.fragment<8>, !tile.buffer<64, 128, swizzle 128>,
    !tile.buffer<8, 64, swizzle 128> -> !tile.fragment<8>
  tile.return
}
