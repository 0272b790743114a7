// mma.sync: PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type". Lane l holds of A rows l /
// 4 and 8 below, of B column l / 4, of both the depth 2 (l mod 4) and the next, and the same 8 further on; of
// the result columns 2 (l mod 4) and the next.
#include "Cases.h"
#include "Kernel.h"
#include "Numbers.h"

#include <fmt/format.h>

#include <cmath>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 64, laneWords = 10; // A: 4, B: 2, C: 4.
static constexpr size_t rows = 16, columns = 8, depth = 16;

namespace {
struct MmaForm {
  bool half = false;    ///< f16, else bf16.
  bool special = false; ///< Infinities and NaNs among the elements.
  unsigned steps = 1;   ///< Products that follow each other, each with operands of its own.
};
} // namespace

/// Numbers of 2^±6 with all bits of the fraction.
static uint16_t randomElement(const MmaForm &form, Random &random) {
  const Format format = form.half ? f16 : bf16;
  const uint64_t sign = random() & 1 ? format.signBit() : 0;
  if (form.special && random() % 64 == 0)
    return uint16_t(random() % 3 ? sign | format.infinity() : format.nan());
  const uint64_t fraction = random() & ((uint64_t(1) << format.fractionBits) - 1);
  const uint64_t exponent = uint64_t(format.bias()) - 6 + random() % 13;
  return uint16_t(random() % 16 == 0 ? sign : sign | exponent << format.fractionBits | fraction);
}

/// For each step and thread its words of A, B and C; C of the first step counts.
static Bytes makeInput(const MmaForm &form, Random &random) {
  Bytes input(form.steps * threads * laneWords * 4);
  for (size_t word = 0; word < input.size() / 4; ++word)
    if (word % laneWords < 6) {
      for (size_t k = 0; k < 2; ++k)
        setElement(input, 2 * word + k, randomElement(form, random));
    } else {
      setElement(input, word, float(int64_t(random() % 4096) - 2048) / 16);
    }
  return input;
}

/// What is multiplied for one warp, over all steps.
struct Matrices {
  std::vector<double> a, b; ///< [rows or columns][steps · depth].
};

static Matrices matrices(const MmaForm &form, const Bytes &input, size_t warp) {
  const size_t whole = form.steps * depth;
  Matrices result{std::vector<double>(rows * whole), std::vector<double>(columns * whole)};
  for (size_t step = 0; step < form.steps; ++step)
    for (size_t lane = 0; lane < 32; ++lane)
      for (size_t e = 0; e < 12; ++e) { // Eight elements of A, four of B.
        const size_t word = (step * threads + warp * 32 + lane) * laneWords + e / 2;
        const double value = toDouble(form.half ? f16 : bf16, elementAt<uint16_t>(input, 2 * word + e % 2));
        const size_t k = step * depth + lane % 4 * 2 + e % 2;
        if (e < 8)
          result.a[(lane / 4 + (e & 2 ? 8 : 0)) * whole + k + (e & 4 ? 8 : 0)] = value;
        else
          result.b[lane / 4 * whole + k + (e & 2 ? 8 : 0)] = value;
      }
  return result;
}

static void expect(const MmaForm &form, const Bytes &input, Expected &out) {
  const size_t whole = form.steps * depth;
  for (size_t warp = 0; warp < threads / 32; ++warp) {
    const Matrices m = matrices(form, input, warp);
    for (size_t lane = 0; lane < 32; ++lane)
      for (size_t i = 0; i < 4; ++i) {
        const size_t row = lane / 4 + (i & 2 ? 8 : 0), column = lane % 4 * 2 + (i & 1);
        const size_t thread = warp * 32 + lane;
        double sum = elementAt<float>(input, thread * laneWords + 6 + i), magnitude = std::fabs(sum);
        for (size_t k = 0; k < whole; ++k) {
          const double product = m.a[row * whole + k] * m.b[column * whole + k];
          sum += product;
          magnitude += std::fabs(product);
        }
        setElement(out.bytes, thread * 4 + i, float(sum));
        out.bounds.push_back(std::isfinite(magnitude) ? magnitude * double(whole + 2) * 0x1p-23 : 0);
      }
  }
}

static void addProduct(Cases &cases, const MmaForm &form) {
  const char *type = form.half ? "f16" : "bf16";
  std::string body = "  .reg .b32 %a<4>, %b<2>, %c<4>;\n  .reg .b64 %p;\n"
                     "  mad.wide.u32 %p, %t, 40, %in;\n";
  body += "  ld.global.v2.b32 {%c0, %c1}, [%p+24];\n  ld.global.v2.b32 {%c2, %c3}, [%p+32];\n";
  for (unsigned step = 0; step < form.steps; ++step) {
    const size_t at = step * threads * laneWords * 4;
    body +=
        fmt::format("  ld.global.v2.b32 {{%a0, %a1}}, [%p+{}];\n  ld.global.v2.b32 {{%a2, %a3}}, [%p+{}];\n"
                    "  ld.global.v2.b32 {{%b0, %b1}}, [%p+{}];\n"
                    "  mma.sync.aligned.m16n8k16.row.col.f32.{}.{}.f32 {}, {}, {}, {};\n",
                    at, at + 8, at + 16, type, type, registers("c", 4), registers("a", 4), registers("b", 2),
                    registers("c", 4));
  }
  body += "  mad.wide.u32 %p, %t, 16, %out;\n  st.global.v4.b32 [%p], {%c0, %c1, %c2, %c3};\n";
  Case entry =
      makeCase("mma", fmt::format("m16n8k16.{}{}.steps_{}", type, form.special ? ".special" : "", form.steps),
               {.threads = threads}, 1, 0, body);
  entry.element = Element::F32;
  entry.outputBytes = threads * 16;
  entry.input = [form](Random &random) { return makeInput(form, random); };
  entry.expect = [form](const Bytes &input, Expected &out) { expect(form, input, out); };
  cases.push_back(std::move(entry));
}

void conformance::addMmaCases(Cases &cases) {
  for (bool half : {false, true})
    for (bool special : {false, true})
      for (unsigned steps : {1u, 5u})
        addProduct(cases, {half, special, steps});
}
