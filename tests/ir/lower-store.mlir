// Fragments and rows to global memory: the region says where a row goes and whether it is written.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// bf16, no limit: for each of the lane's two rows, two columns a store, groups of eight columns 16 bytes apart.
// CHECK-LABEL: llvm.func @store_bf16
// CHECK-SAME: (%{{.*}}: f32, %[[COLUMN:[^:]*]]: i32, %[[ROWS:[^:]*]]: i32, %[[OUT:[^:]*]]: !llvm.ptr<1>)
// CHECK-DAG: %[[V0:.*]] = llvm.extractvalue %[[F:.*]][0]
// CHECK-DAG: %[[V1:.*]] = llvm.extractvalue %[[F]][1]
// CHECK-DAG: %[[V2:.*]] = llvm.extractvalue %[[F]][2]
// CHECK-DAG: %[[V3:.*]] = llvm.extractvalue %[[F]][3]
// CHECK-DAG: %[[V4:.*]] = llvm.extractvalue %[[F]][4]
// CHECK-DAG: %[[V5:.*]] = llvm.extractvalue %[[F]][5]
// CHECK: %[[ROW:.*]] = arith.addi
// CHECK: %[[OFFSET:.*]] = arith.extsi %[[ROW]] : i32 to i64
// CHECK: %[[WRITTEN:.*]] = arith.cmpi slt, %[[ROW]], %[[ROWS]]
// CHECK: scf.if %[[WRITTEN]] {
// CHECK:   %[[PAIR:.*]] = arith.muli %{{.*}}, %c2_i32
// CHECK:   %[[MINE:.*]] = arith.addi %[[COLUMN]], %[[PAIR]]
// CHECK:   %[[WIDE:.*]] = arith.extsi %[[MINE]] : i32 to i64
// CHECK:   %[[ELEMENT:.*]] = arith.addi %[[OFFSET]], %[[WIDE]]
// CHECK:   %[[BYTES:.*]] = arith.muli %[[ELEMENT]], %c2_i64
// CHECK:   %[[START:.*]] = llvm.getelementptr inbounds %[[OUT]][%[[BYTES]]]
// CHECK-NOT: scf.if
// CHECK:   nvvm.convert.f32x2.to.bf16x2 %[[V1]], %[[V0]]
// CHECK:   llvm.store %{{.*}}, %[[START]] : i32, !llvm.ptr<1>
// CHECK:   nvvm.convert.f32x2.to.bf16x2 %[[V5]], %[[V4]]
// CHECK:   %[[NEXT:.*]] = llvm.getelementptr inbounds %[[START]][16]
// CHECK:   llvm.store %{{.*}}, %[[NEXT]] : i32, !llvm.ptr<1>
// CHECK: }
// CHECK: %[[ROW8:.*]] = arith.addi %[[ROW]], %c8_i32
// CHECK: %[[WRITTEN8:.*]] = arith.cmpi slt, %[[ROW8]], %[[ROWS]]
// CHECK: scf.if %[[WRITTEN8]] {
// CHECK:   nvvm.convert.f32x2.to.bf16x2 %[[V3]], %[[V2]]
tile.kernel @store_bf16 attributes {arg_names = ["x", "column", "rows", "out"], threads = 128 : i32,
                                    shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32, %column: i32, %rows: i32, %out: !llvm.ptr<1>):
  %f = tile.splat %x : f32 -> !tile.fragment<16>
  tile.store %f to %out column %column limit 0 as bf16 : !tile.fragment<16>, !llvm.ptr<1> {
  ^bb0(%row: i32):
    %offset = arith.extsi %row : i32 to i64
    %written = arith.cmpi slt, %row, %rows : i32
    tile.yield %offset, %written : i64, i1
  }
  tile.return
}

// f32 with a limit: each group of eight columns is written only where it starts below it.
// CHECK-LABEL: llvm.func @store_f32_limit
// CHECK-SAME: (%{{.*}}: f32, %[[COLUMN:[^:]*]]: i32, %{{.*}}: i32, %{{.*}}: !llvm.ptr<1>)
// CHECK: arith.muli %{{.*}}, %c4_i64
// CHECK: %[[START:.*]] = llvm.getelementptr inbounds
// CHECK: %[[BELOW:.*]] = arith.cmpi slt, %[[COLUMN]], %[[LIMIT:c48_i32]]
// CHECK: scf.if %[[BELOW]] {
// CHECK:   llvm.store %{{.*}}, %[[START]] : vector<2xf32>, !llvm.ptr<1>
// CHECK: }
// CHECK: %[[GROUP1:.*]] = arith.addi %[[COLUMN]], %c8_i32
// CHECK: %[[BELOW1:.*]] = arith.cmpi slt, %[[GROUP1]], %[[LIMIT]]
// CHECK: scf.if %[[BELOW1]] {
// CHECK:   %[[NEXT:.*]] = llvm.getelementptr inbounds %[[START]][32]
// CHECK:   llvm.store %{{.*}}, %[[NEXT]] : vector<2xf32>, !llvm.ptr<1>
tile.kernel @store_f32_limit attributes {arg_names = ["x", "column", "rows", "out"], threads = 128 : i32,
                                         shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32, %column: i32, %rows: i32, %out: !llvm.ptr<1>):
  %f = tile.splat %x : f32 -> !tile.fragment<16>
  tile.store %f to %out column %column limit 48 as f32 : !tile.fragment<16>, !llvm.ptr<1> {
  ^bb0(%row: i32):
    %offset = arith.extsi %row : i32 to i64
    %written = arith.cmpi slt, %row, %rows : i32
    tile.yield %offset, %written : i64, i1
  }
  tile.return
}

