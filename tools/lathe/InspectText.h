//===- InspectText.h - Stages and resources for people and programs ------------------------------------===//
//
// What `lathe inspect` shows of a kernel whatever its family: the stages by name, the text of one, a table of
// what assembling found out.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Compiler.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace lathe::tools {

/// --emit and --json.
struct EmitOptions {
  std::string emit = "dsl";
  bool json = false;

  /// The option, for others to exclude it.
  CLI::Option *add(CLI::App &command);
  bool resources() const { return emit == "resources"; }
  codegen::Stage stage() const; ///< Where it is not resources.
  /// Prints a stage's text, alone or with what it belongs to.
  void printText(const std::string &text, const nlohmann::json &config, const nlohmann::json &shape) const;
};

/// Launch shape and resources, one object a kernel.
nlohmann::json kernelsJson(const std::vector<const KernelEntry *> &entries);
/// The same as a table.
std::string kernelsText(const nlohmann::json &kernels);

} // namespace lathe::tools
