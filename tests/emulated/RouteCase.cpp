#include "RouteCase.h"

#include "lathe/codegen/Schedule/RoutePlan.h"
#include "lathe/dsl/Routing.h"
#include "lathe/reference/Bf16.h"
#include "lathe/runtime/device/emulator/Emulator.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <numeric>
#include <random>

using namespace lathe;
using namespace lathe::emulatedtest;
using runtime::Buffer;

static constexpr int slotTile = codegen::moeSlotTile;
static constexpr int32_t nothing = RouteResult::nothing;

std::string RouteCase::str() const {
  return fmt::format(
      "experts {} top {} local {} from {} shared {} {} {} bias {} groups {}/{}{} renormalize {} "
      "scale {} logits {} tile {} rows {} blocks {} inputs {} seed {} order {}{} {}",
      shape.experts, shape.topK, shape.localExperts, firstExpert, shape.shared,
      shape.router == dsl::Router::Given ? "given" : "routed",
      shape.scoring == dsl::Scoring::Softmax ? "softmax" : "sigmoid", shape.bias, shape.topGroups,
      shape.groups, shape.groupScore == dsl::GroupScore::Best ? "" : " by two", shape.renormalize,
      shape.scale, name(shape.logits), config.tokenTile, rows, blocks, int(inputs), seed, order,
      plain ? " plain" : "", planted.first);
}

RouteExtents::RouteExtents(const RouteCase &route)
    : choices(size_t(route.rows) * size_t(route.shape.topK)), experts(size_t(route.shape.heldExperts())) {
  sharedStart = (choices + (slotTile - 1) * std::min(experts, choices) + slotTile - 1) / slotTile * slotTile;
  const size_t shared = size_t(route.shape.shared), rows = size_t(route.rows);
  const auto tile = size_t(route.config.tokenTile);
  slots = sharedStart + shared * ((rows + slotTile - 1) / slotTile * slotTile);
  tiles = std::min(experts, choices) + choices / tile + shared * ((rows + tile - 1) / tile);
}

//===- Inputs ----------------------------------------------------------------------------------------===//

/// The value that an element of the type holds for `value`, and its bits.
static double stored(Dtype type, float value, std::byte *to) {
  if (type == Dtype::F32) {
    std::memcpy(to, &value, 4);
    return double(value);
  }
  if (type == Dtype::BF16) {
    const uint16_t bits = reference::toBf16(value);
    std::memcpy(to, &bits, 2);
    return double(reference::fromBf16(bits));
  }
  const auto half = static_cast<_Float16>(value);
  std::memcpy(to, &half, 2);
  return double(half);
}

static float drawLogit(RouteInputs inputs, std::mt19937_64 &random) {
  static constexpr float infinity = std::numeric_limits<float>::infinity();
  static constexpr float ties[] = {-0.5f, 0.0f, -0.0f};
  static constexpr float wild[] = {infinity, -infinity, NAN, -NAN, 3e38f, -3e38f, 1e-40f, -100, 88, 200};
  if (inputs == RouteInputs::Ties)
    return random() % 20 == 0 ? 1.0f : ties[random() % std::size(ties)]; // Few: zeros are chosen, too.
  if (inputs == RouteInputs::Wild && random() % 4 == 0)
    return wild[random() % std::size(wild)];
  return std::normal_distribution<float>(0, 2)(random);
}

/// Around the local experts, far out of range, twice in a row.
static int32_t drawId(const RouteCase &route, std::mt19937_64 &random) {
  static constexpr int32_t wild[] = {-1, std::numeric_limits<int32_t>::min(),
                                     std::numeric_limits<int32_t>::max(), 1 << 20};
  if (route.oneTakesAll)
    return route.firstExpert;
  if (random() % 8 == 0)
    return wild[random() % std::size(wild)];
  return route.firstExpert + int32_t(random() % uint64_t(route.shape.heldExperts() + 2)) - 1;
}

static RouteData drawInputs(const RouteCase &route) {
  std::mt19937_64 random(route.seed);
  const dsl::MoeShape &shape = route.shape;
  RouteData inputs;
  if (shape.router == dsl::Router::Given) {
    for (int i = 0; i < route.rows * shape.topK; ++i)
      inputs.ids.push_back(drawId(route, random));
    return inputs;
  }
  const auto bytes = size_t(byteSize(shape.logits));
  inputs.bytes.resize(size_t(route.rows) * size_t(shape.experts) * bytes);
  for (size_t i = 0; i < inputs.bytes.size() / bytes; ++i) {
    const bool allNan = route.inputs == RouteInputs::Wild && i / size_t(shape.experts) == 1;
    const float value = drawLogit(route.inputs, random);
    inputs.logits.push_back(stored(shape.logits, allNan ? NAN : value, &inputs.bytes[i * bytes]));
  }
  for (int i = 0; shape.bias && i < shape.experts; ++i) {
    const float value = std::normal_distribution<float>(0, 0.3f)(random);
    inputs.bias.push_back(route.inputs == RouteInputs::Ties ? float(random() % 2) / 4 : value);
    if (route.inputs == RouteInputs::Wild && random() % 6 == 0)
      inputs.bias.back() = random() % 2 ? NAN : -std::numeric_limits<float>::infinity();
  }
  return inputs;
}

//===- A run -----------------------------------------------------------------------------------------===//

