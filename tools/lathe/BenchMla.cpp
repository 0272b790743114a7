//===- BenchMla.cpp - Timing MLA decode as a model runs it ---------------------------------------------===//
//
// Holds the tensors of every layer (shared q, table and outputs; a cache of its own), captures the graphs,
// and turns replay times into medians. No kernel is judged here: `lathe verify` does that.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchMla.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>

using namespace lathe;
using namespace lathe::tools;
using runtime::Buffer;
using runtime::Device;
using runtime::DevicePtr;
using runtime::Stream;

MlaWork lathe::tools::countWork(const Manifest &manifest, const std::vector<int> &lengths, bool causal) {
  MlaWork work;
  double pairs = 0;
  for (int length : lengths) {
    work.tokens += length;
    for (int query = 0; query < manifest.queryTokens; ++query)
      pairs += std::max(0, length - (causal ? manifest.queryTokens - 1 - query : 0));
  }
  const double rows = double(manifest.heads) * manifest.queryTokens * double(lengths.size());
  work.bytes =
      double(work.tokens) * manifest.keyDim * 2 + rows * ((manifest.keyDim + manifest.valueDim) * 2 + 4);
  work.operations = 2.0 * manifest.heads * pairs * (manifest.keyDim + manifest.valueDim);
  return work;
}

namespace {

/// An owned stream that goes with its scope.
struct ScopedStream {
  Device &device;
  Stream stream;
  explicit ScopedStream(Device &device) : device(device), stream(device.createStream()) {}
  ~ScopedStream() { device.destroyStream(stream); }
};

/// Everything on the device that the layers read and write.
struct Tensors {
  Buffer q, out, lse, lengths, table;
  std::vector<Buffer> caches;
  runtime::DecodeTensors layer(size_t cache) const {
    runtime::DecodeTensors copy = common;
    copy.kv = caches[cache % caches.size()].get();
    return copy;
  }
  runtime::DecodeTensors common;
};

} // namespace

/// Random bf16 near a normal distribution of the given width, as many as fit in one upload block.
static std::vector<uint16_t> randomBlock(size_t elements, float width, std::mt19937_64 &random) {
  std::vector<uint16_t> block(elements);
  std::normal_distribution<float> normal(0, width);
  std::vector<uint16_t> seedValues(1 << 16);
  for (uint16_t &value : seedValues) {
    float sample = normal(random);
    uint32_t bits;
    static_assert(sizeof bits == sizeof sample);
    std::memcpy(&bits, &sample, sizeof bits);
    value = uint16_t(bits >> 16);
  }
  for (uint16_t &value : block)
    value = seedValues[random() & 0xffff];
  return block;
}

static Buffer uploadRandom(Device &device, size_t bytes, const std::vector<uint16_t> &block) {
  Buffer buffer(device, bytes);
  const size_t blockBytes = block.size() * 2;
  for (size_t at = 0; at < bytes; at += blockBytes)
    device.copyToDevice(buffer.get() + at, block.data(), std::min(blockBytes, bytes - at));
  return buffer;
}

template <typename T>
static Buffer upload(Device &device, const std::vector<T> &values) {
  Buffer buffer(device, values.size() * sizeof(T));
  device.copyToDevice(buffer.get(), values.data(), values.size() * sizeof(T));
  return buffer;
}

/// How many caches make every replay cold: all of a graph's, and more than three times the L2 altogether.
static int cacheCount(const Device &device, size_t cacheBytes, int layers) {
  const size_t cold = 3 * size_t(std::max<int64_t>(device.properties().l2Bytes, 32 << 20));
  const size_t forCold = cacheBytes ? (cold + cacheBytes - 1) / cacheBytes : 1;
  size_t graphs = std::clamp<size_t>((forCold + size_t(layers) - 1) / size_t(layers), 1, 64);
  const size_t needed = graphs * size_t(layers) * cacheBytes,
               limit = size_t(device.properties().memoryBytes) / 100 * 85;
  if (needed > limit)
    throw UserError({"bench mla", "the caches of all layers must fit in device memory",
                     fmt::format("{:.1f} GB of {:.1f} GB", needed * 1e-9, limit * 1e-9),
                     "use fewer --layers, a smaller --batch or shorter --lengths"});
  return int(graphs) * layers;
}

