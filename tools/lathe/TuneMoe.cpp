//===- TuneMoe.cpp - lathe tune moe --------------------------------------------------------------------===//
//
// As `lathe tune`, for mixtures of experts and for several numbers of rows and routings in one run: each is a
// workload with a search and a record of its own, and look-ups answer between neighbours among them. Ends
// with a table of the choices, the files written and how to look into them.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "MoeOptions.h"
#include "TuneMoeCandidates.h"
#include "TuneParts.h"

#include "lathe/support/Error.h"

using namespace lathe;
using namespace lathe::tools;
using autotuner::MoeTuneRequest;
using autotuner::MoeTuneResult;
using autotuner::MoeWorkload;

namespace {
struct TuneMoeCommand {
  MoeShapeOptions shape;
  MachineOptions machine;
  TuneSwitches switches;
  std::string rows = "64";
  std::vector<std::string> routings{"uniform"};
  uint64_t seed = 1;

  std::vector<MoeWorkload> workloads() const;
};

/// One workload's result.
struct MoeTuned {
  MoeTuneResult result;
  runtime::MoeJitReport built; ///< The chosen configuration's kernel.
  std::string verification;    ///< What candidates were verified on, on the emulator; empty elsewhere.
};
} // namespace

/// All rows with the first routing, then with the next one. Throws UserError.
std::vector<MoeWorkload> TuneMoeCommand::workloads() const {
  std::vector<MoeWorkload> workloads;
  for (const std::string &routing : routings)
    if (!shape.gate.empty() && MoeWorkload::parseRouting(routing) > 0)
      throw UserError(
          {"command line", "rows that a gate routes are uniform, for it cannot be told whom to choose",
           "--gate with --routing " + routing, "drop --gate: logits spread as they are asked to"});
  for (const std::string &routing : routings)
    for (int count : autotuner::parseRows(rows))
      workloads.emplace_back(count, MoeWorkload::parseRouting(routing), seed);
  return workloads;
}

static MoeTuned tuneOne(const TuneMoeCommand &command, const runtime::Jit &jit, const GpuFacts &gpu,
                        const MoeWorkload &workload) {
  const dsl::MoeShape layer = command.shape.shape();
  const dsl::Kernel description = dsl::moeFfn(layer);
  MoeTuneRequest request;
  request.problem = codegen::analyzeMoe(description);
  request.workload = workload;
  fillIn(request, command.machine, command.switches, gpu);
  const MoeCandidateJob job{layer, workload, command.machine.ordinal(), command.switches.stepSeconds(),
                            command.switches.timing};
  const bool emulated = command.switches.verify && !gpu.usable;
  autotuner::MoeSearchCallbacks callbacks;
  if (gpu.usable)
    callbacks = gpuCallbacks(jit, job, request.target);
  else if (emulated)
    callbacks = emulatorCallbacks(jit, job, request.target);

  MoeTuned tuned;
  tuned.result = tuneWithProgress(request, std::move(callbacks));
  runtime::MoeJitRequest choice;
  choice.target = request.target;
  choice.config = tuned.result.best;
  tuned.built = jit.build(description, choice).report;
  if (emulated)
    tuned.verification = MoeVerification::small(job, tuned.result.best).text();
  return tuned;
}

//===- Printing --------------------------------------------------------------------------------------===//

static void printOne(const TuneMoeCommand &command, const MoeTuned &tuned) {
  const MoeTuneResult &result = tuned.result;
  const autotuner::MoeLoadStats &load = result.drawn;
  if (command.switches.explain)
    print(explainText(result));
  print(fmt::format("workload       {}; {} choices of {} experts, {} of one at most\n",
                    result.request.workload.str(), grouped(load.choices), load.busyExperts,
                    grouped(load.most)));
  if (!tuned.verification.empty())
    print(verificationText(result, tuned.verification));
  print(choiceText(result, tuned.built));
}

static void printFiles(const TuneMoeCommand &command, const std::vector<MoeTuned> &all) {
  const MoeTuneRequest &request = all.back().result.request;
  const std::string target = request.device.empty() ? " --target " + request.machine.name : "";
  const std::string shape = command.shape.arguments(), database = request.database->path().string();
  const std::string rows = fmt::format(" --rows {}", request.workload.rows());
  const std::string zipf =
      request.workload.zipf() > 0 ? fmt::format(" --zipf {}", request.workload.zipf()) : "";
  print("Files written\n");
  print(fmt::format("  {}   every candidate's fate, and the choices\n", database));
  for (const MoeTuned &tuned : all)
    print(fmt::format("  {}/   key.json, kernel.ptx, kernel.cubin, stats.json\n",
                      tuned.built.entryPath.string()));
  print("\nHow to look into them\n");
  print(fmt::format("  lathe compile moe {}{}{}{}\n", shape, target, rows, zipf));
  print(fmt::format("  lathe inspect moe {}{} --config {} --emit resources\n", shape, target,
                    configArgument(all.back().result.best)));
  if (!request.device.empty())
    print(fmt::format("  lathe bench moe {}{}{}\n", shape, rows, zipf));
  print(fmt::format("  python3 -m json.tool {} | less\n", database));
  print("  lathe cache list\n");
}

