/*
 * The backup file (docs/adr/0012-backup-file.md): a copy of the store, encrypted and
 * authenticated, with what is needed to open it again but the secret of a slot.
 *
 *   header   magic, format, ids, time, schema, chunk size, length of the copy, wrapped
 *            file key, slots file, SHA-256 of all of it
 *   body     the copy in chunks of 64 KiB, each AES-256-GCM
 *   trailer  one last chunk: how many rows there are, in all and by kind
 *
 * Nonces count chunks and mark the last one; the hash of the header is authenticated
 * with every chunk. Whatever was changed, cut, added, swapped or spliced is
 * KV_E_INTEGRITY (backup.altered). Blocking, any thread.
 */
#ifndef KV_LIFECYCLE_BACKUP_FILE_H
#define KV_LIFECYCLE_BACKUP_FILE_H

#include "store/core/buf.h"
#include "store/core/wire.h"
#include "store/db/sqlite/copy.h"
#include "store/keyring/role.h"

#define KV_BACKUP_CHUNK 65536
#define KV_BACKUP_HEADER_MAX 32768
#define KV_BACKUP_DIGEST_LEN 32

struct kv_backup_header {
    uint8_t installation[KV_ID_LEN];
    uint8_t id[KV_ID_LEN];   /* of this backup, random */
    int64_t created_s;       /* Unix seconds */
    uint32_t schema;         /* of the copy */
    uint64_t body_len;       /* bytes of the copy */
    struct kv_bytes wrapped; /* file key, as the keyring wrapped it */
    struct kv_bytes slots;   /* the slots file */
};

/* Told after each chunk; anything but 0 ends the work with that code. */
typedef int (*kv_backup_progress_fn)(void *arg, uint64_t done, uint64_t total);

struct kv_backup_job {
    const char *from;               /* write: the copy; read: the backup file */
    const char *to;                 /* made here with mode 0600; must not exist */
    const uint8_t *file_key;        /* KV_BACKUP_KEY_LEN bytes */
    kv_backup_progress_fn progress; /* may be NULL */
    void *arg;
};

/* Append the bytes of a header. */
int kv_backup_header_put(const struct kv_backup_header *header,
                         struct kv_buf *out) KV_MUST_CHECK;

/* Read the header at the front of `bytes`, from which it borrows. KV_E_INTEGRITY
 * (backup.altered), KV_E_UNSUPPORTED (backup.newer-format, backup.newer-schema). */
int kv_backup_header_get(struct kv_bytes bytes, struct kv_backup_header *out,
                         struct kv_err *err) KV_MUST_CHECK;

/* Read the header of a file into `bytes`, from which `out` borrows. KV_E_NOT_FOUND and
 * KV_E_IO (backup.unreadable) beside those of kv_backup_header_get. */
int kv_backup_header_read(const char *file, struct kv_buf *bytes,
                          struct kv_backup_header *out,
                          struct kv_err *err) KV_MUST_CHECK;

/* Write a backup of the copy job->from (of header->body_len bytes) and sync it; a
 * failure leaves no file. */
int kv_backup_write(const struct kv_backup_job *job,
                    const struct kv_backup_header *header,
                    const struct kv_copy_counts *counts,
                    struct kv_err *err) KV_MUST_CHECK;

/* Write the copy that the backup job->from holds; a failure leaves no file. `digest`
 * receives the SHA-256 of the file. */
int kv_backup_read(const struct kv_backup_job *job, struct kv_copy_counts *counts,
                   uint8_t digest[KV_BACKUP_DIGEST_LEN],
                   struct kv_err *err) KV_MUST_CHECK;

#endif
