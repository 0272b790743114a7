//===- Lengths.h - Batch and sequence lengths on the command line -------------------------------------===//
//
// How a command is told what the batch looks like: --batch with --tokens or --lengths. The same words in
// tune, bench, verify and inspect --run, so that a workload can be copied from one to the other.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/Workload.h"

#include <CLI/CLI.hpp>

namespace lathe::tools {

/// The forms of --lengths: const:N, normal:MEAN:STD, trace:FILE, a name. Throws UserError: unknown form, a
/// bad line of a trace with its number.
autotuner::Workload parseLengths(int batch, const std::string &text, uint64_t seed);

struct LengthsOptions {
  int batch = 0;
  int tokens = 0;
  std::string lengths;
  uint64_t seed = 0;

  /// `defaultBatch` stands when --batch is not given. `withSeed` false: the command has a --seed of its own.
  void add(CLI::App &command, int defaultBatch, bool withSeed = true);
  /// Throws UserError: unknown form, a bad line of a trace with its number. `defaultTokens` stands when
  /// neither --tokens nor --lengths is given.
  autotuner::Workload workload(int defaultTokens = 4096) const;
  /// One batch of KV lengths.
  std::vector<int> draw(uint64_t round = 0, int defaultTokens = 4096) const {
    return workload(defaultTokens).draw(round);
  }
};

} // namespace lathe::tools
