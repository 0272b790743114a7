// Operations on columns: a lane has the same columns in both of its rows, two of every eight; eight lanes of each of four
// warps share a column.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// Place p of a lane is its column number p: two beside each other, the next two eight further.
// CHECK-LABEL: llvm.func @column
// CHECK-SAME: (%[[X:[^:]*]]: f32)
// CHECK: %[[QUAD:.*]] = arith.andi %{{.*}}, %c3_i32
// CHECK: %[[C0:.*]] = arith.muli %[[QUAD]], %c2_i32
// CHECK: %[[C1:.*]] = arith.addi %[[C0]], %c1_i32
// CHECK: %[[C2:.*]] = arith.addi %[[C0]], %c8_i32
// CHECK: %[[C3:.*]] = arith.addi %[[C0]], %c9_i32
// CHECK: llvm.insertvalue %[[C0]], %{{.*}}[0] : !llvm.struct<(i32, i32, i32, i32)>
// CHECK: llvm.insertvalue %[[C1]], %{{.*}}[1]
// CHECK: llvm.insertvalue %[[C2]], %{{.*}}[2]
// CHECK: %[[ALL:.*]] = llvm.insertvalue %[[C3]], %{{.*}}[3]
// Registers 0 and 2 of a fragment are in the first column, 1 and 3 in the second, 4 and 6 in the third, 5 and 7 in the last.
// CHECK-DAG: %[[N0:.*]] = llvm.extractvalue %[[ALL]][0]
// CHECK-DAG: %[[N1:.*]] = llvm.extractvalue %[[ALL]][1]
// CHECK-DAG: %[[N2:.*]] = llvm.extractvalue %[[ALL]][2]
// CHECK-DAG: %[[N3:.*]] = llvm.extractvalue %[[ALL]][3]
// CHECK: %[[F0:.*]] = arith.sitofp %[[N0]]
// CHECK: %[[E0:.*]] = arith.mulf %{{.*}}, %[[F0]]
// CHECK: %[[F1:.*]] = arith.sitofp %[[N1]]
// CHECK: %[[E1:.*]] = arith.mulf %{{.*}}, %[[F1]]
// CHECK: %[[E2:.*]] = arith.mulf %{{.*}}, %[[F0]]
// CHECK: %[[E3:.*]] = arith.mulf %{{.*}}, %[[F1]]
// CHECK: %[[F2:.*]] = arith.sitofp %[[N2]]
// CHECK: arith.mulf %{{.*}}, %[[F2]]
// CHECK: %[[F3:.*]] = arith.sitofp %[[N3]]
// CHECK: arith.mulf %{{.*}}, %[[F3]]
// CHECK: arith.mulf %{{.*}}, %[[F2]]
// CHECK: arith.mulf %{{.*}}, %[[F3]]
// Over the two rows: registers two apart.
// CHECK-DAG: %[[V0:.*]] = llvm.extractvalue %[[F:.*]][0] : !llvm.struct<(f32, f32, f32, f32, f32, f32, f32, f32)>
// CHECK-DAG: %[[V1:.*]] = llvm.extractvalue %[[F]][1]
// CHECK-DAG: %[[V2:.*]] = llvm.extractvalue %[[F]][2]
// CHECK-DAG: %[[V3:.*]] = llvm.extractvalue %[[F]][3]
// CHECK-DAG: %[[V4:.*]] = llvm.extractvalue %[[F]][4]
// CHECK-DAG: %[[V5:.*]] = llvm.extractvalue %[[F]][5]
// CHECK-DAG: %[[V6:.*]] = llvm.extractvalue %[[F]][6]
// CHECK-DAG: %[[V7:.*]] = llvm.extractvalue %[[F]][7]
// CHECK: %[[R0:.*]] = arith.maxnumf %[[V0]], %[[V2]]
// CHECK: %[[R1:.*]] = arith.maxnumf %[[V1]], %[[V3]]
// CHECK: %[[R2:.*]] = arith.maxnumf %[[V4]], %[[V6]]
// CHECK: %[[R3:.*]] = arith.maxnumf %[[V5]], %[[V7]]
// CHECK-NOT: nvvm.shfl
// CHECK: llvm.insertvalue %[[R0]], %{{.*}}[0] : !llvm.struct<(f32, f32, f32, f32)>
// CHECK: llvm.insertvalue %[[R1]], %{{.*}}[1]
// CHECK: llvm.insertvalue %[[R2]], %{{.*}}[2]
tile.kernel @column attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32):
  %c = tile.map() -> !tile.columns<16, i32> {
    %column = tile.column
    tile.yield %column : i32
  }
  %f = tile.splat %x : f32 -> !tile.fragment<16>
  %s = tile.map(%f, %c : !tile.fragment<16>, !tile.columns<16, i32>) -> !tile.fragment<16> {
  ^bb0(%e: f32, %n: i32):
    %w = arith.sitofp %n : i32 to f32
    %y = arith.mulf %e, %w : f32
    tile.yield %y : f32
  }
  %p = tile.reduce_rows "max" %s : !tile.fragment<16> -> !tile.columns<16, f32>
  tile.return
}

