//===- VerifyReport.cpp - Which cases are verified, and what became of them ----------------------------===//
//
// See VerifyReport.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "VerifyReport.h"

#include "Commands.h"
#include "Emulated.h"
#include "Output.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

void CaseOptions::add(CLI::App &command, const std::vector<std::string> &references,
                      const std::string &meaning) {
  const char *group = "Cases";
  command.add_option("--case", filter, "Only cases of the shape table whose name has this in it")
      ->group(group);
  auto *onlySmall = command.add_flag("--small", small, "Only the small cases (seconds)")->group(group);
  command.add_flag("--all", all, "All cases, also on the emulator (where --small is the default)")
      ->excludes(onlySmall)
      ->group(group);
  command.add_flag("--list", list, "List the cases that would run, and run nothing")->group(group);
  command.add_option("--reference", reference, meaning)
      ->check(CLI::IsMember(references))
      ->capture_default_str()
      ->group(group);
}

void CaseOptions::refuse(const char *command) const {
  throw UserError({"verify", "--case must match a name of the shape table", filter,
                   fmt::format("see {} --list", command)});
}

void VerifyReport::add(Outcome outcome) {
  failed_ += !outcome.passed;
  if (!setting_.json) {
    print(fmt::format("{:<6}  {:<36}  {}{}{}\n", outcome.passed ? "ok" : "FAILED", outcome.name,
                      outcome.numbers, outcome.message.empty() ? "" : "\n        ", outcome.message));
    if (!outcome.findings.empty())
      print(outcome.findings.text());
  }
  outcomes_.push_back(std::move(outcome));
}

void VerifyReport::leaveOut(const std::string &name, const std::string &reason) {
  ++leftOut_;
  if (!setting_.json)
    print(fmt::format("-       {:<36}  {}\n", name, reason));
}

nlohmann::json VerifyReport::document() const {
  nlohmann::json rows = nlohmann::json::array();
  for (const Outcome &outcome : outcomes_) {
    nlohmann::json row = outcome.json;
    row.update({{"name", outcome.name},
                {"passed", outcome.passed},
                {"findings", toJson(outcome.findings)},
                {"findingsDropped", outcome.findings.dropped}});
    rows.push_back(std::move(row));
  }
  return {{"device", setting_.device->properties().name},
          {"emulator", setting_.emulated},
          {"reference", setting_.reference},
          {"table", setting_.table},
          {"passed", outcomes_.size() - failed_},
          {"failed", failed_},
          {"leftOut", leftOut_},
          {"cases", rows}};
}

void VerifyReport::finish() const {
  if (outcomes_.empty())
    throw UserError(
        {"verify", "the configuration must serve a case of the table", "none of them", setting_.wayOut});
  if (setting_.json) {
    printJson(document());
  } else {
    print(fmt::format("{} of {} cases passed against the {} reference{}\n", outcomes_.size() - failed_,
                      outcomes_.size(), setting_.reference, setting_.emulated ? " on the emulator" : ""));
    if (leftOut_ > 0)
      print(fmt::format("{} cases left out: the configuration does not serve their shapes.\n", leftOut_));
    if (setting_.emulated && setting_.table == "small")
      print(fmt::format("These are the small cases; --all runs all {} of the shape table.\n",
                        setting_.wholeTable));
  }
  if (failed_)
    throw CommandFailed{ExitVerification};
}
