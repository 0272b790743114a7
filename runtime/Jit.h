//===- Jit.h - From a description to a loaded kernel --------------------------------------------------===//
//
// The facade over all rooms: it looks up the tuned configuration, finds the artifact in the kernel cache or
// has the compiler make it, and loads it on a device, reporting the time of each stage. The tools and the
// Python package call it; an application that brings its own artifacts needs only runtime/Kernel.h and
// neither LLVM nor this file.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Compiler.h"
#include "lathe/kernel_cache/Store.h"
#include "lathe/runtime/Kernel.h"
#include "lathe/runtime/Moe.h"

#include <nlohmann/json.hpp>

#include <atomic>
#include <concepts>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::runtime {

/// Where a configuration came from.
enum class ConfigSource {
  Given,  ///< The caller named it.
  Tuned,  ///< The tuning database has it for this kernel, GPU and workload.
  Default ///< Nothing was tuned.
};
std::string_view name(ConfigSource source); ///< "given", "tuned", "default".

/// What is to be built besides the description itself.
struct JitRequest {
  codegen::Target target; ///< Facts of the machine. load() takes them from its device.
  std::string machine;    ///< The GPU as the tuning database calls it. load() takes it from its device.
  std::optional<codegen::Config> config; ///< Nothing: tuned for the workload below, else the default.
  /// Only configurations with which the result of a sequence depends on its own tensors and length alone, bit
  /// for bit (codegen::batchInvariant). Costs time: docs/batch-invariance.md.
  bool batchInvariant = false;
  nlohmann::json workload; ///< autotuner::Workload::json(), where the exact workload is known; else null.
  int batch = 0;           ///< Sequences a step that the kernel will serve; 0: not known.
  double meanTokens = 0;   ///< Mean KV tokens of a sequence; 0: not known.
};

/// The same for a mixture of experts.
struct MoeJitRequest {
  codegen::Target target;                   ///< As above,
  std::string machine;                      ///< and this.
  std::optional<codegen::MoeConfig> config; ///< Nothing: tuned for the workload below, else the default.
  nlohmann::json workload; ///< autotuner::MoeWorkload::json(), where the exact workload is known; else null.
  int rows = 64;           ///< Of a step, about; the kernel serves any number.
  double zipf = 0;         ///< Exponent of the routing's skew over experts; 0: uniform, or not known.
};

/// What building did, and where it lies.
template <class ConfigType>
struct JitReportOf {
  ConfigType config;
  ConfigSource source = ConfigSource::Default;
  std::string sourceReason;        ///< "tuned for batch 64, mean 4096 tokens", "no record for …".
  bool compiled = false;           ///< False: the entry was in the cache.
  std::string digest;              ///< Of the cache key.
  std::filesystem::path entryPath; ///< Folder of the cache entry.
  std::vector<codegen::StageTime>
      times; ///< Cold: "lookup", the compiler's, "publish"; warm: "lookup". Then "load".
  double totalMs = 0;
};
using JitReport = JitReportOf<codegen::Config>;
using MoeJitReport = JitReportOf<codegen::MoeConfig>;

/// Bytes of a built kernel with their report.
template <class ConfigType, class ManifestType>
struct JitArtifactOf {
  kernel_cache::Entry entry;
  ManifestType manifest;
  JitReportOf<ConfigType> report;
  /// What a Kernel loads where its device wants `kind` (Device::imageKind): the cubin, or the PTX with its
  /// zero byte where PTX is wanted or nothing assembled it. A view: the artifact must outlive it.
  std::string_view image(ImageKind kind) const {
    if (kind == ImageKind::Cubin && !entry.cubin.empty())
      return entry.cubin;
    return {entry.ptx.c_str(), entry.ptx.size() + 1};
  }
};
using JitArtifact = JitArtifactOf<codegen::Config, Manifest>;
using MoeJitArtifact = JitArtifactOf<codegen::MoeConfig, MoeManifest>;

/// Thread-safe; two threads or processes that want the same kernel compile it once.
class Jit {
public:
  /// Opens (creates) the cache. Throws UserError when the folder is refused.
  explicit Jit(std::filesystem::path cacheDirectory = kernel_cache::Store::defaultDirectory());

  /// Finds or compiles; needs no GPU. Throws UserError (also where a given config is not batch-invariant as
  /// asked), CompileError.
  JitArtifact build(const dsl::Kernel &description, const JitRequest &request) const;
  /// Of mixtures of experts. A template, as those below, so that `{}` means the requests above.
  template <std::same_as<MoeJitRequest> R>
  MoeJitArtifact build(const dsl::Kernel &description, const R &request) const;

  /// build() for the device's facts, then loads. Throws DeviceError besides.
  Kernel load(const dsl::Kernel &description, std::shared_ptr<Device> device, JitRequest request = {},
              JitReport *report = nullptr) const;
  template <std::same_as<MoeJitRequest> R>
  MoeKernel load(const dsl::Kernel &description, std::shared_ptr<Device> device, R request,
                 MoeJitReport *report = nullptr) const;

  /// The key under which a description with a configuration is stored.
  static kernel_cache::Key key(const dsl::Kernel &description, const codegen::Config &config,
                               const codegen::Target &target);
  template <std::same_as<codegen::MoeConfig> C>
  static kernel_cache::Key key(const dsl::Kernel &description, const C &config,
                               const codegen::Target &target);

  const kernel_cache::Store &store() const { return store_; }
  /// Compilations that this object has run; also in the log (LATHE_LOG=info), one line each.
  int compileCount() const { return compileCount_; }

private:
  /// Fills in entry and manifest for the configuration that the report names, and the rest of the report.
  template <class Artifact>
  void findOrCompile(const dsl::Kernel &description, const codegen::Target &target, double start,
                     Artifact &artifact) const;

  kernel_cache::Store store_;
  mutable std::atomic<int> compileCount_ = 0;
};

/// Facts of a device in the terms of the schedules.
codegen::Target targetOf(const DeviceProperties &properties);

} // namespace lathe::runtime
