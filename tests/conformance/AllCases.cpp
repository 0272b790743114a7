#include "Cases.h"

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

const Cases &conformance::allCases() {
  static const Cases cases = [] {
    Cases all;
    for (auto add : {addIntegerCases, addBitCases, addFloatCases, addSpecialCases, addPackedCases, addConvertCases, addCompareCases, addMoveCases, addShuffleCases, addMemoryCases, addMatrixCases, addAtomicCases, addCopyCases, addMbarrierCases, addBarrierCases, addBranchCases, addTensorLoadCases, addTensorStoreCases, addBulkCases, addClusterCases, addWgmmaCases})
      add(all);
    return all;
  }();
  return cases;
}

std::vector<std::string> conformance::families() {
  std::vector<std::string> names;
  for (const Case &entry : allCases())
    if (std::find(names.begin(), names.end(), entry.family) == names.end())
      names.push_back(entry.family);
  return names;
}
