//===- Main.cpp - An application that serves a decode step ---------------------------------------------===//
//
// Loads what `lathe compile -o kernels/` wrote and decodes one step for three sequences, on a GPU or, without
// one, on the PTX emulator. It links lathe::runtime and nothing of the compiler. Run:
// lathe compile --model deepseek-v2-lite -o kernels && embed kernels
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/Kernel.h"
#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <cstdio>
#include <optional>

using namespace lathe;
using namespace lathe::runtime;

static void serve(const std::filesystem::path &folder) {
  Manifest manifest = nlohmann::json::parse(readFile(folder / "manifest.json")).get<Manifest>();
  auto device = openDevice();
  std::optional<std::string> image;
  if (device->imageKind() == ImageKind::Cubin)
    image = readFileIfThere(folder / "kernel.cubin"); // Absent where the driver assembles.
  if (!image)
    image = readFile(folder / "kernel.ptx") + '\0'; // PTX ends in a zero byte.
  Kernel kernel(device, *image, manifest);
  std::printf("on %s\n", device->properties().name.c_str());

  const std::vector<int> lengths{1000, 0, 77};           // KV tokens of each sequence.
  const int batch = 3, pages = 1000 / manifest.page + 1; // The sequences share their first pages.
  std::vector<int> table(size_t(batch) * pages);         // A row for each sequence.
  for (size_t i = 0; i < table.size(); ++i)
    table[i] = int(i) % pages;
  const size_t rows = size_t(batch) * manifest.queryTokens * manifest.heads;
  Buffer q(*device, rows * manifest.keyDim * 2), out(*device, rows * manifest.valueDim * 2),
      lse(*device, rows * 4);
  Buffer kv(*device, size_t(pages) * manifest.page * manifest.keyDim * 2);
  Buffer blockTable(*device, table.size() * 4), tokens(*device, lengths.size() * 4);
  device->copyToDevice(blockTable.get(), table.data(), blockTable.bytes());
  device->copyToDevice(tokens.get(), lengths.data(), tokens.bytes());

  Stream stream = device->createStream();
  device->fill(q.get(), 0x3f, q.bytes(), stream); // bf16 0x3f3f: every value is the same, so is every mean.
  device->fill(kv.get(), 0x3f, kv.bytes(), stream);
  DecodeTensors tensors{.batch = batch, .q = q.get(), .kv = kv.get(), .numPages = pages, .scale = 0.0722f};
  tensors.blockTable = blockTable.get(), tensors.blockTableStride = pages, tensors.lengths = tokens.get();
  tensors.out = out.get(), tensors.lse = lse.get();
  Plan plan = kernel.makePlan(batch);             // Once.
  kernel.plan(plan, tokens.get(), batch, stream); // Each step.
  kernel.run(plan, tensors, stream);              // Each layer.
  device->synchronize(stream);
  device->destroyStream(stream);

  std::vector<uint16_t> result(out.bytes() / 2);
  device->copyToHost(result.data(), out.get(), out.bytes());
  for (size_t b = 0; b < lengths.size(); ++b)
    std::printf("sequence %zu: %d tokens, first output 0x%04x\n", b, lengths[b],
                result[b * result.size() / batch]);
}

int main(int argc, char **argv) try { serve(argc > 1 ? argv[1] : "kernels"); } catch (const Error &error) {
  std::fprintf(stderr, "embed: %s\n", error.what());
  return 1;
}
