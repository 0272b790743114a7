#include "lathe/runtime/device/emulator/Grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::emulator;

static constexpr uint64_t turnInstructions = 250'000; ///< Of a cluster before another gets the host thread.
static constexpr size_t findingLimit = 64;
static constexpr uint32_t threadsOfSm = 2048, ctasOfSm = 32;
static constexpr uint32_t registersOfSm = 65536;

//===- Before the run --------------------------------------------------------------------------------===//

static uint32_t registersFor(const ptx::Kernel &kernel, uint32_t threads) {
  if (kernel.maxRegisters)
    return kernel.maxRegisters;
  const uint32_t most =
      kernel.requiredThreads ? kernel.requiredThreads : std::max(kernel.maxThreads, threads);
  return std::min(255u, registersOfSm / std::max(most, 1u) / 8 * 8);
}

uint32_t emulator::residentClusters(const Program &program, const DeviceProperties &properties,
                                    uint32_t threads, uint32_t windowBytes) {
  const uint32_t space = uint32_t(properties.sharedBytesPerCta) + reservedSharedBytes;
  const uint32_t perSm =
      std::clamp(std::min(space / std::max(windowBytes, 1u), threadsOfSm / threads), 1u, ctasOfSm);
  return std::max(1u, uint32_t(properties.smCount) * perSm / program.kernel->cluster);
}

Grid::Grid(Launch launch, GlobalMemory &memory, const DeviceProperties &properties,
           const EmulatorOptions &options)
    : launch_(std::move(launch)), memory_(memory), options_(options), number_(memory.newLaunch()) {
  const LaunchShape &shape = launch_.shape;
  sharedBytes_ = program().dynamicOffset + shape.sharedBytes;
  check(properties);
  registersAtEntry_ = registersFor(*program().kernel, shape.threads);
  turns_.emplace(shape.gridX / clusterSize() * shape.gridY * shape.gridZ,
                 residentClusters(program(), properties, shape.threads, sharedBytes_));
}

void Grid::check(const DeviceProperties &properties) {
  const LaunchShape &shape = launch_.shape;
  const ptx::Kernel &kernel = *program().kernel;
  auto require = [&](bool holds, const char *rule, std::string value, const char *wayOut = "") {
    if (!holds)
      throw DeviceError({fmt::format("launching {}", program().name), rule, std::move(value), wayOut});
  };
  require(shape.threads >= 1 && shape.threads <= 1024, "a CTA must have 1 to 1024 threads",
          fmt::format("{}", shape.threads));
  require(kernel.requiredThreads == 0 || kernel.requiredThreads == shape.threads,
          "the number of threads must be the one that the kernel was compiled for",
          fmt::format("{}", shape.threads));
  require(kernel.maxThreads == 0 || kernel.maxThreads >= shape.threads,
          "the number of threads must not exceed the kernel's", fmt::format("{}", shape.threads));
  require(shape.gridX >= 1 && shape.gridY >= 1 && shape.gridZ >= 1 && shape.gridY <= 65535 &&
              shape.gridZ <= 65535,
          "a grid must have at least one CTA, and at most 65535 along y and z",
          fmt::format("{} x {} x {}", shape.gridX, shape.gridY, shape.gridZ));
  require(clusterSize() <= 16 && shape.gridX % clusterSize() == 0,
          "the grid along x must be a multiple of the cluster, of at most 16 CTAs",
          fmt::format("{} in clusters of {}", shape.gridX, clusterSize()));
  const uint32_t used = sharedBytes_ - reservedSharedBytes;
  if (used <= uint32_t(properties.sharedBytesPerCta))
    return;
  Finding finding;
  finding.kind = FindingKind::SharedLimit;
  finding.kernel = program().name;
  finding.what = fmt::format("a CTA needs {} bytes of shared memory, the GPU gives {}", used,
                             properties.sharedBytesPerCta);
  finding.wayOut = "use smaller tiles or fewer stages";
  finding.place = placeOf(0);
  finding.agent = "every CTA";
  isNew(finding.kind, 0, 0);
  add(std::move(finding), 0, 0);
}

//===- Taking turns ----------------------------------------------------------------------------------===//

/// The next turn; nothing when all clusters are done or the run is stopped.
std::optional<Turn> Grid::take(std::unique_lock<std::mutex> &lock) {
  for (;;) {
    if (stopped() || failure_)
      return std::nullopt;
    if (std::optional<Turn> turn = turns_->take())
      return turn;
    if (turns_->done())
      return std::nullopt;
    changed_.wait(lock);
  }
}

/// All of the grid waits, and none of it for something that can come.
void Grid::reportDeadlock() {
  Cluster::Waits waits;
  const std::vector<Cluster *> clusters = turns_->waiting();
  for (Cluster *cluster : clusters)
    cluster->addWaits(waits);
  std::string what = waits.text();
  if (const uint32_t others = turns_->notBegun())
    what += fmt::format("\n          {} CTAs have not begun: the GPU holds {} at a time",
                        others * clusterSize(), turns_->resident() * clusterSize());
  clusters.front()->report(
      {FindingKind::Deadlock, waits.pc, std::move(what),
       turns_->notBegun() ? "launch no more CTAs that wait for each other than the GPU holds"
                          : "look for a flag that nobody sets, or that is set and reset",
       waits.address, UINT32_MAX, waits.first ? waits.first->cluster().nameAgent(*waits.first, -1) : ""});
}

