//===- Cases.h - Which shapes meet which configurations ----------------------------------------------===//
//
// The lists behind the parametrised tests: the whole shape table with the default configuration, and telling
// shapes with variations of every axis of a configuration. Main.cpp reads them too, to compile ahead.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "GpuKernels.h"

#include <gtest/gtest.h>

#include <ostream>

namespace lathe::gputest {

struct KernelCase {
  std::string name; ///< "<shape>__default", "<shape>__kvTile16_stages4_…"; the test's parameter name.
  const reference::ShapeCase *shape = nullptr;
  std::optional<codegen::Config> config;

  KernelRequest request() const { return {shape->shape, config}; }
};
// NOLINTNEXTLINE(readability-identifier-naming): GoogleTest's.
inline void PrintTo(const KernelCase &entry, std::ostream *stream) { *stream << entry.name; }

/// Every case of the shape table with the default configuration.
const std::vector<KernelCase> &tableCases();
/// Telling shapes × every variation that check() accepts, never the default.
const std::vector<KernelCase> &configCases();

/// Plans and runs twice, with poison before each, and expects the same bits and the reference's numbers.
/// Fatal failures name the first wrong element.
void expectMatchesReference(const runtime::Kernel &kernel, const reference::ShapeCase &shape);

/// Compares by the CPU reference where that takes a moment, else by the GPU's.
void expectRight(reference::AttentionInstance &instance, double work);

/// One step on a stream, poison before it; returns when the GPU is done.
void decode(const runtime::Kernel &kernel, runtime::Plan &plan, reference::AttentionInstance &instance,
            runtime::Stream stream);

} // namespace lathe::gputest
