//===- HostExchange.cpp - Rows through host memory ---------------------------------------------------===//
//
// What NCCL does, for ranks that it does not serve: on emulators, or on one GPU. Each rank lays what it sends
// on a table, waits until all have, and takes what is for it. Slow, and the same result.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Exchange.h"

#include <barrier>
#include <deque>

using namespace lathe;
using namespace lathe::examples;
using runtime::Device;
using runtime::Stream;

namespace {
/// Between threads: queue [from · ranks + to] is written by `from` before the barrier and read by `to` after
/// it.
struct Table {
  explicit Table(size_t ranks) : ranks(ranks), queues(ranks * ranks), barrier(std::ptrdiff_t(ranks)) {}
  std::deque<std::vector<std::byte>> &queue(int from, int to) {
    return queues[size_t(from) * ranks + size_t(to)];
  }

  size_t ranks;
  std::vector<std::deque<std::vector<std::byte>>> queues;
  std::barrier<> barrier;
};

class HostExchange final : public Exchange {
public:
  HostExchange(std::shared_ptr<Table> table, std::shared_ptr<Device> device, int rank)
      : table_(std::move(table)), device_(std::move(device)), rank_(rank) {}

  void run(std::span<const Message> messages, Stream stream) override {
    device_->synchronize(stream); // What is sent has been computed.
    for (const Message &m : messages)
      if (m.sentBytes) {
        std::vector<std::byte> &bytes = table_->queue(rank_, m.peer).emplace_back(m.sentBytes);
        device_->copyToHost(bytes.data(), m.from, bytes.size());
      }
    table_->barrier.arrive_and_wait();
    for (const Message &m : messages)
      if (m.takenBytes) {
        std::deque<std::vector<std::byte>> &queue = table_->queue(m.peer, rank_);
        device_->copyToDevice(m.to, queue.front().data(), m.takenBytes);
        queue.pop_front();
      }
    table_->barrier.arrive_and_wait(); // All queues are empty again.
  }

private:
  std::shared_ptr<Table> table_;
  std::shared_ptr<Device> device_;
  int rank_;
};
} // namespace

std::vector<std::unique_ptr<Exchange>>
lathe::examples::hostExchanges(const std::vector<std::shared_ptr<Device>> &devices) {
  const auto table = std::make_shared<Table>(devices.size());
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (size_t rank = 0; rank < devices.size(); ++rank)
    exchanges.push_back(std::make_unique<HostExchange>(table, devices[rank], int(rank)));
  return exchanges;
}
