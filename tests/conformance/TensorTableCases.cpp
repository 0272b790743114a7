// Tensor maps that lie in a table in global memory and are chosen at run time, as those of many experts are:
// loads, stores and sums of boxes of two to five dimensions, with extents of 1, and of tensors whose strides
// do not grow from dimension to dimension.
#include "Boxes.h"
#include "Cases.h"
#include "Kernel.h"
#include "Numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 128, tables = 5, mapBytes = 128;
static constexpr size_t boxAt = tables * mapBytes; ///< Of the input: coordinates, then the number of the map.

namespace {
/// Which dimensions of a box are 1, a bit each, and which dimension has the n-th smallest stride.
struct Form {
  Dtype dtype = Dtype::BF16;
  int rank = 3, swizzle = 128;
  unsigned units = 0;
  std::array<int, 4> order{1, 2, 3, 4};
  bool grows() const { return std::is_sorted(order.begin(), order.begin() + rank - 1); }
};

/// Tensors of one box, one behind the other.
struct Table {
  std::vector<runtime::TensorMapSpec> specs;
  size_t bytes = 0;
};
} // namespace

static Table makeTable(const Form &form) {
  Random random(uint64_t(form.rank) * 100 + form.units * 7 + uint64_t(form.swizzle));
  Table table;
  runtime::TensorMapSpec spec = randomTensor(random, form.dtype, form.rank, form.swizzle).spec;
  for (int i = 1; i < form.rank; ++i)
    spec.box[size_t(i)] = form.units >> i & 1 ? 1 : 2 + uint32_t(random() % 2);
  const auto element = uint64_t(byteSize(form.dtype));
  for (size_t n = 0; n < tables; ++n) {
    spec.extent[0] = spec.box[0] + 16 / element * (random() % 3);
    uint64_t stride = (spec.extent[0] * element + 15) / 16 * 16;
    for (int k = 0; k + 1 < form.rank; ++k) {
      const auto dimension = size_t(form.order[size_t(k)]);
      spec.extent[dimension] = 1 + random() % 5;
      spec.strideBytes[dimension - 1] = stride;
      stride *= spec.extent[dimension];
    }
    spec.base = table.bytes;
    table.specs.push_back(spec);
    table.bytes += (stride + 127) / 128 * 128;
  }
  return table;
}

/// %map: the map that the input names; %x: the coordinates.
static std::string chooseMap(const Form &form) {
  return fmt::format("  .reg .b32 %x<5>, %n, %bar;\n  .reg .b64 %map, %p;\n  .reg .pred %c;\n"
                     "  ld.global.b32 %n, [%in+{}];\n  mad.wide.u32 %map, %n, {}, %in;\n",
                     boxAt + 32, mapBytes) +
         loadCoordinates(form.rank, "%in", boxAt);
}

static Bytes makeInput(const Form &form, const Table &table, Random &random, size_t bytes, Side side) {
  Bytes input = randomBytes(random, boxAt + 128 + bytes);
  const size_t which = random() % tables;
  setValue(input, boxAt, randomCoordinates(random, table.specs[which], side));
  setValue(input, boxAt + 32, uint32_t(which));
  for (size_t at = boxAt + 128; form.dtype == Dtype::F32 && at < input.size(); at += 4)
    setValue(input, at, float(int64_t(random() % 256) - 128));
  return input;
}

static std::string nameOf(const char *what, const Form &form) {
  std::string name = fmt::format("{}.{}d.{}.swizzle_{}.units_{:x}", what, form.rank, lathe::name(form.dtype),
                                 form.swizzle, form.units);
  for (int k = 0; !form.grows() && k + 1 < form.rank; ++k)
    name += fmt::format("{}{}", k ? "" : ".strides_", form.order[size_t(k)]);
  return name;
}

static void finish(Cases &cases, Case entry, const Form &form, const Table &table, bool ofOutput) {
  for (size_t n = 0; n < tables; ++n) {
    entry.maps.push_back({ofOutput, table.specs[n], n * mapBytes});
    entry.maps.back().spec.base += ofOutput ? 0 : boxAt + 128;
  }
  if (!form.grows())
    entry.question = "strides need not grow from dimension to dimension";
  cases.push_back(std::move(entry));
}

static void addLoad(Cases &cases, const Form &form) {
  const Table table = makeTable(form);
  const size_t bytes = boxBytes(table.specs[0]), barrier = (bytes + 1023) / 1024 * 1024;
  const std::string text = chooseMap(form) +
                           fmt::format(R"(  add.s32 %bar, %smem, {};
  setp.ne.s32 %c, %t, 0;
  @%c bra join;
  mbarrier.init.shared::cta.b64 [%bar], 1;
  fence.mbarrier_init.release.cluster;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%bar], {};
  cp.async.bulk.tensor.{}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%smem], [%map, {}], [%bar];
join:
  bar.sync 0;
