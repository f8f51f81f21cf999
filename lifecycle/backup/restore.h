/*
 * Restoring a backup into an empty state directory, and proving what came out.
 *
 * Runs where no daemon does. The root key is in this process while it works: whoever
 * restores has the secret that opens it. The file's header is the only thing that is
 * read before something authenticates it.
 */
#ifndef KV_LIFECYCLE_BACKUP_RESTORE_H
#define KV_LIFECYCLE_BACKUP_RESTORE_H

#include <sys/types.h>

#include "lifecycle/backup/prove.h"

struct kv_restore {
    const char *file;
    const char *dir;      /* is made, or exists and is empty */
    const char *keyfile;  /* one of the two */
    const char *recovery; /* file with the recovery key */
    /* Who gets the directories of the roles; -1: they stay with the caller. */
    uid_t keyring_uid;
    gid_t keyring_gid;
    uid_t service_uid;
    gid_t service_gid;
    kv_backup_progress_fn progress; /* may be NULL */
    void *arg;
};

/* Restore and prove. A failure leaves the directory as it was: KV_E_EXISTS
 * (restore.not-empty), KV_E_DENIED (slot.wrong-secret), KV_E_UNSUPPORTED
 * (backup.newer-schema, backup.newer-format), KV_E_INTEGRITY (backup.*). */
int kv_restore_run(const struct kv_restore *restore, struct kv_backup_proof *out,
                   struct kv_err *err) KV_MUST_CHECK;

#endif
