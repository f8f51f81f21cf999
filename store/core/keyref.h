/*
 * The content of a KEYVAULT KEY URI file: a name for a key that stays in the vault,
 * and so that a server can start without asking, its public part.
 *
 *   -----BEGIN KEYVAULT KEY URI-----
 *   SEQUENCE {
 *     version  INTEGER (1),
 *     uri      UTF8String,             keyvault: URI of a key
 *     keyType  UTF8String OPTIONAL,    "RSA", "EC" or "ED25519"
 *     spki     SubjectPublicKeyInfo OPTIONAL }   only behind a keyType
 *
 * A reference is pinned when its URI carries a version and the public key is inside.
 * The file holds no secret. Any thread.
 */
#ifndef KV_STORE_CORE_KEYREF_H
#define KV_STORE_CORE_KEYREF_H

#include "store/core/buf.h"
#include "store/core/uri.h"

#define KV_KEYREF_PEM_LABEL "KEYVAULT KEY URI"
#define KV_KEYREF_SPKI_MAX 1024
#define KV_KEYREF_DER_MAX 4096
#define KV_KEYREF_TYPE_MAX 15

struct kv_keyref {
    struct kv_uri uri;                     /* names a key, never a listing */
    char key_type[KV_KEYREF_TYPE_MAX + 1]; /* "" = not said */
    uint8_t spki[KV_KEYREF_SPKI_MAX];      /* DER */
    size_t spki_len;                       /* 0 = not inside */
};

/* Append the DER. Returns 0, KV_E_INVALID (no name, unknown key type, a public key
 * without its type) or KV_E_NOMEM / KV_E_TOO_BIG. */
int kv_keyref_encode(const struct kv_keyref *ref, struct kv_buf *out,
                     struct kv_err *err) KV_MUST_CHECK;

/* Append the PEM text, at most 8 KiB. */
int kv_keyref_encode_pem(const struct kv_keyref *ref, struct kv_buf *out,
                         struct kv_err *err) KV_MUST_CHECK;

/* Read exactly `len` bytes of DER. Returns 0 or KV_E_INVALID (keyref.malformed,
 * keyref.version, keyref.bad-type, or an id uri.*); `out` is untouched on failure.
 * The public key's outer structure is checked, its content is not. */
int kv_keyref_decode(const uint8_t *der, size_t len, struct kv_keyref *out,
                     struct kv_err *err) KV_MUST_CHECK;

/* Whether the key is named with its version and its public key is inside. */
bool kv_keyref_is_pinned(const struct kv_keyref *ref);

#endif
