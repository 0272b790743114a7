// Element-wise code, reductions and rounding: a copy of the region a register, trees within a lane, two shuffles among
// the four lanes of a row.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// Thread t: rows 16·(t/32 mod 4) + (t mod 32)/4 and that plus 8; columns 2·(t mod 4) and the next.
// CHECK-LABEL: llvm.func @map
// CHECK-SAME: %[[X:[^:]*]]: f32
// CHECK: %[[THREAD:.*]] = nvvm.read.ptx.sreg.tid.x
// CHECK: %[[SHIFTED:.*]] = arith.shrui %[[THREAD]], %c5_i32
// CHECK: %[[WARP:.*]] = arith.andi %[[SHIFTED]], %c3_i32
// CHECK: %[[BASE:.*]] = arith.muli %[[WARP]], %c16_i32
// CHECK: %[[LANE:.*]] = arith.andi %[[THREAD]], %c31_i32
// CHECK: %[[INNER:.*]] = arith.shrui %[[LANE]], %c2_i32
// CHECK: %[[ROW:.*]] = arith.addi %[[BASE]], %[[INNER]]
// CHECK: %[[ROW8:.*]] = arith.addi %[[ROW]], %c8_i32
// CHECK: llvm.insertvalue %[[ROW]], %{{.*}}[0] : !llvm.struct<(i32, i32)>
// CHECK: %[[PAIR:.*]] = llvm.insertvalue %[[ROW8]], %{{.*}}[1] : !llvm.struct<(i32, i32)>
// CHECK: %[[R0:.*]] = llvm.extractvalue %[[PAIR]][0]
// CHECK: %[[R1:.*]] = llvm.extractvalue %[[PAIR]][1]
// CHECK: %[[QUAD:.*]] = arith.andi %[[THREAD]], %c3_i32
// CHECK: %[[C0:.*]] = arith.muli %[[QUAD]], %c2_i32
// Registers: columns c, c + 1 of the first row, then of the second, then eight columns on.
// CHECK: arith.muli %[[R0]], %[[C0]]
// CHECK: arith.addf %{{.*}}, %[[X]]
// CHECK: %[[C1:.*]] = arith.addi %[[C0]], %c1_i32
// CHECK: arith.muli %[[R0]], %[[C1]]
// CHECK: arith.muli %[[R1]], %[[C0]]
// CHECK: arith.muli %[[R1]], %[[C1]]
// CHECK: %[[C8:.*]] = arith.addi %[[C0]], %c8_i32
// CHECK: arith.muli %[[R0]], %[[C8]]
// CHECK: %[[C9:.*]] = arith.addi %[[C0]], %c9_i32
// CHECK: arith.muli %[[R0]], %[[C9]]
// CHECK: arith.muli %[[R1]], %[[C8]]
// CHECK: arith.muli %[[R1]], %[[C9]]
// CHECK-NOT: arith.muli
// CHECK: llvm.return
tile.kernel @map attributes {arg_names = ["x", "p"], threads = 128 : i32, shared_bytes = 0 : i32,
                             max_registers = 0 : i32} {
^bb0(%x: f32, %p: !llvm.ptr<1>):
  %r = tile.row : !tile.rows<i32>
  %f = tile.map(%r, %x : !tile.rows<i32>, f32) -> !tile.fragment<16> {
  ^bb0(%row: i32, %scalar: f32):
    %c = tile.column
    %product = arith.muli %row, %c : i32
    %float = arith.sitofp %product : i32 to f32
    %y = arith.addf %float, %scalar : f32
    llvm.store %y, %p : f32, !llvm.ptr<1>
    tile.yield %y : f32
  }
  tile.return
}

// Special functions by their approximations, and a map over rows: two elements.
// CHECK-LABEL: llvm.func @functions
// CHECK-COUNT-2: llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f"
// CHECK-COUNT-2: llvm.call_intrinsic "llvm.nvvm.lg2.approx.ftz.f"
// CHECK-COUNT-2: llvm.call_intrinsic "llvm.nvvm.rcp.approx.ftz.f"
// CHECK-NOT: llvm.call_intrinsic
// CHECK: llvm.return
tile.kernel @functions attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                   max_registers = 0 : i32} {
^bb0(%x: f32):
  %a = tile.splat %x : f32 -> !tile.rows<f32>
  %b = tile.map(%a : !tile.rows<f32>) -> !tile.rows<f32> {
  ^bb0(%e: f32):
    %y = tile.exp2 %e
    tile.yield %y : f32
  }
  %c = tile.map(%b : !tile.rows<f32>) -> !tile.rows<f32> {
  ^bb0(%e: f32):
    %y = tile.log2 %e
    tile.yield %y : f32
  }
  %d = tile.map(%c : !tile.rows<f32>) -> !tile.rows<f32> {
  ^bb0(%e: f32):
    %y = tile.rcp %e
    tile.yield %y : f32
  }
  tile.return
}

