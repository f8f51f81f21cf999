/*
 * The store: sealed rows, durable, behind one table of typed operations.
 *
 * No SQL type crosses this line. Every operation is asynchronous: its callback runs
 * on the loop given to open, exactly once, never before the starting call has
 * returned, and for changes only after the commit is durable. Arguments are copied
 * before the call returns; what a callback receives is borrowed until it returns.
 * All calls on the loop's thread. Back ends: SQLite (sqlite/sqlite.h), memory
 * (memory.h, for tests); both pass tests/unit/test_store_conformance.c.
 *
 * Object model. A row is identified by (vault, kind, name, version). Names compare
 * without ASCII case; the store folds them and keeps the first spelling. Kinds with
 * versions (key, secret, certificate) have one row per version and one head row
 * (version all zero) whose `current` names the version that "latest" means; other
 * kinds have only the row with version zero. What a row says is sealed; the columns
 * here are an index copy that the reader compares with the sealed body.
 */
#ifndef KV_STORE_DB_STORE_H
#define KV_STORE_DB_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "store/core/clock.h"
#include "store/core/err.h"
#include "store/core/log.h"
#include "store/core/uri.h"

#define KV_STORE_SCHEMA 2
#define KV_STORE_SEALED_MAX 262400 /* bytes of one sealed body */
#define KV_STORE_BATCH_MAX 1536    /* mutations of one apply */
#define KV_STORE_LIST_MAX 64       /* rows of one list */

enum kv_row_flag {
    KV_ROW_ENABLED = 1 << 0,
    KV_ROW_MANAGED = 1 << 1, /* key or secret that belongs to a certificate */
    KV_ROW_PENDING = 1 << 2, /* version without a certificate yet */
    KV_ROW_DELETED = 1 << 3, /* soft-deleted head */
};

struct kv_row_key {
    uint8_t vault[KV_ID_LEN]; /* zeros: belongs to the installation */
    uint8_t kind;             /* enum kv_kind of store/keyring/role.h */
    char name[KV_NAME_MAX + 1];
    uint8_t version[KV_ID_LEN]; /* zeros: the head, or a kind without versions */
};

struct kv_row {
    struct kv_row_key key;
    uint64_t row_version; /* 1 for a new row, +1 for each change; part of the AAD */
    uint32_t term;        /* vault key term that sealed the body; 0 = no body */
    uint32_t flags;       /* enum kv_row_flag */
    uint8_t current[KV_ID_LEN]; /* heads only */
    int64_t created_s;          /* Unix seconds; also orders versions */
    int64_t updated_s;
    int64_t nbf_s; /* KV_TIME_NONE when absent, as the two below */
    int64_t exp_s;
    int64_t next_at_s; /* when the lifecycle must look at this row */
    const uint8_t *sealed;
    size_t sealed_len;
};

enum kv_mutation_kind {
    KV_MUTATION_PUT,
    KV_MUTATION_DELETE,
    KV_MUTATION_PURGE,
    KV_MUTATION_RESTORE,
};

/* One change of a batch. `expect` is the row version that must be there now: 0 = the
 * row must not exist. PUT stores row->row_version, which must be expect + 1. PURGE
 * removes a whole name of its kind, versions included; `expect` is that of its head,
 * and its key has version zero. What is removed is overwritten on the disk. RESTORE
 * brings a row back: it must not exist (`expect` 0), and may have any row version. */
struct kv_mutation {
    enum kv_mutation_kind kind;
    uint64_t expect;
    struct kv_row row; /* DELETE, PURGE: only the key counts */
};

enum kv_list_what {
    KV_LIST_CURRENT,    /* current versions of one kind by name (heads without one: the
                           head); deleted heads are left out */
    KV_LIST_VERSIONS,   /* versions of one name, oldest first; heads left out; none of
                           a deleted name */
    KV_LIST_ROWS,       /* version-zero rows of one kind by name */
    KV_LIST_DELETED,    /* deleted heads of one kind by name */
    KV_LIST_DUE,        /* any kind and vault with next_at_s <= due_s, earliest first */
    KV_LIST_VERSION_ID, /* the row of one kind, in any vault and of any name, whose
                           version is after_version: ids are random, so one at most;
                           none of a deleted name */
    KV_LIST_VAULT,      /* rows of one vault, of any kind, name and version, in no
                           order: to remove them */
};

struct kv_list_query {
    enum kv_list_what what;
    uint8_t vault[KV_ID_LEN];
    uint8_t kind;
    char name[KV_NAME_MAX + 1];       /* VERSIONS */
    char after_name[KV_NAME_MAX + 1]; /* keyset page: names behind this one */
    uint8_t after_version[KV_ID_LEN]; /* VERSIONS: rows behind this one; zeros: start */
    int64_t due_s;                    /* DUE */
    uint32_t skip; /* DUE: leave out so many of the earliest. Not a cursor: changes
                      between two pages shift the rows */
    size_t limit;  /* 1 to KV_STORE_LIST_MAX */
};

