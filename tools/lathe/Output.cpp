//===- Output.cpp - Tables and JSON on stdout ----------------------------------------------------------===//
//
// Plain formatting, nothing else. No colours: output is read by people, by diff and by grep alike.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Output.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

using namespace lathe;
using namespace lathe::tools;

/// Terminal columns of a UTF-8 text: its bytes less the continuation bytes.
static size_t width(const std::string &text) {
  return size_t(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

static bool isNumber(const std::string &cell) {
  return cell.empty() || cell == "-" || std::string("0123456789+-.").find(cell[0]) != std::string::npos;
}

std::string Table::str() const {
  const size_t columns = rows_.front().size();
  std::vector<size_t> widths(columns, 0);
  std::vector<bool> rightAligned(columns, rows_.size() > 1);
  for (size_t r = 0; r < rows_.size(); ++r)
    for (size_t c = 0; c < columns; ++c) {
      widths[c] = std::max(widths[c], width(rows_[r][c]));
      if (r && !isNumber(rows_[r][c]))
        rightAligned[c] = false;
    }
  std::string text;
  for (const auto &row : rows_) {
    std::string line;
    for (size_t c = 0; c < columns; ++c) {
      std::string padding(widths[c] - width(row[c]), ' ');
      line += (c ? "  " : "") + (rightAligned[c] ? padding + row[c] : row[c] + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

void lathe::tools::print(const std::string &text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void lathe::tools::printJson(const nlohmann::json &json) {
  print(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string lathe::tools::grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (int at = int(text.size()) - 3; at > (number < 0 ? 1 : 0); at -= 3)
    text.insert(size_t(at), ",");
  return text;
}

std::string lathe::tools::bytesText(double bytes) {
  if (bytes < 1e3)
    return fmt::format("{:.0f} B", bytes);
  if (bytes < 1e6)
    return fmt::format("{:.1f} KB", bytes * 1e-3);
  if (bytes < 1e9)
    return fmt::format("{:.1f} MB", bytes * 1e-6);
  return fmt::format("{:.2f} GB", bytes * 1e-9);
}

std::string lathe::tools::stageTimesText(const std::vector<codegen::StageTime> &times) {
  std::string text;
  double total = 0;
  for (const codegen::StageTime &time : times) {
    text += fmt::format("{} {:.1f} ms · ", time.name, time.milliseconds);
    total += time.milliseconds;
  }
  return text + fmt::format("total {:.1f} ms", total);
}

nlohmann::json lathe::tools::toJson(const std::vector<codegen::StageTime> &times) {
  nlohmann::json list = nlohmann::json::array();
  for (const codegen::StageTime &time : times)
    list.push_back({{"name", time.name}, {"milliseconds", time.milliseconds}});
  return list;
}
