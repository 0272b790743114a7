//===- MoeInstance.cpp - Random mixture-of-experts problems with poisoned unused memory --------------===//
//
// Draws tokens, weights and a routing from a seed and uploads them, with NaN in all that a correct kernel
// must not let into its result. Large matrices repeat one random block at random offsets, so generation is
// bound by the copy to the device. Called through MoeInstance's constructor by tests, tuner and tools.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/Instance.h"
#include "lathe/reference/MoeInside.h"

#include "lathe/support/Error.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace lathe;
using namespace lathe::reference;

double MoeShape::weightBytes() const {
  const int experts = (localExperts ? localExperts : router.experts) + sharedExperts;
  return 2.0 * experts * expertWork();
}

static void require(bool holds, const char *rule, int64_t value) {
  if (!holds)
    throw UserError({"random mixture-of-experts problem", rule, std::to_string(value), "correct the shape"});
}

static void checkShape(const MoeShape &shape, int rows, const MoeOptions &options) {
  checkRouter(shape.router);
  require(rows >= 0, "rows must not be negative", rows);
  require(shape.hidden >= 8 && shape.hidden % 8 == 0, "hidden must be a multiple of 8", shape.hidden);
  require(shape.inner >= 8 && shape.inner % 8 == 0, "inner must be a multiple of 8", shape.inner);
  require(shape.sharedExperts >= 0, "shared experts must not be negative", shape.sharedExperts);
  require(shape.localExperts >= 1, "local experts must be at least 1", shape.localExperts);
  require(shape.firstExpert >= 0, "the first local expert must not be negative", shape.firstExpert);
  require(int64_t(shape.firstExpert) + shape.localExperts <= shape.router.experts,
          "the last local expert must be one of the router's",
          int64_t(shape.firstExpert) + shape.localExperts - 1);
  require(shape.logits == Dtype::F32 || shape.logits == Dtype::BF16, "logits must be f32 or bf16",
          int64_t(shape.logits));
  require(!shape.gate || shape.logits == Dtype::F32, "logits of a gate must be f32", int64_t(shape.logits));
  require(!shape.gate || shape.gateType == Dtype::BF16 || shape.gateType == Dtype::F32,
          "a gate must be bf16 or f32", int64_t(shape.gateType));
  require(!shape.gate || (options.spread == Spread::Uniform && !options.ties && !options.nans),
          "logits of a gate cannot be chosen: spread must be uniform, without ties and NaN",
          int64_t(options.spread));
}

/// All that the device will hold, on the host. A gate's logits have about the deviation of drawn ones.
static void draw(MoeInstance::Impl &impl, Random &random) {
  const MoeShape &shape = impl.shape;
  const double deviation1 = 1 / std::sqrt(shape.hidden), deviation2 = 1.7 / std::sqrt(shape.inner);
  const int64_t rows1 = int64_t(shape.halves()) * shape.inner;
  impl.x = RandomMatrix(random, impl.rows(), shape.hidden, 1);
  impl.w1 = RandomMatrix(random, shape.localExperts * rows1, shape.hidden, deviation1);
  impl.w2 = RandomMatrix(random, int64_t(shape.localExperts) * shape.hidden, shape.inner, deviation2);
  if (shape.sharedExperts) {
    impl.shared1 = RandomMatrix(random, shape.sharedExperts * rows1, shape.hidden, deviation1);
    impl.shared2 = RandomMatrix(random, shape.hidden, int64_t(shape.sharedExperts) * shape.inner, deviation2);
  }
  if (shape.gate) {
    impl.gate = RandomMatrix(random, shape.router.experts, shape.hidden, 1.5 * deviation1);
    impl.logits.resize(size_t(impl.rows()) * size_t(shape.router.experts));
  }
  drawLogits(impl, random);

  impl.ids.resize(size_t(impl.choices()));
  impl.weights.resize(size_t(impl.choices()));
  parallelFor(impl.rows(), [&](int64_t row) {
    const RowInputs inputs = routerInputs(impl, row);
    const RoutedRow routed = routeRow(shape.router, inputs.row);
    if (shape.gate)
      std::transform(inputs.logits.begin(), inputs.logits.end(),
                     impl.logits.begin() + row * shape.router.experts,
                     [](double logit) { return float(logit); });
    std::copy(routed.ids.begin(), routed.ids.end(), impl.ids.begin() + row * impl.topK());
    std::copy(routed.weights.begin(), routed.weights.end(), impl.weights.begin() + row * impl.topK());
  });
  if (impl.options.wildIds)
    drawWildIds(impl, random);
}

