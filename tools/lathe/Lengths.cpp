//===- Lengths.cpp - Batch and sequence lengths on the command line -----------------------------------===//
//
// Spells the forms for a shell (no parentheses to quote: normal:4096:2048) and leaves their meaning to
// autotuner/Workload.
//
//===--------------------------------------------------------------------------------------------------===//
#include "Lengths.h"

#include "lathe/support/Error.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::tools;

void LengthsOptions::add(CLI::App &command, int defaultBatch, bool withSeed) {
  batch = defaultBatch;
  const char *group = "Workload";
  command.add_option("--batch", batch, "Sequences in a step")->capture_default_str()->group(group);
  auto *same = command.add_option("--tokens", tokens, "KV tokens of every sequence")->group(group);
  command
      .add_option(
          "--lengths", lengths,
          "const:N, normal:MEAN:STD, trace:FILE (or trace:INPUTS,OUTPUTS), or a name (chat, reasoning)")
      ->type_name("FORM")
      ->excludes(same)
      ->group(group);
  if (withSeed)
    command.add_option("--seed", seed, "Of the drawn lengths")->capture_default_str()->group(group);
}

static bool takePrefix(std::string &text, const std::string &prefix) {
  if (text.rfind(prefix, 0) != 0)
    return false;
  text.erase(0, prefix.size());
  return true;
}

/// normal:4096:2048 → normal(4096,2048); const: and trace: only tell the reader what follows.
static std::string workloadText(std::string text) {
  if (takePrefix(text, "normal:")) {
    const size_t colon = text.find(':');
    if (colon == std::string::npos)
      throw UserError({"--lengths", "a normal distribution is normal:MEAN:STD", "normal:" + text,
                       "for example normal:4096:2048"});
    return fmt::format("normal({},{})", text.substr(0, colon), text.substr(colon + 1));
  }
  if (!takePrefix(text, "const:"))
    takePrefix(text, "trace:");
  return text;
}

autotuner::Workload lathe::tools::parseLengths(int batch, const std::string &text, uint64_t seed) {
  return autotuner::Workload::parse(batch, workloadText(text), seed);
}

autotuner::Workload LengthsOptions::workload(int defaultTokens) const {
  return parseLengths(batch, lengths.empty() ? fmt::to_string(tokens ? tokens : defaultTokens) : lengths,
                      seed);
}
