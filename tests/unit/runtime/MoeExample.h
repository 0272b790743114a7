//===- MoeExample.h - A manifest of experts for the fake device ---------------------------------------===//
//
// A layer of 64 experts and two shared ones as the compiler would describe it, and tensors that fit it. Used
// by the tests of MoeKernel.
//
//===----------------------------------------------------------------------------------------------------===//
#pragma once

#include "FakeDevice.h"

#include "lathe/runtime/Moe.h"

namespace lathe::runtime::test {

inline KernelEntry exampleRoute(bool given = false) {
  KernelEntry route{"route", 256, 4000, 1, {}, {}};
  if (!given)
    route.arguments = {{"pointer", "logits"}, {"pointer", "bias"}};
  for (const auto &[kind, name] : {std::pair{"pointer", "ids"},
                                   {"pointer", "weights"},
                                   {"i32", "rows"},
                                   {"i32", "first_expert"},
                                   {"pointer", "counts"},
                                   {"pointer", "offsets"},
                                   {"pointer", "slots"},
                                   {"pointer", "places"},
                                   {"pointer", "tiles"},
                                   {"pointer", "tile_count"},
                                   {"pointer", "scratch"},
                                   {"i32", "shared_start"}})
    route.arguments.push_back({kind, name});
  return route;
}

/// One kernel that takes what `up` and `down` do.
inline void makeOneLaunch(MoeManifest &m) {
  m.oneLaunch = true;
  m.expertsKernel = m.up;
  m.expertsKernel.name = "experts";
  auto &arguments = m.expertsKernel.arguments;
  for (const KernelArgument &argument : m.down.arguments)
    if (argument.name != "tiles" && argument.name != "tile_count")
      arguments.push_back(argument);
  arguments.insert(arguments.begin(), {"pointer", "ready"});
  m.combine.arguments.push_back({"pointer", "ready"});
}

/// 64 experts of 1408 by 2048, of which 6 a row, and 2 that every row goes to.
inline MoeManifest exampleMoe() {
  MoeManifest m;
  m.description = "moe_ffn";
  m.router = "logits";
  m.bias = true;
  m.routedExperts = m.experts = 64;
  m.topK = 6;
  m.hidden = 2048;
  m.intermediate = 1408;
  m.halves = 2;
  m.shared = 2;
  m.tokenTile = 16;
  m.ctasPerSm = 2;
  m.routeRows = 16;
  m.routeBlocks = 64;
  m.routeScratchWords = 100;
  m.config = {{"tokenTile", 16}, {"dependentLaunch", "early"}};
  m.tensorMaps = {
      {"w1", 64, 64}, {"w2", 64, 64}, {"activated", 64, 16}, {"shared1", 64, 64}, {"shared2", 64, 64}};
  m.route = exampleRoute();
  m.up = {"up",
          256,
          100000,
          1,
          {{"tensor_map", "w1"},
           {"pointer", "x"},
           {"i64", "x_stride"},
           {"pointer", "slots"},
           {"pointer", "tiles"},
           {"pointer", "tile_count"},
           {"pointer", "activated_base"},
           {"pointer", "w1_base"},
           {"tensor_map", "shared1"}},
          {}};
  m.down = {"down",
            384,
            110000,
            1,
            {{"tensor_map", "w2"},
             {"tensor_map", "activated"},
             {"pointer", "tiles"},
             {"pointer", "tile_count"},
             {"pointer", "expert_out"},
             {"pointer", "w2_base"},
             {"tensor_map", "shared2"}},
            {}};
  m.combine = {"combine",
               256,
               0,
               1,
               {{"pointer", "expert_out"},
                {"pointer", "places"},
                {"pointer", "weights"},
                {"i32", "rows"},
                {"i32", "shared_start"},
                {"pointer", "y"},
                {"i64", "y_stride"}},
               {}};
  return m;
}

/// The same for a routing that is given, of one GPU's 16 experts.
inline MoeManifest exampleGivenMoe() {
  MoeManifest m = exampleMoe();
  m.router = "given";
  m.bias = false;
  m.offset = true;
  m.routedExperts = 0;
  m.experts = 16;
  m.route = exampleRoute(/*given=*/true);
  return m;
}

/// exampleMoe() whose logits are made by a gate.
inline MoeManifest exampleGateMoe() {
  MoeManifest m = exampleMoe();
  m.gate = "bf16";
  m.gateRows = 16;
  m.gateExperts = 8;
  m.gateKernel = {
      "gate",
      512,
      8192,
      1,
      {{"pointer", "x"}, {"i64", "x_stride"}, {"i32", "rows"}, {"pointer", "gate"}, {"pointer", "logits"}},
      {}};
  return m;
}

/// Addresses that fit exampleMoe(); nothing is behind them.
inline MoeTensors exampleMoeTensors(int rows = 20) {
  MoeTensors t;
  t.rows = rows;
  t.x = 0x10000;
  t.logits = 0x20004;
  t.bias = 0x30004;
  t.w1 = 0x40000;
  t.w2 = 0x50000;
  t.shared1 = 0x60000;
  t.shared2 = 0x70000;
  t.y = 0x80010;
  return t;
}

inline MoeTensors exampleGivenTensors(int rows = 20) {
  MoeTensors t = exampleMoeTensors(rows);
  t.logits = t.bias = 0;
  t.ids = 0x90004;
  t.weights = 0xa0004;
  t.firstExpert = 48;
  return t;
}

} // namespace lathe::runtime::test