static void allocate(MoeInstance::Impl &impl) {
  const MoeShape &shape = impl.shape;
  MoeTensors &t = impl.tensors;
  auto make = [&](runtime::Buffer &buffer, runtime::DevicePtr &pointer, int64_t bytes) {
    if (bytes == 0)
      return;
    buffer = runtime::Buffer(*impl.device, size_t(bytes));
    pointer = buffer.get();
  };
  // Gaps are multiples of 8 elements, so that every row stays 16-byte aligned.
  t.xStrideRow = shape.hidden + (impl.options.stridedX ? 24 : 0);
  t.yStrideRow = shape.hidden + (impl.options.stridedY ? 8 : 0);
  make(impl.xBuffer, t.x, (t.rows + spareRows) * t.xStrideRow * 2);
  make(impl.yBuffer, t.y, (t.rows + spareRows) * t.yStrideRow * 2);
  make(impl.w1Buffer, t.w1, impl.w1.elements() * 2);
  make(impl.w2Buffer, t.w2, impl.w2.elements() * 2);
  make(impl.shared1Buffer, t.shared1, impl.shared1.elements() * 2);
  make(impl.shared2Buffer, t.shared2, impl.shared2.elements() * 2);
  make(impl.gateBuffer, t.gate, impl.gate.elements() * byteSize(shape.gateType));
  const int64_t logits = int64_t(t.rows) * shape.router.experts;
  make(impl.logitsBuffer, t.logits,
       (shape.gate ? logits + spareChoices : std::max<int64_t>(logits, 4)) * byteSize(shape.logits));
  make(impl.biasBuffer, t.bias, int64_t(impl.bias.size()) * 4);
  make(impl.idsBuffer, t.ids, (impl.choices() + spareChoices) * 4);
  make(impl.weightsBuffer, t.weights, (impl.choices() + spareChoices) * 4);
}

/// copyToDevice that allows nothing to copy.
template <class Element>
static void upload(runtime::Device &device, runtime::DevicePtr to, const std::vector<Element> &elements) {
  if (!elements.empty())
    device.copyToDevice(to, elements.data(), elements.size() * sizeof(Element));
}

static void poisonIdleExperts(MoeInstance::Impl &impl) {
  const MoeShape &shape = impl.shape;
  const size_t bytes1 = size_t(impl.firstRow1(1, 0) * shape.hidden) * 2;
  const size_t bytes2 = size_t(impl.firstRow2(1) * shape.inner) * 2;
  const SortedMap map = makeSortedMap(impl.ids, shape.local(), 1);
  for (int expert = 0; expert < shape.localExperts; ++expert)
    if (map.counts[size_t(expert)] == 0) {
      impl.device->fill(impl.tensors.w1 + uint64_t(expert) * bytes1, 0xff, bytes1, {});
      impl.device->fill(impl.tensors.w2 + uint64_t(expert) * bytes2, 0xff, bytes2, {});
    }
}

static void uploadGate(MoeInstance::Impl &impl) {
  if (impl.shape.gateType != Dtype::F32)
    return impl.gate.upload(*impl.device, impl.tensors.gate, impl.gate.width());
  std::vector<float> elements;
  for (int64_t expert = 0; expert < impl.gate.rows(); ++expert)
    for (int64_t column = 0; column < impl.gate.width(); ++column)
      elements.push_back(impl.gateAt(expert, column));
  upload(*impl.device, impl.tensors.gate, elements);
}

