// Columns to global memory: fragments pass transposed through shared memory, values of columns go straight.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// Two fragments, 16 columns: rows of 2 · 128 + 16 bytes, 15 chunks of which are below the limit.
// CHECK-LABEL: llvm.func @store_transposed
// CHECK-SAME: (%{{.*}}: f32, %[[ROWS:[^:]*]]: i32, %[[OUT:[^:]*]]: !llvm.ptr<1>)
// CHECK: %[[STAGING:.*]] = llvm.getelementptr inbounds %{{.*}}[4096]
// Nobody still reads the rows of before.
// CHECK: nvvm.barrier id = %c2_i32 number_of_threads = %c128_i32
// CHECK: %[[ROWBYTES:.*]] = arith.muli %{{.*}}, %c272_i32
// CHECK: %[[CHUNKBYTES:.*]] = arith.muli %{{.*}}, %c16_i32
// CHECK: %[[BYTES:.*]] = arith.addi %[[ROWBYTES]], %[[CHUNKBYTES]]
// CHECK: %[[FIRST:.*]] = llvm.getelementptr inbounds %[[STAGING]][%[[BYTES]]]
// CHECK-COUNT-4: nvvm.convert.f32x2.to.f16x2
// CHECK: nvvm.stmatrix %[[FIRST]], {{.*}}layout = #nvvm.mma_layout<col>
// The fragment below is 64 elements to the right.
// CHECK: %[[SECOND:.*]] = llvm.getelementptr inbounds %[[FIRST]][128]
// CHECK: nvvm.stmatrix %[[SECOND]], {{.*}}layout = #nvvm.mma_layout<col>
// CHECK-NOT: nvvm.stmatrix
// CHECK: nvvm.barrier id = %c2_i32 number_of_threads = %c128_i32
// 240 chunks: 128 by all threads, the others by those that have one.
// CHECK: %[[THREAD:.*]] = arith.andi %{{.*}}, %c127_i32
// CHECK: %[[ROW:.*]] = arith.divui %[[THREAD]], %c15_i32
// CHECK: %[[CHUNK:.*]] = arith.remui %[[THREAD]], %c15_i32
// CHECK-NOT: scf.if
// CHECK: %[[OFFSET:.*]] = arith.extsi %[[ROW]] : i32 to i64
// CHECK: %[[WRITTEN:.*]] = arith.cmpi slt, %[[ROW]], %[[ROWS]]
// CHECK: scf.if %[[WRITTEN]] {
// CHECK:   arith.muli %[[ROW]], %c272_i32
// CHECK:   arith.muli %[[CHUNK]], %c16_i32
// CHECK:   %[[FROM:.*]] = llvm.getelementptr inbounds %[[STAGING]]
// CHECK:   %[[COLUMN:.*]] = arith.muli %[[CHUNK]], %c8_i32
// CHECK:   %[[WIDE:.*]] = arith.extsi %[[COLUMN]]
// CHECK:   %[[ELEMENT:.*]] = arith.addi %[[OFFSET]], %[[WIDE]]
// CHECK:   %[[DATA:.*]] = llvm.load %[[FROM]] : !llvm.ptr<3> -> vector<4xi32>
// CHECK:   %[[TO:.*]] = arith.muli %[[ELEMENT]], %c2_i64
// CHECK:   %[[ADDRESS:.*]] = llvm.getelementptr inbounds %[[OUT]][%[[TO]]]
// CHECK:   llvm.store %[[DATA]], %[[ADDRESS]] : vector<4xi32>, !llvm.ptr<1>
// CHECK: }
// CHECK: %[[INDEX:.*]] = arith.addi %[[THREAD]], %c128_i32
// CHECK: %[[SOME:.*]] = arith.cmpi slt, %[[INDEX]], %c240_i32
// CHECK: scf.if %[[SOME]] {
// CHECK:   scf.if %{{.*}} {
// CHECK:     llvm.store %{{.*}} : vector<4xi32>, !llvm.ptr<1>
tile.kernel @store_transposed attributes {arg_names = ["x", "rows", "out"], threads = 128 : i32,
                                          shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32, %rows: i32, %out: !llvm.ptr<1>):
  %f = tile.splat %x : f32 -> !tile.fragment<16>
  tile.store_transposed %f, %f to %out "rows" at 4096 event 2 limit 120 as f16
    : !tile.fragment<16>, !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%row: i32):
    %offset = arith.extsi %row : i32 to i64
    %written = arith.cmpi slt, %row, %rows : i32
    tile.yield %offset, %written : i64, i1
  }
  tile.return
}

// The first four lanes of the warpgroup, all others have the same values.
// CHECK-LABEL: llvm.func @store_columns
// CHECK-SAME: (%{{.*}}: f32, %[[ROWS:[^:]*]]: i32, %[[OUT:[^:]*]]: !llvm.ptr<1>)
// CHECK-DAG: %[[V0:.*]] = llvm.extractvalue %[[C:.*]][0]
// CHECK-DAG: %[[V3:.*]] = llvm.extractvalue %[[C]][3]
// CHECK: %[[THREAD:.*]] = arith.andi %{{.*}}, %c127_i32
// CHECK: %[[FOUR:.*]] = arith.cmpi slt, %[[THREAD]], %c4_i32
// CHECK: scf.if %[[FOUR]] {
// CHECK:   %[[QUAD:.*]] = arith.andi %{{.*}}, %c3_i32
// CHECK:   %[[C0:.*]] = arith.muli %[[QUAD]], %c2_i32
// CHECK:   %[[OFFSET:.*]] = arith.extsi %[[C0]] : i32 to i64
// CHECK:   %[[WRITTEN:.*]] = arith.cmpi slt, %[[C0]], %[[ROWS]]
// CHECK:   scf.if %[[WRITTEN]] {
// CHECK:     %[[BYTES:.*]] = arith.muli %[[OFFSET]], %c4_i64
// CHECK:     %[[ADDRESS:.*]] = llvm.getelementptr inbounds %[[OUT]][%[[BYTES]]]
// CHECK:     llvm.store %[[V0]], %[[ADDRESS]] : f32, !llvm.ptr<1>
// CHECK:   }
// CHECK:   arith.addi %[[C0]], %c1_i32
// CHECK:   arith.addi %[[C0]], %c8_i32
// CHECK:   %[[C3:.*]] = arith.addi %[[C0]], %c9_i32
// CHECK:   arith.cmpi slt, %[[C3]], %[[ROWS]]
// CHECK:     llvm.store %[[V3]], %{{.*}} : f32, !llvm.ptr<1>
tile.kernel @store_columns attributes {arg_names = ["x", "rows", "out"], threads = 128 : i32, shared_bytes = 0 : i32,
                                       max_registers = 0 : i32} {
^bb0(%x: f32, %rows: i32, %out: !llvm.ptr<1>):
  %c = tile.splat %x : f32 -> !tile.columns<16, f32>
  tile.store_columns %c to %out : !tile.columns<16, f32>, !llvm.ptr<1> {
  ^bb0(%row: i32):
    %offset = arith.extsi %row : i32 to i64
    %written = arith.cmpi slt, %row, %rows : i32
    tile.yield %offset, %written : i64, i1
  }
  tile.return
}
