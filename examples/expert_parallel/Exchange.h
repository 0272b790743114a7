//===- Exchange.h - How ranks give each other rows ---------------------------------------------------===//
//
// One call in which every rank sends to and takes from every other, over NCCL, or through host memory where
// there is none: between emulators, and for one rank without the library. A rank of the example knows nothing
// else of its peers.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/Device.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lathe::examples {

/// What a rank sends to a peer, itself included, and what it takes from it. Either may be nothing.
struct Message {
  int peer = 0;
  runtime::DevicePtr from = 0;
  size_t sentBytes = 0;
  runtime::DevicePtr to = 0;
  size_t takenBytes = 0;
};

/// One rank's end. Used by the thread of its rank alone.
class Exchange {
public:
  virtual ~Exchange() = default;
  /// Every rank calls it as often as the others. The n-th message that takes something from a peer takes what
  /// the peer's n-th one for this rank sends, of the same size. Asynchronous on `stream` where the exchange
  /// can. Throws DeviceError.
  virtual void run(std::span<const Message> messages, runtime::Stream stream) = 0;
};

/// Each end through its GPU, `ordinals`, all different, and libnccl (`library`, or where it is looked for
/// when that is empty). Throws DeviceError when there is none, or when NCCL refuses.
std::vector<std::unique_ptr<Exchange>> ncclExchanges(const std::string &library,
                                                     const std::vector<int> &ordinals);
/// Whether libnccl can be opened.
bool ncclAvailable(const std::string &library);

/// Through host memory, synchronous. Two ranks may share a device.
std::vector<std::unique_ptr<Exchange>>
hostExchanges(const std::vector<std::shared_ptr<runtime::Device>> &devices);

} // namespace lathe::examples
