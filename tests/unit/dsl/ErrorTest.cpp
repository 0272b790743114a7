// One ill-formed description a rule, and the message it gets.

#include "Expect.h"

#include "lathe/dsl/models/Mla.h"

using namespace lathe;
using namespace lathe::dsl;

//===- Dimensions and inputs --------------------------------------------------------------------------===//

TEST(DimError, ExtentMustBePositive) {
  EXPECT_EQ(messageOf([] { Dim("head", 0); }), "dimension 'head' needs a positive extent, got 0; leave the "
                                               "extent out if it is known only at run time");
  EXPECT_EQ(messageOf([] { Dim("head", -3); }), "dimension 'head' needs a positive extent, got -3; leave the "
                                                "extent out if it is known only at run time");
}

TEST(DimError, NamesAreIdentifiers) {
  EXPECT_EQ(messageOf([] { Dim("a b"); }),
            "dimension name must be an identifier of letters, digits and _, got 'a b'");
  EXPECT_EQ(messageOf([] { Dim(""); }),
            "dimension name must be an identifier of letters, digits and _, got ''");
  EXPECT_EQ(messageOf([] { Kernel("1k"); }),
            "kernel name must be an identifier of letters, digits and _, got '1k'");
  EXPECT_EQ(messageOf([] { param("s-", f32); }),
            "parameter name must be an identifier of letters, digits and _, got 's-'");
  EXPECT_EQ(messageOf([] { input("q(", f32, {Dim("i")}); }),
            "input name must be an identifier of letters, digits and _, got 'q('");
  EXPECT_EQ(messageOf([] { (void)Kernel("k").output("o.", f32, {}); }),
            "output name must be an identifier of letters, digits and _, got 'o.'");
}

TEST(InputError, NeedsDimensions) {
  EXPECT_EQ(messageOf([] { input("x", f32, {}); }),
            "input 'x' needs at least one dimension; use param() for a scalar");
}

TEST(InputError, DimensionTwice) {
  Dim i("i", 4);
  EXPECT_EQ(messageOf([&] { input("x", f32, {i, i}); }),
            "input 'x' has dimension 'i' twice; give the second one a dimension of its own");
}

TEST(InputError, Bool) {
  EXPECT_EQ(messageOf([] { input("x", Dtype::Bool, {Dim("i")}); }),
            "input 'x' cannot be of type bool; use i32 and compare with 0");
}

TEST(ParamError, ElementType) {
  EXPECT_EQ(messageOf([] { param("scale", bf16); }),
            "parameter 'scale' must be f32, f64, i32 or i64, got bf16");
}

TEST(PagedError, Page) {
  Parts s;
  EXPECT_EQ(
      messageOf([&] { paged("c", bf16, {s.t, s.d}, {.page = 0, .table = "table", .length = s.length}); }),
      "paged input 'c' needs a positive page size in tokens, got 0");
}

TEST(PagedError, TableName) {
  Parts s;
  EXPECT_EQ(messageOf([&] { paged("c", bf16, {s.t, s.d}, {.page = 64, .table = "", .length = s.length}); }),
            "page table name must be an identifier of letters, digits and _, got ''");
}

TEST(PagedError, FirstDimensionIsDynamic) {
  Parts s;
  EXPECT_EQ(
      messageOf([&] { paged("c", bf16, {s.d, s.t}, {.page = 64, .table = "table", .length = s.length}); }),
      "paged input 'c' is paged over its first dimension, which must be dynamic, got 'key' (576); leave its "
      "extent out");
}

TEST(PagedError, OthersAreStatic) {
  Parts s;
  Dim x("x");
  EXPECT_EQ(
      messageOf([&] { paged("c", bf16, {s.t, x}, {.page = 64, .table = "table", .length = s.length}); }),
      "paged input 'c' needs known extents after its first dimension, got dynamic 'x'");
}

TEST(PagedError, Lengths) {
  Parts s;
  Tensor wrong = input("wrong", f32, {s.b});
  EXPECT_EQ(messageOf([&] { paged("c", bf16, {s.t, s.d}, {.page = 64, .table = "table", .length = wrong}); }),
            "paged input 'c' needs lengths of type i32 over one dynamic dimension, got f32 'wrong' with 1 "
            "dimension(s); declare input(\"lengths\", i32, {b})");
  Tensor two = input("two", i32, {s.b, s.q});
  EXPECT_EQ(messageOf([&] { paged("c", bf16, {s.t, s.d}, {.page = 64, .table = "table", .length = two}); }),
            "paged input 'c' needs lengths of type i32 over one dynamic dimension, got i32 'two' with 2 "
            "dimension(s); declare input(\"lengths\", i32, {b})");
}

