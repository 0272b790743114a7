//===- AttendParts.cpp - Frame, masks and results of the main kernel ---------------------------------===//
//
// See AttendParts.h.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/AttendParts.h"

#include <cmath>
#include <limits>
#include <optional>

using namespace mlir;
using namespace lathe::tile;

namespace lathe::codegen {

static constexpr int itemBytes = workItemWords * 4;

//===- Frame -----------------------------------------------------------------------------------------===//

void AttendParts::run() {
  makePipes();
  rowBlock = NVVM::BlockIdXOp::create(k.b, k.loc, k.i32());
  k.syncAll(build.config.cluster);
  if (build.config.dependentLaunch == DependentLaunch::Early)
    GridLaunchOp::create(k.b, k.loc);
  writeRoles();
  if (build.config.cluster > 1)
    k.syncAll(build.config.cluster);
  k.finish();
}

void AttendParts::writeRoles() {
  k.capRegisters(build.resources.launchRegisters);
  SmallVector<StringRef> names;
  SmallVector<int32_t> warpgroups, registers;
  for (auto [name, count] : consumerRoles()) {
    names.push_back(name);
    warpgroups.push_back(count);
    registers.push_back(build.resources.consumerRegisters);
  }
  names.push_back("producer");
  warpgroups.push_back(1);
  registers.push_back(build.resources.producerRegisters);
  auto roles = RolesOp::create(k.b, k.loc, k.b.getStrArrayAttr(names), k.b.getDenseI32ArrayAttr(warpgroups),
                               k.b.getDenseI32ArrayAttr(registers), unsigned(names.size()));
  OpBuilder::InsertionGuard guard(k.b);
  for (role = 0; role + 1 < int(names.size()); ++role) {
    consumer = k.enterRole(roles.getBodies()[role]);
    if (names.size() > 2) // Roles of one warpgroup each.
      consumer = k.c(role);
    // Scores in base 2: 2^(s·scale·log2 e).
    factor = k.fmul(k["scale"], k.cf(float(M_LOG2E)));
    overItems([&](const Item &) { return beginConsumer(); },
              [&](const Turn &turn) { return consumeItem(turn); });
  }
  k.enterRole(roles.getBodies()[role]);
  auto elected = ElectedOp::create(k.b, k.loc);
  k.b.setInsertionPointToStart(&elected.getBody().emplaceBlock());
  overItems([&](const Item &item) { return firstAhead(item); },
            [&](const Turn &turn) {
              Values after{produceItem(turn.item, turn.carried, turn.count, turn.queryCount)};
              after.append(aheadOf(turn.next()));
              return after;
            });
}

bool AttendParts::itemsAhead() const {
  const bool producer = role == int(consumerRoles().size());
  return build.config.swapOperands || (build.config.seesaw && producer);
}

void AttendParts::makePipes() {
  const MemoryPlan &memory = build.memory;
  auto queryType = PipeType::get(k.b.getContext(), memory.queryStages, build.config.rowsPerCta,
                                 problem.keyDim, 1, 1, 1, 0);
  auto ringType = PipeType::get(k.b.getContext(), build.config.stages, tokens, problem.keyDim,
                                build.config.cluster, memory.loadGroups, 1, 0);
  queryPipe =
      PipeOp::create(k.b, k.loc, queryType, memory.query, memory.barriers, consumers, k.b.getStringAttr("q"));
  kvPipe = PipeOp::create(k.b, k.loc, ringType, memory.ring, memory.barriers + 2 * 8 * memory.queryStages,
                          consumers, k.b.getStringAttr("kv"));
}

void AttendParts::loadRange() {
  Value worker = NVVM::BlockIdYOp::create(k.b, k.loc, k.i32());
  firstItem = loadI32(k, k["worker_begin"], worker);
  lastItem = loadI32(k, k["worker_begin"], k.add(worker, 1));
}

AttendParts::Item AttendParts::loadItem(Value index) {
  auto four = VectorType::get({4}, k.i32());
  Value address = k.at(k["items"], k.wide(k.mul(index, itemBytes)));
  Value entry = k.load(four, address);
  auto part = [&](int64_t i) -> Value { return LLVM::ExtractElementOp::create(k.b, k.loc, entry, k.c(i)); };
  Item item{part(0), part(1), part(2), part(3), k.load(k.i32(), k.at(address, 16))};
  if (build.config.seesaw) // An empty sequence is a unit without tokens.
    item.end = k.max(item.end, k.add(item.begin, 1));
  return item;
}

void AttendParts::overItems(llvm::function_ref<Values(const Item &)> first,
                            llvm::function_ref<Values(const Turn &)> body) {
  loadRange();
  // Whoever has none goes at once; another one waits for the launch before.
  auto some = scf::IfOp::create(k.b, k.loc, k.lt(firstItem, lastItem));
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPoint(some.thenYield());
  Value last = k.sub(lastItem, 1);
  const Item firstOne = loadItem(firstItem);
  Values state{k.c(0), k.c(0)};
  state.append(firstOne.values());
  state.append(first(firstOne));
  // The work list was complete before the launch before began, and so was the table (Kernel.h); all else may
  // be that launch's result. Older tokens are not: with cacheAhead the producer waits before the first query.
  const bool producer = role == int(consumerRoles().size());
  if (build.config.dependentLaunch != DependentLaunch::Off && !(producer && build.config.cacheAhead))
    GridWaitOp::create(k.b, k.loc);
  loop(firstItem, lastItem, state, [&](Value index, ValueRange carried) {
    std::optional<Item> loaded;
    auto next = [&]() -> const Item & {
      if (!loaded)
        loaded = loadItem(k.min(k.add(index, 1), last));
      return *loaded;
    };
    if (itemsAhead())
      next();
    Values after = body({Item::of(carried.drop_front(2)), carried[0], carried[1],
                         carried.drop_front(2 + Item::size), k.lt(index, last), next});
    Values done{after.front(), k.add(carried[1], 1)};
    done.append(next().values());
    done.append(after.begin() + 1, after.end());
    return done;
  });
}

AttendParts::Values AttendParts::loop(Value from, Value to, ValueRange carried,
                                      llvm::function_ref<Values(Value, ValueRange)> body) {
  return k.loop(from, to, k.c(1), carried, body);
}

Value AttendParts::map(Type result, ValueRange inputs, llvm::function_ref<Value(Block *)> body) {
  auto op = MapOp::create(k.b, k.loc, result, inputs);
  OpBuilder::InsertionGuard guard(k.b);
  Block &block = op.getBody().emplaceBlock();
  for (Value input : inputs) {
    Type type = input.getType();
    if (isa<FragmentType>(type))
      type = k.f32();
    else if (auto rowsType = dyn_cast<RowsType>(type))
      type = rowsType.getElementType();
    else if (auto columnsType = dyn_cast<ColumnsType>(type))
      type = columnsType.getElementType();
    block.addArgument(type, k.loc);
  }
  k.b.setInsertionPointToStart(&block);
  Value value = body(&block);
  YieldOp::create(k.b, k.loc, value);
  return op.getResult();
}

Value AttendParts::map2(Value x, Value y, llvm::function_ref<Value(Value, Value)> body) {
  return map(x.getType(), {x, y}, [&](Block *b) { return body(b->getArgument(0), b->getArgument(1)); });
}

AttendParts::Value AttendParts::product(Value x, Value by) {
  return map(x.getType(), {x, by}, [&](Block *b) { return k.fmul(b->getArgument(0), b->getArgument(1)); });
}

AttendParts::Values AttendParts::choose(Value condition, ValueRange otherwise,
                                        llvm::function_ref<Values()> then) {
  auto op = scf::IfOp::create(k.b, k.loc, otherwise.getTypes(), condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(op.thenBlock());
  Values chosen = then();
  scf::YieldOp::create(k.b, k.loc, chosen);
  k.b.setInsertionPointToStart(op.elseBlock());
  scf::YieldOp::create(k.b, k.loc, otherwise);
  return Values(op.getResults());
}

AttendParts::Value AttendParts::choose(Value condition, Value otherwise, llvm::function_ref<Value()> then) {
  return choose(condition, ValueRange(otherwise), [&] { return Values{then()}; })[0];
}

AttendParts::Values AttendParts::waitAll(ValueRange fragments) {
  return Values(MmaWaitOp::create(k.b, k.loc, fragments.getTypes(), 0, fragments).getResults());
}

void AttendParts::launchLate() {
  if (build.config.dependentLaunch == DependentLaunch::Late)
    GridLaunchOp::create(k.b, k.loc);
}

//===- Masks and results -----------------------------------------------------------------------------===//

Value AttendParts::limitOf(Value row, Value length) {
  if (!build.pattern.masked)
    return length;
  Value token = k.min(k.divu(row, problem.heads), k.c(problem.queryTokens - 1));
  Value bound = k.add(k.add(length, build.pattern.boundOffset), k.mul(token, build.pattern.boundQueryFactor));
  return k.min(length, bound);
}

Value AttendParts::unmaskedTokens(const Item &item) {
  if (!build.pattern.masked)
    return item.length;
  Value firstRow = k.mul(rowBlock, build.config.rowsPerCta);
  return k.min(limitOf(firstRow, item.length),
               limitOf(k.add(firstRow, build.config.rowsPerCta - 1), item.length));
}

Value AttendParts::probabilitiesOf(Value scores, Value maxima) {
  Value zero = k.cf(0);
  return map(scores.getType(), {scores, factor, maxima}, [&](Block *b) {
    return exp2(k.fma(b->getArgument(0), b->getArgument(1), k.fsub(zero, b->getArgument(2))));
  });
}

Value AttendParts::shrinkOf(Value from, Value to) {
  return map2(from, to, [&](Value x, Value y) { return exp2(k.fsub(x, y)); });
}

void AttendParts::storeItem(const Item &item, ValueRange output, Value maxima, Value sums) {
  Value inverse = inverseOf(sums);
  Values scaled;
  for (Value part : output)
    scaled.push_back(product(part, inverse));
  float infinity = std::numeric_limits<float>::infinity();
  auto split = scf::IfOp::create(k.b, k.loc, k.lt(item.slot, 0), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(k.b);
  k.b.setInsertionPointToStart(split.thenBlock());
  storeOutput(scaled, k["out"], k.b.getBF16Type(),
              [&](Value r) { return outOffset(k, item.sequence, r, problem.heads); });
  storeLse(logarithm(maxima, sums, float(M_LN2), infinity), k["lse"],
           [&](Value r) { return lseOffset(k, item.sequence, r, problem.heads); });
  k.b.setInsertionPointToStart(split.elseBlock());
  storeOutput(scaled, k["partial_out"], k.b.getF16Type(),
              [&](Value r) { return k.mul(partialRow(item, r), k.c64(problem.valueDim)); });
  storeLse(logarithm(maxima, sums, 1, -infinity), k["partial_lse"],
           [&](Value r) { return partialRow(item, r); });
}

Value AttendParts::inverseOf(Value sums) {
  return map(sums.getType(), {sums}, [&](Block *b) {
    Value sum = b->getArgument(0);
    Value some = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, sum, k.cf(0));
    return k.select(some, RcpOp::create(k.b, k.loc, k.f32(), sum), k.cf(0));
  });
}

Value AttendParts::logarithm(Value maxima, Value sums, float unit, float empty) {
  return map2(maxima, sums, [&](Value maximum, Value sum) {
    Value log = k.fadd(maximum, Log2Op::create(k.b, k.loc, k.f32(), sum));
    Value some = arith::CmpFOp::create(k.b, k.loc, arith::CmpFPredicate::OGT, sum, k.cf(0));
    return k.select(some, k.fmul(log, k.cf(unit)), k.cf(empty));
  });
}

Value AttendParts::partialRow(const Item &item, Value row) {
  int rows = build.resources.rowBlocks * build.config.rowsPerCta;
  return k.wide(k.add(k.mul(item.slot, rows), row));
}

void AttendParts::rowRegion(Region &region, llvm::function_ref<Value(Value)> offset) {
  OpBuilder::InsertionGuard guard(k.b);
  Block &block = region.emplaceBlock();
  Value local = block.addArgument(k.i32(), k.loc);
  k.b.setInsertionPointToStart(&block);
  Value global = k.add(k.mul(rowBlock, build.config.rowsPerCta), local);
  Value where = offset(global);
  YieldOp::create(k.b, k.loc, ValueRange{where, k.lt(global, problem.rows())});
}

} // namespace lathe::codegen
