#include "Mutator.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

using namespace lathe;

// NOLINTBEGIN(readability-identifier-naming): libFuzzer's.
extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed);
extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size, const uint8_t *otherData,
                                            size_t otherSize, uint8_t *out, size_t maxSize, unsigned seed);
// NOLINTEND(readability-identifier-naming)

namespace {

/// A piece of a text: a word with its dots, a number, or one other character.
struct Piece {
  size_t begin = 0, size = 0;
};

class TextMutator {
public:
  TextMutator(const std::string &text, uint64_t seed) : text_(text), random_(seed) {}
  std::string run();

private:
  size_t below(size_t bound) { return bound ? size_t(random_() % bound) : 0; }
  std::vector<Piece> statements() const;
  std::vector<Piece> words() const;
  std::string_view view(const Piece &piece) const {
    return std::string_view(text_).substr(piece.begin, piece.size);
  }
  void changeStatements();
  void changeWord();
  void changeModifier(const Piece &word);
  std::string replacement(std::string_view word, const std::vector<Piece> &all);

  std::string text_;
  std::mt19937_64 random_;
};

} // namespace

static constexpr std::string_view numbers[] = {"0",
                                               "1",
                                               "-1",
                                               "2",
                                               "3",
                                               "4",
                                               "7",
                                               "8",
                                               "15",
                                               "16",
                                               "31",
                                               "32",
                                               "33",
                                               "63",
                                               "64",
                                               "127",
                                               "128",
                                               "255",
                                               "256",
                                               "1024",
                                               "4095",
                                               "65535",
                                               "65536",
                                               "1048576",
                                               "0x7fffffff",
                                               "0x80000000",
                                               "0xffffffff",
                                               "0xffffffffffffffff",
                                               "0x7fffffffffffffff",
                                               "0f7F800000",
                                               "0fFF800000",
                                               "0f7FFFFFFF",
                                               "0d7FF0000000000000"};

static constexpr std::string_view modifiers[] = {"u8",
                                                 "s8",
                                                 "b8",
                                                 "u16",
                                                 "s16",
                                                 "b16",
                                                 "u32",
                                                 "s32",
                                                 "b32",
                                                 "u64",
                                                 "s64",
                                                 "b64",
                                                 "f16",
                                                 "bf16",
                                                 "f32",
                                                 "f64",
                                                 "f16x2",
                                                 "bf16x2",
                                                 "pred",
                                                 "rn",
                                                 "rz",
                                                 "ftz",
                                                 "sat",
                                                 "approx",
                                                 "lo",
                                                 "hi",
                                                 "wide",
                                                 "global",
                                                 "shared",
                                                 "shared::cta",
                                                 "shared::cluster",
                                                 "v2",
                                                 "v4",
                                                 "v8",
                                                 "add",
                                                 "min",
                                                 "max",
                                                 "exch",
                                                 "cas",
                                                 "sync",
                                                 "aligned",
                                                 "x1",
                                                 "x2",
                                                 "x4",
                                                 "trans",
                                                 "relu",
                                                 "noftz",
                                                 "1d",
                                                 "2d",
                                                 "3d",
                                                 "5d",
                                                 "rni",
                                                 "rzi",
                                                 "rmi",
                                                 "rpi",
                                                 "acquire",
                                                 "release",
                                                 "relaxed",
                                                 "gpu",
                                                 "cta",
                                                 "cluster",
                                                 "sys",
                                                 "parity",
                                                 "uni",
                                                 "volatile",
                                                 "read",
                                                 "multicast::cluster",
                                                 "bulk_group",
                                                 "eq",
                                                 "ltu"};

static constexpr std::string_view statementsOfOwn[] = {"bar.sync 0;",
                                                       "ret;",
                                                       "exit;",
                                                       "trap;",
                                                       "bra L_new; L_new:",
                                                       "{ .reg .b32 x; mov.b32 x, 1; }",
                                                       "barrier.cluster.arrive.release.aligned;",
                                                       "barrier.cluster.wait.acquire.aligned;",
                                                       "fence.proxy.async;",
                                                       "wgmma.fence.sync.aligned;",
                                                       "wgmma.commit_group.sync.aligned;",
                                                       "wgmma.wait_group.sync.aligned 0;",
                                                       "cp.async.commit_group;",
                                                       "cp.async.wait_all;",
                                                       "cp.async.bulk.commit_group;",
                                                       "cp.async.bulk.wait_group 0;",
                                                       "setmaxnreg.dec.sync.aligned.u32 24;",
                                                       "setmaxnreg.inc.sync.aligned.u32 240;",
                                                       "bar.warp.sync -1;",
                                                       "membar.gl;",
                                                       ".reg .b32 %new<300000>;",
                                                       ".shared .align 1024 .b8 big[1000000];",
                                                       ".loc 1 2 3"};

static bool isWordPart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         c == '%';
}

std::vector<Piece> TextMutator::statements() const {
  std::vector<Piece> found;
  for (size_t begin = 0; begin < text_.size();) {
    const size_t end = std::min(text_.find_first_of(";\n{}", begin), text_.size() - 1);
    found.push_back({begin, end + 1 - begin});
    begin = end + 1;
  }
  return found;
}

