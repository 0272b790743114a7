//===- Kernel.h - The PTX around a case's instructions -----------------------------------------------===//
//
// What all conformance kernels begin with: version, target, parameters, and registers that hold the buffers,
// the thread and the shared memory. Cases write their own instructions behind it. Called by the *Cases.cpp
// files.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Case.h"

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace lathe::conformance {

struct KernelOptions {
  unsigned threads = 128;
  unsigned cluster = 1;          ///< CTAs along x.
  unsigned maps = 0;             ///< Tensor map parameters.
  std::string directives = {};   ///< Behind .reqntid.
  std::string declarations = {}; ///< Before the kernel.
};

/// A module with the kernel `test`. Registers at hand: %in and %out (global addresses), %t (thread of the
/// CTA), %g (thread of the grid), %lane, %warp, %smem (dynamic shared memory, at a multiple of 1024), %map0 …
/// (generic addresses of tensor maps). `body` ends without `ret`.
std::string module(const KernelOptions &options, const std::string &body);

/// A case of one launch: `ctas` along x, all with `sharedBytes` of dynamic shared memory.
Case makeCase(std::string family, std::string name, const KernelOptions &options, unsigned ctas,
              unsigned sharedBytes, const std::string &body);

/// `text` with every name ("$type") replaced by its value.
std::string fill(std::string text, std::initializer_list<std::pair<std::string_view, std::string>> names);

/// %<prefix>0, %<prefix>1, …, in braces.
std::string registers(const std::string &prefix, unsigned count);

} // namespace lathe::conformance
