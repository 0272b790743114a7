//===- RunReport.cpp - A kernel at work, whatever its family ----------------------------------------===//
//
// See RunReport.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "RunReport.h"

#include "Commands.h"
#include "Emulated.h"
#include "Output.h"

#include "lathe/support/Files.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

CLI::Option *RunOptions::add(CLI::App &command, CLI::Option *emit) {
  auto *flag =
      command.add_flag("--run", run, "Run the kernel on the PTX emulator: counters, findings, result")
          ->excludes(emit)
          ->group(group);
  command.add_option("--ptx", ptx, "Run this PTX in place of the compiled one, with the same manifest")
      ->type_name("FILE")
      ->needs(flag)
      ->group(group);
  command.add_option("--seed", seed, "Order of warps and of arriving copies; 0: a fixed one")
      ->capture_default_str()
      ->needs(flag)
      ->group(group);
  return flag;
}

std::shared_ptr<runtime::Emulator> RunOptions::open(int smCount) const {
  return runtime::openEmulator({.seed = seed, .throwFindings = false, .smCount = smCount});
}

std::string RunOptions::image(const std::string &compiled) const {
  if (ptx.empty())
    return compiled + '\0';
  std::string text = readFile(ptx) + '\0';
  if (text.find(".version") == std::string::npos)
    throw UserError({"--ptx " + ptx, "the file must be PTX", "no .version directive in it",
                     "write one with `lathe inspect --emit ptx`"});
  return text;
}

static void printForPeople(const RunOptions &options, const RunReport &report) {
  print(fmt::format("kernel         {}, {}, for {}\n", report.kernel, report.label, report.machine));
  print(fmt::format("configuration  {}\n", report.config));
  print(fmt::format("workload       {}\n", report.workload));
  print(fmt::format("ran            {}, on the PTX emulator, seed {}\n\n",
                    options.ptx.empty() ? "the compiled PTX" : options.ptx, options.seed));
  print(countersText(report.launches));
  print(fmt::format("\nresult         {} by the cpu reference: {}\n", report.right ? "right" : "WRONG",
                    report.numbers));
  if (!report.message.empty())
    print(fmt::format("               {}\n", report.message));
  print(fmt::format("findings       {}\n", findingCount(report.findings)));
  if (!report.findings.empty())
    print("\n" + report.findings.text());
}

static void printAsJson(const RunOptions &options, const RunReport &report, bool passed) {
  nlohmann::json json = report.json, launches = nlohmann::json::array();
  for (const auto &launch : report.launches)
    launches.push_back(toJson(launch));
  json.update({{"kernel", report.kernel},
               {"machine", report.machine},
               {"ptx", options.ptx.empty() ? nlohmann::json(nullptr) : nlohmann::json(options.ptx)},
               {"seed", options.seed},
               {"launches", launches},
               {"reference", "cpu"},
               {"comparison", report.comparison},
               {"findings", toJson(report.findings)},
               {"findingsDropped", report.findings.dropped},
               {"passed", passed}});
  printJson(json);
}

void RunReport::finish(const RunOptions &options, bool asJson) const {
  const bool passed = right && findings.empty();
  asJson ? printAsJson(options, *this, passed) : printForPeople(options, *this);
  if (!passed)
    throw CommandFailed{ExitVerification};
}
