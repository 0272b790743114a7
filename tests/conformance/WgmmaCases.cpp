// wgmma.mma_async: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions". All widths, both 16-bit
// types, A from registers and from shared memory, all layouts of both operands, several steps of depth.
#include "Cases.h"
#include "WgmmaProduct.h"

#include <fmt/format.h>

using namespace lathe;
using namespace lathe::conformance;

static constexpr int swizzles[] = {0, 32, 64, 128};

/// Every layout of A with every layout of B.
static void addLayouts(Cases &cases) {
  Random random(11); // NOLINT(bugprone-random-generator-seed): the list is always the same.
  for (bool half : {false, true})
    for (unsigned a = 0; a < 9; ++a)
      for (unsigned b = 0; b < 8; ++b) {
        WgmmaProduct form;
        form.half = half;
        form.aInRegisters = a == 8;
        form.a.mnMajor = a / 4 == 1;
        form.a.swizzleBytes = swizzles[a % 4];
        form.a.blocksAlongDepth = random() % 2;
        form.b.mnMajor = b / 4 == 1;
        form.b.swizzleBytes = swizzles[b % 4];
        form.b.blocksAlongDepth = random() % 2;
        form.b.extent = unsigned(8 * (1 + random() % 12));
        form.b.depth = 64;
        cases.push_back(makeProduct(form));
      }
}

/// Every number of columns.
static void addWidths(Cases &cases) {
  Random random(12); // NOLINT(bugprone-random-generator-seed)
  for (unsigned columns = 8; columns <= 256; columns += 8)
    for (bool half : {false, true}) {
      WgmmaProduct form;
      form.suffix = "width";
      form.half = half;
      form.aInRegisters = random() % 2;
      form.a.swizzleBytes = swizzles[random() % 4];
      form.a.mnMajor = random() % 2;
      form.b.swizzleBytes = swizzles[random() % 4];
      form.b.mnMajor = random() % 2;
      form.b.extent = columns;
      form.b.depth = unsigned(16 * (1 + random() % 4));
      form.keepsAccumulator = random() % 2;
      cases.push_back(makeProduct(form));
    }
  // And with both sources of A.
  for (unsigned columns = 8; columns <= 256; columns += 8)
    for (bool aInRegisters : {false, true}) {
      WgmmaProduct form;
      form.suffix = "every_width";
      form.aInRegisters = aInRegisters;
      form.b.mnMajor = columns % 64 == 0 && aInRegisters;
      form.b.extent = columns;
      form.b.depth = 64;
      cases.push_back(makeProduct(form));
    }
}

/// What cp.async brings, the tensor cores read: after a wait, a fence and a barrier.
static void addWithCopies(Cases &cases) {
  for (int swizzle : {0, 128})
    for (bool aInRegisters : {false, true}) {
      WgmmaProduct form;
      form.suffix = "cp_async";
      form.byCopies = true;
      form.aInRegisters = aInRegisters;
      form.a.swizzleBytes = form.b.swizzleBytes = swizzle;
      form.b.extent = 96;
      cases.push_back(makeProduct(form));
    }
}

static void addVariants(Cases &cases) {
  for (bool half : {false, true})
    for (bool aInRegisters : {false, true}) {
      WgmmaProduct form;
      form.half = half;
      form.aInRegisters = aInRegisters;
      form.b.extent = 40;
      for (unsigned signs = 1; signs < 4; ++signs) {
        form.negatesA = signs & 1;
        form.negatesB = signs & 2;
        form.suffix = fmt::format("negated_{}", signs);
        cases.push_back(makeProduct(form));
      }
      form.negatesA = form.negatesB = false;
      form.keepsAccumulator = false;
      form.suffix = "from_zero";
      cases.push_back(makeProduct(form));
      form.keepsAccumulator = true;
      form.special = true;
      form.suffix = "special";
      cases.push_back(makeProduct(form));
    }
}

/// What TMA brings and swizzles, the tensor cores read.
static void addWithTma(Cases &cases) {
  for (int swizzle : {32, 64, 128})
    for (bool aMn : {false, true})
      for (bool bMn : {false, true}) {
        WgmmaProduct form;
        form.suffix = "tma";
        form.half = swizzle == 64;
        form.byTma = true;
        form.a.swizzleBytes = form.b.swizzleBytes = swizzle;
        form.a.mnMajor = aMn;
        form.b.mnMajor = bMn;
        // A box is all rows of one swizzle's width: eight rows follow eight rows.
        form.a.blocksAlongDepth = aMn;
        form.b.blocksAlongDepth = bMn;
        form.b.extent = bMn ? 128 : 72;
        form.b.depth = 64;
        cases.push_back(makeProduct(form));
      }
}

/// Patterns that begin at an address that is no multiple of their length, and say so in the base offset.
static void addBaseOffsets(Cases &cases) {
  for (int swizzle : {32, 64, 128})
    for (bool mnMajor : {false, true})
      for (unsigned lines : {1u, 3u, 6u}) {
        if (lines % unsigned(swizzle / 16) == 0)
          continue;
        WgmmaProduct form;
        form.suffix = fmt::format("base_offset_{}", lines);
        form.a.swizzleBytes = form.b.swizzleBytes = swizzle;
        form.a.mnMajor = form.b.mnMajor = mnMajor;
        form.a.patternLines = form.b.patternLines = lines;
        form.b.extent = 64;
        form.question = "the base offset is the number of 128-byte lines from a multiple of 1024 to the "
                        "pattern's start, which "
                        "the address' lines are counted from";
        cases.push_back(makeProduct(form));
      }
}

void conformance::addWgmmaCases(Cases &cases) {
  addLayouts(cases);
  addWidths(cases);
  addVariants(cases);
  addWithTma(cases);
  addWithCopies(cases);
  addBaseOffsets(cases);
}
