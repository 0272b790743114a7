//===- ImportTest.cpp - Descriptions as modules of the lathe dialect ----------------------------------===//
//
// Imports the MLA model and small descriptions, and looks at the operations, at what the pattern makes of
// them, and at the errors for what has no operation.
//
//===--------------------------------------------------------------------------------------------------===//
#include "KernelText.h"

#include "lathe/codegen/Frontend/AttentionPattern.h"
#include "lathe/codegen/Frontend/Import.h"
#include "lathe/dsl/models/Mla.h"
#include "lathe/support/Error.h"

#include "mlir/IR/Verifier.h"

#include <gtest/gtest.h>

#include <random>

using namespace lathe;
using namespace lathe::dsl;
using lathe::codegen::AttentionPattern;

namespace {
class Import : public testing::Test {
protected:
  Import() { context_.loadAllAvailableDialects(); }

  std::string text(const Kernel &kernel) {
    module_ = codegen::importKernel(kernel, context_);
    std::string result;
    llvm::raw_string_ostream stream(result);
    module_->print(stream);
    return result;
  }

  AttentionPattern match(const Kernel &kernel) {
    module_ = codegen::importKernel(kernel, context_);
    return codegen::matchAttention(test::kernelOf(*module_));
  }

  template <typename Op>
  int count() {
    int found = 0;
    module_->walk([&](Op) { ++found; });
    return found;
  }

  template <typename Action>
  void refused(Action action, std::initializer_list<std::string> parts) {
    try {
      action();
      FAIL() << "was taken";
    } catch (const UserError &error) {
      for (const std::string &part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
            << error.what() << "\nlacks: " << part;
    }
  }

  mlir::MLIRContext context_{test::dialects()};
  mlir::OwningOpRef<mlir::ModuleOp> module_;
};

/// The pieces of paged attention, for descriptions that differ from MLA in one line.
struct Pieces {
  Dim b{"sequence"}, q{"step", 2}, h{"lane", 8}, t{"position"}, d{"feature", 64}, v{"part", 32};
  Tensor query = input("x", bf16, {b, q, h, d});
  Tensor length = input("filled", i32, {b});
  Paged cache = paged("rows", bf16, {t, d}, {.page = 32, .table = "where", .length = length});
  Scalar scale = param("temperature", f32);
  Expr product = sum(d, query(b, q, h, d) * cache(b, t, d));

