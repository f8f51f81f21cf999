/*
 * The proof of a backup: what it holds is read back and used.
 *
 *   the file opens with its key -> the copy is whole -> its rows are as many as the
 *   trailer says -> vault keys open -> every key opens, one of each type signs and
 *   verifies -> a random choice of the other rows opens
 *
 * Blocking, any thread; the keyring is asked through the caller.
 */
#ifndef KV_LIFECYCLE_BACKUP_PROVE_H
#define KV_LIFECYCLE_BACKUP_PROVE_H

#include "lifecycle/backup/file.h"

#define KV_BACKUP_SAMPLE 100 /* rows beside keys */

/* Ask the keyring and wait for its answer, which is appended to `reply`. */
struct kv_backup_keyring {
    int (*ask)(void *arg, uint16_t verb, const struct kv_buf *payload,
               struct kv_buf *reply, struct kv_err *err);
    void *arg;
};

struct kv_backup_proof {
    struct kv_backup_header header; /* without wrapped and slots */
    struct kv_copy_counts counts;
    uint64_t n_keys;    /* all of them opened */
    uint64_t n_types;   /* kinds of keys, one of each signed */
    uint64_t n_sampled; /* other rows that were opened */
    uint64_t n_erased;  /* rows passed over: a purge had taken their vault's key */
    uint64_t file_bytes;
    uint8_t digest[KV_BACKUP_DIGEST_LEN]; /* SHA-256 of the file */
};

/* Open the backup job->from into job->to (job->file_key is not looked at) and prove it.
 * The copy stays where everything went well; otherwise no file is left. The keyring
 * has the vault keys of the copy open afterwards: a live one must forget those of
 * vaults that were purged. Rows without a vault key in the copy are passed over.
 * KV_E_INTEGRITY (backup.altered, backup.not-proved, backup.wrong-key, db.corrupt). */
int kv_backup_prove(const struct kv_backup_job *job,
                    const struct kv_backup_keyring *keyring,
                    struct kv_backup_proof *out, struct kv_err *err) KV_MUST_CHECK;

#endif
