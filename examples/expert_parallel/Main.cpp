//===- Main.cpp - A layer of experts over several GPUs -------------------------------------------------===//
//
// Each rank has a GPU, a share of the experts and rows of its own; a step takes rows to their experts and
// results home. Ranks are threads of one process: one command starts them anywhere, no launcher, and every
// thread runs what a rank's process would (Rank.h). The result is judged against float64. Without a GPU the
// ranks are emulators.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Rank.h"

#include "lathe/support/Error.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <thread>

using namespace lathe;
using namespace lathe::examples;
using runtime::Device;

static constexpr int wrong = 1, unusable = 2, skipped = 77;

namespace {
struct Options {
  std::string model, exchange = "auto", nccl;
  int ranks = 1, rows = 16, repeat = 20;
  int hidden = 128, intermediate = 64, experts = 8, topK = 2;
  uint64_t seed = std::random_device()();
  bool orSkip = false;

  bool emulated() const { return runtime::defaultDeviceKind() == runtime::DeviceKind::Emulator; }
  bool throughHost() const {
    if (exchange == "auto")
      return emulated() || (ranks == 1 && !ncclAvailable(nccl));
    return exchange == "host";
  }
  Layer layer() const;
  std::string missing() const;
};

using Times = std::array<float, stageNames.size()>;
} // namespace

static void addOptions(CLI::App &app, Options &options) {
  app.add_option("--ranks", options.ranks, "GPUs, each with an equal share of the experts")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--rows", options.rows, "Rows of each rank")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  app.add_option(
         "--model", options.model,
         "A known model (deepseek-v2-lite), or a Hugging Face config.json; without it the extents below")
      ->type_name("NAME|FILE");
  app.add_option("--hidden", options.hidden, "Columns of a row")->capture_default_str();
  app.add_option("--intermediate", options.intermediate, "Columns between the projections of an expert")
      ->capture_default_str();
  app.add_option("--experts", options.experts, "Experts of the layer")->capture_default_str();
  app.add_option("--top-k", options.topK, "Experts a row")->capture_default_str();
  app.add_option(
         "--exchange", options.exchange,
         "nccl: from GPU to GPU; host: through host memory, any number of ranks a GPU; auto: nccl, but "
         "host on emulators and for one rank without NCCL")
      ->check(CLI::IsMember({"auto", "nccl", "host"}))
      ->capture_default_str();
  app.add_option("--nccl", options.nccl, "File of libnccl.so.2; else the loader's path and the CUDA toolkit")
      ->type_name("FILE");
  app.add_option("--seed", options.seed, "Of rows, weights and routing; a new one each time");
  app.add_option("--repeat", options.repeat, "Steps that are timed, on GPUs")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_flag("--or-skip", options.orSkip, "Exit with 77 where there are too few GPUs, or no NCCL");
  app.footer("Examples:\n  expert_parallel --ranks 2 --model deepseek-v2-lite --rows 64\n"
             "  LATHE_DEVICE=emulator expert_parallel --ranks 4 --rows 5\n"
             "Exit status: 0 right, 1 wrong, 2 it could not run.");
}

Layer Options::layer() const {
  Layer layer;
  layer.ranks = ranks;
  layer.rows = rows;
  if (model.empty())
    layer.shape = {.hidden = hidden, .intermediate = intermediate, .experts = experts, .topK = topK};
  else
    layer.shape = dsl::moeShape(dsl::findModel(model), 1, 1);
  if (emulated() && exchange == "nccl")
    throw UserError({"expert parallelism", "NCCL needs GPUs", "emulators", "take --exchange host"});
  // Shared experts belong to a rank's own rows: a model runs them while rows are on their way.
  layer.shape.shared = 0;
  if (layer.shape.experts % ranks)
    throw UserError({"expert parallelism", "the ranks must divide the experts",
                     fmt::format("{} experts, {} ranks", layer.shape.experts, ranks), "change --ranks"});
  return layer;
}

/// What this machine lacks; empty where nothing.
std::string Options::missing() const {
  if (emulated() || throughHost())
    return emulated() && orSkip ? "no GPU: " + runtime::cudaUnavailableReason() : "";
  if (runtime::cudaDeviceCount() < ranks)
    return fmt::format("{} GPUs for {} ranks", runtime::cudaDeviceCount(), ranks);
  return ncclAvailable(nccl) ? "" : "no libnccl.so.2";
}

static std::vector<std::shared_ptr<Device>> openDevices(const Options &options) {
  std::vector<std::shared_ptr<Device>> devices;
  const int gpus = options.emulated() ? 1 : runtime::cudaDeviceCount();
  for (int rank = 0; rank < options.ranks; ++rank) // Emulators have no ordinals: each is a new one.
    devices.push_back(runtime::openDevice(options.throughHost() ? rank % std::max(gpus, 1) : rank));
  return devices;
}

static std::vector<std::unique_ptr<Exchange>>
openExchanges(const Options &options, const std::vector<std::shared_ptr<Device>> &devices) {
  if (options.throughHost())
    return hostExchanges(devices);
  std::vector<int> ordinals;
  for (int rank = 0; rank < options.ranks; ++rank)
    ordinals.push_back(rank);
  return ncclExchanges(options.nccl, ordinals);
}

