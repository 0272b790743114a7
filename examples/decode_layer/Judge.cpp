//===- Judge.cpp - Whether a step was right ------------------------------------------------------------===//
//
// What a result may be off: the relative error of a kernel that rounds its result to bfloat16 once and an
// intermediate one before it (MoeCompare.h). Sequences are shared out among threads.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Judge.h"

#include "lathe/reference/MoeCompare.h"
#include "lathe/tools/lathe/MoeJudge.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

using namespace lathe;
using namespace lathe::examples;
using runtime::Buffer;
using runtime::DevicePtr;

static constexpr double wholeAllowed = 1e-2;  // A dozen roundings behind each other.
static constexpr double logitsAllowed = 1e-4; // Nothing is rounded but sums in float32.

bool Verdict::passed() const {
  return routing.empty() &&
         std::all_of(stages.begin(), stages.end(), [](const StageError &stage) { return stage.passed(); });
}

namespace {
/// A step's tensors on the host.
class Downloaded {
public:
  explicit Downloaded(const Subject &subject) : s_(subject) {
    s_.device.synchronize();
    ids_ = read<int32_t>(s_.activations.ids.get(), choices());
    weights_ = read<float>(s_.activations.weights.get(), choices());
  }

  RowCase caseOf(int sequence) const {
    const size_t topK = size_t(s_.shape.moe.topK), first = size_t(sequence) * topK;
    return {sequence, std::span(ids_).subspan(first, topK), std::span(weights_).subspan(first, topK)};
  }
  std::vector<float> logits(int sequence) const {
    const int64_t experts = s_.shape.moe.experts;
    return read<float>(s_.activations.logits.get() + uint64_t(sequence * experts) * 4, experts);
  }
  RowTensors row(int sequence) const {
    const LayerShape &shape = s_.shape;
    const Activations &a = s_.activations;
    const auto take = [&](const Buffer &buffer, int64_t width) {
      return fromBf16(read<uint16_t>(buffer.get() + uint64_t(sequence * width) * 2, width).data(), width);
    };
    const int64_t hidden = shape.hidden, keyDim = shape.keyDim();
    const std::vector<float> logitRow = logits(sequence);
    const uint64_t slot = uint64_t(s_.cache.slot(sequence, s_.cache.position(sequence)));
    return {.x = take(a.x, hidden),
            .normed = take(a.normed, hidden),
            .query = take(a.query, shape.queryColumns()),
            .keyValue = take(a.keyValue, keyDim),
            .absorbed = take(a.absorbed, shape.heads * keyDim),
            .appended = fromBf16(read<uint16_t>(s_.cache.rows() + slot * uint64_t(keyDim) * 2, keyDim).data(),
                                 keyDim),
            .attended = take(a.attended, int64_t(shape.heads) * shape.latent),
            .values = take(a.values, shape.valueColumns()),
            .projected = take(a.projected, hidden),
            .middle = take(a.middle, hidden),
            .routed = take(a.routed, hidden),
            .logits = Row(logitRow.begin(), logitRow.end()),
            .experts = take(a.experts, hidden),
            .out = take(a.out, hidden)};
  }

private:
  int64_t choices() const { return int64_t(s_.cache.batch()) * s_.shape.moe.topK; }
  template <class Element>
  std::vector<Element> read(DevicePtr from, int64_t count) const {
    std::vector<Element> values(static_cast<size_t>(count));
    s_.device.copyToHost(values.data(), from, values.size() * sizeof(Element));
    return values;
  }

  const Subject &s_;
  std::vector<int32_t> ids_;
  std::vector<float> weights_;
};
} // namespace

static double relativeError(const Row &got, const Row &expected) {
  double errors = 0, squares = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    errors += (got[i] - expected[i]) * (got[i] - expected[i]);
    squares += expected[i] * expected[i];
  }
  return std::sqrt(errors / squares);
}

/// NaN wins.
static void keepWorst(double &worst, double error) {
  if (!(error <= worst))
    worst = error;
}

/// Errors of one sequence: of each stage, then of the whole.
static std::vector<double> errorsOf(const Reference &reference, const RowTensors &device,
                                    const RowCase &where) {
  std::vector<double> errors;
  RowTensors alone;
  alone.x = device.x;
  for (const Reference::Stage &stage : Reference::stages()) {
    RowTensors expected = device;
    reference.compute(stage, expected, where);
    double worst = 0;
    for (const auto result : stage.results)
      keepWorst(worst, relativeError(device.*result, expected.*result));
    errors.push_back(worst);
    reference.compute(stage, alone, where);
  }
  errors.push_back(relativeError(device.out, alone.out));
  return errors;
}

static std::string routingFault(const Subject &subject, const Downloaded &downloaded) {
  const reference::MoeRouter router = tools::referenceShape(subject.shape.moe).router;
  for (int sequence = 0; sequence < subject.cache.batch(); ++sequence) {
    const std::vector<float> logits = downloaded.logits(sequence);
    const std::vector<double> exact(logits.begin(), logits.end());
    const RowCase where = downloaded.caseOf(sequence);
    const reference::RoutedRowCheck check = reference::checkRoutedRow(
        router, {.logits = exact, .logitErrors = {}, .bias = subject.weights.bias.host}, where.ids,
        where.weights);
    if (!check.fault.empty())
      return fmt::format("row {}, {}", sequence, check.fault);
  }
  return "";
}

static double allowedOf(const Reference::Stage &stage, const LayerShape &shape) {
  return std::string_view(stage.name) == "gate" ? logitsAllowed
                                                : reference::allowedRelativeError(shape.hidden);
}

Verdict lathe::examples::judge(const Subject &subject, int rows) {
  const Downloaded downloaded(subject);
  Verdict verdict;
  for (const Reference::Stage &stage : Reference::stages())
    verdict.stages.push_back({stage.name, 0, allowedOf(stage, subject.shape)});
  verdict.stages.push_back({"whole", 0, wholeAllowed});
  verdict.routing = routingFault(subject, downloaded);
  if (!verdict.routing.empty())
    return verdict; // Experts that do not exist have no weights.

  const int batch = subject.cache.batch(), count = rows == 0 ? batch : std::min(rows, batch);
  std::vector<std::vector<double>> errors(static_cast<size_t>(count));
  std::atomic<int> next = 0;
  const Reference reference(subject.shape, subject.weights, subject.cache);
  const auto work = [&] {
    for (int i = next++; i < count; i = next++) {
      const int sequence = int(int64_t(i) * batch / count);
      errors[size_t(i)] = errorsOf(reference, downloaded.row(sequence), downloaded.caseOf(sequence));
    }
  };
  std::vector<std::jthread> threads;
  for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i)
    threads.emplace_back(work);
  threads.clear(); // Joins.
  for (const std::vector<double> &row : errors)
    for (size_t stage = 0; stage < row.size(); ++stage)
      keepWorst(verdict.stages[stage].relative, row[stage]);
  return verdict;
}
