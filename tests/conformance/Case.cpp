#include "Case.h"

#include "Numbers.h"

#include <fmt/format.h>

#include <cmath>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t shownDifferences = 4;

int conformance::byteSize(Element element) {
  switch (element) {
  case Element::Bits8:
    return 1;
  case Element::Bits16:
  case Element::F16:
  case Element::BF16:
    return 2;
  case Element::Bits32:
  case Element::F32:
    return 4;
  case Element::Bits64:
  case Element::F64:
    return 8;
  }
  return 1;
}

Bytes conformance::randomBytes(Random &random, size_t size) {
  Bytes bytes(size);
  for (std::byte &byte : bytes)
    byte = std::byte(random());
  return bytes;
}

/// Bytes that no kernel leaves by accident, different in neighbours.
static Bytes poison(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = std::byte(0xA5 ^ (i * 29));
  return bytes;
}

Data conformance::makeData(const Case &entry, uint64_t seed) {
  Random random(seed);
  Data data;
  data.input = entry.input ? entry.input(random) : Bytes(16);
  data.output = entry.output ? entry.output(random) : poison(entry.outputBytes);
  return data;
}

Bytes conformance::run(runtime::Device &device, const Case &entry, const Data &data) {
  runtime::Buffer input(device, data.input.size()), output(device, data.output.size());
  device.copyToDevice(input.get(), data.input.data(), data.input.size());
  device.copyToDevice(output.get(), data.output.data(), data.output.size());
  const auto module = device.load({entry.ptx.c_str(), entry.ptx.size() + 1});
  const runtime::Function function = module->function("test", int(entry.shape.sharedBytes));
  runtime::DevicePtr pointers[] = {input.get(), output.get()};
  std::vector<runtime::TensorMap> maps;
  maps.reserve(entry.maps.size());
  std::vector<void *> arguments{&pointers[0], &pointers[1]};
  for (const Map &map : entry.maps) {
    runtime::TensorMapSpec spec = map.spec;
    spec.base += pointers[map.ofOutput ? 1 : 0];
    maps.push_back(device.encode(spec));
    if (map.inInput == SIZE_MAX)
      arguments.push_back(&maps.back());
    else
      device.copyToDevice(input.get() + map.inInput, &maps.back(), sizeof(runtime::TensorMap));
  }
  device.launch(function, entry.shape, arguments.data(), {});
  device.synchronize();
  Bytes after(data.output.size());
  device.copyToHost(after.data(), output.get(), after.size());
  return after;
}

//===- Comparison ------------------------------------------------------------------------------------===//

/// A number for comparisons by tolerance and for messages.
static double numberAt(Element element, const Bytes &bytes, size_t i) {
  switch (element) {
  case Element::F16:
    return toDouble(f16, elementAt<uint16_t>(bytes, i));
  case Element::BF16:
    return toDouble(bf16, elementAt<uint16_t>(bytes, i));
  case Element::F32:
    return elementAt<float>(bytes, i);
  case Element::F64:
    return elementAt<double>(bytes, i);
  default:
    return 0;
  }
}

static bool isFloat(Element element) {
  return element == Element::F16 || element == Element::BF16 || element == Element::F32 ||
         element == Element::F64;
}

static bool agree(Element element, const Expected &expected, const Bytes &after, size_t i) {
  const auto size = size_t(byteSize(element));
  if (std::memcmp(expected.bytes.data() + i * size, after.data() + i * size, size) == 0)
    return true;
  if (!isFloat(element))
    return false;
  const double want = numberAt(element, expected.bytes, i), got = numberAt(element, after, i);
  if (std::isnan(want) || std::isnan(got))
    return std::isnan(want) && std::isnan(got);
  return i < expected.bounds.size() && expected.bounds[i] > 0 && std::fabs(got - want) <= expected.bounds[i];
}

static std::string show(Element element, const Bytes &bytes, size_t i) {
  const auto size = size_t(byteSize(element));
  uint64_t bits = 0;
  std::memcpy(&bits, bytes.data() + i * size, size);
  const std::string hex = fmt::format("{:#0{}x}", bits, 2 * size + 2);
  return isFloat(element) ? fmt::format("{} ({})", hex, numberAt(element, bytes, i)) : hex;
}

std::string conformance::compare(const Case &entry, const Data &data, const Bytes &after) {
  Expected expected{data.output, {}};
  entry.expect(data.input, expected);
  std::string text;
  size_t different = 0;
  const size_t count = expected.bytes.size() / size_t(byteSize(entry.element));
  for (size_t i = 0; i < count; ++i) {
    if (agree(entry.element, expected, after, i))
      continue;
    if (different++ < shownDifferences)
      text += fmt::format("  element {}: {}, expected {}{}\n", i, show(entry.element, after, i),
                          show(entry.element, expected.bytes, i),
                          i < expected.bounds.size() ? fmt::format(" within {}", expected.bounds[i]) : "");
  }
  return different == 0 ? "" : fmt::format("{} of {} elements differ\n{}", different, count, text);
}
