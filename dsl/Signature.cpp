#include "lathe/dsl/Signature.h"

#include "lathe/dsl/Node.h"
#include "lathe/support/Error.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::dsl;

void Signature::claim(const std::string &name, const std::string &what) {
  auto [taken, isNew] = names_.emplace(name, what);
  if (isNew)
    return;
  std::string clash = taken->second == what ? fmt::format("two different {}s", what)
                                            : fmt::format("{} and {}", taken->second, what);
  throw UserError({fmt::format("kernel '{}'", kernel_), fmt::format("name '{}' must mean one thing", name),
                   clash, "declare it once, or rename one"});
}

void Signature::use(const Dim &dim) {
  if (contains(dims, dim))
    return;
  claim(dim.name(), "dimension");
  dims.push_back(dim);
}

void Signature::use(const Scalar &param) {
  if (std::any_of(params.begin(), params.end(), [&](const Scalar &known) { return known.is(param); }))
    return;
  claim(param.name(), "parameter");
  params.push_back(param);
}

void Signature::use(const TensorRef &tensor) {
  if (std::find(inputs.begin(), inputs.end(), tensor) != inputs.end())
    return;
  claim(tensor->name, "input");
  inputs.push_back(tensor);
  for (const Dim &dim : tensor->indexedDims())
    use(dim);
  if (!tensor->isPaged())
    return;
  use(tensor->paged->length.info());
  useTable(tensor);
}

/// Paged inputs may share a table: then a page number and a batch index mean the same in both.
void Signature::useTable(const TensorRef &tensor) {
  const PagedLayout &layout = *tensor->paged;
  auto [first, isNew] = firstOfTable_.emplace(layout.table, tensor);
  if (isNew) {
    claim(layout.table, "page table");
    return;
  }
  const PagedLayout &other = *first->second->paged;
  bool sameBatch = layout.length.info()->dims[0].is(other.length.info()->dims[0]);
  if (layout.page != other.page || !sameBatch)
    throw UserError(
        {fmt::format("kernel '{}'", kernel_),
         fmt::format("paged inputs '{}' and '{}' share table '{}' and need the same page size and batch",
                     first->second->name, tensor->name, layout.table),
         fmt::format("pages of {} and {} tokens", other.page, layout.page), "give each its own table"});
}

void Signature::walk(const Expr &expr) {
  if (!walked_.insert(&expr.node()).second)
    return;
  if (auto *load = expr.as<LoadNode>())
    use(load->tensor);
  if (auto *param = expr.as<ParamNode>())
    use(*param->param);
  if (auto *index = expr.as<IndexNode>())
    use(index->dim());
  for (const Expr &operand : expr.node().operands)
    walk(operand);
  auto *expert = expr.as<RoutedExpertNode>();
  auto *weight = expr.as<RoutedWeightNode>();
  if (expert || weight) { // No operand need hold them: a topK has no choice in its score.
    const RoutingTerm &routing = expert ? *expert->routing : *weight->routing;
    use(routing.experts);
    use(routing.choice);
  }
}

void Signature::add(const Output &output) {
  claim(output.name, "output");
  for (const Dim &dim : output.dims)
    use(dim);
  walk(output.value);
}
