#include "lathe/support/Error.h"

std::string lathe::Fault::message() const {
  std::string text = place;
  if (!rule.empty())
    text += (text.empty() ? "" : ": ") + rule;
  if (!value.empty())
    text += ", got " + value;
  if (!wayOut.empty())
    text += "; " + wayOut;
  return text;
}
