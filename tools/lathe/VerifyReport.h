//===- VerifyReport.h - Which cases are verified, and what became of them ------------------------------===//
//
// The options, the lines and the JSON document of `lathe verify`, the same for every family of kernels. A
// failed case is exit code 1, not an error message.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"
#include "lathe/runtime/device/emulator/Finding.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

namespace lathe::tools {

/// --case, --small, --all, --list, --reference.
struct CaseOptions {
  std::string filter, reference = "auto";
  bool small = false, all = false, list = false;

  /// `references` are the accepted values of --reference, `meaning` its help.
  void add(CLI::App &command, const std::vector<std::string> &references, const std::string &meaning);
  /// Does the table of this run hold the small cases only? On the emulator, unless asked for others.
  bool smallTable(bool onEmulator) const {
    return small || ((onEmulator || reference == "emulator") && !all && filter.empty());
  }
  /// Those of a table whose name has the filter in it. Throws UserError when none has; `command` lists them.
  template <class Case>
  std::vector<Case> select(std::vector<Case> table, const char *command) const {
    std::erase_if(table, [&](const Case &entry) { return entry.name.find(filter) == std::string::npos; });
    if (table.empty())
      refuse(command);
    return table;
  }

private:
  [[noreturn]] void refuse(const char *command) const;
};

/// What all cases have in common.
struct VerifySetting {
  std::shared_ptr<runtime::Device> device;
  bool emulated = false;
  std::string reference;
  std::string table;                              ///< "small", "all", or "given" for one shape.
  size_t wholeTable = 0;                          ///< Cases of the table with the large ones.
  bool json = false;                              ///< One document at the end, and nothing before.
  const char *wayOut = "choose another --config"; ///< When the configuration serves no case.
};

/// What became of one case.
struct Outcome {
  std::string name;
  bool passed = false;
  std::string numbers; ///< How far off, in one line.
  std::string message; ///< What is wrong; empty when nothing is.
  runtime::emulator::FindingList findings;
  nlohmann::json json; ///< The numbers for programs.
};

/// Prints each outcome as it comes, or all of them at the end.
class VerifyReport {
public:
  explicit VerifyReport(VerifySetting setting) : setting_(std::move(setting)) {}
  void add(Outcome outcome);
  /// A case that the configuration does not serve.
  void leaveOut(const std::string &name, const std::string &reason);
  /// The last lines, or the document. Throws CommandFailed when a case failed, UserError when none ran.
  void finish() const;

private:
  nlohmann::json document() const;

  VerifySetting setting_;
  std::vector<Outcome> outcomes_;
  size_t failed_ = 0, leftOut_ = 0;
};

} // namespace lathe::tools
