//===- Ptxas.cpp - The assembler program of the CUDA toolkit -----------------------------------------===//
//
// Used where the PTX compiler library was not linked in, or where LATHE_ASSEMBLER asks for it. PTX and cubin
// pass through a private temporary directory that is removed in every case. Called through Assemblers.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/Assemblers.h"
#include "lathe/codegen/Target/Process.h"

#include <fmt/format.h>

#include <map>
#include <mutex>
#include <regex>

namespace lathe::codegen {

namespace {

struct Version {
  int major = 0;
  int minor = 0;
};

class Ptxas : public Assembler {
public:
  Ptxas(std::string path, Version version) : path_(std::move(path)), version_(version) {}
  std::string name() const override { return fmt::format("ptxas {}.{}", version_.major, version_.minor); }
  AssemblerRun run(const std::string &ptx, const std::string &arch) const override;

private:
  std::string path_;
  Version version_;
};

} // namespace

/// "release 13.0" of `ptxas --version`, asked once a path.
static std::optional<Version> versionOf(const std::string &path) {
  static std::mutex mutex;
  static std::map<std::string, std::optional<Version>> known;
  {
    std::lock_guard lock(mutex);
    if (auto found = known.find(path); found != known.end())
      return found->second;
  }
  std::optional<Version> version;
  ProcessResult result = runProcess({path, "--version"});
  static const std::regex release("release ([0-9]+)\\.([0-9]+)");
  std::smatch match;
  if (result.exitCode == 0 && std::regex_search(result.output, match, release))
    version = Version{std::stoi(match[1]), std::stoi(match[2])};
  std::lock_guard lock(mutex);
  return known.insert_or_assign(path, version).first->second;
}

AssemblerRun Ptxas::run(const std::string &ptx, const std::string &arch) const {
  TemporaryDirectory directory;
  std::string source = directory.path() / "kernel.ptx";
  std::string target = directory.path() / "kernel.cubin";
  writeBytes(source, ptx);
  std::vector<std::string> command{path_};
  for (const std::string &option : assemblerOptions(arch))
    command.push_back(option);
  command.insert(command.end(), {source, "--output-file", target});
  ProcessResult result = runProcess(command);
  AssemblerRun run;
  run.log = std::move(result.output);
  run.ok = result.exitCode == 0;
  if (run.ok)
    run.cubin = readBytes(target);
  else
    run.log += fmt::format("{} ended with exit code {}\n", path_, result.exitCode);
  return run;
}

std::unique_ptr<Assembler> makePtxas(std::string *whyNot) {
  std::optional<std::string> path = findTool("ptxas");
  std::optional<Version> version = path ? versionOf(*path) : std::nullopt;
  bool recent = version && (version->major > 12 || (version->major == 12 && version->minor >= 8));
  if (recent)
    return std::make_unique<Ptxas>(*path, *version);
  if (whyNot && !path)
    *whyNot = "no ptxas on the PATH, below $CUDA_HOME/bin or /usr/local/cuda/bin";
  else if (whyNot && !version)
    *whyNot = *path + " does not tell its version";
  else if (whyNot)
    *whyNot = fmt::format("{} is of CUDA {}.{}; PTX 8.7 needs 12.8 or newer", *path, version->major,
                          version->minor);
  return nullptr;
}

} // namespace lathe::codegen
