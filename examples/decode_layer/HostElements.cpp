//===- HostElements.cpp - Norm, rotation and sum on the host ------------------------------------------===//
//
// A row at a time: from the device, by the formulas of HostMath.h, and back.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Elements.h"
#include "HostMath.h"

using namespace lathe;
using namespace lathe::examples;
using runtime::Device;
using runtime::DevicePtr;
using runtime::Stream;

namespace {
class HostElements final : public Elements {
public:
  explicit HostElements(Device &device) : device_(device) {}
  std::string name() const override { return "the host"; }
  bool onDevice() const override { return false; }

  void norm(const NormCall &c, Stream stream) const override {
    device_.synchronize(stream);
    const std::vector<uint16_t> gain = read<uint16_t>(c.gain, c.width);
    for (int i = 0; i < c.rows; ++i)
      write(c.out, slot(c.slots, i) * c.outStride, rmsNorm(row(c.in, i * c.inStride, c.width), gain.data()));
  }
  void rotate(const RotateCall &c, Stream stream) const override {
    device_.synchronize(stream);
    for (int i = 0; i < c.rows; ++i)
      for (int head = 0; head < c.heads; ++head)
        write(c.out, slot(c.slots, i) * c.outStride + head * c.outHeadStride,
              examples::rotate(row(c.in, i * c.inStride + head * c.inHeadStride, c.width),
                               read<int32_t>(c.positions + uint64_t(i) * 4, 1)[0]));
  }
  void add(const AddCall &c, Stream stream) const override {
    device_.synchronize(stream);
    Row sum = row(c.a, 0, c.count);
    const Row other = row(c.b, 0, c.count);
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] += other[i];
    write(c.out, 0, sum);
  }

private:
  template <class Element>
  std::vector<Element> read(DevicePtr from, int64_t count) const {
    std::vector<Element> values(static_cast<size_t>(count));
    device_.copyToHost(values.data(), from, values.size() * sizeof(Element));
    return values;
  }
  Row row(DevicePtr from, int64_t offset, int64_t width) const {
    return fromBf16(read<uint16_t>(from + uint64_t(offset) * 2, width).data(), width);
  }
  void write(DevicePtr to, int64_t offset, const Row &row) const {
    std::vector<uint16_t> bits;
    for (const double value : row)
      bits.push_back(reference::toBf16(value));
    device_.copyToDevice(to + uint64_t(offset) * 2, bits.data(), bits.size() * 2);
  }
  int64_t slot(DevicePtr slots, int i) const {
    return slots ? read<int32_t>(slots + uint64_t(i) * 4, 1)[0] : i;
  }

  Device &device_;
};
} // namespace

std::unique_ptr<Elements> lathe::examples::hostElements(Device &device) {
  return std::make_unique<HostElements>(device);
}
