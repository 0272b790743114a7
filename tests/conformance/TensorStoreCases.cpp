// cp.async.bulk.tensor and cp.reduce.async.bulk.tensor from shared to global memory: PTX ISA, "Data Movement
// and Conversion Instructions". What of a box lies outside its tensor is not written, but for the rest of 16
// bytes that begin in it: the ISA does not say so, an H100 does it.
#include "Boxes.h"
#include "Cases.h"
#include "Kernel.h"
#include "Numbers.h"
#include "Values.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 128;
static constexpr size_t coordinateBytes = 64;

namespace {
/// A store (`operation` empty) or a reduction of a box.
struct Form {
  Dtype dtype = Dtype::BF16;
  int rank = 2, swizzle = 128;
  std::string operation = {};
  std::string question = {};
};
} // namespace

static std::string body(const runtime::TensorMapSpec &spec, const std::string &operation) {
  const size_t bytes = boxBytes(spec);
  std::string text = fmt::format(
      "  .reg .b32 %x<5>;\n  .reg .b64 %p;\n  .reg .pred %c;\n  add.s64 %p, %in, {};\n", coordinateBytes);
  text += copyToShared("%p", 0, bytes, threads, "copy");
  text += "  fence.proxy.async.shared::cta;\n  bar.sync 0;\n  setp.ne.s32 %c, %t, 0;\n  @%c ret;\n";
  text += loadCoordinates(spec.rank, "%in", 0);
  text += fmt::format("  {}.tensor.{}d.global.shared::cta{}.tile.bulk_group [%map0, {}], [%smem];\n",
                      operation.empty() ? "cp.async.bulk" : "cp.reduce.async.bulk", spec.rank,
                      operation.empty() ? "" : "." + operation, registers("x", unsigned(spec.rank)));
  return text + "  cp.async.bulk.commit_group;\n  cp.async.bulk.wait_group 0;\n";
}

static Format formatOf(Dtype dtype) {
  return dtype == Dtype::F16 ? f16 : dtype == Dtype::BF16 ? bf16 : dtype == Dtype::F32 ? f32 : f64;
}

/// Element after a reduction.
static uint64_t reduced(const Form &form, uint64_t old, uint64_t value) {
  const bool adds = form.operation == "add", least = form.operation == "min";
  if (form.dtype == Dtype::I32)
    return adds ? old + value : (int32_t(old) < int32_t(value)) == least ? old : value;
  if (form.dtype == Dtype::I64)
    return (int64_t(old) < int64_t(value)) == least ? old : value;
  const Format format = formatOf(form.dtype);
  // The ISA has subnormal numbers flushed for f32; an H100 keeps them.
  const Exact a = decode(format, old), b = decode(format, value);
  if (adds)
    return encode(format, add(a, b));
  return less(a, b) == least ? old : value;
}

/// Random elements; min and max get neither NaNs nor zeros, of which the ISA says nothing here.
static Bytes randomElements(const Form &form, Random &random, size_t bytes) {
  Bytes out = randomBytes(random, bytes);
  if (form.operation.empty() || form.dtype == Dtype::I32 || form.dtype == Dtype::I64)
    return out;
  const Format format = formatOf(form.dtype);
  const auto size = size_t(byteSize(form.dtype));
  for (size_t at = 0; at + size <= bytes; at += size) {
    uint64_t bits = randomBits(format, random);
    const Exact value = decode(format, bits);
    if (form.operation != "add" && (value.isNan() || value.isZero()))
      bits = encode(format, exactly(3));
    std::memcpy(out.data() + at, &bits, size);
  }
  return out;
}

static Element elementOf(const Form &form) {
  if (form.operation.empty())
    return Element::Bits8;
  switch (form.dtype) {
  case Dtype::BF16:
    return Element::BF16;
  case Dtype::F16:
    return Element::F16;
  case Dtype::F32:
    return Element::F32;
  case Dtype::I64:
    return Element::Bits64;
  default:
    return Element::Bits32;
  }
}

static void addStore(Cases &cases, const Form &form) {
  Random shape(uint64_t(form.rank) * 1000 + uint64_t(form.swizzle) + uint64_t(form.dtype) * 7 + 1);
  const Tensor tensor = randomTensor(shape, form.dtype, form.rank, form.swizzle);
  const size_t bytes = boxBytes(tensor.spec);
  const std::string name =
      fmt::format("{}.{}d.{}.swizzle_{}", form.operation.empty() ? "store" : "reduce." + form.operation,
                  form.rank, lathe::name(form.dtype), form.swizzle);
  Case entry = makeCase("tensor", name, {.threads = threads, .maps = 1}, 1, unsigned(bytes + 1024),
                        body(tensor.spec, form.operation));
  entry.element = elementOf(form);
  entry.question = form.question;
  entry.outputBytes = tensor.bytes;
  entry.maps = {{true, tensor.spec}};
  entry.input = [=](Random &random) {
    Bytes input(coordinateBytes);
    setValue(input, 0, randomCoordinates(random, tensor.spec, Side::Store));
    const Bytes box = randomElements(form, random, bytes);
    input.insert(input.end(), box.begin(), box.end());
    return input;
  };
  if (!form.operation.empty())
    entry.output = [=](Random &random) { return randomElements(form, random, tensor.bytes); };
  entry.expect = [=](const Bytes &input, Expected &out) {
    const auto size = size_t(byteSize(form.dtype));
    runtime::TensorMapSpec written = tensor.spec;
    while (written.extent[0] * size % 16 != 0)
      ++written.extent[0];
    overElements(written, valueAt<Coordinates>(input, 0), [&](size_t inBox, int64_t inTensor) {
      if (inTensor < 0)
        return;
      uint64_t old = 0, value = 0;
      std::memcpy(&old, out.bytes.data() + inTensor, size);
      std::memcpy(&value, input.data() + coordinateBytes + swizzledByte(inBox, form.swizzle), size);
      const uint64_t updated = form.operation.empty() ? value : reduced(form, old, value);
      std::memcpy(out.bytes.data() + inTensor, &updated, size);
    });
  };
  cases.push_back(std::move(entry));
}

void conformance::addTensorStoreCases(Cases &cases) {
  for (int rank = 1; rank <= 5; ++rank)
    for (int swizzle : {0, 32, 64, 128})
      addStore(cases, {rank % 2 ? Dtype::BF16 : Dtype::F32, rank, swizzle});
  for (Dtype dtype : {Dtype::F16, Dtype::F64, Dtype::I32, Dtype::I64})
    addStore(cases, {dtype, 3, 128});
  for (const char *operation : {"add", "min", "max"})
    for (Dtype dtype : {Dtype::BF16, Dtype::F16, Dtype::I32})
      for (int swizzle : {0, 64, 128})
        addStore(cases, {dtype, 2 + swizzle / 64, swizzle, operation});
  for (const char *operation : {"min", "max"})
    addStore(cases, {Dtype::I64, 2, 128, operation});
  for (int swizzle : {0, 128})
    addStore(cases, {Dtype::F32, 3, swizzle, "add",
                     "sums of f32 flush subnormal numbers, as those without a tensor map do"});
}
