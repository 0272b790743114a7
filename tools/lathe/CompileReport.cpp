//===- CompileReport.cpp - What compiling one kernel gave ----------------------------------------------===//
//
// See CompileReport.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "CompileReport.h"

#include "Output.h"

#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <fmt/format.h>

#include <filesystem>

using namespace lathe;
using namespace lathe::tools;
namespace fs = std::filesystem;

void CompileOutput::add(CLI::App &command) {
  command.add_option("-o,--output", directory, "Also write kernel.ptx, kernel.cubin, manifest.json there")
      ->type_name("DIR")
      ->group("Output");
  command.add_flag("--load", load, "Also load the kernel on the device and report the time")->group("Output");
  addJsonFlag(command, json);
}

/// kernel.ptx, kernel.cubin (where assembled), manifest.json.
static std::vector<std::string> writeFiles(const CompileReport &report, const fs::path &directory) {
  std::error_code failure;
  fs::create_directories(directory, failure);
  if (failure)
    throw UserError({"compile", "the output folder cannot be made",
                     directory.string() + ": " + failure.message(), "choose another with -o"});
  std::vector<std::string> written;
  auto write = [&](const char *name, const std::string &bytes) {
    writeFileAtomically(directory / name, bytes);
    written.push_back((directory / name).string());
  };
  write("kernel.ptx", report.ptx);
  if (!report.cubin.empty())
    write("kernel.cubin", report.cubin);
  write("manifest.json", report.manifest.dump(2) + "\n");
  return written;
}

static nlohmann::json documentOf(const CompileReport &report, const std::vector<std::string> &files) {
  return {{"kernel", report.kernel},
          {"shape", report.shape},
          {"machine", report.machine},
          {"config", report.config},
          {"configSource", report.configSource},
          {"configReason", report.configReason},
          {"compiled", report.compiled},
          {"digest", report.digest},
          {"entry", report.entry},
          {"assembler", report.assembler},
          {"ptxBytes", report.ptx.size()},
          {"cubinBytes", report.cubin.size()},
          {"stages", toJson(report.times)},
          {"totalMs", report.totalMs},
          {"files", files}};
}

static void printForPeople(const CompileReport &report, const std::vector<std::string> &files) {
  print(fmt::format("kernel         {} ({}) for {}\n", report.kernel, report.label, report.machine));
  print(fmt::format("configuration  {} ({})\n", report.configText, report.configSource));
  print(fmt::format("{}  {}\n", report.compiled ? "compiled     " : "from cache   ",
                    stageTimesText(report.times)));
  print(fmt::format("assembler      {}\n", report.assembler));
  print(fmt::format("cache entry    {}\n", report.entry));
  for (const std::string &file : files)
    print(fmt::format("wrote          {}\n", file));
}

void CompileReport::finish(const CompileOutput &output) const {
  std::vector<std::string> files;
  if (!output.directory.empty())
    files = writeFiles(*this, output.directory);
  output.json ? printJson(documentOf(*this, files)) : printForPeople(*this, files);
}
