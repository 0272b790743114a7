#include "PlantedBug.h"

#include <regex>
#include <sstream>

using namespace lathe::emulatedtest;

/// A JSON string's text: quotes and backslashes stand for themselves.
static std::string unescaped(const std::string &json) {
  return std::regex_replace(json, std::regex(R"(\\(["\\]))"), "$1");
}

PtxEditor::PtxEditor(const std::string &ptx, const std::string &kernel) {
  std::istringstream stream(ptx);
  for (std::string line; std::getline(stream, line);)
    lines_.push_back(line);
  for (size_t i = 0; i < lines_.size(); ++i) {
    if (lines_[i].find(".entry " + kernel + "(") != std::string::npos)
      begin_ = i;
    if (begin_ != 0 && end_ == 0 && lines_[i] == "}")
      end_ = i;
  }
  const std::regex note(R"re(// lathe:op \{"line":(\d+),"text":"(.*)"\})re");
  for (const std::string &line : lines_)
    if (std::smatch match; std::regex_search(line, match, note))
      operations_[match[1]] = unescaped(match[2]);
  if (end_ == 0)
    throw std::runtime_error("there is no kernel " + kernel);
}

std::string PtxEditor::text() const {
  std::string text;
  for (const std::string &line : lines_)
    text += line + "\n";
  return text;
}

std::vector<size_t> PtxEditor::find(const std::string &pattern) const {
  const std::regex expression(pattern);
  std::vector<size_t> found;
  for (size_t i = begin_; i < end_; ++i)
    if (std::regex_search(lines_[i], expression))
      found.push_back(i);
  if (found.empty())
    throw std::runtime_error("nothing matches " + pattern);
  return found;
}

size_t PtxEditor::find(const std::string &pattern, int n) const {
  const std::vector<size_t> found = find(pattern);
  const long at = n < 0 ? long(found.size()) + n : n;
  if (at < 0 || at >= long(found.size()))
    throw std::runtime_error("too few lines match " + pattern);
  return found[size_t(at)];
}

std::string PtxEditor::operationAt(size_t line) const {
  static const std::regex location(R"(\.loc\s+\d+\s+(\d+))");
  for (size_t i = line; i > begin_; --i)
    if (std::smatch match; std::regex_search(lines_[i], match, location)) {
      auto found = operations_.find(match[1]);
      return found == operations_.end() ? "" : found->second;
    }
  return "";
}

size_t PtxEditor::findOf(const std::string &pattern, const std::string &operation, int n) const {
  const std::regex expression(operation);
  std::vector<size_t> found = find(pattern);
  std::erase_if(found, [&](size_t at) { return !std::regex_search(operationAt(at), expression); });
  const long at = n < 0 ? long(found.size()) + n : n;
  if (at < 0 || at >= long(found.size()))
    throw std::runtime_error("too few lines of " + operation + " match " + pattern);
  return found[size_t(at)];
}

size_t PtxEditor::after(size_t line, const std::string &pattern) const {
  for (size_t at : find(pattern))
    if (at > line)
      return at;
  throw std::runtime_error("nothing behind matches " + pattern);
}

size_t PtxEditor::before(size_t line, const std::string &pattern) const {
  const std::vector<size_t> found = find(pattern);
  for (size_t i = found.size(); i-- > 0;)
    if (found[i] < line)
      return found[i];
  throw std::runtime_error("nothing before matches " + pattern);
}

void PtxEditor::removeAll(const std::string &pattern) {
  for (size_t at : find(pattern))
    remove(at);
}

void PtxEditor::replace(size_t at, const std::string &pattern, const std::string &by) {
  const std::regex expression(pattern);
  if (!std::regex_search(lines_[at], expression))
    throw std::runtime_error("'" + lines_[at] + "' does not match " + pattern);
  lines_[at] = std::regex_replace(lines_[at], expression, by, std::regex_constants::format_first_only);
}

void PtxEditor::replaceAll(const std::string &pattern, const std::string &by) {
  for (size_t at : find(pattern))
    replace(at, pattern, by);
}

void PtxEditor::readPrefetches(int64_t further, const std::string &then) {
  for (size_t at : find(R"(cp\.async\.bulk\.prefetch\.L2\.global)")) {
    const std::string address = group(at, R"(\[(%rd\d+)\])"), bytes = group(at, R"(, (%r\d+);)");
    remove(at);
    insertAfter(at, "{ .reg .pred flag; .reg .b32 word; .reg .b64 first, last; add.s64 first, " + address +
                        ", " + std::to_string(further) + "; cvt.u64.u32 last, " + bytes +
                        "; add.s64 last, first, last; ld.global.b32 word, [first]; " + then +
                        " ld.global.b32 word, [last+-4]; " + then + " }");
  }
}

std::string PtxEditor::group(size_t at, const std::string &pattern) const {
  std::smatch match;
  if (!std::regex_search(lines_[at], match, std::regex(pattern)))
    throw std::runtime_error("'" + lines_[at] + "' does not match " + pattern);
  return match[1];
}
