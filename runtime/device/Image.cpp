#include "lathe/runtime/device/Image.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <cstring>
#include <elf.h>

using namespace lathe;
using namespace lathe::runtime;

static constexpr uint16_t cudaMachine = 190; // EM_CUDA
static constexpr const char *rebuild = "the cache entry is damaged: remove it, and it is compiled again";

[[noreturn]] static void damaged(std::string value) {
  throw DeviceError({"cubin", "the image must be a whole CUDA ELF file", std::move(value), rebuild});
}

/// A table or section of the file that must lie inside it.
static void requireInside(std::string_view image, const char *what, uint64_t offset, uint64_t bytes) {
  if (offset > image.size() || bytes > image.size() - offset)
    damaged(fmt::format("{} bytes where {} ends at byte {} (truncated)", image.size(), what, offset + bytes));
}

template <typename T>
static T readAt(std::string_view image, uint64_t offset) {
  T value;
  std::memcpy(&value, image.data() + offset, sizeof(T));
  return value;
}

static void checkCubin(std::string_view image) {
  requireInside(image, "the ELF header", 0, sizeof(Elf64_Ehdr));
  auto header = readAt<Elf64_Ehdr>(image, 0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != cudaMachine)
    damaged(fmt::format("an ELF file for machine {}", header.e_machine));
  if (header.e_shnum == 0 || header.e_shentsize != sizeof(Elf64_Shdr) ||
      (header.e_phnum != 0 && header.e_phentsize != sizeof(Elf64_Phdr)))
    damaged("an ELF file without section headers");
  requireInside(image, "the section table", header.e_shoff, uint64_t(header.e_shnum) * sizeof(Elf64_Shdr));
  requireInside(image, "the program table", header.e_phoff, uint64_t(header.e_phnum) * sizeof(Elf64_Phdr));
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    auto section = readAt<Elf64_Shdr>(image, header.e_shoff + i * sizeof(Elf64_Shdr));
    if (section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL)
      requireInside(image, "a section", section.sh_offset, section.sh_size);
  }
}

ImageKind runtime::checkImage(std::string_view image) {
  if (image.empty())
    damaged("0 bytes");
  if (image.substr(0, SELFMAG) == std::string_view(ELFMAG, SELFMAG)) {
    checkCubin(image);
    return ImageKind::Cubin;
  }
  // PTX begins with comments and the .version directive, within the first page of text.
  if (image.substr(0, 4096).find(".version") != std::string_view::npos)
    return ImageKind::Ptx;
  damaged(fmt::format("{} bytes that are neither ELF nor PTX", image.size()));
}

std::string runtime::performanceFault(std::string_view log) {
  for (const char *code : {"C7504", "C7508", "C7510", "C7511", "C7512"}) {
    size_t at = log.find(code);
    if (at == std::string_view::npos)
      continue;
    size_t begin = log.rfind('\n', at);
    begin = begin == std::string_view::npos ? 0 : begin + 1;
    return std::string(log.substr(begin, log.find('\n', at) - begin));
  }
  return {};
}
