#include "lathe/support/Dtype.h"

#include "lathe/support/Error.h"

#include <array>
#include <utility>

using namespace lathe;

namespace {
struct Row {
  Dtype type;
  int bytes;
  std::string_view name;
};
} // namespace

static constexpr std::array<Row, 7> rows = {{{Dtype::BF16, 2, "bf16"},
                                             {Dtype::F16, 2, "f16"},
                                             {Dtype::F32, 4, "f32"},
                                             {Dtype::F64, 8, "f64"},
                                             {Dtype::I32, 4, "i32"},
                                             {Dtype::I64, 8, "i64"},
                                             {Dtype::Bool, 1, "bool"}}};

int lathe::byteSize(Dtype type) { return rows[static_cast<size_t>(type)].bytes; }

std::string_view lathe::name(Dtype type) { return rows[static_cast<size_t>(type)].name; }

Dtype lathe::parseDtype(std::string_view text) {
  for (const Row &row : rows)
    if (row.name == text)
      return row.type;
  throw UserError(
      {"element type", "must be one of bf16, f16, f32, f64, i32, i64, bool", std::string(text), ""});
}
