/*
 * Opening and first making of an installation.
 *
 * Making one writes, in this order: keyfile, recovery key, slots. Only the slots file
 * makes it an installation, so a crash in between leaves nothing that opens anything:
 * the next start takes up the keyfile that is there and makes a new recovery key.
 */
#include "store/keyring/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/core/lock.h"
#include "store/keyring/keyfile.h"
#include "store/keyring/recovery.h"
#include "store/keyring/slots.h"

static int open_dir(struct kv_boot *boot, const struct kv_boot_config *config,
                    struct kv_err *err)
{
    int rc = 0;
    struct stat st;
    const int state_fd = open(config->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (state_fd < 0)
        return kv_err_errno(err, errno, "boot.no-directory", config->state_dir);
    if (config->may_init && mkdirat(state_fd, KV_KEYRING_DIR, 0700) != 0 &&
        errno != EEXIST) {
        rc = kv_err_errno(err, errno, "boot.no-directory", KV_KEYRING_DIR);
        goto out;
    }
    boot->dir_fd = openat(state_fd, KV_KEYRING_DIR,
                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (boot->dir_fd < 0 || fstat(boot->dir_fd, &st) != 0) {
        rc = kv_err_errno(err, errno, "boot.no-directory", KV_KEYRING_DIR);
        kv_err_hint(err, "make a new installation with --init");
        goto out;
    }
    if (st.st_uid != geteuid() || (st.st_mode & 0077) != 0) {
        rc = kv_err_set(err, KV_E_DENIED, "boot.unsafe-directory",
                        "the directory '%s' of uid %u with mode %04o is open to others",
                        KV_KEYRING_DIR, st.st_uid, (unsigned)st.st_mode & 07777);
        kv_err_hint(err, "chown %u and chmod 0700 it", geteuid());
    }
out:
    close(state_fd);
    return rc;
}

static int take_lock(struct kv_boot *boot, struct kv_err *err)
{
    boot->lock_fd = openat(boot->dir_fd, KV_LOCK_FILE,
                           O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (boot->lock_fd < 0)
        return kv_err_errno(err, errno, "boot.lock-failed", KV_LOCK_FILE);
    int rc = kv_lock_file(boot->lock_fd, KV_LOCK_WAIT_MS);
    if (rc == 0)
        return 0;
    if (rc == KV_E_BUSY)
        return kv_err_set(err, KV_E_BUSY, "boot.running",
                          "another keyring runs with this directory");
    return kv_err_errno(err, errno, "boot.lock-failed", KV_LOCK_FILE);
}

/* Write the recovery key once, where the caller may read it. */
static int put_recovery(const struct kv_boot_config *config,
                        const uint8_t key[KV_RECOVERY_LEN], struct kv_err *err)
{
    int rc = 0;
    struct kv_buf text;
    kv_buf_init_secret(&text, 128);
    KV_TRY(kv_recovery_format(key, &text));
    KV_TRY(kv_buf_append_str(&text, "\n"));
    const struct kv_file_new file = {.dir_fd = AT_FDCWD,
                                     .name = config->recovery_out,
                                     .mode = 0600,
                                     .id = "recovery.write-failed"};
    rc = kv_file_write_new(&file, (struct kv_bytes){text.data, text.len}, err);
    if (rc == KV_E_EXISTS)
        kv_err_hint(err, "it opens nothing: no installation was completed with it; "
                         "remove it and start again");
out:
    kv_buf_free(&text);
    return rc;
}

/* The keyfile; one of a start that was cut short is taken up. */
static int make_keyfile(struct kv_boot *boot, const struct kv_rand *rand,
                        struct kv_secret *keyfile, struct kv_err *err)
{
    struct kv_err reason = KV_ERR_INIT;
    const int rc = kv_keyfile_create(boot->dir_fd, rand, &reason);
    if (rc != 0 && rc != KV_E_EXISTS) {
        if (err != NULL)
            *err = reason;
        return rc;
    }
    return kv_keyfile_load(boot->dir_fd, keyfile, err);
}

/* A new root key and the two slots that open it. */
static int make_slots(struct kv_slots *slots, struct kv_secret *root,
                      const struct kv_secret *keyfile,
                      const uint8_t recovery[KV_RECOVERY_LEN],
                      const struct kv_rand *rand)
{
    int rc = 0;
    KV_TRY(kv_slots_create(slots, root, rand));
    KV_TRY(kv_slots_add(slots, KV_SLOT_KEYFILE,
                        (struct kv_bytes){keyfile->data, keyfile->len}, root, rand,
                        NULL));
    rc = kv_slots_add(slots, KV_SLOT_RECOVERY,
                      (struct kv_bytes){recovery, KV_RECOVERY_LEN}, root, rand, NULL);
out:
    return rc;
}

static int make_installation(struct kv_boot *boot, const struct kv_boot_config *config,
                             struct kv_err *err)
{
    int rc = 0;
    uint8_t recovery[KV_RECOVERY_LEN];
    struct kv_slots slots;
    struct kv_secret root = {0};
    struct kv_secret keyfile = {0};
    if (config->recovery_out == NULL)
        return kv_err_set(err, KV_E_INVALID, "recovery.no-file",
                          "a new installation needs a file for its recovery key");
    KV_TRY(make_keyfile(boot, config->rand, &keyfile, err));
    KV_TRY(kv_rand_fill(config->rand, recovery, sizeof(recovery)));
    KV_TRY(make_slots(&slots, &root, &keyfile, recovery, config->rand));
    KV_TRY(put_recovery(config, recovery, err));
    KV_TRY(kv_slots_save(boot->dir_fd, &slots, &root, err));
    boot->is_new = true;
    kv_log(config->log, KV_LOG_INFO, "keyring.initialised",
           KV_S("recovery_key", config->recovery_out));
out:
    kv_wipe(recovery, sizeof(recovery));
    kv_secret_free(&keyfile);
    kv_secret_free(&root);
    return rc;
}

static int open_seal(struct kv_boot *boot, const struct kv_boot_config *config,
                     struct kv_slots *slots, struct kv_buf *file, struct kv_err *err)
{
    int rc = 0;
    struct kv_secret keyfile = {0};
    struct kv_secret root = {0};
    KV_TRY(kv_keyfile_load(boot->dir_fd, &keyfile, err));
    rc = kv_slots_unlock(slots, KV_SLOT_KEYFILE,
                         (struct kv_bytes){keyfile.data, keyfile.len}, &root, err);
    if (rc == KV_E_DENIED)
        kv_err_hint(err, "the keyfile is not the one of this installation; put the "
                         "right one back or restore with the recovery key");
    KV_TRY(rc);
    KV_TRY(kv_slots_verify((struct kv_bytes){file->data, file->len}, &root, err));
    KV_TRY(kv_seal_new(&boot->seal, slots->installation, &root, config->rand));
    rc = kv_seal_set_slots(boot->seal, (struct kv_bytes){file->data, file->len});
out:
    kv_secret_free(&keyfile);
    kv_secret_free(&root);
    return rc;
}

/* Half a restore would start as an installation without objects. */
static int check_whole(const struct kv_boot *boot, const struct kv_boot_config *config,
                       struct kv_err *err)
{
    if (config->is_restoring ||
        faccessat(boot->dir_fd, KV_RESTORING_FILE, F_OK, 0) != 0)
        return 0;
    kv_err_set(err, KV_E_STATE, "boot.restoring",
               "a restore into this directory did not come to its end");
    kv_err_hint(err, "remove the directory, and restore again");
    return KV_E_STATE;
}

int kv_boot_open(struct kv_boot *boot, const struct kv_boot_config *config,
                 struct kv_err *err)
{
    int rc = 0;
    struct kv_slots slots;
    struct kv_buf file;
    kv_buf_init(&file, 65536);
    *boot = (struct kv_boot){.dir_fd = -1, .lock_fd = -1};
    KV_TRY(open_dir(boot, config, err));
    KV_TRY(take_lock(boot, err));
    KV_TRY(check_whole(boot, config, err));
    if (config->may_init && faccessat(boot->dir_fd, KV_SLOTS_FILE, F_OK, 0) != 0 &&
        errno == ENOENT)
        KV_TRY(make_installation(boot, config, err));
    rc = kv_slots_load(boot->dir_fd, &slots, &file, err);
    if (rc == KV_E_NOT_FOUND)
        kv_err_hint(err, "make a new installation with --init");
    KV_TRY(rc);
    KV_TRY(open_seal(boot, config, &slots, &file, err));
out:
    kv_buf_free(&file);
    return rc;
}

int kv_boot_anchor(const struct kv_boot *boot, struct kv_anchor **out,
                   struct kv_err *err)
{
    const int fd = openat(boot->dir_fd, KV_ANCHOR_FILE,
                          O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return kv_err_errno(err, errno, "anchor.failed", KV_ANCHOR_FILE);
    return kv_anchor_new(out, kv_seal_audit_key(boot->seal), fd, err);
}

int kv_boot_tell_audit(const struct kv_boot *boot, int fd, struct kv_err *err)
{
    int rc = 0;
    struct stat st;
    struct kv_buf out;
    struct kv_anchor *anchor = NULL;
    struct kv_audit_mark last;
    kv_buf_init_secret(&out, KV_BOOT_AUDIT_LEN);
    if (fstat(fd, &st) != 0 || !S_ISFIFO(st.st_mode))
        return kv_err_set(err, KV_E_INVALID, "options.bad-value",
                          "--audit-key-fd: the descriptor is no pipe");
    const int anchor_fd =
        openat(boot->dir_fd, KV_ANCHOR_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (anchor_fd < 0 && errno != ENOENT) {
        rc = kv_err_errno(err, errno, "anchor.failed", KV_ANCHOR_FILE);
        goto out;
    }
    KV_TRY(kv_anchor_new(&anchor, kv_seal_audit_key(boot->seal), anchor_fd, err));
    kv_anchor_last(anchor, &last);
    kv_wire_put_raw(&out, kv_seal_audit_key(boot->seal), KV_AUDIT_KEY_LEN);
    kv_wire_put_u64(&out, last.segment);
    kv_wire_put_u64(&out, last.seq);
    kv_wire_put_raw(&out, last.mac, KV_AUDIT_MAC_LEN);
    KV_TRY(kv_buf_status(&out));
    if (write(fd, out.data, out.len) != (ssize_t)out.len)
        rc = kv_err_errno(err, errno, "notify.failed", "--audit-key-fd");
out:
    kv_anchor_free(anchor);
    kv_buf_free(&out);
    return rc;
}

void kv_boot_close(struct kv_boot *boot)
{
    kv_seal_free(boot->seal);
    boot->seal = NULL;
    if (boot->dir_fd >= 0)
        close(boot->dir_fd);
    if (boot->lock_fd >= 0)
        close(boot->lock_fd);
    boot->dir_fd = -1;
    boot->lock_fd = -1;
}
