//===- BenchMoeRun.h - The rows of a benchmark of MoE layers, compiled and measured -------------------===//
//
// Takes rows and configurations, compiles every kernel once on all cores, then measures row by row:
// configurations in turns over the same weights, each checked before it is timed. `lathe bench moe` adds the
// rows and prints the results.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "BenchMoe.h"
#include "MoeOptions.h"

#include "lathe/runtime/Jit.h"

#include <map>
#include <string>
#include <vector>

namespace lathe::tools {

struct MoeBenchOptions {
  TimingOptions timing;
  std::vector<MoeConfigOption> configs; ///< None: one a row, tuned for it, else its default.
};

/// One configuration of a row.
struct MoeConfigResult {
  std::string asked;            ///< As --config has it; "tuned" where nothing was given.
  runtime::MoeJitReport report; ///< Of its kernel; the config alone where it could not be built.
  MoeTimes times;
  double relativeError = 0; ///< Against float64, of the rows that were looked at.
  std::string fault;        ///< Why there is no time; empty where there is.
};

struct MoeRowResult {
  MoeRow row;
  MoeWork work;
  std::vector<MoeConfigResult> configs; ///< As the options' configs.
};

class MoeBenchRun {
public:
  MoeBenchRun(std::shared_ptr<runtime::Device> device, MoeBenchOptions options);

  /// Throws UserError where a configuration does not serve the row and is the only one; of several it is a
  /// fault of its own.
  void add(const MoeRow &row);
  /// Builds all kernels. Throws what the compiler throws for a row's only configuration.
  void compile(const BenchProgress &progress);
  /// Measures all rows in order. A wrong result is a fault. Throws DeviceError when the GPU is lost.
  void measure(const BenchProgress &progress);

  const std::vector<MoeRowResult> &results() const { return results_; }

private:
  struct Job {
    size_t row, config; ///< Of results_.
    dsl::Kernel description;
    runtime::MoeJitRequest request;
  };
  void measureRow(MoeRowResult &result);

  std::shared_ptr<runtime::Device> device_;
  MoeBenchOptions options_;
  runtime::Jit jit_;
  std::vector<Job> jobs_;
  std::map<std::string, runtime::MoeJitArtifact> artifacts_; ///< By digest.
  std::vector<MoeRowResult> results_;
};

} // namespace lathe::tools
