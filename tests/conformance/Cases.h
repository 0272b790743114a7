//===- Cases.h - The list of conformance cases -------------------------------------------------------===//
//
// All cases by family, one function a file. Whoever runs conformance runs this list: the emulator's test, and
// the test that compares emulator and GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "Case.h"

namespace lathe::conformance {

using Cases = std::vector<Case>;

void addIntegerCases(Cases &cases);
void addBitCases(Cases &cases);
void addFloatCases(Cases &cases);
void addSpecialCases(Cases &cases);
void addPackedCases(Cases &cases);
void addConvertCases(Cases &cases);
void addCompareCases(Cases &cases);
void addMoveCases(Cases &cases);
void addShuffleCases(Cases &cases);
void addMemoryCases(Cases &cases);
void addAtomicCases(Cases &cases);
void addMatrixCases(Cases &cases);
void addMmaCases(Cases &cases);
void addCopyCases(Cases &cases);
void addCacheCases(Cases &cases);
void addGridCases(Cases &cases);
void addTensorLoadCases(Cases &cases);
void addTensorStoreCases(Cases &cases);
void addTensorTableCases(Cases &cases);
void addBulkCases(Cases &cases);
void addClusterCases(Cases &cases);
void addWgmmaCases(Cases &cases);
void addBranchCases(Cases &cases);
void addBarrierCases(Cases &cases);
void addMbarrierCases(Cases &cases);

/// Every case, made once.
const Cases &allCases();
/// Names of families, in order.
std::vector<std::string> families();
/// All kernels of a family in one module, under names of their own: what an assembler is asked about.
std::string moduleOf(const std::string &family);

} // namespace lathe::conformance
