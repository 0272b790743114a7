//===- MoeWorkload.cpp - Drawing rows of experts ------------------------------------------------------===//
//
// The same law as the random problems of the reference: the logarithms of the chances plus Gumbel noise, of
// which the largest are chosen, draw experts without replacement.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/MoeWorkload.h"

#include "lathe/autotuner/TuningDb.h"
#include "lathe/reference/Random.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <set>

namespace lathe::autotuner {

static constexpr double maxZipf = 10;
static constexpr int mostDrawn = 8192;

MoeWorkload::MoeWorkload(int rows, double zipf, uint64_t seed) : rows_(rows), zipf_(zipf), seed_(seed) {
  if (rows < 1 || rows > maxRows)
    throw UserError(
        Fault{"workload", fmt::format("rows must be 1 to {}", maxRows), std::to_string(rows), "set --rows"});
  if (!(zipf >= 0 && zipf <= maxZipf))
    throw UserError(Fault{"workload", fmt::format("the exponent of a skew must be 0 to {}", maxZipf),
                          fmt::format("{}", zipf), "0 is uniform; 1 is usual"});
}

/// The whole text as a number, or nothing.
template <class Number>
static bool parseNumber(std::string_view text, Number &number) {
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), number);
  return code == std::errc{} && !text.empty() && end == text.data() + text.size();
}

double MoeWorkload::parseRouting(const std::string &text) {
  if (text == "uniform")
    return 0;
  if (text == "zipf")
    return 1;
  std::string_view number = text;
  double zipf = 0;
  const bool call = number.starts_with("zipf(") && number.ends_with(")");
  if (call)
    number.remove_suffix(1);
  if ((call || number.starts_with("zipf:")) && parseNumber(number.substr(5), zipf))
    return MoeWorkload(1, zipf).zipf();
  throw UserError(Fault{"workload", "no such routing", fmt::format("'{}'", text),
                        "give uniform, zipf, zipf(1.2) or zipf:1.2"});
}

std::string MoeWorkload::routingText(double zipf) {
  return zipf > 0 ? fmt::format("zipf({})", zipf) : "uniform";
}

/// log of each expert's chance.
static std::vector<double> logChances(size_t experts, double zipf, reference::Random &random) {
  std::vector<double> chances(experts);
  for (size_t i = 0; i < experts; ++i)
    chances[i] = -zipf * std::log(double(i + 1));
  for (size_t i = experts - 1; i > 0; --i)
    std::swap(chances[i], chances[size_t(random.below(int64_t(i) + 1))]);
  return chances;
}

MoeLoad MoeWorkload::draw(const codegen::MoeProblem &problem) const {
  const size_t experts = size_t(std::max({problem.experts, problem.routedExperts, 1}));
  const size_t chosen = std::min(size_t(std::max(problem.topK, 0)), experts);
  reference::Random random(seed_);
  const std::vector<double> chances = logChances(experts, zipf_, random);
  const int drawn = std::min(rows_, mostDrawn);
  std::vector<int64_t> counts(experts);
  std::vector<std::pair<double, size_t>> keys(experts);
  for (int row = 0; row < drawn; ++row) {
    for (size_t i = 0; i < experts; ++i)
      keys[i] = {-(chances[i] - std::log(-std::log(random.unit() * (1 - 1e-9)))), i};
    std::nth_element(keys.begin(), keys.begin() + ptrdiff_t(chosen), keys.end());
    for (size_t i = 0; i < chosen; ++i)
      ++counts[keys[i].second];
  }
  MoeLoad load;
  load.rows = rows_;
  load.counts.assign(counts.begin(), counts.begin() + ptrdiff_t(std::max(problem.experts, 0)));
  for (int64_t &count : load.counts)
    count = (count * rows_ + drawn / 2) / drawn;
  return load;
}

reference::MoeOptions MoeWorkload::options() const {
  reference::MoeOptions options;
  options.seed = seed_;
  options.spread = zipf_ > 0 ? reference::Spread::Zipf : reference::Spread::Uniform;
  options.zipf = zipf_;
  options.poison = false;
  return options;
}

std::string MoeWorkload::str() const { return MoeFamily::text({rows_, zipf_}); }

nlohmann::json MoeWorkload::json() const {
  nlohmann::json json{{"kind", zipf_ > 0 ? "zipf" : "uniform"}, {"rows", rows_}, {"seed", seed_}};
  if (zipf_ > 0)
    json["exponent"] = zipf_;
  return json;
}

MoeLoadStats loadStats(const MoeLoad &load) {
  MoeLoadStats stats;
  stats.rows = load.rows;
  for (int64_t count : load.counts) {
    stats.choices += count;
    stats.busyExperts += count > 0;
    stats.most = std::max(stats.most, count);
  }
  return stats;
}

void to_json(nlohmann::json &json, const MoeLoadStats &stats) {
  json = {{"rows", stats.rows},
          {"choices", stats.choices},
          {"busyExperts", stats.busyExperts},
          {"most", stats.most}};
}

//===--------------------------------------------------------------------------------------------------===//
// Rows as text
//===--------------------------------------------------------------------------------------------------===//

static int parseCount(std::string_view text, const std::string &whole) {
  int rows = 0;
  if (parseNumber(text, rows) && rows >= 1 && rows <= MoeWorkload::maxRows)
    return rows;
  throw UserError(Fault{
      "workload", fmt::format("rows must be numbers from 1 to {}, or ranges of them", MoeWorkload::maxRows),
      fmt::format("'{}'", whole), "for example --rows 16, --rows 1,16,256 or --rows 1:4096"});
}

/// Both ends and the fewest between them of which neighbours cover what lies between, evenly spread.
static void addRange(std::set<int> &rows, int low, int high) {
  const double widest = std::log2(TuningDb::maxRangeFactor);
  int steps = int(std::ceil(std::log2(double(high) / low) / widest - 1e-9));
  rows.insert(low);
  for (; steps > 0; --steps) { // Rounded up: never further from the end than planned.
    low = int(std::ceil(low * std::pow(double(high) / low, 1.0 / steps) - 1e-6));
    rows.insert(low);
  }
}

std::vector<int> parseRows(const std::string &text) {
  std::set<int> rows;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string_view part = std::string_view(text).substr(at, end - at);
    const size_t colon = part.find(':');
    const int low = parseCount(part.substr(0, colon), text);
    const int high = colon == part.npos ? low : parseCount(part.substr(colon + 1), text);
    if (low > high)
      throw UserError(Fault{"workload", "a range of rows must ascend", fmt::format("'{}'", part),
                            "write the smaller number first"});
    addRange(rows, low, high);
    at = end + 1;
  }
  return {rows.begin(), rows.end()};
}

} // namespace lathe::autotuner
