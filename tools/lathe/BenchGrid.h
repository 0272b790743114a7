//===- BenchGrid.h - Tables of workloads that are measured in one run ----------------------------------===//
//
// Names shapes and workloads, so that numbers of different days, GPUs and libraries stand in the same rows.
// The standard table holds the head counts of tensor-parallel slices, short and long contexts, small and
// large batches; others come from a file. `lathe bench mla --grid` runs it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/autotuner/Workload.h"
#include "lathe/dsl/models/Mla.h"

#include <filesystem>
#include <string>
#include <vector>

namespace lathe::tools {

/// One workload of a table.
struct GridRow {
  std::string name; ///< "16h/128x4096".
  dsl::MlaShape shape;
  float scale = 0.07216878f; ///< Softmax scale; the default is 192^-0.5.
  autotuner::Workload workload;
  int layers = 1; ///< In one graph; fewer where their caches do not fit.
};

/// "16h/128x4096", "128h-q2/128xnormal-4096": heads, query tokens unless 1, batch, what the lengths are.
std::string rowName(const dsl::MlaShape &shape, int batch, const std::string &lengths);

/// A trace that rows are drawn from.
struct NamedTrace {
  std::string name; ///< Part of the rows' names.
  std::string file; ///< As --lengths trace: takes it.
};
/// "NAME=FILE", each name once. Throws UserError.
std::vector<NamedTrace> parseTraces(const std::vector<std::string> &texts);

/// The standard table; with traces, batches of 16, 64 and 256 drawn from each at 16 and 128 heads. Throws
/// UserError where a trace cannot be read.
std::vector<GridRow> standardGrid(const std::vector<NamedTrace> &traces);

/// A table from a file: {"rows": [{"heads": 16, "batch": 8, "tokens": 4096}, …]}; further fields of a row are
/// name, queryTokens, page, latent, rope, value, causal, scale, lengths (as --lengths), seed, layers. Throws
/// UserError naming file, row and field.
std::vector<GridRow> readGrid(const std::filesystem::path &path);

/// "standard", or a file.
std::vector<GridRow> makeGrid(const std::string &nameOrFile, const std::vector<NamedTrace> &traces);

/// Rows of so many heads (0: any) whose names the regular expression finds (empty: any). Throws UserError
/// when none is left, or the expression is none.
std::vector<GridRow> filterRows(std::vector<GridRow> rows, int heads, const std::string &pattern);

} // namespace lathe::tools
