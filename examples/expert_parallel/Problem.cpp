//===- Problem.cpp - One random layer, dealt out to ranks --------------------------------------------===//
//
// Slices of rows and of experts are contiguous, so dealing is copying.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Problem.h"

#include "lathe/reference/AttentionReference.h"
#include "lathe/tools/lathe/MoeJudge.h"

#include <algorithm>
#include <vector>

using namespace lathe;
using namespace lathe::examples;
using runtime::Device;
using runtime::DevicePtr;

dsl::MoeShape Layer::slice(dsl::Router router) const {
  dsl::MoeShape mine = shape;
  mine.router = router;
  mine.localExperts = heldExperts();
  return mine;
}

static reference::MoeShape wholeLayer(const Layer &layer) {
  reference::MoeShape shape = tools::referenceShape(layer.shape);
  shape.localExperts = 0; // All of them.
  return shape;
}

namespace {
/// Bytes of a rank's share of each tensor.
struct Share {
  explicit Share(const Layer &layer) {
    const dsl::MoeShape &s = layer.shape;
    const size_t rows = size_t(layer.rows), held = size_t(layer.heldExperts());
    const size_t weights = size_t(s.hidden) * size_t(s.intermediate) * 2;
    x = rows * size_t(s.hidden) * 2;
    logits = rows * size_t(s.experts) * 4;
    bias = s.bias ? size_t(s.experts) * 4 : 0;
    w1 = held * 2 * weights; // Gate and up.
    w2 = held * weights;
    choices = rows * size_t(s.topK) * 4;
  }
  size_t x, logits, bias, w1, w2, choices;
};
} // namespace

RankTensors::RankTensors(Device &device, const Layer &layer) {
  const Share share(layer);
  auto make = [&](size_t bytes) { return bytes ? runtime::Buffer(device, bytes) : runtime::Buffer(); };
  x = make(share.x);
  logits = make(share.logits);
  bias = make(share.bias);
  w1 = make(share.w1);
  w2 = make(share.w2);
  ids = make(share.choices);
  weights = make(share.choices);
  y = make(share.x);
}

/// Through host memory, a piece at a time.
static void copy(Device &toDevice, DevicePtr to, Device &fromDevice, DevicePtr from, size_t bytes) {
  std::vector<std::byte> piece(std::min(bytes, size_t(64) << 20));
  for (size_t at = 0; at < bytes; at += piece.size()) {
    const size_t size = std::min(piece.size(), bytes - at);
    fromDevice.copyToHost(piece.data(), from + at, size);
    toDevice.copyToDevice(to + at, piece.data(), size);
  }
}

Problem::Problem(Device &device, const Layer &layer, uint64_t seed)
    : device_(device), layer_(layer),
      instance_(device, wholeLayer(layer), layer.ranks * layer.rows, {.seed = seed}) {
  instance_.poisonRouting(); // The ranks must find it themselves.
}

void Problem::deal(int rank, Device &device, const RankTensors &tensors) const {
  const Share share(layer_);
  const reference::MoeTensors all = instance_.tensors();
  auto take = [&](const runtime::Buffer &to, DevicePtr from, size_t bytes) {
    copy(device, to.get(), device_, from + size_t(rank) * bytes, bytes);
  };
  take(tensors.x, all.x, share.x);
  take(tensors.logits, all.logits, share.logits);
  take(tensors.w1, all.w1, share.w1);
  take(tensors.w2, all.w2, share.w2);
  copy(device, tensors.bias.get(), device_, all.bias, share.bias); // Every rank has it whole.
  for (const runtime::Buffer *output : {&tensors.ids, &tensors.weights, &tensors.y}) // NaN, and no expert.
    device.fill(output->get(), 0xff, output->bytes(), {});
  device.synchronize();
}

void Problem::collect(int rank, Device &device, const RankTensors &tensors) {
  const Share share(layer_);
  const reference::MoeTensors all = instance_.tensors();
  auto put = [&](DevicePtr to, const runtime::Buffer &from, size_t bytes) {
    copy(device_, to + size_t(rank) * bytes, device, from.get(), bytes);
  };
  put(all.ids, tensors.ids, share.choices);
  put(all.weights, tensors.weights, share.choices);
  put(all.y, tensors.y, share.x);
}

Problem::Verdict Problem::judge() {
  const bool onGpu = device_.imageKind() == runtime::ImageKind::Cubin && reference::nvrtcAvailable();
  reference::MoeCase all;
  all.shape = instance_.shape();
  all.rows = instance_.rows();
  const int sample = tools::cpuSampleRows(all) * layer_.ranks;
  return {reference::checkRouting(instance_),
          onGpu ? reference::compareWithGpu(instance_) : reference::compareWithCpu(instance_, sample)};
}
