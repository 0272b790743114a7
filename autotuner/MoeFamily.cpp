//===- MoeFamily.cpp - Mixtures of experts, as the tuner sees them ------------------------------------===//
//
// The members of MoeFamily: its part of the database's format and look-up, and of tune().
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/MoeCostModel.h"
#include "lathe/autotuner/MoeWorkload.h"
#include "lathe/autotuner/RecordFields.h"
#include "lathe/autotuner/Tune.h"

#include <algorithm>
#include <cmath>

namespace lathe::autotuner {

using codegen::MoeActivation;
using codegen::MoeRouter;
using codegen::MoeScoring;

static constexpr Names<MoeRouter, 2> routers{{{"given", MoeRouter::Given}, {"logits", MoeRouter::Logits}}};
static constexpr Names<MoeScoring, 3> scorings{
    {{"plain", MoeScoring::Plain}, {"softmax", MoeScoring::Softmax}, {"sigmoid", MoeScoring::Sigmoid}}};
static constexpr Names<MoeActivation, 4> activations{{{"swiglu", MoeActivation::SwiGlu},
                                                      {"silu", MoeActivation::Silu},
                                                      {"gelu", MoeActivation::Gelu},
                                                      {"other", MoeActivation::Other}}};

bool MoeFamily::sameProblem(const Problem &a, const Problem &b) { return problemJson(a) == problemJson(b); }

// Name and scale are no part of a record: they change no time.
static constexpr Names<int MoeFamily::Problem::*, 10> numbers{
    {{"topK", &MoeFamily::Problem::topK},
     {"routedExperts", &MoeFamily::Problem::routedExperts},
     {"groups", &MoeFamily::Problem::groups},
     {"topGroups", &MoeFamily::Problem::topGroups},
     {"experts", &MoeFamily::Problem::experts},
     {"hidden", &MoeFamily::Problem::hidden},
     {"intermediate", &MoeFamily::Problem::intermediate},
     {"halves", &MoeFamily::Problem::halves},
     {"shared", &MoeFamily::Problem::shared},
     {"sharedColumns", &MoeFamily::Problem::sharedColumns}}};
static constexpr Names<bool MoeFamily::Problem::*, 7> truths{
    {{"bias", &MoeFamily::Problem::bias},
     {"sumOfTwoBest", &MoeFamily::Problem::sumOfTwoBest},
     {"renormalize", &MoeFamily::Problem::renormalize},
     {"writesRouting", &MoeFamily::Problem::writesRouting},
     {"ffn", &MoeFamily::Problem::ffn},
     {"partial", &MoeFamily::Problem::partial},
     {"offset", &MoeFamily::Problem::offset}}};

nlohmann::json MoeFamily::problemJson(const Problem &problem) {
  nlohmann::json json{{"router", nameOf(routers, problem.router)},
                      {"scoring", nameOf(scorings, problem.scoring)},
                      {"logits", name(problem.logits)},
                      {"gate", nullptr},
                      {"activation", nameOf(activations, problem.activation)},
                      {"output", name(problem.output)}};
  if (problem.gate)
    json["gate"] = name(*problem.gate);
  for (const auto &[name, member] : numbers)
    json[name] = problem.*member;
  for (const auto &[name, member] : truths)
    json[name] = problem.*member;
  return json;
}

MoeFamily::Problem MoeFamily::readProblem(const nlohmann::json &json) {
  Problem problem;
  problem.router = choice(json, "router", routers);
  problem.scoring = choice(json, "scoring", scorings);
  problem.activation = choice(json, "activation", activations);
  problem.logits = parseDtype(field<std::string>(json, "logits"));
  problem.output = parseDtype(field<std::string>(json, "output"));
  if (!field<nlohmann::json>(json, "gate").is_null())
    problem.gate = parseDtype(field<std::string>(json, "gate"));
  for (const auto &[name, member] : numbers)
    problem.*member = field<int>(json, name);
  for (const auto &[name, member] : truths)
    problem.*member = field<bool>(json, name);
  return problem;
}

nlohmann::json MoeFamily::pointJson(const Point &point) {
  return {{"rows", point.rows}, {"zipf", point.zipf}};
}

MoeFamily::Point MoeFamily::readPoint(const nlohmann::json &json) {
  return {field<int>(json, "rows"), field<double>(json, "zipf")};
}

bool MoeFamily::known(const Point &point) { return point.rows > 0; }

bool MoeFamily::notAbove(const Point &a, const Point &b) { return a.zipf == b.zipf && a.rows <= b.rows; }

bool MoeFamily::narrow(const Point &low, const Point &high, double factor) {
  return high.rows <= low.rows * factor;
}

double MoeFamily::octaves(const Point &a, const Point &b) {
  return std::abs(std::log2(double(std::max(a.rows, 1)) / std::max(b.rows, 1)));
}

std::string MoeFamily::text(const Point &point) {
  return fmt::format("{} row{}, {} routing", point.rows, point.rows == 1 ? "" : "s",
                     MoeWorkload::routingText(point.zipf));
}

MoeLoad MoeFamily::draw(const Problem &problem, const Workload &workload) { return workload.draw(problem); }

MoeLoadStats MoeFamily::stats(const Sample &sample) { return loadStats(sample); }

MoeFamily::Point MoeFamily::point(const Workload &workload, const Sample &) {
  return {workload.rows(), workload.zipf()};
}

MoeSearchSpace MoeFamily::space(const MoeTuneRequest &request) {
  return buildSearchSpace(request.problem, request.target, request.workload.rows());
}

MoeEstimate MoeFamily::predict(const MoeTuneRequest &request, const Config &config, const Sample &sample) {
  return autotuner::estimate(request.problem, config, sample, request.machine);
}

std::vector<std::string> MoeFamily::groups(const Config &config) {
  std::vector<std::string> values;
  const nlohmann::json axes = config;
  for (const auto &[axis, value] : axes.items())
    if (axis != "tokenTile")
      values.push_back(axis + "=" + value.dump());
  return values;
}

} // namespace lathe::autotuner
