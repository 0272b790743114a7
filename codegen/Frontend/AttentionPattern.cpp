//===- AttentionPattern.cpp - Recognising contraction, softmax, contraction --------------------------===//
//
// Walks from the outputs to the inputs: values, softmax, mask, score expression, scores. Every step that
// finds anything else names the expression it stands at, what would be served there, and the way out.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Frontend/AttentionPattern.h"

#include "lathe/codegen/Frontend/MaskBound.h"
#include "lathe/codegen/Frontend/Unserved.h"
#include "lathe/support/Error.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

using namespace mlir;
using namespace lathe;
using namespace lathe::codegen;

static std::string str(StringAttr name) { return name.getValue().str(); }

//===- Steps, from the outputs to the inputs ----------------------------------------------------------===//

/// The rows that an operand reads: a paged input, or its leading columns.
static ir::PagedOp leadingColumns(Value value) {
  if (auto slice = value.getDefiningOp<ir::SliceOp>(); slice && slice.getBegin() == 0)
    value = slice.getSource();
  return value.getDefiningOp<ir::PagedOp>();
}

/// Sets values, softmax, output, logSumExp.
static void matchOutputs(AttentionPattern &pattern, SmallVectorImpl<ir::OutputOp> &outputs) {
  static constexpr const char *wayOut =
      "keep one output that sums probabilities times the cache's leading columns over "
      "the softmax's axis, and the log-sum-exp of that softmax";
  for (auto output : pattern.kernel.getOps<ir::OutputOp>()) {
    outputs.push_back(output);
    auto contract = output.getValue().getDefiningOp<ir::ContractOp>();
    if (!contract)
      continue;
    if (!contract.getLhs().getDefiningOp<ir::SoftmaxOp>() &&
        !contract.getRhs().getDefiningOp<ir::SoftmaxOp>())
      unserved(contract, "a contraction of anything but the probabilities of a softmax as output", wayOut);
    if (pattern.values)
      unserved(contract, "a second contraction as output", wayOut);
    pattern.values = contract;
    pattern.output = output.getName().str();
  }
  if (!pattern.values)
    unserved(outputs.front(), "a kernel without a contraction of probabilities as output", wayOut);
  bool left = static_cast<bool>(pattern.values.getLhs().getDefiningOp<ir::SoftmaxOp>());
  Value probabilities = left ? pattern.values.getLhs() : pattern.values.getRhs();
  pattern.softmax = probabilities.getDefiningOp<ir::SoftmaxOp>();
  if (probabilities != pattern.softmax.getProbabilities())
    unserved(pattern.values, "a contraction of a log-sum-exp", wayOut);
  for (ir::OutputOp output : outputs) {
    if (output.getValue() == pattern.values.getResult())
      continue;
    if (output.getValue() != pattern.softmax.getLogSumExp())
      unserved(output, "an output beside the contraction and the log-sum-exp", wayOut);
    if (!pattern.logSumExp.empty())
      unserved(output, "the log-sum-exp as output twice", wayOut);
    pattern.logSumExp = output.getName().str();
  }
}

/// Checks the second contraction; sets cache, table, length, batchDim, tokenDim, valueDim, page.
static ir::PagedOp matchValues(AttentionPattern &pattern) {
  static constexpr const char *wayOut =
      "multiply the probabilities by leading columns of the paged input, in bf16, "
      "and sum over its paged axis alone";
  ir::ContractOp values = pattern.values;
  Value columns = values.getLhs() == pattern.softmax.getProbabilities() ? values.getRhs() : values.getLhs();
  ir::PagedOp cache = leadingColumns(columns);
  if (!cache)
    unserved(values, "a contraction of probabilities with anything but leading columns of a paged input",
             wayOut);
  ir::ArrayType rows = cache.getResult().getType(), lengths = cache.getLengths().getType();
  if (lengths.getRank() != 1 || rows.getRank() != 3)
    unserved(cache,
             fmt::format("paged rows over {} dimensions for sequences over {}",
                         rows.getRank() - lengths.getRank() - 1, lengths.getRank()),
             "page rows of one dimension, with lengths over one batch dimension");
  if (!rows.getElementType().isBF16())
    unserved(cache, "a paged input that is not bf16", wayOut);
  if (pattern.softmax.getAxis() != cache.getAxis())
    unserved(pattern.softmax,
             fmt::format("a softmax over '{}', which is not the paged axis '{}'",
                         pattern.softmax.getAxis().str(), cache.getAxis().str()),
             "take the softmax over the paged axis");
  if (values.getOver().size() != 1 || cast<StringAttr>(values.getOver()[0]).getValue() != cache.getAxis())
    unserved(values, "a contraction over more or other dimensions than the paged axis", wayOut);
  auto lengthInput = cache.getLengths().getDefiningOp<ir::InputOp>();
  if (!lengthInput)
    unserved(cache, "lengths that are computed", "give the lengths as an input");
  pattern.cache = cache.getName().str();
  pattern.table = cache.getTable().str();
  pattern.length = lengthInput.getName().str();
  pattern.batchDim = str(lengths.getNames()[0]);
  pattern.tokenDim = cache.getAxis().str();
  pattern.problem.page = static_cast<int>(cache.getPage());
  pattern.valueDim = str(cast<ir::ArrayType>(columns.getType()).getNames()[2]);
  pattern.problem.valueDim = static_cast<int>(cast<ir::ArrayType>(columns.getType()).getExtents()[2]);
  return cache;
}

