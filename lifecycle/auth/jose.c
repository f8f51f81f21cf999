/*
 * Compact JWS: taken apart, verified, and put together around a signature that the
 * keyring makes.
 *
 * An algorithm is a row of a table. Before libcrypto sees a signature its length is
 * what the key says: 2n bytes for ECDSA, the modulus for RSA.
 */
#include "lifecycle/auth/jose.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

#include "lifecycle/auth/ecdsa.h"
#include "store/core/b64.h"
#include "store/core/secret.h"

static const struct algorithm {
    const char *name;
    int type;          /* EVP_PKEY_* */
    const char *md;    /* NULL: the key hashes by itself */
    unsigned half_len; /* ECDSA: bytes of r and of s */
    bool is_pss;
} algorithms[KV_JOSE_ALGS_N] = {
    [KV_JOSE_RS256] = {"RS256", EVP_PKEY_RSA, "SHA256", 0, false},
    [KV_JOSE_RS384] = {"RS384", EVP_PKEY_RSA, "SHA384", 0, false},
    [KV_JOSE_RS512] = {"RS512", EVP_PKEY_RSA, "SHA512", 0, false},
    [KV_JOSE_PS256] = {"PS256", EVP_PKEY_RSA, "SHA256", 0, true},
    [KV_JOSE_PS384] = {"PS384", EVP_PKEY_RSA, "SHA384", 0, true},
    [KV_JOSE_PS512] = {"PS512", EVP_PKEY_RSA, "SHA512", 0, true},
    [KV_JOSE_ES256] = {"ES256", EVP_PKEY_EC, "SHA256", 32, false},
    [KV_JOSE_ES384] = {"ES384", EVP_PKEY_EC, "SHA384", 48, false},
    [KV_JOSE_ES512] = {"ES512", EVP_PKEY_EC, "SHA512", 66, false},
    [KV_JOSE_EDDSA] = {"EdDSA", EVP_PKEY_ED25519, NULL, 0, false},
};

enum kv_jose_alg kv_jose_alg_find(const char *name)
{
    for (int alg = KV_JOSE_NONE + 1; alg < KV_JOSE_ALGS_N; alg++)
        if (strcmp(name, algorithms[alg].name) == 0)
            return (enum kv_jose_alg)alg;
    return KV_JOSE_NONE;
}

unsigned kv_json_depth(const uint8_t *data, size_t len)
{
    unsigned depth = 0;
    unsigned deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = data[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            deepest = ++depth > deepest ? depth : deepest;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return deepest;
}

/* --- taking apart ---------------------------------------------------------------- */

static int malformed(struct kv_err *err, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "jose.malformed", "the token %s", what);
}

/* Decode one part: up to the next dot, or to the end when it is the last one. */
static int take_part(const char **text, size_t *len, bool is_last, struct kv_buf *out,
                     struct kv_err *err)
{
    const char *dot = memchr(*text, '.', *len);
    if ((dot == NULL) != is_last)
        return malformed(err, "does not have three parts");
    size_t part_len = is_last ? *len : (size_t)(dot - *text);
    int rc =
        part_len > 0 ? kv_b64_decode(KV_B64_URL, *text, part_len, out) : KV_E_INVALID;
    if (rc == KV_E_NOMEM)
        return rc;
    if (rc != 0 || out->len == 0)
        return malformed(err, "has a part that is not canonical base64url");
    *text += part_len + !is_last;
    *len -= part_len + !is_last;
    return 0;
}

/* A text member of the header into *out. */
static int text_member(const json_t *header, const char *name, const char **out,
                       struct kv_err *err)
{
    const json_t *value = json_object_get(header, name);
    if (value == NULL)
        return 0;
    *out = json_string_value(value);
    if (*out != NULL && (*out)[0] != '\0' && strlen(*out) <= KV_JOSE_KID_MAX)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "jose.bad-header",
                      "the header's '%s' must be a text of 1 to %d bytes", name,
                      KV_JOSE_KID_MAX);
}

static int read_header(const struct kv_buf *bytes, struct kv_jws *out,
                       struct kv_err *err)
{
    if (kv_json_depth(bytes->data, bytes->len) > KV_JOSE_DEPTH_MAX)
        return malformed(err, "has a header that nests too deep");
    size_t n_failures = kv_wiping_failures();
    out->header =
        json_loadb((const char *)bytes->data, bytes->len, JSON_REJECT_DUPLICATES, NULL);
    if (kv_wiping_failures() != n_failures)
        return KV_E_NOMEM;
    if (!json_is_object(out->header))
        return malformed(err, "has a header that is no JSON object");
    if (json_object_get(out->header, "crit") != NULL ||
        json_object_get(out->header, "b64") != NULL)
        return kv_err_set(err, KV_E_INVALID, "jose.bad-header",
                          "the header asks for extensions (crit, b64)");
    const char *alg = json_string_value(json_object_get(out->header, "alg"));
    out->alg = alg != NULL ? kv_jose_alg_find(alg) : KV_JOSE_NONE;
    if (out->alg == KV_JOSE_NONE)
        return kv_err_set(err, KV_E_INVALID, "jose.bad-algorithm",
                          "the header names no algorithm that is accepted");
    int rc = 0;
    KV_TRY(text_member(out->header, "kid", &out->kid, err));
    KV_TRY(text_member(out->header, "typ", &out->typ, err));
    KV_TRY(text_member(out->header, "x5t", &out->x5t, err));
    KV_TRY(text_member(out->header, "x5t#S256", &out->x5t256, err));
out:
    return rc;
}