static Tensors makeTensors(Device &device, const Manifest &manifest, const BenchMlaOptions &options) {
  std::mt19937_64 random(options.seed);
  const int batch = int(options.lengths.size());
  int64_t pages = 0, widest = 1;
  for (int length : options.lengths) {
    int64_t mine = (length + manifest.page - 1) / manifest.page;
    pages += mine;
    widest = std::max(widest, mine);
  }
  pages = std::max<int64_t>(pages, 1);
  std::vector<int32_t> order(static_cast<size_t>(pages)), table(size_t(batch * widest), 0);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  size_t next = 0;
  for (int b = 0; b < batch; ++b)
    for (int64_t p = 0; p * manifest.page < options.lengths[size_t(b)]; ++p)
      table[size_t(b * widest + p)] = order[next++];

  const size_t rows = size_t(batch) * size_t(manifest.heads * manifest.queryTokens);
  const size_t cacheBytes = size_t(pages) * size_t(manifest.page) * size_t(manifest.keyDim) * 2;
  const std::vector<uint16_t> block = randomBlock(8 << 20, 1.0f, random);
  Tensors tensors;
  tensors.q = uploadRandom(device, rows * size_t(manifest.keyDim) * 2, block);
  tensors.out = Buffer(device, rows * size_t(manifest.valueDim) * 2);
  tensors.lse = Buffer(device, rows * 4);
  tensors.lengths = upload(device, std::vector<int32_t>(options.lengths.begin(), options.lengths.end()));
  tensors.table = upload(device, table);
  for (int i = cacheCount(device, cacheBytes, options.layers); i > 0; --i)
    tensors.caches.push_back(uploadRandom(device, cacheBytes, block));

  runtime::DecodeTensors &common = tensors.common;
  common.batch = batch;
  common.q = tensors.q.get();
  common.numPages = pages;
  common.blockTable = tensors.table.get();
  common.blockTableStride = widest;
  common.lengths = tensors.lengths.get();
  common.out = tensors.out.get();
  common.lse = tensors.lse.get();
  common.scale = options.scale;
  return tensors;
}

template <typename Body>
static std::unique_ptr<runtime::Graph> capture(Device &device, Stream stream, Body body) {
  device.beginCapture(stream);
  body();
  return device.endCapture(stream);
}

/// Microseconds of each replay after the warm-up; replays go round the graphs in turn.
static std::vector<double> timeReplays(Device &device, Stream stream,
                                       const std::vector<std::unique_ptr<runtime::Graph>> &graphs, int warmup,
                                       int replays) {
  auto start = device.createEvent(), stop = device.createEvent();
  std::vector<double> samples;
  for (int i = 0; i < warmup + replays; ++i) {
    start->record(stream);
    graphs[size_t(i) % graphs.size()]->launch(stream);
    stop->record(stream);
    stop->synchronize();
    if (i >= warmup)
      samples.push_back(stop->millisecondsSince(*start) * 1e3);
  }
  return samples;
}

static double quantile(std::vector<double> sorted, double fraction) {
  std::sort(sorted.begin(), sorted.end());
  return sorted[size_t(fraction * double(sorted.size() - 1) + 0.5)];
}

static void checkOptions(const BenchMlaOptions &options) {
  if (options.lengths.empty())
    throw UserError({"bench mla", "needs at least one sequence", "0", "set --batch"});
  if (options.replays < 30)
    throw UserError({"bench mla", "a median needs at least 30 replays", fmt::to_string(options.replays),
                     "raise --replays"});
  if (options.layers < 1 || options.layers > 256)
    throw UserError({"bench mla", "layers must be 1 to 256", fmt::to_string(options.layers), "set --layers"});
}

BenchMlaResult lathe::tools::benchMla(const runtime::Kernel &kernel, const BenchMlaOptions &options) {
  checkOptions(options);
  Device &device = kernel.device();
  const Manifest &manifest = kernel.manifest();
  BenchMlaResult result;
  result.work = countWork(manifest, options.lengths, options.causal);

  ScopedStream scoped(device);
  Stream stream = scoped.stream;
  Tensors tensors = makeTensors(device, manifest, options);
  runtime::Plan plan = kernel.makePlan(tensors.common.batch, options.workers);
  kernel.plan(plan, tensors.common.lengths, tensors.common.batch, stream);
  device.synchronize(stream);

  std::vector<std::unique_ptr<runtime::Graph>> planGraph, graphs;
  planGraph.push_back(capture(
      device, stream, [&] { kernel.plan(plan, tensors.common.lengths, tensors.common.batch, stream); }));
  for (size_t first = 0; first < tensors.caches.size(); first += size_t(options.layers))
    graphs.push_back(capture(device, stream, [&] {
      for (int layer = 0; layer < options.layers; ++layer)
        kernel.run(plan, tensors.layer(first + size_t(layer)), stream);
    }));

  result.planUs = quantile(timeReplays(device, stream, planGraph, 5, 31), 0.5);
  result.samplesUs = timeReplays(device, stream, graphs, options.warmup, options.replays);
  for (double &sample : result.samplesUs)
    sample /= options.layers;
  result.medianUs = quantile(result.samplesUs, 0.5);
  result.p10Us = quantile(result.samplesUs, 0.1);
  result.p90Us = quantile(result.samplesUs, 0.9);
  result.bestUs = quantile(result.samplesUs, 0);
  result.caches = int(tensors.caches.size());
  result.workers = plan.workers();
  result.gbps = result.work.bytes / result.medianUs * 1e-3;
  result.tflops = result.work.operations / result.medianUs * 1e-6;
  return result;
}
