/*
 * The keyfile, and small files written safely.
 *
 * The keyfile holds the 32 bytes of the keyfile slot: a regular file of mode 0400
 * owned by the keyring's own uid, in a directory that no other role may enter.
 */
#ifndef KV_STORE_KEYRING_KEYFILE_H
#define KV_STORE_KEYRING_KEYFILE_H

#include <sys/types.h>

#include "store/core/clock.h"
#include "store/core/secret.h"
#include "store/core/wire.h"

#define KV_KEYFILE "keyfile"
#define KV_KEYFILE_LEN 32

/* Read the keyfile. Refuses symbolic links, other types, owners and modes with an
 * error (keyfile.*) that names the cure. The caller frees `out`. */
int kv_keyfile_load(int dir_fd, struct kv_secret *out,
                    struct kv_err *err) KV_MUST_CHECK;

/* Make a keyfile of random bytes; KV_E_EXISTS (keyfile.exists) if there is one. */
int kv_keyfile_create(int dir_fd, const struct kv_rand *rand,
                      struct kv_err *err) KV_MUST_CHECK;

/* Read a whole file of at most `max_len` bytes, appending to `out`. Returns 0,
 * KV_E_TOO_BIG, KV_E_NOMEM or KV_E_IO (errno is set). */
int kv_file_read(int fd, size_t max_len, struct kv_buf *out) KV_MUST_CHECK;

struct kv_file_new {
    int dir_fd; /* or AT_FDCWD */
    const char *name;
    mode_t mode;
    const char *id; /* error id of a failed system call */
};

/* Write a file that must not exist yet and sync it; a failure leaves none behind.
 * KV_E_EXISTS (file.exists) when the name is taken. */
int kv_file_write_new(const struct kv_file_new *file, struct kv_bytes content,
                      struct kv_err *err) KV_MUST_CHECK;

#endif
