//===- BenchRow.cpp - One row of a benchmark, measured -------------------------------------------------===//
//
// Who takes part is decided first: a candidate or a peer enters when it planned, ran and was right. Then all
// who entered are captured and timed in turns.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchCheck.h"
#include "BenchRun.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;
using runtime::DecodeTensors;
using runtime::Stream;

/// One who enters: how it enqueues a layer, and where its times go.
struct BenchRun::Contender {
  LayerCall layer;
  LseOrder lseOrder = LseOrder::HeadsFirst;
  Timing *timing = nullptr; ///< Null: it does not enter.
  bool *wrong = nullptr;    ///< Null: nobody asks.
};

/// A failed call may have taken the GPU with it.
void BenchRun::requireDevice() const { device_->synchronize(); }

BenchRun::Contender BenchRun::enter(const BenchTensors &tensors, CandidateResult &candidate, Stream stream) {
  const auto kernel = this->kernel(candidate.report.digest);
  const auto plan = std::make_shared<runtime::Plan>(kernel->makePlan(tensors.batch(), options_.workers));
  const runtime::DevicePtr lengths = tensors.layer(0).lengths;
  const auto planStep = [=, &tensors] { kernel->plan(*plan, lengths, tensors.batch(), stream); };
  planStep();
  device_->synchronize(stream);
  candidate.planUs = timeOnce(*device_, stream, planStep);
  candidate.workers = plan->workers();
  const DecodeTensors layer = tensors.layer(0);
  candidate.hostUs = timeHost(*device_, stream, [&] { kernel->run(*plan, layer, stream); });
  Contender contender;
  contender.layer = [kernel, plan](const DecodeTensors &layer, Stream on) { kernel->run(*plan, layer, on); };
  contender.timing = &candidate.timing;
  contender.wrong = &candidate.wrong;
  return contender;
}

static lathe_peer_problem peerProblem(const BenchTensors &tensors, int ordinal) {
  const reference::AttentionShape &shape = tensors.shape();
  lathe_peer_problem problem{};
  problem.heads = shape.heads;
  problem.query_tokens = shape.queryTokens;
  problem.key_dim = shape.keyDim;
  problem.value_dim = shape.valueDim;
  problem.page = shape.page;
  problem.batch = tensors.batch();
  problem.causal = shape.causal;
  problem.max_length = *std::max_element(tensors.lengths().begin(), tensors.lengths().end());
  problem.pages = tensors.pages();
  problem.block_table_stride = tensors.tableStride();
  problem.scale = shape.scale;
  problem.device = ordinal;
  return problem;
}

BenchRun::Contender BenchRun::enter(const BenchTensors &tensors, const PeerLibrary &library,
                                    PeerResult &result, Stream stream) {
  const auto peer = std::make_shared<Peer>(library, peerProblem(tensors, options_.ordinal));
  if (peer->refusal().empty())
    peer->prepare(tensors.layer(0).lengths, tensors.lengths(), stream.handle);
  device_->synchronize(stream);
  result.refusal = peer->refusal();
  Contender contender;
  if (!result.refusal.empty())
    return contender;
  contender.layer = [peer](const DecodeTensors &layer, Stream on) {
    peer->run({layer.q, layer.kv, layer.blockTable, layer.lengths, layer.out, layer.lse}, on.handle);
    if (!peer->refusal().empty())
      throw DeviceError({"peer", "a layer must not be refused after create", peer->refusal(), ""});
  };
  contender.lseOrder = LseOrder(peer->lseOrder());
  contender.timing = &result.timing;
  return contender;
}

namespace {
/// The judge of a row: float64 for a sample, the first who passed for all.
struct RowJudge {
  runtime::Device &device;
  BenchTensors &tensors;
  const ExactSample sample;
  std::optional<Outputs> trusted;

  RowJudge(runtime::Device &device, BenchTensors &tensors)
      : device(device), tensors(tensors), sample(exactSample(tensors)) {}

