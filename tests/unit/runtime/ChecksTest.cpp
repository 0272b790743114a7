#include "FakeDevice.h"

#include "lathe/runtime/device/Checks.h"
#include "lathe/runtime/device/Image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <elf.h>
#include <functional>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::test;
using ::testing::HasSubstr;

//===- Tensor maps -----------------------------------------------------------------------------------===//

static TensorMapSpec goodSpec() {
  TensorMapSpec spec;
  spec.base = 0x1000;
  spec.rank = 3;
  spec.extent = {576, 64, 512};
  spec.strideBytes = {1152, 64 * 1152};
  spec.box = {64, 64, 1};
  return spec;
}

static std::string mapError(const std::function<void(TensorMapSpec &)> &spoil) {
  TensorMapSpec spec = goodSpec();
  spoil(spec);
  return messageOf<UserError>([&] { checkTensorMap(spec); });
}

TEST(ChecksTest, TensorMapLimitsAreNamed) {
  EXPECT_EQ(mapError([](auto &) {}), "");
  EXPECT_THAT(mapError([](auto &s) { s.rank = 0; }), HasSubstr("rank must be between 1 and 5, got 0"));
  EXPECT_THAT(mapError([](auto &s) { s.rank = 6; }), HasSubstr("got 6"));
  EXPECT_THAT(mapError([](auto &s) { s.base = 0; }), HasSubstr("base"));
  EXPECT_THAT(mapError([](auto &s) { s.base = 0x1008; }), HasSubstr("0x1008"));
  EXPECT_THAT(mapError([](auto &s) { s.extent[2] = 0; }), HasSubstr("extent 2"));
  EXPECT_THAT(mapError([](auto &s) { s.extent[1] = (uint64_t(1) << 32) + 1; }), HasSubstr("extent 1"));
  EXPECT_EQ(mapError([](auto &s) { s.extent[1] = uint64_t(1) << 32; }), "");
  EXPECT_THAT(mapError([](auto &s) { s.strideBytes[0] = 1160; }), HasSubstr("stride of dimension 1"));
  EXPECT_THAT(mapError([](auto &s) { s.strideBytes[1] = 0; }), HasSubstr("stride of dimension 2"));
  EXPECT_THAT(mapError([](auto &s) { s.strideBytes[1] = uint64_t(1) << 40; }), HasSubstr("2^40"));
  EXPECT_THAT(mapError([](auto &s) { s.box[1] = 257; }), HasSubstr("box extent 1"));
  EXPECT_THAT(mapError([](auto &s) { s.box[2] = 0; }), HasSubstr("box extent 2"));
  EXPECT_EQ(mapError([](auto &s) { s.box[1] = 256; }), "");
  EXPECT_THAT(mapError([](auto &s) { s.box[0] = 32; }), HasSubstr("64 bytes (32 elements of bf16)"));
  EXPECT_EQ(mapError([](auto &s) {
              s.dtype = Dtype::F32;
              s.box[0] = 32;
            }),
            "");
  EXPECT_THAT(mapError([](auto &s) { s.dtype = Dtype::Bool; }), HasSubstr("bool"));
}

TEST(ChecksTest, OnlyHopperIsServed) {
  DeviceProperties properties;
  properties.name = "NVIDIA A100";
  for (auto [major, minor] : {std::pair(8, 0), {8, 9}, {9, 1}, {10, 0}, {12, 0}}) {
    properties.major = major;
    properties.minor = minor;
    std::string message = messageOf<DeviceError>([&] { checkCapability(properties, 3); });
    EXPECT_THAT(message, HasSubstr("GPU 3 (NVIDIA A100)"));
    EXPECT_THAT(message, HasSubstr("compute capability 9.0"));
    EXPECT_THAT(message, HasSubstr("got " + std::to_string(major) + "." + std::to_string(minor)));
  }
  properties.major = 9;
  properties.minor = 0;
  EXPECT_EQ(messageOf<DeviceError>([&] { checkCapability(properties, 0); }), "");
}

//===- Images ----------------------------------------------------------------------------------------===//

/// An ELF file for CUDA: header, one section of 100 bytes, section table.
static std::string cubin(uint16_t machine = 190) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_machine = machine;
  header.e_shoff = sizeof(header);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 2;
  Elf64_Shdr sections[2] = {};
  sections[1].sh_type = SHT_PROGBITS;
  sections[1].sh_offset = sizeof(header) + sizeof(sections);
  sections[1].sh_size = 100;
  std::string image(sections[1].sh_offset + 100, '\0');
  std::memcpy(image.data(), &header, sizeof(header));
  std::memcpy(image.data() + sizeof(header), sections, sizeof(sections));
  return image;
}

TEST(ImageTest, EveryTruncationOfACubinIsFound) {
  std::string image = cubin();
  EXPECT_EQ(checkImage(image), ImageKind::Cubin);
  for (size_t bytes = 0; bytes < image.size(); ++bytes)
    EXPECT_THAT(messageOf<DeviceError>([&] { checkImage(std::string_view(image).substr(0, bytes)); }),
                HasSubstr("cubin"))
        << bytes << " bytes";
}

TEST(ImageTest, ForeignImagesAreRefused) {
  EXPECT_THAT(messageOf<DeviceError>([] { checkImage(cubin(EM_X86_64)); }), HasSubstr("machine 62"));
  EXPECT_THAT(messageOf<DeviceError>([] { checkImage("garbage"); }), HasSubstr("neither ELF nor PTX"));
  EXPECT_THAT(messageOf<DeviceError>([] { checkImage(""); }), HasSubstr("0 bytes"));
  std::string wild = cubin();
  uint64_t far = ~uint64_t(0) - 8;
  std::memcpy(wild.data() + offsetof(Elf64_Ehdr, e_shoff), &far, sizeof(far));
  EXPECT_THAT(messageOf<DeviceError>([&] { checkImage(wild); }), HasSubstr("section table"));
}

TEST(ImageTest, PtxIsRecognised) {
  EXPECT_EQ(checkImage("// comment\n.version 8.7\n.target sm_90a\n"), ImageKind::Ptx);
}

TEST(ImageTest, PerformanceFaultsAreFoundInLogs) {
  EXPECT_EQ(performanceFault("ptxas info : (C7511) wgmma serialized\nok"),
            "ptxas info : (C7511) wgmma serialized");
  EXPECT_EQ(performanceFault("a\nb C7504 ignored"), "b C7504 ignored");
  EXPECT_EQ(performanceFault("C7519 harmless\nUsed 168 registers"), "");
}