TEST(PagedError, BatchIsNotItsDimension) {
  Parts s;
  EXPECT_EQ(
      messageOf([&] { paged("c", bf16, {s.b, s.d}, {.page = 64, .table = "table", .length = s.length}); }),
      "paged input 'c' must not have the batch dimension 'batch' of its lengths; pages are found by the "
      "table; "
      "the batch is the first index of an element");
}

//===- Indices ----------------------------------------------------------------------------------------===//

TEST(IndexError, WrongNumber) {
  Parts s;
  EXPECT_EQ(messageOf([&] { s.query(s.b, s.h, s.d); }),
            "'q' has 4 dimensions (batch, query, head, key), got 3 indices in q(batch, head, key)");
  EXPECT_EQ(messageOf([&] { s.cache(s.t, s.d); }), "'kv' has 3 dimensions (batch, token, key; a paged input "
                                                   "is indexed with the batch first), got 2 indices "
                                                   "in kv(token, key)");
}

TEST(IndexError, TooWide) {
  Parts s;
  Dim w("wide", 600);
  EXPECT_EQ(messageOf([&] { s.cache(s.b, s.t, w); }),
            "index 3 of kv(batch, token, wide) must stay within dimension 'key' (576), got wide in 0 to 599");
}

TEST(IndexError, ExpressionsAreBounded) {
  Dim h("head", 8), g("group", 2);
  Tensor x = input("x", f32, {g});
  EXPECT_NO_THROW(x(h / 4));
  EXPECT_NO_THROW(x(min(h, 1)));
  EXPECT_NO_THROW(x(max(h - 6, 0)));
  EXPECT_NO_THROW(x(1));
  EXPECT_EQ(messageOf([&] { x(h / 3); }),
            "index 1 of x(head / 3) must stay within dimension 'group' (2), got head / 3 in 0 to 2");
  EXPECT_EQ(messageOf([&] { x(h - 6); }),
            "index 1 of x(head - 6) must stay within dimension 'group' (2), got head - 6 in -6 to 1");
  EXPECT_EQ(messageOf([&] { x(2); }),
            "index 1 of x(2) must stay within dimension 'group' (2), got 2 in 2 to 2");
}

TEST(IndexError, DynamicIntoStatic) {
  Parts s;
  EXPECT_EQ(messageOf([&] { s.cache(s.b, s.t, s.t); }),
            "index 3 of kv(batch, token, token) must stay within dimension 'key' (576), got token, whose "
            "range is not "
            "known");
}

TEST(IndexError, DynamicDimensionTakesItself) {
  Parts s;
  EXPECT_EQ(messageOf([&] { s.length(s.t); }), "index 1 of lengths(token) goes into the dynamic dimension "
                                               "'batch', which takes that dimension itself or "
                                               "an index read from an input, got token");
  EXPECT_EQ(messageOf([&] { s.cache(s.b, s.t + 1, s.d); }),
            "index 2 of kv(batch, token + 1, key) goes into the dynamic dimension 'token', which takes that "
            "dimension "
            "itself or an index read from an input, got token + 1");
}

TEST(IndexError, Float) {
  Parts s;
  EXPECT_EQ(messageOf([&] { s.cache(s.b, s.t, toFloat(s.v)); }),
            "index 3 of kv(batch, token, toFloat(value)) must be an integer, got toFloat(value) of type f32");
}

//===- Element types ----------------------------------------------------------------------------------===//

TEST(TypeError, MixedClasses) {
  Parts s;
  EXPECT_EQ(
      messageOf([&] { s.scale *s.t; }),
      "'scale * token' needs integers or floats on both sides, got f32 and i32; convert the integer with "
      "toFloat()");
  EXPECT_EQ(
      messageOf([&] { (void)(s.t < s.scale); }),
      "'token < scale' needs integers or floats on both sides, got i32 and f32; convert the integer with "
      "toFloat()");
  EXPECT_EQ(messageOf([&] { select(s.t < 1, s.scale, s.t); }),
            "'select(token < 1, scale, token)' needs integers or floats on both sides, got f32 and i32; "
            "convert the "
            "integer with toFloat()");
}

TEST(TypeError, ArithmeticOnConditions) {
  Parts s;
  EXPECT_EQ(messageOf([&] { (s.t < 1) + 1; }), "'(token < 1) + 1' needs numbers on both sides, got the "
                                               "condition token < 1; use select(condition, a, b)");
}