int kv_jws_parse(const char *text, size_t len, struct kv_jws *out, struct kv_err *err)
{
    struct kv_buf header;
    int rc = 0;
    memset(out, 0, sizeof(*out));
    kv_buf_init(&header, KV_JOSE_TOKEN_MAX);
    kv_buf_init_secret(&out->payload, KV_JOSE_TOKEN_MAX);
    kv_buf_init(&out->signature, KV_JOSE_TOKEN_MAX);
    kv_buf_init_secret(&out->text, KV_JOSE_TOKEN_MAX);
    if (len > KV_JOSE_TOKEN_MAX) {
        rc = malformed(err, "is longer than 16 KiB");
        goto out;
    }
    const char *at = text;
    size_t left = len;
    KV_TRY(take_part(&at, &left, false, &header, err));
    KV_TRY(take_part(&at, &left, false, &out->payload, err));
    KV_TRY(kv_buf_append(&out->text, text, (size_t)(at - text) - 1));
    KV_TRY(take_part(&at, &left, true, &out->signature, err));
    KV_TRY(read_header(&header, out, err));
out:
    kv_buf_free(&header);
    if (rc != 0)
        kv_jws_free(out);
    return rc;
}

void kv_jws_free(struct kv_jws *jws)
{
    json_decref(jws->header);
    kv_buf_free(&jws->payload);
    kv_buf_free(&jws->signature);
    kv_buf_free(&jws->text);
    jws->header = NULL;
    jws->kid = NULL;
    jws->typ = NULL;
    jws->x5t = NULL;
    jws->x5t256 = NULL;
    jws->alg = KV_JOSE_NONE;
}

/* --- verifying ------------------------------------------------------------------- */

static bool has_right_length(const struct kv_jws *jws, const struct algorithm *alg,
                             const struct kv_jwk *key)
{
    size_t len = jws->signature.len;
    if (alg->half_len != 0)
        return len == (size_t)2 * alg->half_len;
    if (alg->type == EVP_PKEY_RSA)
        return len == (size_t)EVP_PKEY_get_size(key->key);
    return len == 64;
}

static bool verify(const struct kv_jws *jws, const struct algorithm *alg, EVP_PKEY *key,
                   const struct kv_buf *signature)
{
    EVP_PKEY_CTX *pctx = NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool is_good = ctx != NULL && EVP_DigestVerifyInit_ex(ctx, &pctx, alg->md, NULL,
                                                          NULL, key, NULL) == 1;
    if (is_good && alg->is_pss)
        is_good = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                  EVP_PKEY_CTX_set_rsa_mgf1_md_name(pctx, alg->md, NULL) == 1 &&
                  EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    is_good = is_good && EVP_DigestVerify(ctx, signature->data, signature->len,
                                          jws->text.data, jws->text.len) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return is_good;
}

int kv_jws_verify(const struct kv_jws *jws, const struct kv_jwk *key, kv_jose_algs algs,
                  struct kv_err *err)
{
    const struct algorithm *alg = &algorithms[jws->alg];
    struct kv_buf der;
    int rc = 0;
    if (jws->alg == KV_JOSE_NONE || (KV_JOSE_BIT(jws->alg) & algs & key->algs) == 0 ||
        EVP_PKEY_get_base_id(key->key) != alg->type)
        return kv_err_set(err, KV_E_DENIED, "jose.bad-algorithm",
                          "the token's algorithm is not one of its key");
    kv_buf_init(&der, 256);
    bool is_good = has_right_length(jws, alg, key);
    if (is_good && alg->half_len != 0)
        KV_TRY(kv_ecdsa_to_der(jws->signature.data, alg->half_len, &der));
    if (!is_good ||
        !verify(jws, alg, key->key, alg->half_len != 0 ? &der : &jws->signature))
        rc = kv_err_set(err, KV_E_DENIED, "jose.bad-signature",
                        "the token is not signed by the key that it names");
out:
    kv_buf_free(&der);
    return rc;
}

/* --- putting together ------------------------------------------------------------ */

static int append_json(const json_t *json, struct kv_buf *out)
{
    size_t n_failures = kv_wiping_failures();
    char *text = json_dumps(json, JSON_COMPACT);
    int rc = text != NULL && kv_wiping_failures() == n_failures
                 ? kv_b64_encode(KV_B64_URL, text, strlen(text), out)
                 : KV_E_NOMEM;
    json_free_t release = NULL;
    json_get_alloc_funcs(NULL, &release);
    release(text);
    return rc;
}

int kv_jws_begin(const json_t *header, const json_t *payload, struct kv_buf *out)
{
    int rc = 0;
    KV_TRY(append_json(header, out));
    KV_TRY(kv_buf_append_str(out, "."));
    KV_TRY(append_json(payload, out));
out:
    return rc;
}

int kv_jws_end(const void *der, size_t der_len, size_t half_len, struct kv_buf *out)
{
    struct kv_buf raw;
    int rc = 0;
    kv_buf_init(&raw, 2 * half_len);
    KV_TRY(kv_ecdsa_from_der((struct kv_bytes){der, der_len}, half_len, &raw));
    KV_TRY(kv_buf_append_str(out, "."));
    KV_TRY(kv_b64_encode(KV_B64_URL, raw.data, raw.len, out));
out:
    kv_buf_free(&raw);
    return rc;
}
