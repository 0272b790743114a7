#include "lathe/support/ManifestJson.h"

#include "lathe/support/Error.h"

#include <limits>

using namespace lathe;
using nlohmann::json;

//===- Reading ---------------------------------------------------------------------------------------===//

void ManifestReader::fail(const std::string &path, const std::string &rule, const std::string &value) {
  const std::string what = path.empty() ? "it" : fmt::format("field '{}'", path);
  throw UserError({"manifest", what + " " + rule, value, "compile the kernel again"});
}

ManifestReader ManifestReader::field(const std::string &name) const {
  const std::string path = path_.empty() ? name : path_ + "." + name;
  if (!value_.is_object())
    fail(path_, "must be an object", value_.type_name());
  auto found = value_.find(name);
  if (found == value_.end())
    fail(path, "is required", "nothing");
  return ManifestReader(*found, path);
}

void ManifestReader::get(int &number) const {
  if (!value_.is_number_integer())
    fail(path_, "must be an integer", value_.dump());
  const int64_t wide = value_.get<int64_t>(); // Unsigned values beyond its range turn negative.
  const bool fits = wide >= std::numeric_limits<int>::min() && wide <= std::numeric_limits<int>::max() &&
                    (!value_.is_number_unsigned() || wide >= 0);
  if (!fits)
    fail(path_, "must fit 32 bits", value_.dump());
  number = int(wide);
}

void ManifestReader::get(bool &flag) const {
  if (!value_.is_boolean())
    fail(path_, "must be true or false", value_.dump());
  flag = value_.get<bool>();
}

void ManifestReader::get(std::string &text) const {
  if (!value_.is_string())
    fail(path_, "must be a string", value_.dump());
  text = value_.get<std::string>();
}

int lathe::readManifestVersion(const ManifestReader &reader, int current) {
  int version = 0;
  reader.field("version").get(version);
  if (version != current)
    throw UserError({"manifest", fmt::format("version must be {}", current), std::to_string(version),
                     "compile the kernel again with this version of Lathe"});
  return version;
}

//===- Kernels ---------------------------------------------------------------------------------------===//

static json argumentToJson(const KernelArgument &argument) {
  return {{"kind", argument.kind}, {"name", argument.name}};
}

static KernelArgument readArgument(const ManifestReader &reader) {
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

static KernelResources readResources(const ManifestReader &reader) {
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

json lathe::kernelToJson(const KernelEntry &kernel) {
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

KernelEntry lathe::readKernel(const ManifestReader &reader) {
  KernelEntry kernel;
  reader.field("name").get(kernel.name);
  reader.field("threads").get(kernel.threads);
  reader.field("sharedBytes").get(kernel.sharedBytes);
  reader.field("cluster").get(kernel.cluster);
  reader.field("arguments").get(kernel.arguments, readArgument);
  kernel.resources = readResources(reader.field("resources"));
  return kernel;
}

//===- Tensor maps -----------------------------------------------------------------------------------===//

json lathe::tensorMapsToJson(const std::vector<TensorMapRecipe> &maps) {
  json result = json::array();
  for (const TensorMapRecipe &map : maps)
    result.push_back({{"name", map.name}, {"boxColumns", map.boxColumns}, {"boxRows", map.boxRows}});
  return result;
}

static TensorMapRecipe readTensorMap(const ManifestReader &reader) {
  TensorMapRecipe map;
  reader.field("name").get(map.name);
  reader.field("boxColumns").get(map.boxColumns);
  reader.field("boxRows").get(map.boxRows);
  return map;
}

std::vector<TensorMapRecipe> lathe::readTensorMaps(const ManifestReader &reader) {
  std::vector<TensorMapRecipe> maps;
  reader.get(maps, readTensorMap);
  return maps;
}
