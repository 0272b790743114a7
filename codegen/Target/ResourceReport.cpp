//===- ResourceReport.cpp - What a PTX text and an assembler's log say about kernels -----------------===//
//
// Two small readers. The log reader follows "Compiling entry function", "Function properties" and "Used N
// registers" lines; the PTX reader follows `.entry` bodies by their braces. Neither needs the assembler or a
// GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Target/ResourceReport.h"

#include "lathe/codegen/Target/Assemble.h"

#include <fmt/format.h>

#include <array>
#include <cctype>
#include <regex>
#include <sstream>
#include <string_view>

namespace lathe::codegen {

//===- The log ---------------------------------------------------------------------------------------===//

namespace {

/// Follows a log line by line; `current` is the function that property lines speak of.
class LogReader {
public:
  LogReport read(const std::string &log);

private:
  void readLine(const std::string &line);
  void readProperties(int stackBytes, int storeBytes, int loadBytes);
  void readWarning(const std::string &line);

  LogReport report;
  std::string current;
};

} // namespace

/// Messages that the assembler calls information and that cost a multiple of the run time.
static bool isPerformanceLoss(const std::string &line) {
  static const std::regex code("\\(C75(04|08|10|11|12)\\)");
  static const std::regex serialised("wgmma.*serializ", std::regex::icase);
  return std::regex_search(line, code) || line.find("Potential Performance Loss") != std::string::npos ||
         std::regex_search(line, serialised);
}

static std::string ruleOf(const std::string &line) {
  if (line.find("setmaxnreg") != std::string::npos || line.find("C7504") != std::string::npos ||
      line.find("C7508") != std::string::npos)
    return "setmaxnreg must not be ignored";
  if (line.find("wgmma") != std::string::npos)
    return "WGMMA must not be serialised";
  return "the assembler must not warn of lost performance";
}

void LogReader::readProperties(int stackBytes, int storeBytes, int loadBytes) {
  KernelResources &kernel = report.resources[current];
  kernel.stackBytes = stackBytes;
  kernel.spillBytes = storeBytes + loadBytes;
  if (kernel.spillBytes > 0)
    report.findings.push_back(
        {current, "must not spill registers",
         fmt::format("{} bytes spill stores, {} bytes spill loads", storeBytes, loadBytes)});
  if (stackBytes > 0)
    report.findings.push_back({current, "must not need a stack frame", fmt::format("{} bytes", stackBytes)});
}

void LogReader::readWarning(const std::string &line) {
  static const std::regex quoted("function '?([A-Za-z0-9_$]+)'?");
  std::smatch match;
  std::string kernel = std::regex_search(line, match, quoted) ? match[1].str() : "";
  report.findings.push_back({kernel, ruleOf(line), line});
}

void LogReader::readLine(const std::string &line) {
  static const std::regex entry("Compiling entry function '([^']+)'");
  static const std::regex function("Function properties for (\\S+)");
  static const std::regex properties(
      "([0-9]+) bytes stack frame, ([0-9]+) bytes spill stores, ([0-9]+) bytes spill loads");
  static const std::regex used("Used ([0-9]+) registers");
  static const std::regex shared("([0-9]+) bytes smem");
  std::smatch match;
  if (isPerformanceLoss(line)) {
    readWarning(line);
  } else if (std::regex_search(line, match, entry) || std::regex_search(line, match, function)) {
    current = match[1];
  } else if (std::regex_search(line, match, properties)) {
    readProperties(std::stoi(match[1]), std::stoi(match[2]), std::stoi(match[3]));
  } else if (std::regex_search(line, match, used)) {
    KernelResources &kernel = report.resources[current];
    kernel.registers = std::stoi(match[1]);
    if (std::regex_search(line, match, shared))
      kernel.staticSharedBytes = std::stoi(match[1]);
  }
}

LogReport LogReader::read(const std::string &log) {
  std::istringstream stream(log);
  for (std::string line; std::getline(stream, line);)
    readLine(line);
  std::string all;
  for (const auto &[name, resources] : report.resources)
    all += all.empty() ? name : " or " + name;
  for (LogFinding &finding : report.findings) {
    if (finding.kernel.empty())
      finding.kernel = all;
    // The register count belongs to the message, and the log tells it after the spill.
    if (auto found = report.resources.find(finding.kernel);
        found != report.resources.end() && found->second.registers > 0)
      finding.value += fmt::format(" ({} registers)", found->second.registers);
  }
  return std::move(report);
}

LogReport readAssemblerLog(const std::string &log) { return LogReader().read(log); }

//===- The PTX ---------------------------------------------------------------------------------------===//

/// The text with comments blanked out, so that neither names nor braces in them count.
static std::string withoutComments(std::string text) {
  for (size_t at = 0; (at = text.find('/', at)) != std::string::npos;) {
    bool line = text.compare(at, 2, "//") == 0;
    bool block = text.compare(at, 2, "/*") == 0;
    if (!line && !block) {
      ++at;
      continue;
    }
    size_t end = line ? text.find('\n', at) : text.find("*/", at + 2);
    end = end == std::string::npos ? text.size() : end + (block ? 2 : 0);
    text.replace(at, end - at, end - at, ' ');
    at = end;
  }
  return text;
}

static bool isOpcodeCharacter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == ':';
}

