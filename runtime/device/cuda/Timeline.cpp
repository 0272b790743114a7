#include "lathe/runtime/device/cuda/CudaDevice.h"

using namespace lathe;
using namespace lathe::runtime;
using cuda::Context;
using cuda::CudaDevice;
using cuda::Current;
using cuda::Driver;

namespace {
class CudaEvent final : public Event {
public:
  explicit CudaEvent(std::shared_ptr<Context> context) : context_(std::move(context)) {
    Current current(*context_);
    context_->driver.check(context_->driver.eventCreate(&event_, CU_EVENT_DEFAULT), "creating an event");
  }
  ~CudaEvent() override {
    cuda::releaseIn(*context_, [this](const Driver &driver) { driver.eventDestroy(event_); });
  }
  void record(Stream stream) override {
    Current current(*context_);
    context_->driver.check(context_->driver.eventRecord(event_, cuda::native(stream)), "recording an event");
  }
  void synchronize() override {
    Current current(*context_);
    context_->driver.check(context_->driver.eventSynchronize(event_), "waiting for an event");
  }
  float millisecondsSince(const Event &start) const override {
    Current current(*context_);
    float milliseconds = 0;
    CUevent first = static_cast<const CudaEvent &>(start).event_;
    context_->driver.check(context_->driver.eventElapsedTime(&milliseconds, first, event_),
                           "timing two events");
    return milliseconds;
  }

private:
  std::shared_ptr<Context> context_;
  CUevent event_ = nullptr;
};

class CudaGraph final : public Graph {
public:
  CudaGraph(std::shared_ptr<Context> context, CUgraph graph) : context_(std::move(context)), graph_(graph) {
    CUresult result = context_->driver.graphInstantiate(&executable_, graph_, 0);
    if (result == CUDA_SUCCESS)
      return;
    context_->driver.graphDestroy(graph_);
    context_->driver.fail(result, "instantiating a graph");
  }
  ~CudaGraph() override {
    cuda::releaseIn(*context_, [this](const Driver &driver) {
      driver.graphExecDestroy(executable_);
      driver.graphDestroy(graph_);
    });
  }
  void launch(Stream stream) override {
    Current current(*context_);
    context_->driver.check(context_->driver.graphLaunch(executable_, cuda::native(stream)),
                           "launching a graph");
  }

private:
  std::shared_ptr<Context> context_;
  CUgraph graph_ = nullptr;
  CUgraphExec executable_ = nullptr;
};
} // namespace

std::unique_ptr<Event> CudaDevice::createEvent() { return std::make_unique<CudaEvent>(context_); }

void CudaDevice::beginCapture(Stream stream) {
  Current current(*context_);
  // Other threads may allocate and copy meanwhile.
  driver_.check(driver_.streamBeginCapture(native(stream), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                "beginning a capture");
}

std::unique_ptr<Graph> CudaDevice::endCapture(Stream stream) {
  Current current(*context_);
  CUgraph graph = nullptr;
  driver_.check(driver_.streamEndCapture(native(stream), &graph), "ending a capture");
  return std::make_unique<CudaGraph>(context_, graph);
}
