// Approximations: ex2, lg2, rcp, rsqrt, sqrt, sin, cos, tanh and divisions, PTX ISA, "Floating Point
// Instructions". The value is computed in binary64 and the bound is the error that the ISA states; at the
// ends of the range, where it gives a table, the value must be the table's.
#include "Lanewise.h"

#include <algorithm>
#include <cmath>
#include <numbers>

using namespace lathe;
using namespace lathe::conformance;

static float flushedFloat(float value) {
  return std::bit_cast<float>(uint32_t(flushed(f32, std::bit_cast<uint32_t>(value))));
}

/// The unit in the last place of a float at `value`.
static double unit(double value) {
  const double magnitude = std::fabs(value);
  return !(magnitude >= 0x1p-126) ? 0x1p-149 : std::ldexp(1.0, std::ilogb(std::min(magnitude, 0x1p127)) - 23);
}

/// `units` beyond the rounding of the value itself.
static Near withinUnits(double value, double units) {
  if (std::isnan(value) || std::isinf(value) || value == 0)
    return {value, 0};
  return {value, (units + 0.5) * unit(value)};
}
static Near withinRelative(double value, double relative) {
  if (std::isnan(value) || std::isinf(value) || value == 0)
    return {value, 0};
  return {value, std::fabs(value) * relative + unit(value) / 2};
}

/// Cases of `root.approx{.ftz}.f32`. A flushed result may stand on either side of the smallest normal number.
template <class F>
static void addUnary(Cases &cases, const std::string &root, F near, const Limit<float> &limit = {},
                     bool canFlush = true) {
  for (bool flush : {false, true}) {
    if (flush && !canFlush)
      continue;
    const std::string name = fmt::format("{}.approx{}.f32", root, flush ? ".ftz" : "");
    auto result = [near, flush](float a) {
      if (!flush)
        return near(a);
      Near answer = near(flushedFloat(a));
      if (std::fabs(answer.value) < 0x1p-126)
        answer = {std::copysign(0.0, answer.value),
                  std::fabs(answer.value) + answer.bound >= 0x1p-126 ? answer.bound + 0x1p-126 : 0};
      return answer;
    };
    cases.push_back(Lanewise<float(float)>::make("special", name, name + " %d, %a;", result, {limit}));
  }
}

/// Subnormal results and the largest ones may round away to their neighbours: 0, infinity.
static Near exp2Near(float a) {
  const double value = std::exp2(double(a));
  if (value >= 0x1p128)
    return {INFINITY, 0};
  return value == 0 ? Near{0, 0} : Near{value, 2.5 * unit(value)};
}

static Near log2Near(float a) {
  const double value = std::log2(double(a));
  if (a > 0.5f && a < 2)
    return {value, 0x1p-22 + unit(value) / 2};
  return withinRelative(value, 0x1p-22);
}

/// Angles within one or fifty turns; beyond them the ISA promises nothing.
static void addAngles(Cases &cases, const std::string &root, double (*function)(double)) {
  for (auto [turns, error] : {std::pair(1.0, std::exp2(-20.5)), std::pair(50.0, std::exp2(-14.7))}) {
    const double limit = turns * 2 * std::numbers::pi;
    addUnary(
        cases, root,
        [function, error](float a) { return Near{function(double(a)), std::isinf(a) || a == 0 ? 0 : error}; },
        [limit](float a) {
          return std::isfinite(a) && std::fabs(a) > limit ? float(std::remainder(a, limit)) : a;
        });
    for (size_t i = cases.size() - 2; i < cases.size(); ++i)
      cases[i].name += turns > 1 ? ".far" : ".near";
  }
}

//===- Division --------------------------------------------------------------------------------------===//

/// div.approx: 2 units for divisors from 2^-126 to 2^126; for larger ones zero, or a NaN from an infinity.
static Near divideApproximately(float a, float b) {
  if (std::isfinite(b) && std::fabs(b) > 0x1p126f) {
    const double sign = std::signbit(a) != std::signbit(b) ? -1 : 1;
    if (std::isinf(a) || std::isnan(a))
      return {NAN, 0};
    return {std::copysign(0.0, sign), 0};
  }
  return withinUnits(double(a) / double(b), 2);
}

static void addDivisions(Cases &cases) {
  auto flushAll = [](Near (*near)(float, float)) {
    return [near](float a, float b) {
      Near answer = near(flushedFloat(a), flushedFloat(b));
      if (std::fabs(answer.value) < 0x1p-126)
        answer = {std::copysign(0.0, answer.value),
                  std::fabs(answer.value) >= 0x1p-126 - 0x1p-147 ? 0x1p-125 : 0};
      return answer;
    };
  };
  auto fully = [](float a, float b) { return withinUnits(double(a) / double(b), 2); };
  // Subnormal divisors are outside what .approx promises.
  const Limit<float> normal = [](float b) { return std::fabs(b) < 0x1p-126f && b != 0 ? 3.0f : b; };
  // Results beyond the range may be infinity or the largest number: kept out.
  const Limit<float> middle = [](float a) {
    int exponent = 0;
    const float significand = std::frexp(a, &exponent);
    return std::isfinite(a) ? std::ldexp(significand, exponent % 60) : a;
  };
  auto add = [&](const std::string &name, auto result, const Limit<float> &divisor) {
    cases.push_back(Lanewise<float(float, float)>::make("special", name, name + " %d, %a, %b;", result,
                                                        {middle, divisor}));
  };
  add("div.full.f32", fully, normal);
  add("div.full.ftz.f32", flushAll(+fully), normal);
  add("div.approx.f32", &divideApproximately, normal);
  add("div.approx.ftz.f32", flushAll(&divideApproximately), normal);
}

void conformance::addSpecialCases(Cases &cases) {
  addUnary(cases, "ex2", exp2Near);
  addUnary(cases, "lg2", log2Near);
  addUnary(cases, "rcp", [](float a) { return withinUnits(1 / double(a), 1); });
  addUnary(cases, "rsqrt",
           [](float a) { return withinRelative(1 / std::sqrt(double(a)), std::exp2(-22.9)); });
  addUnary(cases, "sqrt", [](float a) { return withinRelative(std::sqrt(double(a)), 0x1p-23); });
  addUnary(cases, "tanh", [](float a) { return withinRelative(std::tanh(double(a)), 0x1p-11); }, {}, false);
  addAngles(cases, "sin", std::sin);
  addAngles(cases, "cos", std::cos);
  addDivisions(cases);
}
