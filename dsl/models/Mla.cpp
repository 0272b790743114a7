#include "lathe/dsl/models/Mla.h"

#include "lathe/support/Error.h"

using namespace lathe::dsl;

static void checkRope(const MlaShape &m) {
  if (m.rope < 0)
    throw lathe::UserError({"mla decode", "RoPE columns must not be negative", std::to_string(m.rope), ""});
}

Kernel lathe::dsl::mlaDecode(const MlaShape &m) {
  checkRope(m);
  Dim b("batch"), q("query", m.queryTokens), h("head", m.heads), t("token");
  Dim d("key", m.keyDim()), v("value", m.valueDim());

  Tensor query = input("q", bf16, {b, q, h, d});
  Tensor length = input("lengths", i32, {b});
  Paged cache = paged("kv", bf16, {t, d}, {.page = m.page, .table = "block_table", .length = length});
  Scalar scale = param("scale", f32);

  Expr score = sum(d, query(b, q, h, d) * cache(b, t, d)) * scale;
  Expr visible = m.causal ? t < length(b) - (m.queryTokens - 1 - q) : t < length(b);
  Softmax p = softmax(t, where(visible, score));

  Kernel k("mla_decode");
  k.output("out", bf16, {b, q, h, v}) = sum(t, p(t) * cache(b, t, v)); // v: the first columns of the same row
  k.output("lse", f32, {b, h, q}) = p.logSumExp();
  return k;
}
