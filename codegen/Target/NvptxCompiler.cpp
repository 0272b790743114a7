//===- NvptxCompiler.cpp - The PTX compiler library in this process ----------------------------------===//
//
// The assembler of choice: no files, no process, the same code as ptxas. It is linked in where CMake found
// libnvptxcompiler_static.a (LATHE_HAVE_NVPTXCOMPILER); elsewhere makeNvptxCompiler() returns nothing.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/Assemblers.h"

#ifdef LATHE_HAVE_NVPTXCOMPILER

#include <fmt/format.h>

#include <nvPTXCompiler.h>

namespace lathe::codegen {

namespace {

/// Owns a handle of the library.
struct Handle {
  nvPTXCompilerHandle value = nullptr;
  ~Handle() {
    if (value)
      nvPTXCompilerDestroy(&value);
  }
};

class NvptxCompiler : public Assembler {
public:
  std::string name() const override;
  AssemblerRun run(const std::string &ptx, const std::string &arch) const override;
};

} // namespace

using SizeQuery = nvPTXCompileResult (*)(nvPTXCompilerHandle, size_t *);
using TextQuery = nvPTXCompileResult (*)(nvPTXCompilerHandle, char *);

/// A log of the library; sizes exclude the terminating zero, which is written all the same.
static std::string readLog(nvPTXCompilerHandle handle, SizeQuery size, TextQuery text) {
  size_t bytes = 0;
  if (size(handle, &bytes) != NVPTXCOMPILE_SUCCESS || bytes == 0)
    return "";
  std::string log(bytes + 1, '\0');
  text(handle, log.data());
  log.resize(log.find('\0'));
  return log;
}

std::string NvptxCompiler::name() const {
  unsigned major = 0, minor = 0;
  nvPTXCompilerGetVersion(&major, &minor);
  return fmt::format("nvptxcompiler {}.{}", major, minor);
}

AssemblerRun NvptxCompiler::run(const std::string &ptx, const std::string &arch) const {
  AssemblerRun result;
  Handle handle;
  nvPTXCompileResult status = nvPTXCompilerCreate(&handle.value, ptx.size(), ptx.c_str());
  if (status != NVPTXCOMPILE_SUCCESS) {
    result.log = fmt::format("nvPTXCompilerCreate failed with status {}\n", static_cast<int>(status));
    return result;
  }
  std::vector<std::string> options = assemblerOptions(arch);
  std::vector<const char *> pointers;
  for (const std::string &option : options)
    pointers.push_back(option.c_str());
  status = nvPTXCompilerCompile(handle.value, static_cast<int>(pointers.size()), pointers.data());
  result.log = readLog(handle.value, nvPTXCompilerGetInfoLogSize, nvPTXCompilerGetInfoLog) +
               readLog(handle.value, nvPTXCompilerGetErrorLogSize, nvPTXCompilerGetErrorLog);
  size_t bytes = 0;
  if (status == NVPTXCOMPILE_SUCCESS)
    status = nvPTXCompilerGetCompiledProgramSize(handle.value, &bytes);
  if (status == NVPTXCOMPILE_SUCCESS) {
    result.cubin.resize(bytes);
    status = nvPTXCompilerGetCompiledProgram(handle.value, result.cubin.data());
  }
  result.ok = status == NVPTXCOMPILE_SUCCESS;
  if (!result.ok && result.log.empty())
    result.log = fmt::format("the PTX compiler library failed with status {}\n", static_cast<int>(status));
  if (!result.ok)
    result.cubin.clear();
  return result;
}

std::unique_ptr<Assembler> makeNvptxCompiler() { return std::make_unique<NvptxCompiler>(); }

} // namespace lathe::codegen

#else

namespace lathe::codegen {
std::unique_ptr<Assembler> makeNvptxCompiler() { return nullptr; }
} // namespace lathe::codegen

#endif
