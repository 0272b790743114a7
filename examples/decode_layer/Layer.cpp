//===- Layer.cpp - One decode step of a layer ----------------------------------------------------------===//
//
// Each stage is a function of a few lines, in the order in which a step takes them.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Layer.h"

using namespace lathe;
using namespace lathe::examples;
using runtime::Buffer;
using runtime::Device;
using runtime::Stream;

//===- Making a layer ----------------------------------------------------------------------------------===//

static runtime::Kernel loadAttention(const LayerShape &shape, const Layer::Parts &parts) {
  runtime::JitRequest request;
  request.batch = parts.cache.batch(); // What a tuned configuration is looked up by.
  return parts.jit.load(
      dsl::mlaDecode({.heads = shape.heads, .latent = shape.latent, .rope = shape.rope, .page = shape.page}),
      parts.device, request);
}

static runtime::MoeKernel loadExperts(const LayerShape &shape, const Layer::Parts &parts) {
  runtime::MoeJitRequest request;
  request.rows = parts.cache.batch();
  return parts.jit.load(dsl::moeFfn(shape.moe), parts.device, request);
}

/// NaN until a stage writes it.
static Buffer poisoned(Device &device, int64_t elements, int64_t elementBytes = 2) {
  Buffer buffer(device, size_t(elements * elementBytes));
  device.fill(buffer.get(), 0xff, buffer.bytes(), {});
  return buffer;
}

Activations::Activations(Device &device, const LayerShape &s, int batch) {
  const int64_t rows = batch, hidden = rows * s.hidden;
  x = poisoned(device, hidden);
  normed = poisoned(device, hidden);
  query = poisoned(device, rows * s.queryColumns());
  keyValue = poisoned(device, rows * s.keyDim());
  absorbed = poisoned(device, rows * s.heads * s.keyDim());
  attended = poisoned(device, rows * s.heads * s.latent);
  lse = poisoned(device, rows * s.heads, 4);
  values = poisoned(device, rows * s.valueColumns());
  projected = poisoned(device, hidden);
  middle = poisoned(device, hidden);
  routed = poisoned(device, hidden);
  logits = poisoned(device, rows * s.moe.experts, 4);
  ids = poisoned(device, rows * s.moe.topK, 4);
  weights = poisoned(device, rows * s.moe.topK, 4);
  experts = poisoned(device, hidden);
  out = poisoned(device, hidden);
  device.synchronize();
}

Layer::Layer(const LayerShape &shape, const Parts &parts)
    : shape_(shape), parts_(parts), batch_(parts.cache.batch()), a_(*parts.device, shape, batch_),
      attention_(loadAttention(shape, parts)), moe_(loadExperts(shape, parts)),
      plan_(attention_.makePlan(batch_)), workspace_(moe_.makeWorkspace(batch_)) {}

std::span<const Layer::Stage> Layer::stages() {
  static constexpr Stage all[] = {
      {"plan", &Layer::plan},       {"norm", &Layer::norm},         {"project", &Layer::project},
      {"absorb", &Layer::absorb},   {"append", &Layer::append},     {"attend", &Layer::attend},
      {"output", &Layer::output},   {"residual", &Layer::residual}, {"gate", &Layer::gate},
      {"experts", &Layer::experts}, {"finish", &Layer::finish}};
  return all;
}

//===- Attention ---------------------------------------------------------------------------------------===//

/// Once a step, for all layers: this step's lengths become a work list, on the device.
void Layer::plan(Stream stream) { attention_.plan(plan_, parts_.cache.lengths(), batch_, stream); }

void Layer::norm(Stream stream) {
  parts_.elements.norm({.in = a_.x.get(),
                        .gain = parts_.weights.attentionGain.get(),
                        .out = a_.normed.get(),
                        .inStride = shape_.hidden,
                        .outStride = shape_.hidden,
                        .rows = batch_,
                        .width = shape_.hidden},
                       stream);
}

/// The queries of all heads, and what the new token leaves in the cache.
void Layer::project(Stream stream) {
  Product product{.rows = a_.normed.get(),
                  .weights = parts_.weights.query.get(),
                  .out = a_.query.get(),
                  .count = batch_,
                  .columns = shape_.hidden,
                  .outColumns = int(shape_.queryColumns()),
                  .rowStride = shape_.hidden,
                  .outStride = shape_.queryColumns()};
  parts_.products.multiply(product, stream);
  product.weights = parts_.weights.keyValue.get();
  product.out = a_.keyValue.get();
  product.outColumns = shape_.keyDim();
  product.outStride = shape_.keyDim();
  parts_.products.multiply(product, stream);
}

