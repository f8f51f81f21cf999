/*
 * Where prepared nonces lie; shared by nonce.c and its tests.
 *
 * A record goes round:
 *
 *   EMPTY -> FILLING -> READY -> TAKEN -> EMPTY
 *          filler     filler   signer, or whoever drops it
 *
 * Each arrow is one atomic exchange and so has one winner; FILLING and TAKEN belong to
 * the winner alone. A key's place goes round:
 *
 *   FREE -> SETUP -> LIVE -> DYING -> FREE
 *         signer   signer  whoever   filler
 *
 * The filler alone reads the private key, and frees. An id is never used twice: what a
 * record holds is believed only if it names the id of the key that signs.
 */
#ifndef KV_STORE_KEYRING_NONCE_INTERNAL_H
#define KV_STORE_KEYRING_NONCE_INTERNAL_H

#include <stdalign.h>
#include <stdatomic.h>

#include "store/keyring/nonce.h"
#include "store/keyring/nonce_make.h"

#define KV_NONCE_LINE 64 /* bytes of a cache line */

enum kv_nonce_state {
    KV_NONCE_EMPTY = 0, /* so that a child after fork finds nothing */
    KV_NONCE_FILLING,
    KV_NONCE_READY,
    KV_NONCE_TAKEN,
};

struct kv_nonce_record {
    alignas(KV_NONCE_LINE) atomic_uint state;
    uint64_t id;                  /* of the key it was made for */
    struct kv_clock_reading made; /* before it was */
    struct kv_nonce nonce;
};

enum kv_nonce_place_state {
    KV_NONCE_FREE = 0,
    KV_NONCE_SETUP,
    KV_NONCE_LIVE,
    KV_NONCE_DYING,
};

/* A signing thread at a key, and its end of the ring. */
struct kv_nonce_reader {
    alignas(KV_NONCE_LINE) atomic_int_least64_t used_us; /* the last time */
    atomic_uint wanted; /* how many to have ready: by how many it used lately */
    unsigned at;        /* where it looks for the next one */
    unsigned n_used;    /* since `since_us` */
    int64_t since_us;
    unsigned fill_at; /* the thread's end: where it looks for room */
};

struct kv_nonce_place {
    alignas(KV_NONCE_LINE) atomic_uint state;
    atomic_uint_least64_t id; /* times KV_NONCE_KEYS, plus the index of the place */
    uint8_t curve;
    uint8_t d[KV_SCALAR_MAX_LEN];
    struct kv_nonce_reader reader[KV_NONCE_PER_KEY];
    struct kv_nonce_record record[KV_NONCE_PER_KEY]; /* one ring for each slot */
};

/* All places, NULL when nonces are not prepared. */
struct kv_nonce_place *kv_nonce_places(void);

#endif
