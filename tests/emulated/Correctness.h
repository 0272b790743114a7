//===- Correctness.h - A case of shape and configuration that must be right --------------------------===//
//
// What is run and compared with the CPU; each file of cases makes a list of them for the one test in
// Correctness.cpp.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "EmulatedKernels.h"

#include <gtest/gtest.h>

namespace lathe::emulatedtest {

struct Case {
  std::string name;
  reference::ShapeCase shape;
  codegen::Config config;
  // NOLINTNEXTLINE(readability-identifier-naming): GoogleTest's.
  friend void PrintTo(const Case &entry, std::ostream *stream) { *stream << entry.name; }
};

class Emulated : public testing::TestWithParam<Case> {};

inline std::string caseName(const testing::TestParamInfo<Case> &info) { return info.param.name; }

/// One run: no error, no finding, the reference's result.
void expectRight(const Case &entry, const RunOptions &options);

} // namespace lathe::emulatedtest
