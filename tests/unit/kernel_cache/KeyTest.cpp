#include "lathe/kernel_cache/Store.h"

#include "lathe/support/Hash.h"
#include "lathe/tests/unit/support/Helpers.h"

#include <set>

using namespace lathe;
using namespace lathe::kernel_cache;
using nlohmann::json;

TEST(Key, DigestDoesNotDependOnTheOrderOfFields) {
  json forward, backward;
  for (int i = 0; i < 20; ++i)
    forward["field" + std::to_string(i)] = {{"a", i}, {"b", "x"}};
  for (int i = 20; i-- > 0;)
    backward["field" + std::to_string(i)] = {{"b", "x"}, {"a", i}};
  EXPECT_EQ(Key(forward).digest(), Key(backward).digest());
  EXPECT_EQ(Key(forward).text(), Key(backward).text());
}

// Entries of yesterday must be found tomorrow: this digest must never change.
TEST(Key, DigestIsStable) {
  const Key key(json{{"kernel", "mla_decode"}, {"config", {{"stages", 4}, {"kvTile", 32}}}});
  EXPECT_EQ(key.text(), "{\n  \"config\": {\n    \"kvTile\": 32,\n    \"stages\": 4\n  },\n"
                        "  \"kernel\": \"mla_decode\"\n}\n");
  EXPECT_EQ(key.digest(), contentHash(key.text()));
  EXPECT_EQ(key.digest(), "445d01bf0c21da6d5fd63492cb467ae8");
}

TEST(Key, EveryFieldCounts) {
  std::set<std::string> digests;
  for (const json &fields : {json::object(), json{{"a", 1}}, json{{"a", 2}}, json{{"a", "1"}},
                             json{{"a", 1.0}}, json{{"b", 1}}, json{{"a", {1}}}, json{{"a", nullptr}}})
    digests.insert(Key(fields).digest());
  EXPECT_EQ(digests.size(), 8u);
}

TEST(Key, MustBeAnObjectOfText) {
  EXPECT_TRUE(test::contains(test::userErrorOf([] { Key key{json::array()}; }), "must be a JSON object"));
  EXPECT_TRUE(test::contains(test::userErrorOf([] { Key key{json{{"name", "\xff"}}}; }), "UTF-8"));
}
