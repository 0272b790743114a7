//===- Jit.cpp - From a description to a loaded kernel ------------------------------------------------===//
//
// Three steps, each timed: which configuration (given, tuned, default), which artifact (cache or compiler),
// which module on which device. The cache's lock makes sure that a kernel is compiled once, whoever asks.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/runtime/Jit.h"

#include "lathe/autotuner/TuningDb.h"
#include "lathe/codegen/Target/Assemble.h"
#include "lathe/dsl/Print.h"
#include "lathe/support/Error.h"
#include "lathe/support/Log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

using namespace lathe;
using namespace lathe::runtime;
using kernel_cache::Entry;
using kernel_cache::Key;

static double nowMs() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string_view lathe::runtime::name(ConfigSource source) {
  switch (source) {
  case ConfigSource::Given:
    return "given";
  case ConfigSource::Tuned:
    return "tuned";
  case ConfigSource::Default:
    return "default";
  }
  return "?";
}

codegen::Target lathe::runtime::targetOf(const DeviceProperties &properties) {
  codegen::Target facts;
  facts.sharedBytesPerCta = properties.sharedBytesPerCta;
  facts.smCount = properties.smCount;
  return facts;
}

template <class ConfigType>
static Key keyOf(const dsl::Kernel &description, const ConfigType &config, const codegen::Target &target) {
  return Key({{"description", dsl::print(description)},
              {"config", config},
              {"compiler", codegen::compilerVersion()},
              {"arch", target.arch},
              {"assembler", codegen::chosenAssembler()}});
}

Key Jit::key(const dsl::Kernel &description, const codegen::Config &config, const codegen::Target &target) {
  return keyOf(description, config, target);
}

template <std::same_as<codegen::MoeConfig> C>
Key Jit::key(const dsl::Kernel &description, const C &config, const codegen::Target &target) {
  return keyOf(description, config, target);
}
template Key Jit::key(const dsl::Kernel &, const codegen::MoeConfig &, const codegen::Target &);

Jit::Jit(std::filesystem::path cacheDirectory) : store_(std::move(cacheDirectory)) {}

/// The compiler's artifact as a cache entry: its manifest and stage times become stats.json.
template <class ManifestType>
static Entry toEntry(codegen::ArtifactOf<ManifestType> artifact) {
  nlohmann::json times = nlohmann::json::object();
  for (const codegen::StageTime &time : artifact.times)
    times[time.name] = time.milliseconds;
  return {std::move(artifact.ptx),
          std::move(artifact.cubin),
          {{"manifest", artifact.manifest}, {"stagesMs", times}}};
}

template <class Report>
static void logChoice(const dsl::Kernel &description, const Report &report) {
  logInfo("{}: {} configuration ({}): {}", description.name(), name(report.source), report.sourceReason,
          report.config.str());
}

/// The caller's configuration, else the tuned one, else the default.
static void chooseConfig(const dsl::Kernel &description, const JitRequest &request, JitReport &report) {
  if (request.config) {
    if (request.batchInvariant && !codegen::batchInvariant(*request.config))
      throw UserError({description.name(),
                       "a batch-invariant kernel divides a sequence by its own length alone",
                       request.config->str(), "set split to whole or fixed"});
    report.config = *request.config;
    report.source = ConfigSource::Given;
    return;
  }
  autotuner::LookupQuery query;
  query.key = {
      request.machine,  request.target.arch,   codegen::analyze(description), codegen::compilerVersion(),
      request.workload, request.batchInvariant};
  query.batch = request.batch;
  query.meanTokens = request.meanTokens;
  const autotuner::LookupResult found = autotuner::TuningDb().lookup(query, request.target);
  report.source = found.config ? ConfigSource::Tuned : ConfigSource::Default;
  report.sourceReason = found.reason;
  report.config = found.config
                      ? *found.config
                      : codegen::defaultConfig(query.key.problem, request.target, request.batchInvariant);
  logChoice(description, report);
}

