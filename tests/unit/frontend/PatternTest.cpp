//===- PatternTest.cpp - What the attention pattern takes and what it refuses -------------------------===//
//
// Kernels as text, each one leaving the pattern at one place; names and extents are random, so that nothing
// can be recognised by name.
//
//===--------------------------------------------------------------------------------------------------===//
#include "KernelText.h"

#include "lathe/codegen/Frontend/AttentionPattern.h"
#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <random>

using namespace lathe;
using lathe::codegen::AttentionPattern;
using lathe::test::KernelText;

namespace {
class Pattern : public testing::Test {
protected:
  AttentionPattern match(const KernelText &text) {
    module_ = test::parse(text, context_);
    if (!module_)
      throw std::runtime_error("the text is no legal kernel:\n" + text.expand("kernel"));
    return codegen::matchAttention(test::kernelOf(*module_));
  }

  /// Matching throws a UserError whose message holds each of the parts.
  void refused(const KernelText &text, std::initializer_list<std::string> parts) {
    try {
      match(text);
      FAIL() << "was taken:\n" << text.expand("kernel");
    } catch (const UserError &error) {
      EXPECT_FALSE(error.fault().value.empty());
      EXPECT_FALSE(error.fault().wayOut.empty());
      for (const std::string &part : parts)
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos)
            << error.what() << "\nlacks: " << part;
    }
  }

  mlir::MLIRContext context_{test::dialects()};
  mlir::OwningOpRef<mlir::ModuleOp> module_;
};
} // namespace

TEST_F(Pattern, TakesAnyNamesAndExtents) {
  unsigned seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto below = [&](int limit) { return static_cast<int>(random() % limit); };
  for (int round = 0; round < 20; ++round) {
    KernelText text;
    for (const char *dim : {"B", "Q", "H", "T", "K", "V"})
      text[dim] = std::string(dim) + "dim" + std::to_string(below(1000));
    int heads = 1 + below(128), tokens = 1 + below(4), key = 16 * (2 + below(35));
    int value = key - 1 - below(key - 1), page = 16 << below(4);
    text["heads"] = std::to_string(heads);
    text["queryTokens"] = std::to_string(tokens);
    text["keyDim"] = std::to_string(key);
    text["valueDim"] = std::to_string(value);
    text["page"] = std::to_string(page);
    text["softmax"] = "{unmasked}";
    AttentionPattern pattern = match(text);
    EXPECT_EQ(pattern.problem.name, "decode");
    EXPECT_EQ(pattern.problem.heads, heads);
    EXPECT_EQ(pattern.problem.queryTokens, tokens);
    EXPECT_EQ(pattern.problem.keyDim, key);
    EXPECT_EQ(pattern.problem.valueDim, value);
    EXPECT_EQ(pattern.problem.page, page);
    EXPECT_EQ(pattern.queryDim, text["Q"]);
    EXPECT_EQ(pattern.headDim, text["H"]);
    EXPECT_EQ(pattern.tokenDim, text["T"]);
    EXPECT_EQ(pattern.valueDim, text["V"]);
  }
}

TEST_F(Pattern, NamesArguments) {
  AttentionPattern pattern = match({});
  EXPECT_EQ(pattern.query, "q");
  EXPECT_EQ(pattern.cache, "kv");
  EXPECT_EQ(pattern.table, "table");
  EXPECT_EQ(pattern.length, "lengths");
  EXPECT_EQ(pattern.scale, "scale");
  EXPECT_EQ(pattern.output, "out");
  EXPECT_EQ(pattern.logSumExp, "lse");
  EXPECT_TRUE(pattern.pureScale);
}

TEST_F(Pattern, LogarithmIsOptional) {
  KernelText text;
  text["logarithm"] = "";
  EXPECT_EQ(match(text).logSumExp, "");
}

