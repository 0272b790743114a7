//===- Kernels.h - Descriptions and PTX facts for the compiler's tests -------------------------------===//
//
// Shapes of paged decode as descriptions, the configurations that serve one, and a reader of kernel entries
// in PTX text. Included by the tests of the compiler, which see no MLIR.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/codegen/Compiler.h"
#include "lathe/dsl/models/Mla.h"

#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

namespace lathe::test {

/// A cache row of `keyDim` columns whose first `valueDim` are the value.
inline dsl::MlaShape shapeOf(int heads, int queryTokens, int keyDim, int valueDim, int page) {
  return {.heads = heads,
          .latent = valueDim,
          .rope = keyDim - valueDim,
          .page = page,
          .queryTokens = queryTokens};
}

/// DeepSeek-V2-Lite: 16 heads, 576 key and 512 value columns, pages of 64 tokens.
inline dsl::Kernel liteDecode() { return dsl::mlaDecode(shapeOf(16, 1, 576, 512, 64)); }

/// Stop at PTX.
inline codegen::CompileOptions ptxOnly() {
  codegen::CompileOptions options;
  options.assemble = false;
  return options;
}

inline std::vector<codegen::Config> legalConfigs(const codegen::AttentionProblem &problem) {
  std::vector<codegen::Config> legal;
  for (const codegen::Config &config : codegen::enumerateConfigs(problem))
    if (codegen::check(problem, config, {}))
      legal.push_back(config);
  return legal;
}

/// The kernel `name` of a PTX text: its parameter list and its body.
struct PtxEntry {
  std::vector<std::string> parameters; ///< One declaration each, trimmed.
  std::string directives;              ///< Between the parameters and the body.
  std::string body;

  int count(const std::string &instruction) const {
    int found = 0;
    for (size_t at = body.find(instruction); at != std::string::npos; at = body.find(instruction, at + 1))
      ++found;
    return found;
  }
};

/// Fails the test where there is no such kernel.
inline PtxEntry entryOf(const std::string &ptx, const std::string &name) {
  PtxEntry entry;
  const size_t start = ptx.find(".visible .entry " + name + "(");
  if (start == std::string::npos) {
    ADD_FAILURE() << "no kernel " << name;
    return entry;
  }
  const size_t open = ptx.find('(', start), close = ptx.find("\n)", open);
  const size_t body = ptx.find("\n{", close), end = ptx.find("\n}", body);
  const std::string list = ptx.substr(open + 1, close - open - 1);
  static const std::regex declaration("\\.param [^,\\n]*");
  for (std::sregex_iterator it(list.begin(), list.end(), declaration), last; it != last; ++it)
    entry.parameters.push_back(it->str());
  entry.directives = ptx.substr(close + 2, body - close - 2);
  entry.body = ptx.substr(body, end - body);
  return entry;
}

} // namespace lathe::test
