//===- MoeTuneTest.cpp - Mixtures of experts through the same search ----------------------------------===//
//
// The search itself is tested with attention (TuneTest, PredictTest); here is what is another family's own:
// workloads, the space, what is kept of it, records beside those of attention, look-ups by rows.
//
//===--------------------------------------------------------------------------------------------------===//
#include "TestFiles.h"

#include "lathe/autotuner/Tune.h"
#include "lathe/support/Log.h"

#include <algorithm>
#include <random>
#include <set>

using namespace lathe;
using namespace lathe::autotuner;
using namespace lathe::test;
using codegen::MoeConfig;

/// DeepSeek-V2-Lite's experts.
static codegen::MoeProblem layer() {
  codegen::MoeProblem problem;
  problem.name = "moe_ffn";
  problem.topK = 6;
  problem.scoring = codegen::MoeScoring::Softmax;
  problem.routedExperts = problem.experts = 64;
  problem.ffn = true;
  problem.hidden = 2048;
  problem.intermediate = 1408;
  problem.halves = 2;
  problem.activation = codegen::MoeActivation::SwiGlu;
  return problem;
}

static MoeTuneRequest request(int rows = 64, double zipf = 0) {
  MoeTuneRequest request;
  request.problem = layer();
  request.machine = machineByName("h100-sxm");
  request.target = request.machine.target();
  request.device = "fake gpu";
  request.compiler = "test compiler";
  request.workload = MoeWorkload(rows, zipf);
  request.maxCandidates = 12;
  return request;
}

/// Every candidate is right; times as `us` says, a tenth of a microsecond apart.
static MoeSearchCallbacks callbacksWith(std::function<double(const MoeConfig &)> us) {
  MoeSearchCallbacks callbacks;
  callbacks.compile = [](const MoeConfig &) {};
  callbacks.verify = [](const MoeConfig &) { return std::string(); };
  callbacks.measure = [us = std::move(us)](const MoeConfig &config) {
    return Measurement{us(config), us(config) - 0.05, us(config) + 0.05, 30};
  };
  return callbacks;
}

static std::vector<MoeCandidateResult> candidatesOf(const MoeTuneRequest &request) {
  return rankCandidates(request, buildSearchSpace(request.problem, request.target, request.workload.rows()),
                        request.workload.draw(request.problem));
}

TEST(MoeTune, FindsTheFastestAmongWhatItTries) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  const MoeTuneRequest asked = request();
  const std::vector<MoeCandidateResult> candidates = candidatesOf(asked);
  for (int round = 0; round < 10; ++round) {
    const MoeConfig optimum = candidates[1 + random() % (candidates.size() - 1)].config;
    const MoeTuneResult result =
        tune(asked, callbacksWith([&](const MoeConfig &config) { return config == optimum ? 80.0 : 100.0; }));
    EXPECT_EQ(result.best, optimum) << result.best.str();
    EXPECT_TRUE(result.measured && result.complete);
    EXPECT_DOUBLE_EQ(result.defaultUs, 100);
  }
}

TEST(MoeTune, DefaultWinsTiesAndWrongResultsNeverWin) {
  const MoeTuneRequest asked = request();
  const MoeConfig fallback = codegen::defaultMoeConfig(asked.problem, asked.target, 64);
  EXPECT_EQ(tune(asked, callbacksWith([](const MoeConfig &) { return 100.0; })).best, fallback);
  const MoeConfig wrong = candidatesOf(asked)[3].config;
  MoeSearchCallbacks callbacks =
      callbacksWith([&](const MoeConfig &config) { return config == wrong ? 1.0 : 100.0; });
  std::vector<MoeConfig> verified;
  callbacks.verify = [&](const MoeConfig &config) {
    verified.push_back(config);
    return std::string(config == wrong ? "row 3: got nan" : "");
  };
  const MoeTuneResult result = tune(asked, callbacks);
  EXPECT_EQ(result.best, fallback);
  EXPECT_EQ(result.find(wrong)->status, Status::VerifyFailed);
  EXPECT_EQ(verified.size(), result.candidates.size()) << "every candidate is verified";
}

