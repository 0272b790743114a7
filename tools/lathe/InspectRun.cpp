//===- InspectRun.cpp - lathe inspect --run -----------------------------------------------------------===//
//
// Compiles as far as PTX (nothing is assembled, the cache is left alone), loads it on an emulator with as
// many multiprocessors as the target has, and judges one run by the float64 reference on the CPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "InspectRun.h"

#include "Commands.h"
#include "Emulated.h"
#include "Judge.h"
#include "Output.h"

#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

static constexpr int defaultBatch = 2, defaultTokens = 256;

namespace {
/// What one run showed.
struct RunResult {
  autotuner::Workload workload;
  std::vector<int> lengths;
  Verdict verdict;
};
} // namespace

void InspectRunOptions::add(CLI::App &command, CLI::Option *emit) {
  const char *group = "Run";
  auto *flag =
      command.add_flag("--run", run, "Run the kernel on the PTX emulator: counters, findings, result")
          ->excludes(emit)
          ->group(group);
  command.add_option("--ptx", ptx, "Run this PTX in place of the compiled one, with the same manifest")
      ->type_name("FILE")
      ->group(group);
  command.add_option("--seed", seed, "Order of warps and of arriving copies; 0: a fixed one")
      ->capture_default_str()
      ->group(group);
  lengths.add(command, defaultBatch, /*withSeed=*/false);
  for (const char *name : {"--ptx", "--seed", "--batch", "--tokens", "--lengths"})
    command.get_option(name)->needs(flag)->group(group);
}

/// A kernel of the compiled PTX, or of the file's.
static runtime::Kernel loadKernel(const InspectRunOptions &options, const RunSubject &subject,
                                  const std::shared_ptr<runtime::Device> &device) {
  codegen::Artifact artifact =
      codegen::compile(subject.description, subject.config, {.target = subject.target, .assemble = false});
  // The zero byte ends the text for a device.
  if (options.ptx.empty())
    return {device, artifact.ptx + '\0', artifact.manifest};
  const std::string text = readFile(options.ptx) + '\0';
  if (text.find(".version") == std::string::npos)
    throw UserError({"--ptx " + options.ptx, "the file must be PTX", "no .version directive in it",
                     "write one with `lathe inspect --emit ptx`"});
  try {
    return {device, text, artifact.manifest};
  } catch (const DeviceError &error) { // The device is fine; what was typed is not.
    Fault fault = error.fault();
    fault.place = options.ptx + ": " + fault.place;
    throw UserError(fault);
  }
}

static RunResult runOnce(const InspectRunOptions &options, const RunSubject &subject) {
  RunResult result{options.lengths.workload(defaultTokens), {}, {}};
  result.lengths = result.workload.draw();
  const auto emulator = runtime::openEmulator(
      {.seed = options.seed, .throwFindings = false, .smCount = subject.target.smCount});
  const runtime::Kernel kernel = loadKernel(options, subject, emulator);
  reference::ShapeCase entry{"inspect", referenceShape(subject.shape), result.lengths, {}};
  entry.options.seed = 1;
  result.verdict = judge(kernel, entry, "cpu");
  return result;
}

static void printForPeople(const InspectRunOptions &options, const RunSubject &subject,
                           const RunResult &result) {
  const autotuner::LengthStats stats = autotuner::lengthStats(result.lengths);
  print(fmt::format("kernel         {}, {}, for {}\n", subject.description.name(), subject.shape.label(),
                    subject.machine));
  print(fmt::format("configuration  {}\n", subject.config.str()));
  print(fmt::format("workload       {}; {} tokens\n", result.workload.str(), grouped(stats.total)));
  print(fmt::format("ran            {}, on the PTX emulator, seed {}\n\n",
                    options.ptx.empty() ? "the compiled PTX" : options.ptx, options.seed));
  print(countersText(result.verdict.launches));
  print(fmt::format("\nresult         {} by the cpu reference: {}\n",
                    result.verdict.comparison.passed ? "right" : "WRONG",
                    comparisonText(result.verdict.comparison)));
  if (!result.verdict.comparison.message.empty())
    print(fmt::format("               {}\n", result.verdict.comparison.message));
  print(fmt::format("findings       {}\n", findingCount(result.verdict.findings)));
  if (!result.verdict.findings.empty())
    print("\n" + result.verdict.findings.text());
}

static void printAsJson(const InspectRunOptions &options, const RunSubject &subject,
                        const RunResult &result) {
  nlohmann::json launches = nlohmann::json::array();
  for (const auto &launch : result.verdict.launches)
    launches.push_back(toJson(launch));
  printJson({{"kernel", subject.description.name()},
             {"machine", subject.machine},
             {"shape", toJson(subject.shape.shape())},
             {"config", subject.config},
             {"workload", result.workload.json()},
             {"lengths", result.lengths},
             {"ptx", options.ptx.empty() ? nlohmann::json(nullptr) : nlohmann::json(options.ptx)},
             {"seed", options.seed},
             {"launches", launches},
             {"reference", "cpu"},
             {"comparison", toJson(result.verdict.comparison)},
             {"findings", toJson(result.verdict.findings)},
             {"findingsDropped", result.verdict.findings.dropped},
             {"passed", result.verdict.right()}});
}

void lathe::tools::inspectRun(const InspectRunOptions &options, const RunSubject &subject) {
  const RunResult result = runOnce(options, subject);
  subject.json ? printAsJson(options, subject, result) : printForPeople(options, subject, result);
  if (!result.verdict.right())
    throw CommandFailed{ExitVerification};
}
