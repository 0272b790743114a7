// Grouped products: rows that threads copy, and pairs of rows.
// RUN: lathe-opt %s --tile-to-nvvm --cse | FileCheck %s

// All gatherers arrive: 96 fill a stage; 4 warps empty it.
// CHECK-LABEL: llvm.func @gather
// CHECK: nvvm.mbarrier.init %{{.*}}, %c96_i32
// CHECK: nvvm.mbarrier.init %{{.*}}, %c4_i32
// Row thread / 8 of 128 bytes, its chunk xored with row mod 8, in both boxes.
// CHECK: %[[ROW:.*]] = arith.shrui %[[T:.*]], %c3_i32
// CHECK: %[[CHUNK:.*]] = arith.andi %[[T]], %c7_i32
// CHECK: %[[BYTES:.*]] = arith.muli %[[ROW]], %c128_i32
// CHECK: %[[STAGE:.*]] = llvm.getelementptr inbounds %{{.*}}[%[[BYTES]]]
// CHECK: %[[LOW:.*]] = arith.andi %[[ROW]], %c7_i32
// CHECK: %[[PLACE:.*]] = arith.xori %[[CHUNK]], %[[LOW]]
// CHECK: %[[FIRST:.*]] = arith.muli %[[PLACE]], %c16_i32
// CHECK: %[[TO:.*]] = llvm.getelementptr inbounds %[[STAGE]][%[[FIRST]]]
// A row that is not there is not read: 0 bytes of 16.
// CHECK: %[[COPIED:.*]] = arith.select %{{.*}}, %c16_i32, %c0_i32
// CHECK: nvvm.cp.async.shared.global %[[TO]], %[[FROM:.*]], 16, cache = {{ *}}cg, %[[COPIED]]
// CHECK: %[[TO1:.*]] = llvm.getelementptr inbounds %[[TO]][4096]
// CHECK: %[[FROM1:.*]] = llvm.getelementptr inbounds %[[FROM]][128]
// CHECK: nvvm.cp.async.shared.global %[[TO1]], %[[FROM1]], 16, cache = {{ *}}cg, %[[COPIED]]
// Twelve rows further the pattern is that of four rows further; only where there are rows: 4 of the 16.
// CHECK: %[[NEXT:.*]] = arith.addi %[[ROW]], %c4_i32
// CHECK: %[[LOW1:.*]] = arith.andi %[[NEXT]], %c7_i32
// CHECK: arith.xori %[[CHUNK]], %[[LOW1]]
// CHECK: llvm.getelementptr inbounds %{{.*}}[1536]
// CHECK: %[[HERE:.*]] = arith.cmpi slt, %[[ROW]], %c4_i32
// CHECK: scf.if %[[HERE]]
// CHECK: nvvm.cp.async.mbarrier.arrive %{{.*}} {noinc = true}
tile.kernel @gather attributes {arg_names = ["x", "n", "t", "k"], threads = 128 : i32, shared_bytes = 60000 : i32,
                                max_registers = 0 : i32} {
^bb0(%x: !llvm.ptr<1>, %n: i32, %t: i32, %k: i32):
  %rows = tile.pipe "rows" at 0 barriers 50000 releases 1 : !tile.pipe<1, 32, 128 gatherers 96>
  tile.gather %rows[%n] rows 16 present %n from (%x, %x : !llvm.ptr<1>, !llvm.ptr<1>) offset %k thread %t : !tile.pipe<1, 32, 128 gatherers 96>
  tile.return
}

// What threads copied passes to WGMMA by a fence of the waiting thread.
// CHECK-LABEL: llvm.func @wait
// CHECK: nvvm.mbarrier.try_wait.parity
// CHECK-NEXT: nvvm.fence.proxy
tile.kernel @wait attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 60000 : i32, max_registers = 0 : i32} {
^bb0(%n: i32):
  %rows = tile.pipe "rows" at 0 barriers 50000 releases 1 : !tile.pipe<1, 16, 64 gatherers 96>
  %stage = tile.wait %rows[%n] : !tile.pipe<1, 16, 64 gatherers 96> -> !tile.buffer<16, 64, swizzle 128>
  tile.return
}

