// One test a rule of routing and of arrays indexed by data: each breaks it once.
// RUN: lathe-opt %s --split-input-file --verify-diagnostics

//===- lathe.route ------------------------------------------------------------------------------------===//

lathe.kernel @route_scores {
  %s = lathe.input "s" : !lathe.array<bf16, row=?, expert=8>
  // expected-error @+1 {{scores must be f32, got 'bf16'}}
  %i, %w = lathe.route %s over "expert" choose "choice"
    : !lathe.array<bf16, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_axis {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{scores have no dimension "token"}}
  %i, %w = lathe.route %s over "token" choose "choice"
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_axis_dynamic {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{dimension "row" must have a static extent}}
  %i, %w = lathe.route %s over "row" choose "choice"
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_choice_taken {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{scores have the dimension "row" of the choices}}
  %i, %w = lathe.route %s over "expert" choose "row"
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_choice_missing {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{ids have no dimension "choice"}}
  %i, %w = lathe.route %s over "expert" choose "choice"
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, pick=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_choice_dynamic {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{dimension "choice" must have a static extent}}
  %i, %w = lathe.route %s over "expert" choose "choice"
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=?>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_too_many {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{chooses 9 of "expert", which has 8}}
  %i, %w = lathe.route %s over "expert" choose "choice"
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=9>, !lathe.array<f32, row=?, choice=9>
}

// -----

lathe.kernel @route_ids {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{ids must be '!lathe.array<i32, row=?, choice=2>', got '!lathe.array<i64, row=?, choice=2>'}}
  %i, %w = lathe.route %s over "expert" choose "choice"
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i64, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_weights {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{weights must be '!lathe.array<f32, row=?, choice=2>', got '!lathe.array<f32, choice=2>'}}
  %i, %w = lathe.route %s over "expert" choose "choice"
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, choice=2>
}

// -----