static void printForPeople(const TuneMoeCommand &command, const std::vector<MoeTuned> &all) {
  print(fmt::format("kernel         moe_ffn, {}\n", command.shape.label()));
  print(fmt::format("machine        {}\n\n", machineText(all.front().result.request)));
  for (const MoeTuned &tuned : all)
    printOne(command, tuned);
  printFiles(command, all);
}

static void printAsJson(const TuneMoeCommand &command, const std::vector<MoeTuned> &all) {
  const std::string database = all.front().result.request.database->path().string();
  nlohmann::json results = nlohmann::json::array(), files = {database};
  for (const MoeTuned &tuned : all) {
    results.push_back(resultJson(tuned.result, tuned.built));
    if (!tuned.verification.empty())
      results.back()["verification"] = {{"device", "emulator"}, {"cases", tuned.verification}};
    files.push_back(tuned.built.entryPath.string());
  }
  printJson({{"kernel", "moe_ffn"},
             {"shape", toJson(command.shape.shape())},
             {"results", results},
             {"database", database},
             {"files", files}});
}

//===- Command ---------------------------------------------------------------------------------------===//

static void run(const TuneMoeCommand &command) {
  const std::vector<MoeWorkload> workloads = command.workloads();
  command.shape.shape(); // What was typed wrong is told before anything else happens.
  command.switches.check();
  const GpuFacts gpu = findGpu(command.machine, command.switches);
  const runtime::Jit jit;
  std::vector<MoeTuned> all;
  {
    const Interruption interruption;
    for (const MoeWorkload &workload : workloads) {
      if (!all.empty() && !Interruption::reason().empty())
        break; // What was not begun is begun by the next run.
      if (workloads.size() > 1 && !command.switches.json)
        fmt::print(stderr, "lathe: {} ({} of {})\n", workload.str(), all.size() + 1, workloads.size());
      all.push_back(tuneOne(command, jit, gpu, workload));
    }
  }
  command.switches.json ? printAsJson(command, all) : printForPeople(command, all);
  for (const MoeTuned &tuned : all)
    if (!tuned.verification.empty() && tuned.result.complete && !tuned.result.verified)
      throw CommandFailed{ExitVerification};
}

static constexpr const char *footer = R"(Examples:
  lathe tune moe --model deepseek-v2-lite                          # 64 rows, uniform routing
  lathe tune moe --model deepseek-v2-lite --rows 1:4096            # 1, 4, 16, … 4096: look-ups between them answer
  lathe tune moe --model deepseek-v3 --ep 8 --rows 16,64,256 --routing uniform --routing zipf
  lathe tune moe --hidden 2048 --intermediate 1408 --experts 64 --top-k 6 --rows 256 --routing zipf:1.2
  lathe tune moe --model kimi-k2 --ep 8 --target h100-sxm --json   # no GPU: the cost model
  lathe tune moe --model deepseek-v2-lite --verify                 # no GPU: what wins is right on the emulator
Each number of rows with each routing has a search and a record of its own. Who asks for another number of rows gets
what is best for its neighbour, where both neighbours were tuned, at most a factor of 4 apart, with the same routing;
else the default. An interrupted run continues where it was. Candidates are verified before they may win, without a GPU
only with --verify, on a smaller layer (exit code 1 when none is right); the default always races and wins ties.)";

void lathe::tools::addTuneMoe(CLI::App &tune) {
  auto options = std::make_shared<TuneMoeCommand>();
  CLI::App *command = tune.add_subcommand("moe", "Mixtures of experts");
  options->shape.add(*command);
  const char *group = "Workload";
  command->add_option("--rows", options->rows, "Rows of a step: a number, a list 1,16,64, ranges 1:4096")
      ->type_name("LIST")
      ->capture_default_str()
      ->group(group);
  command
      ->add_option(
          "--routing", options->routings,
          "How rows spread over experts: uniform, zipf or zipf:S (popularity falls as 1/rank^S, S = 1); "
          "repeatable")
      ->type_name("NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str()
      ->group(group);
  command->add_option("--seed", options->seed, "Of the random routing")->capture_default_str()->group(group);
  options->machine.add(*command);
  options->switches.add(*command);
  command->footer(footer);
  command->callback([options] { run(*options); });
}