TEST(MoeTune, TheDefaultOfTheRowsRaces) {
  for (int rows : {1, 64, 4096}) {
    const MoeTuneRequest asked = request(rows);
    const std::vector<MoeCandidateResult> candidates = candidatesOf(asked);
    EXPECT_EQ(candidates.front().config, codegen::defaultMoeConfig(asked.problem, asked.target, rows));
    EXPECT_TRUE(candidates.front().isDefault);
    EXPECT_EQ(candidates.size(), 12u);
  }
}

TEST(MoeTune, KeepsWhatDiffersAlongEveryAxis) {
  MoeTuneRequest asked = request();
  asked.maxCandidates = 60;
  const MoeSearchSpace space = buildSearchSpace(asked.problem, asked.target, 64);
  std::set<std::string> possible, kept, names;
  auto note = [](std::set<std::string> &values, const MoeConfig &config) {
    const nlohmann::json axes = config;
    for (const auto &[axis, value] : axes.items())
      if (axis != "tokenTile")
        values.insert(axis + "=" + value.dump());
  };
  for (const MoeConfig &config : space.legal)
    note(possible, config);
  for (const MoeCandidateResult &candidate : candidatesOf(asked)) {
    note(kept, candidate.config);
    EXPECT_TRUE(names.insert(candidate.config.str()).second) << "twice: " << candidate.config.str();
  }
  EXPECT_EQ(kept, possible) << "half of 60 is enough for one of each value of each other axis";
}

TEST(MoeTune, TheSpaceCountsEveryRejectionOnce) {
  const MoeTuneRequest asked = request();
  const MoeSearchSpace space = buildSearchSpace(asked.problem, asked.target, 64);
  size_t rejected = 0;
  std::set<std::string> constraints;
  for (const Rejections &entry : space.rejections) {
    rejected += size_t(entry.count);
    EXPECT_TRUE(constraints.insert(entry.constraint).second) << entry.constraint;
    EXPECT_FALSE(entry.example.empty());
  }
  EXPECT_EQ(space.enumerated, space.legal.size() + rejected);
  EXPECT_EQ(space.enumerated, codegen::enumerateMoeConfigs(asked.problem).size());
  EXPECT_TRUE(constraints.count("shared_memory"));
  EXPECT_HAS(space.explain(), "shared_memory");
  EXPECT_TRUE(std::ranges::count(space.legal, space.fallback));
  codegen::MoeProblem impossible = layer();
  impossible.hidden = 100;
  EXPECT_HAS(userError([&] { buildSearchSpace(impossible, asked.target, 64); }), "100");
}

TEST(MoeTune, ResumesAndAnswersFromTheDatabase) {
  TemporaryFolder folder;
  MoeTuneRequest stored = request();
  stored.database = TuningDb(folder / "t.json");
  int measured = 0;
  MoeSearchCallbacks callbacks = callbacksWith([&](const MoeConfig &) { return ++measured, 100.0; });
  callbacks.stop = [&] { return std::string(measured >= 12 ? "interrupted" : ""); }; // Three calls each.
  const MoeTuneResult half = tune(stored, callbacks);
  EXPECT_FALSE(half.complete);
  const MoeTuneResult whole = tune(stored, callbacksWith([](const MoeConfig &) { return 100.0; }));
  EXPECT_TRUE(whole.complete);
  EXPECT_EQ(whole.resumed, 4);
  const MoeTuneResult again = tune(stored, callbacksWith([](const MoeConfig &) -> double { throw 7; }));
  EXPECT_TRUE(again.fromDatabase);
  EXPECT_EQ(again.best, whole.best);
  MoeTuneRequest other = stored;
  other.workload = MoeWorkload(64, 1);
  EXPECT_FALSE(stored.database->find(keyOf(other))) << "another routing is another workload";
}

TEST(MoeTune, JsonHasTheWholeStory) {
  const MoeTuneResult result = tune(request(), callbacksWith([](const MoeConfig &) { return 100.0; }));
  const nlohmann::json json = nlohmann::json::parse(nlohmann::json(result).dump());
  EXPECT_EQ(json["candidates"].size(), 12u);
  EXPECT_EQ(json["best"].get<MoeConfig>(), result.best);
  EXPECT_EQ(json["load"]["choices"], 64 * 6);
  EXPECT_EQ(json["problem"]["experts"], 64);
  EXPECT_GT(json["bestEstimate"]["totalUs"].get<double>(), 0);
}

//===--------------------------------------------------------------------------------------------------===//
// Records
//===--------------------------------------------------------------------------------------------------===//

