#include "lathe/runtime/device/emulator/Clock.h"

namespace lathe::runtime::emulator {

static std::shared_ptr<const Clock> joined(const std::shared_ptr<const Clock> &a,
                                           const std::shared_ptr<const Clock> &b) {
  if (a == b)
    return a;
  auto both = std::make_shared<Clock>(*a);
  both->join(*b);
  return both;
}

OthersPtr joined(const OthersPtr &a, const OthersPtr &b) {
  if (!a || !b || a == b)
    return a ? a : b;
  auto all = std::make_shared<Others>();
  all->reserve(std::max(a->size(), b->size()));
  size_t i = 0, k = 0;
  while (i < a->size() || k < b->size()) {
    if (k == b->size() || (i < a->size() && (*a)[i].cluster < (*b)[k].cluster))
      all->push_back((*a)[i++]);
    else if (i == a->size() || (*b)[k].cluster < (*a)[i].cluster)
      all->push_back((*b)[k++]);
    else {
      all->push_back({(*a)[i].cluster, joined((*a)[i].clock, (*b)[k].clock)});
      ++i, ++k;
    }
  }
  return all;
}

const Clock *clockOf(const OthersPtr &others, uint32_t cluster) {
  if (!others)
    return nullptr;
  auto found =
      std::lower_bound(others->begin(), others->end(), cluster,
                       [](const OtherCluster &one, uint32_t number) { return one.cluster < number; });
  return found != others->end() && found->cluster == cluster ? found->clock.get() : nullptr;
}

} // namespace lathe::runtime::emulator
