// shfl, vote, match, elect, redux, activemask: PTX ISA, "Data Movement: shfl.sync" and "Parallel
// Synchronization and Communication Instructions". Lanes outside the member mask do not execute the
// instruction.
#include "Cases.h"
#include "Kernel.h"

#include <fmt/format.h>

#include <algorithm>

using namespace lathe;
using namespace lathe::conformance;

static constexpr size_t threads = 256, ctas = 4, lanes = threads * ctas;

/// Three words a thread: value, and what the instruction takes besides.
struct Lane {
  uint32_t value, b, c;
};

/// Reads three words a thread into %a, %b, %c, executes where the lane is in `mask`, and stores two words, %d
/// and %x.
static std::string body(const std::string &text, uint32_t mask) {
  return fill(R"(  .reg .b32 %a, %b, %c, %d, %x, %bit;
  .reg .b64 %p;
  .reg .pred %mine, %q, %r;
  mad.wide.u32 %p, %g, 12, %in;
  ld.global.b32 %a, [%p];
  ld.global.b32 %b, [%p+4];
  ld.global.b32 %c, [%p+8];
  mov.u32 %bit, %lanemask_eq;
  and.b32 %bit, %bit, $mask;
  setp.ne.b32 %mine, %bit, 0;
  setp.gt.s32 %r, %b, 0;
  mad.wide.u32 %p, %g, 8, %out;
  @!%mine bra done;
  $text
  st.global.b32 [%p], %d;
  st.global.b32 [%p+4], %x;
done:
)",
              {{"$mask", fmt::format("{:#x}", mask)}, {"$text", text}});
}

/// result(lanes of the warp, lane): the two words of the lanes in `mask`, of which `executing` begin the
/// text.
template <class F>
static void add(Cases &cases, const std::string &name, const std::string &text, uint32_t mask,
                uint32_t executing, F result) {
  Case entry = makeCase("shuffle", name, {.threads = threads}, ctas, 0, body(text, executing));
  entry.outputBytes = lanes * 8;
  entry.input = [](Random &random) {
    Bytes bytes = randomBytes(random, lanes * sizeof(Lane));
    for (size_t i = 0; i < lanes; ++i) {
      // Segments of all widths, and the clamps that compilers write, beside any bits. Signs in bursts, for
      // the votes.
      const uint32_t width = 1u << (random() % 6), segment = (32 - width) << 8;
      if (random() % 4)
        setValue<uint32_t>(bytes, i * sizeof(Lane) + 8,
                           segment | (random() % 2   ? 31
                                      : random() % 2 ? width - 1
                                                     : 0));
      if (i / 32 % 4 < 2)
        setValue<uint32_t>(bytes, i * sizeof(Lane) + 4,
                           i / 32 % 4 ? 1 + random() % 31 : uint32_t(0) - random() % 31);
    }
    return bytes;
  };
  entry.expect = [mask, result](const Bytes &input, Expected &out) {
    for (size_t i = 0; i < lanes; ++i) {
      if (!(mask >> (i % 32) & 1))
        continue;
      Lane warp[32];
      std::memcpy(warp, input.data() + i / 32 * sizeof(warp), sizeof(warp));
      const std::pair<uint32_t, uint32_t> words = result(warp, unsigned(i % 32));
      setElement(out.bytes, 2 * i, words.first);
      setElement(out.bytes, 2 * i + 1, words.second);
    }
  };
  cases.push_back(std::move(entry));
}

template <class F>
static void add(Cases &cases, const std::string &name, const std::string &text, uint32_t mask, F result) {
  add(cases, name, text, mask, mask, result);
}

//===- shfl ------------------------------------------------------------------------------------------===//

/// The ISA's pseudo-code.
static std::pair<uint32_t, uint32_t> shuffled(char mode, const Lane *warp, int lane) {
  const int bval = int(warp[lane].b & 31), cval = int(warp[lane].c & 31),
            segmask = int(warp[lane].c >> 8 & 31);
  const int maxLane = (lane & segmask) | (cval & ~segmask), minLane = lane & segmask;
  int j = 0;
  bool inRange = false;
  if (mode == 'u')
    j = lane - bval, inRange = j >= maxLane;
  else if (mode == 'd')
    j = lane + bval, inRange = j <= maxLane;
  else if (mode == 'b')
    j = lane ^ bval, inRange = j <= maxLane;
  else
    j = minLane | (bval & ~segmask), inRange = j <= maxLane;
  return {warp[inRange ? j : lane].value, inRange};
}

