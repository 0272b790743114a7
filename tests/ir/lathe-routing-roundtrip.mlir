// Routing and arrays indexed by data: parse, print, parse, print, and the generic form.
// RUN: lathe-opt %s > %t.once
// RUN: lathe-opt %t.once > %t.twice
// RUN: diff %t.once %t.twice
// RUN: lathe-opt %s --mlir-print-op-generic | lathe-opt > %t.generic
// RUN: diff %t.once %t.generic
// RUN: FileCheck %s < %t.once

// CHECK-LABEL: lathe.kernel @layer {
lathe.kernel @layer {
  %x = lathe.input "x" : !lathe.array<bf16, row=?, hidden=64>
  %l = lathe.input "logits" : !lathe.array<f32, row=?, expert=16>
  %b = lathe.input "bias" : !lathe.array<f32, expert=16>
  %w1 = lathe.input "w1" : !lathe.array<bf16, expert=4, half=2, inner=32, hidden=64>
  %first = lathe.param "first" : i32
  // CHECK: %[[IDS:.*]], %[[WEIGHTS:.*]] = lathe.route %{{.*}} over "expert" choose "choice" bias(%{{.*}} : !lathe.array<f32, expert=16>) {groups = 4 : i64, renormalize, scale = 2.500000e+00 : f64, sumOfTwoBest, topGroups = 2 : i64} : !lathe.array<f32, row=?, expert=16> -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
  %ids, %weights = lathe.route %l over "expert" choose "choice" bias(%b : !lathe.array<f32, expert=16>)
    {groups = 4 : i64, topGroups = 2 : i64, sumOfTwoBest, renormalize, scale = 2.5 : f64}
    : !lathe.array<f32, row=?, expert=16> -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
  // CHECK: lathe.route %{{.*}} over "expert" choose "choice" : !lathe.array<f32, row=?, expert=16> ->
  %best, %share = lathe.route %l over "expert" choose "choice" {groups = 1 : i64, scale = 1.0 : f64}
    : !lathe.array<f32, row=?, expert=16> -> !lathe.array<i32, row=?, choice=1>, !lathe.array<f32, row=?, choice=1>
  // CHECK: %[[LOCAL:.*]], %{{.*}} = lathe.given %[[IDS]], %[[WEIGHTS]] within 4 first(%{{.*}} : i32) : !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
  %e, %w = lathe.given %ids, %weights within 4 first(%first : i32)
    : !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
  // CHECK: lathe.given %[[IDS]], %[[WEIGHTS]] within 16 : !lathe.array<i32, row=?, choice=2>,
  %all, %same = lathe.given %ids, %weights within 16
    : !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
  // CHECK: %[[GATE:.*]] = lathe.at %{{.*}} "half"[1] : !lathe.array<bf16, expert=4, half=2, inner=32, hidden=64> -> !lathe.array<bf16, expert=4, inner=32, hidden=64>
  %up = lathe.at %w1 "half"[1] : !lathe.array<bf16, expert=4, half=2, inner=32, hidden=64>
    -> !lathe.array<bf16, expert=4, inner=32, hidden=64>
  // CHECK: lathe.gather %[[GATE]] along "expert" by %[[LOCAL]] : !lathe.array<bf16, expert=4, inner=32, hidden=64>, !lathe.array<i32, row=?, choice=2> -> !lathe.array<bf16, row=?, choice=2, inner=32, hidden=64>
  %chosen = lathe.gather %up along "expert" by %e
    : !lathe.array<bf16, expert=4, inner=32, hidden=64>, !lathe.array<i32, row=?, choice=2>
    -> !lathe.array<bf16, row=?, choice=2, inner=32, hidden=64>
  %p = lathe.contract %x, %chosen over ["hidden"]
    : !lathe.array<bf16, row=?, hidden=64>, !lathe.array<bf16, row=?, choice=2, inner=32, hidden=64>
    -> !lathe.array<f32, row=?, choice=2, inner=32>
  // CHECK: lathe.gather %{{.*}} along "expert" by %[[IDS]] : !lathe.array<f32, row=?, expert=16>, !lathe.array<i32, row=?, choice=2> -> !lathe.array<f32, row=?, choice=2>
  %again = lathe.gather %l along "expert" by %ids
    : !lathe.array<f32, row=?, expert=16>, !lathe.array<i32, row=?, choice=2> -> !lathe.array<f32, row=?, choice=2>
  lathe.output "y"(%p : !lathe.array<f32, row=?, choice=2, inner=32>) as f32 ["row", "choice", "inner"]
  lathe.output "w"(%w : !lathe.array<f32, row=?, choice=2>) as f32 ["row", "choice"]
}