/// The best logits, as they are.
static dsl::Kernel plainRouting(const dsl::MoeShape &shape) {
  const dsl::Dim n("row"), e("expert", shape.experts), k("choice", shape.topK);
  const dsl::Routing routing = dsl::topK(k, e, dsl::input("logits", shape.logits, {n, e})(n, e));
  dsl::Kernel kernel("plain_routing");
  kernel.output("ids", dsl::i32, {n, k}) = routing.expert(n, k);
  kernel.output("weights", dsl::f32, {n, k}) = routing.weight(n, k);
  return kernel;
}

static const test::RouteText &compiled(const RouteCase &route) {
  static std::map<std::string, test::RouteText> texts;
  RouteCase key = route;
  key.rows = key.blocks = key.firstExpert = 0;
  key.seed = key.order = 0;
  key.inputs = RouteInputs::Normal;
  const std::string name = key.str() + key.config.str();
  auto found = texts.find(name);
  if (found == texts.end()) {
    const dsl::Kernel description = route.plain ? plainRouting(route.shape) : dsl::moeFfn(route.shape);
    found = texts.emplace(name, test::routePtx(description, route.config)).first;
    const auto &[from, to] = route.planted;
    std::string &ptx = found->second.ptx;
    for (size_t at = 0; !from.empty() && (at = ptx.find(from, at)) != std::string::npos; at += to.size())
      ptx.replace(at, from.size(), to);
  }
  return found->second;
}

template <class T>
static std::vector<T> read(runtime::Device &device, const Buffer &buffer, size_t count) {
  std::vector<T> values(count);
  device.copyToHost(values.data(), buffer.get(), count * sizeof(T));
  return values;
}

template <class T>
static Buffer filled(runtime::Device &device, const std::vector<T> &values) {
  Buffer buffer(device, std::max<size_t>(values.size() * sizeof(T), 16));
  device.copyToDevice(buffer.get(), values.data(), values.size() * sizeof(T));
  return buffer;
}

/// Buffers of exactly the bytes that the kernel may touch: a write beyond them is a finding.
static RouteResult launch(runtime::Device &device, const RouteCase &route, const RouteData &inputs) {
  const test::RouteText &text = compiled(route);
  const RouteExtents extents(route);
  std::map<std::string, Buffer> buffers;
  buffers["logits"] = filled(device, inputs.bytes);
  buffers["bias"] = filled(device, inputs.bias);
  buffers["scratch"] =
      filled(device, std::vector<int32_t>(size_t(codegen::routeScratchWords(text.problem)), 0));
  const std::map<std::string, size_t> words = {{"ids", extents.choices},     {"weights", extents.choices},
                                               {"counts", extents.experts},  {"offsets", extents.experts + 1},
                                               {"slots", extents.slots},     {"places", extents.choices},
                                               {"tiles", extents.tiles * 4}, {"tile_count", 1}};
  for (const auto &[name, count] : words)
    buffers[name] = filled(device, std::vector<int32_t>(count, nothing));
  if (!inputs.ids.empty())
    buffers["ids"] = filled(device, inputs.ids);

  std::map<std::string, int> numbers = {
      {"rows", route.rows}, {"first_expert", route.firstExpert}, {"shared_start", int(extents.sharedStart)}};
  std::map<std::string, runtime::DevicePtr> pointers;
  std::vector<void *> arguments;
  for (const KernelArgument &argument : text.entry.arguments) {
    if (argument.kind == "i32") {
      arguments.push_back(&numbers.at(argument.name));
      continue;
    }
    pointers[argument.name] = buffers.at(argument.name).get();
    arguments.push_back(&pointers.at(argument.name));
  }
  const int rows = codegen::routeRows(text.problem);
  const int usual = std::min(codegen::routeBlocks(text.problem), (route.rows + rows - 1) / rows);
  auto module = device.load({text.ptx.c_str(), text.ptx.size() + 1});
  const auto function = module->function(text.entry.name, text.entry.sharedBytes);
  for (int i = route.launches; i-- > 0;)
    device.launch(function,
                  {.gridX = unsigned(i % 2              ? 2
                                     : route.blocks > 0 ? route.blocks
                                                        : usual),
                   .threads = unsigned(text.entry.threads),
                   .sharedBytes = unsigned(text.entry.sharedBytes)},
                  arguments.data(), {});
  RouteResult result;
  auto words32 = [&](const char *name) { return read<int32_t>(device, buffers.at(name), words.at(name)); };
  result.ids = words32("ids");
  result.weights = read<float>(device, buffers.at("weights"), extents.choices);
  result.counts = words32("counts");
  result.offsets = words32("offsets");
  result.slots = words32("slots");
  result.places = words32("places");
  result.tiles = words32("tiles");
  result.tileCount = words32("tile_count");
  result.launches = read<int32_t>(device, buffers.at("scratch"), 1)[0];
  return result;
}

RouteRun emulatedtest::runRoute(const RouteCase &route) {
  auto device =
      runtime::openEmulator({.hostThreads = route.hostThreads, .seed = route.order, .throwFindings = false});
  const RouteData inputs = drawInputs(route);
  RouteRun run;
  try {
    run.result = launch(*device, route, inputs);
  } catch (const Error &error) {
    return {error.what(), {}};
  }
  if (const auto findings = device->takeFindings(); !findings.empty())
    run.fault = findings.text();
  else
    run.fault = judgeRoute(route, inputs, run.result);
  return run;
}