// Registers 0, 1, 4, 5 are the first row's, 2, 3, 6, 7 the second's; each row's maximum takes two shuffles.
// CHECK-LABEL: llvm.func @reduce
// CHECK-DAG: %[[V0:.*]] = llvm.extractvalue %[[F:.*]][0]
// CHECK-DAG: %[[V1:.*]] = llvm.extractvalue %[[F]][1]
// CHECK-DAG: %[[V2:.*]] = llvm.extractvalue %[[F]][2]
// CHECK-DAG: %[[V3:.*]] = llvm.extractvalue %[[F]][3]
// CHECK-DAG: %[[V4:.*]] = llvm.extractvalue %[[F]][4]
// CHECK-DAG: %[[V5:.*]] = llvm.extractvalue %[[F]][5]
// CHECK-DAG: %[[V6:.*]] = llvm.extractvalue %[[F]][6]
// CHECK-DAG: %[[V7:.*]] = llvm.extractvalue %[[F]][7]
// CHECK: %[[A:.*]] = arith.maxnumf %[[V0]], %[[V1]]
// CHECK: %[[B:.*]] = arith.maxnumf %[[V4]], %[[V5]]
// CHECK: %[[MINE:.*]] = arith.maxnumf %[[A]], %[[B]]
// CHECK: %[[NEXT:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[MINE]], %c1_i32,
// CHECK: %[[TWO:.*]] = arith.maxnumf %[[MINE]], %[[NEXT]]
// CHECK: %[[OTHER:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[TWO]], %c2_i32,
// CHECK: arith.maxnumf %[[TWO]], %[[OTHER]]
// CHECK: arith.maxnumf %[[V2]], %[[V3]]
// CHECK: arith.maxnumf %[[V6]], %[[V7]]
// CHECK-COUNT-2: nvvm.shfl.sync bfly
// A partial sum stays within the lane.
// CHECK-NOT: nvvm.shfl
// CHECK: %[[C:.*]] = arith.addf %[[V0]], %[[V1]]
// CHECK: %[[D:.*]] = arith.addf %[[V4]], %[[V5]]
// CHECK: %[[SUM0:.*]] = arith.addf %[[C]], %[[D]]
// CHECK: %[[E:.*]] = arith.addf %[[V2]], %[[V3]]
// CHECK: %[[G:.*]] = arith.addf %[[V6]], %[[V7]]
// CHECK: %[[SUM1:.*]] = arith.addf %[[E]], %[[G]]
// CHECK-NOT: nvvm.shfl
// CHECK: llvm.insertvalue %[[SUM0]], %{{.*}}[0]
// CHECK: %[[PARTS:.*]] = llvm.insertvalue %[[SUM1]], %{{.*}}[1]
// Completing it adds the shuffles alone.
// CHECK: %[[P0:.*]] = llvm.extractvalue %[[PARTS]][0]
// CHECK: %[[S1:.*]] = nvvm.shfl.sync bfly %{{.*}}, %[[P0]], %c1_i32,
// CHECK: arith.addf %[[P0]], %[[S1]]
// CHECK-COUNT-3: nvvm.shfl.sync bfly
// CHECK-NOT: nvvm.shfl
// CHECK: llvm.return
tile.kernel @reduce attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                                max_registers = 0 : i32} {
^bb0(%x: f32):
  %f = tile.splat %x : f32 -> !tile.fragment<16>
  %max = tile.reduce "max" %f : !tile.fragment<16> -> !tile.rows<f32>
  %part = tile.reduce "add" %f partial : !tile.fragment<16> -> !tile.rows<f32>
  %sum = tile.reduce "add" %part : !tile.rows<f32> -> !tile.rows<f32>
  tile.return
}

// Two neighbours in one register, the left one in the low half (the conversion's second operand).
// CHECK-LABEL: llvm.func @pack
// CHECK-DAG: %[[V0:.*]] = llvm.extractvalue %[[F:.*]][0]
// CHECK-DAG: %[[V1:.*]] = llvm.extractvalue %[[F]][1]
// CHECK: %[[LOW:.*]] = nvvm.convert.f32x2.to.bf16x2 %[[V1]], %[[V0]] {rnd = #nvvm.fp_rnd_mode<rn>}
// CHECK: llvm.bitcast %[[LOW]] : vector<2xbf16> to i32
// CHECK-COUNT-3: nvvm.convert.f32x2.to.bf16x2
// CHECK-NOT: nvvm.convert
// CHECK: llvm.insertvalue %{{.*}}, %{{.*}}[3] : !llvm.struct<(i32, i32, i32, i32)>
// CHECK: nvvm.stmatrix
tile.kernel @pack attributes {arg_names = ["x"], threads = 128 : i32, shared_bytes = 0 : i32,
                              max_registers = 0 : i32} {
^bb0(%x: f32):
  %f = tile.splat %x : f32 -> !tile.fragment<16>
  %p = tile.pack %f : !tile.fragment<16> -> !tile.operand<16>
  %b = tile.buffer 0 : !tile.buffer<64, 16, swizzle 32>
  tile.put_operand %p, %b : !tile.operand<16>, !tile.buffer<64, 16, swizzle 32>
  tile.return
}

// Each of the lane's two rows is compared (a NaN differs), the warp votes.
// CHECK-LABEL: llvm.func @any_row
// CHECK: %[[FROM:.*]] = arith.constant 1.000000e+00 : f32
// CHECK: %[[D0:.*]] = arith.cmpf une, %{{.*}}, %[[FROM]]
// CHECK: %[[D1:.*]] = arith.cmpf une, %{{.*}}, %[[FROM]]
// CHECK: %[[MINE:.*]] = arith.ori %[[D0]], %[[D1]]
// CHECK: nvvm.vote.sync any %c-1_i32, %[[MINE]] -> i1
tile.kernel @any_row attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%n: i32):
  %r = tile.map(%n : i32) -> !tile.rows<f32> {
  ^bb0(%e: i32):
    %y = arith.sitofp %e : i32 to f32
    tile.yield %y : f32
  }
  %any = tile.any_row %r differs from 1.0 : !tile.rows<f32>
  tile.return
}
