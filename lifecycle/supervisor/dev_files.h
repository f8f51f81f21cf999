/*
 * The files that `keyvaultd --dev DIR` writes for the shell and for OpenSSL: their
 * text from known facts, and writing one whole file at once.
 */
#ifndef KV_LIFECYCLE_SUPERVISOR_DEV_FILES_H
#define KV_LIFECYCLE_SUPERVISOR_DEV_FILES_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "store/core/buf.h"
#include "store/core/err.h"
#include "store/core/uri.h"

#define KV_TOKEN_MAX 4096

struct kv_dev_facts {
    char dir[PATH_MAX];      /* absolute, no control bytes */
    const char *program_dir; /* of keyvault; goes in front of PATH */
    const char *module;      /* keyvault.so */
    uid_t server_uid;
    uint8_t installation[KV_ID_LEN];
    unsigned port; /* of HTTPS */
    char token[KV_TOKEN_MAX];
    char tenant[64];
};

/* Append the text of openssl.cnf: activates default, then keyvault. */
int kv_dev_openssl_cnf(const struct kv_dev_facts *facts,
                       struct kv_buf *out) KV_MUST_CHECK;

/* Append the text of `env`: shell exports. Holds the token: `out` is a secret buffer.
 */
int kv_dev_env(const struct kv_dev_facts *facts, struct kv_buf *out) KV_MUST_CHECK;

/* Write `path` so that a reader sees the old file or all of the new one: a temporary
 * file of that mode beside it, then rename. KV_E_IO or KV_E_FULL (file.not-written). */
int kv_file_write(const char *path, mode_t mode, const void *data, size_t len,
                  struct kv_err *err) KV_MUST_CHECK;

/* Read a small file without its final newline into `out` with a NUL. KV_E_NOT_FOUND,
 * KV_E_IO (file.not-read), KV_E_TOO_BIG (file.too-big) when it does not fit. */
int kv_file_read_line(const char *path, char *out, size_t out_size,
                      struct kv_err *err) KV_MUST_CHECK;

#endif
