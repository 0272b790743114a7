//===- NotesTest.cpp - What the PTX says about itself ------------------------------------------------===//
//
// Follows .loc directives from instructions to lines of the tile module, in both directions, and reads the
// notes as JSON against the manifest, the memory plan and that module. Needs neither a GPU nor an assembler.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Kernels.h"

#include "lathe/codegen/Schedule/MemoryPlan.h"
#include "lathe/codegen/Target/Assemble.h"
#include "lathe/tests/unit/support/Helpers.h"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

using namespace lathe;
using namespace lathe::codegen;
using namespace lathe::test;
using nlohmann::json;

namespace {

/// A compilation, taken apart.
struct Noted {
  Noted(const dsl::Kernel &kernel, const Config &config)
      : problem(analyze(kernel)), config(config), artifact(compile(kernel, config, ptxOnly())) {
    std::istringstream tileText(emit(kernel, config, Stage::Tile)), ptxText(artifact.ptx);
    tile.push_back(""); // Lines count from 1.
    for (std::string line; std::getline(tileText, line);)
      tile.push_back(line);
    static const std::regex form("// lathe:(\\w+) (\\{.*\\})");
    std::smatch match;
    for (std::string line; std::getline(ptxText, line);)
      if (std::regex_match(line, match, form))
        notes[match[1]].push_back(json::parse(match[2].str()));
      else
        EXPECT_TRUE(notes.empty()) << "behind the notes: " << line;
  }

  /// The notes of a kind about one kernel.
  json of(const std::string &kind, const std::string &kernel) const {
    json found = json::array();
    if (notes.contains(kind))
      for (const json &note : notes.at(kind))
        if (note.at("kernel") == kernel)
          found.push_back(note);
    return found;
  }

  AttentionProblem problem;
  Config config;
  Artifact artifact;
  std::vector<std::string> tile;
  std::map<std::string, std::vector<json>> notes;
};

/// An instruction and the tile operations that it may come from; the first opcode that fits counts.
struct Origin {
  const char *opcode;
  std::set<std::string> operations;
};

} // namespace

static const std::vector<Origin> &origins() {
  static const std::vector<Origin> table = {
      {"wgmma.mma_async.", {"tile.mma_nt", "tile.mma_nn"}},
      {"wgmma.fence.", {"tile.mma_fence"}},
      {"wgmma.commit_group.", {"tile.mma_commit"}},
      {"wgmma.wait_group.", {"tile.mma_wait"}},
      {"cp.async.bulk.tensor.", {"tile.load"}},
      {"mbarrier.init.", {"tile.pipe"}},
      {"mbarrier.try_wait.", {"tile.acquire", "tile.wait"}},
      {"mbarrier.arrive.expect_tx.", {"tile.expect"}},
      {"mbarrier.arrive.", {"tile.release"}},
      {"barrier.cluster.", {"tile.sync_cluster"}},
      {"bar.sync", {"tile.sync_cta", "tile.sync_event"}},
  };
  return table;
}

static std::vector<Noted> compilations() {
  std::vector<Noted> all;
  all.emplace_back(liteDecode(), Config{});
  all.emplace_back(liteDecode(), Config{.kvTile = 64, .stages = 2, .split = SplitPolicy::Whole});
  all.emplace_back(dsl::mlaDecode(shapeOf(128, 1, 576, 512, 64)), Config{.stages = 2, .cluster = 2});
  all.emplace_back(dsl::mlaDecode(shapeOf(16, 2, 64, 64, 64)), Config{.stages = 4}); // Own probabilities.
  all.emplace_back(dsl::mlaDecode(shapeOf(16, 1, 192, 128, 64)), Config{.stages = 3, .consumers = 1});
  return all;
}

/// Name of the tile operation on a line; empty for one of another dialect.
static std::string operationOn(const std::string &line) {
  static const std::regex operation("\\s*(?:%\\w+(?::\\d+)? = )?(tile\\.\\w+).*");
  std::smatch match;
  return std::regex_match(line, match, operation) ? match[1].str() : "";
}