// Four values a lane. Of two lanes four apart the upper keeps the upper half, of two lanes eight apart one of the two values
// that are left; lanes sixteen apart then have the same value.
// CHECK-LABEL: llvm.func @complete
// CHECK: %[[AREA:.*]] = llvm.getelementptr inbounds %{{.*}}[1024]
// CHECK-DAG: %[[V0:.*]] = llvm.extractvalue %[[P:.*]][0]
// CHECK-DAG: %[[V1:.*]] = llvm.extractvalue %[[P]][1]
// CHECK-DAG: %[[V2:.*]] = llvm.extractvalue %[[P]][2]
// CHECK-DAG: %[[V3:.*]] = llvm.extractvalue %[[P]][3]
// CHECK: %[[LANE:.*]] = arith.andi %{{.*}}, %c31_i32
// CHECK: %[[BIT4:.*]] = arith.andi %[[LANE]], %c4_i32
// CHECK: %[[UPPER4:.*]] = arith.cmpi eq, %[[BIT4]], %c4_i32
// CHECK: %[[KEEP:.*]] = arith.select %[[UPPER4]], %[[V2]], %[[V0]]
// CHECK: %[[GIVE:.*]] = arith.select %[[UPPER4]], %[[V0]], %[[V2]]
// CHECK: %[[TAKE:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[GIVE]], %c4_i32,
// CHECK: %[[W0:.*]] = arith.addf %[[KEEP]], %[[TAKE]]
// CHECK: arith.select %[[UPPER4]], %[[V3]], %[[V1]]
// CHECK: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %c4_i32,
// CHECK: %[[W1:.*]] = arith.addf
// CHECK: arith.select %[[UPPER4]], %c2_i32, %c0_i32
// CHECK: %[[UPPER8:.*]] = arith.cmpi eq, %{{.*}}, %c8_i32
// CHECK: arith.select %[[UPPER8]], %[[W1]], %[[W0]]
// CHECK: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %c8_i32,
// CHECK: %[[U:.*]] = arith.addf
// CHECK: %[[ONE:.*]] = arith.select %[[UPPER8]], %c1_i32, %c0_i32
// CHECK: %[[PLACE:.*]] = arith.addi %{{.*}}, %[[ONE]]
// CHECK: %[[SAME:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[U]], %c16_i32,
// CHECK: %[[MINE:.*]] = arith.addf %[[U]], %[[SAME]]
// CHECK-NOT: nvvm.shfl
// A warp's array has 16 values; the lane's goes to its column.
// CHECK: %[[WARP:.*]] = arith.muli %{{.*}}, %c64_i32
// CHECK: %[[ARRAY:.*]] = llvm.getelementptr inbounds %[[AREA]][%[[WARP]]]
// CHECK: arith.shrui %[[PLACE]], %c1_i32
// CHECK: arith.andi %[[PLACE]], %c1_i32
// CHECK: %[[WHERE:.*]] = llvm.getelementptr inbounds %[[ARRAY]]
// CHECK: llvm.store %[[MINE]], %[[WHERE]] : f32, !llvm.ptr<3>
// CHECK: nvvm.barrier id = %c3_i32 number_of_threads = %c128_i32
// The lane's pair of columns from all warps, then that of the next eight columns.
// CHECK: %[[PAIR:.*]] = llvm.getelementptr inbounds %[[AREA]][%{{.*}}]
// CHECK: llvm.load %[[PAIR]] : !llvm.ptr<3> -> vector<2xf32>
// CHECK: llvm.getelementptr inbounds %[[PAIR]][64]
// CHECK: llvm.getelementptr inbounds %[[PAIR]][128]
// CHECK: llvm.getelementptr inbounds %[[PAIR]][192]
// CHECK: %[[NEXT:.*]] = llvm.getelementptr inbounds %[[PAIR]][32]
// CHECK: llvm.load %[[NEXT]] : !llvm.ptr<3> -> vector<2xf32>
// CHECK: llvm.getelementptr inbounds %[[PAIR]][224]
// CHECK-NOT: nvvm.barrier
// CHECK: llvm.return
tile.kernel @complete attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%x: f32):
  %p = tile.splat %x : f32 -> !tile.columns<16, f32>
  %m = tile.complete_columns "add" %p "column_sums" at 1024 event 3 : !tile.columns<16, f32>
  tile.return
}

