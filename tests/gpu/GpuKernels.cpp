//===- GpuKernels.cpp - Compiled kernels and the GPU that the tests share ----------------------------===//
//
// A map from shape and configuration to artifact and loaded kernel, filled on demand and ahead of demand by
// worker threads. Compiling dominates these tests, which is why it is shared and spread over the cores.
//
//===--------------------------------------------------------------------------------------------------===//
#include "GpuKernels.h"

#include "lathe/dsl/models/Mla.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

using namespace lathe;
using namespace lathe::gputest;

namespace {

/// One (shape, configuration). Artifact and kernel are each made once; a failure is kept and thrown to
/// everyone.
struct Slot {
  std::once_flag compiled, loaded;
  codegen::Artifact artifact;
  std::unique_ptr<runtime::Kernel> kernel;
  std::exception_ptr failure;
};

struct Pool {
  std::shared_ptr<runtime::Device> device;
  std::string reason;
  std::mutex mutex; ///< Of `slots` only; never held while compiling.
  std::map<std::string, std::shared_ptr<Slot>> slots;
  std::vector<KernelRequest> ahead;
  std::atomic<size_t> next = 0;
  std::vector<std::thread> workers;
};

} // namespace

static void openDevice(Pool &pool) {
  if (runtime::cudaDeviceCount() == 0) {
    pool.reason = runtime::cudaUnavailableReason();
    return;
  }
  try {
    pool.device = runtime::openCudaDevice(0);
  } catch (const Error &error) {
    pool.reason = error.what();
  }
}

static Pool &pool() {
  static Pool instance;
  static std::once_flag opened;
  std::call_once(opened, [] { openDevice(instance); });
  return instance;
}

static std::string keyOf(const KernelRequest &request) {
  const reference::AttentionShape &s = request.shape;
  return fmt::format("{} {} {} {} {} {} {}", s.heads, s.queryTokens, s.keyDim, s.valueDim, s.page, s.causal,
                     request.config ? request.config->str() : "default");
}

static Slot &slotOf(const KernelRequest &request) {
  std::lock_guard lock(pool().mutex);
  std::shared_ptr<Slot> &slot = pool().slots[keyOf(request)];
  if (!slot)
    slot = std::make_shared<Slot>();
  return *slot; // Stays where it is until shutDown.
}

std::shared_ptr<runtime::Device> gputest::gpu() { return pool().device; }
const std::string &gputest::unavailableReason() { return pool().reason; }

dsl::Kernel gputest::describe(const reference::AttentionShape &shape) {
  // The split between latent and RoPE means nothing to the mathematics; both must be positive.
  const int rope = shape.keyDim > shape.valueDim ? shape.keyDim - shape.valueDim : 8;
  return dsl::mlaDecode({.heads = shape.heads,
                         .latent = shape.keyDim - rope,
                         .rope = rope,
                         .value = shape.valueDim,
                         .page = shape.page,
                         .queryTokens = shape.queryTokens,
                         .causal = shape.causal});
}

codegen::AttentionProblem gputest::problemOf(const reference::AttentionShape &shape) {
  codegen::AttentionProblem problem;
  problem.name = "mla_decode";
  problem.heads = shape.heads;
  problem.queryTokens = shape.queryTokens;
  problem.keyDim = shape.keyDim;
  problem.valueDim = shape.valueDim;
  problem.page = shape.page;
  return problem;
}

codegen::Target gputest::target() {
  codegen::Target facts;
  if (auto device = gpu()) {
    facts.smCount = device->properties().smCount;
    facts.sharedBytesPerCta = device->properties().sharedBytesPerCta;
  }
  return facts;
}

const codegen::Artifact &gputest::artifactOf(const KernelRequest &request) {
  Slot &slot = slotOf(request);
  std::call_once(slot.compiled, [&] {
    try {
      const codegen::Config config =
          request.config ? *request.config : codegen::defaultConfig(problemOf(request.shape), target());
      slot.artifact = codegen::compile(describe(request.shape), config, {.target = target()});
    } catch (...) {
      slot.failure = std::current_exception();
    }
  });
  if (slot.failure)
    std::rethrow_exception(slot.failure);
  return slot.artifact;
}

std::string_view gputest::imageOf(const codegen::Artifact &artifact) {
  if (!artifact.cubin.empty())
    return artifact.cubin;
  return {artifact.ptx.c_str(), artifact.ptx.size() + 1}; // With the zero byte.
}

const runtime::Kernel &gputest::kernelOf(const KernelRequest &request) {
  const codegen::Artifact &artifact = artifactOf(request);
  Slot &slot = slotOf(request);
  std::call_once(slot.loaded, [&] { // Rethrows to each caller that finds it not loaded.
    slot.kernel = std::make_unique<runtime::Kernel>(gpu(), imageOf(artifact), artifact.manifest);
  });
  return *slot.kernel;
}

void gputest::compileAhead(std::vector<KernelRequest> requests) {
  Pool &shared = pool();
  shared.ahead = std::move(requests);
  auto work = [&shared] {
    for (size_t i; (i = shared.next.fetch_add(1)) < shared.ahead.size();)
      try {
        artifactOf(shared.ahead[i]);
      } catch (...) { // Kept in the slot for the test that needs it.
      }
  };
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < cores; ++i)
    shared.workers.emplace_back(work);
}

void gputest::shutDown() {
  Pool &shared = pool();
  shared.next = shared.ahead.size();
  for (std::thread &worker : shared.workers)
    worker.join();
  shared.workers.clear();
  std::lock_guard lock(shared.mutex);
  shared.slots.clear();
  shared.device.reset();
}