/// Whether a map is the product of its scores with one f32 parameter, which it then names.
static bool isPureScale(ir::MapOp map, std::string &scale) {
  Block &body = map.getBody().front();
  auto product = dyn_cast<arith::MulFOp>(&body.front());
  if (body.getOperations().size() != 2 || !product || map.getInputs().size() != 2 ||
      product.getLhs() == product.getRhs() || !product.getType().isF32())
    return false;
  if (!isa<BlockArgument>(product.getLhs()) || !isa<BlockArgument>(product.getRhs()))
    return false;
  for (Value input : map.getInputs())
    if (auto param = input.getDefiningOp<ir::ParamOp>())
      scale = param.getName().str();
  return true;
}

/// Follows the score expression to its contraction; sets maps, pureScale, scale, scores.
static void matchScoreExpression(AttentionPattern &pattern) {
  static constexpr const char *wayOut = "compute scores element-wise from one contraction and parameters";
  Value scores = pattern.softmax.getScores();
  while (auto map = scores.getDefiningOp<ir::MapOp>()) {
    Value next;
    for (Value input : map.getInputs()) {
      if (input.getDefiningOp<ir::ParamOp>())
        continue;
      if (next)
        unserved(map, "a score expression over more than one array", wayOut);
      next = input;
    }
    if (!next)
      unserved(map, "a score expression without a contraction", wayOut);
    if (cast<ir::ArrayType>(next.getType()).getRank() != map.getResult().getType().getRank())
      unserved(map, "scores that are broadcast", wayOut);
    pattern.maps.insert(pattern.maps.begin(), map);
    scores = next;
  }
  pattern.scores = scores.getDefiningOp<ir::ContractOp>();
  if (!pattern.scores)
    unserved(scores.getDefiningOp(), "scores that are not a contraction", wayOut);
  pattern.pureScale = pattern.maps.size() == 1 && isPureScale(pattern.maps.front(), pattern.scale);
}

/// Checks the dimensions of the query against the cache's; sets queryDim, headDim, heads, queryTokens,
/// keyDim.
static void matchQueryDims(AttentionPattern &pattern, ir::InputOp query, ir::ArrayType keys) {
  ir::ArrayType type = query.getResult().getType();
  ArrayRef<StringAttr> names = type.getNames();
  std::string order =
      fmt::format("a query that is not bf16 over [{}, query tokens, heads, {}], the last two static",
                  pattern.batchDim, str(keys.getNames()[2]));
  size_t rank = names.size();
  bool fits =
      (rank == 3 || rank == 4) && names.front() == keys.getNames()[0] && names.back() == keys.getNames()[2];
  fits &= type.getElementType().isBF16();
  for (int64_t extent : type.getExtents().drop_front())
    fits &= extent != ir::ArrayType::dynamic;
  if (!fits || type.has(pattern.tokenDim))
    unserved(query, order, "declare the query input in this order; query tokens may be left out");
  pattern.headDim = str(names[rank - 2]);
  pattern.queryDim = rank == 4 ? str(names[1]) : "";
  pattern.problem.heads = static_cast<int>(type.getExtents()[rank - 2]);
  pattern.problem.queryTokens = rank == 4 ? static_cast<int>(type.getExtents()[1]) : 1;
  pattern.problem.keyDim = static_cast<int>(type.getExtents().back());
}

/// Checks the first contraction; sets query and its dimensions.
static void matchScores(AttentionPattern &pattern, ir::PagedOp cache) {
  static constexpr const char *wayOut =
      "contract a dense input with the paged input of the values over its row "
      "dimension";
  ir::ContractOp scores = pattern.scores;
  auto query = scores.getLhs().getDefiningOp<ir::InputOp>();
  Value keys = scores.getRhs();
  if (!query) {
    query = scores.getRhs().getDefiningOp<ir::InputOp>();
    keys = scores.getLhs();
  }
  if (!query)
    unserved(scores, "scores without a dense input as one operand", wayOut);
  if (leadingColumns(keys) != cache)
    unserved(scores,
             fmt::format("scores over anything but leading columns of '{}', whose rows are the values",
                         pattern.cache),
             wayOut);
  auto keyType = cast<ir::ArrayType>(keys.getType());
  if (scores.getOver().size() != 1 || cast<StringAttr>(scores.getOver()[0]) != keyType.getNames()[2])
    unserved(scores, "scores summed over more or other dimensions than the paged row", wayOut);
  pattern.query = query.getName().str();
  matchQueryDims(pattern, query, keyType);
  if (query.getResult().getType().has(pattern.valueDim) && pattern.valueDim != str(keyType.getNames()[2]))
    unserved(pattern.values,
             fmt::format("value columns that share dimension '{}' with the query", pattern.valueDim),
             "index the value by a dimension of its own");
  if (pattern.problem.valueDim > pattern.problem.keyDim)
    unserved(pattern.values,
             fmt::format("{} value columns beside {} key columns", pattern.problem.valueDim,
                         pattern.problem.keyDim),
             "take at most the columns that the scores use as value");
}

