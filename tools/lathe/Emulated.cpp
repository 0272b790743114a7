//===- Emulated.cpp - What the emulator saw, for people and programs ---------------------------------===//
//
// One list of counters with a name for programs and words for people, so that no counter is printed in one
// form and forgotten in the other.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Emulated.h"

#include "Output.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

using namespace lathe;
using namespace lathe::tools;
using runtime::emulator::CodePlace;
using runtime::emulator::Counters;
using runtime::emulator::Finding;
using runtime::emulator::FindingList;
using runtime::emulator::LaunchRecord;
using runtime::emulator::Mix;

namespace {
/// A counter in the words of programs and of people. A row without a counter is a heading.
struct CounterRow {
  const char *key, *words;
  uint64_t Counters::*counter = nullptr;
};
} // namespace

static constexpr CounterRow counterRows[] = {
    {"", "bytes between global and shared memory"},
    {"tmaLoads", "TMA loads (boxes)", &Counters::tmaLoads},
    {"tmaLoadBytes", "TMA bytes read", &Counters::tmaLoadBytes},
    {"tmaFilledBytes", "TMA bytes filled with 0", &Counters::tmaFilledBytes},
    {"tmaMulticastBytes", "TMA bytes to further CTAs", &Counters::tmaMulticastBytes},
    {"tmaStores", "TMA stores", &Counters::tmaStores},
    {"tmaStoreBytes", "TMA bytes written", &Counters::tmaStoreBytes},
    {"", "bytes by ordinary instructions"},
    {"globalLoadBytes", "global bytes read", &Counters::globalLoadBytes},
    {"globalLoadSectors", "global sectors read", &Counters::globalLoadSectors},
    {"globalStoreBytes", "global bytes written", &Counters::globalStoreBytes},
    {"globalStoreSectors", "global sectors written", &Counters::globalStoreSectors},
    {"sharedLoadBytes", "shared bytes read", &Counters::sharedLoadBytes},
    {"sharedStoreBytes", "shared bytes written", &Counters::sharedStoreBytes},
    {"sharedAccesses", "shared passes without conflicts", &Counters::sharedAccesses},
    {"bankConflicts", "further passes: bank conflicts", &Counters::bankConflicts},
    {"atomics", "atomics (lanes)", &Counters::atomics},
    {"", "products"},
    {"wgmmas", "WGMMA operations", &Counters::wgmmas},
    {"wgmmaFlops", "WGMMA FLOP", &Counters::wgmmaFlops},
    {"mmas", "mma.sync operations", &Counters::mmas},
    {"mmaFlops", "mma.sync FLOP", &Counters::mmaFlops},
    {"", "waiting (warps)"},
    {"barrierWaits", "mbarrier waits", &Counters::barrierWaits},
    {"barrierStalls", "mbarrier stalls among them", &Counters::barrierStalls},
    {"namedBarriers", "named barrier arrivals", &Counters::namedBarriers},
    {"clusterBarriers", "cluster barrier arrivals", &Counters::clusterBarriers},
};

//===- Programs --------------------------------------------------------------------------------------===//

static nlohmann::json placeJson(const CodePlace &place) {
  if (place.line == 0)
    return nullptr;
  return {{"line", place.line},
          {"instruction", place.instruction},
          {"tileLine", place.tileLine},
          {"operation", place.operation}};
}

nlohmann::json lathe::tools::toJson(const FindingList &list) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Finding &finding : list.findings)
    rows.push_back({{"kind", name(finding.kind)},
                    {"kernel", finding.kernel},
                    {"what", finding.what},
                    {"wayOut", finding.wayOut},
                    {"address", finding.address},
                    {"agent", finding.agent},
                    {"count", finding.count},
                    {"place", placeJson(finding.place)},
                    {"other", placeJson(finding.other)}});
  return rows;
}

nlohmann::json lathe::tools::toJson(const LaunchRecord &launch) {
  nlohmann::json counters = {{"ctas", launch.counters.ctas}}, instructions = nlohmann::json::object();
  for (const CounterRow &row : counterRows)
    if (row.counter)
      counters[row.key] = launch.counters.*row.counter;
  for (int mix = 0; mix < runtime::emulator::mixKinds; ++mix)
    instructions[std::string(name(Mix(mix)))] = launch.counters.instructions[size_t(mix)];
  counters["warpInstructions"] = launch.counters.warpInstructions();
  counters["instructions"] = instructions;
  return {{"kernel", launch.kernel},
          {"grid", {launch.gridX, launch.gridY, launch.gridZ}},
          {"threads", launch.threads},
          {"sharedBytes", launch.sharedBytes},
          {"hostMilliseconds", launch.hostMilliseconds},
          {"counters", counters}};
}

