//===- BenchMla.cpp - Timing MLA decode as a model runs it ---------------------------------------------===//
//
// Counts work, captures graphs, and turns replay times into medians. What a layer is stays with the caller.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchMla.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

using namespace lathe;
using namespace lathe::tools;
using runtime::Device;
using runtime::Graph;
using runtime::Stream;

// Where power is the limit, the clock moves by a quarter within some tens of milliseconds: turns are shorter,
// so that all contenders see the same clocks.
static constexpr int turnReplays = 3;
static constexpr int maxLayers = 256;
static constexpr double maxSustainedSeconds = 60;

MlaWork lathe::tools::countWork(const reference::AttentionShape &shape, const std::vector<int> &lengths) {
  MlaWork work;
  double pairs = 0;
  for (int length : lengths) {
    work.tokens += length;
    for (int query = 0; query < shape.queryTokens; ++query)
      pairs += shape.visibleTokens(length, query);
  }
  const double rows = double(shape.rows()) * double(lengths.size());
  work.bytes = double(work.tokens) * shape.keyDim * 2 + rows * ((shape.keyDim + shape.valueDim) * 2 + 4);
  work.operations = 2.0 * shape.heads * pairs * (shape.keyDim + shape.valueDim);
  return work;
}

static double quantile(const std::vector<double> &sorted, double fraction) {
  return sorted[size_t(std::lround(fraction * double(sorted.size() - 1)))];
}

Timing lathe::tools::summarize(std::vector<double> samplesUs) {
  std::vector<double> sorted = samplesUs;
  std::sort(sorted.begin(), sorted.end());
  Timing timing;
  timing.medianUs = quantile(sorted, 0.5);
  timing.p10Us = quantile(sorted, 0.1);
  timing.p90Us = quantile(sorted, 0.9);
  timing.bestUs = sorted.front();
  timing.samplesUs = std::move(samplesUs);
  return timing;
}

void lathe::tools::checkTiming(const char *command, const TimingOptions &options, int layers) {
  if (options.replays < 30)
    throw UserError(
        {command, "a median needs at least 30 replays", fmt::to_string(options.replays), "raise --replays"});
  if (layers < 1 || layers > maxLayers)
    throw UserError(
        {command, fmt::format("layers must be 1 to {}", maxLayers), fmt::to_string(layers), "set --layers"});
  if (!(options.sustainedSeconds >= 0 && options.sustainedSeconds <= maxSustainedSeconds))
    throw UserError({command, fmt::format("sustained seconds must be 0 to {}", maxSustainedSeconds),
                     fmt::to_string(options.sustainedSeconds), "set --sustained"});
}

void lathe::tools::addTimingOptions(CLI::App &command, TimingOptions &timing) {
  const char *group = "Measurement";
  command.add_option("--replays", timing.replays, "Timed replays, at least 30")
      ->capture_default_str()
      ->group(group);
  command.add_option("--warmup", timing.warmup, "Replays before timing")->capture_default_str()->group(group);
  command
      .add_option(
          "--sustained", timing.sustainedSeconds,
          "Time contenders one after the other, each when it has run alone for so long, with the clock "
          "that its own power leaves; 0: in turns, with the clock of all")
      ->type_name("SECONDS")
      ->capture_default_str()
      ->group(group);
}

std::unique_ptr<Graph> lathe::tools::capture(Device &device, Stream stream,
                                             const std::function<void()> &body) {
  device.beginCapture(stream);
  try {
    body();
  } catch (const Error &) {
    try {
      device.endCapture(stream);
      // NOLINTNEXTLINE(bugprone-empty-catch): the first error tells.
    } catch (const Error &) {
    }
    throw;
  }
  return device.endCapture(stream);
}

Graphs lathe::tools::captureLayers(Device &device, Stream stream, const BenchTensors &tensors,
                                   const LayerCall &layer) {
  const int layers = tensors.plan().layers;
  Graphs graphs;
  for (int graph = 0; graph < tensors.plan().graphs; ++graph)
    graphs.push_back(capture(device, stream, [&] {
      for (int i = 0; i < layers; ++i)
        layer(tensors.layer(graph * layers + i), stream);
    }));
  return graphs;
}

