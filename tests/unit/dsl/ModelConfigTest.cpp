// Models: config.json files good and bad, names, tensor parallelism, softmax scale.

#include "Expect.h"

#include "lathe/dsl/models/ModelConfig.h"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>

using namespace lathe;
using namespace lathe::dsl;

namespace {
/// Writes config.json files into a folder of its own.
class ModelFile : public testing::Test {
protected:
  void SetUp() override {
    auto *test = testing::UnitTest::GetInstance()->current_test_info();
    folder = std::filesystem::temp_directory_path() /
             ("lathe-model-" + std::to_string(getpid()) + "-" + test->name());
    std::filesystem::create_directories(folder);
    path = folder / "config.json";
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  void write(const std::string &text) { std::ofstream(path) << text; }
  ModelConfig read(const nlohmann::json &json) {
    write(json.dump());
    return readModelConfig(path);
  }
  /// The error that a change of the good file gets, after the place.
  std::string errorOf(const std::string &field, const nlohmann::json &value) {
    nlohmann::json json = good();
    json[field] = value;
    return stripped(messageOf([&] { read(json); }));
  }
  std::string stripped(const std::string &message) {
    std::string place = "model config " + path.string() + ": ";
    EXPECT_TRUE(message.starts_with(place)) << message;
    return message.substr(std::min(place.size(), message.size()));
  }

  static nlohmann::json good() {
    return nlohmann::json::parse(R"({
      "architectures": ["DeepseekV3ForCausalLM"], "num_attention_heads": 128, "hidden_size": 7168,
      "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
      "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8,
      "scoring_func": "sigmoid", "topk_method": "noaux_tc", "n_group": 8, "topk_group": 4, "norm_topk_prob": true,
      "routed_scaling_factor": 2.5, "first_k_dense_replace": 3, "vocab_size": 129280,
      "rope_scaling": {"type": "yarn", "factor": 40, "mscale": 1.0, "mscale_all_dim": 1.0, "beta_fast": 32}})");
  }

  std::filesystem::path folder, path;
};
} // namespace

TEST_F(ModelFile, ReadsEveryField) {
  ModelConfig config = read(good());
  EXPECT_EQ(config.name, path.string());
  ModelConfig known = namedModel("deepseek-v3");
  known.name = config.name;
  EXPECT_EQ(config, known);
}

TEST_F(ModelFile, DenseModel) {
  nlohmann::json json = {{"num_attention_heads", 40},
                         {"hidden_size", 2560},
                         {"kv_lora_rank", 256},
                         {"qk_nope_head_dim", 64},
                         {"qk_rope_head_dim", 32},
                         {"v_head_dim", 64},
                         {"rope_scaling", {{"type", "longrope"}, {"short_factor", {1.0, 2.0}}}}};
  ModelConfig config = read(json), known = namedModel("minicpm3");
  known.name = config.name;
  EXPECT_EQ(config, known);
}

TEST_F(ModelFile, TextConfigOfAMultimodalModel) {
  ModelConfig config = read({{"model_type", "kimi_vl"}, {"text_config", good()}});
  EXPECT_EQ(config.heads, 128);
  nlohmann::json json = {{"text_config", good()}};
  json["text_config"]["hidden_size"] = 0;
  EXPECT_EQ(stripped(messageOf([&] { read(json); })),
            "field 'text_config.hidden_size' must be an integer of at least 1, got 0");
}

TEST_F(ModelFile, NullFieldsAreAbsent) {
  nlohmann::json json = good();
  json["rope_scaling"] = nullptr;
  json["n_shared_experts"] = nullptr;
  ModelConfig config = read(json);
  EXPECT_FALSE(config.yarn);
  EXPECT_EQ(config.sharedExperts, 0);
}

