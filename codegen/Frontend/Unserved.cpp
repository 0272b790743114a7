#include "lathe/codegen/Frontend/Unserved.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace mlir;
using namespace lathe;
using namespace lathe::codegen;

std::string codegen::describe(Operation *op) {
  if (auto name = dyn_cast<NameLoc>(op->getLoc()))
    return name.getName().str();
  std::string text;
  llvm::raw_string_ostream stream(text);
  op->print(stream, OpPrintingFlags().skipRegions().useLocalScope());
  return text;
}

void codegen::unserved(Operation *op, const std::string &what, std::string wayOut) {
  auto kernel = op->getParentOfType<ir::KernelOp>();
  throw UserError(
      Fault{fmt::format("kernel {}", (kernel ? kernel : cast<ir::KernelOp>(op)).getSymName().str()),
            "no schedule serves " + what, fmt::format("'{}'", describe(op)), std::move(wayOut)});
}