/// A TMA load comes from a tensor map into shared memory; stores, reductions and prefetches are spelled
/// otherwise.
static bool isTensorLoad(std::string_view opcode) {
  return opcode.starts_with("cp.async.bulk.tensor.") &&
         (opcode.find(".shared::cluster.global") != opcode.npos ||
          opcode.find(".shared::cta.global") != opcode.npos);
}

static void countOpcode(std::string_view opcode, KernelResources &kernel) {
  kernel.wgmmaCount += opcode.starts_with("wgmma.mma_async");
  kernel.tmaLoadCount += isTensorLoad(opcode);
  kernel.mbarrierWaitCount +=
      opcode.starts_with("mbarrier.try_wait") || opcode.starts_with("mbarrier.test_wait");
  kernel.usesSetmaxnreg |= opcode.starts_with("setmaxnreg.");
}

/// Counts in text[at...] up to the brace that closes the body; returns where it ends.
static size_t countBody(std::string_view text, size_t at, KernelResources &kernel) {
  int depth = 0;
  while (at < text.size()) {
    if (text[at] == '{') {
      ++depth;
    } else if (text[at] == '}') {
      if (--depth == 0)
        return at + 1;
    } else if (depth > 0 && std::isalpha(static_cast<unsigned char>(text[at]))) {
      size_t end = at;
      while (end < text.size() && isOpcodeCharacter(text[end]))
        ++end;
      countOpcode(text.substr(at, end - at), kernel);
      at = end;
      continue;
    } else if (isOpcodeCharacter(text[at]) || text[at] == '%' || text[at] == '$') {
      // Registers, directives and labels: no opcode starts in their middle.
      while (at < text.size() && (isOpcodeCharacter(text[at]) || text[at] == '%' || text[at] == '$'))
        ++at;
      continue;
    }
    ++at;
  }
  return at;
}

std::map<std::string, KernelResources> countInstructions(const std::string &ptx) {
  static const std::regex entry("\\.entry\\s+([A-Za-z0-9_$%]+)");
  std::map<std::string, KernelResources> kernels;
  std::string text = withoutComments(ptx);
  std::smatch match;
  for (auto from = text.cbegin(); std::regex_search(from, text.cend(), match, entry);) {
    size_t start = static_cast<size_t>(match[0].second - text.cbegin());
    size_t end = countBody(text, start, kernels[match[1]]);
    from = text.cbegin() + static_cast<std::ptrdiff_t>(end);
  }
  return kernels;
}

} // namespace lathe::codegen