TEST_F(ModelFile, RopeParametersOfNewerFiles) {
  nlohmann::json json = good();
  json.erase("rope_scaling");
  json["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 32.0}, {"mscale_all_dim", 1.0}};
  EXPECT_EQ(read(json).yarn, (YarnScaling{.factor = 32, .mscale = 1, .mscaleAllDim = 1}));
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  EXPECT_FALSE(read(json).yarn);
}

TEST_F(ModelFile, MissingFieldsAreNamed) {
  for (std::string field :
       {"num_attention_heads", "hidden_size", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim",
        "v_head_dim", "moe_intermediate_size", "num_experts_per_tok"}) {
    nlohmann::json json = good();
    json.erase(field);
    EXPECT_EQ(stripped(messageOf([&] { read(json); })),
              "field '" + field +
                  "' is missing; this must be the config.json of a model with multi-head latent attention");
  }
}

TEST_F(ModelFile, IllTypedFieldsAreNamed) {
  EXPECT_EQ(errorOf("num_attention_heads", "128"),
            "field 'num_attention_heads' must be an integer of at least 1, got \"128\"");
  EXPECT_EQ(errorOf("kv_lora_rank", 512.5),
            "field 'kv_lora_rank' must be an integer of at least 1, got 512.5");
  EXPECT_EQ(errorOf("qk_rope_head_dim", -64),
            "field 'qk_rope_head_dim' must be an integer of at least 1, got -64");
  EXPECT_EQ(errorOf("hidden_size", 1ull << 40),
            "field 'hidden_size' must be an integer of at least 1, got 1099511627776");
  EXPECT_EQ(errorOf("norm_topk_prob", 1), "field 'norm_topk_prob' must be true or false, got 1");
  EXPECT_EQ(errorOf("routed_scaling_factor", 0),
            "field 'routed_scaling_factor' must be a positive number, got 0");
  EXPECT_EQ(errorOf("scoring_func", "tanh"),
            "field 'scoring_func' must be one of softmax, sigmoid, got \"tanh\"");
  EXPECT_EQ(errorOf("topk_method", 3),
            "field 'topk_method' must be one of greedy, group_limited_greedy, noaux_tc, got 3");
  EXPECT_EQ(errorOf("rope_scaling", "yarn"), "field 'rope_scaling' must be an object, got \"yarn\"");
  EXPECT_EQ(
      errorOf("rope_scaling", {{"type", "spiral"}}),
      "field 'rope_scaling.type' must be one of default, yarn, deepseek_yarn, linear, dynamic, longrope, su, "
      "llama3, got \"spiral\"");
  EXPECT_EQ(errorOf("rope_scaling", {{"type", "yarn"}, {"factor", -1}}),
            "field 'rope_scaling.factor' must be a positive number, got -1");
  EXPECT_EQ(errorOf("rope_scaling", {{"type", "yarn"}, {"factor", 2}, {"mscale_all_dim", true}}),
            "field 'rope_scaling.mscale_all_dim' must be a number of at least 0, got true");
}

TEST_F(ModelFile, ImpossibleExpertsAreNamed) {
  EXPECT_EQ(errorOf("num_experts_per_tok", 257),
            "field 'num_experts_per_tok' must be at most n_routed_experts (256), got 257");
  EXPECT_EQ(errorOf("n_group", 7), "field 'n_group' must divide n_routed_experts (256), got 7");
  EXPECT_EQ(errorOf("topk_group", 9), "field 'topk_group' must be at most n_group (8), got 9");
}

TEST_F(ModelFile, NotJson) {
  write("{\"hidden_size\": ");
  EXPECT_EQ(stripped(messageOf([&] { readModelConfig(path); })).substr(0, 33),
            "must be JSON, got an error at byt");
  write("[1]");
  EXPECT_EQ(stripped(messageOf([&] { readModelConfig(path); })), "must be a JSON object, got array");
}

TEST_F(ModelFile, NoFile) {
  std::string message = messageOf([&] { readModelConfig(folder / "none.json"); });
  EXPECT_NE(message.find("none.json"), std::string::npos) << message;
}

TEST_F(ModelFile, FindsByNameFileAndFolder) {
  write(good().dump());
  EXPECT_EQ(findModel(path.string()).heads, 128);
  EXPECT_EQ(findModel(folder.string()).name, path.string());
  EXPECT_EQ(findModel("kimi-k2").heads, 64);
  EXPECT_NE(messageOf([&] { findModel("absent.json"); }).find("absent.json"), std::string::npos);
}

//===- Names ------------------------------------------------------------------------------------------===//

TEST(NamedModel, AllNamesAreKnown) {
  EXPECT_EQ(modelNames(), (std::vector<std::string>{"deepseek-v2-lite", "deepseek-v2", "deepseek-v3",
                                                    "deepseek-r1", "kimi-k2", "moonlight", "glm-5",
                                                    "glm-4.7-flash", "mistral-large-3", "minicpm3"}));
  for (const std::string &name : modelNames()) {
    ModelConfig config = namedModel(name);
    EXPECT_EQ(config.name, name);
    EXPECT_NO_THROW(mlaDecode(mlaShape(config, 1, 64, 1))) << name;
  }
}

TEST(NamedModel, UnknownNameListsTheKnown) {
  EXPECT_EQ(
      messageOf([] { namedModel("gpt"); }),
      "model: must be a known name or the path of a config.json, got 'gpt'; known are deepseek-v2-lite, "
      "deepseek-v2, deepseek-v3, deepseek-r1, kimi-k2, moonlight, glm-5, glm-4.7-flash, mistral-large-3, "
      "minicpm3");
}

TEST(NamedModel, PublishedNumbers) {
  struct Row {
    const char *name;
    int heads, hidden, nope, valueHead, intermediate, routed, shared, topK, groups, topkGroups;
    bool norm;
    double scale;
  };
  for (const Row &row : {Row{"deepseek-v2-lite", 16, 2048, 128, 128, 1408, 64, 2, 6, 1, 1, false, 1},
                         Row{"deepseek-v2", 128, 5120, 128, 128, 1536, 160, 2, 6, 8, 3, false, 16},
                         Row{"deepseek-r1", 128, 7168, 128, 128, 2048, 256, 1, 8, 8, 4, true, 2.5},
                         Row{"kimi-k2", 64, 7168, 128, 128, 2048, 384, 1, 8, 1, 1, true, 2.827},
                         Row{"moonlight", 16, 2048, 128, 128, 1408, 64, 2, 6, 1, 1, true, 2.446},
                         Row{"glm-5", 64, 6144, 192, 256, 2048, 256, 1, 8, 1, 1, true, 2.5},
                         Row{"glm-4.7-flash", 20, 2048, 192, 256, 1536, 64, 1, 4, 1, 1, true, 1.8},
                         Row{"mistral-large-3", 128, 7168, 128, 128, 4096, 128, 1, 4, 1, 1, true, 1}}) {
    ModelConfig c = namedModel(row.name);
    SCOPED_TRACE(row.name);
    EXPECT_EQ(c.latent, 512);
    EXPECT_EQ(c.ropeDim, 64);
    EXPECT_EQ(std::vector({c.heads, c.hidden, c.nopeDim, c.valueHeadDim, c.moeIntermediate, c.routedExperts}),
              std::vector({row.heads, row.hidden, row.nope, row.valueHead, row.intermediate, row.routed}));
    EXPECT_EQ(std::vector({c.sharedExperts, c.expertsPerToken, c.groups, c.topkGroups}),
              std::vector({row.shared, row.topK, row.groups, row.topkGroups}));
    EXPECT_EQ(c.normTopkProb, row.norm);
    EXPECT_EQ(c.routedScale, row.scale);
  }
}

//===- Shapes and scales ------------------------------------------------------------------------------===//

TEST(MlaShapeOf, DividesHeads) {
  EXPECT_EQ(mlaShape(namedModel("deepseek-v3"), 8, 64, 2),
            (MlaShape{.heads = 16, .value = 512, .queryTokens = 2}));
  MlaShape small = mlaShape(namedModel("minicpm3"), 8, 16, 1);
  EXPECT_EQ(small, (MlaShape{.heads = 5, .latent = 256, .rope = 32, .value = 256, .page = 16}));
  EXPECT_EQ(small.keyDim(), 288);
}

TEST(MlaShapeOf, RefusesWhatDoesNotDivide) {
  EXPECT_EQ(messageOf([] { mlaShape(namedModel("glm-4.7-flash"), 8, 64, 1); }),
            "model glm-4.7-flash: tensor-parallel size must divide its 20 heads, got 8; use one of 1, 2, 4, "
            "5, 10, 20");
  EXPECT_EQ(messageOf([] { mlaShape(namedModel("glm-5"), 0, 64, 1); }),
            "model glm-5: tensor-parallel size must be positive, got 0");
  EXPECT_EQ(messageOf([] { mlaShape(namedModel("glm-5"), 1, 0, 1); }),
            "model glm-5: page size must be positive, got 0");
  EXPECT_EQ(messageOf([] { mlaShape(namedModel("glm-5"), 1, 64, -1); }),
            "model glm-5: query tokens must be positive, got -1");
}

TEST(SoftmaxScale, FollowsTheModel) {
  EXPECT_FLOAT_EQ(softmaxScale(namedModel("moonlight")), 1 / std::sqrt(192.0f));
  EXPECT_FLOAT_EQ(softmaxScale(namedModel("glm-5")), 1 / std::sqrt(256.0f));
  EXPECT_FLOAT_EQ(softmaxScale(namedModel("minicpm3")), 1 / std::sqrt(96.0f));
  // mscale: 0.1 * 1 * ln(40) + 1 = 1.368888; 0.1 * 0.707 * ln(40) + 1 = 1.260804.
  EXPECT_NEAR(softmaxScale(namedModel("deepseek-v3")), 0.0721688 * 1.368888 * 1.368888, 1e-6);
  EXPECT_NEAR(softmaxScale(namedModel("deepseek-v2-lite")), 0.0721688 * 1.260804 * 1.260804, 1e-6);
}

TEST(SoftmaxScale, WithoutMscaleAllDimNothingChanges) {
  ModelConfig config = namedModel("moonlight");
  config.yarn = YarnScaling{.factor = 40, .mscale = 1, .mscaleAllDim = 0};
  EXPECT_FLOAT_EQ(softmaxScale(config), 1 / std::sqrt(192.0f));
  config.yarn = YarnScaling{.factor = 1, .mscale = 1, .mscaleAllDim = 1};
  EXPECT_FLOAT_EQ(softmaxScale(config), 1 / std::sqrt(192.0f));
}