/// q · (W_UK · c) = (W_UK' · q) · c: the key projection goes to the query, once, so that the attention reads
/// the compressed rows c of the cache as they are. The rotated columns go behind it.
void Layer::absorb(Stream stream) {
  const int64_t row = int64_t(shape_.heads) * shape_.keyDim();
  parts_.products.multiply({.rows = a_.query.get(),
                            .weights = parts_.weights.absorbed.get(),
                            .out = a_.absorbed.get(),
                            .count = batch_,
                            .parts = shape_.heads,
                            .columns = shape_.nope,
                            .outColumns = shape_.latent,
                            .rowStride = shape_.queryColumns(),
                            .rowPartStride = shape_.headQuery(),
                            .outStride = row,
                            .outPartStride = shape_.keyDim()},
                           stream);
  parts_.elements.rotate({.in = a_.query.get() + uint64_t(shape_.nope) * 2,
                          .out = a_.absorbed.get() + uint64_t(shape_.latent) * 2,
                          .positions = parts_.cache.positions(),
                          .inStride = shape_.queryColumns(),
                          .inHeadStride = shape_.headQuery(),
                          .outStride = row,
                          .outHeadStride = shape_.keyDim(),
                          .rows = batch_,
                          .heads = shape_.heads,
                          .width = shape_.rope},
                         stream);
}

/// The new token's row, straight into its place in the cache: [normed latent | rotated key].
void Layer::append(Stream stream) {
  const Cache &cache = parts_.cache;
  parts_.elements.norm({.in = a_.keyValue.get(),
                        .gain = parts_.weights.cacheGain.get(),
                        .out = cache.rows(),
                        .slots = cache.newSlots(),
                        .inStride = shape_.keyDim(),
                        .outStride = shape_.keyDim(),
                        .rows = batch_,
                        .width = shape_.latent},
                       stream);
  parts_.elements.rotate({.in = a_.keyValue.get() + uint64_t(shape_.latent) * 2,
                          .out = cache.rows() + uint64_t(shape_.latent) * 2,
                          .positions = cache.positions(),
                          .slots = cache.newSlots(),
                          .inStride = shape_.keyDim(),
                          .outStride = shape_.keyDim(),
                          .rows = batch_,
                          .width = shape_.rope},
                         stream);
}

/// The first kernel of ours.
void Layer::attend(Stream stream) {
  const Cache &cache = parts_.cache;
  runtime::DecodeTensors tensors;
  tensors.batch = batch_;
  tensors.q = a_.absorbed.get();
  tensors.kv = cache.rows();
  tensors.numPages = cache.pages();
  tensors.blockTable = cache.table();
  tensors.blockTableStride = cache.tableStride();
  tensors.lengths = cache.lengths();
  tensors.out = a_.attended.get();
  tensors.lse = a_.lse.get();
  tensors.scale = shape_.scale;
  attention_.run(plan_, tensors, stream);
}

/// Back from the latent columns: each head's value projection, then the output projection of all heads.
void Layer::output(Stream stream) {
  parts_.products.multiply({.rows = a_.attended.get(),
                            .weights = parts_.weights.values.get(),
                            .out = a_.values.get(),
                            .count = batch_,
                            .parts = shape_.heads,
                            .columns = shape_.latent,
                            .outColumns = shape_.value,
                            .rowStride = int64_t(shape_.heads) * shape_.latent,
                            .rowPartStride = shape_.latent,
                            .outStride = shape_.valueColumns(),
                            .outPartStride = shape_.value},
                           stream);
  parts_.products.multiply({.rows = a_.values.get(),
                            .weights = parts_.weights.output.get(),
                            .out = a_.projected.get(),
                            .count = batch_,
                            .columns = int(shape_.valueColumns()),
                            .outColumns = shape_.hidden,
                            .rowStride = shape_.valueColumns(),
                            .outStride = shape_.hidden},
                           stream);
}

//===- Experts -----------------------------------------------------------------------------------------===//

void Layer::residual(Stream stream) {
  parts_.elements.add({.a = a_.x.get(),
                       .b = a_.projected.get(),
                       .out = a_.middle.get(),
                       .count = int64_t(batch_) * shape_.hidden},
                      stream);
  parts_.elements.norm({.in = a_.middle.get(),
                        .gain = parts_.weights.expertsGain.get(),
                        .out = a_.routed.get(),
                        .inStride = shape_.hidden,
                        .outStride = shape_.hidden,
                        .rows = batch_,
                        .width = shape_.hidden},
                       stream);
}

/// Logits stay in float32: a rounded one could choose another expert.
void Layer::gate(Stream stream) {
  parts_.products.multiply({.rows = a_.routed.get(),
                            .weights = parts_.weights.gate.get(),
                            .out = a_.logits.get(),
                            .count = batch_,
                            .columns = shape_.hidden,
                            .outColumns = shape_.moe.experts,
                            .rowStride = shape_.hidden,
                            .outStride = shape_.moe.experts,
                            .outType = Dtype::F32},
                           stream);
}

/// The second kernel of ours: from logits to the weighted sum, shared experts included.
void Layer::experts(Stream stream) {
  const Weights &w = parts_.weights;
  moe_.run(workspace_,
           {.rows = batch_,
            .x = a_.routed.get(),
            .logits = a_.logits.get(),
            .bias = w.bias.get(),
            .ids = a_.ids.get(),
            .weights = a_.weights.get(),
            .w1 = w.w1.get(),
            .w2 = w.w2.get(),
            .shared1 = w.shared1.get(),
            .shared2 = w.shared2.get(),
            .y = a_.experts.get()},
           stream);
}

void Layer::finish(Stream stream) {
  parts_.elements.add({.a = a_.middle.get(),
                       .b = a_.experts.get(),
                       .out = a_.out.get(),
                       .count = int64_t(batch_) * shape_.hidden},
                      stream);
}