/// Visits each instruction of the main kernel that origins() knows, with the line that is in force.
template <class Visit>
static void forEachKnown(const Noted &noted, Visit visit) {
  static const std::regex location("\\s*\\.loc\\s+\\d+ (\\d+) \\d+.*");
  static const std::regex known("\\b(wgmma|cp\\.async\\.bulk|mbarrier|barrier|bar)\\.[\\w.:]+");
  std::istringstream body(entryOf(noted.artifact.ptx, "attend").body);
  size_t inForce = 0;
  std::smatch match;
  for (std::string line; std::getline(body, line);) {
    if (std::regex_match(line, match, location)) {
      inForce = std::stoul(match[1]);
      continue;
    }
    for (std::sregex_iterator it(line.begin(), line.end(), known), last; it != last; ++it)
      visit(it->str(), inForce);
  }
}

TEST(Locations, InstructionsNameTheirTileOperation) {
  for (const Noted &noted : compilations()) {
    SCOPED_TRACE(noted.config.str());
    int instructions = 0;
    forEachKnown(noted, [&](const std::string &opcode, size_t line) {
      ++instructions;
      auto origin = std::find_if(origins().begin(), origins().end(),
                                 [&](const Origin &origin) { return opcode.starts_with(origin.opcode); });
      ASSERT_NE(origin, origins().end()) << opcode;
      ASSERT_TRUE(line >= 1 && line < noted.tile.size()) << opcode << " at line " << line;
      EXPECT_TRUE(origin->operations.contains(operationOn(noted.tile[line])))
          << opcode << " at " << noted.tile[line];
    });
    EXPECT_GT(instructions, 40);
  }
}

TEST(Locations, TileOperationsHaveTheirInstructions) {
  std::set<std::string> named;
  for (const Origin &origin : origins())
    named.insert(origin.operations.begin(), origin.operations.end());
  for (const Noted &noted : compilations()) {
    SCOPED_TRACE(noted.config.str());
    std::set<size_t> lowered;
    forEachKnown(noted, [&](const std::string &, size_t line) { lowered.insert(line); });
    bool attend = false;
    for (size_t line = 1; line < noted.tile.size(); ++line) {
      const std::string &text = noted.tile[line];
      if (contains(text, "tile.kernel @"))
        attend = contains(text, "tile.kernel @attend");
      if (attend && named.contains(operationOn(text))) {
        EXPECT_TRUE(lowered.contains(line)) << line << ": " << text;
      }
    }
  }
}

TEST(Locations, BringNoDwarf) {
  const std::string ptx = compile(liteDecode(), {}, ptxOnly()).ptx;
  EXPECT_TRUE(contains(ptx, ".target sm_90a\n"));
  EXPECT_TRUE(contains(ptx, "\n\t.file\t1 \"tile\"\n"));
  for (const char *absent : {"debug", ".section", "$L__tmp", "$L__func", "inlined_at", ".file\t2"})
    EXPECT_FALSE(contains(ptx, absent)) << absent;
}

TEST(Notes, OperationsAreThoseThatLocationsReferTo) {
  for (const Noted &noted : compilations()) {
    SCOPED_TRACE(noted.config.str());
    static const std::regex location("\n\\s*\\.loc\\s+1 (\\d+) ");
    const std::string &ptx = noted.artifact.ptx;
    std::set<size_t> referred, told;
    for (std::sregex_iterator it(ptx.begin(), ptx.end(), location), last; it != last; ++it)
      referred.insert(std::stoul((*it)[1]));
    referred.erase(0); // Code of no operation.
    for (const json &note : noted.notes.at("op")) {
      const size_t line = note.at("line");
      EXPECT_TRUE(told.insert(line).second) << "twice: " << line;
      ASSERT_LT(line, noted.tile.size());
      const std::string &text = noted.tile[line];
      EXPECT_EQ(note.at("text"), text.substr(text.find_first_not_of(' ')).substr(0, 120));
    }
    EXPECT_EQ(told, referred);
  }
}

