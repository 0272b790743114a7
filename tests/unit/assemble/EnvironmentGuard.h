//===- EnvironmentGuard.h - Environment variables for one test -----------------------------------------===//
//
// Sets a variable and puts the old value back, and gives a directory that vanishes with the test. Used by the
// tests of the assembler chain, which LATHE_ASSEMBLER, LATHE_DUMP_DIR and PATH steer.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

namespace lathe::codegen {

class EnvironmentGuard {
public:
  EnvironmentGuard(std::string name, const std::string &value) : name_(std::move(name)) {
    if (const char *old = std::getenv(name_.c_str()))
      old_ = old;
    setenv(name_.c_str(), value.c_str(), 1);
  }
  ~EnvironmentGuard() {
    if (old_)
      setenv(name_.c_str(), old_->c_str(), 1);
    else
      unsetenv(name_.c_str());
  }
  EnvironmentGuard(const EnvironmentGuard &) = delete;
  EnvironmentGuard &operator=(const EnvironmentGuard &) = delete;

private:
  std::string name_;
  std::optional<std::string> old_;
};

} // namespace lathe::codegen
