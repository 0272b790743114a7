// Writes the texts that the fuzzers begin with: some conformance cases of each family, and a compiled kernel.
#include "lathe/reference/ShapeTable.h"
#include "lathe/tests/conformance/Cases.h"
#include "lathe/tests/emulated/EmulatedKernels.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>

using namespace lathe;

static constexpr size_t ofFamily = 12;

static void write(const std::filesystem::path &folder, const std::string &name, const std::string &text) {
  std::ofstream(folder / name, std::ios::binary) << text << '\0' << std::string(64, '\1');
}

/// The module's beginning and one of its kernels.
static std::string onlyKernel(const std::string &ptx, const std::string &name) {
  const std::string entry = ".visible .entry ";
  const size_t first = ptx.find(entry), begin = ptx.find(entry + name);
  return ptx.substr(0, first) + ptx.substr(begin, ptx.find("\n}\n", begin) + 3 - begin);
}

int main(int count, char **arguments) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", arguments[0]);
    return 2;
  }
  const std::filesystem::path folder = arguments[1], emulator = folder / "emulator",
                              parser = folder / "parser";
  std::filesystem::create_directories(emulator);
  std::filesystem::create_directories(parser);
  std::map<std::string, size_t> inFamily, written;
  for (const conformance::Case &entry : conformance::allCases())
    ++inFamily[entry.family];
  std::map<std::string, size_t> seen;
  for (const conformance::Case &entry : conformance::allCases()) {
    const size_t step = inFamily[entry.family] / ofFamily + 1;
    if (seen[entry.family]++ % step != 0)
      continue;
    const std::string name = entry.family + std::to_string(written[entry.family]++);
    write(emulator, name, entry.ptx);
    if (written[entry.family] % 4 == 1)
      write(parser, name, entry.ptx);
  }
  reference::AttentionShape shape;
  shape.heads = 16;
  const auto &artifact =
      emulatedtest::compiled(shape, codegen::defaultConfig(emulatedtest::problemOf(shape), {}));
  for (const char *kernel : {"plan", "combine"})
    write(emulator, kernel, onlyKernel(artifact.ptx, kernel));
  write(parser, "compiled", artifact.ptx);
  return 0;
}
