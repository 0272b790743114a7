//===- ImportRoutingTest.cpp - Routings and gathered weights as operations -----------------------------===//
//
// Imports routings, arrays indexed by data and by constants, and contractions of three factors, and looks at
// the operations; and the errors for what has none.
//
//===--------------------------------------------------------------------------------------------------===//
#include "KernelText.h"

#include "lathe/codegen/Frontend/Import.h"
#include "lathe/dsl/Routing.h"
#include "lathe/dsl/models/Moe.h"
#include "lathe/support/Error.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <gtest/gtest.h>

using namespace lathe;
using namespace lathe::dsl;

namespace {
class ImportRouting : public testing::Test {
protected:
  ImportRouting() { context_.loadAllAvailableDialects(); }

  std::string text(const Kernel &kernel) {
    module_ = codegen::importKernel(kernel, context_);
    std::string result;
    llvm::raw_string_ostream stream(result);
    module_->print(stream);
    return result;
  }

  std::string textOf(const Expr &value) {
    Kernel kernel("k");
    kernel.output("y", isInteger(value.dtype()) ? i32 : f32, value.freeDims()) = value;
    return text(kernel);
  }

  template <typename Op>
  int count() {
    int found = 0;
    module_->walk([&](Op) { ++found; });
    return found;
  }

  std::string messageOf(const Expr &value) {
    try {
      textOf(value);
    } catch (const UserError &error) {
      return error.what();
    }
    ADD_FAILURE() << "was taken";
    return "";
  }

  mlir::MLIRContext context_{test::dialects()};
  mlir::OwningOpRef<mlir::ModuleOp> module_;
};

struct Pieces {
  Dim n{"row"}, e{"expert", 8}, k{"choice", 2}, c{"hidden", 16}, f{"inner", 4};
  Tensor logits = input("logits", f32, {n, e}), bias = input("bias", f32, {e}), w = input("w", bf16, {e, c});
  Tensor ids = input("ids", i32, {n, k});
};
} // namespace

static void expectHas(const std::string &text, const std::string &part) {
  EXPECT_NE(text.find(part), std::string::npos) << text << "\nlacks: " << part;
}

TEST_F(ImportRouting, TopK) {
  Pieces p;
  Routing r = topK(p.k, p.e, sigmoid(p.logits(p.n, p.e)),
                   {.renormalize = true,
                    .scale = 2.5,
                    .bias = p.bias,
                    .groups = 4,
                    .topGroups = 2,
                    .groupScore = GroupScore::SumOfTwoBest});
  Kernel kernel("k");
  kernel.output("e", i32, {p.n, p.k}) = r.expert(p.n, p.k);
  kernel.output("w", f32, {p.n, p.k}) = r.weight(p.n, p.k);
  std::string body = text(kernel);
  expectHas(body, "over \"expert\" choose \"choice\" bias(%");
  expectHas(body,
            "{groups = 4 : i64, renormalize, scale = 2.500000e+00 : f64, sumOfTwoBest, topGroups = 2 : i64}");
  expectHas(body, "-> !lathe.array<i32, row=?, choice=2>, !lathe.array<f32, row=?, choice=2>");
  EXPECT_EQ(count<ir::RouteOp>(), 1);
  EXPECT_EQ(count<ir::MapOp>(), 1);
  body = textOf(topK(p.k, softmax(p.e, p.logits(p.n, p.e))).weight(p.n, p.k));
  expectHas(body, "lathe.route %probabilities over \"expert\" choose \"choice\" : ");
  EXPECT_EQ(count<ir::SoftmaxOp>(), 1);
}

TEST_F(ImportRouting, Given) {
  Pieces p;
  Tensor shares = input("shares", bf16, {p.k});
  Routing r = givenRouting(p.k, p.e, p.ids(p.n, p.k), shares(p.k), {.firstExpert = param("first", i32)});
  std::string body = textOf(r.weight(p.n, p.k));
  expectHas(body, "within 8 first(%");
  EXPECT_EQ(count<ir::GivenOp>(), 1);
  EXPECT_EQ(count<ir::MapOp>(), 1); // Widens and broadcasts the weights.
  body = textOf(givenRouting(p.k, p.e, p.ids(p.n, p.k), 1.0).expert(p.n, p.k));
  expectHas(body, "within 8 : ");
}

