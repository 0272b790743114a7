//===- Workload.cpp - Drawing KV lengths --------------------------------------------------------------===//
//
// A decode step sees a request as often as it produces tokens, at a random point of its output: requests are
// drawn in proportion to their output length, and the KV length is input + U(0, output). Random numbers are
// made here from SplitMix64 alone, so that a seed means the same lengths on every machine.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/Workload.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>
#include <numeric>

namespace lathe::autotuner {

static constexpr int maxBatch = 65536;

namespace {
/// SplitMix64 (Steele, Lea, Flood 2014): small, seedable by any number, the same everywhere.
class Random {
public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
  }
  double uniform() { return double(next() >> 11) * 0x1p-53; } // [0, 1)
  double normal() {                                           // Box and Muller.
    const double radius = std::sqrt(-2 * std::log(1 - uniform()));
    return radius * std::cos(2 * std::numbers::pi * uniform());
  }

private:
  uint64_t state_;
};

/// Draws an index in proportion to weights.
class Roulette {
public:
  explicit Roulette(std::vector<double> weights) : sums_(std::move(weights)) {
    std::partial_sum(sums_.begin(), sums_.end(), sums_.begin());
  }
  size_t draw(Random &random) const {
    const double at = random.uniform() * sums_.back();
    const size_t index = size_t(std::upper_bound(sums_.begin(), sums_.end(), at) - sums_.begin());
    return std::min(index, sums_.size() - 1);
  }

private:
  std::vector<double> sums_;
};
} // namespace

static UserError workloadError(std::string rule, std::string value) {
  std::string names;
  for (const LogNormalMixture &mixture : namedDistributions())
    names += mixture.name + ", ";
  return UserError(
      Fault{"workload", std::move(rule), std::move(value),
            fmt::format("give a number of tokens, normal(mean,stddev), {}or a trace file", names)});
}

// Fitted by expectation maximisation to the KV lengths that the traces give under the rule above (largest
// difference of the cumulative distributions: chat 0.032, reasoning 0.004).
const std::vector<LogNormalMixture> &namedDistributions() {
  static const std::vector<LogNormalMixture> distributions{
      {.name = "chat",
       .credit = "fitted to AzureLLMInferenceTrace_conv, Azure/AzurePublicDataset, CC-BY-4.0",
       .parts = {{0.2203, 5.8996, 0.5078}, {0.7154, 7.1627, 0.1204}, {0.0643, 8.0200, 0.3495}},
       .maxTokens = 16384},
      {.name = "reasoning",
       .credit = "fitted to data/reason/deepseek-r1, alibaba/ServeGen, Apache-2.0",
       .parts = {{0.2792, 6.4357, 0.9989}, {0.3618, 7.1381, 0.7286}, {0.3590, 8.7272, 0.7439}},
       .maxTokens = 131072},
  };
  return distributions;
}

static int toTokens(double tokens, int least, int most) {
  return int(std::clamp(std::nearbyint(tokens), double(least), double(most)));
}

static std::vector<int> drawRequests(const Trace &trace, int batch, Random &random) {
  std::vector<double> weights;
  for (const Request &request : trace.requests)
    weights.push_back(request.outputTokens);
  const Roulette roulette(std::move(weights));
  std::vector<int> lengths;
  for (int i = 0; i < batch; ++i) {
    const Request &request = trace.requests[roulette.draw(random)];
    lengths.push_back(std::max(1, request.inputTokens + int(random.uniform() * request.outputTokens)));
  }
  return lengths;
}

static std::vector<int> drawHistograms(const Trace &trace, int batch, Random &random) {
  std::vector<double> inputWeights, outputWeights;
  for (const LengthBin &bin : trace.inputs)
    inputWeights.push_back(bin.weight);
  for (const LengthBin &bin : trace.outputs)
    outputWeights.push_back(bin.weight * bin.tokens);
  const Roulette inputs(std::move(inputWeights)), outputs(std::move(outputWeights));
  std::vector<int> lengths;
  for (int i = 0; i < batch; ++i) {
    const int input = trace.inputs[inputs.draw(random)].tokens;
    const int output = trace.outputs[outputs.draw(random)].tokens;
    lengths.push_back(std::max(1, input + int(random.uniform() * output)));
  }
  return lengths;
}

static std::vector<int> drawTrace(const Trace &trace, int batch, Random &random) {
  if (!trace.requests.empty())
    return drawRequests(trace, batch, random);
  if (!trace.inputs.empty())
    return drawHistograms(trace, batch, random);
  std::vector<int> lengths;
  for (int i = 0; i < batch; ++i)
    lengths.push_back(trace.lengths[size_t(random.uniform() * double(trace.lengths.size()))]);
  return lengths;
}

static std::vector<int> drawMixture(const LogNormalMixture &mixture, int batch, Random &random) {
  std::vector<double> weights;
  for (const LogNormalMixture::Part &part : mixture.parts)
    weights.push_back(part.weight);
  const Roulette roulette(std::move(weights));
  std::vector<int> lengths;
  for (int i = 0; i < batch; ++i) {
    const LogNormalMixture::Part &part = mixture.parts[roulette.draw(random)];
    lengths.push_back(toTokens(std::exp(part.mu + part.sigma * random.normal()), 1, mixture.maxTokens));
  }
  return lengths;
}

