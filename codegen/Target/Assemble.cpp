//===- Assemble.cpp - PTX to machine code ------------------------------------------------------------===//
//
// The chain: the PTX compiler library, ptxas, the driver. Whichever assembles, its log is read and judged
// here, and a kernel that breaks a rule leaves a reproducer and throws. Called by the compiler and by `lathe
// inspect`.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/Assemble.h"

#include "lathe/codegen/Target/Assemblers.h"
#include "lathe/codegen/Target/Process.h"
#include "lathe/codegen/Target/ResourceReport.h"
#include "lathe/support/Env.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace lathe::codegen {

namespace fs = std::filesystem;

std::vector<std::string> assemblerOptions(const std::string &arch) {
  // `lathe compile --heads 16`: a cubin of 60 KiB, with lines and the PTX in it 155; the same instructions.
  return {"--gpu-name=" + arch, "--opt-level=3", "--verbose", "--suppress-debug-info"};
}

//===- The chain -------------------------------------------------------------------------------------===//

static std::unique_ptr<Assembler> forcedAssembler(const std::string &name) {
  std::string whyNot;
  if (name == "driver")
    return nullptr;
  if (name == "nvptxcompiler") {
    if (auto library = makeNvptxCompiler())
      return library;
    whyNot = "this build has no PTX compiler library";
  } else if (name == "ptxas") {
    if (auto program = makePtxas(&whyNot))
      return program;
  }
  throw UserError(Fault{"LATHE_ASSEMBLER=" + name, "the assembler it names must be there", whyNot,
                        "unset it, or install CUDA 12.8 or newer"});
}

/// Null means: the driver assembles when it loads.
static std::unique_ptr<Assembler> pickAssembler() {
  if (std::optional<std::string> forced = envChoiceIfSet("LATHE_ASSEMBLER"))
    return forcedAssembler(*forced);
  if (auto library = makeNvptxCompiler())
    return library;
  return makePtxas();
}

std::string chosenAssembler() {
  std::unique_ptr<Assembler> assembler = pickAssembler();
  return assembler ? assembler->name() : "driver";
}

//===- Failure ---------------------------------------------------------------------------------------===//

namespace {

/// What a reproducer holds.
struct FailedAssembly {
  const std::string &ptx;
  const std::string &arch;
  const std::string &assembler;
  const std::string &log;
};

} // namespace

static fs::path reproducerDirectory() {
  std::optional<fs::path> dump = envPath("LATHE_DUMP_DIR");
  fs::path base = dump ? *dump : fs::temp_directory_path();
  fs::create_directories(base);
  std::string pattern = (base / "lathe-reproducer-XXXXXX").string();
  if (!mkdtemp(pattern.data()))
    throw fs::filesystem_error("mkdtemp", base, std::error_code(errno, std::generic_category()));
  return pattern;
}

/// Writes kernel.ptx, log.txt and reproduce.sh; returns a sentence for the error message. Never throws: the
/// failure to report is the assembly's, not the disk's.
static std::string writeReproducer(const FailedAssembly &failed) {
  try {
    fs::path directory = reproducerDirectory();
    std::string options;
    for (const std::string &option : assemblerOptions(failed.arch))
      options += option + " ";
    writeBytes(directory / "kernel.ptx", failed.ptx);
    writeBytes(directory / "log.txt", failed.log);
    writeBytes(directory / "reproduce.sh",
               fmt::format("#!/bin/sh\n# {}\ncd \"$(dirname \"$0\")\" && ptxas {}kernel.ptx --output-file "
                           "kernel.cubin\n",
                           failed.assembler, options));
    return "the reproducer is " + directory.string();
  } catch (const std::exception &error) {
    return fmt::format("no reproducer could be written: {}", error.what());
  }
}

/// The lines of a log that say what is wrong, or all of it.
static std::string errorLines(const std::string &log) {
  std::string errors;
  for (size_t at = 0; at < log.size();) {
    size_t end = std::min(log.find('\n', at), log.size());
    std::string line = log.substr(at, end - at);
    if (line.find("error") != line.npos || line.find("fatal") != line.npos)
      errors += (errors.empty() ? "" : "; ") + line;
    at = end + 1;
  }
  return errors.empty() ? log : errors;
}

static std::string kernelNames(const std::string &ptx) {
  std::string names;
  for (const auto &[name, counts] : countInstructions(ptx))
    names += (names.empty() ? "" : ", ") + name;
  return names.empty() ? "no kernel" : names;
}

[[noreturn]] static void failAssembly(const FailedAssembly &failed) {
  throw CompileError(Fault{fmt::format("{} ({})", failed.assembler, kernelNames(failed.ptx)),
                           "the PTX must assemble for " + failed.arch, errorLines(failed.log),
                           writeReproducer(failed)});
}

[[noreturn]] static void failRule(const std::vector<LogFinding> &findings, const FailedAssembly &failed) {
  std::string more;
  for (size_t i = 1; i < findings.size(); ++i)
    more += fmt::format("; kernel {}: {}, got {}", findings[i].kernel, findings[i].rule, findings[i].value);
  throw CompileError(Fault{fmt::format("kernel {} ({})", findings[0].kernel, failed.assembler),
                           findings[0].rule, findings[0].value + more, writeReproducer(failed)});
}

//===- Assembling ------------------------------------------------------------------------------------===//

Assembled assemble(const std::string &ptx, const std::string &arch) {
  std::unique_ptr<Assembler> assembler = pickAssembler();
  Assembled result;
  result.resources = countInstructions(ptx);
  result.assembler = assembler ? assembler->name() : "driver";
  if (!assembler)
    return result;
  AssemblerRun run = assembler->run(ptx, arch);
  result.log = std::move(run.log);
  FailedAssembly failed{ptx, arch, result.assembler, result.log};
  if (!run.ok)
    failAssembly(failed);
  LogReport report = readAssemblerLog(result.log);
  if (!report.findings.empty())
    failRule(report.findings, failed);
  for (auto &[name, kernel] : result.resources) {
    auto found = report.resources.find(name);
    if (found == report.resources.end() || found->second.registers == 0)
      throw CompileError(Fault{"kernel " + name, "the assembler's log must tell its registers",
                               "nothing, from " + result.assembler, writeReproducer(failed)});
    kernel.registers = found->second.registers;
    kernel.staticSharedBytes = found->second.staticSharedBytes;
  }
  result.cubin = std::move(run.cubin);
  return result;
}

//===- Disassembling ---------------------------------------------------------------------------------===//

std::string disassemble(const std::string &cubin) {
  std::vector<std::string> command;
  if (std::optional<std::string> tool = findTool("nvdisasm"))
    command = {*tool};
  else if (std::optional<std::string> tool = findTool("cuobjdump"))
    command = {*tool, "--dump-sass"};
  else
    throw UserError(Fault{"disassembly", "needs nvdisasm or cuobjdump",
                          "neither on the PATH nor below CUDA_HOME",
                          "install the CUDA binary utilities or set CUDA_HOME"});
  if (cubin.empty())
    throw UserError(Fault{"disassembly", "needs a cubin", "none: the driver assembles this artifact",
                          "install CUDA 12.8 or newer, or build with the PTX compiler library"});
  TemporaryDirectory directory;
  fs::path file = directory.path() / "kernel.cubin";
  writeBytes(file, cubin);
  command.push_back(file);
  ProcessResult result = runProcess(command);
  if (result.exitCode != 0)
    throw CompileError(Fault{command[0], "must disassemble the cubin",
                             fmt::format("exit code {}: {}", result.exitCode, result.output), ""});
  return result.output;
}

} // namespace lathe::codegen
