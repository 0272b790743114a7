// As tile-roundtrip.mlir, of queues.
// RUN: lathe-opt %s > %t.once
// RUN: lathe-opt %t.once > %t.twice
// RUN: diff %t.once %t.twice
// RUN: lathe-opt %s --mlir-print-op-generic | lathe-opt > %t.generic
// RUN: diff %t.once %t.generic
// RUN: FileCheck %s < %t.once

// CHECK-LABEL: tile.kernel @queue
// CHECK: %items = tile.queue "items" at 64 barriers 128 readers 5 : <4, 4>
// CHECK: tile.push %items[%{{.*}}], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} : <4, 4>
// CHECK: %{{.*}}:4 = tile.pull %items[%{{.*}}] : <4, 4> -> i32, i32, i32, i32
// CHECK: %{{.*}}:4 = tile.pull %items[%{{.*}}] single : <4, 4> -> i32, i32, i32, i32
// CHECK: %flags = tile.queue "flags" at 4 barriers 256 readers 1 : <1, 1>
tile.kernel @queue attributes {arg_names = ["n"], threads = 128 : i32, shared_bytes = 512 : i32, max_registers = 0 : i32} {
^bb0(%n: i32):
  %items = tile.queue "items" at 64 barriers 128 readers 5 : !tile.queue<4, 4>
  tile.push %items[%n], %n, %n, %n, %n : !tile.queue<4, 4>
  %a:4 = tile.pull %items[%n] : !tile.queue<4, 4> -> i32, i32, i32, i32
  %b:4 = tile.pull %items[%n] single : !tile.queue<4, 4> -> i32, i32, i32, i32
  %flags = tile.queue "flags" at 4 barriers 256 readers 1 : !tile.queue<1, 1>
  tile.return
}
