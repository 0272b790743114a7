//===- Alone.h - The sequences of a batch, each by itself ----------------------------------------------===//
//
// Checks what batch invariance promises: a sequence has the same result alone and in its batch, bit for bit,
// whatever the number of workers. Called by the judge for kernels that were asked to be batch-invariant.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/reference/AttentionReference.h"

#include <string>

namespace lathe::tools {

/// Runs every sequence of `instance`, whose outputs hold the result of the whole batch, alone, in turns with
/// as many workers as the GPU runs at once and with few. Empty: the same bits; else the first place that
/// differs. Synchronous. Overwrites the outputs.
std::string faultOfAlone(const runtime::Kernel &kernel, const reference::AttentionInstance &instance);

} // namespace lathe::tools
