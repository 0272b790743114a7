//===- Snippet.h - A few lines of PTX on the emulator ------------------------------------------------===//
//
// Puts statements into a kernel with one buffer and, where it is wanted, a tensor map, runs it, and keeps
// what it left and what was found. Called by the tests of single rules.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/runtime/device/emulator/Emulator.h"

#include <cstring>
#include <string>
#include <vector>

namespace lathe::emulatedtest {

struct Snippet {
  /// At hand: %in (the buffer), %smem, %t (thread), %cta, %lane, %first (thread 0), %map (generic address of
  /// the tensor map); for use: %r<16>, %d<8>, %f<8>, %p<4>.
  std::string text;
  unsigned threads = 32, ctas = 1, cluster = 1, sharedBytes = 16384;
  size_t bufferBytes = 65536;
  std::vector<uint32_t> words = {}; ///< The buffer's beginning; the rest is zeros.
  runtime::TensorMapSpec map = {};  ///< Where it has a rank: `base` counts from the buffer's start.
  bool mapInBuffer = false;         ///< The map is the buffer's last 128 bytes too.
  runtime::EmulatorOptions device = {};
  size_t writtenBytes = SIZE_MAX; ///< Of the buffer, before the run.
};

struct SnippetResult {
  std::string error;
  runtime::emulator::FindingList findings;
  runtime::emulator::Counters counters;
  std::vector<uint32_t> words; ///< Of the buffer.
  bool has(runtime::emulator::FindingKind kind) const { return find(kind) != nullptr; }
  const runtime::emulator::Finding *find(runtime::emulator::FindingKind kind) const;
};

SnippetResult run(const Snippet &snippet);
/// What the emulator answers to residentClusters for it.
int64_t residentClusters(const Snippet &snippet);

/// Checks that something of this kind was found, nothing else, and that the finding's text has `text` in it.
void expectFound(const SnippetResult &result, runtime::emulator::FindingKind kind, const std::string &text);
void expectClean(const SnippetResult &result);

} // namespace lathe::emulatedtest
