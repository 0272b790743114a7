//===- TraceFile.cpp - Request lengths from a file ----------------------------------------------------===//
//
// One reader a format over a common walk through numbered lines. Every rule that a line breaks is reported
// with file and line number, so that a trace of a million lines can be repaired; nothing is skipped in
// silence.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/autotuner/TraceFile.h"

#include "lathe/support/Error.h"
#include "lathe/support/Files.h"
#include "lathe/support/Hash.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace lathe::autotuner {

namespace {
/// Lines of a file that hold something, trimmed, with their numbers from 1.
struct Line {
  int number;
  std::string_view text;
};

struct Source {
  std::filesystem::path path;
  std::string bytes;
  std::vector<Line> lines;
};
} // namespace

static constexpr const char *formatsWayOut = "formats: Azure CSV (TIMESTAMP,ContextTokens,GeneratedTokens), "
                                             "two histograms (tokens,probability), JSON lines "
                                             "(input_length, output_length), or one KV length a line";

const char *name(TraceFormat format) {
  switch (format) {
  case TraceFormat::AzureCsv:
    return "azure-csv";
  case TraceFormat::HistogramPair:
    return "histogram-pair";
  case TraceFormat::MooncakeJsonl:
    return "mooncake-jsonl";
  case TraceFormat::LengthList:
    return "length-list";
  }
  return "?";
}

static std::string_view trimmed(std::string_view text) {
  const char *space = " \t\r\n";
  const size_t first = text.find_first_not_of(space);
  return first == text.npos ? std::string_view{}
                            : text.substr(first, text.find_last_not_of(space) - first + 1);
}

static UserError lineError(const Source &source, int line, std::string rule, std::string_view value) {
  std::string shown(value.substr(0, 60));
  return UserError(Fault{fmt::format("workload file {}, line {}", source.path.string(), line),
                         std::move(rule), fmt::format("'{}'", shown), "correct or remove the line"});
}

static UserError fileError(const std::filesystem::path &path, std::string rule, std::string value) {
  return UserError(Fault{fmt::format("workload file {}", path.string()), std::move(rule), std::move(value),
                         formatsWayOut});
}

/// Fills `source.lines`; lines that are empty or start with '#' hold nothing.
static void splitLines(Source &source) {
  std::string_view rest = source.bytes;
  if (rest.starts_with("\xEF\xBB\xBF"))
    rest.remove_prefix(3);
  for (int number = 1; !rest.empty(); ++number) {
    const size_t end = rest.find('\n');
    std::string_view text = trimmed(rest.substr(0, end));
    if (!text.empty() && text.front() != '#')
      source.lines.push_back({number, text});
    rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
  }
}

static void open(Source &source, const std::filesystem::path &path) {
  source.path = path;
  source.bytes = readFile(path);
  splitLines(source);
  if (source.lines.empty())
    throw fileError(path, "a workload file must hold at least one request", "an empty file");
}

static std::vector<std::string_view> cells(std::string_view text) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t comma = text.find(',');
    parts.push_back(trimmed(text.substr(0, comma)));
    if (comma == text.npos)
      return parts;
    text.remove_prefix(comma + 1);
  }
}

static int parseTokens(const Source &source, int line, std::string_view text, const char *what) {
  int64_t value = -1;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size() || value < 0 || value > maxTraceTokens)
    throw lineError(source, line, fmt::format("{} must be an integer from 0 to {}", what, maxTraceTokens),
                    text);
  return int(value);
}

static void readAzure(const Source &source, Trace &trace) {
  const std::vector<std::string_view> header = cells(source.lines.front().text);
  auto column = [&](std::string_view title) {
    return size_t(std::find(header.begin(), header.end(), title) - header.begin());
  };
  const size_t input = column("ContextTokens"), output = column("GeneratedTokens");
  for (size_t i = 1; i < source.lines.size(); ++i) {
    const auto [number, text] = source.lines[i];
    const std::vector<std::string_view> row = cells(text);
    if (row.size() != header.size())
      throw lineError(source, number,
                      fmt::format("a line must have {} columns as the header has", header.size()), text);
    trace.requests.push_back({parseTokens(source, number, row[input], "ContextTokens"),
                              parseTokens(source, number, row[output], "GeneratedTokens")});
  }
}

static int jsonTokens(const Source &source, const Line &line, const nlohmann::json &record,
                      const char *field) {
  auto found = record.find(field);
  if (found == record.end() || !found->is_number_integer())
    throw lineError(source, line.number, fmt::format("a line must have an integer field '{}'", field),
                    line.text);
  return parseTokens(source, line.number, found->dump(), field);
}

