//===- PeerInterface.h - What a library offers to be measured beside Lathe -----------------------------===//
//
// Plain C. A shared library that defines the six functions below is a peer: `lathe bench mla --against
// NAME=library.so` measures it in the same run as Lathe's kernels, in turns, on the same tensors, and checks
// its results. examples/peer is a peer to start from.
//
// One peer object serves one row of a benchmark, on one thread, in this order:
//   create                      once; may allocate, load and compile whatever it likes
//   prepare                     once, for this step's lengths; is waited for
//   run                         once as a call, checked against float64 references and against Lathe
//   run … run                   captured in CUDA graphs of several layers, each with another cache; replayed
//   destroy                     once, after the last replay
// Lathe uses the primary context of a GPU, as the CUDA runtime does, and leaves none current: begin create
// with cudaSetDevice(problem->device). Tensors are device addresses of bf16, innermost dimension contiguous.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include <stdint.h>

/* NOLINTBEGIN(readability-identifier-naming): named as in C. */
#ifdef __cplusplus
extern "C" {
#endif

/* Of this header. A library built with another one is refused. */
#define LATHE_PEER_VERSION 1

#define LATHE_PEER_EXPORT __attribute__((visibility("default")))

/* What a call can answer. Refused: the problem is not supported, which is no mistake of anybody; the row goes
 * on without this peer. Failed: something broke. lathe_peer_error tells why. */
enum { LATHE_PEER_OK = 0, LATHE_PEER_REFUSED = 1, LATHE_PEER_FAILED = 2 };

/* How a peer writes the log-sum-exp (natural logarithm, +inf where nothing is attended). */
enum {
  LATHE_PEER_LSE_HEADS_FIRST = 0,  /* [batch, heads, query_tokens] */
  LATHE_PEER_LSE_TOKENS_FIRST = 1, /* [batch, query_tokens, heads] */
  LATHE_PEER_LSE_NONE = 2          /* Not at all: it is not checked then. */
};

/* Paged MLA decode: out = softmax(scale · q · keyᵀ) · value for every sequence, head and query token. A cache
 * row of a token is its key; the leading value_dim elements of it are its value. */
typedef struct lathe_peer_problem {
  int32_t heads;        /* Query heads; all share the one cache. */
  int32_t query_tokens; /* Of each sequence: the last tokens of it. */
  int32_t key_dim;      /* 576 for DeepSeek's models. */
  int32_t value_dim;    /* 512. */
  int32_t page;         /* Tokens a page of the cache. */
  int32_t batch;        /* Sequences. */
  int32_t causal; /* 1: query token i attends to all but the last query_tokens - 1 - i tokens. 0: to all. */
  int32_t max_length;         /* Longest sequence of the row, KV tokens. */
  int64_t pages;              /* Of each cache. */
  int64_t block_table_stride; /* Elements between rows of the block table. */
  float scale;                /* Of the softmax. */
  int32_t device;             /* GPU, as the CUDA runtime counts. */
} lathe_peer_problem;

/* One layer of one step. */
typedef struct lathe_peer_tensors {
  uint64_t q;           /* [batch, query_tokens, heads, key_dim]. */
  uint64_t kv;          /* [pages, page, key_dim]. */
  uint64_t block_table; /* int32 [batch, block_table_stride]: page of each page of tokens. */
  uint64_t lengths;     /* int32 [batch]: KV tokens, the query tokens' own included. */
  uint64_t out;         /* [batch, query_tokens, heads, value_dim]; 0 where nothing is attended. */
  uint64_t lse;         /* float32, in the order that create answered. */
} lathe_peer_tensors;

/* The library's own; workspaces belong to it. */
typedef struct lathe_peer lathe_peer;

/* LATHE_PEER_VERSION of the header that the library was built with. */
LATHE_PEER_EXPORT int32_t lathe_peer_version(void);

/* Makes a peer for a problem. *lse_order is LATHE_PEER_LSE_HEADS_FIRST before the call and may be changed.
 * *peer is set in any case, also where the answer is not OK, so that lathe_peer_error can be asked; NULL: no
 * memory. */
LATHE_PEER_EXPORT int32_t lathe_peer_create(const lathe_peer_problem *problem, lathe_peer **peer,
                                            int32_t *lse_order);

/* What depends on this step's lengths (a work list, say), done once for all layers: its time is not the
 * layers'. `lengths` on the device, `host_lengths` the same on the host. Asynchronous on `stream` or not. */
LATHE_PEER_EXPORT int32_t lathe_peer_prepare(lathe_peer *peer, uint64_t lengths, const int32_t *host_lengths,
                                             void *stream);

/* One layer on `stream` (a CUstream). The first call is outside of a capture, later ones are inside: then it
 * must neither allocate nor wait. Layers of a graph run one after the other. */
LATHE_PEER_EXPORT int32_t lathe_peer_run(lathe_peer *peer, const lathe_peer_tensors *tensors, void *stream);

/* Why the last call of this peer was not OK; valid until its next call. */
LATHE_PEER_EXPORT const char *lathe_peer_error(const lathe_peer *peer);

/* Frees everything; `peer` may be one that create refused, or NULL. */
LATHE_PEER_EXPORT void lathe_peer_destroy(lathe_peer *peer);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming) */
