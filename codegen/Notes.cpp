//===- Notes.cpp - What a PTX text says about itself -------------------------------------------------===//
//
// See Notes.h. Every line is made from a tile operation's attributes and types alone, so that the notes say
// what the lowering did and not what the schedule meant.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Notes.h"

#include "lathe/codegen/IR/TileDialect.h"
#include "lathe/codegen/Layout/Fragment.h"

#include "mlir/Transforms/LocationSnapshot.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/raw_ostream.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

using Json = nlohmann::ordered_json;

static constexpr int64_t barrierBytes = 8;
static constexpr int64_t rowArrayBytes = 256; // 64 row values of 4 bytes.
static constexpr int64_t wordBytes = 4;
static constexpr const char *heading =
    "//\n// Lathe notes: what .loc lines and bytes of shared memory mean, one JSON object a line.\n";
static constexpr size_t shownCharacters = 120; // Of an operation: enough to know it again.

/// One note. Pure ASCII on one line, whatever the names hold.
static std::string note(const std::string &kind, const Json &json) {
  return "// lathe:" + kind + " " + json.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

//===- Kernels and their shared memory ---------------------------------------------------------------===//

namespace {

/// The notes of one kernel, each once, in the order of its operations.
class KernelNotes {
public:
  explicit KernelNotes(KernelOp op) : kernel(op), kernelName(op.getSymName().str()) {}

  std::string describe() {
    addKernel();
    if (auto scratch = kernel.getScratch())
      addArray(scratch->str(), 0, kernel.getSharedBytes());
    kernel.walk([&](Operation *op) {
      llvm::TypeSwitch<Operation *>(op)
          .Case<PipeOp>([&](PipeOp pipe) { addPipe(pipe); })
          .Case<BufferOp>([&](BufferOp buffer) {
            addBuffers(nameOf(buffer), buffer.getOffset(), buffer.getCount().value_or(1),
                       buffer.getBuffer().getType());
          })
          .Case<CompleteColumnsOp>([&](CompleteColumnsOp columns) {
            addArray(nameOf(columns), columns.getOffset(), scratchBytes(columns.getResult().getType()));
          })
          .Case<StoreTransposedOp>([&](StoreTransposedOp store) {
            addArray(nameOf(store), store.getOffset(), stagingBytes(store));
          })
          .Case<PutRowsOp, GetRowsOp>([&](auto rows) {
            addArray(nameOf(rows), rows.getOffset(), rows.getCount().value_or(1) * rowArrayBytes);
          });
    });
    return text;
  }

private:
  /// The name that the schedule gave, else the operation's own.
  template <class Op>
  static std::string nameOf(Op op) {
    return op.getName() ? op.getName()->str() : op->getName().stripDialect().str();
  }

  void add(const std::string &kind, const Json &json) {
    std::string line = note(kind, json);
    if (seen.insert(line).second)
      text += line;
  }

  void addKernel() {
    Json roles = Json::array(), arguments = Json::array();
    for (auto name : kernel.getArgNames().getAsRange<StringAttr>())
      arguments.push_back(name.str());
    for (RolesOp op : kernel.getOps<RolesOp>())
      for (size_t i = 0; i < op.getNames().size(); ++i)
        roles.push_back({{"name", cast<StringAttr>(op.getNames()[i]).str()},
                         {"warpgroups", op.getWarpgroups()[i]},
                         {"registers", op.getRegisters()[i]}});
    add("kernel", {{"kernel", kernelName}, {"arguments", arguments}, {"roles", roles}});
  }
  void addBuffers(const std::string &name, int64_t offset, int64_t stages, BufferType type) {
    add("buffer", {{"kernel", kernelName},
                   {"name", name},
                   {"offset", offset},
                   {"stages", stages},
                   {"rows", type.getRows()},
                   {"columns", type.getColumns()},
                   {"swizzle", type.getSwizzle()}});
  }
  void addBarriers(const std::string &name, int64_t offset, int64_t count) {
    add("barrier", {{"kernel", kernelName}, {"name", name}, {"offset", offset}, {"count", count}});
  }
  void addArray(const std::string &name, int64_t offset, int64_t bytes) {
    add("array", {{"kernel", kernelName},
                  {"name", name},
                  {"offset", offset},
                  {"bytes", bytes},
                  {"elementBytes", wordBytes}});
  }

  static int64_t scratchBytes(ColumnsType type) { return 4 * type.getColumns() * wordBytes; } // One a warp.
  static int64_t stagingBytes(StoreTransposedOp op) {
    int64_t columns = cast<FragmentType>(op.getFragments().front().getType()).getColumns();
    return std::min(columns, int64_t(op.getAtOnce())) *
           layout::transposedRowBytes(int64_t(op.getFragments().size())) * int64_t(op.getCount());
  }

  void addPipe(PipeOp op) {
    PipeType type = op.getPipe().getType();
    int64_t stages = type.getStages(), barriers = op.getBarrierOffset();
    addBuffers(nameOf(op), op.getOffset(), stages, type.getStageType());
    addBarriers(nameOf(op) + ".full", barriers, type.getFullBarriers());
    addBarriers(nameOf(op) + ".empty", barriers + type.getFullBarriers() * barrierBytes,
                type.getEmptyBarriers());
  }

  KernelOp kernel;
  std::string kernelName, text;
  std::set<std::string> seen;
};

} // namespace

std::string describeKernels(ModuleOp module) {
  std::string text;
  for (KernelOp kernel : module.getOps<KernelOp>())
    text += KernelNotes(kernel).describe();
  return text;
}

//===- Lines -----------------------------------------------------------------------------------------===//

std::string printWithLocations(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  generateLocationsFromIR(stream, "tile", module, OpPrintingFlags());
  return text;
}

/// The line numbers of all `.loc <file> <line> <column>`.
static std::set<size_t> referencedLines(StringRef ptx) {
  std::set<size_t> lines;
  while (!ptx.empty()) {
    StringRef line;
    std::tie(line, ptx) = ptx.split('\n');
    if (!line.ltrim().starts_with(".loc"))
      continue;
    SmallVector<StringRef, 4> words;
    llvm::SplitString(line, words);
    size_t number = 0;
    if (words.size() > 2 && words[0] == ".loc" && !words[2].getAsInteger(10, number))
      lines.insert(number);
  }
  return lines;
}

std::string notesFor(const std::string &ptx, const std::string &tileText, const std::string &kernels) {
  SmallVector<StringRef> tileLines;
  StringRef(tileText).split(tileLines, '\n');
  std::string text = heading + kernels;
  for (size_t line : referencedLines(ptx))
    if (line >= 1 && line <= tileLines.size()) // Line 0 is code that belongs to no operation.
      text += note("op",
                   {{"line", line}, {"text", tileLines[line - 1].trim().take_front(shownCharacters).str()}});
  return text;
}

} // namespace lathe::codegen