static void readMooncake(const Source &source, Trace &trace) {
  for (const Line &line : source.lines) {
    const nlohmann::json record = nlohmann::json::parse(line.text, nullptr, /*allow_exceptions=*/false);
    if (!record.is_object())
      throw lineError(source, line.number, "a line must be a JSON object", line.text);
    trace.requests.push_back({jsonTokens(source, line, record, "input_length"),
                              jsonTokens(source, line, record, "output_length")});
  }
}

static std::vector<LengthBin> readHistogram(const Source &source) {
  std::vector<LengthBin> bins;
  for (size_t i = 1; i < source.lines.size(); ++i) {
    const auto [number, text] = source.lines[i];
    const std::vector<std::string_view> row = cells(text);
    if (row.size() != 2)
      throw lineError(source, number, "a line must have two columns, tokens and probability", text);
    double weight = -1;
    auto [end, code] = std::from_chars(row[1].data(), row[1].data() + row[1].size(), weight);
    if (code != std::errc{} || end != row[1].data() + row[1].size() || !std::isfinite(weight) || weight < 0)
      throw lineError(source, number, "probability must be a number that is not negative", row[1]);
    bins.push_back({parseTokens(source, number, row[0], "tokens"), weight});
  }
  const bool drawable =
      std::any_of(bins.begin(), bins.end(), [](const LengthBin &bin) { return bin.weight > 0; });
  if (!drawable)
    throw fileError(source.path, "a histogram must have a positive probability", "none");
  return bins;
}

static void readList(const Source &source, Trace &trace) {
  for (const auto &[number, text] : source.lines)
    for (std::string_view cell : cells(text))
      trace.lengths.push_back(parseTokens(source, number, cell, "a KV length"));
}

static bool isHistogramHeader(std::string_view line) {
  return cells(line) == std::vector<std::string_view>{"tokens", "probability"};
}

/// "…_input_hist.csv" → "…_output_hist.csv", the last occurrence in the file name.
static std::filesystem::path counterpart(const std::filesystem::path &path, std::string_view from,
                                         std::string_view to) {
  std::string file = path.filename().string();
  const size_t at = file.rfind(from);
  if (at == file.npos)
    return {};
  return path.parent_path() / file.replace(at, from.size(), to);
}

static Trace readHistogramsBeside(const std::filesystem::path &path) {
  if (std::filesystem::path inputs = counterpart(path, "output", "input"); !inputs.empty())
    return readHistogramPair(inputs, path);
  if (std::filesystem::path outputs = counterpart(path, "input", "output"); !outputs.empty())
    return readHistogramPair(path, outputs);
  throw UserError(Fault{fmt::format("workload file {}", path.string()),
                        "a histogram must come with its counterpart, input or output in the file name",
                        path.filename().string(), "give both as input.csv,output.csv"});
}

/// A decode step draws requests in proportion to their output, so one must have any.
static void requireOutput(const std::filesystem::path &path, bool any) {
  if (!any)
    throw fileError(path, "at least one request must have output tokens", "none");
}

Trace readHistogramPair(const std::filesystem::path &inputs, const std::filesystem::path &outputs) {
  Source in, out;
  open(in, inputs);
  open(out, outputs);
  for (const Source *source : {&in, &out})
    if (!isHistogramHeader(source->lines.front().text))
      throw lineError(*source, source->lines.front().number, "a histogram must start with tokens,probability",
                      source->lines.front().text);
  Trace trace;
  trace.format = TraceFormat::HistogramPair;
  trace.label = inputs.filename().string();
  trace.hash = contentHash(contentHash(in.bytes) + contentHash(out.bytes));
  trace.inputs = readHistogram(in);
  trace.outputs = readHistogram(out);
  requireOutput(outputs, std::any_of(trace.outputs.begin(), trace.outputs.end(),
                                     [](const LengthBin &bin) { return bin.tokens > 0 && bin.weight > 0; }));
  return trace;
}

Trace readTrace(const std::filesystem::path &path) {
  Source source;
  open(source, path);
  const std::string_view first = source.lines.front().text;
  Trace trace;
  trace.label = path.filename().string();
  trace.hash = contentHash(source.bytes);
  if (isHistogramHeader(first))
    return readHistogramsBeside(path);
  if (first.find("ContextTokens") != first.npos && first.find("GeneratedTokens") != first.npos) {
    trace.format = TraceFormat::AzureCsv;
    readAzure(source, trace);
  } else if (first.front() == '{') {
    trace.format = TraceFormat::MooncakeJsonl;
    readMooncake(source, trace);
  } else if (std::isdigit(static_cast<unsigned char>(first.front()))) {
    readList(source, trace);
    return trace;
  } else {
    throw lineError(source, source.lines.front().number,
                    fmt::format("the first line must tell the format ({})", formatsWayOut), first);
  }
  requireOutput(path, std::any_of(trace.requests.begin(), trace.requests.end(),
                                  [](const Request &request) { return request.outputTokens > 0; }));
  return trace;
}

} // namespace lathe::autotuner
