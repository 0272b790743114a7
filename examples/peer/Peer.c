/* A library to be measured beside Lathe, without its kernels: where the launches go is marked. As it stands
 * it refuses every problem, which the benchmark prints. Run: lathe bench mla --heads 16 --batch 8 --tokens
 * 4096 --against skeleton=build/release/examples/peer_skeleton.so
 *
 * Yours needs no build system of ours: nvcc -shared -Xcompiler -fPIC -gencode arch=compute_90a,code=sm_90a
 * -I<prefix>/include -o peer.so Peer.cu, with the functions below in extern "C". */
#include "lathe/tools/lathe/PeerInterface.h"

#include <stdio.h>
#include <stdlib.h>

struct lathe_peer {
  lathe_peer_problem problem;
  char error[256];
  /* Workspaces, tensor maps, handles. */
};

int32_t lathe_peer_version(void) { return LATHE_PEER_VERSION; }

int32_t lathe_peer_create(const lathe_peer_problem *problem, lathe_peer **peer, int32_t *lse_order) {
  *peer = calloc(1, sizeof **peer); /* Also where it refuses: lathe_peer_error is asked then. */
  if (!*peer)
    return LATHE_PEER_FAILED;
  (*peer)->problem = *problem;
  *lse_order = LATHE_PEER_LSE_HEADS_FIRST;
  if (problem->key_dim != 576 || problem->value_dim != 512) {
    snprintf((*peer)->error, sizeof(*peer)->error, "serves rows of 576 with values of 512, not of %d with %d",
             problem->key_dim, problem->value_dim);
    return LATHE_PEER_REFUSED;
  }
  /* cudaSetDevice(problem->device), allocate workspaces for problem->batch. */
  snprintf((*peer)->error, sizeof(*peer)->error, "has no kernels yet");
  return LATHE_PEER_REFUSED;
}

int32_t lathe_peer_prepare(lathe_peer *peer, uint64_t lengths, const int32_t *host_lengths, void *stream) {
  (void)peer, (void)lengths, (void)host_lengths, (void)stream;
  /* A work list of this step: a kernel on `stream` that reads `lengths`, or a copy of what the host made. */
  return LATHE_PEER_OK;
}

int32_t lathe_peer_run(lathe_peer *peer, const lathe_peer_tensors *tensors, void *stream) {
  (void)peer, (void)tensors, (void)stream;
  /* kernel<<<grid, block, shared, (cudaStream_t)stream>>>(…), and cudaGetLastError() into the answer. */
  return LATHE_PEER_OK;
}

const char *lathe_peer_error(const lathe_peer *peer) { return peer->error; }

void lathe_peer_destroy(lathe_peer *peer) {
  /* Free the workspaces. */
  free(peer);
}
