/*
 * The keyvault: URI (docs/uri.md, keyvault-uri(7)).
 *
 *   canonical  keyvault://[VAULT]/keys/NAME[/VERSION]
 *              keyvault://[VAULT]/certificates/NAME[/VERSION]
 *   listing    keyvault://[VAULT]/keys/   keyvault://[VAULT]/certificates/
 *              keyvault://[VAULT]/   keyvault:
 *   short      keyvault:NAME   keyvault:keys/NAME[/VERSION]
 *              keyvault:certificates/NAME[/VERSION]
 *
 * VAULT 3 to 24 and NAME 1 to 127 of [0-9A-Za-z-]; VERSION 32 lower-case
 * hexadecimal digits. Nothing is percent-encoded, there is no query and no
 * fragment; a whole URI has at most 1,023 bytes. An empty VAULT means the vault
 * that the installation marks as default. Names compare without case.
 */
#ifndef KV_STORE_CORE_URI_H
#define KV_STORE_CORE_URI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

#define KV_URI_MAX 1023
#define KV_VAULT_NAME_MAX 24
#define KV_NAME_MAX 127
#define KV_ID_LEN 16 /* bytes of a version, vault or installation id */
#define KV_VERSION_TEXT_LEN 32

enum kv_uri_collection {
    KV_URI_ANY, /* short form: key, certificate or both, as the caller expects */
    KV_URI_KEYS,
    KV_URI_CERTIFICATES,
};

struct kv_uri {
    char vault[KV_VAULT_NAME_MAX + 1]; /* "" = default vault */
    enum kv_uri_collection collection;
    char name[KV_NAME_MAX + 1]; /* "" = list the collection */
    bool has_version;
    uint8_t version[KV_ID_LEN];
};

/* Parse `len` bytes (no NUL needed). Returns 0 or KV_E_INVALID / KV_E_TOO_BIG with
 * an id uri.*; `out` is untouched on failure. */
int kv_uri_parse(const char *text, size_t len, struct kv_uri *out,
                 struct kv_err *err) KV_MUST_CHECK;

/* Write the canonical form and a NUL; KV_URI_ANY with a name is written short.
 * `out_size` of KV_URI_MAX + 1 always suffices. */
int kv_uri_format(const struct kv_uri *uri, char *out, size_t out_size) KV_MUST_CHECK;

/* Whether the text is an object name, a vault name (letter first, no double or
 * final hyphen). */
bool kv_name_is_valid(const char *text, size_t len);
bool kv_vault_name_is_valid(const char *text, size_t len);

#endif
