// Fragments and rows to global memory: the region says where a row goes and whether it is written. What each
// element's place is: tests/golden/StoreTest.cpp.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// 16 bits, 48 columns: of 32 each lane gets eight that lie side by side, by exchanging words with the next lane and then
// with the one after, before the branch; the other 16 go as they lie, two columns a store.
// CHECK-LABEL: llvm.func @store_bf16
// CHECK-SAME: (%{{.*}}: f32, %[[COLUMN:[^:]*]]: i32, %[[ROWS:[^:]*]]: i32, %[[OUT:[^:]*]]: !llvm.ptr<1>)
// CHECK-DAG: %[[V0:.*]] = llvm.extractvalue %[[F:.*]][0]
// CHECK-DAG: %[[V1:.*]] = llvm.extractvalue %[[F]][1]
// CHECK-DAG: %[[V2:.*]] = llvm.extractvalue %[[F]][2]
// CHECK-DAG: %[[V3:.*]] = llvm.extractvalue %[[F]][3]
// CHECK-DAG: %[[V4:.*]] = llvm.extractvalue %[[F]][4]
// CHECK-DAG: %[[V5:.*]] = llvm.extractvalue %[[F]][5]
// CHECK-DAG: %[[V16:.*]] = llvm.extractvalue %[[F]][16]
// CHECK-DAG: %[[V17:.*]] = llvm.extractvalue %[[F]][17]
// CHECK: %[[ROW:.*]] = arith.addi
// CHECK: %[[OFFSET:.*]] = arith.extsi %[[ROW]] : i32 to i64
// CHECK: %[[WRITTEN:.*]] = arith.cmpi slt, %[[ROW]], %[[ROWS]]
// CHECK: %[[PAIR0:.*]] = nvvm.convert.f32x2.to.bf16x2 %[[V1]], %[[V0]]
// CHECK: %[[WORD0:.*]] = llvm.bitcast %[[PAIR0]]
// CHECK: %[[PAIR1:.*]] = nvvm.convert.f32x2.to.bf16x2 %[[V5]], %[[V4]]
// CHECK: %[[WORD1:.*]] = llvm.bitcast %[[PAIR1]]
// CHECK-COUNT-2: nvvm.convert.f32x2.to.bf16x2
// CHECK: %[[QUAD:.*]] = arith.andi %{{.*}}, %c3_i32
// CHECK: %[[ODDBIT:.*]] = arith.andi %[[QUAD]], %c1_i32
// CHECK: %[[ODD:.*]] = arith.cmpi eq, %[[ODDBIT]], %c1_i32
// CHECK: %[[UPPERBIT:.*]] = arith.andi %[[QUAD]], %c2_i32
// CHECK: %[[UPPER:.*]] = arith.cmpi eq, %[[UPPERBIT]], %c2_i32
// CHECK: %[[KEPT:.*]] = arith.select %[[ODD]], %[[WORD1]], %[[WORD0]]
// CHECK: %[[SENT:.*]] = arith.select %[[ODD]], %[[WORD0]], %[[WORD1]]
// CHECK: %[[GOT:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[SENT]], %c1_i32
// CHECK: %[[LOW0:.*]] = arith.select %[[ODD]], %[[GOT]], %[[KEPT]]
// CHECK: %[[LOW1:.*]] = arith.select %[[ODD]], %[[KEPT]], %[[GOT]]
// CHECK: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %c1_i32
// CHECK: %[[HIGH0:.*]] = arith.select %[[ODD]]
// CHECK: arith.select %[[ODD]]
// CHECK: %[[KEPT2:.*]] = arith.select %[[UPPER]], %[[HIGH0]], %[[LOW0]]
// CHECK: %[[SENT2:.*]] = arith.select %[[UPPER]], %[[LOW0]], %[[HIGH0]]
// CHECK: %[[GOT2:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[SENT2]], %c2_i32
// CHECK: %[[FIRST:.*]] = arith.select %[[UPPER]], %[[GOT2]], %[[KEPT2]]
// CHECK: %[[THIRD:.*]] = arith.select %[[UPPER]], %[[KEPT2]], %[[GOT2]]
// CHECK: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %c2_i32
// CHECK: %[[DATA0:.*]] = llvm.insertelement %[[FIRST]], %{{.*}}[%c0_i32
// CHECK: %[[DATA1:.*]] = llvm.insertelement %{{.*}}, %[[DATA0]][%c1_i32
// CHECK: %[[DATA2:.*]] = llvm.insertelement %[[THIRD]], %[[DATA1]][%c2_i32
// CHECK: %[[DATA:.*]] = llvm.insertelement %{{.*}}, %[[DATA2]][%c3_i32
// CHECK: scf.if %[[WRITTEN]] {
// CHECK:   %[[WIDE:.*]] = arith.extsi %[[COLUMN]] : i32 to i64
// CHECK:   %[[ELEMENT:.*]] = arith.addi %[[OFFSET]], %[[WIDE]]
// CHECK:   %[[BYTES:.*]] = arith.muli %[[ELEMENT]], %c2_i64
// CHECK:   %[[START:.*]] = llvm.getelementptr inbounds %[[OUT]][%[[BYTES]]]
// CHECK-NOT: scf.if
// CHECK:   %[[EIGHT:.*]] = arith.muli %[[QUAD]], %c8_i32
// CHECK:   %[[MINE:.*]] = arith.muli %[[EIGHT]], %c2_i32
// CHECK:   %[[PLACE:.*]] = llvm.getelementptr inbounds %[[START]][%[[MINE]]]
// CHECK:   llvm.store %[[DATA]], %[[PLACE]] : vector<4xi32>, !llvm.ptr<1>
// CHECK:   nvvm.convert.f32x2.to.bf16x2 %[[V17]], %[[V16]]
// CHECK:   %[[TWO:.*]] = arith.muli %[[QUAD]], %c2_i32
// CHECK:   %[[REST:.*]] = arith.addi %c32_i32, %[[TWO]]
// CHECK:   %[[RESTBYTES:.*]] = arith.muli %[[REST]], %c2_i32
// CHECK:   %[[NEXT:.*]] = llvm.getelementptr inbounds %[[START]][%[[RESTBYTES]]]
// CHECK:   llvm.store %{{.*}}, %[[NEXT]] : i32, !llvm.ptr<1>
// CHECK:   arith.addi %c40_i32, %[[TWO]]
// CHECK:   llvm.store %{{.*}} : i32, !llvm.ptr<1>
// CHECK-NOT: llvm.store
// CHECK: %[[ROW8:.*]] = arith.addi %[[ROW]], %c8_i32
// CHECK: %[[WRITTEN8:.*]] = arith.cmpi slt, %[[ROW8]], %[[ROWS]]
// CHECK:   nvvm.convert.f32x2.to.bf16x2 %[[V3]], %[[V2]]
// CHECK-COUNT-4: nvvm.shfl.sync bfly
// CHECK: scf.if %[[WRITTEN8]] {
// CHECK-COUNT-1: llvm.store %{{.*}} : vector<4xi32>, !llvm.ptr<1>
// CHECK-COUNT-2: llvm.store %{{.*}} : i32, !llvm.ptr<1>
tile.kernel @store_bf16 attributes {arg_names = ["x", "column", "rows", "out"], threads = 128 : i32,
                                 shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32, %column: i32, %rows: i32, %out: !llvm.ptr<1>):
  %f = tile.splat %x : f32 -> !tile.fragment<48>
  tile.store %f to %out column %column limit 0 as bf16 : !tile.fragment<48>, !llvm.ptr<1> {
  ^bb0(%row: i32):
    %offset = arith.extsi %row : i32 to i64
    %written = arith.cmpi slt, %row, %rows : i32
    tile.yield %offset, %written : i64, i1
  }
  tile.return
}

