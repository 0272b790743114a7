#include "lathe/runtime/device/emulator/Notes.h"

#include "lathe/runtime/device/emulator/Layout.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

using namespace lathe::runtime::emulator;
using nlohmann::json;

static constexpr std::string_view prefix = "// lathe:";
static constexpr uint32_t warpsPerGroup = 4;

uint32_t KernelNotes::Matrix::stageBytes() const {
  const uint32_t boxColumns = swizzle / 2;
  return (columns + boxColumns - 1) / boxColumns * rows * swizzle;
}

static std::string place(const KernelNotes::Matrix &matrix, uint32_t offset) {
  // The swizzle moves bytes within lines of 128, so boxes and stages are the same before and after.
  const uint32_t linear = swizzled(offset, matrix.swizzle);
  const uint32_t stage = linear / matrix.stageBytes(), inStage = linear % matrix.stageBytes();
  const uint32_t boxBytes = matrix.rows * matrix.swizzle, inBox = inStage % boxBytes;
  const uint32_t row = inBox / matrix.swizzle,
                 column = inStage / boxBytes * (matrix.swizzle / 2) + inBox % matrix.swizzle / 2;
  const std::string where = fmt::format("row {}, column {}", row, column);
  return matrix.stages > 1 ? fmt::format("{} stage {}, {}", matrix.name, stage, where)
                           : fmt::format("{} {}", matrix.name, where);
}

std::string KernelNotes::nameOf(uint32_t offset) const {
  for (const Barriers &entry : barriers)
    if (offset >= entry.offset && offset - entry.offset < 8 * entry.count)
      return entry.count > 1 ? fmt::format("{}[{}]", entry.name, (offset - entry.offset) / 8) : entry.name;
  for (const Array &entry : arrays)
    if (offset >= entry.offset && offset - entry.offset < entry.bytes)
      return fmt::format("{}[{}]", entry.name, (offset - entry.offset) / entry.elementBytes);
  for (const Matrix &entry : matrices)
    if (offset >= entry.offset && offset - entry.offset < uint64_t(entry.stages) * entry.stageBytes())
      return place(entry, offset - entry.offset);
  return fmt::format("byte {} of dynamic shared memory", offset);
}

std::string KernelNotes::roleOf(uint32_t warp) const {
  uint32_t group = warp / warpsPerGroup;
  for (const Role &role : roles) {
    if (group < role.warpgroups)
      return role.warpgroups > 1 ? fmt::format("{} {}", role.name, group) : role.name;
    group -= role.warpgroups;
  }
  return {};
}

std::string Notes::operationAt(int sourceLine) const {
  auto found = operations.find(sourceLine);
  return found == operations.end() ? std::string() : found->second;
}

//===- Reading ---------------------------------------------------------------------------------------===//

static uint32_t number(const json &object, const char *field, uint32_t fallback, uint32_t least = 0) {
  auto found = object.find(field);
  if (found == object.end() || !found->is_number_unsigned())
    return fallback;
  return std::max(least, uint32_t(std::min<uint64_t>(found->get<uint64_t>(), 1 << 24)));
}

static std::string text(const json &object, const char *field) {
  auto found = object.find(field);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

static void readKernel(KernelNotes &kernel, const json &line) {
  if (auto found = line.find("arguments"); found != line.end() && found->is_array())
    for (const json &name : *found)
      kernel.arguments.push_back(name.is_string() ? name.get<std::string>() : "");
  if (auto found = line.find("roles"); found != line.end() && found->is_array())
    for (const json &role : *found)
      if (role.is_object())
        kernel.roles.push_back({text(role, "name"), number(role, "warpgroups", 0)});
}

static void readMatrix(KernelNotes &kernel, const json &line) {
  KernelNotes::Matrix matrix{text(line, "name"),           number(line, "offset", 0),
                             number(line, "stages", 1, 1), number(line, "rows", 0),
                             number(line, "columns", 0),   number(line, "swizzle", 128)};
  if ((matrix.swizzle == 32 || matrix.swizzle == 64 || matrix.swizzle == 128) && matrix.rows > 0 &&
      matrix.rows <= 1 << 16 && matrix.columns > 0 && matrix.columns <= 1 << 16 && matrix.stages <= 1 << 10)
    kernel.matrices.push_back(std::move(matrix));
}

static void readLine(Notes &notes, std::string_view kind, const json &line) {
  if (kind == "op") {
    notes.operations[int(number(line, "line", 0))] = text(line, "text");
    return;
  }
  KernelNotes &kernel = notes.kernels[text(line, "kernel")];
  if (kind == "kernel")
    readKernel(kernel, line);
  else if (kind == "buffer")
    readMatrix(kernel, line);
  else if (kind == "barrier")
    kernel.barriers.push_back({text(line, "name"), number(line, "offset", 0), number(line, "count", 0)});
  else if (kind == "array")
    kernel.arrays.push_back({text(line, "name"), number(line, "offset", 0), number(line, "bytes", 0),
                             number(line, "elementBytes", 4, 1)});
}

Notes lathe::runtime::emulator::readNotes(std::string_view ptx) {
  Notes notes;
  for (size_t at = ptx.find(prefix); at != std::string_view::npos; at = ptx.find(prefix, at + 1)) {
    if (at != 0 && ptx[at - 1] != '\n')
      continue;
    std::string_view line = ptx.substr(at + prefix.size());
    line = line.substr(0, line.find('\n'));
    const size_t space = line.find(' ');
    if (space == std::string_view::npos)
      continue;
    const json value = json::parse(line.substr(space + 1), nullptr, /*allow_exceptions=*/false);
    if (value.is_object())
      readLine(notes, line.substr(0, space), value);
  }
  return notes;
}