// Registers 0 and 2 are a pair, 1 and 3; two results a word. Twenty-four columns: two matrices, then one.
// CHECK-LABEL: llvm.func @pairs
// CHECK: llvm.mlir.addressof @lathe_shared
// CHECK: %[[V0:.*]] = llvm.extractvalue %[[F:.*]][0] : !llvm.struct
// CHECK-NEXT: %[[V1:.*]] = llvm.extractvalue %[[F]][1]
// CHECK-NEXT: %[[V2:.*]] = llvm.extractvalue %[[F]][2]
// CHECK-NEXT: %[[V3:.*]] = llvm.extractvalue %[[F]][3]
// CHECK: %[[LOW:.*]] = arith.subf %[[V0]], %[[V2]]
// CHECK: %[[HIGH:.*]] = arith.subf %[[V1]], %[[V3]]
// CHECK: nvvm.convert.f32x2.to.bf16x2 %[[HIGH]], %[[LOW]]
// CHECK: nvvm.barrier id
// CHECK: nvvm.stmatrix %{{.*}}, %{{.*}}, %{{.*}} {{.*}}col{{.*}} : !llvm.ptr<3>, i32, i32
// CHECK: nvvm.stmatrix %{{.*}}, %{{.*}} {{.*}}col{{.*}} : !llvm.ptr<3>, i32
tile.kernel @pairs attributes {arg_names = ["out"], threads = 128 : i32, shared_bytes = 60000 : i32, max_registers = 0 : i32} {
^bb0(%out: !llvm.ptr<1>):
  %zero = arith.constant 0.0 : f32
  %sum = tile.splat %zero : f32 -> !tile.fragment<24>
  %shifted = tile.map(%sum : !tile.fragment<24>) -> !tile.fragment<24> {
  ^bb0(%e: f32):
    %c = tile.column
    %f = arith.sitofp %c : i32 to f32
    %s = arith.addf %e, %f : f32
    tile.yield %s : f32
  }
  tile.store_pairs %shifted to %out at 40000 event 1 as bf16 : !tile.fragment<24> to !llvm.ptr<1> {
  ^bb0(%gate: f32, %up: f32):
    %y = arith.subf %gate, %up : f32
    tile.yield %y : f32
  }, {
  ^bb0(%column: i32):
    %offset = arith.extsi %column : i32 to i64
    %yes = arith.constant true
    tile.yield %offset, %yes : i64, i1
  }
  tile.return
}

// Each of two warpgroups has its rows, 8 of 80 bytes, and its event.
// CHECK-LABEL: llvm.func @pairs_of_two
// CHECK-SAME: (%{{.*}}: !llvm.ptr<1>, %[[INDEX:[^:]*]]: i32)
// CHECK: %[[BYTES:.*]] = arith.muli %[[INDEX]], %c640_i32
// CHECK: llvm.getelementptr inbounds %{{.*}}[%[[BYTES]]]
// CHECK: %[[EVENT:.*]] = arith.addi %{{.*}}, %[[INDEX]]
// CHECK: nvvm.barrier id = %[[EVENT]] number_of_threads = %c128_i32
tile.kernel @pairs_of_two attributes {arg_names = ["out", "index"], threads = 256 : i32, shared_bytes = 60000 : i32,
                                      max_registers = 0 : i32} {
^bb0(%out: !llvm.ptr<1>, %index: i32):
  %zero = arith.constant 0.0 : f32
  %sum = tile.splat %zero : f32 -> !tile.fragment<16>
  tile.store_pairs %sum to %out at 40000[%index] of 2 event 3 as bf16 at_once 8 : !tile.fragment<16> to !llvm.ptr<1> {
  ^bb0(%gate: f32, %up: f32):
    tile.yield %up : f32
  }, {
  ^bb0(%column: i32):
    %offset = arith.extsi %column : i32 to i64
    %yes = arith.constant true
    tile.yield %offset, %yes : i64, i1
  }
  tile.return
}