nlohmann::json lathe::tools::toJson(const reference::Comparison &comparison) {
  return {{"passed", comparison.passed},
          {"worstRatio", comparison.worstRatio},
          {"cosineDifference", comparison.cosineDifference},
          {"cosineAllowed", comparison.cosineAllowed},
          {"worstLse", comparison.worstLse},
          {"message", comparison.message}};
}

nlohmann::json lathe::tools::toJson(const reference::Agreement &agreement) {
  return {{"passed", agreement.passed},
          {"elements", agreement.elements},
          {"identical", agreement.identical},
          {"worstRatio", agreement.worstRatio},
          {"meanRatio", agreement.meanRatio},
          {"worstUlps", agreement.worstUlps},
          {"worstLseRatio", agreement.worstLseRatio},
          {"message", agreement.message}};
}

//===- People ----------------------------------------------------------------------------------------===//

std::string lathe::tools::findingCount(const FindingList &list) {
  const uint64_t count = list.findings.size() + list.dropped;
  return count == 0 ? "no findings" : fmt::format("{} finding{}", count, count == 1 ? "" : "s");
}

std::string lathe::tools::comparisonText(const reference::Comparison &comparison) {
  return fmt::format("out {:>6.3f} of 1  cosine {:>8.1e} of {:.1e}  lse {:>6.3f} of 1", comparison.worstRatio,
                     comparison.cosineDifference, comparison.cosineAllowed, comparison.worstLse);
}

std::string lathe::tools::agreementText(const reference::Agreement &agreement) {
  const double share =
      agreement.elements ? 100.0 * double(agreement.identical) / double(agreement.elements) : 100;
  return fmt::format("same bits {:>7.3f} %  worst {:>6.4f} of its bound  {} ulp  lse {:>6.4f}", share,
                     agreement.worstRatio, agreement.worstUlps, agreement.worstLseRatio);
}

std::string lathe::tools::countersText(const std::vector<LaunchRecord> &launches) {
  std::vector<std::string> header{""};
  for (const LaunchRecord &launch : launches)
    header.push_back(launch.kernel);
  Table table(header);
  auto row = [&](const std::string &words, const std::function<std::string(const LaunchRecord &)> &cell) {
    std::vector<std::string> cells{words};
    for (const LaunchRecord &launch : launches)
      cells.push_back(cell(launch));
    table.add(std::move(cells));
  };
  auto heading = [&](const char *words) { row(words, [](const LaunchRecord &) { return ""; }); };
  auto number = [&](const std::string &words, const std::function<uint64_t(const LaunchRecord &)> &value) {
    row("  " + words, [&](const LaunchRecord &launch) { return grouped(int64_t(value(launch))); });
  };

  heading("launch");
  row("  grid", [](const LaunchRecord &launch) {
    return fmt::format("{} x {} x {}", launch.gridX, launch.gridY, launch.gridZ);
  });
  number("threads of a CTA", [](const LaunchRecord &launch) { return launch.threads; });
  number("dynamic shared bytes of a CTA", [](const LaunchRecord &launch) { return launch.sharedBytes; });
  number("CTAs", [](const LaunchRecord &launch) { return launch.counters.ctas; });
  row("  host ms", [](const LaunchRecord &launch) { return fmt::format("{:.1f}", launch.hostMilliseconds); });
  for (const CounterRow &counter : counterRows)
    if (counter.counter)
      number(counter.words, [&](const LaunchRecord &launch) { return launch.counters.*counter.counter; });
    else
      heading(counter.words);
  heading("instructions (warps)");
  number("all", [](const LaunchRecord &launch) { return launch.counters.warpInstructions(); });
  for (size_t mix = 0; mix < size_t(runtime::emulator::mixKinds); ++mix) {
    std::string words(name(Mix(mix)));
    std::replace(words.begin(), words.end(), '_', ' ');
    number(words, [&](const LaunchRecord &launch) { return launch.counters.instructions[mix]; });
  }
  return table.str();
}
