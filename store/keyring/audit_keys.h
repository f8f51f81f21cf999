/*
 * The keys of the audit log (docs/adr/0010-audit-log.md).
 *
 *   root key --HKDF--> audit key, never leaves the keyring
 *     HKDF(audit key, segment number)  segment key: the service chains records with it
 *     HKDF(audit key, "seal")          seals, made by the keyring alone
 *
 * From one segment's key nobody comes to another's. A seal says "the log stood so": it
 * keeps whoever has the key of a segment from writing that segment anew. Pure.
 */
#ifndef KV_STORE_KEYRING_AUDIT_KEYS_H
#define KV_STORE_KEYRING_AUDIT_KEYS_H

#include "store/core/uri.h"
#include "store/core/wire.h"

#define KV_AUDIT_KEY_LEN 32
#define KV_AUDIT_MAC_LEN 32

/* Where the log stood: the last record, and its MAC. */
struct kv_audit_mark {
    uint64_t segment; /* from 1; 0: there is no record yet */
    uint64_t seq;     /* of the last record, from 1 */
    uint8_t mac[KV_AUDIT_MAC_LEN];
};

/* A seal, and the mark that was sealed before it, which the seal covers. */
struct kv_audit_sealed {
    struct kv_audit_mark after; /* seq 0: none */
    uint8_t seal[KV_AUDIT_MAC_LEN];
};

enum kv_audit_seal_kind {
    KV_AUDIT_SEAL_OPEN = 1,       /* `segment` begins behind the record of the mark */
    KV_AUDIT_SEAL_CHECKPOINT = 2, /* the record of the mark stands in `segment` */
};

/* The audit key of an installation. KV_E_CRYPTO, as all of these. */
int kv_audit_key(struct kv_bytes root, const uint8_t installation[KV_ID_LEN],
                 uint8_t out[KV_AUDIT_KEY_LEN]) KV_MUST_CHECK;

int kv_audit_segment_key(const uint8_t audit_key[KV_AUDIT_KEY_LEN], uint64_t segment,
                         uint8_t out[KV_AUDIT_KEY_LEN]) KV_MUST_CHECK;

/* A seal over `mark`, and over the record (number and MAC) of the mark that was sealed
 * before it: whoever leaves a seal out cannot have the next one without naming it. */
int kv_audit_seal(const uint8_t audit_key[KV_AUDIT_KEY_LEN],
                  enum kv_audit_seal_kind kind, const struct kv_audit_mark *mark,
                  const struct kv_audit_mark *after,
                  uint8_t out[KV_AUDIT_MAC_LEN]) KV_MUST_CHECK;

#endif
