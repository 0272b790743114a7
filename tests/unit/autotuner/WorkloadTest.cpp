//===- WorkloadTest.cpp - Distributions and trace files -----------------------------------------------===//
//
// Every trace format with its bad lines, the length-biased drawing of requests, determinism, and the shipped
// distributions against the percentiles of the traces that they were fitted to.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TestFiles.h"

#include "lathe/autotuner/Workload.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <random>

using namespace lathe;
using namespace lathe::autotuner;
using namespace lathe::test;

static double mean(const std::vector<int> &values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

TEST(Workload, ConstantIsConstant) {
  EXPECT_EQ(Workload::parse(3, "4096").draw(), std::vector<int>(3, 4096));
  EXPECT_EQ(Workload::parse(2, "0").draw(), std::vector<int>(2, 0));
}

TEST(Workload, NormalHasItsMomentsAndIsClamped) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const std::vector<int> lengths = Workload::parse(40000, "normal(4096, 512)", seed).draw();
  EXPECT_NEAR(mean(lengths), 4096, 6 * 512 / 200.0);
  double squares = 0;
  for (int length : lengths)
    squares += (length - 4096.0) * (length - 4096.0);
  EXPECT_NEAR(std::sqrt(squares / 40000), 512, 15);
  const LengthStats wide = lengthStats(Workload::parse(2000, "normal(100,1000)", seed).draw());
  EXPECT_EQ(wide.least, 1);
}

TEST(Workload, SameSeedSameLengths) {
  const Workload a = Workload::parse(64, "reasoning", 7), b = Workload::parse(64, "reasoning", 7);
  EXPECT_EQ(a.draw(), b.draw());
  EXPECT_NE(a.draw(0), a.draw(1));
  EXPECT_NE(a.draw(), Workload::parse(64, "reasoning", 8).draw());
  EXPECT_EQ(a.json(), b.json());
  EXPECT_NE(a.json(), Workload::parse(64, "reasoning", 8).json());
}

// 10th, 50th, 90th and 99th percentile and mean of the KV lengths that the traces themselves give. The share
// of drawn lengths below each must be as the fit promises: within 0.04.
TEST(Workload, NamedDistributionsFollowTheirTraces) {
  struct Expected {
    const char *name;
    std::array<int, 4> percentiles;
    double mean;
  };
  const std::array shares{0.10, 0.50, 0.90, 0.99};
  for (const Expected &expected : {Expected{"chat", {403, 1261, 1541, 4188}, 1227},
                                   Expected{"reasoning", {372, 1737, 9701, 26903}, 3789}}) {
    const std::vector<int> lengths = Workload::parse(60000, expected.name, 1).draw();
    EXPECT_NEAR(mean(lengths) / expected.mean, 1, 0.03) << expected.name;
    for (size_t i = 0; i < shares.size(); ++i) {
      const auto below = std::count_if(lengths.begin(), lengths.end(),
                                       [&](int length) { return length <= expected.percentiles[i]; });
      EXPECT_NEAR(double(below) / double(lengths.size()), shares[i], 0.04)
          << expected.name << " " << shares[i];
    }
  }
  for (const LogNormalMixture &mixture : namedDistributions()) {
    double weights = 0;
    for (const LogNormalMixture::Part &part : mixture.parts)
      weights += part.weight;
    EXPECT_NEAR(weights, 1, 1e-3) << mixture.name;
    EXPECT_FALSE(mixture.credit.empty());
  }
}

TEST(Workload, RejectsWhatItCannotServe) {
  EXPECT_HAS(userError([] { Workload::parse(0, "16"); }), "batch");
  EXPECT_HAS(userError([] { Workload::parse(1, "-5"); }), "-5");
  EXPECT_HAS(userError([] { Workload::parse(1, "normal(4096)"); }), "normal(mean,stddev)");
  EXPECT_HAS(userError([] { Workload::parse(1, "normal(0,1)"); }), "mean");
  EXPECT_HAS(userError([] { Workload::parse(1, "normal(nan,1)"); }), "mean");
  EXPECT_HAS(userError([] { Workload::parse(1, "no-such-file.csv"); }), "reasoning");
}

TEST(Trace, AzureCsv) {
  TemporaryFolder folder;
  const auto path =
      folder.write("conv.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46,374,44\r\n"
                               "2023-11-16 18:15:50,396,109\r\n");
  const Trace trace = readTrace(path);
  EXPECT_EQ(trace.format, TraceFormat::AzureCsv);
  ASSERT_EQ(trace.requests.size(), 2u);
  EXPECT_EQ(trace.requests[1].inputTokens, 396);
  EXPECT_EQ(trace.requests[1].outputTokens, 109);
}

TEST(Trace, MooncakeJsonl) {
  TemporaryFolder folder;
  const auto path = folder.write(
      "m.jsonl", R"({"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [1]})"
                 "\n\n"
                 R"({"timestamp": 2, "input_length": 10, "output_length": 3})"
                 "\n");
  const Trace trace = readTrace(path);
  EXPECT_EQ(trace.format, TraceFormat::MooncakeJsonl);
  ASSERT_EQ(trace.requests.size(), 2u);
  EXPECT_EQ(trace.requests[0].inputTokens, 6955);
}

