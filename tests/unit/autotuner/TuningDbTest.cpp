//===- TuningDbTest.cpp - The database survives what happens to files ---------------------------------===//
//
// Round trips, versions, damage of the file and of single records, concurrent writers, and the look-up that
// answers inside what was measured and nowhere else.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TestFiles.h"

#include "lathe/autotuner/TuningDb.h"
#include "lathe/support/Log.h"

#include <thread>

using namespace lathe;
using namespace lathe::autotuner;
using namespace lathe::test;

static TuningKey keyFor(int batch, int tokens) {
  TuningKey key;
  key.device = "NVIDIA H100 80GB HBM3";
  key.arch = "sm_90a";
  key.problem = {.name = "mla", .heads = 16, .queryTokens = 1, .keyDim = 576, .valueDim = 512, .page = 64};
  key.compiler = "lathe 0.1.0";
  key.workload = {{"kind", "constant"}, {"batch", batch}, {"tokens", tokens}};
  return key;
}

static TuningRecord recordFor(int batch, int tokens, int stages = 4) {
  TuningRecord record;
  record.key = keyFor(batch, tokens);
  record.batch = batch;
  record.meanTokens = tokens;
  record.complete = true;
  record.best = codegen::Config{.kvTile = 16, .stages = stages};
  record.bestUs = 100.5;
  record.defaultUs = 120.25;
  CandidateResult measured;
  measured.config = *record.best;
  measured.predictedUs = 90;
  measured.status = Status::Measured;
  measured.time = {100.5, 99, 101, 30};
  CandidateResult failed;
  failed.isDefault = true;
  failed.status = Status::VerifyFailed;
  failed.reason = "row 3 differs";
  record.candidates = {measured, failed};
  return record;
}

static LookupQuery queryFor(int batch, double tokens) {
  LookupQuery query;
  query.key = keyFor(batch, int(tokens));
  query.key.workload = nullptr;
  query.batch = batch;
  query.meanTokens = tokens;
  return query;
}

TEST(TuningDb, MissingFileIsEmpty) {
  TemporaryFolder folder;
  const TuningDb db(folder / "none.json");
  EXPECT_TRUE(db.records().empty());
  EXPECT_EQ(db.lookup(queryFor(8, 4096), {}).source, LookupResult::Source::None);
}

TEST(TuningDb, RoundTrip) {
  TemporaryFolder folder;
  const TuningDb db(folder / "deep/er/tuning.json");
  const TuningRecord record = recordFor(8, 4096);
  db.put(record);
  db.put(recordFor(16, 4096));
  const std::optional<TuningRecord> found = TuningDb(db.path()).find(record.key);
  ASSERT_TRUE(found);
  EXPECT_EQ(nlohmann::json(*found), nlohmann::json(record));
  EXPECT_EQ(found->candidates[0].time.runs, 30);
  EXPECT_EQ(found->candidates[1].reason, "row 3 differs");
  EXPECT_EQ(db.records().size(), 2u);
}

TEST(TuningDb, PutReplacesTheSameKeyOnly) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  db.put(recordFor(8, 4096, 4));
  db.put(recordFor(8, 8192, 4));
  db.put(recordFor(8, 4096, 2));
  EXPECT_EQ(db.records().size(), 2u);
  EXPECT_EQ(db.find(keyFor(8, 4096))->best->stages, 2);
  EXPECT_EQ(db.find(keyFor(8, 8192))->best->stages, 4);
  TuningKey other = keyFor(8, 4096);
  other.compiler = "lathe 0.2.0";
  EXPECT_FALSE(db.find(other));
}

TEST(TuningDb, BatchInvariantIsAKernelOfItsOwn) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  TuningRecord record = recordFor(8, 4096, 2);
  record.key.batchInvariant = true;
  db.put(record);
  EXPECT_FALSE(db.find(keyFor(8, 4096)));
  EXPECT_EQ(db.lookup(queryFor(8, 4096), {}).source, LookupResult::Source::None);
  EXPECT_TRUE(db.find(record.key));
  LookupQuery query = queryFor(8, 4096);
  query.key.batchInvariant = true;
  EXPECT_EQ(db.lookup(query, {}).source, LookupResult::Source::Range);
  db.put(recordFor(8, 4096, 4));
  EXPECT_EQ(db.records().size(), 2u);
}

TEST(TuningDb, CorruptFileNamesPathAndWayOut) {
  TemporaryFolder folder;
  for (const char *bytes : {"", "{\"version\": 1,", "[]", "{\"version\": 1}", "\x01\x02", "null",
                            "{\"format\": \"lathe-tuning\", \"version\": 1, \"records\": 5}"}) {
    const TuningDb db(folder.write("t.json", bytes));
    const std::string text = userError([&] { db.records(); });
    EXPECT_HAS(text, db.path().string());
    EXPECT_HAS(text, "mv ");
    userError([&] { db.put(recordFor(8, 4096)); });
    EXPECT_EQ(slurp(db.path()), bytes) << "a file that cannot be read must not be overwritten";
  }
}

TEST(TuningDb, NewerVersionIsRefused) {
  TemporaryFolder folder;
  const char *bytes = R"({"format": "lathe-tuning", "version": 2, "records": []})";
  const TuningDb db(folder.write("t.json", bytes));
  EXPECT_HAS(userError([&] { db.records(); }), "newer");
  EXPECT_HAS(userError([&] { db.put(recordFor(8, 4096)); }), "LATHE_TUNING_DB");
  EXPECT_EQ(slurp(db.path()), bytes);
}

