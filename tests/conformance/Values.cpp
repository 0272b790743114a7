#include "Values.h"

using namespace lathe;
using namespace lathe::conformance;

std::vector<uint64_t> conformance::edgeBits(Format format) {
  const uint64_t unit = uint64_t(1) << format.fractionBits, one = uint64_t(format.bias()) * unit;
  const uint64_t half = one - unit, least = unit, infinity = format.infinity();
  const std::vector<uint64_t> positive{
      0,
      one,
      one + 1, // The next above one.
      one - 1, // and below.
      half,
      half + unit / 2, // 0.75
      one + unit / 2,  // 1.5 and 2.5: ties between whole numbers.
      one + unit + unit / 4,
      one + 2 * unit,
      1,         // The smallest subnormal number,
      least - 1, // the largest,
      least,     // and the smallest normal one.
      least + 1,
      infinity - 1, // The largest number.
      infinity,
      infinity | unit / 2, // NaNs: quiet, signalling, all ones.
      infinity | 1,
      format.nan(),
      one + uint64_t(format.fractionBits) * unit,     // Where ones,
      one + uint64_t(format.fractionBits + 1) * unit, // and where twos are the last bit.
  };
  std::vector<uint64_t> all;
  for (uint64_t bits : positive) {
    all.push_back(bits);
    all.push_back(bits | format.signBit());
  }
  return all;
}

uint64_t conformance::randomBits(Format format, Random &random) {
  const uint64_t fraction = random() & ((uint64_t(1) << format.fractionBits) - 1);
  const uint64_t sign = random() & 1 ? format.signBit() : 0;
  switch (random() % 5) {
  case 0:
    return random() & ((format.signBit() << 1) - 1);
  case 1: { // Within 2^±3.
    const uint64_t exponent = uint64_t(format.bias()) - 3 + random() % 7;
    return sign | exponent << format.fractionBits | fraction;
  }
  case 2: { // Few bits: sums and products are often ties.
    const uint64_t exponent = uint64_t(format.bias()) - 8 + random() % 17;
    const uint64_t kept =
        format.fractionBits > 4 ? fraction & ~((uint64_t(1) << (format.fractionBits - 4)) - 1) : fraction;
    return sign | exponent << format.fractionBits | kept;
  }
  case 3: // Subnormal, or nearly.
    return sign | (random() % 4) << format.fractionBits | fraction;
  default: {
    const std::vector<uint64_t> values = edgeBits(format);
    return values[random() % values.size()];
  }
  }
}
