/*
 * From a backup file to a state directory.
 *
 *   header -> slots -> root key (keyfile or recovery key) -> DIR/keyring
 *     -> the installation opened as keyvault-keyring opens it
 *     -> copy decrypted to DIR/db, proved with that -> renamed into place
 *
 * With the recovery key the old keyfile slots give way to a new keyfile: it may have
 * been lost with the machine, and nobody who finds it opens what was restored.
 */
#include "lifecycle/backup/restore.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/core/secret.h"
#include "store/db/sqlite/sqlite.h"
#include "store/keyring/boot.h"
#include "store/keyring/keyfile.h"
#include "store/keyring/recovery.h"
#include "store/keyring/role_serve.h"
#include "store/keyring/slots.h"

#define RECOVERY_TEXT_MAX 256

/* What is there, so that a failure can take it away again. */
struct work {
    const struct kv_restore *restore;
    bool made_dir;
    bool made_keyring;
    bool made_db;
    char keyring_dir[PATH_MAX];
    char db_dir[PATH_MAX];
    char part[PATH_MAX]; /* the copy until it is proved */
    char db[PATH_MAX];
    struct kv_boot boot;
    struct kv_ring *ring;
};

/* --- the directory -------------------------------------------------------------------
 */

static int join(char out[PATH_MAX], const char *dir, const char *name,
                struct kv_err *err)
{
    int n = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return n > 0 && n < PATH_MAX
               ? 0
               : kv_err_set(err, KV_E_TOO_BIG, "restore.bad-directory",
                            "the path of the directory is too long");
}

static int is_empty(const char *dir, bool *out, struct kv_err *err)
{
    DIR *handle = opendir(dir);
    if (handle == NULL)
        return kv_err_errno(err, errno, "restore.bad-directory", dir);
    *out = true;
    for (const struct dirent *entry = readdir(handle); entry != NULL;
         entry = readdir(handle)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            *out = false;
    }
    (void)closedir(handle); /* read only */
    return 0;
}

static int check_existing(const char *dir, struct kv_err *err)
{
    bool empty = false;
    struct stat info;
    if (stat(dir, &info) != 0 || !S_ISDIR(info.st_mode))
        return kv_err_set(err, KV_E_EXISTS, "restore.not-empty", "%s is no directory",
                          dir);
    int rc = is_empty(dir, &empty, err);
    if (rc == 0 && !empty) {
        rc = kv_err_set(err, KV_E_EXISTS, "restore.not-empty",
                        "%s is not empty; a restore overwrites nothing", dir);
        kv_err_hint(err, "name a new directory, or move that one away");
    }
    if (rc == 0 && (info.st_uid != geteuid() || (info.st_mode & 022) != 0))
        rc =
            kv_err_set(err, KV_E_DENIED, "restore.unsafe-directory",
                       "%s belongs to uid %u and has mode %04o: others could change it",
                       dir, (unsigned)info.st_uid, (unsigned)(info.st_mode & 07777));
    return rc;
}

static int make_dirs(struct work *work, struct kv_err *err)
{
    const char *dir = work->restore->dir;
    int rc = 0;
    KV_TRY(join(work->keyring_dir, dir, KV_KEYRING_DIR, err));
    KV_TRY(join(work->db_dir, dir, "db", err));
    KV_TRY(join(work->part, dir, "db/keyvault.db.part", err));
    KV_TRY(join(work->db, dir, "db/" KV_SQLITE_FILE, err));
    work->made_dir = mkdir(dir, 0711) == 0;
    if (!work->made_dir && errno != EEXIST)
        return kv_err_errno(err, errno, "restore.bad-directory", dir);
    if (work->made_dir && chmod(dir, 0711) != 0) /* the umask took bits away */
        return kv_err_errno(err, errno, "restore.bad-directory", dir);
    if (!work->made_dir)
        KV_TRY(check_existing(dir, err));
    work->made_keyring = mkdir(work->keyring_dir, 0700) == 0;
    if (!work->made_keyring)
        return kv_err_errno(err, errno, "restore.bad-directory", work->keyring_dir);
    work->made_db = mkdir(work->db_dir, 0700) == 0;
    if (!work->made_db)
        rc = kv_err_errno(err, errno, "restore.bad-directory", work->db_dir);
out:
    return rc;
}

