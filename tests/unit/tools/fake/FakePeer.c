/* The library that the tests open as a peer. It computes on the host: the test lends it functions that copy
 * from and to the device, and tells it how to behave. Built in three forms: whole, without lathe_peer_run
 * (FAKE_WITHOUT_RUN), and of another version (FAKE_VERSION). */
#include "FakePeer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifndef FAKE_VERSION
#define FAKE_VERSION LATHE_PEER_VERSION
#endif

struct lathe_peer {
  lathe_peer_problem problem;
  int32_t *lengths;
  const char *error;
};

static fake_peer_settings settings;
static int living;

LATHE_PEER_EXPORT void fake_peer_configure(const fake_peer_settings *given) { settings = *given; }
LATHE_PEER_EXPORT int fake_peer_living(void) { return living; }

int32_t lathe_peer_version(void) { return FAKE_VERSION; }

int32_t lathe_peer_create(const lathe_peer_problem *problem, lathe_peer **peer, int32_t *lse_order) {
  *peer = calloc(1, sizeof **peer);
  ++living;
  (*peer)->problem = *problem;
  *lse_order = settings.lse_order;
  if (settings.mode == FAKE_REFUSES)
    (*peer)->error = "no kernel for so many heads";
  if (settings.mode == FAKE_FAILS)
    (*peer)->error = "the toolkit is too old";
  return settings.mode == FAKE_REFUSES ? LATHE_PEER_REFUSED
         : settings.mode == FAKE_FAILS ? LATHE_PEER_FAILED
                                       : LATHE_PEER_OK;
}

int32_t lathe_peer_prepare(lathe_peer *peer, uint64_t lengths, const int32_t *host_lengths, void *stream) {
  (void)lengths, (void)stream;
  const size_t bytes = (size_t)peer->problem.batch * sizeof(int32_t);
  peer->lengths = malloc(bytes);
  memcpy(peer->lengths, host_lengths, bytes);
  return LATHE_PEER_OK;
}

static float from_bf16(uint16_t bits) {
  const uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}

static uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* One output row; answers its log-sum-exp. `cache` holds the whole cache, `pages` the sequence's table row.
 */
static float attend(const lathe_peer_problem *p, const uint16_t *q, const uint16_t *cache,
                    const int32_t *pages, int tokens, uint16_t *out) {
  double sum = 0, *sums = calloc((size_t)p->value_dim, sizeof *sums);
  for (int t = 0; t < tokens; ++t) {
    const uint16_t *row = cache + ((size_t)pages[t / p->page] * p->page + t % p->page) * p->key_dim;
    double score = 0;
    for (int i = 0; i < p->key_dim; ++i)
      score += (double)from_bf16(q[i]) * from_bf16(row[i]);
    const double weight = exp(score * p->scale);
    sum += weight;
    for (int i = 0; i < p->value_dim; ++i)
      sums[i] += weight * from_bf16(row[i]);
  }
  const double stretch = settings.mode == FAKE_WRONG ? 1.1 : 1;
  for (int i = 0; i < p->value_dim; ++i)
    out[i] = sum > 0 ? to_bf16((float)(sums[i] / sum * stretch)) : 0;
  free(sums);
  return sum > 0 ? (float)log(sum) : INFINITY;
}

static void *fetch(uint64_t from, size_t bytes) {
  void *host = malloc(bytes);
  settings.fetch(settings.device, host, from, bytes);
  return host;
}

#ifndef FAKE_WITHOUT_RUN
int32_t lathe_peer_run(lathe_peer *peer, const lathe_peer_tensors *tensors, void *stream) {
  (void)stream;
  const lathe_peer_problem *p = &peer->problem;
  if (settings.mode == FAKE_RUN_FAILS) {
    peer->error = "launch failed";
    return LATHE_PEER_FAILED;
  }
  const size_t rows = (size_t)p->heads * p->query_tokens, all = rows * p->batch;
  uint16_t *q = fetch(tensors->q, all * p->key_dim * 2);
  uint16_t *cache = fetch(tensors->kv, (size_t)p->pages * p->page * p->key_dim * 2);
  int32_t *table = fetch(tensors->block_table, (size_t)p->batch * p->block_table_stride * 4);
  uint16_t *out = malloc(all * p->value_dim * 2);
  float *lse = malloc(all * 4);
  for (int b = 0; b < p->batch; ++b)
    for (int t = 0; t < p->query_tokens; ++t)
      for (int h = 0; h < p->heads; ++h) {
        const size_t row = b * rows + (size_t)t * p->heads + h;
        const int hidden = p->causal ? p->query_tokens - 1 - t : 0;
        const size_t at = settings.lse_order == LATHE_PEER_LSE_TOKENS_FIRST
                              ? row
                              : b * rows + (size_t)h * p->query_tokens + t;
        lse[at] = attend(p, q + row * p->key_dim, cache, table + b * p->block_table_stride,
                         peer->lengths[b] - hidden, out + row * p->value_dim);
      }
  settings.store(settings.device, tensors->out, out, all * p->value_dim * 2);
  if (settings.lse_order != LATHE_PEER_LSE_NONE)
    settings.store(settings.device, tensors->lse, lse, all * 4);
  free(q), free(cache), free(table), free(out), free(lse);
  return LATHE_PEER_OK;
}
#endif

const char *lathe_peer_error(const lathe_peer *peer) { return peer->error; }

void lathe_peer_destroy(lathe_peer *peer) {
  if (!peer)
    return;
  --living;
  free(peer->lengths);
  free(peer);
}
