//===- Dump.h - Looking into a compilation -----------------------------------------------------------===//
//
// Writes intermediate texts where LATHE_DUMP asks for them and reproducers where a stage fails. Called by the
// compiler.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <functional>
#include <string>

namespace lathe::codegen {

/// LATHE_DUMP lists the family of `suffix` ("ir" for *.mlir, "ptx", "sass"): writes
/// `<LATHE_DUMP_DIR>/<name>.<suffix>`. The text is made only then. Throws UserError when the file cannot be
/// written.
void dump(const std::string &name, const std::string &suffix, const std::function<std::string()> &text);

/// Where LATHE_STOP_AFTER names `stage`: writes the text as dump() does and throws a UserError that names the
/// file.
void stopAfter(const std::string &stage, const std::string &name, const std::string &suffix,
               const std::function<std::string()> &text);

/// Writes the text below LATHE_DUMP_DIR, else the temporary directory, and returns the path; never throws.
std::string writeReproducer(const std::string &name, const std::string &suffix, const std::string &text);

} // namespace lathe::codegen
