//===- Rank.cpp - One GPU's part of an expert-parallel layer -----------------------------------------===//
//
// The host waits for the GPU twice in a step: for the ids, to make the lists, and for the counts of the other
// ranks, because a receive is told its size. Frameworks that may not wait keep fixed room for each pair of
// ranks, or make lists and sends on the device.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Rank.h"

#include <algorithm>
#include <numeric>

using namespace lathe;
using namespace lathe::examples;
using runtime::Buffer;
using runtime::Device;
using runtime::DevicePtr;

//===- Making a rank ---------------------------------------------------------------------------------===//

static runtime::MoeKernel load(const runtime::Jit &jit, std::shared_ptr<Device> device, const Layer &layer,
                               dsl::Router router) {
  runtime::MoeJitRequest request;
  request.rows = layer.rows; // In the mean an expert gets as many rows as without the other ranks.
  return jit.load(dsl::moeFfn(layer.slice(router)), std::move(device), request);
}

Rank::Packed::Packed(Device &device, const Layer &layer) {
  const size_t places = size_t(layer.ranks) * size_t(layer.rows);
  x = Buffer(device, places * size_t(layer.shape.hidden) * 2);
  ids = Buffer(device, places * size_t(layer.shape.topK) * 4);
  weights = Buffer(device, places * size_t(layer.shape.topK) * 4);
  parts = Buffer(device, places * size_t(layer.shape.hidden) * 2);
}

Rank::Rank(const Layer &layer, int rank, std::shared_ptr<Device> device, const runtime::Jit &jit,
           std::unique_ptr<Exchange> exchange)
    : layer_(layer), rank_(rank), device_(std::move(device)), exchange_(std::move(exchange)),
      rowKernels_(*device_), router_(load(jit, device_, layer, dsl::Router::Logits)),
      experts_(load(jit, device_, layer, dsl::Router::Given)),
      routerWorkspace_(router_.makeWorkspace(layer.rows)),
      expertsWorkspace_(experts_.makeWorkspace(layer.ranks * layer.rows)), stream_(device_->createStream()),
      tensors_(*device_, layer), out_(*device_, layer), in_(*device_, layer) {
  const size_t ranks = size_t(layer.ranks), rows = size_t(layer.rows);
  listRows_ = Buffer(*device_, ranks * rows * 4);
  listPlaces_ = Buffer(*device_, ranks * rows * 4);
  sentCounts_ = Buffer(*device_, ranks * 4);
  takenCounts_ = Buffer(*device_, ranks * 4);
  for (size_t i = 0; i <= stageNames.size(); ++i)
    marks_.push_back(device_->createEvent());
}

Rank::~Rank() { device_->destroyStream(stream_); }

//===- A step ----------------------------------------------------------------------------------------===//

std::array<float, stageNames.size()> Rank::step() {
  using Stage = void (Rank::*)();
  static constexpr std::array<Stage, stageNames.size()> stages{
      &Rank::route,       &Rank::pack, &Rank::exchangeCounts, &Rank::dispatch, &Rank::runExperts,
      &Rank::returnParts, &Rank::sum};
  marks_[0]->record(stream_);
  for (size_t i = 0; i < stages.size(); ++i) {
    (this->*stages[i])();
    marks_[i + 1]->record(stream_);
  }
  device_->synchronize(stream_);
  std::array<float, stageNames.size()> times{};
  for (size_t i = 0; i < stages.size(); ++i)
    times[i] = marks_[i + 1]->millisecondsSince(*marks_[i]);
  return times;
}

/// The layer's own router, on the rows that live here, over the experts of all ranks.
void Rank::route() {
  router_.route(routerWorkspace_,
                {.rows = layer_.rows,
                 .x = tensors_.x.get(),
                 .logits = tensors_.logits.get(),
                 .bias = tensors_.bias.get(),
                 .ids = tensors_.ids.get(),
                 .weights = tensors_.weights.get(),
                 .firstExpert = rank_ * layer_.heldExperts(),
                 .w1 = tensors_.w1.get(),
                 .w2 = tensors_.w2.get(),
                 .y = tensors_.y.get()},
                stream_);
}

/// A row goes once to each rank that holds at least one of its experts.
void Rank::makeLists(const std::vector<int32_t> &ids) {
  const size_t ranks = size_t(layer_.ranks), rows = size_t(layer_.rows), topK = size_t(layer_.shape.topK);
  lists_.rows.clear();
  lists_.places.assign(ranks * rows, -1);
  lists_.sent.assign(ranks, 0);
  std::vector<char> goes(ranks * rows, 0);
  for (size_t choice = 0; choice < ids.size(); ++choice)
    goes[size_t(ids[choice] / layer_.heldExperts()) * rows + choice / topK] = 1;
  for (size_t rank = 0; rank < ranks; ++rank)
    for (size_t row = 0; row < rows; ++row)
      if (goes[rank * rows + row]) {
        lists_.places[rank * rows + row] = int32_t(lists_.rows.size());
        lists_.rows.push_back(int32_t(row));
        ++lists_.sent[rank];
      }
}

