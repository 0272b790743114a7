#include "lathe/runtime/device/emulator/Finding.h"

#include <fmt/format.h>

using namespace lathe::runtime::emulator;

std::string_view lathe::runtime::emulator::name(FindingKind kind) {
  static constexpr std::string_view names[findingKinds] = {
      "out_of_bounds", "misaligned",     "unwritten_read",  "undefined_value",   "mma_in_flight",
      "mma_unfenced",  "proxy_unfenced", "data_race",       "transaction_count", "phase_waited_twice",
      "deadlock",      "livelock",       "register_budget", "shared_limit",      "barrier_misuse",
      "divergence",    "descriptor",     "tensor_map",      "exit_in_flight",    "illegal_instruction"};
  return names[int(kind)];
}

static std::string placeText(const CodePlace &place) {
  std::string text = fmt::format("PTX line {}: {}", place.line, place.instruction);
  if (place.tileLine > 0)
    text += fmt::format("\n      from tile line {}{}{}", place.tileLine, place.operation.empty() ? "" : ": ",
                        place.operation);
  return text;
}

std::string Finding::text() const {
  std::string text = fmt::format("{}: {}\n", name(kind), what);
  text += fmt::format("  at    {}, {}\n", kernel, placeText(place));
  if (!agent.empty())
    text +=
        fmt::format("  by    {}{}\n", agent, count > 1 ? fmt::format(" (and {} more times)", count - 1) : "");
  if (!address.empty())
    text += fmt::format("  bytes {}\n", address);
  if (other.line > 0)
    text += fmt::format("  other {}\n", placeText(other));
  if (!wayOut.empty())
    text += fmt::format("  try   {}\n", wayOut);
  return text;
}

std::string Finding::summary() const {
  std::string text = fmt::format("{}: {} ({}, PTX line {}", name(kind), what, kernel, place.line);
  if (!place.operation.empty())
    text += fmt::format(", tile line {}: {}", place.tileLine, place.operation);
  text += agent.empty() ? ")" : fmt::format(", {})", agent);
  return address.empty() ? text : fmt::format("{} [{}]", text, address);
}

std::string FindingList::text() const {
  std::string text;
  for (const Finding &finding : findings)
    text += (text.empty() ? "" : "\n") + finding.text();
  if (dropped > 0)
    text += fmt::format("\n{} more places were left out\n", dropped);
  return text;
}
