/*
 * What service and keyring say to each other about the audit log: keys and seals
 * (anchor.h), and what was done under grants. Same rules as role.h.
 */
#ifndef KV_STORE_KEYRING_ROLE_AUDIT_H
#define KV_STORE_KEYRING_ROLE_AUDIT_H

#include "store/keyring/audit_keys.h"
#include "store/keyring/role.h"

#define KV_AUDIT_BATCH_MAX 64

struct kv_role_audit_mark {
    struct kv_audit_mark mark;
};

struct kv_role_audit_opened {
    uint8_t key[KV_AUDIT_KEY_LEN];
    struct kv_audit_sealed sealed;
};

struct kv_role_audit_sealed {
    struct kv_audit_sealed sealed;
};

/* Keys of the segments first, first + 1, ...; n may be 0: only `last` is wanted. */
struct kv_role_audit_range {
    uint64_t first;
    uint16_t n;
};
struct kv_role_audit_keys {
    struct kv_audit_mark last; /* that the keyring has sealed; segment 0: none */
    uint16_t n;
    uint8_t key[KV_AUDIT_BATCH_MAX][KV_AUDIT_KEY_LEN];
};

struct kv_role_audit_seals {
    uint16_t n;
    struct kv_role_audit_seal {
        uint8_t kind; /* enum kv_audit_seal_kind */
        struct kv_audit_mark mark;
        struct kv_audit_sealed sealed;
    } row[KV_AUDIT_BATCH_MAX];
};
struct kv_role_audit_checked {
    uint16_t n;
    uint8_t is_true[KV_AUDIT_BATCH_MAX]; /* 1: the keyring's seal */
};

/* Uses of a key by a grant that were not recorded yet. */
enum kv_audit_use { KV_AUDIT_USE_SIGN, KV_AUDIT_USE_DECRYPT, KV_AUDIT_USE_DERIVE };
#define KV_AUDIT_USES_N 3
struct kv_audit_use_counts {
    uint32_t n[KV_AUDIT_USES_N];
};

/* A page of what waits from row `from` on (0, then `next`); `done` was recorded since
 * and waits no longer. */
struct kv_role_audit_uses_ask {
    uint32_t from;
    uint16_t n_done;
    struct {
        uint32_t uid;
        uint8_t version[KV_ID_LEN];
        struct kv_audit_use_counts counts;
    } done[KV_AUDIT_BATCH_MAX];
};
struct kv_role_audit_uses {
    uint32_t next; /* 0 after the last page */
    uint16_t n;
    struct kv_role_audit_use {
        uint32_t uid;
        uint8_t vault[KV_ID_LEN];
        char name[KV_NAME_MAX + 1]; /* folded */
        uint8_t version[KV_ID_LEN];
        struct kv_audit_use_counts counts;
    } row[KV_AUDIT_BATCH_MAX];
};

KV_ROLE_CODEC(audit_mark);
KV_ROLE_CODEC(audit_opened);
KV_ROLE_CODEC(audit_sealed);
KV_ROLE_CODEC(audit_range);
KV_ROLE_CODEC(audit_keys);
KV_ROLE_CODEC(audit_seals);
KV_ROLE_CODEC(audit_checked);
KV_ROLE_CODEC(audit_uses_ask);
KV_ROLE_CODEC(audit_uses);

#endif
