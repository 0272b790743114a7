//===- BenchReport.h - What a benchmark found out, printed ---------------------------------------------===//
//
// One result as a few lines, a table of results as a table, and both as JSON; docs/benchmarks keeps the
// latter. Called by `lathe bench mla`.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "BenchRun.h"
#include "Limits.h"

namespace lathe::tools {

/// What all rows of a run have in common.
struct BenchHeader {
  std::string commandLine;
  runtime::DeviceProperties device;
  Limits limits;
  TimingOptions timing;
  std::vector<PeerLibrary> peers;
};

/// One row: the fields of the document merged with the header's.
nlohmann::json singleJson(const BenchHeader &header, const RowResult &row);
/// The header's fields, "grid", and "rows".
nlohmann::json gridJson(const BenchHeader &header, const std::string &grid,
                        const std::vector<RowResult> &rows);

std::string singleText(const BenchHeader &header, const RowResult &row, const std::string &kernelLabel);
std::string gridText(const BenchHeader &header, const std::vector<RowResult> &rows);

/// Rows that would be measured, each with its candidates.
struct ListedRow {
  GridRow row;
  std::vector<Candidate> candidates;
};
std::string listText(const std::vector<ListedRow> &rows);
nlohmann::json listJson(const std::vector<ListedRow> &rows);

} // namespace lathe::tools