wait:
  mbarrier.try_wait.parity.shared::cta.b64 %c, [%bar], 0;
  @!%c bra wait;
)",
                                       barrier, bytes, form.rank, registers("x", unsigned(form.rank))) +
                           copyToGlobal("%out", 0, bytes, threads, "copy");
  Case entry = makeCase("table", nameOf("load", form), {.threads = threads}, 1, unsigned(barrier + 64), text);
  entry.element = Element::Bits8;
  entry.outputBytes = bytes;
  entry.input = [=](Random &random) { return makeInput(form, table, random, table.bytes, Side::Load); };
  entry.expect = [=](const Bytes &input, Expected &out) {
    const runtime::TensorMapSpec &spec = table.specs[valueAt<uint32_t>(input, boxAt + 32)];
    const auto element = size_t(byteSize(form.dtype));
    overElements(spec, valueAt<Coordinates>(input, boxAt), [&](size_t inBox, int64_t inTensor) {
      for (size_t k = 0; k < element; ++k)
        out.bytes[swizzledByte(inBox, form.swizzle) + k] =
            inTensor < 0 ? std::byte(0) : input[boxAt + 128 + spec.base + size_t(inTensor) + k];
    });
  };
  finish(cases, std::move(entry), form, table, false);
}

/// `adds`: a sum of f32 or bf16, else a store.
static void addStore(Cases &cases, const Form &form, bool adds) {
  const Table table = makeTable(form);
  const size_t bytes = boxBytes(table.specs[0]);
  std::string text = chooseMap(form) + fmt::format("  add.s64 %p, %in, {};\n", boxAt + 128) +
                     copyToShared("%p", 0, bytes, threads, "copy");
  text +=
      fmt::format("  fence.proxy.async.shared::cta;\n  bar.sync 0;\n  setp.ne.s32 %c, %t, 0;\n  @%c ret;\n"
                  "  {}.tensor.{}d.global.shared::cta{}.tile.bulk_group [%map, {}], [%smem];\n"
                  "  cp.async.bulk.commit_group;\n  cp.async.bulk.wait_group 0;\n",
                  adds ? "cp.reduce.async.bulk" : "cp.async.bulk", form.rank, adds ? ".add" : "",
                  registers("x", unsigned(form.rank)));
  Case entry = makeCase("table", nameOf(adds ? "add" : "store", form), {.threads = threads}, 1,
                        unsigned(bytes + 1024), text);
  const bool single = form.dtype == Dtype::F32;
  entry.element = !adds ? Element::Bits8 : single ? Element::F32 : Element::BF16;
  entry.outputBytes = table.bytes;
  entry.input = [=](Random &random) { return makeInput(form, table, random, bytes, Side::Store); };
  entry.output = [=](Random &random) {
    Bytes output = randomBytes(random, table.bytes);
    for (size_t at = 0; single && at < output.size(); at += 4)
      setValue(output, at, float(int64_t(random() % 256) - 128));
    return output;
  };
  entry.expect = [=](const Bytes &input, Expected &out) {
    runtime::TensorMapSpec spec = table.specs[valueAt<uint32_t>(input, boxAt + 32)];
    const auto size = size_t(byteSize(form.dtype));
    while (spec.extent[0] * size % 16 != 0)
      ++spec.extent[0];
    const Format format = single ? f32 : bf16;
    overElements(spec, valueAt<Coordinates>(input, boxAt), [&](size_t inBox, int64_t inTensor) {
      if (inTensor < 0)
        return;
      uint64_t old = 0, value = 0;
      std::memcpy(&old, out.bytes.data() + spec.base + inTensor, size);
      std::memcpy(&value, input.data() + boxAt + 128 + swizzledByte(inBox, form.swizzle), size);
      const uint64_t updated = adds ? encode(format, add(decode(format, old), decode(format, value))) : value;
      std::memcpy(out.bytes.data() + spec.base + inTensor, &updated, size);
    });
  };
  finish(cases, std::move(entry), form, table, true);
}

void conformance::addTensorTableCases(Cases &cases) {
  for (Dtype dtype : {Dtype::BF16, Dtype::F32})
    for (int rank = 2; rank <= 5; ++rank)
      for (unsigned units : {0u, 0x2u, 0x1eu & ((2u << (rank - 1)) - 1)}) {
        const Form form{dtype, rank, rank % 2 ? 128 : 0, units};
        addLoad(cases, form);
        addStore(cases, form, false);
        addStore(cases, form, true);
        if (rank == 2 && units == 2)
          break; // All of its units.
      }
  for (std::array<int, 4> order : {std::array{2, 1, 3, 4}, {3, 2, 1, 4}, {4, 1, 3, 2}, {4, 3, 2, 1}})
    for (int rank = 3; rank <= 5; ++rank) {
      if (std::count_if(order.begin(), order.begin() + rank - 1, [rank](int k) { return k < rank; }) <
          rank - 1)
        continue;
      const Form form{Dtype::BF16, rank, 64, unsigned(rank == 5 ? 4 : 0), order};
      addLoad(cases, form);
      addStore(cases, form, false);
    }
}
