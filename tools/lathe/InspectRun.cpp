//===- InspectRun.cpp - lathe inspect --run -----------------------------------------------------------===//
//
// Compiles as far as PTX (nothing is assembled, the cache is left alone), loads it on an emulator with as
// many multiprocessors as the target has, and judges one run by the float64 reference on the CPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "InspectRun.h"

#include "Emulated.h"
#include "Judge.h"
#include "Output.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

static constexpr int defaultBatch = 2, defaultTokens = 256;

void InspectRunOptions::add(CLI::App &command, CLI::Option *emit) {
  CLI::Option *flag = RunOptions::add(command, emit);
  lengths.add(command, defaultBatch, /*withSeed=*/false);
  for (const char *name : {"--batch", "--tokens", "--lengths"})
    command.get_option(name)->needs(flag)->group(group);
}

void lathe::tools::inspectRun(const InspectRunOptions &options, const RunSubject &subject) {
  const autotuner::Workload workload = options.lengths.workload(defaultTokens);
  const std::vector<int> lengths = workload.draw();
  const codegen::Artifact artifact =
      codegen::compile(subject.description, subject.config, {.target = subject.target, .assemble = false});
  const auto kernel = options.load<runtime::Kernel>(options.open(subject.target.smCount), artifact);
  reference::ShapeCase entry{"inspect", referenceShape(subject.shape), lengths, {}};
  entry.options.seed = 1;
  const Verdict verdict = judge(kernel, entry, "cpu");

  RunReport report;
  report.kernel = subject.description.name();
  report.label = subject.shape.label();
  report.machine = subject.machine;
  report.config = subject.config.str();
  report.workload =
      fmt::format("{}; {} tokens", workload.str(), grouped(autotuner::lengthStats(lengths).total));
  report.json = {{"shape", toJson(subject.shape.shape())},
                 {"config", subject.config},
                 {"workload", workload.json()},
                 {"lengths", lengths}};
  report.launches = verdict.launches;
  report.findings = verdict.findings;
  report.right = verdict.comparison.passed;
  report.numbers = comparisonText(verdict.comparison);
  report.message = verdict.comparison.message;
  report.comparison = toJson(verdict.comparison);
  report.finish(options, subject.json);
}
