//===- NvrtcReference.cpp - Paged attention decode in float64 on the GPU -----------------------------===//
//
// Launches the reference kernel over groups of sequences that fit a bounded scratch buffer and compares a
// kernel's outputs with the result. Serves the shapes that would take the CPU reference minutes: large tests,
// and the tuner, which verifies every candidate against one cached result.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/reference/Bf16.h"
#include "lathe/reference/Compare.h"
#include "lathe/reference/GpuKernels.h"
#include "lathe/reference/Nvrtc.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::reference;

/// Bytes of device memory that scores may take; sequences are computed in groups that fit.
static constexpr int64_t scratchBudgetBytes = int64_t(512) << 20;

static GpuProblem describe(const AttentionInstance::Impl &impl, int maxLength) {
  const AttentionShape &shape = impl.shape;
  const runtime::DecodeTensors &t = impl.tensors;
  return {.q = t.q,
          .kv = t.kv,
          .table = t.blockTable,
          .lengths = t.lengths,
          .scratch = 0, // The three results follow when their buffers exist.
          .out = 0,
          .lse = 0,
          .qStrideBatch = t.qStrideBatch,
          .qStrideRow = t.qStrideRow,
          .kvStridePage = t.kvStridePage,
          .kvStrideToken = t.kvStrideToken,
          .tableStride = t.blockTableStride,
          .heads = shape.heads,
          .queryTokens = shape.queryTokens,
          .keyDim = shape.keyDim,
          .valueDim = shape.valueDim,
          .page = shape.page,
          .causal = shape.causal,
          .maxLength = maxLength,
          .firstSequence = 0,
          .scale = double(shape.scale)};
}

/// Runs the kernel for all sequences and collects the result on the host.
static std::unique_ptr<Expected> computeOnGpu(const AttentionInstance::Impl &impl) {
  auto expected = std::make_unique<Expected>();
  if (impl.batch() == 0)
    return expected;
  runtime::Device &device = *impl.device;
  const runtime::DeviceProperties &properties = device.properties();
  auto module = device.load(referenceCubin(gpuKernelSource, "reference.cu", properties));
  const int sharedBytes = impl.shape.keyDim * int(sizeof(double));
  runtime::Function function = module->function(gpuKernelName, sharedBytes);

  const int64_t rows = impl.shape.rows(), valueDim = impl.shape.valueDim;
  const int maxLength = std::max(1, *std::max_element(impl.lengths.begin(), impl.lengths.end()));
  const int64_t fitting = scratchBudgetBytes / (rows * maxLength * int64_t(sizeof(double)));
  const int64_t group = std::clamp<int64_t>(fitting, 1, impl.batch());
  runtime::Buffer scratch(device, size_t(group * rows * maxLength) * sizeof(double));
  runtime::Buffer out(device, size_t(group * rows * valueDim) * sizeof(double));
  runtime::Buffer lse(device, size_t(group * rows) * sizeof(double));
  GpuProblem problem = describe(impl, maxLength);
  problem.scratch = scratch.get();
  problem.out = out.get();
  problem.lse = lse.get();

  device.synchronize(); // The inputs may still be on their way on another stream.
  std::vector<double> groupOut(size_t(group * rows * valueDim));
  expected->lse.resize(size_t(impl.totalRows()));
  expected->out.resize(size_t(impl.totalRows() * valueDim));
  for (int64_t first = 0; first < impl.batch(); first += group) {
    const int64_t count = std::min<int64_t>(group, impl.batch() - first);
    problem.firstSequence = int32_t(first);
    void *arguments[] = {&problem};
    device.launch(function,
                  {.gridX = unsigned(rows),
                   .gridY = unsigned(count),
                   .threads = gpuThreads,
                   .sharedBytes = unsigned(sharedBytes)},
                  arguments, {});
    device.synchronize();
    device.copyToHost(groupOut.data(), out.get(), size_t(count * rows * valueDim) * sizeof(double));
    device.copyToHost(expected->lse.data() + first * rows, lse.get(), size_t(count * rows) * sizeof(double));
    std::transform(groupOut.begin(), groupOut.begin() + count * rows * valueDim,
                   expected->out.begin() + first * rows * valueDim, toBf16);
  }
  return expected;
}

Comparison lathe::reference::compareWithGpu(AttentionInstance &instance) {
  AttentionInstance::Impl &impl = instance.impl();
  const Produced produced = download(impl);
  if (!produced.gapFault.empty())
    return {.message = produced.gapFault};
  if (!impl.gpuExpected)
    impl.gpuExpected = computeOnGpu(impl);

  std::vector<RowName> names(size_t(impl.totalRows()));
  for (size_t i = 0; i < names.size(); ++i)
    names[i] = impl.rowName(int64_t(i));
  return compareRows({impl.shape.valueDim, names, produced.out.data(), impl.gpuExpected->out.data(),
                      produced.lse.data(), impl.gpuExpected->lse.data()});
}
