//===- Mutator.h - Changes to PTX that leave most of it PTX ------------------------------------------===//
//
// A change of one byte makes PTX that no parser takes. These move, double, drop and mix whole statements, and
// replace single words by other words of the text or of the ISA, so that most of what comes out is read and
// runs. Called by libFuzzer through LLVMFuzzerCustomMutator and LLVMFuzzerCustomCrossOver.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lathe::fuzz {

/// A few changes to a text, chosen by `random`.
std::string mutateText(const std::string &text, uint64_t random);
/// The text with a few lines of another one somewhere.
std::string mixTexts(const std::string &text, const std::string &other, uint64_t random);

} // namespace lathe::fuzz