TEST(TuningDb, OneBadRecordLosesNoOther) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  db.put(recordFor(8, 4096));
  db.put(recordFor(16, 4096));
  db.put(recordFor(32, 4096));
  nlohmann::json file = nlohmann::json::parse(slurp(db.path()));
  file["records"][1]["best"]["kvTile"] = "many";
  folder.write("t.json", file.dump());
  int warnings = 0;
  setLogSink([&](LogLevel level, const std::string &) { warnings += level == LogLevel::Warn; });
  EXPECT_EQ(db.records().size(), 2u);
  EXPECT_EQ(db.records().size(), 2u);
  db.put(recordFor(64, 4096));
  setLogSink({});
  EXPECT_EQ(warnings, 1);
  const nlohmann::json after = nlohmann::json::parse(slurp(db.path()));
  ASSERT_EQ(after["records"].size(), 4u);
  EXPECT_EQ(after["records"][1]["best"]["kvTile"], "many") << "the damaged record must be kept for repair";
}

TEST(TuningDb, ConcurrentWritersLoseNothing) {
  TemporaryFolder folder;
  const std::filesystem::path path = folder / "t.json";
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 4; ++writer)
    writers.emplace_back([&path, writer] {
      for (int i = 0; i < 5; ++i)
        TuningDb(path).put(recordFor(1 + writer * 5 + i, 1024));
    });
  for (std::thread &writer : writers)
    writer.join();
  EXPECT_EQ(TuningDb(path).records().size(), 20u);
}

TEST(TuningDb, UnwritableFolderIsAUserError) {
  TemporaryFolder folder;
  const auto file = folder.write("plain", "x");
  EXPECT_HAS(userError([&] { TuningDb(file / "sub/t.json").put(recordFor(8, 4096)); }), "plain");
}

TEST(TuningDbLookup, ExactWorkloadFirst) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  db.put(recordFor(8, 4096, 4));
  db.put(recordFor(8, 4097, 2));
  LookupQuery query = queryFor(8, 4097);
  query.key.workload = keyFor(8, 4097).workload;
  const LookupResult result = db.lookup(query, {});
  EXPECT_EQ(result.source, LookupResult::Source::Exact);
  EXPECT_EQ(result.config->stages, 2);
}

TEST(TuningDbLookup, InsideARangeNeverOutside) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  db.put(recordFor(16, 4096, 4));
  db.put(recordFor(64, 4096, 2));
  auto lookup = [&](int batch, double tokens) { return db.lookup(queryFor(batch, tokens), {}); };
  EXPECT_EQ(lookup(20, 4096).source, LookupResult::Source::Range);
  EXPECT_EQ(lookup(20, 4096).config->stages, 4);
  EXPECT_EQ(lookup(60, 4096).config->stages, 2);
  EXPECT_EQ(lookup(64, 4096).config->stages, 2);
  for (auto [batch, tokens] :
       {std::pair{8, 4096}, {15, 4096}, {65, 4096}, {32, 4000}, {32, 5000}, {0, 4096}}) {
    EXPECT_EQ(lookup(batch, tokens).source, LookupResult::Source::None) << batch << " × " << tokens;
    EXPECT_FALSE(lookup(batch, tokens).config);
  }
}

TEST(TuningDbLookup, WideGapsCoverNothing) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  db.put(recordFor(1, 4096));
  db.put(recordFor(128, 4096));
  EXPECT_EQ(db.lookup(queryFor(16, 4096), {}).source, LookupResult::Source::None);
  EXPECT_EQ(db.lookup(queryFor(128, 4096), {}).source, LookupResult::Source::Range);
}

TEST(TuningDbLookup, OtherMachinesKernelsAndCompilersDoNotAnswer) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  db.put(recordFor(8, 4096));
  ASSERT_TRUE(db.lookup(queryFor(8, 4096), {}).config);
  for (int field = 0; field < 4; ++field) {
    LookupQuery query = queryFor(8, 4096);
    if (field == 0)
      query.key.device = "NVIDIA H200";
    if (field == 1)
      query.key.problem.heads = 32;
    if (field == 2)
      query.key.compiler = "other";
    if (field == 3)
      query.key.problem.page = 128;
    EXPECT_FALSE(db.lookup(query, {}).config) << field;
  }
}

TEST(TuningDbLookup, ConfigThatIsNoLongerLegalCountsAsMissing) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  db.put(recordFor(8, 4096, 12));
  EXPECT_FALSE(db.lookup(queryFor(8, 4096), {}).config);
}

TEST(TuningDb, DefaultPathFollowsTheEnvironment) {
  TemporaryFolder folder;
  const std::string wanted = (folder / "x.json").string();
  setenv("LATHE_TUNING_DB", wanted.c_str(), 1);
  EXPECT_EQ(TuningDb::defaultPath(), wanted);
  unsetenv("LATHE_TUNING_DB");
  setenv("XDG_DATA_HOME", "/data", 1);
  EXPECT_EQ(TuningDb::defaultPath(), "/data/lathe/tuning.json");
  unsetenv("XDG_DATA_HOME");
  setenv("HOME", "/home/somebody", 1);
  EXPECT_EQ(TuningDb::defaultPath(), "/home/somebody/.local/share/lathe/tuning.json");
}
