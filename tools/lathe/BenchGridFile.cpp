//===- BenchGridFile.cpp - A table of workloads from a file ---------------------------------------------===//
//
// Reads rows field by field; a field that is not known is a mistake, for it would be ignored in silence.
//
//===--------------------------------------------------------------------------------------------------===//
#include "BenchGrid.h"

#include "Lengths.h"

#include "lathe/support/Error.h"
#include "lathe/support/Files.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

using namespace lathe;
using namespace lathe::tools;
using nlohmann::json;

static constexpr const char *fieldNames =
    "fields are name, heads, queryTokens, page, latent, rope, value, causal, scale, batch, tokens, lengths, "
    "seed, layers";

namespace {
/// The fields of one row; what was asked for is known, the rest is not.
class Fields {
public:
  Fields(std::string place, const json &object) : place_(std::move(place)), object_(object) {
    if (!object.is_object())
      throw UserError({place_, "a row must be an object", object.dump(), fieldNames});
  }

  int integer(const char *name, std::optional<int> fallback) {
    const json *value = find(name, fallback.has_value());
    if (!value)
      return *fallback;
    if (!value->is_number_integer() || *value < 0 || *value > (1 << 30))
      throw UserError({place_, fmt::format("'{}' must be a whole number, not negative", name), value->dump(),
                       "see lathe bench mla --help"});
    return value->get<int>();
  }
  std::string text(const char *name) {
    const json *value = find(name, true);
    if (value && !value->is_string())
      throw UserError({place_, fmt::format("'{}' must be a text", name), value->dump(), ""});
    return value ? value->get<std::string>() : "";
  }
  bool truth(const char *name, bool fallback) {
    const json *value = find(name, true);
    if (value && !value->is_boolean())
      throw UserError({place_, fmt::format("'{}' must be true or false", name), value->dump(), ""});
    return value ? value->get<bool>() : fallback;
  }
  float number(const char *name, float fallback) {
    const json *value = find(name, true);
    if (value && !value->is_number())
      throw UserError({place_, fmt::format("'{}' must be a number", name), value->dump(), ""});
    return value ? value->get<float>() : fallback;
  }
  /// Throws for the first field that nobody asked for.
  void finish() const {
    for (const auto &[name, value] : object_.items())
      if (!known_.count(name))
        throw UserError({place_, "a field must be known", name, fieldNames});
  }
  const std::string &place() const { return place_; }

private:
  const json *find(const char *name, bool optional) {
    known_.insert(name);
    const auto found = object_.find(name);
    if (found != object_.end())
      return &*found;
    if (!optional)
      throw UserError({place_, "a row must have the field", name, fieldNames});
    return nullptr;
  }

  std::string place_;
  const json &object_;
  std::set<std::string> known_;
};
} // namespace

static dsl::MlaShape readShape(Fields &fields) {
  dsl::MlaShape shape;
  shape.heads = fields.integer("heads", std::nullopt);
  shape.queryTokens = fields.integer("queryTokens", shape.queryTokens);
  shape.page = fields.integer("page", shape.page);
  shape.latent = fields.integer("latent", shape.latent);
  shape.rope = fields.integer("rope", shape.rope);
  shape.value = fields.integer("value", shape.value);
  shape.causal = fields.truth("causal", shape.causal);
  return shape;
}

/// What a row's name says of its lengths: 4096, normal-4096-2048, trace-azure.csv.
static std::string lengthsName(std::string text) {
  if (text.rfind("trace:", 0) == 0)
    text = "trace-" + std::filesystem::path(text.substr(6)).filename().string();
  if (text.rfind("const:", 0) == 0)
    text = text.substr(6);
  std::replace(text.begin(), text.end(), ':', '-');
  return text;
}

static GridRow readRow(Fields &fields) {
  const dsl::MlaShape shape = readShape(fields);
  const int batch = fields.integer("batch", std::nullopt), tokens = fields.integer("tokens", -1);
  std::string lengths = fields.text("lengths");
  if ((tokens < 0) == lengths.empty())
    throw UserError({fields.place(), "a row has either tokens or lengths",
                     lengths.empty() ? "neither" : "both", "give one of them"});
  if (lengths.empty())
    lengths = fmt::to_string(tokens);
  const int seed = fields.integer("seed", 0);
  GridRow row{
      .name = fields.text("name"), .shape = shape, .workload = parseLengths(batch, lengths, uint64_t(seed))};
  if (row.name.empty())
    row.name = rowName(shape, batch, lengthsName(lengths));
  row.scale = fields.number("scale", row.scale);
  row.layers = fields.integer("layers", 16);
  fields.finish();
  (void)dsl::mlaDecode(shape); // Throws for an impossible shape.
  return row;
}

std::vector<GridRow> lathe::tools::readGrid(const std::filesystem::path &path) {
  const json document = json::parse(readFile(path), nullptr, false);
  const std::string file = path.filename().string();
  if (!document.is_object() || !document.contains("rows") || !document.at("rows").is_array())
    throw UserError({file, "a table is a JSON object with a list named rows",
                     document.is_discarded() ? "no JSON" : document.type_name(),
                     R"(for example {"rows": [{"heads": 16, "batch": 8, "tokens": 4096}]})"});
  std::vector<GridRow> rows;
  std::set<std::string> names;
  for (const json &entry : document.at("rows")) {
    const std::string place = fmt::format("{}, row {}", file, rows.size() + 1);
    try {
      Fields fields(place, entry);
      rows.push_back(readRow(fields));
    } catch (const UserError &error) {
      if (error.fault().place == place)
        throw;
      throw UserError({place, error.what(), "", ""});
    }
    if (!names.insert(rows.back().name).second)
      throw UserError({place, "every row needs a name of its own", rows.back().name, "set name"});
  }
  return rows;
}
