//===- RecordFields.h - Reading fields of tuning records ----------------------------------------------===//
//
// Every field of the database is read with a check, so that a damaged record is an error that names the
// field, never a wrong configuration. Called by the files of this room that read records.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Error.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>
#include <string>
#include <utility>

namespace lathe::autotuner {

/// A field of an object. Throws UserError where it is missing or has another type.
template <class Value>
Value field(const nlohmann::json &json, const char *name) {
  try {
    return json.at(name).get<Value>();
  } catch (const nlohmann::json::exception &) {
    const bool there = json.is_object() && json.contains(name);
    throw UserError(Fault{"tuning record", fmt::format("field '{}' must be there with its type", name),
                          there ? json[name].dump() : "nothing", "tune again"});
  }
}

/// Values of an enumeration with their names.
template <class Value, size_t Count>
using Names = std::array<std::pair<const char *, Value>, Count>;

template <class Value, size_t Count>
const char *nameOf(const Names<Value, Count> &names, Value value) {
  for (const auto &[name, known] : names)
    if (known == value)
      return name;
  return "?";
}

/// A field that holds one of the names. Throws UserError otherwise.
template <class Value, size_t Count>
Value choice(const nlohmann::json &json, const char *fieldName, const Names<Value, Count> &names) {
  const std::string text = field<std::string>(json, fieldName);
  for (const auto &[name, value] : names)
    if (text == name)
      return value;
  throw UserError(
      Fault{"tuning record", fmt::format("field '{}' must be a known one", fieldName), text, "tune again"});
}

} // namespace lathe::autotuner