std::vector<int> Workload::draw(uint64_t round) const {
  Random random(seed_ * 0xD1342543DE82EF95ull + round);
  if (auto *constant = std::get_if<ConstantLength>(&source_))
    return std::vector<int>(size_t(batch_), constant->tokens);
  if (auto *mixture = std::get_if<LogNormalMixture>(&source_))
    return drawMixture(*mixture, batch_, random);
  if (auto *trace = std::get_if<Trace>(&source_))
    return drawTrace(*trace, batch_, random);
  const NormalLength &normal = std::get<NormalLength>(source_);
  std::vector<int> lengths;
  for (int i = 0; i < batch_; ++i)
    lengths.push_back(toTokens(normal.mean + normal.stddev * random.normal(), 1, maxTraceTokens));
  return lengths;
}

Workload::Workload(int batch, Source source, uint64_t seed)
    : batch_(batch), source_(std::move(source)), seed_(seed) {
  if (batch < 1 || batch > maxBatch)
    throw UserError(Fault{"workload", fmt::format("batch must be 1 to {}", maxBatch), std::to_string(batch),
                          "set --batch"});
  if (auto *constant = std::get_if<ConstantLength>(&source_))
    if (constant->tokens < 0 || constant->tokens > maxTraceTokens)
      throw workloadError(fmt::format("tokens must be 0 to {}", maxTraceTokens),
                          std::to_string(constant->tokens));
  if (auto *normal = std::get_if<NormalLength>(&source_))
    if (!(normal->mean > 0 && normal->mean <= maxTraceTokens && normal->stddev >= 0 &&
          normal->stddev <= maxTraceTokens))
      throw workloadError("mean must be positive and stddev not negative",
                          fmt::format("normal({}, {})", normal->mean, normal->stddev));
}

/// The whole text as a number, or nothing.
template <class Number>
static bool parseNumber(std::string_view text, Number &number) {
  while (!text.empty() && text.front() == ' ')
    text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ')
    text.remove_suffix(1);
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && !text.empty() && end == text.data() + text.size();
}

static NormalLength parseNormal(const std::string &text) {
  const size_t open = text.find('('), comma = text.find(',');
  NormalLength normal;
  if (comma != text.npos && text.back() == ')' &&
      parseNumber(std::string_view(text).substr(open + 1, comma - open - 1), normal.mean) &&
      parseNumber(std::string_view(text).substr(comma + 1, text.size() - comma - 2), normal.stddev))
    return normal;
  throw workloadError("a normal distribution is written normal(mean,stddev)", text);
}

static Trace parseFiles(const std::string &text) {
  std::error_code ignored;
  if (std::filesystem::exists(text, ignored))
    return readTrace(text);
  if (size_t comma = text.find(',');
      comma != text.npos && std::filesystem::exists(text.substr(0, comma), ignored))
    return readHistogramPair(text.substr(0, comma), text.substr(comma + 1));
  throw workloadError("no such length, distribution or file", fmt::format("'{}'", text));
}

Workload Workload::parse(int batch, const std::string &text, uint64_t seed) {
  if (int tokens = 0; parseNumber(text, tokens))
    return Workload(batch, ConstantLength{tokens}, seed);
  if (text.starts_with("normal("))
    return Workload(batch, parseNormal(text), seed);
  for (const LogNormalMixture &mixture : namedDistributions())
    if (text == mixture.name)
      return Workload(batch, mixture, seed);
  return Workload(batch, parseFiles(text), seed);
}

std::string Workload::str() const {
  std::string lengths;
  if (auto *constant = std::get_if<ConstantLength>(&source_))
    lengths = fmt::format("{} tokens each", constant->tokens);
  else if (auto *normal = std::get_if<NormalLength>(&source_))
    lengths = fmt::format("normal({}, {})", normal->mean, normal->stddev);
  else if (auto *mixture = std::get_if<LogNormalMixture>(&source_))
    lengths = fmt::format("{} ({})", mixture->name, mixture->credit);
  else
    lengths =
        fmt::format("trace {} ({})", std::get<Trace>(source_).label, name(std::get<Trace>(source_).format));
  return fmt::format("batch {}, {}", batch_, lengths);
}

nlohmann::json Workload::json() const {
  if (auto *constant = std::get_if<ConstantLength>(&source_))
    return {{"kind", "constant"}, {"batch", batch_}, {"tokens", constant->tokens}};
  nlohmann::json json{{"batch", batch_}, {"seed", seed_}};
  if (auto *normal = std::get_if<NormalLength>(&source_))
    json.update({{"kind", "normal"}, {"mean", normal->mean}, {"stddev", normal->stddev}});
  else if (auto *mixture = std::get_if<LogNormalMixture>(&source_))
    json.update({{"kind", "named"}, {"name", mixture->name}});
  else
    json.update({{"kind", "trace"},
                 {"format", name(std::get<Trace>(source_).format)},
                 {"file", std::get<Trace>(source_).label},
                 {"hash", std::get<Trace>(source_).hash}});
  return json;
}

LengthStats lengthStats(const std::vector<int> &lengths) {
  if (lengths.empty())
    return {};
  std::vector<int> sorted = lengths;
  std::sort(sorted.begin(), sorted.end());
  LengthStats stats{.batch = int(sorted.size())};
  stats.total = std::accumulate(sorted.begin(), sorted.end(), int64_t(0));
  stats.mean = double(stats.total) / stats.batch;
  stats.least = sorted.front();
  stats.p50 = sorted[(sorted.size() - 1) / 2];
  stats.p90 = sorted[(sorted.size() - 1) * 9 / 10];
  stats.most = sorted.back();
  return stats;
}

void to_json(nlohmann::json &json, const LengthStats &stats) {
  json = {{"batch", stats.batch}, {"total", stats.total}, {"mean", stats.mean}, {"least", stats.least},
          {"p50", stats.p50},     {"p90", stats.p90},     {"most", stats.most}};
}

} // namespace lathe::autotuner