TEST_F(Pattern, QueryTokensMayBeLeftOut) {
  KernelText text;
  text["qDims"] = "{B}=?, {H}={heads}, {K}={keyDim}";
  text["scoreDims"] = "{B}=?, {H}={heads}, {T}=?";
  text["lseDims"] = "{B}=?, {H}={heads}";
  text["softmax"] = "{unmasked}";
  text["outputs"] = R"(
  lathe.output "out"(%o : !lathe.array<f32, {outDims}>) as bf16 ["{B}", "{H}", "{V}"])";
  text["logarithm"] = R"(
  lathe.output "lse"(%lse : !lathe.array<f32, {lseDims}>) as f32 ["{B}", "{H}"])";
  AttentionPattern pattern = match(text);
  EXPECT_EQ(pattern.problem.queryTokens, 1);
  EXPECT_EQ(pattern.problem.heads, 16);
  EXPECT_EQ(pattern.queryDim, "");
}

TEST_F(Pattern, ValueMayBeTheWholeRow) {
  KernelText text;
  text["V"] = "{K}"; // The value is read as the key's own dimension.
  text["valueDim"] = "576";
  text["slice"] = "";
  text["values"] = R"(
  %o = lathe.contract %p, %kv over ["{T}"] : !lathe.array<f32, {scoreDims}>, !lathe.array<{type}, {rows}>
    -> !lathe.array<f32, {outDims}>)";
  EXPECT_EQ(match(text).problem.valueDim, 576);
}

TEST_F(Pattern, OrderOfSingleDimensionsIsFree) {
  KernelText text;
  text["queryTokens"] = "1";
  text["softmax"] = "{unmasked}";
  text["logarithm"] = R"(
  lathe.output "lse"(%lse : !lathe.array<f32, {lseDims}>) as f32 ["{B}", "{Q}", "{H}"])";
  EXPECT_EQ(match(text).logSumExp, "lse");
}

//===- Masks ------------------------------------------------------------------------------------------===//

TEST_F(Pattern, MasksThatMeanTheSameMatchTheSame) {
  const char *masks[] = {
      // token < length - (1 - query)
      "{mask}",
      // query + length - 1 > token
      R"(
    %one = arith.constant 1 : i32
    %sum = arith.addi %query, %length : i32
    %bound = arith.subi %sum, %one : i32
    %keep = arith.cmpi sgt, %bound, %token : i32)",
      // token + 2 <= length + query
      R"(
    %two = arith.constant 2 : i32
    %next = arith.addi %token, %two : i32
    %sum = arith.addi %length, %query : i32
    %keep = arith.cmpi sle, %next, %sum : i32)",
      // !(token - query >= length - 1)
      R"(
    %one = arith.constant 1 : i32
    %true = arith.constant true
    %ahead = arith.subi %token, %query : i32
    %last = arith.subi %length, %one : i32
    %drop = arith.cmpi sge, %ahead, %last : i32
    %keep = arith.xori %drop, %true : i1)",
      // -1 * (1 - query) - token > -length, in i64
      R"(
    %one = arith.constant 1 : i64
    %minus = arith.constant -1 : i64
    %zero = arith.constant 0 : i64
    %q64 = arith.extsi %query : i32 to i64
    %t64 = arith.extsi %token : i32 to i64
    %n64 = arith.extsi %length : i32 to i64
    %back = arith.subi %one, %q64 : i64
    %shift = arith.muli %minus, %back : i64
    %left = arith.subi %shift, %t64 : i64
    %right = arith.subi %zero, %n64 : i64
    %keep = arith.cmpi sgt, %left, %right : i64)",
  };
  for (const char *mask : masks) {
    SCOPED_TRACE(mask);
    KernelText text;
    if (std::string(mask) != "{mask}")
      text["mask"] = mask;
    AttentionPattern pattern = match(text);
    EXPECT_TRUE(pattern.masked);
    EXPECT_EQ(pattern.boundOffset, -1);
    EXPECT_EQ(pattern.boundQueryFactor, 1);
  }
}

TEST_F(Pattern, MaskThatRepeatsTheLengthIsNone) {
  KernelText text;
  text["mask"] = "\n    %keep = arith.cmpi slt, %token, %length : i32";
  EXPECT_FALSE(match(text).masked);
  text = {};
  text["softmax"] = "{unmasked}";
  EXPECT_FALSE(match(text).masked);
  text = {};
  text["queryTokens"] = "1"; // The query's only coordinate is 0.
  text["mask"] = R"(
    %bound = arith.addi %length, %query : i32
    %keep = arith.cmpi slt, %token, %bound : i32)";
  AttentionPattern pattern = match(text);
  EXPECT_FALSE(pattern.masked);
  EXPECT_EQ(pattern.boundQueryFactor, 0);
}

