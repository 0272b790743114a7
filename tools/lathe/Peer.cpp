//===- Peer.cpp - Other people's kernels, loaded and called --------------------------------------------===//
//
// dlopen, six symbols, one number to compare. Nothing of a library is called before all six are there and the
// version is ours.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Peer.h"

#include "lathe/support/Error.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::tools;

static std::string loaderReason() {
  const char *reason = dlerror();
  return reason ? reason : "no reason given";
}

template <class Function>
void PeerLibrary::find(Function *&function, const char *symbol) {
  void *address = dlsym(handle_.get(), symbol);
  if (!address)
    throw UserError(
        {fmt::format("peer {}", name_), "the library must define the functions of PeerInterface.h",
         fmt::format("no {} in {}", symbol, path_.string()), "see examples/peer; C++ needs extern \"C\""});
  function = reinterpret_cast<Function *>(address);
}

PeerLibrary::PeerLibrary(std::string name, const std::filesystem::path &path)
    : name_(std::move(name)), path_(path) {
  // A name without a folder would be searched for on the loader's path.
  const std::string file = std::filesystem::absolute(path).string();
  dlerror();
  handle_ = std::shared_ptr<void>(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL), [](void *handle) {
    if (handle)
      dlclose(handle);
  });
  if (!handle_)
    throw UserError({fmt::format("peer {}", name_), "the library must open", loaderReason(),
                     "give the path of a shared library with what it needs beside it"});
  find(version_, "lathe_peer_version");
  find(create_, "lathe_peer_create");
  find(prepare_, "lathe_peer_prepare");
  find(run_, "lathe_peer_run");
  find(error_, "lathe_peer_error");
  find(destroy_, "lathe_peer_destroy");
  if (const int32_t version = version_(); version != LATHE_PEER_VERSION)
    throw UserError({fmt::format("peer {}", name_),
                     fmt::format("the library must speak version {} of PeerInterface.h", LATHE_PEER_VERSION),
                     fmt::format("version {}", version), "build it with the header of this lathe"});
}

Peer::Peer(const PeerLibrary &library, const lathe_peer_problem &problem) : library_(library) {
  int32_t order = LATHE_PEER_LSE_HEADS_FIRST;
  const int status = library.create_(&problem, &peer_, &order);
  lseOrder_ = order;
  try {
    take(status, "create");
    if (order < LATHE_PEER_LSE_HEADS_FIRST || order > LATHE_PEER_LSE_NONE)
      throw UserError({fmt::format("peer {}", library.name()),
                       "the order of the log-sum-exp must be 0, 1 or 2", fmt::to_string(order),
                       "see PeerInterface.h"});
  } catch (const Error &) {
    library.destroy_(peer_);
    throw;
  }
}

Peer::~Peer() { library_.destroy_(peer_); }

void Peer::take(int status, const char *call) {
  if (status == LATHE_PEER_OK)
    return;
  const char *text = peer_ ? library_.error_(peer_) : nullptr;
  const std::string reason = text && *text ? text : "no reason given";
  if (status != LATHE_PEER_REFUSED)
    throw DeviceError({fmt::format("peer {}", library_.name()), fmt::format("{} failed", call), reason,
                       "drop --against, or look into the peer"});
  refusal_ = reason;
}

void Peer::prepare(uint64_t lengths, const std::vector<int> &hostLengths, void *stream) {
  take(library_.prepare_(peer_, lengths, hostLengths.data(), stream), "prepare");
}

void Peer::run(const lathe_peer_tensors &tensors, void *stream) {
  if (refusal_.empty())
    take(library_.run_(peer_, &tensors, stream), "run");
}

std::pair<std::string, std::string>
lathe::tools::splitNamed(const std::string &option, const std::string &text, const std::string &form) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  const bool named = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.';
  });
  if (equals == std::string::npos || equals + 1 == text.size() || !named)
    throw UserError({option, "must read " + form + ", the name of letters, digits, '-', '_' and '.'",
                     "'" + text + "'", ""});
  return {name, text.substr(equals + 1)};
}

std::vector<PeerLibrary> lathe::tools::openPeers(const std::vector<std::string> &texts) {
  std::vector<PeerLibrary> peers;
  for (const std::string &text : texts) {
    const auto [name, path] = splitNamed("--against", text, "NAME=library.so");
    if (std::any_of(peers.begin(), peers.end(), [&](const auto &peer) { return peer.name() == name; }))
      throw UserError({"--against", "every peer needs a name of its own", name, "rename one of them"});
    peers.emplace_back(name, path);
  }
  return peers;
}
