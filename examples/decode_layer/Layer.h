//===- Layer.h - One decode step of a layer ------------------------------------------------------------===//
//
// A decoder layer of DeepSeek's kind for one new token a sequence: MLA in the absorbed form over a paged
// cache, then a mixture of experts. Two of its stages are kernels of this compiler; this file shows what
// stands around them. Called by Main.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Cache.h"
#include "Elements.h"
#include "Products.h"

#include "lathe/runtime/Jit.h"

#include <span>

namespace lathe::examples {

/// What a step leaves on the device, row by row of the batch; bf16 where nothing else is said.
struct Activations {
  Activations(runtime::Device &device, const LayerShape &shape, int batch);
  runtime::Buffer x;            ///< [batch, hidden]: the input.
  runtime::Buffer normed;       ///< [batch, hidden].
  runtime::Buffer query;        ///< [batch, heads, nope + rope].
  runtime::Buffer keyValue;     ///< [batch, latent + rope].
  runtime::Buffer absorbed;     ///< [batch, heads, latent + rope]: the query of the attention.
  runtime::Buffer attended;     ///< [batch, heads, latent].
  runtime::Buffer lse;          ///< f32 [batch, heads].
  runtime::Buffer values;       ///< [batch, heads, value].
  runtime::Buffer projected;    ///< [batch, hidden].
  runtime::Buffer middle;       ///< [batch, hidden]: after the first residual.
  runtime::Buffer routed;       ///< [batch, hidden]: normed again, what the experts take.
  runtime::Buffer logits;       ///< f32 [batch, experts].
  runtime::Buffer ids, weights; ///< i32 and f32 [batch, topK].
  runtime::Buffer experts;      ///< [batch, hidden].
  runtime::Buffer out;          ///< [batch, hidden].
};

class Layer {
public:
  struct Parts {
    std::shared_ptr<runtime::Device> device;
    const runtime::Jit &jit;
    const Products &products;
    const Elements &elements;
    const Weights &weights;
    const Cache &cache;
  };
  /// Compiles or finds the two kernels and allocates for the cache's batch. All parts must outlive it.
  Layer(const LayerShape &shape, const Parts &parts);

  /// The stages in their order. All are asynchronous where products and elements are; run again they write
  /// the same.
  struct Stage {
    const char *name;
    void (Layer::*run)(runtime::Stream);
  };
  static std::span<const Stage> stages();
  void run(const Stage &stage, runtime::Stream stream) { (this->*stage.run)(stream); }

  const Activations &activations() const { return a_; }

private:
  void plan(runtime::Stream stream);
  void norm(runtime::Stream stream);
  void project(runtime::Stream stream);
  void absorb(runtime::Stream stream);
  void append(runtime::Stream stream);
  void attend(runtime::Stream stream);
  void output(runtime::Stream stream);
  void residual(runtime::Stream stream);
  void gate(runtime::Stream stream);
  void experts(runtime::Stream stream);
  void finish(runtime::Stream stream);

  const LayerShape shape_;
  const Parts parts_;
  const int batch_;
  Activations a_;
  runtime::Kernel attention_;
  runtime::MoeKernel moe_;
  runtime::Plan plan_;
  runtime::MoeWorkspace workspace_;
};

} // namespace lathe::examples
