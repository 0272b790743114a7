//===- Expect.h - What the tests of descriptions share ------------------------------------------------===//
//
// The message of an error, and the dimensions and inputs that most of the tests of descriptions use. Included
// by every file of tests/unit/dsl.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Kernel.h"
#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"

#include <gtest/gtest.h>

namespace lathe::dsl {

/// The message of the UserError that `action` throws; a test failure and "" when it throws none.
template <typename Action>
std::string messageOf(Action &&action) {
  try {
    action();
  } catch (const UserError &error) {
    return error.what();
  }
  ADD_FAILURE() << "no UserError was thrown";
  return "";
}

/// A decode-like set of dimensions and inputs.
struct Parts {
  Dim b{"batch"}, q{"query", 2}, h{"head", 8}, t{"token"}, d{"key", 576}, v{"value", 512};
  Tensor query = input("q", bf16, {b, q, h, d});
  Tensor length = input("lengths", i32, {b});
  Paged cache = paged("kv", bf16, {t, d}, {.page = 64, .table = "block_table", .length = length});
  Scalar scale = param("scale", f32);

  Expr score() const { return sum(d, query(b, q, h, d) * cache(b, t, d)) * scale; }
};

} // namespace lathe::dsl