  Kernel kernel(const Softmax &p) const {
    Kernel k("variant");
    k.output("y", bf16, {b, q, h, v}) = sum(t, p(t) * cache(b, t, v));
    return k;
  }
};
} // namespace

TEST_F(Import, MlaDecodeMatchesWhateverItsShape) {
  unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto below = [&](int limit) { return static_cast<int>(random() % limit); };
  for (int round = 0; round < 10; ++round) {
    MlaShape shape{.heads = 1 + below(128), .latent = 16 * (1 + below(32)), .rope = 16 * (1 + below(4))};
    shape.page = 16 << below(4);
    shape.queryTokens = 1 + below(4);
    shape.causal = below(2) == 1;
    AttentionPattern pattern = match(mlaDecode(shape));
    EXPECT_EQ(pattern.problem.heads, shape.heads);
    EXPECT_EQ(pattern.problem.queryTokens, shape.queryTokens);
    EXPECT_EQ(pattern.problem.keyDim, shape.latent + shape.rope);
    EXPECT_EQ(pattern.problem.valueDim, shape.latent);
    EXPECT_EQ(pattern.problem.page, shape.page);
    EXPECT_TRUE(pattern.pureScale);
    EXPECT_EQ(pattern.scale, "scale");
    EXPECT_EQ(pattern.query, "q");
    EXPECT_EQ(pattern.cache, "kv");
    EXPECT_EQ(pattern.table, "block_table");
    EXPECT_EQ(pattern.length, "lengths");
    EXPECT_EQ(pattern.output, "out");
    EXPECT_EQ(pattern.logSumExp, "lse");
    bool behind = shape.causal && shape.queryTokens > 1;
    EXPECT_EQ(pattern.masked, behind);
    EXPECT_EQ(pattern.boundOffset, behind ? 1 - shape.queryTokens : 0);
    EXPECT_EQ(pattern.boundQueryFactor, behind ? 1 : 0);
  }
}

TEST_F(Import, EachSubExpressionOnce) {
  std::string once = text(mlaDecode({.heads = 16, .queryTokens = 2}));
  EXPECT_EQ(count<ir::InputOp>(), 2);
  EXPECT_EQ(count<ir::PagedOp>(), 1);
  EXPECT_EQ(count<ir::ParamOp>(), 1);
  EXPECT_EQ(count<ir::ContractOp>(), 2);
  EXPECT_EQ(count<ir::MapOp>(), 1);
  EXPECT_EQ(count<ir::SoftmaxOp>(), 1);
  EXPECT_EQ(count<ir::SliceOp>(), 1);
  EXPECT_EQ(count<ir::OutputOp>(), 2);
  EXPECT_EQ(text(mlaDecode({.heads = 16, .queryTokens = 2})), once);
}

TEST_F(Import, TextParsesBack) {
  std::string once = text(mlaDecode({.heads = 5, .queryTokens = 3}));
  auto again = mlir::parseSourceString<mlir::ModuleOp>(once, &context_);
  ASSERT_TRUE(again);
  std::string twice;
  llvm::raw_string_ostream stream(twice);
  again->print(stream);
  EXPECT_EQ(once, twice);
}

TEST_F(Import, ScaleInsideTheSumMovesOut) {
  Pieces x;
  Expr inside = sum(x.d, x.query(x.b, x.q, x.h, x.d) * x.scale * x.cache(x.b, x.t, x.d));
  AttentionPattern pattern = match(x.kernel(softmax(x.t, inside)));
  EXPECT_TRUE(pattern.pureScale);
  EXPECT_EQ(pattern.scale, "temperature");
}

TEST_F(Import, SoftCapIsOneMap) {
  Pieces x;
  Scalar cap = param("cap", f32);
  AttentionPattern pattern = match(x.kernel(softmax(x.t, cap * tanh(x.product * x.scale / cap))));
  EXPECT_FALSE(pattern.pureScale);
  ASSERT_EQ(pattern.maps.size(), 1u);
  EXPECT_EQ(pattern.maps.front().getInputs().size(), 3u);
  EXPECT_EQ(pattern.logSumExp, "");
}

TEST_F(Import, ComparisonsOfAnyFormMatch) {
  Pieces x;
  Expr length = x.length(x.b);
  Expr conditions[] = {
      x.t<length - (1 - Expr(x.q)), !(x.t >= length - 1 + x.q), x.t + 1 <= length + x.q - 1, length - 1> x.t -
      Expr(x.q)};
  for (const Expr &condition : conditions) {
    AttentionPattern pattern = match(x.kernel(softmax(x.t, where(condition, x.product * x.scale))));
    EXPECT_TRUE(pattern.masked);
    EXPECT_EQ(pattern.boundOffset, -1);
    EXPECT_EQ(pattern.boundQueryFactor, 1);
  }
}

TEST_F(Import, RefusedExpressionsAreNamedAsDescribed) {
  Pieces x;
  Expr window = x.t >= x.length(x.b) - 128;
  refused([&] { match(x.kernel(softmax(x.t, where(window, x.product)))); },
          {"no schedule serves a mask that is no upper bound of the paged axis", "filled(sequence) - 128",
           "write the mask as position < length"});
  Tensor bias = input("bias", f32, {x.h});
  refused([&] { match(x.kernel(softmax(x.t, x.product + bias(x.h)))); },
          {"a score expression over more than one array", "bias(lane)"});
}

TEST_F(Import, ElementWiseOperations) {
  Dim r("row"), c("column", 8);
  Tensor a = input("a", bf16, {r, c}), b = input("b", f32, {c});
  Kernel k("pointwise");
  k.output("y", f32, {r, c}) = select(a(r, c) < b(c) || !(r == c), silu(a(r, c)), max(-b(c), exp(log(b(c)))));
  k.output("z", i32, {r, c}) = (r + 3) / 2 * c;
  std::string body = text(k);
  for (const char *op : {"arith.extf", "arith.cmpf olt", "arith.ori", "arith.xori", "arith.cmpi eq",
                         "arith.select", "arith.divf", "arith.maximumf", "arith.negf", "math.exp", "math.log",
                         "arith.floordivsi", "arith.muli", "lathe.index \"row\"", "lathe.index \"column\""})
    EXPECT_NE(body.find(op), std::string::npos) << op << " is missing in\n" << body;
  EXPECT_EQ(count<ir::MapOp>(), 2);
}

TEST_F(Import, SumsThatAreNoContraction) {
  Dim r("row"), c("column", 8), e("inner", 4);
  Tensor a = input("a", bf16, {r, c}), b = input("b", f32, {r, e});
  Kernel k("sums");
  k.output("total", f32, {r}) = sum({c, e}, a(r, c) * b(r, e)); // No factor has both dimensions.
  k.output("mass", f32, {r}) = sum(c, a(r, c));
  text(k);
  EXPECT_EQ(count<ir::SumOp>(), 2);
  EXPECT_EQ(count<ir::ContractOp>(), 0);
}

TEST_F(Import, MaskMayHaveDimensionsThatScoresLack) {
  Dim r("row", 4), t("token", 16);
  Tensor s = input("s", f32, {t});
  Kernel k("broadcast");
  k.output("p", f32, {r, t}) = softmax(t, where(t <= r, s(t)))(t);
  text(k);
  EXPECT_EQ(count<ir::MapOp>(), 1);
  EXPECT_EQ(count<ir::SoftmaxOp>(), 1);
}

TEST_F(Import, ErrorsNameTheExpression) {
  Dim r("row"), c("column", 8), d("square", 8);
  Tensor a = input("a", f32, {r, c}), wide = input("wide", f64, {c, d});
  auto kernelOf = [](const Expr &value) {
    Kernel k("odd");
    k.output("y", value.dtype() == f64 ? f64 : f32, value.freeDims()) = value;
    return k;
  };
  refused([&] { text(kernelOf(a(r, c / 2))); },
          {"kernel odd", "no operation gathers along 'column' by the index 'column / 2'",
           "'a(row, column / 2)'"});
  refused([&] { text(kernelOf(wide(c, c))); },
          {"two dimensions by the one index 'column'", "'wide(column, column)'"});
  refused([&] { text(kernelOf(sum(c, wide(c, d)))); },
          {"accumulated in f32, not in f64", "sum(column, wide"});
}