static MoeTuningRecord recordFor(int rows, double zipf = 0, int stages = 4) {
  MoeTuningRecord record;
  record.key = {"fake gpu", "sm_90a", layer(), "test compiler", MoeWorkload(rows, zipf).json()};
  record.rows = rows;
  record.zipf = zipf;
  record.complete = true;
  record.best = MoeConfig{.tokenTile = 16, .stages = stages};
  record.bestUs = 90;
  record.defaultUs = 100;
  MoeCandidateResult measured;
  measured.config = *record.best;
  measured.status = Status::Measured;
  measured.time = {90, 89, 91, 30};
  record.candidates = {measured};
  return record;
}

static MoeLookupQuery queryFor(int rows, double zipf = 0) {
  MoeLookupQuery query;
  query.key = recordFor(1).key;
  query.key.workload = nullptr;
  query.rows = rows;
  query.zipf = zipf;
  return query;
}

TEST(MoeTuningDb, RoundTripOfEveryField) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  MoeTuningRecord record = recordFor(16, 1.25);
  codegen::MoeProblem &problem = record.key.problem;
  // A new member must be told of here, and in MoeFamily.cpp where it changes times.
  [[maybe_unused]] const auto &[name, topK, router, scoring, logits, gate, routedExperts, bias, groups,
                                topGroups, sumOfTwoBest, renormalize, scale, writesRouting, ffn, experts,
                                partial, offset, hidden, intermediate, halves, shared, sharedColumns,
                                activation, output] = problem;
  // Nothing stands at its default.
  problem.router = codegen::MoeRouter::Given;
  problem.scoring = codegen::MoeScoring::Sigmoid;
  problem.activation = codegen::MoeActivation::Gelu;
  problem.logits = problem.output = Dtype::F16;
  problem.gate = Dtype::BF16;
  problem.bias = problem.sumOfTwoBest = problem.renormalize = problem.writesRouting = true;
  problem.partial = problem.offset = true;
  problem.groups = 8;
  problem.topGroups = 4;
  problem.shared = 2;
  problem.sharedColumns = 1408;
  db.put(record);
  const std::optional<MoeTuningRecord> found = db.find(record.key);
  ASSERT_TRUE(found);
  EXPECT_EQ(nlohmann::json(*found), nlohmann::json(record));
  codegen::MoeProblem read = found->key.problem;
  read.name = problem.name;
  read.scale = problem.scale;
  EXPECT_EQ(read, problem);
  EXPECT_DOUBLE_EQ(found->zipf, 1.25);
}

TEST(MoeTuningDb, ProblemsOfOtherTimesAreOthers) {
  const codegen::MoeProblem base = layer();
  codegen::MoeProblem other = base;
  other.name = "another";
  other.scale = 2.5;
  EXPECT_TRUE(MoeFamily::sameProblem(base, other)) << "name and scale cost nothing";
  other.shared = 1;
  EXPECT_FALSE(MoeFamily::sameProblem(base, other));
  other = base;
  other.activation = codegen::MoeActivation::Silu;
  EXPECT_FALSE(MoeFamily::sameProblem(base, other));
}

TEST(MoeTuningDb, FamiliesShareAFileAndDoNotMix) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  TuningRecord attention;
  attention.key = {"fake gpu",
                   "sm_90a",
                   {.name = "mla", .heads = 16, .keyDim = 576, .valueDim = 512},
                   "test compiler",
                   {}};
  attention.batch = 8;
  attention.best = codegen::Config{};
  db.put(attention);
  db.put(recordFor(16));
  db.put(recordFor(64));
  int warnings = 0;
  setLogSink([&](LogLevel level, const std::string &) { warnings += level == LogLevel::Warn; });
  EXPECT_EQ(db.records().size(), 1u);
  EXPECT_EQ(db.records<MoeFamily>().size(), 2u);
  db.put(attention);
  db.put(recordFor(16, 0, 2));
  setLogSink({});
  EXPECT_EQ(warnings, 0) << "records of another family are no damage";
  EXPECT_EQ(db.records().size(), 1u);
  EXPECT_EQ(db.records<MoeFamily>().size(), 2u);
  EXPECT_EQ(db.find(recordFor(16).key)->best->stages, 2);
}

