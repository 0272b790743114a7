//===- FakePeer.h - How a test tells the fake peer what to do ------------------------------------------===//
//
// Two functions that the fake library exports beside those of a peer. Plain C, for both sides.
//
//===--------------------------------------------------------------------------------------------------===//
#pragma once

#include "lathe/tools/lathe/PeerInterface.h"

#include <stddef.h>

/* NOLINTBEGIN(readability-identifier-naming): named as in C. */
#ifdef __cplusplus
extern "C" {
#endif

enum { FAKE_RIGHT, FAKE_WRONG, FAKE_REFUSES, FAKE_FAILS, FAKE_RUN_FAILS };

typedef struct fake_peer_settings {
  int mode;
  int32_t lse_order;
  void *device; /* What the two functions are called with. */
  void (*fetch)(void *device, void *to, uint64_t from, size_t bytes);
  void (*store)(void *device, uint64_t to, const void *from, size_t bytes);
} fake_peer_settings;

LATHE_PEER_EXPORT void fake_peer_configure(const fake_peer_settings *given);
/* Peers created and not destroyed. */
LATHE_PEER_EXPORT int fake_peer_living(void);

#ifdef __cplusplus
}
#endif
/* NOLINTEND(readability-identifier-naming) */
