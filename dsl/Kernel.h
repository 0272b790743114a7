//===- Kernel.h - A description: named outputs over expressions ---------------------------------------===//
//
// A kernel is a name and its outputs; the inputs, parameters and dimensions follow from the expressions. It
// keeps the outputs in canonical form, so two descriptions that mean the same print the same, import the same
// and have the same key. Written in dsl/models and by applications, read by the compiler.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Expr.h"

#include <string>
#include <vector>

namespace lathe::dsl {

/// One output, dense and row-major over `dims`, which are exactly the free dimensions of `value`.
struct Output {
  std::string name;
  Dtype dtype;
  std::vector<Dim> dims;
  Expr value; ///< Canonical: + * && || max min flattened to the left and sorted, equal softmaxes one term.
};

class Kernel;

/// What Kernel::output() returns: assign the expression to it.
class OutputSlot {
public:
  OutputSlot(const OutputSlot &) = delete;
  /// Adds the output. Throws UserError, and leaves the kernel as it was, when free dimensions are missing or
  /// extra, the element type does not fit, or a name is taken.
  void operator=(const Expr &value) &&;

private:
  friend class Kernel;
  OutputSlot(Kernel &kernel, std::string name, Dtype dtype, std::vector<Dim> dims)
      : kernel_(kernel), name_(std::move(name)), dtype_(dtype), dims_(std::move(dims)) {}
  Kernel &kernel_;
  std::string name_;
  Dtype dtype_;
  std::vector<Dim> dims_;
};

class Kernel {
public:
  /// Throws UserError unless the name is an identifier.
  explicit Kernel(std::string name);

  /// k.output("out", bf16, {b, h, v}) = expression;
  [[nodiscard]] OutputSlot output(std::string name, Dtype dtype, std::vector<Dim> dims);

  const std::string &name() const { return name_; }
  const std::vector<Output> &outputs() const { return outputs_; }
  /// Inputs in order of first use, the lengths of a paged input right after it. Tables are in
  /// TensorInfo::paged.
  const std::vector<TensorRef> &inputs() const { return inputs_; }
  const std::vector<Scalar> &params() const { return params_; } ///< In order of first use.
  const std::vector<Dim> &dims() const { return dims_; } ///< In order of first use, outputs' dims first.

private:
  friend class OutputSlot;
  void add(Output output);

  std::string name_;
  std::vector<Output> outputs_;
  std::vector<TensorRef> inputs_;
  std::vector<Scalar> params_;
  std::vector<Dim> dims_;
};

} // namespace lathe::dsl
