//===- 4-mixture-of-experts.cpp - Lesson 4: a layer of experts ------------------------------------------===//
//
// The other half of a decoder layer, from description to checked result: a router chooses experts for each
// row, a contraction reads the weights of the experts that were chosen, and a sum weighs their results. It
// runs on a GPU or, without one, on the PTX emulator, and is judged by the float64 reference.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/dsl/Kernel.h"
#include "lathe/dsl/Print.h"
#include "lathe/dsl/Routing.h"
#include "lathe/reference/MoeReference.h"
#include "lathe/runtime/Jit.h"

#include <cstdio>
#include <random>

using namespace lathe;

/// Small, so that the emulator takes a moment only. DeepSeek-V2-Lite has 2048, 1408, 64, 6 and 2.
static constexpr int hidden = 128, intermediate = 64, experts = 8, choices = 2, sharedExperts = 1;

static dsl::Kernel layer() {
  using namespace lathe::dsl;
  Dim n("row"), c("hidden", hidden), f("inner", intermediate), half("half", 2);
  Dim e("expert", experts), k("choice", choices), s("shared", sharedExperts);
  Tensor x = input("x", bf16, {n, c}), logits = input("logits", f32, {n, e});
  Tensor w1 = input("w1", bf16, {e, half, f, c}),
         w2 = input("w2", bf16, {e, c, f}); // Gate rows, then up rows.
  Tensor shared1 = input("shared1", bf16, {half, s, f, c}), shared2 = input("shared2", bf16, {c, s, f});

  // The router: the best choices by the probabilities of a softmax. With sigmoid(logits(n, e)) for the
  // softmax, a bias or groups in the options it is that of DeepSeek-V3.
  Routing r = topK(k, softmax(e, logits(n, e)), {.renormalize = true});

  // A choice's expert is an index like any other: "the weights of the expert that row n chose k-th".
  auto routed = [&](int part) { return sum(c, x(n, c) * w1(r.expert(n, k), part, f, c)); };
  auto always = [&](int part) { return sum(c, x(n, c) * shared1(part, s, f, c)); };
  Expr own = silu(routed(0)) * routed(1), common = silu(always(0)) * always(1);

  Kernel kernel("experts");
  kernel.output("y", bf16, {n, c}) = sum(k, r.weight(n, k) * sum(f, own * w2(r.expert(n, k), c, f))) +
                                     sum(s, sum(f, common * shared2(c, s, f)));
  return kernel;
}

/// The same in the terms of the reference, which knows nothing of descriptions.
static reference::MoeShape referenceShape() {
  reference::MoeShape shape;
  shape.hidden = hidden;
  shape.inner = intermediate;
  shape.sharedExperts = sharedExperts;
  shape.router.experts = experts;
  shape.router.topK = choices;
  shape.router.renormalize = true;
  return shape;
}

/// Runs the layer once for `rows` random rows and asks both judges.
static bool step(const runtime::MoeKernel &kernel, int rows, uint64_t seed) {
  runtime::Device &device = kernel.device();
  // Random tensors on the device; NaN behind the last row and in the weights of experts that no row chose.
  reference::MoeInstance problem(device, referenceShape(), rows, {.seed = seed});
  problem.poisonRouting(); // The kernel must find the routing itself.
  const reference::MoeTensors t = problem.tensors();
  const runtime::MoeTensors tensors{.rows = rows,
                                    .x = t.x,
                                    .logits = t.logits,
                                    .ids = t.ids, // Written: of interest to the judge. May be left out.
                                    .weights = t.weights,
                                    .w1 = t.w1,
                                    .w2 = t.w2,
                                    .shared1 = t.shared1,
                                    .shared2 = t.shared2,
                                    .y = t.y};

  runtime::Stream stream = device.createStream();
  const runtime::MoeWorkspace workspace = kernel.makeWorkspace(rows); // Once: allocates.
  kernel.run(workspace, tensors, stream);                             // Each layer.
  device.synchronize(stream);
  device.destroyStream(stream);

  const reference::RoutingCheck routing = reference::checkRouting(problem);
  const reference::MoeComparison result = reference::compareWithCpu(problem);
  std::printf("%d rows: routing %s, relative error %.2g %s\n", rows, routing.passed ? "right" : "wrong",
              result.relativeError, result.message.c_str());
  return routing.passed && result.passed;
}

int main() {
  const dsl::Kernel description = layer();
  std::printf("%s\n", dsl::print(description).c_str());

  // What the compiler recognised in it, and the configuration it takes for steps of about 16 rows. A kernel
  // serves any number of rows; the configuration only says for how many it is fast.
  const codegen::MoeProblem problem = codegen::analyzeMoe(description);
  std::printf("%d of %d experts a row, %d of them for all, %d x %d\n", problem.topK, problem.experts,
              problem.shared, problem.hidden, problem.intermediate);
  const runtime::Jit jit;
  runtime::MoeJitRequest request;
  request.rows = 16;
  runtime::MoeJitReport report;
  const auto device = runtime::openDevice();
  const runtime::MoeKernel kernel = jit.load(description, device, request, &report);
  std::printf("on %s with %s\n", device->properties().name.c_str(), report.config.str().c_str());

  const uint64_t seed = std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  return step(kernel, 16, seed) && step(kernel, 1, seed + 1) ? 0 : 1;
}
