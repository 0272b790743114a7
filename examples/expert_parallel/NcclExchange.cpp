//===- NcclExchange.cpp - Rows from GPU to GPU -------------------------------------------------------===//
//
// All messages of a call are one NCCL group: they run at once, and in no order that could lock ranks up. NCCL
// makes each communicator's GPU current itself, and takes the stream of the runtime as it is.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Exchange.h"
#include "Nccl.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::examples;

Nccl Nccl::open(const std::string &path) {
  Nccl nccl;
  nccl.shared = SharedLibrary::open(path.empty() ? cudaLibraryPaths({"libnccl.so.2"}) : std::vector{path},
                                    [&](SharedLibrary &library) {
                                      library.find(nccl.commInitAll, "ncclCommInitAll");
                                      library.find(nccl.commDestroy, "ncclCommDestroy");
                                      library.find(nccl.groupStart, "ncclGroupStart");
                                      library.find(nccl.groupEnd, "ncclGroupEnd");
                                      library.find(nccl.send, "ncclSend");
                                      library.find(nccl.receive, "ncclRecv");
                                      library.find(nccl.getErrorString, "ncclGetErrorString");
                                    });
  return nccl;
}

void Nccl::check(int result, const char *what) const {
  if (result != success)
    throw DeviceError({what, "NCCL must succeed", fmt::format("{} ({})", result, getErrorString(result)),
                       "run again with NCCL_DEBUG=WARN, which tells more"});
}

namespace {
class NcclExchange final : public Exchange {
public:
  NcclExchange(std::shared_ptr<const Nccl> nccl, Nccl::Communicator communicator)
      : nccl_(std::move(nccl)), communicator_(communicator) {}
  ~NcclExchange() override { nccl_->commDestroy(communicator_); }
  NcclExchange(const NcclExchange &) = delete;
  NcclExchange &operator=(const NcclExchange &) = delete;

  void run(std::span<const Message> messages, runtime::Stream stream) override {
    nccl_->check(nccl_->groupStart(), "ncclGroupStart");
    for (const Message &message : messages)
      enqueue(message, stream);
    nccl_->check(nccl_->groupEnd(), "ncclGroupEnd");
  }

private:
  void enqueue(const Message &m, runtime::Stream stream) const {
    // NOLINTBEGIN(performance-no-int-to-ptr): NCCL takes addresses as pointers.
    if (m.sentBytes)
      nccl_->check(nccl_->send(reinterpret_cast<const void *>(m.from), m.sentBytes, Nccl::byteElement, m.peer,
                               communicator_, stream.handle),
                   "ncclSend");
    if (m.takenBytes)
      nccl_->check(nccl_->receive(reinterpret_cast<void *>(m.to), m.takenBytes, Nccl::byteElement, m.peer,
                                  communicator_, stream.handle),
                   "ncclRecv");
    // NOLINTEND(performance-no-int-to-ptr)
  }

  std::shared_ptr<const Nccl> nccl_;
  Nccl::Communicator communicator_;
};
} // namespace

bool lathe::examples::ncclAvailable(const std::string &library) { return bool(Nccl::open(library).shared); }

std::vector<std::unique_ptr<Exchange>> lathe::examples::ncclExchanges(const std::string &library,
                                                                      const std::vector<int> &ordinals) {
  const auto nccl = std::make_shared<const Nccl>(Nccl::open(library));
  if (!nccl->shared)
    throw DeviceError({"expert parallelism", "libnccl.so.2 must be there", nccl->shared.failure(),
                       "install NCCL, name its file with --nccl, or take --exchange host"});
  std::vector<Nccl::Communicator> communicators(ordinals.size());
  nccl->check(nccl->commInitAll(communicators.data(), int(ordinals.size()), ordinals.data()),
              "ncclCommInitAll");
  std::vector<std::unique_ptr<Exchange>> exchanges;
  for (Nccl::Communicator communicator : communicators)
    exchanges.push_back(std::make_unique<NcclExchange>(nccl, communicator));
  return exchanges;
}