/* Remove the files of a directory that was made here, and the directory. */
static void remove_dir(const char *dir)
{
    char path[PATH_MAX];
    DIR *handle = opendir(dir);
    if (handle == NULL)
        return;
    for (const struct dirent *entry = readdir(handle); entry != NULL;
         entry = readdir(handle)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            join(path, dir, entry->d_name, NULL) == 0)
            (void)unlink(path); /* what stays is seen by rmdir */
    }
    (void)closedir(handle); /* read only */
    (void)rmdir(dir);       /* nothing more can be done about a failure */
}

static void undo(const struct work *work)
{
    if (work->made_db)
        remove_dir(work->db_dir);
    if (work->made_keyring)
        remove_dir(work->keyring_dir);
    if (work->made_dir)
        (void)rmdir(work->restore->dir); /* nothing more can be done about a failure */
}

/* --- the root key
 * --------------------------------------------------------------------- */

static int read_secret_file(const char *file, size_t max_len, struct kv_buf *out,
                            struct kv_err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return kv_err_errno(err, errno, "restore.no-secret", file);
    int rc = kv_file_read(fd, max_len, out);
    if (rc == KV_E_IO)
        (void)kv_err_errno(err, errno, "restore.no-secret", file);
    else if (rc == KV_E_TOO_BIG)
        (void)kv_err_set(err, rc, "restore.no-secret", "%s is too long to be it", file);
    (void)close(fd); /* opened for reading */
    return rc;
}

/* The secret that opens a slot, into a secret buffer, and of which kind the slot is. */
static int read_secret(const struct kv_restore *restore, struct kv_buf *out,
                       uint8_t *kind, struct kv_err *err)
{
    int rc = 0;
    uint8_t key[KV_RECOVERY_LEN];
    struct kv_buf text;
    kv_buf_init_secret(&text, RECOVERY_TEXT_MAX);
    *kind = restore->keyfile != NULL ? KV_SLOT_KEYFILE : KV_SLOT_RECOVERY;
    if (restore->keyfile != NULL) {
        rc = read_secret_file(restore->keyfile, KV_KEYFILE_LEN, out, err);
        goto out;
    }
    KV_TRY(read_secret_file(restore->recovery, RECOVERY_TEXT_MAX, &text, err));
    KV_TRY(kv_recovery_parse((const char *)text.data, text.len, key, err));
    rc = kv_buf_append(out, key, sizeof(key));
out:
    kv_wipe(key, sizeof(key));
    kv_buf_free(&text);
    return rc;
}

static int unlock(const struct kv_restore *restore,
                  const struct kv_backup_header *header, struct kv_slots *slots,
                  struct kv_buf *secret, struct kv_secret *root, struct kv_err *err)
{
    int rc = 0;
    uint8_t kind = 0;
    KV_TRY(kv_slots_decode(header->slots, slots, err));
    KV_TRY(read_secret(restore, secret, &kind, err));
    rc = kv_slots_unlock(slots, kind, (struct kv_bytes){secret->data, secret->len},
                         root, err);
    if (rc == KV_E_DENIED)
        kv_err_hint(err, "the %s is not the one of the day of this backup",
                    kind == KV_SLOT_KEYFILE ? "keyfile" : "recovery key");
    KV_TRY(rc);
    KV_TRY(kv_slots_verify(header->slots, root, err));
    if (memcmp(slots->installation, header->installation, KV_ID_LEN) != 0)
        rc = kv_err_set(err, KV_E_INTEGRITY, "backup.altered",
                        "the backup is altered or damaged: its header");
out:
    return rc;
}

