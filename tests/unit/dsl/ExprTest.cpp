// Nodes: element types, free dimensions, what the importer sees.

#include "Expect.h"

#include "lathe/dsl/Node.h"

using namespace lathe;
using namespace lathe::dsl;

TEST(Expr, ElementTypes) {
  Dim i("i", 4);
  Tensor half = input("half", bf16, {i}), single = input("single", f32, {i}), wide = input("wide", f64, {i});
  Tensor count = input("count", i32, {i}), big = input("big", i64, {i});
  EXPECT_EQ(half(i).dtype(), Dtype::BF16);
  EXPECT_EQ((half(i) * half(i)).dtype(), Dtype::F32);
  EXPECT_EQ((half(i) + wide(i)).dtype(), Dtype::F64);
  EXPECT_EQ((single(i) * 2).dtype(), Dtype::F32);
  EXPECT_EQ((count(i) + 1).dtype(), Dtype::I32);
  EXPECT_EQ((count(i) + big(i)).dtype(), Dtype::I64);
  EXPECT_EQ((count(i) < i).dtype(), Dtype::Bool);
  EXPECT_EQ(exp(half(i)).dtype(), Dtype::F32);
  EXPECT_EQ((-half(i)).dtype(), Dtype::F32);
  EXPECT_EQ((-count(i)).dtype(), Dtype::I32);
  EXPECT_EQ(toFloat(big(i)).dtype(), Dtype::F32);
  EXPECT_EQ(sum(i, half(i)).dtype(), Dtype::F32);
  EXPECT_EQ(sum(i, count(i)).dtype(), Dtype::I32);
  EXPECT_EQ(softmax(i, half(i))(i).dtype(), Dtype::F32);
  EXPECT_EQ(softmax(i, wide(i)).logSumExp().dtype(), Dtype::F64);
  EXPECT_EQ(Expr(int64_t(1) << 40).dtype(), Dtype::I64);
}

TEST(Expr, IntegerConstantsBecomeFloatBesideFloats) {
  Dim i("i", 4);
  Expr product = 3 * input("x", f32, {i})(i);
  auto *constant = product.as<BinaryNode>()->operands[0].as<ConstantNode>();
  ASSERT_TRUE(constant);
  EXPECT_EQ(constant->dtype, Dtype::F32);
  EXPECT_EQ(constant->real, 3.0);
}

TEST(Expr, FreeDims) {
  Parts s;
  auto names = [](const Expr &expr) {
    std::string text;
    for (const Dim &dim : expr.freeDims())
      text += dim.name() + " ";
    return text;
  };
  EXPECT_EQ(names(s.query(s.b, s.q, s.h, s.d) * s.cache(s.b, s.t, s.d)), "batch query head key token ");
  EXPECT_EQ(names(s.score()), "batch query head token ");
  Softmax p = softmax(s.t, where(s.t < s.length(s.b), s.score()));
  EXPECT_EQ(names(p(s.t)), "batch query head token ");
  EXPECT_EQ(names(p.logSumExp()), "batch query head ");
  EXPECT_EQ(names(sum({s.q, s.h}, p(s.t))), "batch token ");
  EXPECT_EQ(names(Expr(s.scale)), "");
}

TEST(Expr, MaskMayDependOnMoreThanTheScore) {
  Parts s;
  Tensor bias = input("bias", f32, {s.t});
  Softmax p = softmax(s.t, where(s.t < s.length(s.b), bias(s.t)));
  EXPECT_EQ(p(s.t).freeDims().size(), 2u);
}

TEST(Expr, LoadsSayWhichDimensionIndexes) {
  Parts s;
  Expr row = s.cache(s.b, s.t, s.v);
  auto *load = row.as<LoadNode>();
  ASSERT_TRUE(load);
  EXPECT_TRUE(load->tensor->isPaged());
  EXPECT_EQ(load->tensor->paged->page, 64);
  ASSERT_EQ(load->tensor->indexedDims().size(), 3u);
  EXPECT_TRUE(load->tensor->indexedDims()[0].is(s.b));
  ASSERT_TRUE(load->dimAt(2));
  EXPECT_TRUE(load->dimAt(2)->is(s.v));
  Expr grouped = input("x", f32, {Dim("g", 4)})(s.h / 2);
  EXPECT_EQ(grouped.as<LoadNode>()->dimAt(0), nullptr);
  EXPECT_EQ(row.as<SumNode>(), nullptr);
}

TEST(Kernel, AFailedOutputLeavesTheKernelAsItWas) {
  Parts s;
  Kernel k("k");
  k.output("lse", f32, {s.b, s.h, s.q}) = softmax(s.t, s.score()).logSumExp();
  std::string before = print(k);
  messageOf([&] { k.output("more", f32, {s.b}) = s.score(); });
  messageOf([&] { k.output("kv", f32, {s.b, s.h, s.q, s.t}) = s.score(); });
  EXPECT_EQ(print(k), before);
}
