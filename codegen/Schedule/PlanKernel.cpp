//===- PlanKernel.cpp - Lengths to work list, on the device ------------------------------------------===//
//
// One CTA, a thread a sequence (in chunks). Lengths become units of KV tiles, prefix sums of their cost give
// every sequence its place, and from that each thread writes its sequence's items, the workers' first items
// and the split in closed form: nothing is serial in the batch but the deal of parts. The list is
// grouped by worker and, but for what is dealt by length, sorted by sequence.
//
//   balanced  what takes least time (PlanCosts.h): one item a worker, every sequence in equal parts; or whole
//             sequences, dealt by length; or the line of all costs (overhead + units) is cut in equal shares,
//             one a worker; or equal parts, dealt by length
//   whole     a sequence goes to the worker in whose share its cost starts
//   fixed     a sequence in as many parts as its own length says, dealt by length; more than planThreads of
//             them in order, in equal counts
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/codegen/Schedule/AttentionKernels.h"
#include "lathe/codegen/Schedule/KernelBuilder.h"
#include "lathe/codegen/Schedule/PlanChoice.h"

using namespace mlir;

namespace lathe::codegen {

static constexpr int overheadUnits = planOverheadUnits;

namespace {

/// Where a sequence lies on the line of costs, and the workers that serve it.
struct Place {
  Value start;       ///< Cost of all sequences before.
  Value units;       ///< KV units, 0 for an empty sequence.
  Value firstWorker; ///< Not under the fixed policy.
  Value lastWorker;
  Value count; ///< Items.
};

class PlanBuilder {
public:
  PlanBuilder(OpBuilder &builder, const AttentionBuild &build, const KernelEntry &entry)
      : k(builder, builder.getUnknownLoc(), entry), build(build), policy(build.config.split) {}

  void run() {
    k.nameScratch("scan");
    thread = k.thread();
    Value total = overBatch({k.c(0)}, [&](Value sequence, Value inside, ValueRange carried) {
      return SmallVector<Value>{k.add(carried[0], blockScan(costOf(sequence, inside)).total)};
    })[0];
    share = k.divu(total, k["workers"]);
    longerShares = k.sub(total, k.mul(share, k["workers"]));
    choose(total);
    if (policy == SplitPolicy::Balanced) {
      k.when(whole, [&] { storeWhole(); });
      k.when(k.bxor(whole, k.yes()), [&] { planSequences(); });
    } else {
      planSequences();
    }
    k.finish();
  }

private:
  void planSequences() {
    SmallVector<Value> ends =
        overBatch({k.c(0), k.c(0), k.c(0), k.c(0)}, [&](Value sequence, Value inside, ValueRange carried) {
          return planSequence(sequence, inside, carried);
        });
    closeSplits(ends[3]);
    finishWorkers(ends[0], ends[1]);
  }

  struct Scan {
    Value exclusive, total;
  };

  /// body(sequence, inside, carried) for each chunk of the batch; `inside` false past its end.
  SmallVector<Value> overBatch(ValueRange init,
                               llvm::function_ref<SmallVector<Value>(Value, Value, ValueRange)> body) {
    auto op = scf::ForOp::create(k.b, k.loc, k.c(0), k["batch"], k.c(planThreads), init);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.getBody());
    Value sequence = k.add(op.getInductionVar(), thread);
    scf::YieldOp::create(k.b, k.loc, body(sequence, k.lt(sequence, k["batch"]), op.getRegionIterArgs()));
    return SmallVector<Value>(op.getResults());
  }

  /// KV units of a sequence; a negative length counts as 0.
  Value unitsOf(Value sequence, Value inside) {
    Value safe = k.select(inside, sequence, k.c(0));
    Value length = k.max(loadI32(k, k["lengths"], safe), k.c(0));
    return k.select(inside, k.divu(k.add(length, build.unitTokens() - 1), build.unitTokens()), k.c(0));
  }
  Value costOf(Value sequence, Value inside) {
    return k.select(inside, k.add(unitsOf(sequence, inside), overheadUnits), k.c(0));
  }

  Value inclusiveWarpScan(Value value) {
    Value lane = k.lane();
    for (int distance = 1; distance < 32; distance *= 2) {
      Value below = k.shuffle(value, k.c(distance), NVVM::ShflKind::up);
      value = k.add(value, k.select(k.lt(lane, distance), k.c(0), below));
    }
    return value;
  }