static void chooseConfig(const dsl::Kernel &description, const MoeJitRequest &request, MoeJitReport &report) {
  if (request.config) {
    report.config = *request.config;
    report.source = ConfigSource::Given;
    return;
  }
  autotuner::MoeLookupQuery query;
  query.key = {request.machine, request.target.arch, codegen::analyzeMoe(description),
               codegen::compilerVersion(), request.workload};
  query.rows = std::max(request.rows, 1);
  query.zipf = request.zipf;
  const autotuner::MoeLookupResult found = autotuner::TuningDb().lookup(query, request.target);
  report.source = found.config ? ConfigSource::Tuned : ConfigSource::Default;
  report.sourceReason =
      found.config ? found.reason : fmt::format("{}; the default for {} rows", found.reason, query.rows);
  report.config =
      found.config ? *found.config : codegen::defaultMoeConfig(query.key.problem, request.target, query.rows);
  logChoice(description, report);
}

template <class Artifact>
void Jit::findOrCompile(const dsl::Kernel &description, const codegen::Target &target, double start,
                        Artifact &artifact) const {
  auto &report = artifact.report;
  const Key entryKey = keyOf(description, report.config, target);
  report.digest = entryKey.digest();
  report.entryPath = store_.entryPath(entryKey);

  std::vector<codegen::StageTime> compiler;
  artifact.entry = store_.findOrBuild(
      entryKey,
      [&] {
        codegen::CompileOptions options;
        options.target = target;
        auto built = codegen::compile(description, report.config, options);
        compiler = built.times;
        return toEntry(std::move(built));
      },
      &report.compiled);
  artifact.entry.stats.at("manifest").get_to(artifact.manifest);

  report.totalMs = nowMs() - start;
  double inCompiler = 0;
  for (const codegen::StageTime &time : compiler)
    inCompiler += time.milliseconds;
  report.times = std::move(compiler);
  report.times.push_back({report.compiled ? "cache" : "lookup", report.totalMs - inCompiler});
  if (report.compiled)
    logInfo("compiled {} in {:.0f} ms, compilation {} of this process: {}", description.name(),
            report.totalMs, ++compileCount_, report.entryPath.string());
  else
    logInfo("found {} in {:.1f} ms: {}", description.name(), report.totalMs, report.entryPath.string());
}

JitArtifact Jit::build(const dsl::Kernel &description, const JitRequest &request) const {
  const double start = nowMs();
  JitArtifact artifact;
  chooseConfig(description, request, artifact.report);
  findOrCompile(description, request.target, start, artifact);
  return artifact;
}

template <std::same_as<MoeJitRequest> R>
MoeJitArtifact Jit::build(const dsl::Kernel &description, const R &request) const {
  const double start = nowMs();
  MoeJitArtifact artifact;
  chooseConfig(description, request, artifact.report);
  findOrCompile(description, request.target, start, artifact);
  return artifact;
}
template MoeJitArtifact Jit::build(const dsl::Kernel &, const MoeJitRequest &) const;

/// Loads an artifact as a Loaded (Kernel, MoeKernel) and reports the time.
template <class Loaded, class Artifact, class Report>
static Loaded loadAs(const dsl::Kernel &description, std::shared_ptr<Device> device, Artifact artifact,
                     Report *report) {
  const double start = nowMs();
  const std::string_view image = artifact.image(device->imageKind());
  Loaded kernel(std::move(device), image, artifact.manifest);
  artifact.report.times.push_back({"load", nowMs() - start});
  artifact.report.totalMs += artifact.report.times.back().milliseconds;
  logInfo("loaded {} in {:.1f} ms", description.name(), artifact.report.times.back().milliseconds);
  if (report)
    *report = std::move(artifact.report);
  return kernel;
}

Kernel Jit::load(const dsl::Kernel &description, std::shared_ptr<Device> device, JitRequest request,
                 JitReport *report) const {
  request.target = targetOf(device->properties());
  request.machine = device->properties().name;
  return loadAs<Kernel>(description, std::move(device), build(description, request), report);
}

template <std::same_as<MoeJitRequest> R>
MoeKernel Jit::load(const dsl::Kernel &description, std::shared_ptr<Device> device, R request,
                    MoeJitReport *report) const {
  request.target = targetOf(device->properties());
  request.machine = device->properties().name;
  return loadAs<MoeKernel>(description, std::move(device), build(description, request), report);
}
template MoeKernel Jit::load(const dsl::Kernel &, std::shared_ptr<Device>, MoeJitRequest,
                             MoeJitReport *) const;