/// A rank that fails ends the process: the others would wait for it for ever.
template <class Work>
static void onAllRanks(std::vector<std::unique_ptr<Rank>> &ranks, const Work &work) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < ranks.size(); ++i)
    threads.emplace_back([&, i] {
      try {
        work(i);
      } catch (const std::exception &error) {
        std::fprintf(stderr, "expert_parallel: rank %zu: %s\n", i, error.what());
        std::fflush(nullptr);
        std::_Exit(unusable);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// Of each stage by itself.
static Times medians(std::vector<Times> steps) {
  Times result{};
  for (size_t stage = 0; stage < result.size(); ++stage) {
    const auto middle = steps.begin() + std::ptrdiff_t(steps.size() / 2);
    std::nth_element(steps.begin(), middle, steps.end(),
                     [&](const Times &a, const Times &b) { return a[stage] < b[stage]; });
    result[stage] = (*middle)[stage];
  }
  return result;
}

static void printTimes(const std::vector<std::unique_ptr<Rank>> &ranks, const std::vector<Times> &times) {
  fmt::print("\n{:>4} {:>6} {:>6}", "rank", "sent", "taken");
  for (const char *name : stageNames)
    fmt::print(" {:>8}", name);
  fmt::print(" {:>8}\n", "all");
  for (size_t i = 0; i < ranks.size(); ++i) {
    fmt::print("{:>4} {:>6} {:>6}", i, ranks[i]->sentRows(), ranks[i]->takenRows());
    float all = 0;
    for (const float time : times[i]) {
      fmt::print(" {:>8.1f}", time * 1e3f);
      all += time;
    }
    fmt::print(" {:>8.1f}\n", all * 1e3f);
  }
  fmt::print("µs, medians of the stages; the host's waiting and the other ranks' are part of them\n");
}

static void collect(Problem &problem, const std::vector<std::unique_ptr<Rank>> &ranks) {
  for (size_t i = 0; i < ranks.size(); ++i)
    problem.collect(int(i), ranks[i]->device(), ranks[i]->tensors());
}

/// Warms up, times, and expects the bits that were judged.
static bool repeatSteps(const Options &options, Problem &problem, std::vector<std::unique_ptr<Rank>> &ranks) {
  const std::vector<uint16_t> judged = problem.bits();
  std::vector<Times> times(ranks.size());
  const int warmUp = options.emulated() ? 0 : 5, timed = options.emulated() ? 1 : options.repeat;
  onAllRanks(ranks, [&](size_t rank) {
    for (int i = 0; i < warmUp; ++i)
      ranks[rank]->step();
    std::vector<Times> steps;
    for (int i = 0; i < timed; ++i)
      steps.push_back(ranks[rank]->step());
    times[rank] = medians(std::move(steps));
  });
  collect(problem, ranks);
  const bool same = problem.bits() == judged;
  fmt::print("{} more step{}: {}\n", warmUp + timed, warmUp + timed == 1 ? "" : "s",
             same ? "the same bits" : "OTHER BITS");
  if (!options.emulated())
    printTimes(ranks, times);
  return same;
}

static int run(const Options &options) {
  const Layer layer = options.layer();
  const auto devices = openDevices(options);
  fmt::print("{} rank{} of {} rows on {}, exchange {}; {} experts of {} x {}, top {}; seed {}\n", layer.ranks,
             layer.ranks == 1 ? "" : "s", layer.rows, devices[0]->properties().name,
             options.throughHost() ? "through the host" : "by NCCL", layer.shape.experts, layer.shape.hidden,
             layer.shape.intermediate, layer.shape.topK, options.seed);
  auto exchanges = openExchanges(options, devices);
  const runtime::Jit jit;
  Problem problem(*devices[0], layer, options.seed);
  std::vector<std::unique_ptr<Rank>> ranks;
  for (int rank = 0; rank < layer.ranks; ++rank) { // All memory is there before the first step: while another
    const size_t i = size_t(rank);                 // rank's exchange waits, an allocation could wait for it.
    ranks.push_back(std::make_unique<Rank>(layer, rank, devices[i], jit, std::move(exchanges[i])));
    problem.deal(rank, *devices[i], ranks[i]->tensors());
  }
  onAllRanks(ranks, [&](size_t rank) { ranks[rank]->step(); });
  collect(problem, ranks);
  const Problem::Verdict verdict = problem.judge();
  for (const std::string &message : {verdict.routing.message, verdict.result.message})
    if (!message.empty())
      fmt::print("WRONG: {}\n", message);
  fmt::print("{} of {} rows judged: relative error {:.2g}, worst element {:.2f} of what is allowed\n",
             verdict.result.rows, layer.ranks * layer.rows, verdict.result.relativeError,
             verdict.result.worstRatio);
  const bool same = repeatSteps(options, problem, ranks);
  return verdict.passed() && same ? 0 : wrong;
}

int main(int argc, char **argv) {
  CLI::App app("A mixture-of-experts layer over several GPUs: rows travel to their experts and back.",
               "expert_parallel");
  Options options;
  addOptions(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.orSkip)
      if (const std::string missing = options.missing(); !missing.empty()) {
        fmt::print("skipped: {}\n", missing);
        return skipped;
      }
    return run(options);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "expert_parallel: %s\n", error.what());
    return unusable;
  }
}
