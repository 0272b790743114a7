//===- 1-describe.cpp - Lesson 1: a description --------------------------------------------------------===//
//
// A computation is described as mathematics over named dimensions. This lesson writes MLA decode by hand,
// prints it, makes a variant by editing one line, and shows what a mistake looks like. It needs no compiler
// and no GPU.
//
//===--------------------------------------------------------------------------------------------------===//
#include "lathe/dsl/Kernel.h"
#include "lathe/dsl/Print.h"
#include "lathe/dsl/models/Mla.h"
#include "lathe/support/Error.h"

#include <cstdio>

using namespace lathe::dsl;

/// Decode of 16 heads against one cached row of 512 + 64 columns a token. `window` 0: every token; else the
/// last ones.
static Kernel decode(int window) {
  // Dimensions have names. An extent that only a step knows (sequences, tokens) is left out.
  Dim b("batch"), q("query", 1), h("head", 16), t("token"), d("key", 576), v("value", 512);

  // The cache is paged: 64 tokens a page, found through a table, `lengths` tokens of it valid.
  Tensor query = input("q", bf16, {b, q, h, d});
  Tensor length = input("lengths", i32, {b});
  Paged cache = paged("kv", bf16, {t, d}, {.page = 64, .table = "block_table", .length = length});
  Scalar scale = param("scale", f32);

  // Contraction, softmax, contraction. Nothing here says "attention": the compiler recognises the pattern.
  Expr score = sum(d, query(b, q, h, d) * cache(b, t, d)) * scale;
  Expr seen = window ? t >= length(b) - window : t < length(b);
  Softmax p = softmax(t, where(seen, score));

  Kernel kernel("mla_decode");
  kernel.output("out", bf16, {b, q, h, v}) =
      sum(t, p(t) * cache(b, t, v)); // v: the first columns of the same row
  kernel.output("lse", f32, {b, h, q}) = p.logSumExp();
  return kernel;
}

int main() {
  const std::string text = print(decode(0));
  std::printf("%s\n", text.c_str());
  std::printf("With a window of 1024 tokens:\n%s\n", print(decode(1024)).c_str());

  // The text is canonical: it is what the kernel cache hashes. The library's MLA says more (causality, any
  // shape), so its text differs from ours, but two calls agree.
  MlaShape shape{.heads = 16};
  if (print(mlaDecode(shape)) != print(mlaDecode(shape)) || print(decode(0)) == print(decode(1024)))
    return 1;

  // A mistake is told when the expression is built, in its own terms.
  try {
    Dim n("row"), a("left", 576), c("right", 512);
    Tensor x = input("x", bf16, {n, a}), y = input("y", bf16, {n, c});
    Kernel wrong("wrong");
    wrong.output("z", f32, {n}) = sum(a, x(n, a) * y(n, a));
  } catch (const lathe::UserError &error) {
    std::printf("%s\n", error.what());
    return 0;
  }
  return 1; // A row of 512 columns was read with an index up to 576.
}
