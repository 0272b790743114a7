//===- TestFiles.h - A folder that goes away ----------------------------------------------------------===//
//
// A temporary folder for tests of traces and the tuning database, removed with the object.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/support/Error.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdlib.h>
#include <string>

namespace lathe::test {

class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lathe-test-XXXXXX").string();
    if (!mkdtemp(name.data()))
      throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder &) = delete;
  std::filesystem::path operator/(const std::string &name) const { return path_ / name; }
  std::filesystem::path write(const std::string &name, const std::string &bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return path_ / name;
  }

private:
  std::filesystem::path path_;
};

inline std::string slurp(const std::filesystem::path &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Text of the UserError that `work` throws; fails the test when it throws none.
inline std::string userError(const std::function<void()> &work) {
  try {
    work();
  } catch (const UserError &error) {
    return error.what();
  }
  ADD_FAILURE() << "no UserError was thrown";
  return {};
}

} // namespace lathe::test

#define EXPECT_HAS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)