/* A new keyfile in the place of all old ones. */
static int renew_keyfile(int dir_fd, struct kv_slots *slots,
                         const struct kv_secret *root, struct kv_err *err)
{
    int rc = 0;
    struct kv_secret keyfile = {0};
    for (uint8_t i = slots->n; i > 0; i--) {
        if (slots->slot[i - 1].kind == KV_SLOT_KEYFILE)
            KV_TRY(kv_slots_remove(slots, slots->slot[i - 1].id, err));
    }
    KV_TRY(kv_keyfile_create(dir_fd, kv_rand_system(), err));
    KV_TRY(kv_keyfile_load(dir_fd, &keyfile, err));
    KV_TRY(kv_slots_add(slots, KV_SLOT_KEYFILE,
                        (struct kv_bytes){keyfile.data, keyfile.len}, root,
                        kv_rand_system(), err));
    rc = kv_slots_save(dir_fd, slots, root, err);
out:
    kv_secret_free(&keyfile);
    return rc;
}

static int keep_keyfile(int dir_fd, const struct kv_slots *slots,
                        const struct kv_buf *secret, const struct kv_secret *root,
                        struct kv_err *err)
{
    const struct kv_file_new file = {.dir_fd = dir_fd,
                                     .name = KV_KEYFILE,
                                     .mode = 0400,
                                     .id = "keyfile.write-failed"};
    int rc =
        kv_file_write_new(&file, (struct kv_bytes){secret->data, secret->len}, err);
    return rc != 0 ? rc : kv_slots_save(dir_fd, slots, root, err);
}

