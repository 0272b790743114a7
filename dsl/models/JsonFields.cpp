#include "lathe/dsl/models/JsonFields.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

using namespace lathe;
using namespace lathe::dsl;

JsonFields::JsonFields(const nlohmann::json &object, std::string place, std::string prefix)
    : object_(object), place_(std::move(place)), prefix_(std::move(prefix)) {}

void JsonFields::fail(const std::string &field, const std::string &rule, const std::string &value,
                      const std::string &wayOut) const {
  throw UserError({place_, fmt::format("field '{}{}' {}", prefix_, field, rule), value, wayOut});
}

bool JsonFields::has(const std::string &field) const {
  auto found = object_.find(field);
  return found != object_.end() && !found->is_null();
}

const nlohmann::json &JsonFields::get(const std::string &field) const {
  if (!has(field))
    fail(field, "is missing", "", "this must be the config.json of a model with multi-head latent attention");
  return object_.at(field);
}

const nlohmann::json *JsonFields::object(const std::string &field) const {
  if (!has(field))
    return nullptr;
  const nlohmann::json &value = get(field);
  if (!value.is_object())
    fail(field, "must be an object", value.dump());
  return &value;
}

int JsonFields::integer(const std::string &field, int least) const {
  const nlohmann::json &value = get(field);
  constexpr int64_t most = std::numeric_limits<int>::max();
  // Unsigned values beyond int64 would wrap; no count is that large.
  bool fits = value.is_number_integer() &&
              (value.is_number_unsigned() ? value.get<uint64_t>() <= static_cast<uint64_t>(most) : true);
  if (!fits || value.get<int64_t>() < least)
    fail(field, fmt::format("must be an integer of at least {}", least), value.dump());
  return static_cast<int>(value.get<int64_t>());
}

int JsonFields::integerOr(const std::string &field, int least, int otherwise) const {
  return has(field) ? integer(field, least) : otherwise;
}

double JsonFields::positive(const std::string &field) const {
  const nlohmann::json &value = get(field);
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() <= 0)
    fail(field, "must be a positive number", value.dump());
  return value.get<double>();
}

double JsonFields::numberOr(const std::string &field, double otherwise) const {
  if (!has(field))
    return otherwise;
  const nlohmann::json &value = get(field);
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0)
    fail(field, "must be a number of at least 0", value.dump());
  return value.get<double>();
}

bool JsonFields::booleanOr(const std::string &field, bool otherwise) const {
  if (!has(field))
    return otherwise;
  const nlohmann::json &value = get(field);
  if (!value.is_boolean())
    fail(field, "must be true or false", value.dump());
  return value.get<bool>();
}

std::string JsonFields::textOr(const std::string &field, const std::vector<std::string> &choices,
                               const std::string &otherwise) const {
  if (!has(field))
    return otherwise;
  const nlohmann::json &value = get(field);
  if (!value.is_string() ||
      std::find(choices.begin(), choices.end(), value.get<std::string>()) == choices.end())
    fail(field, fmt::format("must be one of {}", fmt::join(choices, ", ")), value.dump());
  return value.get<std::string>();
}
