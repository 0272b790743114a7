#include "lathe/support/Hash.h"

#include "lathe/tests/unit/support/Helpers.h"

#include <set>

using namespace lathe;

// Published test vector of XXH3 with 128 bits, seed 0.
TEST(Hash, EmptyInputHasThePublishedHash) { EXPECT_EQ(contentHash(""), "99aa06d3014798d86001c324468d497f"); }

TEST(Hash, EveryByteCounts) {
  std::mt19937_64 random(test::freshSeed());
  const std::string bytes = test::randomBytes(random, 1000);
  std::set<std::string> hashes = {contentHash(bytes)};
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = char(changed[i] ^ 1);
    hashes.insert(contentHash(changed));
  }
  EXPECT_EQ(hashes.size(), bytes.size() + 1);
  for (const std::string &hash : hashes) {
    EXPECT_EQ(hash.size(), 32u);
    EXPECT_EQ(hash.find_first_not_of("0123456789abcdef"), std::string::npos);
  }
}
