//===- SharedLibrary.h - A library that is opened when it is needed ----------------------------------===//
//
// NVRTC, NCCL and cuBLAS are used where they are there, and nothing of Lathe links them: they are looked for
// by their file names, and their functions are found by name. One place for the search and for what a message
// tells about it. Called by the reference and the examples.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace lathe {

/// An open library, or why there is none. Copies mean the same library, which stays open until the process
/// ends.
class SharedLibrary {
public:
  SharedLibrary() = default;
  /// The first of `paths` that opens and has every function that `bind` asks find() for. A name without a
  /// folder is looked for on the loader's path. `bind` is called anew for each library that opens.
  static SharedLibrary open(const std::vector<std::string> &paths,
                            const std::function<void(SharedLibrary &)> &bind);

  /// Sets `function` to the library's of that name, or to null.
  template <class Function>
  void find(Function *&function, const char *name) {
    function = reinterpret_cast<Function *>(address(name));
  }

  explicit operator bool() const { return handle_ != nullptr; }
  const std::string &path() const { return path_; } ///< As it was opened.
  /// Empty where it is open, else the paths that were tried, or the last library that lacks a function and
  /// which one: "libnccl.so.2 without ncclSend".
  const std::string &failure() const { return failure_; }

private:
  void *address(const char *name);

  void *handle_ = nullptr;
  std::string path_, failure_;
  std::string missing_; ///< The first function that was not found.
};

/// Where a library of the CUDA toolkit may lie: each name on the loader's path, then in the lib64 folders of
/// CUDA_HOME, CUDA_PATH and /usr/local/cuda. `names`: the best first ("libnvrtc.so.13", "libnvrtc.so").
std::vector<std::string> cudaLibraryPaths(const std::vector<std::string> &names);

} // namespace lathe