// With a first column: each group of eight columns is written only where it starts between the two.
// CHECK-LABEL: llvm.func @store_between
// CHECK-SAME: (%{{.*}}: f32, %[[COLUMN:[^:]*]]: i32, %[[FROM:[^:]*]]: i32, %{{.*}}: !llvm.ptr<1>)
// CHECK: %[[ABOVE:.*]] = arith.cmpi sge, %[[COLUMN]], %[[FROM]]
// CHECK: %[[BELOW:.*]] = arith.cmpi slt, %[[COLUMN]], %c48_i32
// CHECK: %[[INSIDE:.*]] = arith.andi %[[ABOVE]], %[[BELOW]]
// CHECK: scf.if %[[INSIDE]] {
// CHECK: %[[GROUP1:.*]] = arith.addi %[[COLUMN]], %c8_i32
// CHECK: %[[ABOVE1:.*]] = arith.cmpi sge, %[[GROUP1]], %[[FROM]]
tile.kernel @store_between attributes {arg_names = ["x", "column", "from", "out"], threads = 128 : i32,
                                       shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32, %column: i32, %from: i32, %out: !llvm.ptr<1>):
  %f = tile.splat %x : f32 -> !tile.fragment<16>
  tile.store %f to %out column %column from %from limit 48 as f32 : !tile.fragment<16>, !llvm.ptr<1> {
  ^bb0(%row: i32):
    %offset = arith.extsi %row : i32 to i64
    %written = arith.cmpi slt, %row, %column : i32
    tile.yield %offset, %written : i64, i1
  }
  tile.return
}

// One lane of the four that share a row.
// CHECK-LABEL: llvm.func @store_rows
// CHECK-DAG: %[[V0:.*]] = llvm.extractvalue %[[R:.*]][0]
// CHECK-DAG: %[[V1:.*]] = llvm.extractvalue %[[R]][1]
// CHECK: %[[QUAD:.*]] = arith.andi %{{.*}}, %c3_i32
// CHECK: %[[ONE:.*]] = arith.cmpi eq, %[[QUAD]], %c0_i32
// CHECK: scf.if %[[ONE]] {
// CHECK:   %[[OFFSET:.*]] = arith.extsi %[[ROW:.*]] : i32 to i64
// CHECK:   %[[WRITTEN:.*]] = arith.cmpi slt, %[[ROW]],
// CHECK:   scf.if %[[WRITTEN]] {
// CHECK:     %[[BYTES:.*]] = arith.muli %[[OFFSET]], %c4_i64
// CHECK:     %[[ADDRESS:.*]] = llvm.getelementptr inbounds %{{.*}}[%[[BYTES]]]
// CHECK:     llvm.store %[[V0]], %[[ADDRESS]] : f32, !llvm.ptr<1>
// CHECK:   }
// CHECK:   %[[ROW8:.*]] = arith.addi %[[ROW]], %c8_i32
// CHECK:   %[[WRITTEN8:.*]] = arith.cmpi slt, %[[ROW8]],
// CHECK:   scf.if %[[WRITTEN8]] {
// CHECK:     llvm.store %[[V1]],
tile.kernel @store_rows attributes {arg_names = ["x", "rows", "out"], threads = 128 : i32, shared_bytes = 0 : i32,
                                    max_registers = 0 : i32} {
^bb0(%x: f32, %rows: i32, %out: !llvm.ptr<1>):
  %r = tile.splat %x : f32 -> !tile.rows<f32>
  tile.store_rows %r to %out : !tile.rows<f32>, !llvm.ptr<1> {
  ^bb0(%row: i32):
    %offset = arith.extsi %row : i32 to i64
    %written = arith.cmpi slt, %row, %rows : i32
    tile.yield %offset, %written : i64, i1
  }
  tile.return
}
