#include "lathe/runtime/LoadedKernel.h"

#include <algorithm>
#include <atomic>

using namespace lathe;
using namespace lathe::runtime;

void LoadedKernel::launch(Device &device, const Grid &grid, ArgumentValues &values, Stream stream) const {
  Binding::Packed packed;
  binding_.pack(values, packed);
  LaunchShape shape;
  shape.gridX = unsigned(grid.x);
  shape.gridY = unsigned(grid.y);
  shape.threads = threads_;
  shape.sharedBytes = sharedBytes_;
  shape.dependent = grid.dependent;
  device.launch(function_, shape, packed.pointers.data(), stream);
}

int64_t LoadedKernel::residentCtas(Device &device, int ctasPerSm) const {
  const int64_t cluster = cluster_;
  const int64_t wanted = int64_t(ctasPerSm) * device.properties().smCount / cluster;
  const int64_t fit = device.residentClusters(function_, {threads_, sharedBytes_, cluster_});
  return cluster * std::max<int64_t>(1, fit > 0 ? std::min(wanted, fit) : wanted);
}

uint64_t runtime::nextIdentity() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}

bool runtime::dependentLaunch(const nlohmann::json &config) {
  auto found = config.find("dependentLaunch");
  return found != config.end() && found->is_string() && found->get<std::string>() != "off";
}