TEST(Trace, HistogramPairFromEitherFile) {
  TemporaryFolder folder;
  const auto in = folder.write("x_input_hist.csv", "tokens,probability\n100,0.25\n200,0.75\n");
  const auto out = folder.write("x_output_hist.csv", "tokens,probability\n10,1e-1\n20,0.9\n");
  const Trace a = readTrace(in), b = readTrace(out);
  EXPECT_EQ(a.format, TraceFormat::HistogramPair);
  EXPECT_EQ(a.hash, b.hash);
  ASSERT_EQ(a.inputs.size(), 2u);
  EXPECT_EQ(a.inputs[1].tokens, 200);
  EXPECT_DOUBLE_EQ(b.outputs[0].weight, 0.1);
  const Workload both = Workload::parse(4, in.string() + "," + out.string());
  EXPECT_EQ(std::get<Trace>(both.source()).hash, a.hash);
}

TEST(Trace, PlainListWithComments) {
  TemporaryFolder folder;
  const Trace trace = readTrace(folder.write("l.txt", "\xEF\xBB\xBF# lengths\n0\n17, 4096\n\n5\n"));
  EXPECT_EQ(trace.format, TraceFormat::LengthList);
  EXPECT_EQ(trace.lengths, (std::vector<int>{0, 17, 4096, 5}));
}

TEST(Trace, BadLinesAreNamedByNumber) {
  TemporaryFolder folder;
  auto errorOf = [&](const std::string &name, const std::string &bytes) {
    const auto path = folder.write(name, bytes);
    const std::string text = userError([&] { readTrace(path); });
    EXPECT_HAS(text, path.string());
    return text;
  };
  const std::string azure = "TIMESTAMP,ContextTokens,GeneratedTokens\nt,1,2\n";
  EXPECT_HAS(errorOf("a.csv", azure + "t,12x,2\n"), "line 3");
  EXPECT_HAS(errorOf("a.csv", azure + "\nt,1\n"), "line 4");
  EXPECT_HAS(errorOf("a.csv", azure + "t,-4,2\n"), "'-4'");
  EXPECT_HAS(errorOf("a.csv", azure + "t,99999999999999999999,2\n"), "line 3");
  const std::string mooncake = "{\"input_length\": 1, \"output_length\": 1}\n";
  EXPECT_HAS(errorOf("m.jsonl", mooncake + mooncake + "{\"input_length\": 1\n"), "line 3");
  EXPECT_HAS(errorOf("m.jsonl", mooncake + "{\"input_length\": 1}\n"), "output_length");
  EXPECT_HAS(errorOf("m.jsonl", mooncake + "{\"input_length\": 1.5, \"output_length\": 1}\n"), "line 2");
  EXPECT_HAS(errorOf("l.txt", "1\n2\nthree\n"), "line 3");
  EXPECT_HAS(errorOf("l.txt", "1\n2.5\n"), "line 2");
  folder.write("h_output.csv", "tokens,probability\n5,1\n");
  EXPECT_HAS(errorOf("h_input.csv", "tokens,probability\n5,1\n6,nan\n"), "line 3");
  EXPECT_HAS(errorOf("h_input.csv", "tokens,probability\n5,1,2\n"), "line 2");
}

TEST(Trace, WholeFileErrors) {
  TemporaryFolder folder;
  auto errorOf = [&](const std::string &name, const std::string &bytes) {
    const auto path = folder.write(name, bytes);
    return userError([&] { readTrace(path); });
  };
  EXPECT_HAS(errorOf("empty.csv", "\n \n"), "empty.csv");
  EXPECT_HAS(errorOf("what.csv", "foo,bar\n1,2\n"), "line 1");
  EXPECT_HAS(errorOf("lone.csv", "tokens,probability\n5,1\n"), "counterpart");
  EXPECT_HAS(errorOf("lone_input.csv", "tokens,probability\n5,1\n"), "lone_output.csv");
  EXPECT_HAS(errorOf("zero.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\nt,5,0\n"), "output tokens");
  EXPECT_HAS(errorOf("head.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n"), "output tokens");
  EXPECT_HAS(userError([&] { readTrace(folder / "missing.csv"); }), "missing.csv");
}

TEST(Trace, RequestsAreDrawnInProportionToOutput) {
  TemporaryFolder folder;
  // Nine of ten steps belong to the second request; the third never decodes.
  const auto path =
      folder.write("b.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\nt,100,10\nt,5000,90\nt,9000,0\n");
  const std::vector<int> lengths = Workload::parse(20000, path.string(), 3).draw();
  int second = 0;
  for (int length : lengths) {
    ASSERT_TRUE((length >= 100 && length < 110) || (length >= 5000 && length < 5090)) << length;
    second += length >= 5000;
  }
  EXPECT_NEAR(second / 20000.0, 0.9, 0.02);
}

TEST(Workload, TextAndJsonNameTheSource) {
  TemporaryFolder folder;
  const auto path = folder.write("l.txt", "16\n32\n");
  const Workload workload = Workload::parse(8, path.string());
  EXPECT_HAS(workload.str(), "l.txt");
  EXPECT_EQ(workload.json()["kind"], "trace");
  EXPECT_EQ(workload.json()["batch"], 8);
  folder.write("l.txt", "16\n33\n");
  EXPECT_NE(Workload::parse(8, path.string()).json(), workload.json())
      << "the hash of the content must count";
}

TEST(Workload, StatsOfLengths) {
  const LengthStats stats = lengthStats({5, 1, 3, 100});
  EXPECT_EQ(stats.total, 109);
  EXPECT_EQ(stats.least, 1);
  EXPECT_EQ(stats.p50, 3);
  EXPECT_EQ(stats.most, 100);
  EXPECT_EQ(lengthStats({}).batch, 0);
}