static void addShuffles(Cases &cases) {
  for (const std::string_view mode : {"up", "down", "bfly", "idx"}) {
    add(cases, fmt::format("shfl.{}", mode),
        fmt::format("shfl.sync.{}.b32 %d|%q, %a, %b, %c, -1; selp.b32 %x, 1, 0, %q;", mode), ~0u,
        [mode](const Lane *warp, unsigned lane) { return shuffled(mode[0], warp, int(lane)); });
    add(cases, fmt::format("shfl.{}.no_predicate", mode),
        fmt::format("shfl.sync.{}.b32 %d, %a, %b, %c, 0xffffffff; mov.b32 %x, 7;", mode), ~0u,
        [mode](const Lane *warp, unsigned lane) {
          return std::pair(shuffled(mode[0], warp, int(lane)).first, 7u);
        });
  }
  // Lanes of a half warp among themselves.
  for (uint32_t mask : {0x0000ffffu, 0xffff0000u, 0x00ff00ffu})
    for (unsigned distance : {1u, 4u, 7u})
      add(cases, fmt::format("shfl.bfly.{}.members_{:08x}", distance, mask),
          fmt::format("shfl.sync.bfly.b32 %d|%q, %a, {}, 31, {:#x}; selp.b32 %x, 1, 0, %q;", distance, mask),
          mask,
          [distance](const Lane *warp, unsigned lane) { return std::pair(warp[lane ^ distance].value, 1u); });
}

/// Lanes that have ended are not waited for.
static void addAfterExit(Cases &cases) {
  add(cases, "shfl.down.after_exit",
      "setp.ge.u32 %q, %lane, 20; @%q ret; shfl.sync.down.b32 %d|%q, %a, 1, 18, -1; selp.b32 %x, 1, 0, %q;",
      0xfffff, ~0u, [](const Lane *warp, unsigned lane) {
        return std::pair(warp[lane < 18 ? lane + 1 : lane].value, uint32_t(lane < 18));
      });
}

//===- Votes -----------------------------------------------------------------------------------------===//

static void addVotes(Cases &cases) {
  for (uint32_t mask : {0xffffffffu, 0x0000ffffu, 0x80000001u, 0x00010000u})
    for (bool negated : {false, true}) {
      auto votes = [mask, negated](const Lane *warp) {
        uint32_t yes = 0;
        for (unsigned i = 0; i < 32; ++i)
          yes |= uint32_t((int32_t(warp[i].b) > 0) != negated) << i;
        return yes & mask;
      };
      const std::string suffix = fmt::format("{}.members_{:08x}", negated ? ".negated" : "", mask);
      const std::string operands = fmt::format("{}%r, {:#x};", negated ? "!" : "", mask);
      auto addVote = [&](const std::string &mode, auto holds) {
        add(cases, fmt::format("vote.{}{}", mode, suffix),
            fmt::format("vote.sync.{}.pred %q, {} selp.b32 %d, 1, 0, %q; mov.b32 %x, 5;", mode, operands),
            mask, [=](const Lane *warp, unsigned) { return std::pair(uint32_t(holds(votes(warp))), 5u); });
      };
      addVote("all", [mask](uint32_t yes) { return yes == mask; });
      addVote("any", [](uint32_t yes) { return yes != 0; });
      addVote("uni", [mask](uint32_t yes) { return yes == 0 || yes == mask; });
      add(cases, "vote.ballot" + suffix, "vote.sync.ballot.b32 %d, " + operands + " mov.b32 %x, 5;", mask,
          [=](const Lane *warp, unsigned) { return std::pair(votes(warp), 5u); });
    }
}

/// Values that several lanes have: some low bits of the words.
static void addMatches(Cases &cases) {
  for (uint32_t mask : {0xffffffffu, 0x0000ffffu, 0x5a5a5a5au, 0x00010000u})
    for (unsigned bits : {0u, 1u, 3u, 32u})
      for (bool wide : {false, true}) {
        const uint32_t kept = bits == 32 ? ~0u : (1u << bits) - 1;
        // Of 64 bits: the word stands high, below it something else that all lanes share or do not.
        const std::string value = wide ? fmt::format("and.b32 %a, %a, {0:#x}; and.b32 %c, %c, {0:#x}; {{ "
                                                     ".reg .b64 w; mov.b64 w, {{%c, %a}};",
                                                     kept)
                                       : fmt::format("and.b32 %a, %a, {:#x}; {{", kept);
        const char *type = wide ? "b64" : "b32", *operand = wide ? "w" : "%a";
        auto same = [=](const Lane *warp, unsigned lane) {
          uint32_t lanes = 0;
          for (unsigned i = 0; i < 32; ++i)
            lanes |= uint32_t(((warp[i].value ^ warp[lane].value) & kept) == 0 &&
                              (!wide || ((warp[i].c ^ warp[lane].c) & kept) == 0))
                     << i;
          return lanes & mask;
        };
        const std::string suffix = fmt::format("{}.of_{}_bits.members_{:08x}", type, bits, mask);
        add(cases, "match.any." + suffix,
            fmt::format("{} match.any.sync.{} %d, {}, {:#x}; }} mov.b32 %x, 2;", value, type, operand, mask),
            mask, [=](const Lane *warp, unsigned lane) { return std::pair(same(warp, lane), 2u); });
        add(cases, "match.all." + suffix,
            fmt::format("{} match.all.sync.{} %d|%q, {}, {:#x}; }} selp.b32 %x, 1, 0, %q;", value, type,
                        operand, mask),
            mask, [=](const Lane *warp, unsigned lane) {
              const bool all = same(warp, lane) == mask;
              return std::pair(all ? mask : 0u, uint32_t(all));
            });
      }
}

