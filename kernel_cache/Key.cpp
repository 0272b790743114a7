#include "lathe/kernel_cache/Store.h"

#include "lathe/support/Error.h"
#include "lathe/support/Hash.h"

using namespace lathe;
using namespace lathe::kernel_cache;

/// Objects of nlohmann::json are sorted maps, so the order in which fields were set does not show.
static std::string textOf(const nlohmann::json &fields) {
  try {
    return fields.dump(2) + "\n";
  } catch (const nlohmann::json::exception &error) {
    throw UserError({"cache key", "must be text in UTF-8", error.what(), "correct the names in it"});
  }
}

Key::Key(nlohmann::json fields) : fields_(std::move(fields)) {
  if (!fields_.is_object())
    throw UserError({"cache key", "must be a JSON object", fields_.type_name(), ""});
  digest_ = contentHash(textOf(fields_));
}

std::string Key::text() const { return textOf(fields_); }