  /// Sum of the values of all threads before this one, and of all threads. Every thread calls it.
  Scan blockScan(Value value) {
    Value inclusive = inclusiveWarpScan(value), warp = k.shr(thread, 5);
    k.when(k.eq(k.lane(), 31), [&] { k.store(inclusive, k.at(k.shared(), k.mul(warp, 4))); });
    NVVM::Barrier0Op::create(k.b, k.loc);
    Value sums = inclusiveWarpScan(k.load(k.i32(), k.at(k.shared(), k.mul(k.lane(), 4))));
    NVVM::Barrier0Op::create(k.b, k.loc); // The next scan writes the same words.
    Value before = k.shuffle(sums, k.max(k.sub(warp, 1), k.c(0)), NVVM::ShflKind::idx);
    before = k.select(k.eq(warp, 0), k.c(0), before);
    return {k.add(before, k.sub(inclusive, value)), k.shuffle(sums, k.c(31), NVVM::ShflKind::idx)};
  }

  /// condition ? then() : otherwise.
  template <class Then>
  Value chosen(Value condition, Value otherwise, Then then) {
    auto op = scf::IfOp::create(k.b, k.loc, TypeRange{otherwise.getType()}, condition, true);
    OpBuilder::InsertionGuard guard(k.b);
    k.b.setInsertionPointToStart(op.elseBlock());
    scf::YieldOp::create(k.b, k.loc, ValueRange{otherwise});
    k.b.setInsertionPointToStart(op.thenBlock());
    scf::YieldOp::create(k.b, k.loc, ValueRange{then()});
    return op.getResult(0);
  }

  /// Balanced: one item a worker, whole sequences, the cut line, or parts that are dealt.
  void choose(Value cost) {
    longestPart = k.c(0);
    if (policy == SplitPolicy::Balanced) {
      Value few = k.ge(k["workers"], k["batch"]), weighed = k.ge(k.c(planThreads), k["batch"]);
      Value none = k.eq(k.c(0), k.c(1)), total = k.sub(cost, k.mul(k["batch"], overheadUnits));
      const PlanCosts costs = planCosts(build.config);
      auto batch = [&] {
        Value longer = k.select(k.lt(k.c(0), longerShares), k.c(1), k.c(0));
        Value longest = k.max(k.add(share, longer), k.c(1));
        Value memory = k["memory_gbs"], half = k.shr(memory, 1);
        Value memoryNs = k.divu(k.add(half, planMemoryWork(build.config)), memory);
        memoryNs = k.max(k.min(memoryNs, k.c(planMostMemoryNs)), k.c(1));
        return PlanBatch{unitsOf(thread, k.lt(thread, k["batch"])), total, longest, memoryNs,
                         [this](Value value) { return blockScan(value).exclusive; }};
      };
      longestPart =
          chosen(k.select(few, weighed, none), k.c(0), [&] { return chooseLongestPart(k, costs, batch()); });
      whole = chosen(k.select(few, none, weighed), none, [&] { return chooseWhole(k, costs, batch()); });
      Value part = chosen(k.band(dealsParts(), k.bxor(whole, k.yes())), k.c(0),
                          [&] { return chooseDealtPart(k, costs, batch(), longestPart); });
      dealt = k.lt(k.c(0), part);
      longestPart = k.select(dealt, part, longestPart);
    }
    oneItem = k.lt(k.c(0), longestPart);
  }

  /// As planDealsParts().
  Value dealsParts() {
    Value some = k.band(k.ge(k.mul(k["batch"], 2), k["workers"]), k.ge(k.c(planThreads), k["batch"]));
    return k.band(k.band(some, k.lt(k.c(0), k["batch"])), k.ge(k.c(planDealtWorkers), k["workers"]));
  }

  /// Whole sequences, of which the choice has left the order: a thread an item and a worker.
  void storeWhole() {
    PlanDeal deal(k);
    k.when(k.lt(thread, k["batch"]), [&] {
      Value sequence = deal.order.index(thread);
      storeItem({sequence, k.c(0), unitsOf(sequence, k.yes()), k.c(-1)}, deal.item(thread));
    });
    k.when(k.ge(k["workers"], thread), [&] { storeI32(k, deal.begin(thread), k["worker_begin"], thread); });
    closeSplits(k.c(0));
  }

