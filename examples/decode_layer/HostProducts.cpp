//===- HostProducts.cpp - Plain matrix products on the host -------------------------------------------===//
//
// Brings rows and weights from the device, multiplies in binary64, and puts the result back, rounded once.
//
//===--------------------------------------------------------------------------------------------------===//
#include "HostMath.h"
#include "Products.h"

#include <cstring>

using namespace lathe;
using namespace lathe::examples;
using runtime::Device;
using runtime::DevicePtr;
using runtime::Stream;

static std::vector<uint16_t> download(Device &device, DevicePtr from, int64_t elements) {
  std::vector<uint16_t> values(static_cast<size_t>(elements));
  device.copyToHost(values.data(), from, values.size() * 2);
  return values;
}

namespace {
class HostProducts final : public Products {
public:
  explicit HostProducts(Device &device) : device_(device) {}
  std::string name() const override { return "the host"; }
  bool onDevice() const override { return false; }

  void multiply(const Product &p, Stream stream) const override {
    device_.synchronize(stream);
    const std::vector<uint16_t> weights =
        download(device_, p.weights, int64_t(p.parts) * p.outColumns * p.columns);
    for (int row = 0; row < p.count; ++row)
      for (int part = 0; part < p.parts; ++part) {
        const Row values = rowOf(p, row, part);
        Row sums;
        for (int64_t n = 0; n < p.outColumns; ++n)
          sums.push_back(dot(values, weights.data() + (int64_t(part) * p.outColumns + n) * p.columns));
        store(p, row, part, sums);
      }
  }

private:
  Row rowOf(const Product &p, int64_t row, int64_t part) const {
    const int64_t at = row * p.rowStride + part * p.rowPartStride;
    return fromBf16(download(device_, p.rows + uint64_t(at) * 2, p.columns).data(), p.columns);
  }
  void store(const Product &p, int64_t row, int64_t part, const Row &sums) const {
    const size_t bytes = size_t(byteSize(p.outType));
    std::vector<std::byte> values(sums.size() * bytes);
    for (size_t i = 0; i < sums.size(); ++i) {
      const float narrow = float(sums[i]);
      const uint16_t bits = reference::toBf16(sums[i]);
      std::memcpy(values.data() + i * bytes, bytes == 4 ? static_cast<const void *>(&narrow) : &bits, bytes);
    }
    const int64_t at = row * p.outStride + part * p.outPartStride;
    device_.copyToDevice(p.out + uint64_t(at) * bytes, values.data(), values.size());
  }

  Device &device_;
};
} // namespace

std::unique_ptr<Products> lathe::examples::hostProducts(Device &device) {
  return std::make_unique<HostProducts>(device);
}