static void uploadLogits(MoeInstance::Impl &impl) {
  if (impl.shape.logits == Dtype::F32)
    return upload(*impl.device, impl.tensors.logits, impl.logits);
  std::vector<uint16_t> narrow(impl.logits.size());
  std::transform(impl.logits.begin(), impl.logits.end(), narrow.begin(),
                 [](float logit) { return toBf16(double(logit)); });
  upload(*impl.device, impl.tensors.logits, narrow);
}

static void uploadAll(MoeInstance::Impl &impl) {
  const MoeTensors &t = impl.tensors;
  runtime::Device &device = *impl.device;
  device.fill(t.x, impl.options.poison ? 0xff : 0x00, impl.xBuffer.bytes(), {});
  device.synchronize();
  impl.x.upload(device, t.x, t.xStrideRow);
  for (auto [matrix, to] :
       {std::pair{&impl.w1, t.w1}, {&impl.w2, t.w2}, {&impl.shared1, t.shared1}, {&impl.shared2, t.shared2}})
    matrix->upload(device, to, matrix->width());
  uploadGate(impl);
  if (impl.options.poison && !impl.shape.gate)
    poisonIdleExperts(impl);
  if (!impl.shape.gate) // Else they belong to the routing.
    uploadLogits(impl);
  upload(device, t.bias, impl.bias);
  device.synchronize();
}

static constexpr float notANumber = std::numeric_limits<float>::quiet_NaN();

namespace {
/// What a routing kernel writes.
struct RoutingContent {
  std::vector<int32_t> ids;
  std::vector<float> weights, logits; ///< Logits of a gate; else not looked at.
};
} // namespace

/// With what stands behind the last: an expert that exists, weighing NaN.
static void uploadRouting(MoeInstance::Impl &impl, RoutingContent content) {
  content.ids.resize(content.ids.size() + spareChoices, impl.shape.firstExpert);
  content.weights.resize(content.weights.size() + spareChoices, notANumber);
  upload(*impl.device, impl.tensors.ids, content.ids);
  upload(*impl.device, impl.tensors.weights, content.weights);
  if (!impl.shape.gate)
    return;
  content.logits.resize(content.logits.size() + spareChoices, notANumber);
  upload(*impl.device, impl.tensors.logits, content.logits);
}

MoeInstance::MoeInstance(runtime::Device &device, const MoeShape &shape, int rows, const MoeOptions &options)
    : impl_(std::make_unique<Impl>()) {
  Impl &impl = *impl_;
  impl.device = &device;
  impl.shape = shape;
  if (shape.localExperts == 0)
    impl.shape.localExperts = shape.router.experts;
  impl.options = options;
  impl.tensors.rows = rows;
  checkShape(impl.shape, rows, options);
  Random random(options.seed);
  draw(impl, random);
  allocate(impl);
  uploadAll(impl);
  poisonOutputs();
  restoreRouting();
}

MoeInstance::~MoeInstance() = default;
MoeInstance::MoeInstance(MoeInstance &&) noexcept = default;

MoeTensors MoeInstance::tensors() const { return impl_->tensors; }
const MoeShape &MoeInstance::shape() const { return impl_->shape; }
int MoeInstance::rows() const { return impl_->rows(); }
const std::vector<int32_t> &MoeInstance::ids() const { return impl_->ids; }
const std::vector<float> &MoeInstance::weights() const { return impl_->weights; }

void MoeInstance::poisonOutputs() {
  impl_->device->fill(impl_->tensors.y, 0xff, impl_->yBuffer.bytes(), {});
  impl_->device->synchronize();
}

void MoeInstance::poisonRouting() {
  uploadRouting(*impl_, {std::vector<int32_t>(impl_->ids.size(), -1),
                         std::vector<float>(impl_->weights.size(), notANumber),
                         std::vector<float>(impl_->logits.size(), notANumber)});
}

void MoeInstance::restoreRouting() { uploadRouting(*impl_, {impl_->ids, impl_->weights, impl_->logits}); }