  /// An entry of the list of split sequences.
  void storeSplit(Value rank, Value sequence, Value firstSlot, Value parts) {
    Value at = k.mul(rank, splitWords);
    for (auto [i, word] : llvm::enumerate(SmallVector<Value>{sequence, firstSlot, parts, k.c(0)}))
      storeI32(k, word, k["splits"], k.add(at, int64_t(i)));
  }
  /// The rest of the list, of so many: without parts.
  void closeSplits(Value count) {
    if (policy == SplitPolicy::Whole)
      return;
    k.loop(k.add(count, thread), splitEntries(k, policy), k.c(planThreads),
           [&](Value rank) { storeSplit(rank, k.c(0), k.c(-1), k.c(0)); });
  }

  /// The worker in whose share a place on the line of costs lies, and where a share begins (PlanShares).
  Value workerAt(Value cost) {
    Value rest = k.sub(cost, k.mul(longerShares, k.add(share, 1))), early = k.lt(rest, 0);
    Value length = k.select(early, k.add(share, 1), k.max(share, k.c(1)));
    return k.add(k.divu(k.select(early, cost, rest), length), k.select(early, k.c(0), longerShares));
  }
  Value shareBegin(Value worker) { return k.add(k.mul(worker, share), k.min(worker, longerShares)); }

  /// Balanced and whole: the workers of a sequence that starts at `start` on the line of costs.
  void assignWorkers(Place &place) {
    place.firstWorker = place.lastWorker = workerAt(place.start);
    place.count = k.c(1);
    if (policy == SplitPolicy::Whole)
      return;
    Value some = k.lt(k.c(0), place.units), block = k.add(place.start, overheadUnits);
    place.firstWorker = k.select(some, workerAt(block), place.firstWorker);
    place.lastWorker = k.select(some, workerAt(k.sub(k.add(block, place.units), 1)), place.lastWorker);
    place.count = k.add(k.sub(place.lastWorker, place.firstWorker), 1);
  }

  void countItems(Place &place) {
    if (policy == SplitPolicy::Fixed) {
      place.count = equalParts(place.units);
      return;
    }
    assignWorkers(place);
    if (policy == SplitPolicy::Balanced)
      place.count = k.select(oneItem, equalParts(place.units), place.count);
  }

  /// Under the fixed policy, and with one item a worker.
  Value equalParts(Value units) {
    if (policy == SplitPolicy::Fixed) {
      const int partUnits = fixedPartUnits(build.config);
      Value parts = k.divu(k.add(units, partUnits - 1), k.c(partUnits));
      return k.max(k.min(parts, k.c(build.config.fixedSplits)), k.c(1));
    }
    Value part = k.max(longestPart, k.c(1));
    return k.max(k.divu(k.add(units, k.sub(part, 1)), part), k.c(1));
  }

  /// carried: cost, items, slots and split sequences of all chunks before.
  SmallVector<Value> planSequence(Value sequence, Value inside, ValueRange carried) {
    Scan cost = blockScan(costOf(sequence, inside));
    Place place;
    place.units = unitsOf(sequence, inside);
    place.start = k.add(carried[0], cost.exclusive);
    countItems(place);
    place.count = k.select(inside, place.count, k.c(0));
    Scan items = blockScan(place.count);
    Value split = k.lt(k.c(1), place.count);
    Scan slots = blockScan(k.select(split, place.count, k.c(0)));
    Scan splits = blockScan(k.select(split, k.c(1), k.c(0)));
    Value firstItem = k.add(carried[1], items.exclusive);
    Value firstSlot = k.select(split, k.add(carried[2], slots.exclusive), k.c(-1));
    k.when(inside, [&] {
      k.when(split,
             [&] { storeSplit(k.add(carried[3], splits.exclusive), sequence, firstSlot, place.count); });
      k.loop(k.c(0), place.count, k.c(1),
             [&](Value part) { storePart(sequence, place, part, firstItem, firstSlot); });
      if (policy != SplitPolicy::Fixed)
        k.when(k.eq(longestPart, 0), [&] { storeWorkers(sequence, place, firstItem); });
    });
    return {k.add(carried[0], cost.total), k.add(carried[1], items.total), k.add(carried[2], slots.total),
            k.add(carried[3], splits.total)};
  }

