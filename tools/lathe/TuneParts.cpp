//===- TuneParts.cpp - What tuning has in common for all families -------------------------------------===//
//
// See TuneParts.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TuneParts.h"

#include <csignal>

using namespace lathe;
using namespace lathe::tools;

void TuneSwitches::add(CLI::App &command) {
  const char *group = "Search";
  command.add_option("--candidates", candidates, "Configurations to try; 0: all legal ones")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  command.add_option("--timeout", timeoutSeconds, "Seconds after which a candidate counts as hanging")
      ->capture_default_str()
      ->check(CLI::PositiveNumber)
      ->group(group);
  command
      .add_option(
          "--sustained", timing.sustainedSeconds,
          "Time a candidate when it has run alone for so long, with the clock that continuous service "
          "leaves it; 0: in a short run")
      ->type_name("SECONDS")
      ->capture_default_str()
      ->group(group);
  command.add_flag("--fresh", fresh, "Do not take over results of an earlier run")->group(group);
  command
      .add_flag(
          "--verify", verify,
          "Without a GPU: run what would win on the PTX emulator first. With one every candidate is verified")
      ->group(group);
  command
      .add_flag("--explain", explain, "Tell what each constraint removed and what became of each candidate")
      ->group("Output");
  addJsonFlag(command, json);
}

GpuFacts lathe::tools::findGpu(const MachineOptions &machine, const TuneSwitches &switches) {
  if (!machine.target.empty() || machine.emulatorAsked())
    return {};
  GpuFacts gpu = probeGpu(machine.ordinal());
  if (!gpu.usable && !switches.json)
    fmt::print(stderr, "lathe: no GPU ({}): choosing by the cost model of {}{}\n", gpu.reason,
               autotuner::machines().front().name, switches.verify ? ", verifying on the PTX emulator" : "");
  return gpu;
}

static volatile std::sig_atomic_t interrupted = 0;

Interruption::Interruption() {
  interrupted = 0;
  std::signal(SIGINT, [](int) { interrupted = 1; });
}

Interruption::~Interruption() { std::signal(SIGINT, SIG_DFL); }

std::string Interruption::reason() { return interrupted ? "interrupted" : ""; }