namespace {
/// One stopwatch for all replays of a row, and the turn of its graphs.
class Replayer {
public:
  Replayer(Device &device, Stream stream)
      : stream_(stream), start_(device.createEvent()), stop_(device.createEvent()) {}

  /// Replays the next graph; microseconds.
  double replay(const Graphs &graphs) {
    start_->record(stream_);
    graphs[next_++ % graphs.size()]->launch(stream_);
    stop_->record(stream_);
    stop_->synchronize();
    return stop_->millisecondsSince(*start_) * 1e3;
  }

private:
  Stream stream_;
  std::unique_ptr<runtime::Event> start_, stop_;
  size_t next_ = 0;
};
} // namespace

/// Of each contender, microseconds of its timed replays.
using Samples = std::vector<std::vector<double>>;

static Samples replayInTurns(Replayer &replayer, const std::vector<Graphs> &contenders, int replays) {
  Samples samples(contenders.size());
  for (int done = 0, turn = 0; done < replays; done += turnReplays, ++turn)
    for (size_t i = 0; i < contenders.size(); ++i) {
      const size_t who = (i + size_t(turn)) % contenders.size();
      if (contenders.size() > 1)
        replayer.replay(contenders[who]); // Its code and its lists come back into the caches.
      for (int replay = 0; replay < std::min(turnReplays, replays - done); ++replay)
        samples[who].push_back(replayer.replay(contenders[who]));
    }
  return samples;
}

static Samples replaySustained(Replayer &replayer, const std::vector<Graphs> &contenders,
                               const TimingOptions &options) {
  using Clock = std::chrono::steady_clock;
  Samples samples(contenders.size());
  const int passes = contenders.size() > 1 ? 2 : 1;
  for (int pass = 0; pass < passes; ++pass)
    for (size_t i = 0; i < contenders.size(); ++i) {
      const size_t who = pass == 0 ? i : contenders.size() - 1 - i;
      const auto end = Clock::now() + std::chrono::duration<double>(options.sustainedSeconds);
      while (Clock::now() < end)
        replayer.replay(contenders[who]);
      for (int replay = 0; replay < (options.replays + pass) / passes; ++replay)
        samples[who].push_back(replayer.replay(contenders[who]));
    }
  return samples;
}

std::vector<Timing> lathe::tools::timeContenders(Device &device, Stream stream,
                                                 const std::vector<Graphs> &contenders, int layers,
                                                 const TimingOptions &options) {
  Replayer replayer(device, stream);
  for (const Graphs &graphs : contenders)
    for (int i = 0; i < options.warmup; ++i)
      replayer.replay(graphs);
  Samples samples = options.sustainedSeconds > 0 ? replaySustained(replayer, contenders, options)
                                                 : replayInTurns(replayer, contenders, options.replays);
  std::vector<Timing> timings;
  for (std::vector<double> &mine : samples) {
    for (double &sample : mine)
      sample /= layers;
    timings.push_back(summarize(std::move(mine)));
  }
  return timings;
}

double lathe::tools::timeHost(Device &device, Stream stream, const std::function<void()> &body) {
  constexpr int rounds = 15, calls = 20; // Far from what a stream's queue holds.
  using Clock = std::chrono::steady_clock;
  std::vector<double> samples;
  for (int round = 0; round < rounds; ++round) {
    device.synchronize(stream);
    const Clock::time_point start = Clock::now();
    for (int call = 0; call < calls; ++call)
      body();
    samples.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count() / calls);
  }
  device.synchronize(stream);
  std::sort(samples.begin(), samples.end());
  return quantile(samples, 0.5);
}

double lathe::tools::timeOnce(Device &device, Stream stream, const std::function<void()> &body) {
  std::vector<Graphs> contenders(1);
  contenders[0].push_back(capture(device, stream, body));
  return timeContenders(device, stream, contenders, 1, {.replays = 31, .warmup = 5}).front().medianUs;
}
