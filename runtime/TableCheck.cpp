#include "lathe/runtime/Tensors.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <vector>

using namespace lathe;
using namespace lathe::runtime;

/// Pages that a sequence of this length reads. Throws UserError when the length is impossible.
static int64_t pagesOf(const Manifest &manifest, int sequence, int32_t length, int maxPagesPerSequence) {
  std::string place = fmt::format("lengths[sequence {}]", sequence);
  if (length < 0)
    throw UserError({place, "a length must not be negative", fmt::format("{}", length), ""});
  int64_t pages = (int64_t(length) + manifest.page - 1) / manifest.page;
  if (pages > maxPagesPerSequence)
    throw UserError(
        {place,
         fmt::format("a block table of {} pages of {} tokens holds at most {} tokens", maxPagesPerSequence,
                     manifest.page, int64_t(maxPagesPerSequence) * manifest.page),
         fmt::format("{}", length), "widen the block table"});
  return pages;
}

void runtime::checkTable(Device &device, const Manifest &manifest, const DecodeTensors &tensors,
                         int maxPagesPerSequence) {
  std::vector<int32_t> lengths(tensors.batch), entries;
  device.copyToHost(lengths.data(), tensors.lengths, lengths.size() * sizeof(int32_t));
  for (int sequence = 0; sequence < tensors.batch; ++sequence) {
    entries.resize(pagesOf(manifest, sequence, lengths[sequence], maxPagesPerSequence));
    if (entries.empty())
      continue;
    device.copyToHost(entries.data(),
                      tensors.blockTable +
                          sizeof(int32_t) * uint64_t(sequence) * uint64_t(tensors.blockTableStride),
                      entries.size() * sizeof(int32_t));
    for (size_t i = 0; i < entries.size(); ++i)
      if (entries[i] < 0 || entries[i] >= tensors.numPages)
        throw UserError({"",
                         fmt::format("block_table[sequence {}][{}] is {}, the cache has {} pages", sequence,
                                     i, entries[i], tensors.numPages),
                         "", "fix the page allocator that filled the table"});
  }
}