  /// Runs layer 0 once. Empty: right.
  std::string fault(const LayerCall &layer, LseOrder order, Stream stream) {
    tensors.poisonOutputs();
    layer(tensors.layer(0), stream);
    Outputs outputs = fetchOutputs(device, tensors, order);
    std::string fault = faultOfSample(tensors.shape(), outputs, sample);
    if (fault.empty() && trusted)
      fault = faultAgainst(tensors.shape(), outputs, *trusted);
    if (fault.empty() && !trusted && order != LseOrder::None)
      trusted = std::move(outputs);
    return fault.empty() ? fault : "wrong: " + fault;
  }
};
} // namespace

/// Candidates first, so that a right one of ours is what peers are compared with.
void BenchRun::measureRow(size_t index) {
  RowResult &row = results_[index];
  ScopedStream scoped(*device_);
  const Stream stream = scoped.stream;
  BenchTensors tensors(*device_, benchShape(row.row), lengths_[index], row.caches, *pool_);
  RowJudge judge(*device_, tensors);
  std::vector<Contender> entered;
  std::vector<Graphs> graphs;
  const auto admit = [&](std::string &fault, std::exception_ptr &reason, auto enter) {
    try {
      Contender contender = enter();
      if (!contender.timing)
        return;
      fault = judge.fault(contender.layer, contender.lseOrder, stream);
      if (contender.wrong)
        *contender.wrong = !fault.empty();
      if (!fault.empty())
        return;
      graphs.push_back(captureLayers(*device_, stream, tensors, contender.layer));
      entered.push_back(std::move(contender));
    } catch (const Error &error) {
      fault = error.what();
      reason = std::current_exception();
      requireDevice();
    }
  };
  for (CandidateResult &candidate : row.candidates)
    if (candidate.fault.empty())
      admit(candidate.fault, candidate.error, [&] { return enter(tensors, candidate, stream); });
  for (const PeerLibrary &library : peers_) // All before any of them enters: contenders point into the list.
    row.peers.emplace_back(library.name());
  for (size_t i = 0; i < peers_.size(); ++i)
    admit(row.peers[i].fault, row.peers[i].error,
          [&] { return enter(tensors, peers_[i], row.peers[i], stream); });
  std::vector<Timing> timings = timeContenders(*device_, stream, graphs, row.caches.layers, options_.timing);
  for (size_t i = 0; i < entered.size(); ++i)
    *entered[i].timing = std::move(timings[i]);
}

/// The fastest candidate, or why there is none.
static void choose(RowResult &row) {
  for (size_t i = 0; i < row.candidates.size(); ++i)
    if (row.candidates[i].fault.empty() &&
        (row.best < 0 || row.candidates[i].timing.medianUs < row.winner().timing.medianUs))
      row.best = int(i);
  if (row.best < 0)
    row.fault = row.candidates.front().fault;
}

static std::string noteOf(const RowResult &row) {
  if (!row.measured())
    return row.row.name + ": " + row.fault;
  std::string note = fmt::format("{}: {:.2f} µs a layer", row.row.name, row.winner().timing.medianUs);
  for (const PeerResult &peer : row.peers)
    note += peer.measured()
                ? fmt::format(", {} {:.2f} µs", peer.name, peer.timing.medianUs)
                : fmt::format(", {} {}", peer.name, peer.refusal.empty() ? peer.fault : "refuses");
  return note;
}

void BenchRun::measure(const BenchProgress &progress) {
  size_t bytes = 0;
  for (const RowResult &row : results_)
    bytes = std::max(bytes, row.caches.bytes());
  progress(0, int(results_.size()), fmt::format("{:.1f} GB of random numbers", double(bytes) * 1e-9), false);
  pool_ = std::make_unique<RandomPool>(*device_, bytes, options_.seed);
  for (size_t i = 0; i < results_.size(); ++i) {
    progress(int(i), int(results_.size()), results_[i].row.name, false);
    try {
      measureRow(i);
    } catch (const Error &error) {
      results_[i].fault = error.what();
      for (size_t later = i + 1; later < results_.size(); ++later)
        results_[later].fault = "not reached";
      throw;
    }
    choose(results_[i]);
    progress(int(i) + 1, int(results_.size()), noteOf(results_[i]), true);
  }
}
