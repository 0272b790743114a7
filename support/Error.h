//===- Error.h - The three kinds of mistakes ---------------------------------------------------------===//
//
// Mistakes of the user, of the compiler and of the device are three different types, so that a caller can
// tell "fix your input" from "file a bug" from "look at the GPU". Every message names the place, the rule,
// the value and the way out. All rooms throw these and nothing else.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace lathe {

/// What an error message is made of: "place: rule, got value; wayOut". Empty parts are left out.
struct Fault {
  std::string place;  ///< Where: "mla decode", "workload file lengths.csv, line 12".
  std::string rule;   ///< What must hold: "page size must be a multiple of 16 tokens".
  std::string value;  ///< What was found: "24".
  std::string wayOut; ///< What to do: "re-page the cache or set kvTile".

  std::string message() const;
};

/// Base of all errors of Lathe.
class Error : public std::runtime_error {
public:
  explicit Error(Fault fault) : std::runtime_error(fault.message()), fault_(std::move(fault)) {}
  const Fault &fault() const { return fault_; }

private:
  Fault fault_;
};

/// The input cannot be served as given; the message says what to change.
class UserError : public Error {
  using Error::Error;
};

/// The compiler failed on a legal input (a spill, an assembly error, an internal rule broken).
class CompileError : public Error {
  using Error::Error;
};

/// The driver or the GPU failed or is missing.
class DeviceError : public Error {
  using Error::Error;
};

} // namespace lathe
