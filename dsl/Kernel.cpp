#include "lathe/dsl/Kernel.h"

#include "lathe/dsl/Build.h"
#include "lathe/dsl/Canonical.h"
#include "lathe/dsl/Print.h"
#include "lathe/dsl/Signature.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::dsl;

Kernel::Kernel(std::string name) : name_(std::move(name)) { checkIdentifier("kernel", name_); }

OutputSlot Kernel::output(std::string name, Dtype dtype, std::vector<Dim> dims) {
  checkIdentifier("output", name);
  return OutputSlot(*this, std::move(name), dtype, std::move(dims));
}

void OutputSlot::operator=(const Expr &value) && {
  kernel_.add({std::move(name_), dtype_, std::move(dims_), value});
}

//===- Checks -----------------------------------------------------------------------------------------===//

/// The output's dimensions are exactly the free ones of its expression.
static void checkDims(const std::string &place, const Output &output) {
  for (size_t i = 0; i < output.dims.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (output.dims[i].is(output.dims[j]))
        throw UserError({place, fmt::format("names dimension '{}' twice", output.dims[i].name()), "", ""});
  for (const Dim &dim : output.dims)
    if (!contains(output.value.freeDims(), dim))
      throw UserError({place, fmt::format("dimension '{}' must appear in the expression", dim.name()),
                       print(output.value), "remove it from the output"});
  for (const Dim &dim : output.value.freeDims())
    if (!contains(output.dims, dim))
      throw UserError(
          {place, fmt::format("dimension '{}' of the expression must be one of the output's", dim.name()),
           print(output.value), "sum over it, or add it to the output"});
}

static void checkDtype(const std::string &place, const Output &output) {
  Dtype value = output.value.dtype();
  bool fits = (isFloat(output.dtype) && isFloat(value)) || (isInteger(output.dtype) && isInteger(value)) ||
              output.dtype == value;
  if (!fits)
    throw UserError(
        {place,
         fmt::format("an output of type {} needs an expression of its kind", lathe::name(output.dtype)),
         fmt::format("{} of type {}", print(output.value), lathe::name(value)), ""});
}

//===- Adding an output -------------------------------------------------------------------------------===//

void Kernel::add(Output output) {
  std::string place = fmt::format("kernel '{}', output '{}'", name_, output.name);
  checkDims(place, output);
  checkDtype(place, output);
  std::vector<Output> outputs = outputs_;
  outputs.push_back(std::move(output));

  Signature described(name_); // Names are checked before expressions are compared by their text.
  for (const Output &each : outputs)
    described.add(each);

  Canonicalizer canonical;
  Signature signature(name_);
  for (Output &each : outputs) {
    each.value = canonical(each.value);
    signature.add(each);
  }
  outputs_ = std::move(outputs);
  inputs_ = std::move(signature.inputs);
  params_ = std::move(signature.params);
  dims_ = std::move(signature.dims);
}
