#include "lathe/support/Manifest.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <limits>

using namespace lathe;
using nlohmann::json;

namespace {
/// A JSON value and the way to it, for messages: "attend.arguments[2].kind".
class Reader {
public:
  Reader(const json &value, std::string path) : value_(value), path_(std::move(path)) {}

  Reader field(const std::string &name) const {
    const std::string path = path_.empty() ? name : path_ + "." + name;
    if (!value_.is_object())
      fail(path_, "must be an object", value_.type_name());
    auto found = value_.find(name);
    if (found == value_.end())
      fail(path, "is required", "nothing");
    return Reader(*found, path);
  }

  void get(int &number) const {
    if (!value_.is_number_integer())
      fail(path_, "must be an integer", value_.dump());
    const int64_t wide = value_.get<int64_t>(); // Unsigned values beyond its range turn negative.
    const bool fits = wide >= std::numeric_limits<int>::min() && wide <= std::numeric_limits<int>::max() &&
                      (!value_.is_number_unsigned() || wide >= 0);
    if (!fits)
      fail(path_, "must fit 32 bits", value_.dump());
    number = int(wide);
  }

  void get(bool &flag) const {
    if (!value_.is_boolean())
      fail(path_, "must be true or false", value_.dump());
    flag = value_.get<bool>();
  }

  void get(std::string &text) const {
    if (!value_.is_string())
      fail(path_, "must be a string", value_.dump());
    text = value_.get<std::string>();
  }

  template <typename T, typename Read>
  void get(std::vector<T> &elements, Read read) const {
    if (!value_.is_array())
      fail(path_, "must be an array", value_.type_name());
    elements.clear();
    for (size_t i = 0; i < value_.size(); ++i)
      elements.push_back(read(Reader(value_[i], fmt::format("{}[{}]", path_, i))));
  }

  const json &value() const { return value_; }

private:
  [[noreturn]] static void fail(const std::string &path, const std::string &rule, const std::string &value) {
    const std::string what = path.empty() ? "it" : fmt::format("field '{}'", path);
    throw UserError({"manifest", what + " " + rule, value, "compile the kernel again"});
  }

  const json &value_;
  std::string path_;
};
} // namespace

static json argumentToJson(const KernelArgument &argument) {
  return {{"kind", argument.kind}, {"name", argument.name}};
}

static KernelArgument readArgument(const Reader &reader) {
  KernelArgument argument;
  reader.field("kind").get(argument.kind);
  reader.field("name").get(argument.name);
  return argument;
}

static json resourcesToJson(const KernelResources &resources) {
  return {{"registers", resources.registers},
          {"spillBytes", resources.spillBytes},
          {"stackBytes", resources.stackBytes},
          {"staticSharedBytes", resources.staticSharedBytes},
          {"wgmmaCount", resources.wgmmaCount},
          {"tmaLoadCount", resources.tmaLoadCount},
          {"mbarrierWaitCount", resources.mbarrierWaitCount},
          {"usesSetmaxnreg", resources.usesSetmaxnreg}};
}

static KernelResources readResources(const Reader &reader) {
  KernelResources resources;
  reader.field("registers").get(resources.registers);
  reader.field("spillBytes").get(resources.spillBytes);
  reader.field("stackBytes").get(resources.stackBytes);
  reader.field("staticSharedBytes").get(resources.staticSharedBytes);
  reader.field("wgmmaCount").get(resources.wgmmaCount);
  reader.field("tmaLoadCount").get(resources.tmaLoadCount);
  reader.field("mbarrierWaitCount").get(resources.mbarrierWaitCount);
  reader.field("usesSetmaxnreg").get(resources.usesSetmaxnreg);
  return resources;
}

static json kernelToJson(const KernelEntry &kernel) {
  json arguments = json::array();
  for (const KernelArgument &argument : kernel.arguments)
    arguments.push_back(argumentToJson(argument));
  return {{"name", kernel.name},
          {"threads", kernel.threads},
          {"sharedBytes", kernel.sharedBytes},
          {"cluster", kernel.cluster},
          {"arguments", arguments},
          {"resources", resourcesToJson(kernel.resources)}};
}

static KernelEntry readKernel(const Reader &reader) {
  KernelEntry kernel;
  reader.field("name").get(kernel.name);
  reader.field("threads").get(kernel.threads);
  reader.field("sharedBytes").get(kernel.sharedBytes);
  reader.field("cluster").get(kernel.cluster);
  reader.field("arguments").get(kernel.arguments, readArgument);
  kernel.resources = readResources(reader.field("resources"));
  return kernel;
}

static json tensorMapToJson(const TensorMapRecipe &map) {
  return {{"name", map.name}, {"boxColumns", map.boxColumns}, {"boxRows", map.boxRows}};
}

static TensorMapRecipe readTensorMap(const Reader &reader) {
  TensorMapRecipe map;
  reader.field("name").get(map.name);
  reader.field("boxColumns").get(map.boxColumns);
  reader.field("boxRows").get(map.boxRows);
  return map;
}

void lathe::to_json(json &result, const Manifest &manifest) {
  json maps = json::array();
  for (const TensorMapRecipe &map : manifest.tensorMaps)
    maps.push_back(tensorMapToJson(map));
  result = {{"version", manifest.version},
            {"family", manifest.family},
            {"description", manifest.description},
            {"arch", manifest.arch},
            {"heads", manifest.heads},
            {"queryTokens", manifest.queryTokens},
            {"keyDim", manifest.keyDim},
            {"valueDim", manifest.valueDim},
            {"page", manifest.page},
            {"config", manifest.config},
            {"kvTile", manifest.kvTile},
            {"rowBlocks", manifest.rowBlocks},
            {"splitPolicy", manifest.splitPolicy},
            {"fixedSplits", manifest.fixedSplits},
            {"tensorMaps", maps},
            {"plan", kernelToJson(manifest.plan)},
            {"attend", kernelToJson(manifest.attend)},
            {"combine", kernelToJson(manifest.combine)},
            {"assembler", manifest.assembler}};
}

void lathe::from_json(const json &source, Manifest &manifest) {
  const Reader reader(source, "");
  Manifest read;
  reader.field("version").get(read.version);
  if (read.version != Manifest::currentVersion)
    throw UserError({"manifest", fmt::format("version must be {}", Manifest::currentVersion),
                     std::to_string(read.version), "compile the kernel again with this version of Lathe"});
  reader.field("family").get(read.family);
  reader.field("description").get(read.description);
  reader.field("arch").get(read.arch);
  reader.field("heads").get(read.heads);
  reader.field("queryTokens").get(read.queryTokens);
  reader.field("keyDim").get(read.keyDim);
  reader.field("valueDim").get(read.valueDim);
  reader.field("page").get(read.page);
  read.config = reader.field("config").value();
  reader.field("kvTile").get(read.kvTile);
  reader.field("rowBlocks").get(read.rowBlocks);
  reader.field("splitPolicy").get(read.splitPolicy);
  reader.field("fixedSplits").get(read.fixedSplits);
  reader.field("tensorMaps").get(read.tensorMaps, readTensorMap);
  read.plan = readKernel(reader.field("plan"));
  read.attend = readKernel(reader.field("attend"));
  read.combine = readKernel(reader.field("combine"));
  reader.field("assembler").get(read.assembler);
  manifest = std::move(read);
}
