/*
 * JSON Web Signatures in their compact form (RFC 7515) and the public keys that verify
 * them (RFC 7517, RFC 7518 §6, RFC 8037). Pure, any thread; docs/adr/0003-own-jose.md.
 *
 * The key decides which algorithms there are, never the token: `none` and the symmetric
 * ones do not exist here, and members of a header that bring or point to a key (jwk,
 * jku, x5c, x5u) are not looked at. Base64url has one spelling.
 */
#ifndef KV_LIFECYCLE_AUTH_JOSE_H
#define KV_LIFECYCLE_AUTH_JOSE_H

#include <jansson.h>
#include <openssl/evp.h>

#include "store/core/buf.h"
#include "store/core/err.h"

#define KV_JOSE_TOKEN_MAX 16384
#define KV_JOSE_DEPTH_MAX 16
#define KV_JOSE_KID_MAX 255
#define KV_JWKS_BYTES_MAX 262144
#define KV_JWKS_KEYS_MAX 64
#define KV_JOSE_RSA_BITS_MIN 2048
#define KV_JOSE_RSA_BITS_MAX 8192

enum kv_jose_alg {
    KV_JOSE_NONE = 0,
    KV_JOSE_RS256,
    KV_JOSE_RS384,
    KV_JOSE_RS512,
    KV_JOSE_PS256,
    KV_JOSE_PS384,
    KV_JOSE_PS512,
    KV_JOSE_ES256,
    KV_JOSE_ES384,
    KV_JOSE_ES512,
    KV_JOSE_EDDSA, /* Ed25519 */
    KV_JOSE_ALGS_N,
};

/* A set of algorithms: bit 1 << enum kv_jose_alg. */
typedef uint32_t kv_jose_algs;
#define KV_JOSE_BIT(alg) ((kv_jose_algs)1 << (alg))
#define KV_JOSE_ANY (KV_JOSE_BIT(KV_JOSE_ALGS_N) - 2)

/* "ES256" to its number; KV_JOSE_NONE for any other text. */
enum kv_jose_alg kv_jose_alg_find(const char *name);

/* Deepest nesting of brackets outside strings, before a recursing parser sees it. */
unsigned kv_json_depth(const uint8_t *data, size_t len);

/* --- keys ------------------------------------------------------------------------ */

/* A public key and what it may verify. */
struct kv_jwk {
    char kid[KV_JOSE_KID_MAX + 1]; /* "" when it has none */
    EVP_PKEY *key;
    kv_jose_algs algs;
};

struct kv_jwks {
    size_t n;
    struct kv_jwk keys[KV_JWKS_KEYS_MAX];
};

/* Read one public key: RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519, for
 * signatures. jose.bad-key says what is wrong; `out` is empty then. */
int kv_jwk_parse(const json_t *jwk, struct kv_jwk *out,
                 struct kv_err *err) KV_MUST_CHECK;

/* The same of a key that is one already; takes a reference. */
int kv_jwk_from_key(EVP_PKEY *key, struct kv_jwk *out,
                    struct kv_err *err) KV_MUST_CHECK;
void kv_jwk_free(struct kv_jwk *jwk);

/* Read a set. Keys that are for something else, or that nobody could use, are left out
 * (RFC 7517 §5); two usable ones of one kid are jose.bad-keys, as is text that is no
 * set or exceeds a ceiling. `out` is empty then. */
int kv_jwks_parse(const void *text, size_t len, struct kv_jwks *out,
                  struct kv_err *err) KV_MUST_CHECK;
void kv_jwks_free(struct kv_jwks *jwks);

/* The key of this kid; NULL when there is none. */
const struct kv_jwk *kv_jwks_find(const struct kv_jwks *jwks, const char *kid);

/* Name a P-256 key by its thumbprint (RFC 7638), base64url, and write its public JWK
 * with that kid, `use` sig and `alg` ES256. */
int kv_jwk_write_es256(EVP_PKEY *key, char kid[KV_JOSE_KID_MAX + 1],
                       json_t **out) KV_MUST_CHECK;

/* --- signatures ------------------------------------------------------------------ */

struct kv_jws {
    enum kv_jose_alg alg;
    const char *kid;    /* of the header; NULL when absent, like those below */
    const char *typ;    /* RFC 7515 §4.1.9 */
    const char *x5t;    /* SHA-1 of a certificate, base64url */
    const char *x5t256; /* SHA-256 of a certificate, base64url */
    struct kv_buf payload;
    /* private */
    json_t *header;
    struct kv_buf signature;
    struct kv_buf text; /* what is signed */
};

/* Take a compact JWS apart; nothing in it is to be believed yet. jose.malformed: not
 * three parts of canonical base64url, no header object, a member twice, too long;
 * jose.bad-header: crit or b64, a member of a wrong type; jose.bad-algorithm. */
int kv_jws_parse(const char *text, size_t len, struct kv_jws *out,
                 struct kv_err *err) KV_MUST_CHECK;
void kv_jws_free(struct kv_jws *jws);

/* Whether `key` signed it, with an algorithm that `algs` and the key both allow:
 * jose.bad-algorithm, jose.bad-signature. */
int kv_jws_verify(const struct kv_jws *jws, const struct kv_jwk *key, kv_jose_algs algs,
                  struct kv_err *err) KV_MUST_CHECK;

/* Append what is signed: base64url of both, a dot between. */
int kv_jws_begin(const json_t *header, const json_t *payload,
                 struct kv_buf *out) KV_MUST_CHECK;
/* Append the dot and an ECDSA signature (DER, RFC 3279 §2.2.3) of `half_len` bytes for
 * each of r and s. */
int kv_jws_end(const void *der, size_t der_len, size_t half_len,
               struct kv_buf *out) KV_MUST_CHECK;

#endif
