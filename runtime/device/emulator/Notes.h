//===- Notes.h - What the compiler says of a kernel in comments --------------------------------------===//
//
// PTX of Lathe's compiler ends in comment lines that name the tile operation of each .loc line, the roles of
// warpgroups and the buffers of shared memory. They turn addresses and lines of a finding into words. PTX
// without notes runs as well; its findings speak of bytes. Read by Program, used by the findings.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::runtime::emulator {

/// Notes of one kernel. Offsets are bytes from the start of dynamic shared memory.
struct KernelNotes {
  struct Role {
    std::string name;
    uint32_t warpgroups = 0;
  };
  /// `stages` matrices of bf16, one behind the other, in boxes of swizzle / 2 columns.
  struct Matrix {
    std::string name;
    uint32_t offset = 0, stages = 1, rows = 0, columns = 0, swizzle = 128;
    uint32_t stageBytes() const;
  };
  struct Barriers {
    std::string name;
    uint32_t offset = 0, count = 0;
  };
  struct Array {
    std::string name;
    uint32_t offset = 0, bytes = 0, elementBytes = 4;
  };

  std::vector<std::string> arguments;
  std::vector<Role> roles;
  std::vector<Matrix> matrices;
  std::vector<Barriers> barriers;
  std::vector<Array> arrays;

  /// "kv stage 2, row 17, column 40", "kv.full[1]", "byte 4711 of dynamic shared memory".
  std::string nameOf(uint32_t offset) const;
  /// "consumer 1" for the warp of a CTA, or its number where the kernel has no roles.
  std::string roleOf(uint32_t warp) const;
};

struct Notes {
  std::map<std::string, KernelNotes, std::less<>> kernels;
  std::map<int, std::string> operations; ///< By .loc line.

  /// "tile.wait" and so on of a line, whole; empty where nothing is said.
  std::string operationAt(int sourceLine) const;
};

/// Reads the comment lines "// lathe:<kind> {…}". Lines that are not well formed are left out: notes explain,
/// they never decide.
Notes readNotes(std::string_view ptx);

} // namespace lathe::runtime::emulator
