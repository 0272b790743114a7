//===- CudaDevice.h - Device over the CUDA driver ----------------------------------------------------===//
//
// The thin translation of Device to driver calls, each made with the GPU's primary context current.
// Implemented in CudaDevice.cpp (opening, memory, streams), Timeline.cpp (events, graphs) and Launch.cpp
// (modules, tensor maps, launches). Made by openCudaDevice alone.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/runtime/device/cuda/Context.h"

namespace lathe::runtime::cuda {

class CudaDevice final : public Device {
public:
  CudaDevice(std::shared_ptr<Context> context, DeviceProperties properties)
      : context_(std::move(context)), driver_(context_->driver), properties_(std::move(properties)) {}

  const DeviceProperties &properties() const override { return properties_; }

  DevicePtr allocate(size_t bytes) override;
  void release(DevicePtr pointer) override;
  void copyToDevice(DevicePtr to, const void *from, size_t bytes) override;
  void copyToHost(void *to, DevicePtr from, size_t bytes) override;
  void fill(DevicePtr to, uint8_t byte, size_t bytes, Stream stream) override;

  Stream createStream() override;
  void destroyStream(Stream stream) override;
  void synchronize(Stream stream) override;
  void synchronize() override;
  void checkStream(Stream stream) override;

  std::unique_ptr<Event> createEvent() override;
  void beginCapture(Stream stream) override;
  std::unique_ptr<Graph> endCapture(Stream stream) override;

  std::unique_ptr<Module> load(std::string_view image) override;
  int64_t residentClusters(Function function, const ClusterShape &shape) override;
  TensorMap encode(const TensorMapSpec &spec) override;
  void launch(Function function, const LaunchShape &shape, void **arguments, Stream stream) override;

private:
  std::shared_ptr<Context> context_;
  const Driver &driver_;
  DeviceProperties properties_;
};

inline CUstream native(Stream stream) { return static_cast<CUstream>(stream.handle); }

} // namespace lathe::runtime::cuda
