//===- ManifestJson.h - JSON of what all manifests have ----------------------------------------------===//
//
// A reader that knows the way to each value, for messages, and both directions for kernels and tensor maps.
// Every family's manifest is made of these, so that a mistake in a file is told alike. Private to support:
// Manifest.cpp and MoeManifest.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Manifest.h"

#include <fmt/format.h>

#include <string>
#include <vector>

namespace lathe {

/// A JSON value and the way to it, for messages: "attend.arguments[2].kind". Throws UserError wherever the
/// value is not what is asked for.
class ManifestReader {
public:
  ManifestReader(const nlohmann::json &value, std::string path) : value_(value), path_(std::move(path)) {}

  ManifestReader field(const std::string &name) const;

  void get(int &number) const;
  void get(bool &flag) const;
  void get(std::string &text) const;
  template <typename T, typename Read>
  void get(std::vector<T> &elements, Read read) const {
    if (!value_.is_array())
      fail(path_, "must be an array", value_.type_name());
    elements.clear();
    for (size_t i = 0; i < value_.size(); ++i)
      elements.push_back(read(ManifestReader(value_[i], fmt::format("{}[{}]", path_, i))));
  }

  const nlohmann::json &value() const { return value_; }

private:
  [[noreturn]] static void fail(const std::string &path, const std::string &rule, const std::string &value);

  const nlohmann::json &value_;
  std::string path_;
};

/// The version of the manifest under `reader`. Throws UserError when it is not `current`.
int readManifestVersion(const ManifestReader &reader, int current);

nlohmann::json kernelToJson(const KernelEntry &kernel);
KernelEntry readKernel(const ManifestReader &reader);

nlohmann::json tensorMapsToJson(const std::vector<TensorMapRecipe> &maps);
std::vector<TensorMapRecipe> readTensorMaps(const ManifestReader &reader);

} // namespace lathe