// Six values halve once; three stay whole, so that lanes eight and sixteen apart have the same.
// CHECK-LABEL: llvm.func @complete_odd
// CHECK-COUNT-3: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %c4_i32,
// CHECK-COUNT-3: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %c8_i32,
// CHECK-COUNT-3: nvvm.shfl.sync bfly %{{.*}}, %{{.*}}, %c16_i32,
// CHECK-NOT: nvvm.shfl
// CHECK-COUNT-3: llvm.store %{{.*}} : f32, !llvm.ptr<3>
// CHECK-NOT: llvm.store
// CHECK: nvvm.barrier
// CHECK-COUNT-12: llvm.load %{{.*}} : !llvm.ptr<3> -> vector<2xf32>
// CHECK-NOT: llvm.load
// CHECK: llvm.return
tile.kernel @complete_odd attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                      max_registers = 0 : i32} {
^bb0(%x: f32):
  %p = tile.splat %x : f32 -> !tile.columns<24, f32>
  %m = tile.complete_columns "max" %p at 0 event 1 : !tile.columns<24, f32>
  tile.return
}

// Sixteen columns a stmatrix.trans: the lane names row (column) l / 16 · 8 + l mod 8 and chunk 2 · warp + l / 8 mod 2, which
// the 128-byte swizzle moves; the last eight columns take half of one. Then TMA's proxy may read.
// CHECK-LABEL: llvm.func @put_transposed
// CHECK: %[[BUFFER:.*]] = llvm.getelementptr inbounds %{{.*}}[2048]
// CHECK: %[[LANE:.*]] = arith.andi %{{.*}}, %c31_i32
// CHECK: %[[HALF:.*]] = arith.shrui %[[LANE]], %c4_i32
// CHECK: %[[FIRST:.*]] = arith.shli %[[HALF]], %c3_i32
// CHECK: %[[LOW:.*]] = arith.andi %[[LANE]], %c7_i32
// CHECK: %[[ROW:.*]] = arith.addi %[[FIRST]], %[[LOW]]
// CHECK: %[[WARP:.*]] = arith.muli %{{.*}}, %c2_i32
// CHECK: %[[EIGHT:.*]] = arith.shrui %[[LANE]], %c3_i32
// CHECK: %[[ODD:.*]] = arith.andi %[[EIGHT]], %c1_i32
// CHECK: %[[CHUNK:.*]] = arith.addi %[[WARP]], %[[ODD]]
// CHECK: %[[SWIZZLED:.*]] = arith.xori %[[CHUNK]], %[[LOW]]
// CHECK: %[[ROWBYTES:.*]] = arith.muli %[[ROW]], %c128_i32
// CHECK: %[[CHUNKBYTES:.*]] = arith.muli %[[SWIZZLED]], %c16_i32
// CHECK: %[[BYTES:.*]] = arith.addi %[[ROWBYTES]], %[[CHUNKBYTES]]
// CHECK: %[[ADDRESS:.*]] = llvm.getelementptr inbounds %[[BUFFER]][%[[BYTES]]]
// CHECK-COUNT-4: nvvm.convert.f32x2.to.bf16x2
// CHECK: nvvm.stmatrix %[[ADDRESS]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} {{{.*}}layout = #nvvm.mma_layout<col>
// CHECK-COUNT-2: nvvm.convert.f32x2.to.bf16x2
// CHECK: %[[FURTHER:.*]] = llvm.getelementptr inbounds %[[ADDRESS]][2048]
// CHECK: nvvm.stmatrix %[[FURTHER]], %{{.*}}, %{{.*}} {{{.*}}layout = #nvvm.mma_layout<col>{{.*}} : !llvm.ptr<3>, i32, i32{{$}}
// CHECK-NEXT: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.shared>, space = #nvvm.shared_space<cta>}
tile.kernel @put_transposed attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                        max_registers = 0 : i32} {
^bb0(%x: f32):
  %f = tile.splat %x : f32 -> !tile.fragment<24>
  %b = tile.buffer 2048 : !tile.buffer<24, 64, swizzle 128>
  tile.put_transposed %f, %b : !tile.fragment<24>, !tile.buffer<24, 64, swizzle 128>
  tile.return
}
