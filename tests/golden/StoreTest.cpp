//===- StoreTest.cpp - Where tile.store puts each element ----------------------------------------------===//
//
// A fragment whose elements say their row and column goes through the lowering and the PTX emulator, for
// every kind of element, numbers of columns with and without a rest that lanes do not exchange, and columns
// that are written in part. Each element must lie where it belongs and nothing elsewhere.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Conversion/Passes.h"
#include "lathe/codegen/IR/TileDialect.h"
#include "lathe/codegen/Target/Ptx.h"
#include "lathe/runtime/device/emulator/Emulator.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

namespace lathe::codegen {

/// The element in row r and column c is r·byRow + c·byColumn.
static constexpr const char *kernelText = R"(
tile.kernel @store attributes {{arg_names = ["byRow", "byColumn", "column", "from", "rows", "out"], threads = 128 : i32,
                               shared_bytes = 0 : i32, max_registers = 0 : i32}} {{
^bb0(%byRow: i32, %byColumn: i32, %column: i32, %from: i32, %rows: i32, %out: !llvm.ptr<1>):
  %r = tile.row : !tile.rows<i32>
  %f = tile.map(%r, %byRow, %byColumn : !tile.rows<i32>, i32, i32) -> !tile.fragment<{0}> {{
  ^bb0(%row: i32, %x: i32, %y: i32):
    %c = tile.column
    %a = arith.muli %row, %x : i32
    %b = arith.muli %c, %y : i32
    %sum = arith.addi %a, %b : i32
    %element = arith.sitofp %sum : i32 to f32
    tile.yield %element : f32
  }}
  tile.store %f to %out column %column {1} limit {2} as {3} : !tile.fragment<{0}>, !llvm.ptr<1> {{
  ^bb0(%row: i32):
    %stride = arith.constant {4} : i32
    %start = arith.muli %row, %stride : i32
    %offset = arith.extsi %start : i32 to i64
    %written = arith.cmpi slt, %row, %rows : i32
    tile.yield %offset, %written : i64, i1
  }}
  tile.return
}}
)";

namespace {
struct Store {
  int columns;
  std::string element; ///< "bf16", "f16" or "f32".
  int column = 0;      ///< Of the output, where the fragment begins.
  int from = 0;        ///< First column that is written; 0: without.
  int limit = 0;       ///< First one that is not; 0: without.
  int rows = 64;       ///< That are written.
  int stride = 320;    ///< Elements from row to row.
  int bytes() const { return element == "f32" ? 4 : 2; }
};
} // namespace

static std::string ptxOf(const Store &store) {
  mlir::DialectRegistry registry;
  registry.insert<mlir::arith::ArithDialect, mlir::LLVM::LLVMDialect, mlir::NVVM::NVVMDialect,
                  mlir::scf::SCFDialect>();
  tile::registerTileDialect(registry);
  registerTargetInterfaces(registry);
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  context.loadAllAvailableDialects();
  const std::string text = fmt::format(kernelText, store.columns, store.from > 0 ? "from %from" : "",
                                       store.limit, store.element, store.stride);
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  mlir::PassManager passes(&context);
  buildTileToNvvm(passes);
  buildNvvmToLlvm(passes);
  if (!module || mlir::failed(passes.run(*module)))
    throw std::runtime_error("the kernel does not lower:\n" + text);
  std::vector<StageTime> times;
  return translateToPtx(*module, times);
}

static double valueOf(const Store &store, const std::byte *at) {
  if (store.element == "f32") {
    float value = 0;
    std::memcpy(&value, at, 4);
    return value;
  }
  uint16_t bits = 0;
  std::memcpy(&bits, at, 2);
  if (store.element == "bf16")
    return std::bit_cast<float>(uint32_t(bits) << 16);
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023; // No subnormal number but zero occurs.
  return exponent == 0 ? 0 : std::ldexp(1 + mantissa / 1024.0, exponent - 15);
}

/// Runs the kernel over memory full of 0xff and checks every byte of it.
static runtime::emulator::Counters expectStored(const Store &store, int byRow, int byColumn) {
  auto device = runtime::openEmulator({.throwFindings = false});
  std::vector<std::byte> memory(size_t(64 * store.stride * store.bytes()), std::byte(0xff));
  const std::vector<std::byte> untouched(size_t(store.bytes()), std::byte(0xff));
  const runtime::Buffer out(*device, memory.size());
  device->copyToDevice(out.get(), memory.data(), memory.size());
  const std::string ptx = ptxOf(store);
  auto module = device->load({ptx.c_str(), ptx.size() + 1});
  int column = store.column, from = store.from, rows = store.rows;
  runtime::DevicePtr to = out.get();
  void *arguments[] = {&byRow, &byColumn, &column, &from, &rows, &to};
  device->launch(module->function("store", 0), {.threads = 128}, arguments, {});
  device->copyToHost(memory.data(), out.get(), memory.size());
  EXPECT_TRUE(device->takeFindings().empty());
  const int limit = store.limit == 0 ? store.stride : store.limit;
  for (int row = 0; row < 64; ++row)
    for (int c = 0; c < store.stride; ++c) {
      const std::byte *at = memory.data() + size_t((row * store.stride + c) * store.bytes());
      const int inFragment = c - store.column;
      const bool written =
          row < store.rows && inFragment >= 0 && inFragment < store.columns && c >= store.from && c < limit;
      if (written)
        EXPECT_EQ(valueOf(store, at), row * byRow + inFragment * byColumn)
            << "row " << row << " column " << c;
      else
        EXPECT_EQ(std::memcmp(at, untouched.data(), untouched.size()), 0) << "row " << row << " column " << c;
      if (testing::Test::HasFailure())
        return {};
    }
  return device->takeLaunches()[0].counters;
}

static std::string describe(const Store &store) {
  return fmt::format("{} columns of {} from {}, written {} to {}", store.columns, store.element, store.column,
                     store.from, store.limit);
}

TEST(Store, EveryElementLiesInItsPlace) {
  for (const char *element : {"bf16", "f16", "f32"})
    for (int columns : {16, 32, 48, 64, 80, 128, 208, 256}) {
      const Store store{.columns = columns, .element = element, .column = 16, .rows = 61};
      SCOPED_TRACE(describe(store));
      expectStored(store, 0, 1); // bf16 holds whole numbers up to 256: one coordinate at a time.
      expectStored(store, 1, 0);
      if (HasFailure())
        return;
    }
}

/// As consumers write whose columns overlap another's, or reach past the values.
TEST(Store, OnlyColumnsBetweenFromAndLimit) {
  for (const char *element : {"bf16", "f32"})
    for (auto [columns, column] : {std::pair{64, 64}, {128, 48}, {48, 16}, {256, 0}})
      for (int from : {0, column + 16, column + 40})
        for (int limit : {0, column + 24, column + 48, column + columns - 8}) {
          const Store store{
              .columns = columns, .element = element, .column = column, .from = from, .limit = limit};
          SCOPED_TRACE(describe(store));
          expectStored(store, 0, 1);
          if (HasFailure())
            return;
        }
}

/// Four lanes write 64 bytes of a row at once: no 32-byte sector is touched twice.
TEST(Store, SectorsAreWrittenWhole) {
  for (const char *element : {"bf16", "f16"}) {
    const auto counters = expectStored({.columns = 128, .element = element}, 0, 1);
    EXPECT_EQ(counters.globalStoreBytes, 64u * 128 * 2);
    EXPECT_EQ(counters.globalStoreSectors * 32, counters.globalStoreBytes);
  }
}

} // namespace lathe::codegen
