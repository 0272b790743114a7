#include "Cases.h"

#include "Kernel.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

const Cases &conformance::allCases() {
  static const Cases cases = [] {
    Cases all;
    for (auto add :
         {addIntegerCases, addBitCases,        addFloatCases,       addSpecialCases,     addPackedCases,
          addConvertCases, addCompareCases,    addMoveCases,        addShuffleCases,     addMemoryCases,
          addMatrixCases,  addAtomicCases,     addCopyCases,        addMbarrierCases,    addBarrierCases,
          addBranchCases,  addTensorLoadCases, addTensorStoreCases, addBulkCases,        addClusterCases,
          addWgmmaCases,   addCacheCases,      addGridCases,        addTensorTableCases, addMmaCases})
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

std::string conformance::moduleOf(const std::string &family) {
  static constexpr std::string_view entry = ".visible .entry ";
  std::string text;
  size_t number = 0;
  for (const Case &one : allCases()) {
    if (one.family != family)
      continue;
    const size_t begin = one.ptx.find(entry);
    if (text.empty())
      text = one.ptx.substr(0, begin);
    text += fill(one.ptx.substr(begin), {{"entry test(", fmt::format("entry test{}(", number)},
                                         {"test_param_", fmt::format("param_of_{}_", number)}});
    ++number;
  }
  return text;
}