// f32 with a limit: two columns a store, no exchange; each group of eight columns is written only where it starts below
// the limit.
// CHECK-LABEL: llvm.func @store_f32_limit
// CHECK-SAME: (%{{.*}}: f32, %[[COLUMN:[^:]*]]: i32, %{{.*}}: i32, %{{.*}}: !llvm.ptr<1>)
// CHECK-NOT: nvvm.shfl.sync
// CHECK: arith.muli %{{.*}}, %c4_i64
// CHECK: %[[START:.*]] = llvm.getelementptr inbounds
// CHECK: %[[GROUP0:.*]] = arith.addi %[[COLUMN]], %c0_i32
// CHECK: %[[BELOW:.*]] = arith.cmpi slt, %[[GROUP0]], %[[LIMIT:c48_i32]]
// CHECK: scf.if %[[BELOW]] {
// CHECK:   %[[PLACE:.*]] = llvm.getelementptr inbounds %[[START]]
// CHECK:   llvm.store %{{.*}}, %[[PLACE]] : vector<2xf32>, !llvm.ptr<1>
// CHECK: }
// CHECK: %[[GROUP1:.*]] = arith.addi %[[COLUMN]], %c8_i32
// CHECK: %[[BELOW1:.*]] = arith.cmpi slt, %[[GROUP1]], %[[LIMIT]]
// CHECK: scf.if %[[BELOW1]] {
// CHECK:   llvm.store %{{.*}} : vector<2xf32>, !llvm.ptr<1>
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

// With a first column: each lane's eight columns, or a group of eight, are written only where they start between the two.
// CHECK-LABEL: llvm.func @store_between
// CHECK-SAME: (%{{.*}}: f32, %[[COLUMN:[^:]*]]: i32, %[[FROM:[^:]*]]: i32, %{{.*}}: !llvm.ptr<1>)
// CHECK: %[[EIGHT:.*]] = arith.muli %{{.*}}, %c8_i32
// CHECK: %[[MINE:.*]] = arith.addi %[[COLUMN]], %[[FIRST:.*]] : i32
// CHECK: %[[ABOVE:.*]] = arith.cmpi sge, %[[MINE]], %[[FROM]]
// CHECK: %[[BELOW:.*]] = arith.cmpi slt, %[[MINE]], %c48_i32
// CHECK: %[[INSIDE:.*]] = arith.andi %[[ABOVE]], %[[BELOW]]
// CHECK: scf.if %[[INSIDE]] {
// CHECK:   llvm.store %{{.*}} : vector<4xi32>, !llvm.ptr<1>
// CHECK: }
// CHECK: %[[GROUP:.*]] = arith.addi %[[COLUMN]], %c32_i32
// CHECK: %[[ABOVE1:.*]] = arith.cmpi sge, %[[GROUP]], %[[FROM]]
// CHECK:   llvm.store %{{.*}} : i32, !llvm.ptr<1>
tile.kernel @store_between attributes {arg_names = ["x", "column", "from", "out"], threads = 128 : i32,
                                 shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32, %column: i32, %from: i32, %out: !llvm.ptr<1>):
  %f = tile.splat %x : f32 -> !tile.fragment<48>
  tile.store %f to %out column %column from %from limit 48 as f16 : !tile.fragment<48>, !llvm.ptr<1> {
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