TEST_F(ImportRouting, TheLayer) {
  std::string body = text(moeFfn(moeShape(namedModel("deepseek-v2-lite"), 1, 1)));
  EXPECT_EQ(count<ir::RouteOp>(), 1);
  EXPECT_EQ(count<ir::GatherOp>(), 3);
  EXPECT_EQ(count<ir::AtOp>(), 4);
  EXPECT_EQ(count<ir::ContractOp>(), 7); // Two, two; one, one; the weighted sum.
  EXPECT_EQ(count<ir::MapOp>(), 3);      // Two activations, and the sum of both kinds.
  EXPECT_EQ(count<ir::SumOp>(), 0);
  expectHas(
      body,
      "\"half\"[0] : !lathe.array<bf16, expert=64, half=2, inner=1408, hidden=2048> -> !lathe.array<bf16, "
      "expert=64, inner=1408, hidden=2048>");
  expectHas(body, "-> !lathe.array<bf16, row=?, choice=6, hidden=2048, inner=1408>");
  expectHas(body, "over [\"inner\", \"shared\"]");
  auto again = mlir::parseSourceString<mlir::ModuleOp>(body, &context_);
  ASSERT_TRUE(again);
}

TEST_F(ImportRouting, GathersWalkSharedDimensionsTogether) {
  Pieces p;
  Routing r = topK(p.k, p.e, p.logits(p.n, p.e));
  expectHas(
      textOf(p.logits(p.n, r.expert(p.n, p.k))),
      "along \"expert\" by %ids : !lathe.array<f32, row=?, expert=8>, !lathe.array<i32, row=?, choice=2> -> "
      "!lathe.array<f32, row=?, choice=2>");
  Dim o("other");
  Tensor table = input("table", f32, {o, p.c});
  expectHas(textOf(table(p.ids(p.n, p.k) + 1, p.c)), "along \"other\" by %");
  EXPECT_EQ(count<ir::MapOp>(), 1); // The index.
}

TEST_F(ImportRouting, GeluIsWritten) {
  Pieces p;
  textOf(gelu(p.logits(p.n, p.e)));
  EXPECT_EQ(count<mlir::math::ErfOp>(), 1);
}

TEST_F(ImportRouting, ProductsOfThreeBecomeContractions) {
  Pieces p;
  Tensor a = input("a", bf16, {p.n, p.f}), b = input("b", bf16, {p.n, p.f}), v = input("v", bf16, {p.c, p.f});
  textOf(sum(p.f, a(p.n, p.f) * b(p.n, p.f) * v(p.c, p.f)));
  EXPECT_EQ(count<ir::ContractOp>(), 1);
  EXPECT_EQ(count<ir::MapOp>(), 1);
  EXPECT_EQ(count<ir::SumOp>(), 0);
  textOf(sum(p.f, a(p.n, p.f) * b(p.n, p.f) * exp(a(p.n, p.f)))); // None has a dimension of its own.
  EXPECT_EQ(count<ir::ContractOp>(), 0);
  EXPECT_EQ(count<ir::SumOp>(), 1);
}

TEST_F(ImportRouting, ErrorsNameTheExpression) {
  Pieces p;
  Dim b("batch"), t("token"), o("other");
  Paged cache =
      paged("kv", bf16, {t, p.c}, {.page = 16, .table = "table", .length = input("lengths", i32, {b})});
  Tensor far = input("far", i64, {p.n}), self = input("self", i32, {o}),
         table = input("table_of", f32, {o, p.c});
  expectHas(messageOf(cache(b, p.ids(p.n, p.k), p.c)),
            "no operation gathers along 'token' by the index 'ids(row, choice)'");
  expectHas(messageOf(p.w(far(p.n), p.c)), "no operation gathers along 'expert' by the index 'far(row)'");
  expectHas(messageOf(table(self(o), p.c)), "no operation gathers along 'other' by the index 'self(other)'");
  expectHas(messageOf(p.w(min(p.k, 1), p.c)),
            "no operation gathers along 'expert' by the index 'min(choice, 1)'");
}