TEST_F(Pattern, RefusesOtherMasks) {
  std::pair<const char *, const char *> masks[] = {
      {"\n    %keep = arith.cmpi eq, %token, %length : i32", "no upper bound of the paged axis"},
      {"\n    %keep = arith.cmpi sge, %token, %length : i32", "no upper bound of the paged axis"},
      {"\n    %keep = arith.cmpi slt, %query, %length : i32", "no upper bound of the paged axis"},
      {R"(
    %bound = arith.addi %length, %query : i32
    %keep = arith.cmpi slt, %token, %bound : i32)",
       "reaches past the length"},
      {R"(
    %bound = arith.addi %length, %length : i32
    %keep = arith.cmpi slt, %token, %bound : i32)",
       "does not follow the length"},
      {R"(
    %head = lathe.index "{H}" : i32
    %bound = arith.subi %length, %head : i32
    %keep = arith.cmpi slt, %token, %bound : i32)",
       "depends on 'head'"},
      {R"(
    %a = arith.cmpi slt, %token, %length : i32
    %b = arith.cmpi slt, %query, %token : i32
    %keep = arith.andi %a, %b : i1)",
       "no upper bound of the paged axis"},
  };
  for (auto [mask, rule] : masks) {
    KernelText text;
    text["mask"] = mask;
    refused(text, {"kernel decode", "no schedule serves a mask", rule, "write the mask as token < length"});
  }
}

//===- Score expressions ------------------------------------------------------------------------------===//

TEST_F(Pattern, KeepsScoreExpressions) {
  KernelText text;
  text["map"] = R"(
  %t = lathe.map (%x = %s : !lathe.array<f32, {scoreDims}>, %c = %scale : f32) -> !lathe.array<f32, {scoreDims}> {{
    %y = arith.mulf %x, %c : f32
    %z = math.tanh %y : f32
    lathe.yield %z : f32
  }})";
  AttentionPattern pattern = match(text);
  EXPECT_FALSE(pattern.pureScale);
  EXPECT_EQ(pattern.scale, "");
  EXPECT_EQ(pattern.maps.size(), 1u);

  text["map"] = R"(
  %t = lathe.map (%x = %s : !lathe.array<f32, {scoreDims}>) -> !lathe.array<f32, {scoreDims}> {{
    %y = arith.mulf %x, %x : f32
    lathe.yield %y : f32
  }})";
  EXPECT_FALSE(match(text).pureScale);
}

TEST_F(Pattern, ScoreExpressionMayBeMissing) {
  KernelText text;
  text["map"] = "";
  text["softmax"] = R"(
  %p, %lse = lathe.softmax %s over "{T}" : !lathe.array<f32, {scoreDims}>
    -> !lathe.array<f32, {scoreDims}>, !lathe.array<f32, {lseDims}>)";
  AttentionPattern pattern = match(text);
  EXPECT_TRUE(pattern.maps.empty());
  EXPECT_FALSE(pattern.pureScale);
}

TEST_F(Pattern, RefusesScoresOverSeveralArrays) {
  KernelText text;
  text["map"] = R"(
  %bias = lathe.input "bias" : !lathe.array<f32, {H}={heads}>
  %t = lathe.map (%x = %s : !lathe.array<f32, {scoreDims}>, %c = %bias : !lathe.array<f32, {H}={heads}>)
      -> !lathe.array<f32, {scoreDims}> {{
    %y = arith.addf %c, %x : f32
    lathe.yield %y : f32
  }})";
  refused(text, {"score expression over more than one array", "lathe.map"});
}

TEST_F(Pattern, RefusesScoresThatAreNoContraction) {
  KernelText text;
  text["contract"] = R"(
  %s = lathe.input "scores" : !lathe.array<f32, {scoreDims}>)";
  refused(text, {"scores that are not a contraction", "lathe.input \"scores\""});
}

//===- Arguments and outputs --------------------------------------------------------------------------===//

TEST_F(Pattern, RefusesOtherElementTypes) {
  KernelText text;
  text["type"] = "f16";
  refused(text, {"a paged input that is not bf16", "lathe.paged \"kv\""});
}