TEST(TypeError, IntegerDivision) {
  Parts s;
  const char *wayOut = "; for a quotient of numbers convert both with toFloat()";
  EXPECT_EQ(
      messageOf([&] { s.h / s.q; }),
      std::string("'head / query' divides integers, which needs a positive constant divisor, got query") +
          wayOut);
  EXPECT_EQ(messageOf([&] { s.h / 0; }),
            std::string("'head / 0' divides integers, which needs a positive constant divisor, got 0") +
                wayOut);
}

TEST(TypeError, FunctionsNeedFloats) {
  Parts s;
  EXPECT_EQ(messageOf([&] { exp(s.t); }),
            "exp() needs a float, got token of type i32; convert it with toFloat()");
  EXPECT_EQ(messageOf([&] { toFloat(s.scale); }), "toFloat() needs an integer, got scale of type f32");
  EXPECT_EQ(messageOf([&] { -(s.t < 1); }), "negation needs a number, got token < 1 of type bool");
}

TEST(TypeError, ConditionsMustBeBoolean) {
  Parts s;
  EXPECT_EQ(messageOf([&] { where(s.t, s.score()); }),
            "where() needs a condition, got token of type i32; compare it, for example t < length(b)");
  EXPECT_EQ(messageOf([&] { select(s.scale, 1, 2); }),
            "select() needs a condition, got scale of type f32; compare it, for example t < length(b)");
  EXPECT_EQ(messageOf([&] { s.t < 1 && s.t; }),
            "'&&' needs a condition, got token of type i32; compare it, for example t < length(b)");
}

//===- Contraction and softmax ------------------------------------------------------------------------===//

TEST(SumError, SameExtentOnBothSides) {
  Parts s;
  EXPECT_EQ(messageOf([&] { sum(s.d, s.query(s.b, s.q, s.h, s.d) * s.cache(s.b, s.t, s.v)); }),
            "sum over 'key' (576) needs the same extent on both sides, got kv(batch, token, value) with 512; "
            "index it "
            "with 'key'");
}

TEST(SumError, BodyDependsOnIt) {
  Parts s;
  EXPECT_EQ(messageOf([&] { sum(s.t, s.length(s.b)); }),
            "sum over 'token' needs a body that depends on it, got lengths(batch); multiply by the extent if "
            "that is "
            "meant");
}

TEST(SumError, NoneOrTwice) {
  Parts s;
  EXPECT_EQ(messageOf([&] { sum(std::vector<Dim>{}, s.score()); }), "sum needs at least one dimension");
  EXPECT_EQ(messageOf([&] { sum({s.h, s.h}, s.score()); }), "sum names dimension 'head' twice");
}

TEST(SumError, OfConditions) {
  Parts s;
  EXPECT_EQ(messageOf([&] { sum(s.t, s.t < s.length(s.b)); }),
            "sum over 'token' needs numbers, got the condition token < lengths(batch); use select(condition, "
            "1, 0)");
}

TEST(SoftmaxError, AxisTheScoreDoesNotHave) {
  Parts s;
  EXPECT_EQ(messageOf([&] { softmax(s.v, s.scale * toFloat(s.t)); }),
            "softmax over 'value' (512) needs a score that depends on it, got scale * toFloat(token)");
}

TEST(SoftmaxError, ScoreMustBeFloat) {
  Parts s;
  EXPECT_EQ(messageOf([&] { softmax(s.t, where(s.t < 4, Expr(s.t))); }),
            "softmax over 'token' needs a score of floats, got token of type i32");
}

TEST(SoftmaxError, ReadAtItsOwnAxis) {
  Parts s;
  EXPECT_EQ(messageOf([&] { softmax(s.t, s.score())(s.h); }),
            "softmax over 'token' is read at its own axis, got 'head' (8)");
}

//===- Outputs ----------------------------------------------------------------------------------------===//

TEST(OutputError, UnknownDimension) {
  Parts s;
  Kernel k("k");
  EXPECT_EQ(messageOf([&] { k.output("out", f32, {s.b, s.v}) = toFloat(s.length(s.b)); }),
            "kernel 'k', output 'out': dimension 'value' must appear in the expression, got "
            "toFloat(lengths(batch)); remove it from the output");
}

TEST(OutputError, FreeDimensionLeft) {
  Parts s;
  Kernel k("k");
  EXPECT_EQ(messageOf([&] { k.output("out", f32, {s.b}) = toFloat(s.t - s.length(s.b)); }),
            "kernel 'k', output 'out': dimension 'token' of the expression must be one of the output's, got "
            "toFloat(token - lengths(batch)); sum over it, or add it to the output");
}

TEST(OutputError, DimensionTwice) {
  Parts s;
  Kernel k("k");
  EXPECT_EQ(messageOf([&] { k.output("out", i32, {s.b, s.b}) = s.length(s.b); }),
            "kernel 'k', output 'out': names dimension 'batch' twice");
}

