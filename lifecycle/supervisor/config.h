/*
 * keyvault.conf (keyvault.conf(5)): blocks of `name = value`, read with libconfuse.
 *
 * Every error names file and line and what was expected. The size of the file and the
 * depth of its blocks are checked before the parser sees a byte. Paths and users are
 * not looked up here: this is syntax and ranges, so that `keyvaultd -t` can run
 * anywhere.
 */
#ifndef KV_LIFECYCLE_SUPERVISOR_CONFIG_H
#define KV_LIFECYCLE_SUPERVISOR_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lifecycle/supervisor/user.h"
#include "store/core/err.h"
#include "store/core/log.h"

#define KV_CONFIG_MAX_BYTES 262144
#define KV_CONFIG_MAX_DEPTH 8
#define KV_LISTEN_MAX 256
#define KV_CONFIG_ISSUERS_MAX 8
#define KV_CONFIG_ISSUER_MAX 1536

struct kv_config {
    char listen[KV_LISTEN_MAX]; /* "HOST:PORT" or "[V6]:PORT"; "" = not set */
    char domain[200];           /* vault hosts are NAME.<domain>; "" = not set */
    char keyring_user[KV_USER_NAME_MAX];
    char service_user[KV_USER_NAME_MAX];
    char prepared_nonces[8]; /* "auto", "on" or "off" */
    bool allow_swap;         /* start even if memory cannot be locked */
    enum kv_log_level log_level;
    bool is_audit_off;
    char audit_dir[PATH_MAX]; /* "" = audit in the state directory */
    char audit_size[16];      /* of a segment: "256M"; "" = not set */
    char audit_keep[8];       /* segments; "" = not set */
    char quota[4][16];        /* per 10 s: create, use, write, other; "" = not set */
    char log_format[16];      /* "auto", "text", "json" or "journald" */
    size_t n_oidc_issuers;
    char oidc_issuers[KV_CONFIG_ISSUERS_MAX][KV_CONFIG_ISSUER_MAX]; /* --oidc-issuer */
};

/* What holds without a file. */
void kv_config_init(struct kv_config *out);

/* Parse `len` bytes that came from `file` (for messages). On failure `out` is
 * untouched: KV_E_TOO_BIG (config.too-big), KV_E_INVALID (config.too-deep,
 * config.bad-byte, config.unfinished, config.syntax, config.bad-value,
 * config.not-offered, config.bad-issuer). Not reentrant
 * across threads sharing a locale; one call at a time. */
int kv_config_parse(const char *text, size_t len, const char *file,
                    struct kv_config *out, struct kv_err *err) KV_MUST_CHECK;

/* Read and parse a file. KV_E_NOT_FOUND (config.missing) when there is none, KV_E_IO
 * (config.unreadable). */
int kv_config_load(const char *file, struct kv_config *out,
                   struct kv_err *err) KV_MUST_CHECK;

/* "256M" or bytes: what a size option takes, 64K to 1T. KV_E_INVALID. */
int kv_config_size(const char *text, int64_t *out) KV_MUST_CHECK;

/* Whether the text is HOST:PORT or [ADDRESS]:PORT with a port of 0 to 65535. */
bool kv_config_listen_is_valid(const char *text);

#endif