TEST_F(Pattern, RefusesOtherQueryOrders) {
  KernelText text;
  text["qDims"] = "{Q}={queryTokens}, {B}=?, {H}={heads}, {K}={keyDim}";
  refused(text, {"a query that is not bf16 over [batch, query tokens, heads, key]", "lathe.input \"q\""});
}

TEST_F(Pattern, RefusesMasksOverTheHeadsPlace) {
  KernelText text; // The dimension that the mask walks stands where heads are.
  text["qDims"] = "{B}=?, {H}={heads}, {Q}={queryTokens}, {K}={keyDim}";
  text["outputs"] = R"(
  lathe.output "out"(%o : !lathe.array<f32, {outDims}>) as bf16 ["{B}", "{H}", "{Q}", "{V}"])";
  refused(text, {"a mask whose bound depends on 'query'"});
}

TEST_F(Pattern, RefusesTrailingColumns) {
  KernelText text;
  text["valueDim"] = "64";
  text["slice"] = R"(
  %v = lathe.slice %kv "{K}" [512 to 576] as "{V}" : !lathe.array<{type}, {rows}>
    -> !lathe.array<{type}, {B}=?, {T}=?, {V}={valueDim}>)";
  refused(text, {"anything but leading columns of a paged input", "lathe.contract"});
}

TEST_F(Pattern, RefusesValuesOfAnotherCache) {
  KernelText text;
  text["contract"] = R"(
  %k = lathe.paged "keys" page {page} table "table" lengths(%n : !lathe.array<i32, {B}=?>) : !lathe.array<{type}, {rows}>
  %s = lathe.contract %q, %k over ["{K}"] : !lathe.array<{type}, {qDims}>, !lathe.array<{type}, {rows}>
    -> !lathe.array<f32, {scoreDims}>)";
  refused(text, {"scores over anything but leading columns of 'kv'"});
}

TEST_F(Pattern, RefusesASoftmaxOverAnotherAxis) {
  KernelText text;
  text["softmax"] = R"(
  %p, %lse = lathe.softmax %t over "{H}" : !lathe.array<f32, {scoreDims}>
    -> !lathe.array<f32, {scoreDims}>, !lathe.array<f32, {B}=?, {Q}={queryTokens}, {T}=?>)";
  text["logarithm"] = "";
  refused(text, {"a softmax over 'head', which is not the paged axis 'token'", "lathe.softmax"});
}

TEST_F(Pattern, RefusesFurtherOutputs) {
  KernelText text;
  text["logarithm"] = R"(
  lathe.output "probabilities"(%p : !lathe.array<f32, {scoreDims}>) as f32 ["{B}", "{Q}", "{H}", "{T}"])";
  refused(text, {"an output beside the contraction and the log-sum-exp", "\"probabilities\""});
}

TEST_F(Pattern, RefusesKernelsWithoutTheSecondContraction) {
  KernelText text;
  text["outputs"] = "";
  refused(text, {"a kernel without a contraction of probabilities as output", "\"lse\""});
}

TEST_F(Pattern, RefusesAContractionAlone) {
  KernelText text;
  text["outputs"] = R"(
  lathe.output "out"(%s : !lathe.array<f32, {scoreDims}>) as bf16 ["{B}", "{Q}", "{H}", "{T}"])";
  refused(text, {"a contraction of anything but the probabilities of a softmax", "lathe.contract"});
}

TEST_F(Pattern, RefusesOtherOutputLayouts) {
  KernelText text;
  text["outputs"] = R"(
  lathe.output "out"(%o : !lathe.array<f32, {outDims}>) as bf16 ["{B}", "{H}", "{Q}", "{V}"])";
  refused(text, {"output 'out'", "declare it as bf16 [batch, query, head, value]"});
  text = {};
  text["outputs"] = R"(
  lathe.output "out"(%o : !lathe.array<f32, {outDims}>) as f32 ["{B}", "{Q}", "{H}", "{V}"])";
  refused(text, {"output 'out'", "declare it as bf16 [batch, query, head, value]"});
  text = {};
  text["logarithm"] = R"(
  lathe.output "lse"(%lse : !lathe.array<f32, {lseDims}>) as f32 ["{B}", "{Q}", "{H}"])";
  refused(text, {"output 'lse'", "declare it as f32 [batch, head, query]"});
}
