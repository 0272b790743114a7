//===- GpuKernels.h - Compiled kernels and the GPU that the tests share ------------------------------===//
//
// Opens the GPU once, and compiles each (shape, configuration) once a process, on all cores ahead of the
// tests that will run. Everything in tests/gpu gets its kernels here.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Compiler.h"
#include "lathe/reference/ShapeTable.h"
#include "lathe/runtime/Kernel.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace lathe::gputest {

/// The description of MLA decode for a shape.
dsl::Kernel describe(const reference::AttentionShape &shape);
/// What the schedule is asked about that description.
codegen::AttentionProblem problemOf(const reference::AttentionShape &shape);
codegen::Target target();

/// A shape with a configuration, nothing meaning the default one.
struct KernelRequest {
  reference::AttentionShape shape;
  std::optional<codegen::Config> config;
};

/// The GPU of the tests; null where there is none, and then unavailableReason() says why.
std::shared_ptr<runtime::Device> gpu();
const std::string &unavailableReason();

/// Compiles, or returns what was compiled before. Thread-safe. Throws what compile() threw.
const codegen::Artifact &artifactOf(const KernelRequest &request);
/// Cubin, or zero-ended PTX where the driver assembles.
std::string_view imageOf(const codegen::Artifact &artifact);
/// The artifact loaded on gpu(), once a process.
const runtime::Kernel &kernelOf(const KernelRequest &request);

/// Starts compiling on all cores in this order; failures are reported by whoever asks for the artifact.
void compileAhead(std::vector<KernelRequest> requests);
/// Waits for compileAhead and lets go of kernels and GPU. To be called before the process ends.
void shutDown();

/// A stream that lives as long as this object.
class OwnStream {
public:
  explicit OwnStream(runtime::Device &device) : device_(device), stream_(device.createStream()) {}
  OwnStream(const OwnStream &) = delete;
  ~OwnStream() { device_.destroyStream(stream_); }
  operator runtime::Stream() const { return stream_; }

private:
  runtime::Device &device_;
  runtime::Stream stream_;
};

} // namespace lathe::gputest
