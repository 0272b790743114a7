#include "lathe/runtime/LoadedKernel.h"

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

uint64_t runtime::nextIdentity() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}

bool runtime::dependentLaunch(const nlohmann::json &config) {
  auto found = config.find("dependentLaunch");
  return found != config.end() && found->is_string() && found->get<std::string>() != "off";
}
