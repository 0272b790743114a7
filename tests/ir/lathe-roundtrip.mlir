// Parse, print, parse, print: the second text equals the first, and the generic form means the same.
// RUN: lathe-opt %s > %t.once
// RUN: lathe-opt %t.once > %t.twice
// RUN: diff %t.once %t.twice
// RUN: lathe-opt %s --mlir-print-op-generic | lathe-opt > %t.generic
// RUN: diff %t.once %t.generic
// RUN: FileCheck %s < %t.once

// CHECK-LABEL: lathe.kernel @mla_decode {
lathe.kernel @mla_decode {
  // CHECK: %[[Q:.*]] = lathe.input "q" : !lathe.array<bf16, batch=?, query=2, head=16, key=576>
  %q = lathe.input "q" : !lathe.array<bf16, batch=?, query=2, head=16, key=576>
  // CHECK: %[[N:.*]] = lathe.input "lengths" : !lathe.array<i32, batch=?>
  %n = lathe.input "lengths" : !lathe.array<i32, batch=?>
  // CHECK: %[[KV:.*]] = lathe.paged "kv" page 64 table "block_table" lengths(%[[N]] : !lathe.array<i32, batch=?>) : !lathe.array<bf16, batch=?, token=?, key=576>
  %kv = lathe.paged "kv" page 64 table "block_table" lengths(%n : !lathe.array<i32, batch=?>)
    : !lathe.array<bf16, batch=?, token=?, key=576>
  // CHECK: %[[SCALE:.*]] = lathe.param "scale" : f32
  %scale = lathe.param "scale" : f32
  // CHECK: %[[S:.*]] = lathe.contract %[[Q]], %[[KV]] over ["key"] : !lathe.array<bf16, batch=?, query=2, head=16, key=576>, !lathe.array<bf16, batch=?, token=?, key=576> -> !lathe.array<f32, batch=?, query=2, head=16, token=?>
  %s = lathe.contract %q, %kv over ["key"]
    : !lathe.array<bf16, batch=?, query=2, head=16, key=576>, !lathe.array<bf16, batch=?, token=?, key=576>
    -> !lathe.array<f32, batch=?, query=2, head=16, token=?>
  // CHECK: %[[T:.*]] = lathe.map (%[[X:.*]] = %[[S]] : !lathe.array<f32, batch=?, query=2, head=16, token=?>, %[[C:.*]] = %[[SCALE]] : f32) -> !lathe.array<f32, batch=?, query=2, head=16, token=?> {
  // CHECK-NEXT: %[[Y:.*]] = arith.mulf %[[X]], %[[C]] : f32
  // CHECK-NEXT: lathe.yield %[[Y]] : f32
  %t = lathe.map (%x = %s : !lathe.array<f32, batch=?, query=2, head=16, token=?>, %c = %scale : f32)
      -> !lathe.array<f32, batch=?, query=2, head=16, token=?> {
    %y = arith.mulf %x, %c : f32
    lathe.yield %y : f32
  }
  // CHECK: %[[P:.*]], %[[LSE:.*]] = lathe.softmax %{{.*}} over "token" where (%[[L:.*]] = %[[N]] : !lathe.array<i32, batch=?>) {
  // CHECK: lathe.index "query" : i32
  // CHECK: lathe.yield %{{.*}} : i1
  // CHECK: } : !lathe.array<f32, batch=?, query=2, head=16, token=?> -> !lathe.array<f32, batch=?, query=2, head=16, token=?>, !lathe.array<f32, batch=?, query=2, head=16>
  %p, %lse = lathe.softmax %t over "token" where (%length = %n : !lathe.array<i32, batch=?>) {
    %one = arith.constant 1 : i32
    %token = lathe.index "token" : i32
    %query = lathe.index "query" : i32
    %behind = arith.subi %one, %query : i32
    %bound = arith.subi %length, %behind : i32
    %keep = arith.cmpi slt, %token, %bound : i32
    lathe.yield %keep : i1
  } : !lathe.array<f32, batch=?, query=2, head=16, token=?>
    -> !lathe.array<f32, batch=?, query=2, head=16, token=?>, !lathe.array<f32, batch=?, query=2, head=16>
  // CHECK: %[[V:.*]] = lathe.slice %[[KV]] "key"[0 to 512] as "value" : !lathe.array<bf16, batch=?, token=?, key=576> -> !lathe.array<bf16, batch=?, token=?, value=512>
  %v = lathe.slice %kv "key" [0 to 512] as "value"
    : !lathe.array<bf16, batch=?, token=?, key=576> -> !lathe.array<bf16, batch=?, token=?, value=512>
  // CHECK: %[[O:.*]] = lathe.contract %[[P]], %[[V]] over ["token"]
  %o = lathe.contract %p, %v over ["token"]
    : !lathe.array<f32, batch=?, query=2, head=16, token=?>, !lathe.array<bf16, batch=?, token=?, value=512>
    -> !lathe.array<f32, batch=?, query=2, head=16, value=512>
  // CHECK: lathe.sum %[[P]] over ["query", "head"] : !lathe.array<f32, batch=?, query=2, head=16, token=?> -> !lathe.array<f32, batch=?, token=?>
  %mass = lathe.sum %p over ["query", "head"]
    : !lathe.array<f32, batch=?, query=2, head=16, token=?> -> !lathe.array<f32, batch=?, token=?>
  // CHECK: lathe.output "out"(%[[O]] : !lathe.array<f32, batch=?, query=2, head=16, value=512>) as bf16 ["batch", "query", "head", "value"]
  lathe.output "out"(%o : !lathe.array<f32, batch=?, query=2, head=16, value=512>)
    as bf16 ["batch", "query", "head", "value"]
  // CHECK: lathe.output "lse"(%[[LSE]] : !lathe.array<f32, batch=?, query=2, head=16>) as f32 ["batch", "head", "query"]
  lathe.output "lse"(%lse : !lathe.array<f32, batch=?, query=2, head=16>) as f32 ["batch", "head", "query"]
  lathe.output "mass"(%mass : !lathe.array<f32, batch=?, token=?>) as f32 ["batch", "token"]
}