  /// First unit of part `part`; part `count` gives the end.
  Value partBegin(const Place &place, Value part) {
    if (policy == SplitPolicy::Fixed)
      return k.divu(k.mul(place.units, part), k.max(place.count, k.c(1)));
    if (policy == SplitPolicy::Whole)
      return k.mul(place.units, part);
    Value cut = k.sub(shareBegin(k.add(place.firstWorker, part)), k.add(place.start, overheadUnits));
    // Equal parts: the first units mod count have one unit more.
    Value each = k.divu(place.units, k.max(place.count, k.c(1)));
    Value longer = k.min(part, k.sub(place.units, k.mul(each, place.count)));
    return k.select(oneItem, k.add(k.mul(part, each), longer), k.max(k.min(cut, place.units), k.c(0)));
  }

  struct Item {
    Value sequence, begin, end, slot;
  };
  void storeItem(const Item &item, Value index) {
    Value at = k.mul(index, workItemWords);
    storeI32(k, item.sequence, k["items"], at);
    storeI32(k, item.begin, k["items"], k.add(at, 1));
    storeI32(k, item.end, k["items"], k.add(at, 2));
    storeI32(k, item.slot, k["items"], k.add(at, 3));
    storeI32(k, k.max(loadI32(k, k["lengths"], item.sequence), k.c(0)), k["items"], k.add(at, 4));
  }
  void storePart(Value sequence, const Place &place, Value part, Value firstItem, Value firstSlot) {
    Value slot = k.select(k.lt(firstSlot, 0), firstSlot, k.add(firstSlot, part));
    storeItem({sequence, partBegin(place, part), partBegin(place, k.add(part, 1)), slot},
              k.add(firstItem, part));
  }

  /// The workers from the one after the previous sequence's last up to this one's last start with items of
  /// this sequence.
  void storeWorkers(Value sequence, const Place &place, Value firstItem) {
    Place previous;
    Value first = k.eq(sequence, 0);
    Value before = k.max(k.sub(sequence, 1), k.c(0));
    previous.units = unitsOf(before, k.yes());
    previous.start = k.sub(place.start, k.add(previous.units, overheadUnits));
    assignWorkers(previous);
    Value from = k.select(first, k.c(0), k.add(previous.lastWorker, 1));
    k.loop(from, k.add(place.lastWorker, 1), k.c(1), [&](Value worker) {
      Value part = k.max(k.sub(worker, place.firstWorker), k.c(0));
      storeI32(k, k.add(firstItem, part), k["worker_begin"], worker);
    });
  }

  /// Items in order, equal counts for all workers; fewer items than workers are spread over them, and so over
  /// the multiprocessors.
  void dealItems(Value items) {
    k.loop(thread, k.add(k["workers"], 1), k.c(planThreads), [&](Value worker) {
      // Item i belongs to worker floor(i · workers / items): the first of worker w is ceil(w · items /
      // workers).
      Value product = LLVM::MulOp::create(k.b, k.loc, k.wide(worker), k.wide(items));
      Value rounded = LLVM::AddOp::create(k.b, k.loc, product, k.wide(k.sub(k["workers"], 1)));
      Value first = LLVM::UDivOp::create(k.b, k.loc, rounded, k.wide(k["workers"]));
      storeI32(k, LLVM::TruncOp::create(k.b, k.loc, k.i32(), first), k["worker_begin"], worker);
    });
  }

  Value itemAddress(Value index) {
    return k.at(k["items"], k.wide(k.mul(index, int64_t(workItemWords) * 4)));
  }
  /// Sequence, first unit, last unit, slot.
  Value entryAt(Value address) { return k.load(VectorType::get({4}, k.i32()), address); }

