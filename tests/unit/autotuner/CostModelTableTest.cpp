//===- CostModelTableTest.cpp - The cost model against committed measurements -------------------------===//
//
// Every candidate of a committed table of `lathe bench mla` whose row has one length: how far the predicted
// time is off, and how much time is lost by who takes what the model likes best of a row's candidates. An
// H200's table is what shares of rows were fitted to; an H100's is from earlier kernels.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TableScore.h"

#include "lathe/autotuner/CostModel.h"

#include <gtest/gtest.h>

#include <fstream>
#include <optional>
#include <regex>

using namespace lathe;
using namespace lathe::autotuner;

namespace {
struct Table {
  const char *file, *machine;
};

/// A row of B sequences of N tokens, named "Hh/BxN".
struct Uniform {
  codegen::AttentionProblem problem;
  std::vector<int> lengths;
};
} // namespace

static std::optional<Uniform> uniformRow(const std::string &name) {
  static const std::regex form(R"((\d+)h/(\d+)x(\d+))");
  std::smatch numbers;
  if (!std::regex_match(name, numbers, form))
    return {};
  Uniform row;
  row.problem.heads = std::stoi(numbers[1]), row.problem.keyDim = 576, row.problem.valueDim = 512;
  row.lengths.assign(size_t(std::stoi(numbers[2])), std::stoi(numbers[3]));
  return row;
}

class CostModelTable : public testing::TestWithParam<Table> {};

TEST_P(CostModelTable, IsNearAndChoosesWell) {
  const Machine &machine = machineByName(GetParam().machine);
  std::ifstream file(std::string(LATHE_BENCHMARKS) + "/" + GetParam().file);
  const nlohmann::json table = nlohmann::json::parse(file);
  test::TableScore score(1.5);
  for (const nlohmann::json &row : table.at("rows")) {
    const auto name = row.at("name").get<std::string>();
    const std::optional<Uniform> uniform = uniformRow(name);
    if (!uniform)
      continue;
    for (const nlohmann::json &candidate : row.at("candidates")) {
      const auto config = candidate.at("config").get<codegen::Config>();
      score.add(name, estimate(uniform->problem, config, uniform->lengths, machine).totalUs,
                candidate.at("us").at("median"), config.str());
    }
    score.endRow(name);
  }
  score.expect(20, 0.12, 0.025);
}

INSTANTIATE_TEST_SUITE_P(Committed, CostModelTable,
                         testing::Values(Table{"mla-h200-standard.json", "h200"},
                                         Table{"mla-h100-standard.json", "h100-sxm"}),
                         [](const auto &info) { return std::string(info.param.machine, 4); });