lathe.kernel @route_groups {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{groups must divide the 8 of "expert", got 3}}
  %i, %w = lathe.route %s over "expert" choose "choice" {groups = 3 : i64}
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_top_groups {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{must choose from 1 to 4 groups, got 5}}
  %i, %w = lathe.route %s over "expert" choose "choice" {groups = 4 : i64, topGroups = 5 : i64}
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_small_groups {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{chosen groups must hold 2 choices, got 1 of 1}}
  %i, %w = lathe.route %s over "expert" choose "choice" {groups = 8 : i64}
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_two_best {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{scores a group by its two best, which needs groups of at least 2}}
  %i, %w = lathe.route %s over "expert" choose "choice" {groups = 8 : i64, topGroups = 4 : i64, sumOfTwoBest}
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_bias {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  %b = lathe.input "b" : !lathe.array<bf16, expert=8>
  // expected-error @+1 {{bias must be '!lathe.array<f32, expert=8>', got '!lathe.array<bf16, expert=8>'}}
  %i, %w = lathe.route %s over "expert" choose "choice" bias(%b : !lathe.array<bf16, expert=8>)
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @route_scale {
  %s = lathe.input "s" : !lathe.array<f32, row=?, expert=8>
  // expected-error @+1 {{scale must be finite and positive, got 0.000000e+00 : f64}}
  %i, %w = lathe.route %s over "expert" choose "choice" {scale = 0.0 : f64}
    : !lathe.array<f32, row=?, expert=8>
    -> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

//===- lathe.given ------------------------------------------------------------------------------------===//

lathe.kernel @given_ids {
  %i = lathe.input "i" : !lathe.array<i64, row=?, choice=2>
  %w = lathe.input "w" : !lathe.array<f32, row=?, choice=2>
  // expected-error @+1 {{ids must be i32, got 'i64'}}
  %e, %v = lathe.given %i, %w within 8 : !lathe.array<i64, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @given_weights {
  %i = lathe.input "i" : !lathe.array<i32, row=?, choice=2>
  %w = lathe.input "w" : !lathe.array<bf16, row=?, choice=2>
  // expected-error @+1 {{weights must be f32, got 'bf16'}}
  %e, %v = lathe.given %i, %w within 8 : !lathe.array<i32, row=?, choice=2>, !lathe.array<bf16, row=?, choice=2>
}

// -----

lathe.kernel @given_dimensions {
  %i = lathe.input "i" : !lathe.array<i32, row=?, choice=2>
  %w = lathe.input "w" : !lathe.array<f32, row=?>
  // expected-error @+1 {{weights must have the dimensions of the ids, got '!lathe.array<f32, row=?>' for '!lathe.array<i32, row=?, choice=2>'}}
  %e, %v = lathe.given %i, %w within 8 : !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?>
}

// -----

lathe.kernel @given_experts {
  %i = lathe.input "i" : !lathe.array<i32, row=?, choice=2>
  %w = lathe.input "w" : !lathe.array<f32, row=?, choice=2>
  // expected-error @+1 {{number of experts must be positive, got 0}}
  %e, %v = lathe.given %i, %w within 0 : !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>
}

// -----

lathe.kernel @given_first {
  %i = lathe.input "i" : !lathe.array<i32, row=?>
  %w = lathe.input "w" : !lathe.array<f32, row=?>
  %f = lathe.param "f" : i64
  // expected-error @+1 {{operand #2 must be 32-bit signless integer, but got 'i64'}}
  %e, %v = lathe.given %i, %w within 8 first(%f : i64) : !lathe.array<i32, row=?>, !lathe.array<f32, row=?>
}

// -----

//===- lathe.gather -----------------------------------------------------------------------------------===//

lathe.kernel @gather_ids {
  %w = lathe.input "w" : !lathe.array<bf16, expert=8, hidden=64>
  %i = lathe.input "i" : !lathe.array<f32, row=?>
  // expected-error @+1 {{ids must be i32, got 'f32'}}
  %g = lathe.gather %w along "expert" by %i
    : !lathe.array<bf16, expert=8, hidden=64>, !lathe.array<f32, row=?>
    -> !lathe.array<bf16, row=?, hidden=64>
}

// -----

lathe.kernel @gather_dimension {
  %w = lathe.input "w" : !lathe.array<bf16, expert=8, hidden=64>
  %i = lathe.input "i" : !lathe.array<i32, row=?>
  // expected-error @+1 {{source has no dimension "token"}}
  %g = lathe.gather %w along "token" by %i
    : !lathe.array<bf16, expert=8, hidden=64>, !lathe.array<i32, row=?>
    -> !lathe.array<bf16, row=?, hidden=64>
}

// -----

lathe.kernel @gather_itself {
  %w = lathe.input "w" : !lathe.array<bf16, expert=8, hidden=64>
  %i = lathe.input "i" : !lathe.array<i32, expert=8>
  // expected-error @+1 {{ids have the dimension "expert" that they index}}
  %g = lathe.gather %w along "expert" by %i
    : !lathe.array<bf16, expert=8, hidden=64>, !lathe.array<i32, expert=8>
    -> !lathe.array<bf16, row=?, hidden=64>
}

// -----

lathe.kernel @gather_extents {
  %w = lathe.input "w" : !lathe.array<bf16, expert=8, hidden=64>
  %i = lathe.input "i" : !lathe.array<i32, row=?, hidden=32>
  // expected-error @+1 {{extents along "hidden" must agree}}
  %g = lathe.gather %w along "expert" by %i
    : !lathe.array<bf16, expert=8, hidden=64>, !lathe.array<i32, row=?, hidden=32>
    -> !lathe.array<bf16, row=?, hidden=64>
}

// -----

lathe.kernel @gather_result {
  %w = lathe.input "w" : !lathe.array<bf16, expert=8, hidden=64>
  %i = lathe.input "i" : !lathe.array<i32, row=?>
  // expected-error @+1 {{result must be '!lathe.array<bf16, row=?, hidden=64>', got '!lathe.array<bf16, hidden=64>'}}
  %g = lathe.gather %w along "expert" by %i
    : !lathe.array<bf16, expert=8, hidden=64>, !lathe.array<i32, row=?>
    -> !lathe.array<bf16, hidden=64>
}

// -----

//===- lathe.at ---------------------------------------------------------------------------------------===//

lathe.kernel @at_dimension {
  %w = lathe.input "w" : !lathe.array<bf16, half=2, hidden=64>
  // expected-error @+1 {{source has no dimension "part"}}
  %a = lathe.at %w "part"[0] : !lathe.array<bf16, half=2, hidden=64> -> !lathe.array<bf16, hidden=64>
}

// -----

lathe.kernel @at_dynamic {
  %w = lathe.input "w" : !lathe.array<bf16, row=?, hidden=64>
  // expected-error @+1 {{dimension "row" must have a static extent}}
  %a = lathe.at %w "row"[0] : !lathe.array<bf16, row=?, hidden=64> -> !lathe.array<bf16, hidden=64>
}

// -----

lathe.kernel @at_past {
  %w = lathe.input "w" : !lathe.array<bf16, half=2, hidden=64>
  // expected-error @+1 {{index must be within the 2 elements of "half", got 2}}
  %a = lathe.at %w "half"[2] : !lathe.array<bf16, half=2, hidden=64> -> !lathe.array<bf16, hidden=64>
}

// -----

lathe.kernel @at_before {
  %w = lathe.input "w" : !lathe.array<bf16, half=2, hidden=64>
  // expected-error @+1 {{index must be within the 2 elements of "half", got -1}}
  %a = lathe.at %w "half"[-1] : !lathe.array<bf16, half=2, hidden=64> -> !lathe.array<bf16, hidden=64>
}

// -----

lathe.kernel @at_result {
  %w = lathe.input "w" : !lathe.array<bf16, half=2, hidden=64>
  // expected-error @+1 {{result must be '!lathe.array<bf16, hidden=64>', got '!lathe.array<f32, hidden=64>'}}
  %a = lathe.at %w "half"[0] : !lathe.array<bf16, half=2, hidden=64> -> !lathe.array<f32, hidden=64>
}
