//===- Case.h - A kernel whose result the PTX ISA states ---------------------------------------------===//
//
// One small PTX kernel, the bytes it is given, and what must come out, computed in plain C++ from the text of
// the PTX ISA. A case runs on any runtime::Device, so the emulator and a GPU are judged by the same list.
// Made by the *Cases.cpp files, run by the conformance tests.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace lathe::conformance {

using Bytes = std::vector<std::byte>;
using Random = std::mt19937_64;

/// What the output consists of, for the comparison and its messages. Any NaN of a float type equals any
/// other: the ISA does not say which one an instruction gives.
enum class Element : uint8_t { Bits8, Bits16, Bits32, Bits64, F16, BF16, F32, F64 };
int byteSize(Element element);

/// A tensor map: `spec.base` counts from the start of the input or output buffer.
struct Map {
  bool ofOutput = false;
  runtime::TensorMapSpec spec;
  size_t inInput = SIZE_MAX; ///< Where it lies in the input; SIZE_MAX: it is an argument.
};

/// What must come out.
struct Expected {
  Bytes bytes;
  std::vector<double> bounds; ///< Of the absolute error of each element; 0, or empty: the bits must agree.
};

/// Bytes that a case is run on.
struct Data {
  Bytes input, output; ///< Output before the run.
};

struct Case {
  std::string family; ///< "integer"
  std::string name;   ///< "add.s32"
  std::string ptx;    ///< A module with one kernel `test(input, output, map…)`.
  runtime::LaunchShape shape;
  Element element = Element::Bits32;
  std::vector<Map> maps;
  size_t outputBytes = 0;
  std::function<Bytes(Random &)> input;
  std::function<Bytes(Random &)> output; ///< Before the run; where it is not given, poison.
  /// Turns the output before the run (in `result.bytes`) into the one after it.
  std::function<void(const Bytes &input, Expected &result)> expect;
  /// Where the ISA leaves the answer open and only hardware can tell: what is assumed.
  std::string question;
};

/// Input and output of a case from a seed.
Data makeData(const Case &entry, uint64_t seed);
/// Runs a case and gives the output.
Bytes run(runtime::Device &device, const Case &entry, const Data &data);
/// What differs between a run's output and what must come out: a few lines, or nothing.
std::string compare(const Case &entry, const Data &data, const Bytes &after);

//===- Bytes -----------------------------------------------------------------------------------------===//

template <class T>
T valueAt(const Bytes &bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}
template <class T>
void setValue(Bytes &bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}
/// Element `i` of an array that begins at `offset`.
template <class T>
T elementAt(const Bytes &bytes, size_t i, size_t offset = 0) {
  return valueAt<T>(bytes, offset + i * sizeof(T));
}
template <class T>
void setElement(Bytes &bytes, size_t i, T value, size_t offset = 0) {
  setValue<T>(bytes, offset + i * sizeof(T), value);
}
/// Random bytes.
Bytes randomBytes(Random &random, size_t size);

} // namespace lathe::conformance
