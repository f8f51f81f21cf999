/*
 * Prepared ECDSA nonces: each signs once, soon, or never.
 *
 * For a key that signs often, a thread of the lowest priority prepares nonces
 * (nonce_make.h); a signature with one of them costs a fraction of what it costs
 * otherwise. A nonce that is used twice, or known, gives the private key away:
 *
 *   once: taking one is atomic, and wipes it before it is used.
 *
 *   soon: none is used KV_NONCE_LIFE_MS after it was made, nor when the wall clock or
 *   the boot clock has jumped against the monotonic one in between: the machine may
 *   have been stopped, copied, restored.
 *
 *   or never: when the key leaves the live table, the rest is wiped; in a child after
 *   fork there are none; they are in memory alone, on locked pages.
 *
 * What none of this catches is a copy of a running machine: keyvault.conf(5),
 * prepared-nonces. Signers and the preparing thread share no lock and no object of
 * libcrypto; a signer never waits and never allocates here. One set for the process.
 */
#ifndef KV_STORE_KEYRING_NONCE_H
#define KV_STORE_KEYRING_NONCE_H

#include <stdbool.h>

#include "store/core/clock.h"
#include "store/keyring/keys.h"

#define KV_NONCE_PER_KEY 64 /* at most, for all slots together */
#define KV_NONCE_KEYS 32    /* that have any at one time */
#define KV_NONCE_LIFE_MS 2000

struct kv_nonces_config {
    const struct kv_clock *clock; /* borrowed, like rand */
    const struct kv_rand *rand;
    unsigned n_slots; /* the key slots 0 to n_slots - 1 (1 to 64) get prepared nonces */
};

/* Take locked memory and start the thread; after kv_keys_init, before the sandbox.
 * KV_E_DENIED (nonces.no-mlock) where memory cannot be locked. */
int kv_nonces_start(const struct kv_nonces_config *config,
                    struct kv_err *err) KV_MUST_CHECK;

/* End the thread and wipe everything. Nobody signs meanwhile. */
void kv_nonces_stop(void);

/* Drop what is too old, and keys that have not signed lately. About twice a second, on
 * one thread. */
void kv_nonces_sweep(void);

/* Sign with a prepared nonce: `sig` has room for KV_ECDSA_DER_MAX bytes. False when
 * there is none for this key and slot; the caller signs without then. Also how a key
 * becomes one that has them: by its second signature within a second. */
bool kv_nonce_sign(struct kv_key *key, unsigned slot, struct kv_bytes digest,
                   uint8_t *sig, size_t *sig_len);

/* Wipe what is prepared for this key; it gets no more. */
void kv_nonce_retire(struct kv_key *key);

/* How many are ready for it now. */
unsigned kv_nonce_count(const struct kv_key *key);

#endif
