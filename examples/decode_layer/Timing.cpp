//===- Timing.cpp - How long a step takes --------------------------------------------------------------===//
//
// Before each step stands a fill of memory: it takes longer than the host needs to enqueue the step, so that
// the GPU never waits for the host between two events, and it leaves nothing of the layer in the L2.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Timing.h"

#include <algorithm>

using namespace lathe;
using namespace lathe::examples;
using runtime::Device;
using runtime::Event;
using runtime::Stream;

static constexpr size_t fillBytes = size_t(1) << 30;
static constexpr int warmUp = 3;

static double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// One row of microseconds a step.
static std::vector<std::vector<double>> timeStages(Layer &layer, Device &device, Stream stream, int repeat) {
  const auto stages = Layer::stages();
  const runtime::Buffer other(device, fillBytes);
  std::vector<std::unique_ptr<Event>> marks;
  for (size_t i = 0; i <= stages.size(); ++i)
    marks.push_back(device.createEvent());
  std::vector<std::vector<double>> steps;
  for (int step = 0; step < warmUp + repeat; ++step) {
    device.fill(other.get(), uint8_t(step), fillBytes, stream);
    marks[0]->record(stream);
    for (size_t i = 0; i < stages.size(); ++i) {
      layer.run(stages[i], stream);
      marks[i + 1]->record(stream);
    }
    device.synchronize(stream);
    std::vector<double> times;
    for (size_t i = 0; i < stages.size(); ++i)
      times.push_back(double(marks[i + 1]->millisecondsSince(*marks[i])) * 1e3);
    if (step >= warmUp)
      steps.push_back(std::move(times));
  }
  return steps;
}

static double timeGraph(Layer &layer, Device &device, Stream stream, int repeat) {
  device.beginCapture(stream);
  for (const Layer::Stage &stage : Layer::stages())
    layer.run(stage, stream);
  const std::unique_ptr<runtime::Graph> graph = device.endCapture(stream);
  const std::unique_ptr<Event> begin = device.createEvent(), end = device.createEvent();
  std::vector<double> times;
  for (int step = 0; step < warmUp + repeat; ++step) {
    begin->record(stream);
    graph->launch(stream);
    end->record(stream);
    device.synchronize(stream);
    if (step >= warmUp)
      times.push_back(double(end->millisecondsSince(*begin)) * 1e3);
  }
  return median(std::move(times));
}

Times lathe::examples::timeLayer(Layer &layer, Device &device, int repeat) {
  const Stream stream = device.createStream();
  const std::vector<std::vector<double>> steps = timeStages(layer, device, stream, repeat);
  Times times;
  for (size_t stage = 0; stage < steps[0].size(); ++stage) {
    std::vector<double> values;
    for (const std::vector<double> &step : steps)
      values.push_back(step[stage]);
    times.stages.push_back(median(std::move(values)));
  }
  times.graph = timeGraph(layer, device, stream, repeat);
  device.destroyStream(stream);
  return times;
}
