// cp.async.bulk.tensor from global to shared memory: PTX ISA, "Data Movement and Conversion Instructions".
// Tensors of one to five dimensions, all swizzles and element types, boxes inside, across every side, and
// outside: there zeros come.
#include "Boxes.h"
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 128;
static constexpr size_t boxes = 6, coordinateBytes = 256; ///< At the input's start: eight words a box.

/// Offset of a box in shared memory: multiples of 1024, and with `shift` 128 bytes more for each box.
static size_t landing(size_t box, size_t bytes, bool shift) {
  const size_t step = (bytes + 1023) / 1024 * 1024 + 1024;
  return box * step + (shift ? 128 * (box + 1) : 0);
}

static std::string body(const runtime::TensorMapSpec &spec, size_t barrier, bool shift) {
  const size_t bytes = boxBytes(spec);
  std::string text = fmt::format(R"(  .reg .b32 %bar, %dst, %x<5>;
  .reg .b64 %p;
  .reg .pred %c;
  add.s32 %bar, %smem, {};
  setp.ne.s32 %c, %t, 0;
  @%c bra join;
  mbarrier.init.shared::cta.b64 [%bar], 1;
  fence.mbarrier_init.release.cluster;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], {};
)",
                                 barrier, boxes * bytes);
  for (size_t box = 0; box < boxes; ++box)
    text += loadCoordinates(spec.rank, "%in", 32 * box) +
            fmt::format("  add.s32 %dst, %smem, {};\n  "
                        "cp.async.bulk.tensor.{}d.shared::cluster.global.tile.mbarrier::complete_tx"
                        "::bytes [%dst], [%map0, {}], [%bar];\n",
                        landing(box, bytes, shift), spec.rank, registers("x", unsigned(spec.rank)));
  text += "join:\n  bar.sync 0;\nwait:\n  mbarrier.try_wait.parity.shared::cta.b64 %c, [%bar], 0;\n  @!%c "
          "bra wait;\n";
  for (size_t box = 0; box < boxes; ++box) {
    text += fmt::format("  add.s64 %p, %out, {};\n", box * bytes);
    text += copyToGlobal("%p", landing(box, bytes, shift), bytes, threads, fmt::format("copy{}", box));
  }
  return text;
}

static void addLoad(Cases &cases, Dtype dtype, int rank, int swizzle, bool shift = false) {
  Random shape(uint64_t(rank) * 1000 + uint64_t(swizzle) + uint64_t(dtype) * 7);
  const Tensor tensor = randomTensor(shape, dtype, rank, swizzle);
  const size_t bytes = boxBytes(tensor.spec), barrier = landing(boxes, bytes, true) / 1024 * 1024;
  const std::string name =
      fmt::format("load.{}d.{}.swizzle_{}{}", rank, lathe::name(dtype), swizzle, shift ? ".shifted" : "");
  Case entry = makeCase("tensor", name, {.threads = threads, .maps = 1}, 1, unsigned(barrier + 64),
                        body(tensor.spec, barrier, shift));
  entry.element = Element::Bits8;
  entry.outputBytes = boxes * bytes;
  entry.maps = {{false, tensor.spec}};
  entry.maps[0].spec.base = coordinateBytes;
  entry.input = [tensor](Random &random) {
    Bytes input = randomBytes(random, coordinateBytes + tensor.bytes);
    for (size_t box = 0; box < boxes; ++box)
      setValue(input, 32 * box, randomCoordinates(random, tensor.spec, Side::Load));
    return input;
  };
  entry.expect = [=](const Bytes &input, Expected &out) {
    const auto element = size_t(byteSize(dtype));
    for (size_t box = 0; box < boxes; ++box)
      overElements(tensor.spec, valueAt<Coordinates>(input, 32 * box), [&](size_t inBox, int64_t inTensor) {
        const size_t start = landing(box, bytes, shift);
        const size_t to = box * bytes + swizzledByte(start + inBox, swizzle) - start;
        for (size_t k = 0; k < element; ++k)
          out.bytes[to + k] = inTensor < 0 ? std::byte(0) : input[coordinateBytes + size_t(inTensor) + k];
      });
  };
  cases.push_back(std::move(entry));
}

void conformance::addTensorLoadCases(Cases &cases) {
  for (int rank = 1; rank <= 5; ++rank)
    for (int swizzle : {0, 32, 64, 128})
      for (Dtype dtype : {Dtype::BF16, Dtype::F32, Dtype::I32})
        addLoad(cases, dtype, rank, swizzle);
  for (Dtype dtype : {Dtype::F16, Dtype::F64, Dtype::I64})
    for (int swizzle : {0, 128})
      addLoad(cases, dtype, 3, swizzle);
  // Destinations that are multiples of 128 and not of 1024: the pattern is that of the address.
  for (int swizzle : {0, 32, 64, 128})
    addLoad(cases, Dtype::BF16, 2, swizzle, true);
}
