//===- BenchMla.h - Timing MLA decode as a model runs it ---------------------------------------------===//
//
// A CUDA graph of N layers back to back, each over its own cache, replayed many times; successive replays
// rotate over caches that together exceed the L2 cache several times, so every replay reads memory cold.
// Several contenders (configurations, other libraries) are timed in turns over the same caches. The numbers
// in docs/benchmarks come from here.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "BenchTensors.h"
#include "Options.h"

#include <functional>

namespace lathe::tools {

struct TimingOptions {
  int replays = 50; ///< Timed replays of every contender, at least 30.
  int warmup = 10;  ///< Replays of every contender before timing starts.
  /// 0: contenders are timed in turns. Else one after the other, each when it has been replayed for so long
  /// alone, twice if there are several, the second time in reverse order: at the limit of power the clock is
  /// then what the contender itself draws, as in service, and not what all of them draw in the mean.
  double sustainedSeconds = 0;
};

/// --replays, --warmup and --sustained.
void addTimingOptions(CLI::App &command, TimingOptions &timing);

/// What is going on: steps done of all, a note, whether a step ended.
using BenchProgress = std::function<void(int done, int total, const std::string &note, bool finished)>;

/// Counted work of one layer. Causality and ragged lengths are counted, not padded over.
struct MlaWork {
  double bytes = 0;      ///< tokens × keyDim × 2, plus q, out and lse.
  double operations = 0; ///< 2 × heads × attended (query, token) pairs × (keyDim + valueDim).
  int64_t tokens = 0;    ///< KV tokens of the batch.
};

/// Work of one layer. Causal: the last query token attends to all tokens, the one before to all but one, …
MlaWork countWork(const reference::AttentionShape &shape, const std::vector<int> &lengths);

/// Microseconds of one layer: a replay divided by its layers.
struct Timing {
  double medianUs = 0, p10Us = 0, p90Us = 0, bestUs = 0;
  std::vector<double> samplesUs; ///< Each timed replay.
};
Timing summarize(std::vector<double> samplesUs);

/// Enqueues one layer on a stream.
using LayerCall = std::function<void(const runtime::DecodeTensors &, runtime::Stream)>;

/// An owned stream that goes with its scope.
struct ScopedStream {
  runtime::Device &device;
  runtime::Stream stream;
  explicit ScopedStream(runtime::Device &device) : device(device), stream(device.createStream()) {}
  ~ScopedStream() { device.destroyStream(stream); }
  ScopedStream(const ScopedStream &) = delete;
  ScopedStream &operator=(const ScopedStream &) = delete;
};

/// A contender, ready to replay: a graph for every group of layers.
using Graphs = std::vector<std::unique_ptr<runtime::Graph>>;
Graphs captureLayers(runtime::Device &device, runtime::Stream stream, const BenchTensors &tensors,
                     const LayerCall &layer);

/// Throws where there is no GPU: the emulator has no times to tell.
void requireGpu(const MachineOptions &machine);

/// What `body` enqueues on the stream, as a graph. A body that throws does not leave the stream capturing.
std::unique_ptr<runtime::Graph> capture(runtime::Device &device, runtime::Stream stream,
                                        const std::function<void()> &body);

/// Replays the contenders' graphs, over the graphs in turn whoever replays them: in turns of three replays,
/// who begins changing from turn to turn, or as TimingOptions::sustainedSeconds says. `layers` of one graph.
/// The times are in the contenders' order.
std::vector<Timing> timeContenders(runtime::Device &device, runtime::Stream stream,
                                   const std::vector<Graphs> &contenders, int layers,
                                   const TimingOptions &options);

/// Host microseconds of one call of `body`, which enqueues work: the median of 15 rounds of 20 calls, without
/// waiting for the GPU within a round.
double timeHost(runtime::Device &device, runtime::Stream stream, const std::function<void()> &body);

/// Median of 31 replays of what `body` enqueues, microseconds: for what a step does once.
double timeOnce(runtime::Device &device, runtime::Stream stream, const std::function<void()> &body);

/// Throws UserError of `command`, as "bench mla": fewer than 30 replays, layers or seconds out of range.
void checkTiming(const char *command, const TimingOptions &options, int layers);

} // namespace lathe::tools
