//===- Main.cpp - One decode layer, end to end
//-----------------------------------------------------------===//
//
// Builds a decoder layer with random weights around the two kernels of this compiler, takes one step for a
// batch of sequences, and judges every stage and the whole against float64. A model's sizes on a GPU, with
// cuBLAS and NVRTC for what is not the compiler's; a tiny layer on the emulator, where the host does that.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Judge.h"
#include "Timing.h"

#include "lathe/support/Error.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <random>

using namespace lathe;
using namespace lathe::examples;
using runtime::Device;

static constexpr int wrong = 1, unusable = 2, skipped = 77;

namespace {
struct Options {
  std::string model, products = "auto", elements = "auto", cublas;
  int batch = 3, tokens = 40, check = 8, repeat = 20;
  uint64_t seed = std::random_device()();
  bool orSkip = false;
};
} // namespace

static void addOptions(CLI::App &app, Options &options) {
  app.add_option("--model", options.model,
                 "A known model (deepseek-v2-lite), or a Hugging Face config.json; without it a tiny layer. "
                 "Queries are projected directly, as DeepSeek-V2-Lite does, and rotated without YaRN")
      ->type_name("NAME|FILE");
  app.add_option("--batch", options.batch, "Sequences")->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--tokens", options.tokens, "Tokens of a sequence in the mean, the new one included")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--products", options.products, "Matrix products; auto: cuBLAS where a GPU and it are there")
      ->check(CLI::IsMember({"auto", "cublas", "host"}))
      ->capture_default_str();
  app.add_option("--elements", options.elements,
                 "Norm, rotation and sum; auto: NVRTC where a GPU and it are there")
      ->check(CLI::IsMember({"auto", "nvrtc", "host"}))
      ->capture_default_str();
  app.add_option("--cublas", options.cublas, "File of libcublas; else the loader's path and the CUDA toolkit")
      ->type_name("FILE");
  app.add_option("--check", options.check, "Sequences that are compared with float64; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of weights, lengths, cache and input; a new one each time");
  app.add_option("--repeat", options.repeat, "Steps that are timed, on a GPU")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_flag("--or-skip", options.orSkip, "Exit with 77 where there is no GPU");
  app.footer("Examples:\n  decode_layer --model deepseek-v2-lite --batch 64 --tokens 4096\n"
             "  LATHE_DEVICE=emulator decode_layer\n"
             "Exit status: 0 right, 1 wrong, 2 it could not run.");
}

static LayerShape shapeOf(const Options &options) {
  LayerShape shape;
  if (options.model.empty()) {
    shape = {.hidden = 128,
             .heads = 4,
             .latent = 64,
             .nope = 32,
             .rope = 16,
             .value = 32,
             .page = 16,
             .scale = 0.144f, // (nope + rope)^-0.5.
             .moe = {.hidden = 128, .intermediate = 64, .experts = 8, .topK = 2, .shared = 1}};
    return shape;
  }
  const dsl::ModelConfig model = dsl::findModel(options.model);
  shape = {.hidden = model.hidden,
           .heads = model.heads,
           .latent = model.latent,
           .nope = model.nopeDim,
           .rope = model.ropeDim,
           .value = model.valueHeadDim,
           .scale = dsl::softmaxScale(model),
           .moe = dsl::moeShape(model, 1, 1)};
  return shape;
}

static bool onGpu(const Device &device) { return device.imageKind() == runtime::ImageKind::Cubin; }

/// cuBLAS and NVRTC were asked for by name.
static void requireGpu(const Device &device, const std::string &choice) {
  if (!onGpu(device))
    throw UserError({"decode layer", "cuBLAS and NVRTC need a GPU", choice + " on the emulator",
                     "take --products host and --elements host, or auto"});
}

static std::unique_ptr<Products> chooseProducts(const Options &options, Device &device) {
  if (options.products == "cublas")
    requireGpu(device, options.products);
  std::unique_ptr<Products> products;
  if (options.products == "cublas" || (options.products == "auto" && onGpu(device)))
    products = cublasProducts(device, options.cublas);
  if (!products && options.products == "cublas")
    throw DeviceError({"decode layer", "libcublas of CUDA 12 or 13 must be there", "none",
                       "install it, name its file with --cublas, or take --products host"});
  return products ? std::move(products) : hostProducts(device);
}

