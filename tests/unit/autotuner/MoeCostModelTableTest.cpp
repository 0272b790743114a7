//===- MoeCostModelTableTest.cpp - The cost model of experts against committed measurements -----------===//
//
// Every row of the committed tables of `lathe bench moe`, and rows with several configurations that were
// measured in turns: how far the predicted time is off, and how much time is lost by who takes what the model
// likes best of a row's.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TableScore.h"

#include "lathe/autotuner/MoeCostModel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>

using namespace lathe;
using namespace lathe::autotuner;
using nlohmann::json;

static codegen::MoeProblem problemOf(const json &row) {
  codegen::MoeProblem problem;
  problem.ffn = true;
  problem.halves = 2;
  problem.activation = codegen::MoeActivation::SwiGlu;
  problem.hidden = row.at("hidden");
  problem.intermediate = problem.sharedColumns = row.at("intermediate").get<int>();
  problem.routedExperts = problem.experts = row.at("experts").get<int>();
  problem.topK = row.at("topK");
  problem.shared = row.at("shared");
  return problem;
}

class MoeCostModelTable : public testing::TestWithParam<const char *> {};

/// Rows whose routing the model draws otherwise than the benchmark did are left out where it matters: where
/// another number of experts is busy.
TEST_P(MoeCostModelTable, IsNearAndChoosesWell) {
  const Machine &machine =
      machineByName(std::string(GetParam()).find("h200") != std::string::npos ? "h200" : "h100-sxm");
  std::ifstream file(std::string(LATHE_BENCHMARKS) + "/" + GetParam());
  const json table = json::parse(file);
  test::TableScore score(1.4);
  for (const json &row : table.at("rows")) {
    const auto name = row.at("name").get<std::string>();
    const codegen::MoeProblem problem = problemOf(row);
    const MoeLoad load = MoeWorkload(row.at("rows"), row.value("zipf", 0.0)).draw(problem);
    if (std::abs((loadStats(load).busyExperts + problem.shared) / row.at("busyExperts").get<double>() - 1) >
        0.02)
      continue;
    for (const json &candidate : row.value("candidates", json::array({row}))) {
      const auto config = candidate.at("config").get<codegen::MoeConfig>();
      score.add(name, estimate(problem, config, load, machine).totalUs, candidate.at("us").at("median"),
                config.str());
    }
    score.endRow(name);
  }
  score.expect(15, 0.06, 0.02);
}

INSTANTIATE_TEST_SUITE_P(Committed, MoeCostModelTable,
                         testing::Values("moe-h200-candidates.json", "moe-h200-standard.json",
                                         "moe-h100-standard.json"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return !std::isalnum(c); }, '_');
                           return name;
                         });
