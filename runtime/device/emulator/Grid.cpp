#include "lathe/runtime/device/emulator/Grid.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

using namespace lathe;
using namespace lathe::runtime;
using namespace lathe::runtime::emulator;

static constexpr uint64_t turnInstructions = 2'000'000; ///< Of a cluster before another gets the host thread.
static constexpr uint64_t idleTurnLimit =
    64; ///< In a row, of all clusters at once, in which nothing changed.
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

Grid::Grid(Launch launch, GlobalMemory &memory, const DeviceProperties &properties,
           const EmulatorOptions &options)
    : launch_(std::move(launch)), memory_(memory), options_(options) {
  const LaunchShape &shape = launch_.shape;
  sharedBytes_ = program().dynamicOffset + shape.sharedBytes;
  check(properties);
  registersAtEntry_ = registersFor(*program().kernel, shape.threads);
  clusters_ = shape.gridX / clusterSize() * shape.gridY * shape.gridZ;
  const uint32_t bySpace =
      uint32_t(properties.sharedBytesPerCta + int(reservedSharedBytes)) / std::max(sharedBytes_, 1u);
  const uint32_t perSm = std::clamp(std::min(bySpace, threadsOfSm / shape.threads), 1u, ctasOfSm);
  resident_ = std::max(1u, uint32_t(properties.smCount) * perSm / clusterSize());
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

/// A cluster to run: one that got somewhere, else a new one, else one that spins. Null when all are done.
std::unique_ptr<Cluster> Grid::take(std::unique_lock<std::mutex> &lock) {
  auto pop = [](auto &queue) {
    auto cluster = std::move(queue.front());
    queue.pop_front();
    return cluster;
  };
  for (;;) {
    if (stopped() || failure_)
      return nullptr;
    if (!busy_.empty())
      return pop(busy_);
    if (begun_ < clusters_ && unfinished_ < resident_) {
      ++unfinished_;
      const uint32_t number = begun_++;
      lock.unlock();
      auto cluster = std::make_unique<Cluster>(*this, number);
      lock.lock();
      return cluster;
    }
    if (!idle_.empty())
      return pop(idle_);
    if (unfinished_ == 0)
      return nullptr;
    changed_.wait(lock);
  }
}

void Grid::giveBack(std::unique_ptr<Cluster> cluster, bool done) {
  const bool progressed = cluster->takeProgress();
  if (done) {
    --unfinished_;
    counters_.add(cluster->counters);
  } else {
    (progressed ? busy_ : idle_).push_back(std::move(cluster));
    watchForLivelock(progressed);
  }
  changed_.notify_all();
}

void Grid::watchForLivelock(bool progressed) {
  idleTurns_ = progressed ? 0 : idleTurns_ + 1;
  if (idleTurns_ < idleTurnLimit + 4 * idle_.size() || !busy_.empty())
    return;
  for (auto &cluster : idle_)
    for (auto &cta : cluster->ctas())
      for (auto &warp : cta->warps)
        for (const Group &group : warp->groups())
          if (group.wait.kind == Wait::Kind::None) {
            cluster->report({FindingKind::Livelock, group.pc,
                             fmt::format("{} million instructions of warps ran and nothing changed",
                                         idleTurns_ * turnInstructions / 1'000'000),
                             "look for a flag that nobody sets, or CTAs that do not fit the GPU together", "",
                             UINT32_MAX, cluster->nameAgent(*warp, -1)});
            return stop();
          }
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

void Grid::work() {
  std::unique_lock lock(mutex_);
  while (std::unique_ptr<Cluster> cluster = take(lock)) {
    const uint64_t limit = options_.maxInstructions;
    const uint64_t turn =
        limit ? std::clamp<uint64_t>(limit - std::min(limit, instructions_), 1, turnInstructions)
              : turnInstructions;
    lock.unlock();
    bool done = true;
    uint64_t left = turn;
    std::exception_ptr failure;
    try {
      done = cluster->run(left);
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    failure_ = failure_ ? failure_ : failure;
    instructions_ += turn - left;
    if (limit && instructions_ >= limit && !done)
      stopAtLimit(*cluster);
    giveBack(std::move(cluster), done);
  }
  changed_.notify_all();
}

void Grid::run() {
  const auto start = std::chrono::steady_clock::now();
  GlobalMemory::Use use = memory_.use();
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const unsigned threads =
      std::min(options_.hostThreads > 0 ? unsigned(options_.hostThreads) : cores, clusters_);
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
