#include "RoutePtx.h"

#include "lathe/codegen/Conversion/Emit.h"
#include "lathe/codegen/Conversion/Passes.h"
#include "lathe/codegen/Frontend/Import.h"
#include "lathe/codegen/IR/TileDialect.h"
#include "lathe/codegen/Schedule/MoeKernels.h"
#include "lathe/codegen/Target/Ptx.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"

#include <stdexcept>

using namespace lathe;
using namespace mlir;

test::RouteText test::routePtx(const dsl::Kernel &description, const codegen::MoeConfig &config) {
  DialectRegistry registry;
  ir::registerLatheDialect(registry);
  tile::registerTileDialect(registry);
  codegen::registerTargetInterfaces(registry);
  MLIRContext context(registry, MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  OwningOpRef<ModuleOp> described = codegen::importKernel(description, context);
  const codegen::MoePattern pattern = codegen::matchMoe(*described->getOps<ir::KernelOp>().begin());
  RouteText result;
  result.problem = pattern.problem;
  OpBuilder builder(&context);
  OwningOpRef<ModuleOp> module = ModuleOp::create(builder, builder.getUnknownLoc());
  codegen::declareShared(*module);
  builder.setInsertionPointToEnd(module->getBody());
  codegen::buildRouteKernel(builder, {pattern, config, moeMemory(config)}, result.entry);
  PassManager passes(&context);
  codegen::buildTileToNvvm(passes);
  codegen::buildNvvmToLlvm(passes);
  if (failed(verify(*module)) || failed(passes.run(*module)))
    throw std::runtime_error("the routing kernel of " + description.name() + " does not lower");
  std::vector<codegen::StageTime> times;
  result.ptx = codegen::translateToPtx(*module, times);
  return result;
}
