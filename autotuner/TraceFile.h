//===- TraceFile.h - Request lengths from a file ------------------------------------------------------===//
//
// Reads the formats in which public traces come, told apart by their first line: Azure CSV (columns
// ContextTokens and GeneratedTokens), a ServeGen pair of histograms (tokens,probability), Mooncake JSON lines
// (input_length, output_length), a plain list of KV lengths. Called by Workload; a bad line is an error with
// file and line number.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lathe::autotuner {

struct Request {
  int inputTokens = 0;
  int outputTokens = 0;
};

/// One bar of a histogram; `weight` need not be normalised.
struct LengthBin {
  int tokens = 0;
  double weight = 0;
};

enum class TraceFormat { AzureCsv, HistogramPair, MooncakeJsonl, LengthList };
const char *name(TraceFormat format);

/// One file's content; exactly one of the three groups is filled.
struct Trace {
  TraceFormat format = TraceFormat::LengthList;
  std::string label;                      ///< File name, without folder.
  std::string hash;                       ///< contentHash of the bytes of the file, or of both files.
  std::vector<Request> requests;          ///< AzureCsv, MooncakeJsonl.
  std::vector<LengthBin> inputs, outputs; ///< HistogramPair.
  std::vector<int> lengths;               ///< LengthList: KV lengths as a decode step sees them.
};

/// Longest sequence that a trace or a workload may contain, tokens.
constexpr int maxTraceTokens = 1 << 24;

/// Reads and checks a trace. Of a histogram pair either file may be given: the other's name has "output" for
/// "input". Throws UserError: unreadable, no usable line, a bad line (with its number), the other histogram
/// missing.
Trace readTrace(const std::filesystem::path &path);

/// A histogram pair whose files have unrelated names.
Trace readHistogramPair(const std::filesystem::path &inputs, const std::filesystem::path &outputs);

} // namespace lathe::autotuner