/// One leader, of the members, known to all of them; the ISA does not say which.
static void addElections(Cases &cases) {
  for (uint32_t mask : {0xffffffffu, 0xffff0000u, 0x00000100u, 0x5a5a5a5au}) {
    const std::string all = fmt::format("{:#x}", mask);
    add(cases, fmt::format("elect.members_{:08x}", mask),
        fill("elect.sync %d|%q, $mask; vote.sync.ballot.b32 %x, %q, $mask; shl.b32 %a, 1, %d; setp.eq.b32 "
             "%r, %x, %a; "
             "and.b32 %b, %a, $mask; setp.eq.and.b32 %r, %a, %b, %r; selp.b32 %d, 1, 0, %r; mov.b32 %x, 3;",
             {{"$mask", all}}),
        mask, [](const Lane *, unsigned) { return std::pair(1u, 3u); });
    add(cases, fmt::format("elect.lowest.members_{:08x}", mask),
        fmt::format("elect.sync %d|%q, {}; selp.b32 %x, 1, 0, %q;", all), mask,
        [mask](const Lane *, unsigned lane) {
          const auto lowest = uint32_t(std::countr_zero(mask));
          return std::pair(lowest, uint32_t(lane == lowest));
        });
    cases.back().question = "the leader is the lowest of the members";
  }
}

//===- Reductions ------------------------------------------------------------------------------------===//

template <class T, class F>
static void addReduction(Cases &cases, const std::string &opcode, F combine) {
  for (uint32_t mask : {0xffffffffu, 0x00fff000u, 0x00000002u})
    add(cases, fmt::format("redux.{}.members_{:08x}", opcode, mask),
        fmt::format("redux.sync.{} %d, %a, {:#x}; mov.b32 %x, 9;", opcode, mask), mask,
        [mask, combine](const Lane *warp, unsigned) {
          bool first = true;
          T total = 0;
          for (unsigned i = 0; i < 32; ++i)
            if (mask >> i & 1) {
              total = first ? T(warp[i].value) : T(combine(total, T(warp[i].value)));
              first = false;
            }
          return std::pair(uint32_t(total), 9u);
        });
}

static void addReductions(Cases &cases) {
  addReduction<uint32_t>(cases, "add.u32", [](uint32_t a, uint32_t b) { return a + b; });
  addReduction<uint32_t>(cases, "add.s32", [](uint32_t a, uint32_t b) { return a + b; });
  addReduction<uint32_t>(cases, "min.u32", [](uint32_t a, uint32_t b) { return std::min(a, b); });
  addReduction<int32_t>(cases, "min.s32", [](int32_t a, int32_t b) { return std::min(a, b); });
  addReduction<uint32_t>(cases, "max.u32", [](uint32_t a, uint32_t b) { return std::max(a, b); });
  addReduction<int32_t>(cases, "max.s32", [](int32_t a, int32_t b) { return std::max(a, b); });
  addReduction<uint32_t>(cases, "and.b32", [](uint32_t a, uint32_t b) { return a & b; });
  addReduction<uint32_t>(cases, "or.b32", [](uint32_t a, uint32_t b) { return a | b; });
  addReduction<uint32_t>(cases, "xor.b32", [](uint32_t a, uint32_t b) { return a ^ b; });
}

void conformance::addShuffleCases(Cases &cases) {
  addShuffles(cases);
  addAfterExit(cases);
  addVotes(cases);
  addMatches(cases);
  addElections(cases);
  addReductions(cases);
  add(cases, "activemask", "bar.warp.sync -1; activemask.b32 %d; mov.b32 %x, 1;", ~0u,
      [](const Lane *, unsigned) { return std::pair(~0u, 1u); });
}
