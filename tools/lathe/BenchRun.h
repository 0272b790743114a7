//===- BenchRun.h - The rows of a benchmark, compiled and measured -------------------------------------===//
//
// Takes rows with their candidate configurations, compiles every kernel once on all cores, then measures row
// by row: candidates and peers in turns over the same caches, each checked before it is timed. `lathe bench
// mla` adds the rows and prints the results.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "BenchConfigs.h"
#include "BenchGrid.h"
#include "BenchMla.h"
#include "Limits.h"
#include "Peer.h"

#include "lathe/runtime/Jit.h"

#include <map>

namespace lathe::tools {

struct BenchOptions {
  TimingOptions timing;
  int workers = 0;             ///< Of the plans; 0: as many as the GPU runs at once.
  bool fewerLayers = true;     ///< Where the caches of all layers do not fit; else it is an error.
  int ordinal = 0;             ///< The GPU's number, for peers.
  bool batchInvariant = false; ///< Tuned and default configurations are of those that are.
  uint64_t seed = 1;           ///< Of queries, caches and the order of pages.
};

/// One configuration of a row.
struct CandidateResult {
  std::string text;          ///< As it was asked for.
  runtime::JitReport report; ///< Of its kernel; the config alone where it could not be built.
  std::string fault;         ///< Why it has no times; empty where it has.
  std::exception_ptr error;  ///< Where an error was the reason.
  bool wrong = false;        ///< It computed something wrong.
  int workers = 0;
  double planUs = 0; ///< One plan (once a step, not a layer), from a graph of its own.
  double hostUs = 0; ///< Host time of one call of Kernel::run.
  Timing timing;
};

/// One library of a row.
struct PeerResult {
  explicit PeerResult(std::string name) : name(std::move(name)) {}

  std::string name;
  std::string refusal;      ///< It does not serve this problem, in its words.
  std::string fault;        ///< It failed, or computed something wrong.
  std::exception_ptr error; ///< Where an error was the reason.
  Timing timing;
  bool measured() const { return refusal.empty() && fault.empty(); }
};

struct RowResult {
  explicit RowResult(GridRow row) : row(std::move(row)) {}

  GridRow row;
  CachePlan caches;
  MlaWork work;
  std::string fault; ///< Why nothing was measured; empty where a candidate was.
  std::vector<CandidateResult> candidates;
  int best = -1; ///< Of the candidates: the shortest median.
  std::vector<PeerResult> peers;

  bool measured() const { return best >= 0; }
  const CandidateResult &winner() const { return candidates[size_t(best)]; }
};

/// Time that the slower of the two limits allows, microseconds.
double floorUs(const MlaWork &work, const Limits &limits);

class BenchRun {
public:
  /// `peers` must outlive it.
  BenchRun(std::shared_ptr<runtime::Device> device, const BenchOptions &options,
           const std::vector<PeerLibrary> &peers);

  /// Draws the row's lengths and plans its caches. Throws UserError where not one layer fits.
  void add(GridRow row, const std::vector<Candidate> &candidates);
  /// Builds all kernels. A candidate that cannot be built is a fault of its own, never an exception.
  void compile(const BenchProgress &progress);
  /// Measures all rows in order. Throws DeviceError when the GPU is lost; results() has the rows before.
  void measure(const BenchProgress &progress);

  const std::vector<RowResult> &results() const { return results_; }

private:
  struct Contender;
  runtime::JitRequest request(const RowResult &row, const Candidate &candidate) const;
  std::shared_ptr<const runtime::Kernel> kernel(const std::string &digest);
  void measureRow(size_t index);
  Contender enter(const BenchTensors &tensors, CandidateResult &candidate, runtime::Stream stream);
  Contender enter(const BenchTensors &tensors, const PeerLibrary &library, PeerResult &peer,
                  runtime::Stream stream);
  void requireDevice() const;

  std::shared_ptr<runtime::Device> device_;
  BenchOptions options_;
  const std::vector<PeerLibrary> &peers_;
  runtime::Jit jit_;
  std::vector<RowResult> results_;
  std::vector<std::vector<Candidate>> candidates_;                        ///< Of each row.
  std::vector<std::vector<int>> lengths_;                                 ///< Of each row.
  std::map<std::string, runtime::JitArtifact> artifacts_;                 ///< By digest.
  std::map<std::string, std::shared_ptr<const runtime::Kernel>> kernels_; ///< By digest.
  std::unique_ptr<RandomPool> pool_;
};

/// The row's shape as the reference and the counts take it.
reference::AttentionShape benchShape(const GridRow &row);

} // namespace lathe::tools