/* What lies here is not to be started before the restore has come to its end. */
static int mark(int dir_fd, struct kv_err *err)
{
    const int fd = openat(dir_fd, KV_RESTORING_FILE,
                          O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const int rc =
        fd >= 0 && fsync(fd) == 0 && fsync(dir_fd) == 0
            ? 0
            : kv_err_errno(err, errno, "restore.bad-directory", KV_RESTORING_FILE);
    if (fd >= 0)
        (void)close(fd); /* synced */
    return rc;
}

static int write_keyring(struct work *work, const struct kv_backup_header *header,
                         struct kv_err *err)
{
    int rc = 0;
    int dir_fd = -1;
    struct kv_slots slots;
    struct kv_secret root = {0};
    struct kv_buf secret;
    kv_buf_init_secret(&secret, 64);
    KV_TRY(unlock(work->restore, header, &slots, &secret, &root, err));
    KV_TRY(make_dirs(work, err));
    dir_fd = open(work->keyring_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        KV_TRY(kv_err_errno(err, errno, "restore.bad-directory", work->keyring_dir));
    KV_TRY(mark(dir_fd, err));
    rc = work->restore->keyfile != NULL
             ? keep_keyfile(dir_fd, &slots, &secret, &root, err)
             : renew_keyfile(dir_fd, &slots, &root, err);
out:
    if (dir_fd >= 0)
        (void)close(dir_fd); /* opened for reading */
    kv_secret_free(&root);
    kv_buf_free(&secret);
    return rc;
}

/* --- the keyring
 * ------------------------------------------------------------------------
 */

static int ask(void *arg, uint16_t verb, const struct kv_buf *payload,
               struct kv_buf *reply, struct kv_err *err)
{
    struct work *work = arg;
    const struct kv_serve serve = {.ring = work->ring, .slot = 0, .is_pool = true};
    const struct kv_frame frame = {.verb = verb,
                                   .payload = {payload->data, payload->len}};
    struct kv_err local = KV_ERR_INIT;
    int rc = kv_role_serve(&serve, &frame, reply, &local);
    if (rc != 0)
        (void)kv_err_set(&local, rc, "restore.keyring-failed", "the keyring failed: %s",
                         kv_code_text(rc));
    if (rc != 0 && err != NULL)
        *err = local;
    return rc;
}

static int open_keyring(struct work *work, struct kv_err *err)
{
    const struct kv_boot_config config = {.state_dir = work->restore->dir,
                                          .is_restoring = true,
                                          .rand = kv_rand_system()};
    int rc = kv_keys_init(err);
    if (rc == 0)
        rc = kv_boot_open(&work->boot, &config, err);
    if (rc == 0)
        rc = kv_ring_new(&work->ring, work->boot.seal, NULL, kv_clock_system());
    return rc;
}

static void close_keyring(struct work *work)
{
    kv_ring_free(work->ring);
    kv_boot_close(&work->boot);
}

/* --- the whole
 * -------------------------------------------------------------------------
 */

static int sync_dir(const char *dir, struct kv_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 && fsync(fd) == 0
                 ? 0
                 : kv_err_errno(err, errno, "restore.bad-directory", dir);
    if (fd >= 0)
        (void)close(fd); /* opened for reading */
    return rc;
}

/* Give a directory and its files to a role. */
static int give(const char *dir, uid_t uid, gid_t gid, struct kv_err *err)
{
    char path[PATH_MAX];
    if (uid == (uid_t)-1)
        return 0;
    DIR *handle = opendir(dir);
    int rc = handle != NULL ? 0 : kv_err_errno(err, errno, "restore.not-given", dir);
    const struct dirent *entry = NULL;
    while (rc == 0 && handle != NULL && (entry = readdir(handle)) != NULL) {
        if (strcmp(entry->d_name, "..") == 0)
            continue;
        rc = join(path, dir, entry->d_name, err);
        if (rc == 0 && lchown(path, uid, gid) != 0)
            rc = kv_err_errno(err, errno, "restore.not-given", path);
    }
    if (handle != NULL)
        (void)closedir(handle); /* read only */
    return rc;
}

static int put_in_place(struct work *work, struct kv_err *err)
{
    const struct kv_restore *restore = work->restore;
    char mark_file[PATH_MAX];
    int rc = 0;
    int fd = open(work->part, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0 || rename(work->part, work->db) != 0)
        rc = kv_err_errno(err, errno, "restore.bad-directory", work->db);
    if (fd >= 0)
        (void)close(fd); /* opened for reading */
    KV_TRY(rc);
    KV_TRY(give(work->keyring_dir, restore->keyring_uid, restore->keyring_gid, err));
    KV_TRY(give(work->db_dir, restore->service_uid, restore->service_gid, err));
    KV_TRY(sync_dir(work->db_dir, err));
    KV_TRY(sync_dir(work->keyring_dir, err));
    KV_TRY(sync_dir(restore->dir, err));
    KV_TRY(join(mark_file, work->keyring_dir, KV_RESTORING_FILE, err));
    if (unlink(mark_file) != 0)
        KV_TRY(kv_err_errno(err, errno, "restore.bad-directory", mark_file));
    rc = sync_dir(work->keyring_dir, err);
out:
    return rc;
}

int kv_restore_run(const struct kv_restore *restore, struct kv_backup_proof *out,
                   struct kv_err *err)
{
    int rc = KV_E_NOMEM;
    struct kv_backup_header header;
    struct kv_buf bytes;
    struct work *work = calloc(1, sizeof(*work));
    kv_buf_init(&bytes, KV_BACKUP_HEADER_MAX);
    if (work == NULL)
        goto out;
    work->restore = restore;
    work->boot = (struct kv_boot){.dir_fd = -1, .lock_fd = -1};
    KV_TRY(kv_backup_header_read(restore->file, &bytes, &header, err));
    KV_TRY(write_keyring(work, &header, err));
    KV_TRY(open_keyring(work, err));
    const struct kv_backup_job job = {.from = restore->file,
                                      .to = work->part,
                                      .progress = restore->progress,
                                      .arg = restore->arg};
    const struct kv_backup_keyring keyring = {.ask = ask, .arg = work};
    KV_TRY(kv_backup_prove(&job, &keyring, out, err));
    rc = put_in_place(work, err);
out:
    if (work != NULL) {
        close_keyring(work);
        if (rc != 0)
            undo(work);
    }
    free(work);
    kv_buf_free(&bytes);
    return rc;
}
