//===- JsonFields.h - Reading fields of somebody else's JSON ------------------------------------------===//
//
// Takes named fields out of a JSON object and blames the file and the field when one is missing, ill-typed or
// out of range. Private to dsl/models: ModelConfig.cpp reads config.json with it.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace lathe::dsl {

class JsonFields {
public:
  /// `place` is what errors begin with; `prefix` is put before field names ("rope_scaling."). Keeps a
  /// reference.
  JsonFields(const nlohmann::json &object, std::string place, std::string prefix = "");

  /// Present and not null.
  bool has(const std::string &field) const;

  /// The object in a field, or null when it is absent.
  const nlohmann::json *object(const std::string &field) const;

  int integer(const std::string &field, int least) const; ///< Required.
  int integerOr(const std::string &field, int least, int otherwise) const;
  double positive(const std::string &field) const;                   ///< Required; finite and above 0.
  double numberOr(const std::string &field, double otherwise) const; ///< Finite, not negative.
  bool booleanOr(const std::string &field, bool otherwise) const;
  /// One of `choices`.
  std::string textOr(const std::string &field, const std::vector<std::string> &choices,
                     const std::string &otherwise) const;

  [[noreturn]] void fail(const std::string &field, const std::string &rule, const std::string &value,
                         const std::string &wayOut = "") const;

private:
  const nlohmann::json &get(const std::string &field) const;

  const nlohmann::json &object_;
  std::string place_, prefix_;
};

} // namespace lathe::dsl