std::vector<Piece> TextMutator::words() const {
  std::vector<Piece> found;
  for (size_t at = 0; at < text_.size();) {
    size_t end = at;
    while (end < text_.size() &&
           (isWordPart(text_[end]) || (end > at && (text_[end] == '.' || text_[end] == ':') &&
                                       end + 1 < text_.size() && text_[end + 1] != '\n')))
      ++end;
    if (end > at)
      found.push_back({at, end - at});
    at = std::max(end, at + 1);
  }
  return found;
}

/// Moves, doubles or drops a statement, or brings in one of the list.
void TextMutator::changeStatements() {
  const std::vector<Piece> all = statements();
  if (all.empty())
    return;
  const Piece from = all[below(all.size())], to = all[below(all.size())];
  const std::string moved(view(from));
  switch (below(4)) {
  case 0:
    text_.erase(from.begin, from.size);
    return;
  case 1:
    text_.insert(to.begin, moved);
    return;
  case 2: // Later pieces first, so that earlier places stay.
    if (to.begin < from.begin) {
      text_.erase(from.begin, from.size);
      text_.insert(to.begin, moved);
    }
    return;
  default:
    text_.insert(to.begin, std::string(statementsOfOwn[below(std::size(statementsOfOwn))]) + "\n");
  }
}

/// Replaces, drops or adds a part of a dotted word.
void TextMutator::changeModifier(const Piece &word) {
  std::vector<std::string> parts{""};
  for (char c : view(word))
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  const size_t at = 1 + below(parts.size());
  const std::string other(modifiers[below(std::size(modifiers))]);
  if (at >= parts.size() || below(4) == 0)
    parts.insert(parts.begin() + long(std::min(at, parts.size())), other);
  else if (below(4) == 0)
    parts.erase(parts.begin() + long(at));
  else
    parts[at] = other;
  std::string joined = parts[0];
  for (size_t i = 1; i < parts.size(); ++i)
    joined += "." + parts[i];
  text_.replace(word.begin, word.size, joined);
}

/// Another word of the text that begins alike (a register for a register), or a number.
std::string TextMutator::replacement(std::string_view word, const std::vector<Piece> &all) {
  const bool isNumber = word[0] >= '0' && word[0] <= '9';
  if (isNumber && below(4))
    return std::string(numbers[below(std::size(numbers))]);
  std::vector<Piece> alike;
  for (const Piece &other : all)
    if (text_[other.begin] == word[0])
      alike.push_back(other);
  return alike.empty() ? std::string(word) : std::string(view(alike[below(alike.size())]));
}

void TextMutator::changeWord() {
  const std::vector<Piece> all = words();
  if (all.empty())
    return;
  const Piece word = all[below(all.size())];
  if (view(word).find('.') != std::string_view::npos && below(2))
    return changeModifier(word);
  text_.replace(word.begin, word.size, replacement(view(word), all));
}

std::string TextMutator::run() {
  for (size_t changes = 1 + below(4); changes > 0; --changes)
    if (below(2))
      changeStatements();
    else
      changeWord();
  return text_;
}

std::string fuzz::mutateText(const std::string &text, uint64_t random) {
  return TextMutator(text, random).run();
}

/// Where the lines of a text begin.
static std::vector<size_t> lineStarts(const std::string &text) {
  std::vector<size_t> starts{0};
  for (size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1))
    starts.push_back(at + 1);
  return starts;
}

std::string fuzz::mixTexts(const std::string &text, const std::string &other, uint64_t random) {
  std::mt19937_64 draw(random);
  const std::vector<size_t> to = lineStarts(text), from = lineStarts(other);
  const size_t first = draw() % from.size(), last = std::min(first + 1 + draw() % 6, from.size() - 1);
  std::string mixed = text;
  return mixed.insert(to[draw() % to.size()], other.substr(from[first], from[last] - from[first]));
}

/// The text of an input, up to a zero byte.
static std::string textOf(const uint8_t *data, size_t size) {
  const auto *end = static_cast<const uint8_t *>(std::memchr(data, 0, size));
  return {reinterpret_cast<const char *>(data), end ? size_t(end - data) : size};
}

/// The input is a text, a zero byte, and parameters: mostly the text is changed.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize, unsigned seed) {
  std::mt19937 random(seed);
  if (random() % 8 == 0)
    return LLVMFuzzerMutate(data, size, maxSize);
  const std::string before = textOf(data, size);
  const std::string tail(reinterpret_cast<const char *>(data) + before.size(), size - before.size());
  std::string text = fuzz::mutateText(before, random()) + tail;
  text.resize(std::min(text.size(), maxSize));
  std::copy(text.begin(), text.end(), data);
  return text.size();
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size, const uint8_t *otherData,
                                            size_t otherSize, uint8_t *out, size_t maxSize, unsigned seed) {
  const std::string before = textOf(data, size);
  const std::string tail(reinterpret_cast<const char *>(data) + before.size(), size - before.size());
  std::string text = fuzz::mixTexts(before, textOf(otherData, otherSize), seed) + tail;
  text.resize(std::min(text.size(), maxSize));
  std::copy(text.begin(), text.end(), out);
  return text.size();
}