TEST(OutputError, ElementType) {
  Parts s;
  Kernel k("k");
  EXPECT_EQ(messageOf([&] { k.output("out", bf16, {s.b}) = s.length(s.b); }),
            "kernel 'k', output 'out': an output of type bf16 needs an expression of its kind, got "
            "lengths(batch) of "
            "type i32");
}

TEST(OutputError, NoOutputs) {
  EXPECT_EQ(messageOf([] { print(Kernel("k")); }), "kernel 'k': needs at least one output");
}

//===- Names ------------------------------------------------------------------------------------------===//

static std::string nameClash(const std::string &output, const Dim &dim, const Expr &value) {
  return messageOf([&] {
    Kernel k("k");
    k.output(output, f32, {dim}) = value;
  });
}

TEST(NameError, OneNameOneThing) {
  Dim i("i", 4), other("i", 4), j("j", 4);
  Tensor x = input("x", f32, {i}), again = input("x", f32, {i});
  const char *wayOut = "; declare it once, or rename one";
  EXPECT_EQ(nameClash("y", i, x(i) * sum(other, input("z", f32, {other})(other))),
            std::string("kernel 'k': name 'i' must mean one thing, got two different dimensions") + wayOut);
  EXPECT_EQ(nameClash("y", i, x(i) * again(i)),
            std::string("kernel 'k': name 'x' must mean one thing, got two different inputs") + wayOut);
  EXPECT_EQ(nameClash("x", i, x(i)),
            std::string("kernel 'k': name 'x' must mean one thing, got output and input") + wayOut);
  EXPECT_EQ(nameClash("y", i, x(i) * param("x", f32)),
            std::string("kernel 'k': name 'x' must mean one thing, got input and parameter") + wayOut);
  EXPECT_EQ(nameClash("y", i, param("s", f32) * x(i) * param("s", f32)),
            std::string("kernel 'k': name 's' must mean one thing, got two different parameters") + wayOut);
  EXPECT_EQ(nameClash("y", j, input("j", f32, {j})(j)),
            std::string("kernel 'k': name 'j' must mean one thing, got dimension and input") + wayOut);
}

TEST(NameError, TwoOutputs) {
  Dim i("i", 4);
  Tensor x = input("x", f32, {i});
  Kernel k("k");
  k.output("y", f32, {i}) = x(i);
  EXPECT_EQ(
      messageOf([&] { k.output("y", f32, {i}) = x(i) + 1; }),
      "kernel 'k': name 'y' must mean one thing, got two different outputs; declare it once, or rename one");
}

TEST(NameError, TableIsNotAnInput) {
  Parts s;
  Paged cache = paged("c", f32, {s.t, s.d}, {.page = 64, .table = "lengths", .length = s.length});
  Kernel k("k");
  EXPECT_EQ(messageOf([&] { k.output("y", f32, {s.b, s.t, s.d}) = cache(s.b, s.t, s.d); }),
            "kernel 'k': name 'lengths' must mean one thing, got input and page table; declare it once, or "
            "rename one");
}

TEST(NameError, SharedTableSharesThePage) {
  Parts s;
  Paged other = paged("other", bf16, {s.t, s.d}, {.page = 32, .table = "block_table", .length = s.length});
  Kernel k("k");
  EXPECT_EQ(
      messageOf(
          [&] { k.output("y", f32, {s.b, s.t}) = sum(s.d, s.cache(s.b, s.t, s.d) * other(s.b, s.t, s.d)); }),
      "kernel 'k': paged inputs 'kv' and 'other' share table 'block_table' and need the same page size and "
      "batch, got pages of 64 and 32 tokens; give each its own table");
}

//===- Models -----------------------------------------------------------------------------------------===//

TEST(MlaError, ImpossibleShapes) {
  EXPECT_EQ(messageOf([] { mlaDecode({}); }), "dimension 'head' needs a positive extent, got 0; leave the "
                                              "extent out if it is known only at run time");
  EXPECT_EQ(messageOf([] { mlaDecode({.heads = 16, .page = 0}); }),
            "paged input 'kv' needs a positive page size in tokens, got 0");
  EXPECT_EQ(
      messageOf([] { mlaDecode({.heads = 16, .value = 640}); }),
      "index 3 of kv(batch, token, value) must stay within dimension 'key' (576), got value in 0 to 639");
  EXPECT_EQ(messageOf([] { mlaDecode({.heads = 16, .rope = -8}); }),
            "mla decode: RoPE columns must not be negative, got -8");
}
