//===- Signature.h - What a set of outputs uses -------------------------------------------------------===//
//
// Collects inputs, parameters and dimensions in order of first use, and checks that each name means one
// thing. Private to this room: Kernel keeps its result.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/dsl/Kernel.h"

#include <map>
#include <set>
#include <string>

namespace lathe::dsl {

class Signature {
public:
  explicit Signature(std::string kernel) : kernel_(std::move(kernel)) {}

  /// Walks the output's dimensions, then its expression. Throws UserError when a name is taken by something
  /// else.
  void add(const Output &output);

  std::vector<TensorRef> inputs;
  std::vector<Scalar> params;
  std::vector<Dim> dims;

private:
  void walk(const Expr &expr);
  void use(const Dim &dim);
  void use(const TensorRef &tensor);
  void use(const Scalar &param);
  void useTable(const TensorRef &tensor);
  void claim(const std::string &name, const std::string &what);

  std::string kernel_;
  std::map<std::string, std::string> names_;      ///< Name to what it is: "dimension", "input", ….
  std::map<std::string, TensorRef> firstOfTable_; ///< First paged input of each table.
  std::set<const Node *> walked_;
};

} // namespace lathe::dsl
