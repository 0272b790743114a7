//===- RoutePtx.h - The routing kernel alone, as PTX -------------------------------------------------===//
//
// Lowers one kernel of a mixture of experts, without the others of its schedule. Here, because it sees MLIR;
// tests/emulated runs what it gives.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Schedule/MoeConfig.h"
#include "lathe/dsl/Kernel.h"
#include "lathe/support/Manifest.h"

#include <string>

namespace lathe::test {

struct RouteText {
  std::string ptx;
  KernelEntry entry;
  codegen::MoeProblem problem;
};

/// Throws UserError for a description without routing, std::runtime_error where lowering fails.
RouteText routePtx(const dsl::Kernel &description, const codegen::MoeConfig &config);

} // namespace lathe::test