static std::unique_ptr<Elements> chooseElements(const Options &options, Device &device) {
  if (options.elements == "nvrtc")
    requireGpu(device, options.elements);
  std::unique_ptr<Elements> elements;
  if (options.elements == "nvrtc" || (options.elements == "auto" && onGpu(device)))
    elements = nvrtcElements(device);
  if (!elements && options.elements == "nvrtc")
    throw DeviceError({"decode layer", "libnvrtc of CUDA 12 or newer must be there", "none",
                       "install it, set LATHE_NVRTC to the library, or take --elements host"});
  return elements ? std::move(elements) : hostElements(device);
}

static void uploadInput(Device &device, const Activations &activations, reference::Random &random) {
  const std::vector<uint16_t> x = reference::normalBf16(random, int64_t(activations.x.bytes() / 2), 1);
  device.copyToDevice(activations.x.get(), x.data(), x.size() * 2);
}

static void print(const Verdict &verdict, const std::optional<Times> &times) {
  fmt::print("\n{:<10} {:>10} {:>10} {:>8}\n", "stage", "error", "allowed", times ? "µs" : "");
  const auto stages = Layer::stages();
  double sum = 0;
  for (size_t i = 0; i < stages.size(); ++i) {
    const double time = times ? times->stages[i] : 0;
    sum += time;
    const std::string text = times ? fmt::format("{:.1f}", time) : "";
    const auto found = std::find_if(verdict.stages.begin(), verdict.stages.end(),
                                    [&](const StageError &error) { return error.name == stages[i].name; });
    if (found == verdict.stages.end())
      fmt::print("{:<10} {:>10} {:>10} {:>8}\n", stages[i].name, "", "", text);
    else
      fmt::print("{:<10} {:>10.2e} {:>10.1e} {:>8}{}\n", found->name, found->relative, found->allowed, text,
                 found->passed() ? "" : "  WRONG");
  }
  const StageError &whole = verdict.stages.back();
  fmt::print("{:<10} {:>10.2e} {:>10.1e} {:>8}{}\n", whole.name, whole.relative, whole.allowed,
             times ? fmt::format("{:.1f}", sum) : "", whole.passed() ? "" : "  WRONG");
  if (!verdict.routing.empty())
    fmt::print("WRONG routing: {}\n", verdict.routing);
  if (times)
    fmt::print("As one CUDA graph: {:.1f} µs. The plan is made once a step, for all layers.\n", times->graph);
}

static int run(const Options &options) {
  const LayerShape shape = shapeOf(options);
  const auto device = runtime::openDevice();
  const auto products = chooseProducts(options, *device);
  const auto elements = chooseElements(options, *device);
  fmt::print("{} sequence{} on {}; products by {}, elements by {}; seed {}\n", options.batch,
             options.batch == 1 ? "" : "s", device->properties().name, products->name(), elements->name(),
             options.seed);
  reference::Random random(options.seed);
  const Weights weights(*device, shape, random);
  const Cache cache(*device, shape, options.batch, options.tokens, random);
  const runtime::Jit jit;
  Layer layer(shape, {device, jit, *products, *elements, weights, cache});
  uploadInput(*device, layer.activations(), random);

  const runtime::Stream stream = device->createStream();
  for (const Layer::Stage &stage : Layer::stages())
    layer.run(stage, stream);
  device->synchronize(stream);
  device->destroyStream(stream);
  const Verdict verdict = judge({*device, shape, weights, cache, layer.activations()}, options.check);
  std::optional<Times> times;
  if (onGpu(*device) && products->onDevice() && elements->onDevice())
    times = timeLayer(layer, *device, options.repeat);
  print(verdict, times);
  return verdict.passed() ? 0 : wrong;
}

int main(int argc, char **argv) {
  CLI::App app("One decode layer of DeepSeek's kind around two generated kernels, checked stage by stage.",
               "decode_layer");
  Options options;
  addOptions(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    if (options.orSkip && runtime::defaultDeviceKind() == runtime::DeviceKind::Emulator) {
      fmt::print("skipped: no GPU: {}\n", runtime::cudaUnavailableReason());
      return skipped;
    }
    return run(options);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "decode_layer: %s\n", error.what());
    return unusable;
  }
}
