#include "Kernel.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::conformance;

static constexpr const char *prologue = R"(  .reg .b64 %in, %out;
  .reg .b32 %t, %g, %lane, %warp, %smem;
  ld.param.b64 %in, [test_param_0];
  ld.param.b64 %out, [test_param_1];
  mov.u32 %t, %tid.x;
  mov.u32 %g, %ctaid.x;
  mad.lo.s32 %g, %g, {}, %t;
  and.b32 %lane, %t, 31;
  shr.u32 %warp, %t, 5;
  mov.b32 %smem, smem;
)";

std::string conformance::module(const KernelOptions &options, const std::string &body) {
  std::string text = ".version 8.7\n.target sm_90a\n.address_size 64\n\n";
  text += options.declarations + ".extern .shared .align 1024 .b8 smem[];\n\n.visible .entry test(\n";
  text +=
      "  .param .u64 .ptr .global .align 1 test_param_0,\n  .param .u64 .ptr .global .align 1 test_param_1";
  for (unsigned i = 0; i < options.maps; ++i)
    text += fmt::format(",\n  .param .align 64 .b8 test_param_{}[128]", i + 2);
  text += fmt::format("\n)\n.reqntid {}\n{}", options.threads, options.directives);
  if (options.cluster > 1)
    text += fmt::format(".explicitcluster\n.reqnctapercluster {}, 1, 1\n", options.cluster);
  text += "{\n" + fmt::format(prologue, options.threads);
  for (unsigned i = 0; i < options.maps; ++i)
    text += fmt::format(
        "  .reg .b64 %map{0};\n  mov.b64 %map{0}, test_param_{1};\n  cvta.param.u64 %map{0}, %map{0};\n", i,
        i + 2);
  return text + body + "  ret;\n}\n";
}

Case conformance::makeCase(std::string family, std::string name, const KernelOptions &options, unsigned ctas,
                           unsigned sharedBytes, const std::string &body) {
  Case entry;
  entry.family = std::move(family);
  entry.name = std::move(name);
  entry.ptx = module(options, body);
  entry.shape = {.gridX = ctas, .threads = options.threads, .sharedBytes = sharedBytes};
  return entry;
}

std::string conformance::fill(std::string text,
                              std::initializer_list<std::pair<std::string_view, std::string>> names) {
  for (const auto &[name, value] : names)
    for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + value.size()))
      text.replace(at, name.size(), value);
  return text;
}

std::string conformance::registers(const std::string &prefix, unsigned count) {
  std::string text = "{";
  for (unsigned i = 0; i < count; ++i)
    text += fmt::format("{}%{}{}", i ? ", " : "", prefix, i);
  return text + "}";
}