TEST(Notes, KernelsAreThoseOfTheManifest) {
  for (const Noted &noted : compilations()) {
    const Manifest &manifest = noted.artifact.manifest;
    const Resources cost = resources(noted.problem, noted.config);
    const json consumer = {
        {"name", "consumer"}, {"warpgroups", noted.config.consumers}, {"registers", cost.consumerRegisters}};
    const json producer = {{"name", "producer"}, {"warpgroups", 1}, {"registers", cost.producerRegisters}};
    for (const KernelEntry *entry : {&manifest.plan, &manifest.attend, &manifest.combine}) {
      json arguments = json::array(), roles = json::array();
      for (const KernelArgument &argument : entry->arguments)
        arguments.push_back(argument.name);
      if (entry == &manifest.attend)
        roles = {consumer, producer};
      EXPECT_EQ(noted.of("kernel", entry->name),
                json::array({{{"kernel", entry->name}, {"arguments", arguments}, {"roles", roles}}}));
    }
  }
}

TEST(Notes, SharedMemoryIsThatOfThePlan) {
  for (const Noted &noted : compilations()) {
    const Config &config = noted.config;
    SCOPED_TRACE(config.str());
    const MemoryPlan plan = memoryPlan(noted.problem, config);
    auto buffer = [](const char *name, int offset, int stages, int rows, int columns, int swizzle) -> json {
      return {{"kernel", "attend"}, {"name", name},       {"offset", offset},  {"stages", stages},
              {"rows", rows},       {"columns", columns}, {"swizzle", swizzle}};
    };
    auto barrier = [](const char *name, int offset, int count) -> json {
      return {{"kernel", "attend"}, {"name", name}, {"offset", offset}, {"count", count}};
    };
    json buffers = {buffer("q", plan.query, 1, config.rowsPerCta, noted.problem.keyDim, 128),
                    buffer("kv", plan.ring, config.stages, config.kvTile, noted.problem.keyDim, 128)};
    const bool exchanged = config.consumers > 1;
    if (exchanged && !plan.probabilitiesInStage)
      buffers.push_back(buffer("probabilities", plan.probabilities, config.consumers, config.rowsPerCta,
                               config.kvTile, 2 * config.kvTile));
    EXPECT_EQ(noted.of("buffer", "attend"), buffers);
    const int full = plan.barriers + 16, empty = full + 8 * config.stages;
    EXPECT_EQ(noted.of("barrier", "attend"),
              json({barrier("q.full", plan.barriers, 1), barrier("q.empty", plan.barriers + 8, 1),
                    barrier("kv.full", full, config.stages), barrier("kv.empty", empty, config.stages)}));
    EXPECT_EQ(empty + 8 * config.stages, plan.sharedBytes);
    json arrays = json::array();
    if (exchanged)
      arrays.push_back({{"kernel", "attend"},
                        {"name", "row_statistics"},
                        {"offset", plan.statistics},
                        {"bytes", plan.barriers - plan.statistics},
                        {"elementBytes", 4}});
    EXPECT_EQ(noted.of("array", "attend"), arrays);
    EXPECT_EQ(noted.of("array", "plan").at(0).at("bytes"), noted.artifact.manifest.plan.sharedBytes);
  }
}

TEST(Notes, CountAsNoInstructions) {
  const std::string ptx = compile(liteDecode(), {}, ptxOnly()).ptx;
  const auto noted = countInstructions(ptx), bare = countInstructions(ptx.substr(0, ptx.find("// lathe:")));
  ASSERT_EQ(noted.size(), 3u);
  ASSERT_EQ(bare.size(), 3u);
  for (const auto &[name, counts] : noted) {
    EXPECT_EQ(counts.wgmmaCount, bare.at(name).wgmmaCount);
    EXPECT_EQ(counts.tmaLoadCount, bare.at(name).tmaLoadCount);
    EXPECT_EQ(counts.mbarrierWaitCount, bare.at(name).mbarrierWaitCount);
  }
}