// Columns 0 to 31 and 32 to 39: told by the lane of their number in each 32, of the first or the second operand.
// CHECK-LABEL: llvm.func @sums
// CHECK-SAME: (%[[SUMS:[^:]*]]: !llvm.ptr<1>, %[[FROM:[^:]*]]: i32, %[[ROW0:[^:]*]]: i32, %[[ROW1:[^:]*]]: i32, %[[FACTOR0:[^:]*]]: f32, %[[FACTOR1:[^:]*]]: f32
// CHECK: %[[FIRST:.*]] = arith.extsi
// CHECK: %[[ROW:.*]] = nvvm.shfl.sync idx %{{.*}}, %[[ROW0]],
// CHECK: %[[FACTOR:.*]] = nvvm.shfl.sync idx %{{.*}}, %[[FACTOR0]],
// CHECK: %[[BEGIN:.*]] = arith.muli %{{.*}}, %c2048_i64
// CHECK: arith.addi %[[BEGIN]], %[[FIRST]] : i64
// CHECK: %[[THERE:.*]] = arith.cmpi sge, %[[ROW]], %c0_i32
// CHECK: scf.if %[[THERE]]
// CHECK: %[[VALUE:.*]] = arith.mulf %{{.*}}, %[[FACTOR]]
// CHECK: "red.relaxed.gpu.global.add.f32 [$0], $1;", "l,f" %{{.*}}, %[[VALUE]]
// Eight rows of the fragment further.
// CHECK: llvm.getelementptr inbounds %{{.*}}[32]
// CHECK: "red.relaxed.gpu.global.add.f32 [$0], $1;"
// CHECK-COUNT-6: nvvm.shfl.sync idx %{{.*}}, %[[ROW0]],
// CHECK-COUNT-2: nvvm.shfl.sync idx %{{.*}}, %[[ROW1]],
// CHECK-NOT: nvvm.shfl.sync idx %{{.*}}, %[[ROW0]],
// CHECK: llvm.return
tile.kernel @sums attributes {arg_names = ["sums", "from", "row0", "row1", "factor0", "factor1"], threads = 128 : i32,
                              shared_bytes = 0 : i32, max_registers = 0 : i32} {
^bb0(%sums: !llvm.ptr<1>, %from: i32, %row0: i32, %row1: i32, %factor0: f32, %factor1: f32):
  %zero = arith.constant 0.0 : f32
  %sum = tile.splat %zero : f32 -> !tile.fragment<40>
  tile.add_transposed %sum to %sums[%from] stride 2048 rows(%row0, %row1) factors(%factor0, %factor1) : !tile.fragment<40> to !llvm.ptr<1>
  tile.return
}

// CHECK-LABEL: llvm.func @pairs_apart
// CHECK: arith.muli %{{.*}}, %c1152_i32
// CHECK-NOT: c640_i32
tile.kernel @pairs_apart attributes {arg_names = ["out", "index"], threads = 256 : i32, shared_bytes = 60000 : i32,
                                     max_registers = 0 : i32} {
^bb0(%out: !llvm.ptr<1>, %index: i32):
  %zero = arith.constant 0.0 : f32
  %sum = tile.splat %zero : f32 -> !tile.fragment<8>
  tile.store_pairs %sum to %out at 40000[%index] of 2 apart 1152 event 3 as bf16 at_once 8 : !tile.fragment<8> to !llvm.ptr<1> {
  ^bb0(%gate: f32, %up: f32):
    tile.yield %gate : f32
  }, {
  ^bb0(%column: i32):
    %offset = arith.extsi %column : i32 to i64
    %yes = arith.constant true
    tile.yield %offset, %yes : i64, i1
  }
  tile.return
}

// All of the warpgroup have written, then one of them adds.
// CHECK-LABEL: llvm.func @publish
// CHECK-SAME: (%[[COUNTERS:[^:]*]]: !llvm.ptr<1>, %[[AT:[^:]*]]: i32, %[[GROUP:[^:]*]]: i32
// CHECK: %[[EVENT:.*]] = arith.addi %{{.*}}, %[[GROUP]]
// CHECK: nvvm.barrier id = %[[EVENT]] number_of_threads = %c128_i32
// CHECK: scf.if
// CHECK: %[[COUNTER:.*]] = llvm.getelementptr inbounds %[[COUNTERS]]
// CHECK: "red.release.gpu.global.add.u32 [$0], 1;", "l,~{memory}" %[[COUNTER]]
tile.kernel @publish attributes {arg_names = ["counters", "at", "group"], threads = 256 : i32, shared_bytes = 0 : i32,
                                 max_registers = 0 : i32} {
^bb0(%counters: !llvm.ptr<1>, %at: i32, %group: i32):
  tile.publish %counters[%at] event 3 of %group : !llvm.ptr<1>
  tile.return
}

// CHECK-LABEL: llvm.func @await
// CHECK: scf.while
// CHECK: %[[SEEN:.*]] = llvm.inline_asm has_side_effects asm_dialect = att "ld.acquire.gpu.global.u32 $0, [$1];"
// CHECK: %[[LESS:.*]] = arith.cmpi slt, %[[SEEN]], %c44_i32
// CHECK: scf.condition(%[[LESS]])
// CHECK: nvvm.fence.proxy {kind = #nvvm.proxy_kind<async.global>}
tile.kernel @await attributes {arg_names = ["counters", "at"], threads = 128 : i32, shared_bytes = 0 : i32,
                               max_registers = 0 : i32} {
^bb0(%counters: !llvm.ptr<1>, %at: i32):
  tile.await %counters[%at] least 44 : !llvm.ptr<1>
  tile.return
}
