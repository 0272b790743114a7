//===- PlantedBug.h - Editing correct PTX into wrong PTX ---------------------------------------------===//
//
// Finds instructions of one kernel by what they are and removes, changes or doubles them, so that a test can
// plant a mistake that a person might make and see what the emulator says of it. An edit that finds nothing
// to change fails the test: the kernels have changed, and so must the edit.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace lathe::emulatedtest {

/// PTX as lines, one kernel of it open to edits.
class PtxEditor {
public:
  PtxEditor(const std::string &ptx, const std::string &kernel);
  std::string text() const;

  /// Lines of the kernel that match the regular expression, in order; never none.
  std::vector<size_t> find(const std::string &pattern) const;
  /// The n-th of them, negative from the end.
  size_t find(const std::string &pattern, int n) const;
  /// Of the lines that match, the n-th of those whose tile operation (as it prints) matches the second
  /// expression.
  size_t findOf(const std::string &pattern, const std::string &operation, int n = 0) const;
  /// The first match behind (or before) a line.
  size_t after(size_t line, const std::string &pattern) const;
  size_t before(size_t line, const std::string &pattern) const;

  const std::string &line(size_t at) const { return lines_[at]; }
  void remove(size_t at) { lines_[at] = "// removed: " + lines_[at]; }
  void removeAll(const std::string &pattern);
  /// Replaces what the expression matches in a line; the line must match.
  void replace(size_t at, const std::string &pattern, const std::string &by);
  void replaceAll(const std::string &pattern, const std::string &by);
  void insertBefore(size_t at, const std::string &text) { lines_[at] = text + "\n" + lines_[at]; }
  void insertAfter(size_t at, const std::string &text) { lines_[at] += "\n" + text; }
  /// Each prefetch reads its first and its last word instead, `further` bytes behind, which must exist;
  /// behind each read `then`, of registers `word` and `flag` (a predicate).
  void readPrefetches(int64_t further = 0, const std::string &then = "");
  /// The first match of an expression with one group, in a line: the group.
  std::string group(size_t at, const std::string &pattern) const;

private:
  std::string operationAt(size_t line) const;

  std::map<std::string, std::string> operations_; ///< By .loc line.
  std::vector<std::string> lines_;
  size_t begin_ = 0, end_ = 0; ///< Of the kernel.
};

} // namespace lathe::emulatedtest
