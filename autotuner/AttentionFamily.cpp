//===- AttentionFamily.cpp - Attention, as the tuner sees it ------------------------------------------===//
//
// The members of AttentionFamily: its part of the database's format and look-up, and of tune().
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/RecordFields.h"
#include "lathe/autotuner/Tune.h"

#include <algorithm>
#include <cmath>

namespace lathe::autotuner {

bool AttentionFamily::sameProblem(const Problem &a, const Problem &b) {
  return problemJson(a) == problemJson(b);
}

nlohmann::json AttentionFamily::problemJson(const Problem &problem) {
  return {{"heads", problem.heads},
          {"queryTokens", problem.queryTokens},
          {"keyDim", problem.keyDim},
          {"valueDim", problem.valueDim},
          {"page", problem.page}};
}

AttentionFamily::Problem AttentionFamily::readProblem(const nlohmann::json &json) {
  Problem problem;
  problem.heads = field<int>(json, "heads");
  problem.queryTokens = field<int>(json, "queryTokens");
  problem.keyDim = field<int>(json, "keyDim");
  problem.valueDim = field<int>(json, "valueDim");
  problem.page = field<int>(json, "page");
  return problem;
}

nlohmann::json AttentionFamily::pointJson(const Point &point) {
  return {{"batch", point.batch}, {"meanTokens", point.meanTokens}};
}

AttentionFamily::Point AttentionFamily::readPoint(const nlohmann::json &json) {
  return {field<int>(json, "batch"), field<double>(json, "meanTokens")};
}

bool AttentionFamily::known(const Point &point) { return point.batch > 0; }

bool AttentionFamily::notAbove(const Point &a, const Point &b) {
  return a.batch <= b.batch && a.meanTokens <= b.meanTokens;
}

bool AttentionFamily::narrow(const Point &low, const Point &high, double factor) {
  return high.batch <= low.batch * factor && high.meanTokens <= std::max(low.meanTokens, 1.0) * factor;
}

double AttentionFamily::octaves(const Point &a, const Point &b) {
  auto between = [](double a, double b) { return std::abs(std::log2(std::max(a, 1.0) / std::max(b, 1.0))); };
  return between(a.batch, b.batch) + between(a.meanTokens, b.meanTokens);
}

std::string AttentionFamily::text(const Point &point) {
  return fmt::format("batch {}, mean {:.0f} tokens", point.batch, point.meanTokens);
}

std::vector<int> AttentionFamily::draw(const Problem &, const Workload &workload) { return workload.draw(); }

LengthStats AttentionFamily::stats(const Sample &sample) { return lengthStats(sample); }

AttentionFamily::Point AttentionFamily::point(const Workload &, const Sample &sample) {
  const LengthStats stats = lengthStats(sample);
  return {stats.batch, stats.mean};
}

SearchSpace AttentionFamily::space(const TuneRequest &request) {
  return buildSearchSpace(request.problem, request.target, request.batchInvariant);
}

Estimate AttentionFamily::predict(const TuneRequest &request, const Config &config, const Sample &sample) {
  return autotuner::estimate(request.problem, config, sample, request.machine);
}

std::vector<std::string> AttentionFamily::groups(const Config &config) {
  std::string group = fmt::format("{} {} {} {}", config.kvTile, codegen::name(config.split), config.cluster,
                                  config.swapOperands);
  // Exchanged, between the rows of a CTA the model is close, and of the combine's carve-out it knows nothing.
  if (config.swapOperands && config.split == codegen::SplitPolicy::Balanced)
    group += fmt::format(" {} {}", config.rowsPerCta, config.combineCarveout);
  return {group};
}

} // namespace lathe::autotuner
