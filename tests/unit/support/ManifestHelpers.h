//===- ManifestHelpers.h - What tests of all families' manifests share --------------------------------===//
//
// Random kernels and tensor maps, their comparison field by field, and the rule that every field of a
// manifest is required and typed. Included by the tests of each manifest.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Manifest.h"
#include "lathe/tests/unit/support/Helpers.h"

#include <fmt/format.h>

namespace lathe::test {

inline std::string randomText(std::mt19937_64 &random) { return "name_" + std::to_string(random() % 100000); }
inline int randomInt(std::mt19937_64 &random) { return int(random()); }

inline KernelEntry randomKernel(std::mt19937_64 &random) {
  KernelEntry kernel;
  kernel.name = randomText(random);
  kernel.threads = randomInt(random);
  kernel.sharedBytes = randomInt(random);
  kernel.cluster = randomInt(random);
  for (size_t i = 0, count = random() % 5; i < count; ++i)
    kernel.arguments.push_back({randomText(random), randomText(random)});
  kernel.resources = {randomInt(random), randomInt(random), randomInt(random), randomInt(random),
                      randomInt(random), randomInt(random), randomInt(random), random() % 2 == 0};
  return kernel;
}

inline std::vector<TensorMapRecipe> randomMaps(std::mt19937_64 &random) {
  std::vector<TensorMapRecipe> maps;
  for (size_t i = 0, count = random() % 3; i < count; ++i)
    maps.push_back({randomText(random), randomInt(random), randomInt(random)});
  return maps;
}

inline void expectSame(const KernelEntry &a, const KernelEntry &b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.threads, b.threads);
  EXPECT_EQ(a.sharedBytes, b.sharedBytes);
  EXPECT_EQ(a.cluster, b.cluster);
  ASSERT_EQ(a.arguments.size(), b.arguments.size());
  for (size_t i = 0; i < a.arguments.size(); ++i) {
    EXPECT_EQ(a.arguments[i].kind, b.arguments[i].kind);
    EXPECT_EQ(a.arguments[i].name, b.arguments[i].name);
  }
  const KernelResources &r = a.resources, &s = b.resources;
  EXPECT_EQ(r.registers, s.registers);
  EXPECT_EQ(r.spillBytes, s.spillBytes);
  EXPECT_EQ(r.stackBytes, s.stackBytes);
  EXPECT_EQ(r.staticSharedBytes, s.staticSharedBytes);
  EXPECT_EQ(r.wgmmaCount, s.wgmmaCount);
  EXPECT_EQ(r.tmaLoadCount, s.tmaLoadCount);
  EXPECT_EQ(r.mbarrierWaitCount, s.mbarrierWaitCount);
  EXPECT_EQ(r.usesSetmaxnreg, s.usesSetmaxnreg);
}

inline void expectSame(const std::vector<TensorMapRecipe> &a, const std::vector<TensorMapRecipe> &b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    EXPECT_EQ(a[i].boxColumns, b[i].boxColumns);
    EXPECT_EQ(a[i].boxRows, b[i].boxRows);
  }
}

/// All JSON pointers to fields of objects in `value`.
inline void collectFields(const nlohmann::json &value, const std::string &path,
                          std::vector<std::string> &paths) {
  if (value.is_object())
    for (const auto &[name, field] : value.items()) {
      const std::string inner = fmt::format("{}/{}", path, name);
      paths.push_back(inner);
      if (inner != "/config")
        collectFields(field, inner, paths);
    }
  if (value.is_array())
    for (size_t i = 0; i < value.size(); ++i)
      collectFields(value[i], fmt::format("{}/{}", path, i), paths);
}

/// Each of `manifest`'s fields, more than `atLeast` of them, may neither be missing nor have another type.
template <typename M>
void expectFieldsRequiredAndTyped(const M &manifest, size_t atLeast) {
  using nlohmann::json;
  const json good = manifest;
  std::vector<std::string> paths;
  collectFields(good, "", paths);
  ASSERT_GT(paths.size(), atLeast);
  for (const std::string &path : paths) {
    const json::json_pointer pointer(path);
    const std::string &name = pointer.back();
    json missing = good;
    missing.at(pointer.parent_pointer()).erase(name);
    const std::string message = userErrorOf([&] { missing.get<M>(); });
    EXPECT_TRUE(contains(message, name + "' is required")) << path;
    if (path == "/config")
      continue; // Any JSON is a config here.
    for (const json &wrong : {json(nullptr), json(1.5), json({{"x", 1}})}) {
      json changed = good;
      changed[pointer] = wrong;
      EXPECT_THROW(changed.get<M>(), UserError) << path << " = " << wrong.dump();
    }
  }
}

} // namespace lathe::test