  /// Fixed: deals by length what planDealsFixed() says; whether it has.
  Value dealFixed(Value items) {
    Value several = k.band(k.lt(k["workers"], items), k.ge(k.c(planThreads), items));
    several = k.band(several, k.ge(k.c(planDealtWorkers), k["workers"]));
    return chosen(several, k.eq(k.c(0), k.c(1)), [&] {
      PlanLongest longest(k, planCosts(build.config));
      NVVM::Barrier0Op::create(k.b, k.loc); // Behind those who wrote the items.
      Value last = k.sub(items, 1), mine = entryAt(itemAddress(k.min(thread, last)));
      auto word = [&](int64_t i) { return LLVM::ExtractElementOp::create(k.b, k.loc, mine, k.c(i)); };
      Value units = k.select(k.lt(thread, items), k.sub(word(2), word(1)), k.c(0));
      longest.order.sort(units, items);
      Value uneven = k.lt(longest.order.units(last), longest.order.units(k.c(0)));
      k.when(k.band(uneven, k.lt(thread, 32)), [&] { longest.give(items); });
      return uneven;
    });
  }

  /// Items into the order of their workers, as they have been dealt.
  void storeDealt(Value items) {
    PlanLongest longest(k, planCosts(build.config));
    NVVM::Barrier0Op::create(k.b, k.loc); // Behind those who wrote them, and the deal.
    Value inside = k.lt(thread, items);
    Value from = itemAddress(k.min(longest.order.index(thread), k.sub(items, 1)));
    Value entry = entryAt(from), length = k.load(k.i32(), k.at(from, 16));
    auto [count, before] = longest.tally(items);
    Value begin = blockScan(count).exclusive; // All are read behind its barriers.
    longest.setBegin(thread, begin);
    NVVM::Barrier0Op::create(k.b, k.loc);
    k.when(inside, [&] {
      Value to = itemAddress(longest.place(thread, before));
      k.store(entry, to);
      k.store(length, k.at(to, 16));
    });
    k.when(k.ge(k["workers"], thread), [&] { storeI32(k, begin, k["worker_begin"], thread); });
  }

  /// What the sequences could not write: all workers where items are dealt, else those after the last item.
  void finishWorkers(Value cost, Value items) {
    switch (policy) {
    case SplitPolicy::Fixed:
      return storeDealtOr(dealFixed(items), items, [&] { dealItems(items); });
    case SplitPolicy::Whole:
      return closeWorkers(cost, items);
    case SplitPolicy::Balanced:
      return storeDealtOr(dealt, items, [&] {
        k.when(oneItem, [&] { dealItems(items); });
        k.when(k.bxor(oneItem, k.yes()), [&] { closeWorkers(cost, items); });
      });
    }
  }
  void storeDealtOr(Value dealt, Value items, llvm::function_ref<void()> other) {
    k.when(dealt, [&] { storeDealt(items); });
    k.when(k.bxor(dealt, k.yes()), other);
  }
  void closeWorkers(Value cost, Value items) {
    Value lastSequence = k.max(k.sub(k["batch"], 1), k.c(0));
    Place last;
    last.units = unitsOf(lastSequence, k.lt(k.c(0), k["batch"]));
    last.start = k.sub(cost, k.add(last.units, overheadUnits));
    assignWorkers(last);
    Value from = k.select(k.lt(k.c(0), k["batch"]), k.add(last.lastWorker, 1), k.c(0));
    k.loop(k.add(from, thread), k.add(k["workers"], 1), k.c(planThreads),
           [&](Value worker) { storeI32(k, items, k["worker_begin"], worker); });
  }

  KernelBuilder k;
  const AttentionBuild &build;
  SplitPolicy policy;
  Value thread;
  Value share, longerShares;  ///< Of the line of costs; so many have a unit more.
  Value longestPart, oneItem; ///< Units with one item a worker, or 0; whether it is that.
  Value whole, dealt;         ///< Balanced: whole sequences; parts of at most longestPart, dealt.
};

} // namespace

/// Each worker's share cuts at most one sequence; or less.
Value splitEntries(KernelBuilder &k, SplitPolicy policy) {
  return policy == SplitPolicy::Fixed ? k["batch"] : k.min(k["batch"], k["workers"]);
}

void buildPlanKernel(OpBuilder &builder, const AttentionBuild &build, KernelEntry &entry) {
  entry.name = "plan";
  entry.threads = planThreads;
  entry.sharedBytes = planSharedBytes;
  entry.arguments = {{"pointer", "lengths"}, {"i32", "batch"},     {"i32", "workers"},
                     {"i32", "memory_gbs"},  {"pointer", "items"}, {"pointer", "worker_begin"},
                     {"pointer", "splits"}};
  PlanBuilder(builder, build, entry).run();
}

} // namespace lathe::codegen
