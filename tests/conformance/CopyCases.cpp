// cp.async: PTX ISA, "Data Movement and Conversion Instructions: Asynchronous copy". All sizes, zeros behind
// the bytes that are read, completion by groups and by mbarriers.
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 128;

/// Reads back what a neighbour copied: `bytes` of each thread's slot of 16, into the output.
static std::string readBack(unsigned bytes) {
  std::string text =
      "  xor.b32 %r0, %t, 37;\n  mad.lo.s32 %r1, %r0, 16, %smem;\n  mad.wide.u32 %p, %t, 16, %out;\n";
  for (unsigned at = 0; at < bytes; at += 4)
    text += fmt::format("  ld.shared.b32 %r2, [%r1+{0}];\n  st.global.b32 [%p+{0}], %r2;\n", at);
  return text;
}

/// %from: the thread's slot in global memory, %to: in shared memory, %size: the bytes that are read of it.
static constexpr const char *prologue = R"(  .reg .b32 %r<8>, %to, %size;
  .reg .b64 %p, %from;
  .reg .pred %done;
  mad.wide.u32 %p, %t, 4, %in;
  ld.global.b32 %size, [%p];
  mad.wide.u32 %from, %t, 16, %in;
  add.s64 %from, %from, 512;
  mad.lo.s32 %to, %t, 16, %smem;
)";

static Bytes makeInput(Random &random, unsigned bytes) {
  Bytes input = randomBytes(random, threads * 20);
  for (size_t t = 0; t < threads; ++t)
    setElement<uint32_t>(input, t, uint32_t(random() % (bytes + 1)));
  return input;
}

static Case makeCopy(const std::string &name, unsigned bytes, bool zeroFills, const std::string &text) {
  Case entry =
      makeCase("copy", name, {.threads = threads}, 1, threads * 16 + 64, prologue + text + readBack(bytes));
  entry.element = Element::Bits8;
  entry.outputBytes = threads * 16;
  entry.input = [bytes](Random &random) { return makeInput(random, bytes); };
  entry.expect = [bytes, zeroFills](const Bytes &input, Expected &out) {
    for (size_t t = 0; t < threads; ++t) {
      const size_t other = t ^ 37, given = zeroFills ? elementAt<uint32_t>(input, other) : bytes;
      for (size_t k = 0; k < bytes; ++k)
        out.bytes[16 * t + k] = k < given ? input[512 + 16 * other + k] : std::byte(0);
    }
  };
  return entry;
}

static void addGroups(Cases &cases) {
  for (unsigned bytes : {4u, 8u, 16u})
    for (const char *cache : {"ca", "cg"}) {
      if (bytes != 16 && cache[1] == 'g')
        continue;
      for (bool zeroFills : {false, true}) {
        const std::string copy = fmt::format("  cp.async.{}.shared.global [%to], [%from], {}{};\n", cache,
                                             bytes, zeroFills ? ", %size" : "");
        const std::string name = fmt::format("{}.{}{}", cache, bytes, zeroFills ? ".zero_fill" : "");
        cases.push_back(
            makeCopy(name + ".wait_all", bytes, zeroFills, copy + "  cp.async.wait_all;\n  bar.sync 0;\n"));
        cases.push_back(
            makeCopy(name + ".wait_group", bytes, zeroFills,
                     copy + "  cp.async.commit_group;\n  cp.async.wait_group 0;\n  bar.sync 0;\n"));
      }
    }
  cases.push_back(makeCopy(
      "cg.16.hint", 16, false,
      "  cp.async.cg.shared.global.L2::128B [%to], [%from], 16;\n  cp.async.wait_all;\n  bar.sync 0;\n"));
}

/// A predicate says that nothing is read: zeros come.
static void addIgnored(Cases &cases) {
  for (bool ignores : {false, true}) {
    const std::string text =
        fmt::format("  setp.{}.u32 %done, %t, 1000;\n  cp.async.cg.shared.global [%to], [%from], "
                    "16, %done;\n  cp.async.wait_all;\n  bar.sync 0;\n",
                    ignores ? "lt" : "ge");
    Case entry = makeCopy(fmt::format("ignore_src.{}", ignores), 16, false, text);
    if (ignores)
      entry.expect = [](const Bytes &, Expected &out) {
        std::fill(out.bytes.begin(), out.bytes.end(), std::byte(0));
      };
    cases.push_back(std::move(entry));
  }
}

/// Four groups of 4 bytes each; the first two are waited for and read while the others may still run.
static void addOrder(Cases &cases) {
  std::string text;
  for (unsigned k = 0; k < 4; ++k)
    text += fmt::format("  cp.async.ca.shared.global [%to+{0}], [%from+{0}], 4;\n  cp.async.commit_group;\n",
                        4 * k);
  text +=
      "  cp.async.wait_group 2;\n  bar.sync 0;\n  xor.b32 %r0, %t, 37;\n  mad.lo.s32 %r1, %r0, 16, %smem;\n"
      "  mad.wide.u32 %p, %t, 16, %out;\n  ld.shared.v2.b32 {%r3, %r4}, [%r1];\n  st.global.v2.b32 [%p], "
      "{%r3, %r4};\n"
      "  cp.async.wait_group 0;\n  bar.sync 0;\n";
  cases.push_back(makeCopy("groups_in_order", 16, false, text));
}

/// One mbarrier behind the slots. .noinc: the copy's arrival is one of the expected ones.
static void addBarriers(Cases &cases) {
  for (bool noinc : {true, false}) {
    const std::string name = noinc ? "mbarrier_noinc" : "mbarrier";
    std::string text = R"(  add.s32 %r3, %smem, 2048;
  setp.eq.s32 %done, %t, 0;
  @%done mbarrier.init.shared.b64 [%r3], 128;
  bar.sync 0;
  cp.async.ca.shared.global [%to], [%from], 16, %size;
)";
    text += fmt::format("  cp.async.mbarrier.arrive{}.shared.b64 [%r3];\n", noinc ? ".noinc" : "");
    if (!noinc) // The copy's arrival is one more than the barrier expects, and made beside the thread's own.
      text += "  mbarrier.arrive.shared.b64 _, [%r3];\n";
    text += "wait:\n  mbarrier.try_wait.parity.shared.b64 %done, [%r3], 0;\n  @!%done bra wait;\n";
    cases.push_back(makeCopy(name, 16, true, text));
  }
}

void conformance::addCopyCases(Cases &cases) {
  addGroups(cases);
  addIgnored(cases);
  addOrder(cases);
  addBarriers(cases);
}