/// The host waits for the ids, makes the lists and uploads them; then the rows are packed by destination,
/// each with all its ids and weights. Costs that wait, two small copies, and each row read and written once
/// for each rank that it goes to.
void Rank::pack() {
  device_->synchronize(stream_);
  std::vector<int32_t> ids(size_t(layer_.rows) * size_t(layer_.shape.topK));
  device_->copyToHost(ids.data(), tensors_.ids.get(), ids.size() * 4);
  makeLists(ids);
  device_->copyToDevice(listRows_.get(), lists_.rows.data(), lists_.rows.size() * 4);
  device_->copyToDevice(listPlaces_.get(), lists_.places.data(), lists_.places.size() * 4);
  device_->copyToDevice(sentCounts_.get(), lists_.sent.data(), lists_.sent.size() * 4);
  const int columnWords = layer_.shape.hidden / 2;
  const auto gather = [&](const Buffer &to, const Buffer &from, int words) {
    rowKernels_.gather({to.get(), from.get(), listRows_.get(), sentRows(), words}, stream_);
  };
  gather(out_.x, tensors_.x, columnWords);
  gather(out_.ids, tensors_.ids, layer_.shape.topK);
  gather(out_.weights, tensors_.weights, layer_.shape.topK);
}

/// Every rank tells every other how many rows will come. The host waits for the answer.
void Rank::exchangeCounts() {
  std::vector<Message> messages;
  for (int peer = 0; peer < layer_.ranks; ++peer)
    messages.push_back(
        {peer, sentCounts_.get() + size_t(peer) * 4, 4, takenCounts_.get() + size_t(peer) * 4, 4});
  exchange_->run(messages, stream_);
  device_->synchronize(stream_);
  taken_.resize(size_t(layer_.ranks));
  device_->copyToHost(taken_.data(), takenCounts_.get(), taken_.size() * 4);
  takenRows_ = std::accumulate(taken_.begin(), taken_.end(), 0);
}

namespace {
/// Rows behind each other, those of each rank together.
struct Packing {
  DevicePtr at;
  const std::vector<int32_t> &counts; ///< [ranks].
};
} // namespace

/// Messages that carry the rows of `from` to their ranks, and those that come into `to`.
static void addRows(std::vector<Message> &messages, Packing from, Packing to, size_t rowBytes) {
  for (size_t peer = 0; peer < from.counts.size(); ++peer) {
    const size_t sent = size_t(from.counts[peer]) * rowBytes, taken = size_t(to.counts[peer]) * rowBytes;
    messages.push_back({int(peer), from.at, sent, to.at, taken});
    from.at += sent;
    to.at += taken;
  }
}

void Rank::dispatch() {
  std::vector<Message> messages;
  const size_t columns = size_t(layer_.shape.hidden) * 2, choices = size_t(layer_.shape.topK) * 4;
  addRows(messages, {out_.x.get(), lists_.sent}, {in_.x.get(), taken_}, columns);
  addRows(messages, {out_.ids.get(), lists_.sent}, {in_.ids.get(), taken_}, choices);
  addRows(messages, {out_.weights.get(), lists_.sent}, {in_.weights.get(), taken_}, choices);
  exchange_->run(messages, stream_);
}

/// The experts that live here, for all rows that came. A row's choices that live elsewhere take no part, so
/// the result is this rank's part of the row's sum, weights applied.
void Rank::runExperts() {
  experts_.run(expertsWorkspace_,
               {.rows = takenRows_,
                .x = in_.x.get(),
                .ids = in_.ids.get(),
                .weights = in_.weights.get(),
                .firstExpert = rank_ * layer_.heldExperts(),
                .w1 = tensors_.w1.get(),
                .w2 = tensors_.w2.get(),
                .y = in_.parts.get()},
               stream_);
}

/// Parts go back the way the rows came, so they arrive in the order in which the rows were sent.
void Rank::returnParts() {
  std::vector<Message> messages;
  addRows(messages, {in_.parts.get(), taken_}, {out_.parts.get(), lists_.sent},
          size_t(layer_.shape.hidden) * 2);
  exchange_->run(messages, stream_);
}

/// In the order of the ranks, whichever came first: the same bits in every run.
void Rank::sum() {
  rowKernels_.sum({.y = tensors_.y.get(),
                   .parts = out_.parts.get(),
                   .places = listPlaces_.get(),
                   .ranks = layer_.ranks,
                   .rows = layer_.rows,
                   .words = layer_.shape.hidden / 2},
                  stream_);
}