// A softmax without a mask, a map without operands, a dimension that is no identifier, two inputs of one table.
// CHECK-LABEL: lathe.kernel @corners {
lathe.kernel @corners {
  // CHECK: lathe.input "x" : !lathe.array<f32, row=?, "inner dim"=8>
  %x = lathe.input "x" : !lathe.array<f32, row=?, "inner dim"=8>
  // CHECK: lathe.softmax %{{.*}} over "inner dim" : !lathe.array<f32, row=?, "inner dim"=8>
  %p, %lse = lathe.softmax %x over "inner dim" : !lathe.array<f32, row=?, "inner dim"=8>
    -> !lathe.array<f32, row=?, "inner dim"=8>, !lathe.array<f32, row=?>
  // CHECK: lathe.map () -> !lathe.array<i32, row=?> {
  %i = lathe.map () -> !lathe.array<i32, row=?> {
    %r = lathe.index "row" : i32
    lathe.yield %r : i32
  }
  %n = lathe.input "n" : !lathe.array<i32, row=?>
  %a = lathe.paged "a" page 16 table "pages" lengths(%n : !lathe.array<i32, row=?>)
    : !lathe.array<f16, row=?, token=?, column=4>
  %b = lathe.paged "b" page 16 table "pages" lengths(%n : !lathe.array<i32, row=?>)
    : !lathe.array<f16, row=?, token=?, column=4>
  lathe.output "probabilities"(%p : !lathe.array<f32, row=?, "inner dim"=8>) as bf16 ["inner dim", "row"]
  lathe.output "rows"(%i : !lathe.array<i32, row=?>) as i64 ["row"]
}