TEST(MoeTuningDb, RecordsWithoutAKindAreAttention) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  TuningRecord attention;
  attention.key = {"fake gpu",
                   "sm_90a",
                   {.name = "mla", .heads = 16, .keyDim = 576, .valueDim = 512},
                   "test compiler",
                   {}};
  db.put(attention);
  nlohmann::json file = nlohmann::json::parse(slurp(db.path()));
  ASSERT_EQ(file["records"][0].erase("kind"), 1u);
  folder.write("t.json", file.dump());
  EXPECT_EQ(db.records().size(), 1u);
  EXPECT_TRUE(db.find(attention.key));
  EXPECT_TRUE(db.records<MoeFamily>().empty());
}

TEST(MoeTuningDb, DamagedRecordsAreKeptAndTold) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  db.put(recordFor(16));
  db.put(recordFor(64));
  nlohmann::json file = nlohmann::json::parse(slurp(db.path()));
  file["records"][0]["key"]["problem"]["router"] = "oracle";
  folder.write("t.json", file.dump());
  std::string warning;
  setLogSink(
      [&](LogLevel level, const std::string &text) { warning += level == LogLevel::Warn ? text : ""; });
  EXPECT_EQ(db.records<MoeFamily>().size(), 1u);
  setLogSink({});
  EXPECT_HAS(warning, "oracle");
  db.put(recordFor(256));
  EXPECT_EQ(nlohmann::json::parse(slurp(db.path()))["records"].size(), 3u);
}

TEST(MoeTuningDbLookup, InsideARangeOfRowsNeverOutside) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  db.put(recordFor(16, 0, 4));
  db.put(recordFor(64, 0, 2));
  db.put(recordFor(512, 0, 3));
  auto lookup = [&](int rows, double zipf = 0) { return db.lookup(queryFor(rows, zipf), {}); };
  using Source = MoeLookupResult::Source;
  EXPECT_EQ(lookup(20).config->stages, 4);
  EXPECT_EQ(lookup(60).config->stages, 2);
  EXPECT_EQ(lookup(512).config->stages, 3) << "a record is a range by itself";
  EXPECT_HAS(lookup(20).reason, "tuned for 16 rows, uniform routing");
  for (int rows : {1, 15, 65, 200, 511, 513, 4096}) {
    EXPECT_EQ(lookup(rows).source, Source::None) << rows;
    EXPECT_FALSE(lookup(rows).config);
    EXPECT_HAS(lookup(rows).reason, "outside");
  }
  EXPECT_EQ(lookup(20, 1).source, Source::None) << "another routing";
  db.put(recordFor(16, 1, 5));
  EXPECT_EQ(lookup(16, 1).config->stages, 5);
  EXPECT_EQ(lookup(16).config->stages, 4);
  EXPECT_EQ(lookup(20, 1).source, Source::None) << "no range between two routings";
}

TEST(MoeTuningDbLookup, ExactWorkloadFirstAndOnlyForThisKernel) {
  TemporaryFolder folder;
  const TuningDb db(folder / "t.json");
  MoeTuningRecord seeded = recordFor(16, 0, 2);
  seeded.key.workload = MoeWorkload(16, 0, 7).json();
  db.put(recordFor(16, 0, 4));
  db.put(seeded);
  MoeLookupQuery query = queryFor(16);
  query.key.workload = seeded.key.workload;
  EXPECT_EQ(db.lookup(query, {}).source, MoeLookupResult::Source::Exact);
  EXPECT_EQ(db.lookup(query, {}).config->stages, 2);
  for (int field = 0; field < 4; ++field) {
    MoeLookupQuery other = queryFor(16);
    if (field == 0)
      other.key.device = "NVIDIA H200";
    if (field == 1)
      other.key.compiler = "other";
    if (field == 2)
      other.key.problem.topK = 8;
    if (field == 3)
      other.key.problem.router = codegen::MoeRouter::Given;
    EXPECT_FALSE(db.lookup(other, {}).config) << field;
    EXPECT_HAS(db.lookup(other, {}).reason, "nothing was tuned");
  }
  MoeTuningRecord illegal = recordFor(64);
  illegal.best->stages = 16;
  illegal.best->tokenTile = 256;
  db.put(illegal);
  EXPECT_FALSE(db.lookup(queryFor(64), {}).config) << "what check() rejects counts as missing";
}
