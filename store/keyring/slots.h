/*
 * Slots: what may open the root key.
 *
 * The file `slots` in the keyring's directory holds the installation id, the root
 * key's generation and 1 to KV_SLOTS_MAX slots; each wraps the same root key under a
 * key derived from that slot's own secret (keyfile, recovery key; the format leaves
 * room for passphrase, systemd credential, TPM2 and PKCS#11). A checksum tells damage
 * from a wrong secret, a MAC under the root key seals the whole. Only the keyring's
 * main thread, before its threads start.
 */
#ifndef KV_STORE_KEYRING_SLOTS_H
#define KV_STORE_KEYRING_SLOTS_H

#include "store/core/clock.h"
#include "store/core/secret.h"
#include "store/core/uri.h"
#include "store/core/wire.h"

#define KV_SLOTS_MAX 8
#define KV_SLOTS_FILE "slots"
#define KV_SLOT_SALT_LEN 32
#define KV_SLOT_CHECK_LEN 16
#define KV_SLOT_PARAMS_MAX 1024
#define KV_SLOT_WRAPPED_MAX 64

enum kv_slot_kind {
    KV_SLOT_KEYFILE = 1,
    KV_SLOT_RECOVERY = 2,
    KV_SLOT_PASSPHRASE =
        3, /* params: scrypt's; this and the next are not written yet */
    KV_SLOT_CREDENTIAL = 4,
    KV_SLOT_TPM2 = 5,
    KV_SLOT_PKCS11 = 6,
};

struct kv_slot {
    uint8_t kind; /* enum kv_slot_kind */
    uint32_t id;  /* unique in the file, never used again */
    uint8_t salt[KV_SLOT_SALT_LEN];
    uint8_t check[KV_SLOT_CHECK_LEN]; /* of the root key, by this slot's salt */
    uint16_t params_len;
    uint8_t params[KV_SLOT_PARAMS_MAX]; /* by kind; empty for keyfile and recovery */
    uint16_t wrapped_len;
    uint8_t wrapped[KV_SLOT_WRAPPED_MAX];
};

struct kv_slots {
    uint8_t installation[KV_ID_LEN];
    uint32_t generation; /* of the root key, from 1 */
    uint32_t next_id;
    uint8_t n;
    struct kv_slot slot[KV_SLOTS_MAX];
};

/* Start a new installation: random id and root key, no slot yet. The caller frees
 * `root` with kv_secret_free. */
int kv_slots_create(struct kv_slots *slots, struct kv_secret *root,
                    const struct kv_rand *rand) KV_MUST_CHECK;

/* Add a slot that `secret` opens. KV_E_FULL when there are KV_SLOTS_MAX. */
int kv_slots_add(struct kv_slots *slots, uint8_t kind, struct kv_bytes secret,
                 const struct kv_secret *root, const struct kv_rand *rand,
                 struct kv_err *err) KV_MUST_CHECK;

/* Drop a slot; the last one is refused (KV_E_STATE, slot.last). */
int kv_slots_remove(struct kv_slots *slots, uint32_t id,
                    struct kv_err *err) KV_MUST_CHECK;

/* Open the root key with the first slot of `kind` that `secret` opens, and prove it
 * by the slot's check value. KV_E_NOT_FOUND (slot.none): no slot of that kind;
 * KV_E_DENIED (slot.wrong-secret): none opened. The caller frees `root`. */
int kv_slots_unlock(const struct kv_slots *slots, uint8_t kind, struct kv_bytes secret,
                    struct kv_secret *root, struct kv_err *err) KV_MUST_CHECK;

/* Append the file's bytes. */
int kv_slots_encode(const struct kv_slots *slots, const struct kv_secret *root,
                    struct kv_buf *out) KV_MUST_CHECK;

/* Read the file's bytes: structure and checksum. KV_E_INTEGRITY (slot.damaged) or
 * KV_E_UNSUPPORTED (slot.newer-format). kv_slots_verify proves the rest once the root
 * key is open. */
int kv_slots_decode(struct kv_bytes file, struct kv_slots *slots,
                    struct kv_err *err) KV_MUST_CHECK;
int kv_slots_verify(struct kv_bytes file, const struct kv_secret *root,
                    struct kv_err *err) KV_MUST_CHECK;

/* Read the slots file of the directory `dir_fd`; `file` receives its bytes for
 * kv_slots_verify. KV_E_NOT_FOUND (slot.no-file) when there is none. */
int kv_slots_load(int dir_fd, struct kv_slots *slots, struct kv_buf *file,
                  struct kv_err *err) KV_MUST_CHECK;

/* Replace the slots file: written beside it, synced, renamed, directory synced. After
 * a crash at any point the file is the old or the new one, whole. */
int kv_slots_save(int dir_fd, const struct kv_slots *slots,
                  const struct kv_secret *root, struct kv_err *err) KV_MUST_CHECK;

#endif