void Grid::reportLivelock() {
  for (Cluster *cluster : turns_->waiting())
    for (auto &cta : cluster->ctas())
      for (auto &warp : cta->warps)
        for (const Group &group : warp->groups())
          if (group.wait.kind == Wait::Kind::None)
            return cluster->report(
                {FindingKind::Livelock, group.pc,
                 fmt::format("{} million instructions of warps ran and nothing changed",
                             turns_->quietInstructions() / 1'000'000),
                 "look for a flag that nobody sets, or CTAs that do not fit the GPU together", "", UINT32_MAX,
                 cluster->nameAgent(*warp, -1)});
}

void Grid::watch() {
  if (stopped() || failure_)
    return;
  const bool dead = turns_->deadlocked();
  if (!dead && !turns_->livelocked())
    return;
  bool parted = false;
  if (dead)
    for (Cluster *cluster : turns_->waiting())
      parted = cluster->partLanes() || parted;
  if (parted)
    return turns_->change();
  dead ? reportDeadlock() : reportLivelock();
  stop();
}

void Grid::stopAtLimit(Cluster &cluster) {
  const Warp &warp = *cluster.ctas().front()->warps.front();
  cluster.report({FindingKind::Livelock, warp.pc,
                  fmt::format("{} instructions of warps ran and the launch has not ended: that is its limit",
                              instructions_),
                  "raise EmulatorOptions::maxInstructions", "", UINT32_MAX, cluster.nameAgent(warp, -1)});
  stop();
}

/// Runs a cluster for a turn, with the lock released.
void Grid::runTurn(Turn turn, std::unique_lock<std::mutex> &lock) {
  const uint64_t limit = options_.maxInstructions;
  const uint64_t most =
      limit ? std::clamp<uint64_t>(limit - std::min(limit, instructions_), 1, turnInstructions)
            : turnInstructions;
  lock.unlock();
  Cluster::Ended ended = Cluster::Ended::Exited;
  uint64_t left = most, state = 0;
  bool changed = false;
  std::exception_ptr failure;
  try {
    if (!turn.cluster)
      turn.cluster = std::make_unique<Cluster>(*this, turn.number);
    const uint64_t before = turn.cluster->changes();
    ended = turn.cluster->run(left, turn.patient());
    changed = turn.cluster->changes() != before;
    if (turn.isTrial && !turn.patient())
      state = turn.cluster->state();
  } catch (...) {
    failure = std::current_exception();
  }
  lock.lock();
  failure_ = failure_ ? failure_ : failure;
  instructions_ += most - left;
  const bool done = ended == Cluster::Ended::Exited;
  if (limit && instructions_ >= limit && !done)
    stopAtLimit(*turn.cluster);
  if (done && turn.cluster)
    counters_.add(turn.cluster->counters);
  turns_->giveBack(std::move(turn), ended, changed, most - left, state);
  watch();
}

void Grid::work() {
  std::unique_lock lock(mutex_);
  while (std::optional<Turn> turn = take(lock)) {
    runTurn(std::move(*turn), lock);
    changed_.notify_all();
  }
  changed_.notify_all();
}

void Grid::run() {
  const auto start = std::chrono::steady_clock::now();
  GlobalMemory::Use use = memory_.use();
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const unsigned threads =
      std::min(options_.hostThreads > 0 ? unsigned(options_.hostThreads) : cores, turns_->notBegun());
  std::vector<std::thread> helpers;
  for (unsigned i = 1; i < threads; ++i)
    helpers.emplace_back([this] { work(); });
  work();
  for (std::thread &helper : helpers)
    helper.join();
  hostMilliseconds_ =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  gatherFindings();
  if (failure_)
    std::rethrow_exception(failure_);
}

LaunchRecord Grid::record() const {
  const LaunchShape &shape = launch_.shape;
  return {program().name, shape.gridX,       shape.gridY, shape.gridZ,
          shape.threads,  shape.sharedBytes, counters_,   hostMilliseconds_};
}

//===- Findings --------------------------------------------------------------------------------------===//

bool Grid::isNew(FindingKind kind, uint32_t pc, uint64_t time) {
  std::lock_guard lock(findingsMutex_);
  auto [found, isFirst] = counts_.try_emplace({kind, pc}, Count{0, time});
  ++found->second.count;
  const bool earliest = isFirst || time < found->second.earliest;
  found->second.earliest = std::min(found->second.earliest, time);
  return earliest;
}

void Grid::add(Finding finding, uint32_t pc, uint64_t time) {
  std::lock_guard lock(findingsMutex_);
  auto same = std::find_if(kept_.begin(), kept_.end(), [&](const Kept &kept) {
    return kept.finding.kind == finding.kind && kept.pc == pc;
  });
  if (same != kept_.end())
    *same = {time, pc, std::move(finding)};
  else if (kept_.size() >= findingLimit)
    ++findings_.dropped;
  else
    kept_.push_back({time, pc, std::move(finding)});
}

void Grid::gatherFindings() {
  std::sort(kept_.begin(), kept_.end(), [](const Kept &a, const Kept &b) { return a.time < b.time; });
  for (Kept &kept : kept_) {
    kept.finding.count = std::max<uint64_t>(counts_[{kept.finding.kind, kept.pc}].count, 1);
    findings_.findings.push_back(std::move(kept.finding));
  }
}

CodePlace Grid::placeOf(uint32_t pc) const {
  if (pc >= program().lines.size())
    return {};
  const CodeLine &line = program().lines[pc];
  return {line.line, ptx::lineText(*program().module->source, line.line), line.sourceLine,
          program().notes->operationAt(line.sourceLine)};
}