struct kv_store_stats {
    uint64_t n_rows;
    uint64_t n_commits;
    uint64_t n_mutations;
    uint64_t bytes_on_disk;
    uint32_t schema;
};

/* `rc` 0 or KV_E_*; `err` explains (never NULL). `rows` is NULL on failure. */
typedef void (*kv_store_rows_cb)(void *arg, int rc, const struct kv_row *rows,
                                 size_t n_rows, bool has_more,
                                 const struct kv_err *err);
/* KV_E_CONFLICT: some expectation failed, nothing changed, `failed_index` says which.
 */
typedef void (*kv_store_apply_cb)(void *arg, int rc, size_t failed_index,
                                  const struct kv_err *err);
typedef void (*kv_store_stats_cb)(void *arg, int rc, const struct kv_store_stats *stats,
                                  const struct kv_err *err);
typedef void (*kv_store_closed_cb)(void *arg);

struct kv_store_config {
    uv_loop_t *loop;
    const char *dir; /* directory that holds the files, mode 0700; ignored by memory */
    const struct kv_clock *clock;
    struct kv_log *log; /* may be NULL */
    unsigned n_readers; /* 0 = default (2) */
    /* Called instead of abort() when a commit's outcome is unknown (an fsync failed);
     * the process must end. NULL in production. */
    void (*on_fatal)(void *arg, const struct kv_err *err);
    void *on_fatal_arg;
};

struct kv_store; /* first member is `const struct kv_store_ops *ops` in every back end
                  */

struct kv_store_ops {
    const char *name; /* "sqlite", "memory" */

    /* Stop taking work, finish what is queued, call back when nothing is left. The
     * memory is freed before the callback. */
    void (*close)(struct kv_store *store, kv_store_closed_cb cb, void *arg);

    /* Read one row: one row, or KV_E_NOT_FOUND (store.no-row). With a versioned kind
     * and version zero it reads the head. */
    int (*get)(struct kv_store *store, const struct kv_row_key *key,
               kv_store_rows_cb cb, void *arg);

    /* Read the version that the key names, or with version zero the current one, behind
     * a head that is not deleted (KV_E_NOT_FOUND without head, when the head has no
     * current version, or is deleted). */
    int (*get_live)(struct kv_store *store, const struct kv_row_key *key,
                    kv_store_rows_cb cb, void *arg);

    int (*list)(struct kv_store *store, const struct kv_list_query *query,
                kv_store_rows_cb cb, void *arg);

    /* Apply 1 to KV_STORE_BATCH_MAX mutations in one transaction. `op_id` (random,
     * 16 bytes) makes a repeated call return the first one's result; kept 24 h. */
    int (*apply)(struct kv_store *store, const uint8_t op_id[KV_ID_LEN],
                 const struct kv_mutation *mutations, size_t n_mutations,
                 kv_store_apply_cb cb, void *arg);

    /* 0 when the operation is committed, KV_E_NOT_FOUND when it is not. */
    int (*op_status)(struct kv_store *store, const uint8_t op_id[KV_ID_LEN],
                     kv_store_apply_cb cb, void *arg);

    int (*stats)(struct kv_store *store, kv_store_stats_cb cb, void *arg);

    /* Full check of the file (integrity, foreign keys, schema). */
    int (*check)(struct kv_store *store, kv_store_apply_cb cb, void *arg);

    /* Write the store of one moment to a new file of mode 0600 at `path`, while reads
     * and changes go on; on failure there is no file. Not synced. For the back end's
     * own reader of copies (sqlite/copy.h). KV_E_UNSUPPORTED (store.no-snapshot): the
     * memory back end has no file. */
    int (*snapshot)(struct kv_store *store, const char *path, kv_store_apply_cb cb,
                    void *arg);
};

/* The starting calls return 0 (the callback will come) or KV_E_INVALID, KV_E_NOMEM,
 * KV_E_STATE (closing): then no callback comes. */
struct kv_store {
    const struct kv_store_ops *ops;
};

/* The identity that a stored row's body is sealed under (store/keyring/role.h). */
struct kv_ident;
void kv_row_ident(const struct kv_row *row, struct kv_ident *ident);

/* Name of a kind for messages: "key". Never NULL. */
const char *kv_kind_name(uint8_t kind);

/* Whether a kind has one row per version and a head. */
bool kv_kind_has_versions(uint8_t kind);

bool kv_id_is_zero(const uint8_t id[KV_ID_LEN]);

#endif
