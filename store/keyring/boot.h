/*
 * From a directory to an open seal: initialise when asked, lock, read slots, open the
 * root key with the keyfile. Main thread, before any other thread and the sandbox.
 */
#ifndef KV_STORE_KEYRING_BOOT_H
#define KV_STORE_KEYRING_BOOT_H

#include "store/core/log.h"
#include "store/keyring/anchor.h"
#include "store/keyring/seal.h"

#define KV_KEYRING_DIR "keyring" /* below the state directory, mode 0700 */
#define KV_LOCK_FILE "lock"

/* Stands in the keyring's directory while a restore is under way. */
#define KV_RESTORING_FILE "restoring"

struct kv_boot_config {
    const char *state_dir;
    bool is_restoring;        /* the caller is that restore */
    bool may_init;            /* make a new installation when there is none */
    const char *recovery_out; /* where its recovery key goes; needed to make one */
    const struct kv_rand *rand;
    struct kv_log *log;
};

struct kv_boot {
    int dir_fd;
    int lock_fd; /* held until the process ends: one keyring per directory */
    bool is_new; /* the installation was made just now */
    struct kv_seal *seal;
};

/* Open the installation. Errors: slot.*, keyfile.*, boot.*; kv_boot_close accepts what
 * a failed call left. */
int kv_boot_open(struct kv_boot *boot, const struct kv_boot_config *config,
                 struct kv_err *err) KV_MUST_CHECK;
/* Open what the keyring remembers of the audit log; free with kv_anchor_free. */
int kv_boot_anchor(const struct kv_boot *boot, struct kv_anchor **out,
                   struct kv_err *err) KV_MUST_CHECK;
/* Write the audit key and the last mark (segment u64, seq u64, MAC) to a pipe: for a
 * check of the log while nothing runs. KV_E_INVALID (options.bad-value): no pipe. */
#define KV_BOOT_AUDIT_LEN (KV_AUDIT_KEY_LEN + 16 + KV_AUDIT_MAC_LEN)
int kv_boot_tell_audit(const struct kv_boot *boot, int fd,
                       struct kv_err *err) KV_MUST_CHECK;
void kv_boot_close(struct kv_boot *boot);

#endif
