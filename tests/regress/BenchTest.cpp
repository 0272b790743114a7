//===- BenchTest.cpp - What lathe bench counts and measures with ---------------------------------------===//
//
// The counted bytes and operations against counting one by one, and the kernels that measure the limits
// against the assembler: they must fit their registers, or they would measure spills.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/Assemble.h"
#include "lathe/tools/lathe/BenchMla.h"
#include "lathe/tools/lathe/Limits.h"

#include <gtest/gtest.h>

#include <random>

using namespace lathe;
using namespace lathe::tools;

TEST(BenchMla, CountsWhatIsAttended) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  reference::AttentionShape shape;
  shape.heads = 1 + int(random() % 128);
  shape.queryTokens = 1 + int(random() % 4);
  std::vector<int> lengths(20);
  for (int &length : lengths)
    length = int(random() % 300);
  lengths[0] = 0;
  for (bool causal : {true, false}) {
    double multiplyAdds = 0, tokens = 0;
    for (int length : lengths) {
      tokens += length;
      for (int query = 0; query < shape.queryTokens; ++query)
        for (int token = 0; token < length; ++token)
          if (!causal || token < length - (shape.queryTokens - 1 - query))
            multiplyAdds += shape.heads * (576.0 + 512.0);
    }
    shape.causal = causal;
    const MlaWork work = countWork(shape, lengths);
    EXPECT_EQ(work.operations, 2 * multiplyAdds);
    EXPECT_EQ(double(work.tokens), tokens);
    const double rows = 20.0 * shape.heads * shape.queryTokens;
    EXPECT_EQ(work.bytes, tokens * 576 * 2 + rows * (576 * 2 + 512 * 2 + 4));
  }
}

TEST(Limits, KernelsAssembleWithoutSpills) {
  if (codegen::chosenAssembler() == "driver")
    GTEST_SKIP() << "no assembler outside the driver on this machine";
  for (const std::string &ptx : {readStreamPtx(), matrixRatePtx()}) {
    const codegen::Assembled assembled = codegen::assemble(ptx, "sm_90a"); // Throws for a spill.
    ASSERT_EQ(assembled.resources.size(), 1u);
    EXPECT_FALSE(assembled.cubin.empty());
  }
  EXPECT_EQ(codegen::countInstructions(matrixRatePtx()).at("wgmma_rate").wgmmaCount, matrixUnroll);
}
