//===- Output.h - Tables and JSON on stdout ----------------------------------------------------------===//
//
// What a command found out goes to stdout, for people as aligned text, for programs as one JSON document;
// everything else goes to stderr. The commands print through this file alone.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Compiler.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace lathe::tools {

/// Rows of cells under a header, each column as wide as its widest cell.
class Table {
public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  /// Columns whose cells (below the header) all start with a digit or a sign are aligned to the right.
  std::string str() const;

private:
  std::vector<std::vector<std::string>> rows_;
};

void print(const std::string &text);
/// One document, indented, with a newline.
void printJson(const nlohmann::json &json);

/// 230600 → "230,600".
std::string grouped(int64_t number);
/// "12.3 KB", "4.5 MB"; powers of 1000.
std::string bytesText(double bytes);
/// "import 1.2 ms · schedule 3.4 ms · … · total 5.6 ms".
std::string stageTimesText(const std::vector<codegen::StageTime> &times);
nlohmann::json toJson(const std::vector<codegen::StageTime> &times);

} // namespace lathe::tools