/// Solves the mask for the token; sets masked, boundOffset, boundQueryFactor.
static void matchMask(AttentionPattern &pattern) {
  if (!pattern.softmax.isMasked())
    return;
  std::string served = fmt::format(
      "write the mask as {} < length + constant + factor * query, nowhere past the length", pattern.tokenDim);
  auto refuse = [&](const std::string &what) {
    auto loc = pattern.softmax.getMask().front().getTerminator()->getLoc();
    auto name = dyn_cast<NameLoc>(loc);
    std::string text = name ? name.getName().str() : describe(pattern.softmax);
    throw UserError(Fault{fmt::format("kernel {}", pattern.kernel.getSymName().str()),
                          "no schedule serves " + what, fmt::format("'{}'", text), served});
  };
  std::optional<LinearForm> bound = maskBound(pattern.softmax);
  if (!bound)
    refuse("a mask that is no upper bound of the paged axis");
  int64_t factor = 0, lengthFactor = 0;
  for (auto [number, times] : bound->operands) {
    auto input = pattern.softmax.getMaskInputs()[number].getDefiningOp<ir::InputOp>();
    if (!input || input.getName() != pattern.length)
      refuse("a mask over anything but coordinates and the lengths of the paged input");
    lengthFactor += times;
  }
  if (lengthFactor != 1)
    refuse("a mask whose bound does not follow the length");
  auto scores = pattern.softmax.getScores().getType();
  for (auto [dim, times] : bound->coordinates) {
    if (scores.getExtent(dim) == 1)
      continue;
    if (str(dim) != pattern.queryDim)
      refuse(fmt::format("a mask whose bound depends on '{}'", str(dim)));
    factor = times;
  }
  if (bound->constant + std::max<int64_t>(0, factor * (pattern.problem.queryTokens - 1)) > 0)
    refuse("a mask that reaches past the length");
  pattern.masked = bound->constant != 0 || factor != 0;
  pattern.boundOffset = static_cast<int>(bound->constant);
  pattern.boundQueryFactor = static_cast<int>(factor);
}

/// The output has its element type and, dimensions of extent 1 aside, the order of `dims` (empty names left
/// out).
static void checkLayout(ir::OutputOp output, bool single, ArrayRef<std::string> dims) {
  ir::ArrayType type = output.getValue().getType();
  auto matters = [&](StringRef name) { return !name.empty() && type.has(name) && type.getExtent(name) != 1; };
  SmallVector<StringRef> wanted, found;
  for (StringRef name : dims)
    if (matters(name))
      wanted.push_back(name);
  for (StringRef name : output.getDims().getAsValueRange<StringAttr>())
    if (matters(name))
      found.push_back(name);
  bool typed = single ? output.getDtype().isF32() : output.getDtype().isBF16();
  if (typed && wanted == found)
    return;
  std::string order = fmt::format("{} [{}]", single ? "f32" : "bf16", fmt::join(dims, ", "));
  unserved(output, fmt::format("output '{}' in another type or order than {}", output.getName().str(), order),
           "declare it as " + order);
}

static void checkOutputs(const AttentionPattern &pattern, ArrayRef<ir::OutputOp> outputs) {
  for (ir::OutputOp output : outputs) {
    SmallVector<std::string> dims{pattern.batchDim, pattern.queryDim, pattern.headDim, pattern.valueDim};
    bool single = output.getName() != pattern.output;
    if (single)
      dims = {pattern.batchDim, pattern.headDim, pattern.queryDim};
    llvm::erase(dims, "");
    checkLayout(output, single, dims);
  }
}

AttentionPattern codegen::matchAttention(ir::KernelOp kernel) {
  AttentionPattern pattern;
  pattern.kernel = kernel;
  pattern.problem.name = kernel.getSymName().str();
  SmallVector<ir::OutputOp> outputs;
  matchOutputs(pattern, outputs);
  ir::PagedOp cache = matchValues(pattern);
  matchScoreExpression(pattern);
  matchScores(pattern, cache);
  matchMask(pattern);
  checkOutputs(pattern, outputs);
  return pattern;
}
