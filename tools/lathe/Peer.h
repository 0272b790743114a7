//===- Peer.h - Other people's kernels, loaded and called ----------------------------------------------===//
//
// A shared library behind PeerInterface.h as a C++ object: opened, checked and closed, its answers turned
// into errors that name the peer. Called by the rows of `lathe bench`; a peer that refuses a problem is no
// error of anybody.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "PeerInterface.h"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace lathe::tools {

/// The functions of an open library.
class PeerLibrary {
public:
  /// Throws UserError: cannot be opened (with the loader's reason), a function missing, another version.
  PeerLibrary(std::string name, const std::filesystem::path &path);

  const std::string &name() const { return name_; }
  const std::filesystem::path &path() const { return path_; }

private:
  friend class Peer;
  template <class Function>
  void find(Function *&function, const char *symbol);

  std::string name_;
  std::filesystem::path path_;
  std::shared_ptr<void> handle_;
  decltype(&lathe_peer_version) version_ = nullptr;
  decltype(&lathe_peer_create) create_ = nullptr;
  decltype(&lathe_peer_prepare) prepare_ = nullptr;
  decltype(&lathe_peer_run) run_ = nullptr;
  decltype(&lathe_peer_error) error_ = nullptr;
  decltype(&lathe_peer_destroy) destroy_ = nullptr;
};

/// A peer made for one problem. `library` must outlive it.
class Peer {
public:
  /// Throws DeviceError "peer NAME: …" where it fails; a refusal is kept.
  Peer(const PeerLibrary &library, const lathe_peer_problem &problem);
  ~Peer();
  Peer(const Peer &) = delete;
  Peer &operator=(const Peer &) = delete;

  /// Why it does not serve the problem, in its words; empty where it does. prepare() and run() may refuse
  /// too.
  const std::string &refusal() const { return refusal_; }
  int lseOrder() const { return lseOrder_; }

  /// `lengths` on the device and on the host. Throws DeviceError.
  void prepare(uint64_t lengths, const std::vector<int> &hostLengths, void *stream);
  /// One layer. Throws DeviceError. Does nothing once it has refused.
  void run(const lathe_peer_tensors &tensors, void *stream);

private:
  void take(int status, const char *call);

  const PeerLibrary &library_;
  lathe_peer *peer_ = nullptr;
  std::string refusal_;
  int lseOrder_ = LATHE_PEER_LSE_HEADS_FIRST;
};

/// "NAME=library.so", each name once. Throws UserError for another form and as PeerLibrary.
std::vector<PeerLibrary> openPeers(const std::vector<std::string> &texts);

/// What stands before and after the first '=' of an option's value; `form` tells the reader: "NAME=FILE".
/// Throws UserError. A name is letters, digits, '-', '_' and '.'.
std::pair<std::string, std::string> splitNamed(const std::string &option, const std::string &text,
                                               const std::string &form);

} // namespace lathe::tools
