/*
 * What the signature algorithms share: one context type, hashing, the request to the
 * daemon, delegation of verification. An algorithm is a struct kv_sig_kind plus its
 * dispatch table.
 */
#ifndef KV_PROVIDER_SIG_COMMON_H
#define KV_PROVIDER_SIG_COMMON_H

#include <openssl/x509.h>

#include "provider/delegate.h"

struct kv_sigctx;

struct kv_sig_kind {
    enum kv_pkey_type type;
    /* Read our parameters; unknown ones are ignored. 1 or 0 with a reason raised. */
    int (*set_params)(struct kv_sigctx *ctx, const OSSL_PARAM params[]);
    int (*get_params)(struct kv_sigctx *ctx, OSSL_PARAM params[]);
    /* Fill scheme, digests and salt; may replace `msg->input`. 1 or 0. */
    int (*fill)(struct kv_sigctx *ctx, struct kv_msg_sign *msg);
    /* The AlgorithmIdentifier of signatures made with this context; NULL on failure. */
    X509_ALGOR *(*algorithm)(struct kv_sigctx *ctx);
};

struct kv_sigctx {
    struct kv_prov *prov;
    const struct kv_sig_kind *kind;
    struct kv_pkey *key;
    bool is_digest_op;              /* DIGEST_SIGN: the digest is fixed at init */
    uint8_t md;                     /* enum kv_md; NONE = not set */
    uint8_t mgf1_md;                /* NONE = as md */
    int pad_mode;                   /* RSA only */
    int salt_len;                   /* RSA-PSS only: bytes or RSA_PSS_SALTLEN_* */
    uint8_t block[EVP_MAX_MD_SIZE]; /* RSA only: a digest taken out of a DigestInfo */
    EVP_MD_CTX *md_ctx;             /* local hash; made at the first use, then kept */
    struct kv_delegate *delegate;   /* verification in progress */
};

/* Contexts. */
struct kv_sigctx *kv_sig_new(void *provctx, const struct kv_sig_kind *kind);
void kv_sig_free(void *ctx);
void *kv_sig_dup(void *ctx);

/* Remember key (NULL: keep the one we have) and forget a former operation. */
int kv_sig_begin(struct kv_sigctx *ctx, void *key, bool is_digest_op,
                 const OSSL_PARAM params[]);

/* Set a digest by name. 1, or 0 with a reason raised. */
int kv_sig_set_md(struct kv_sigctx *ctx, const char *name, uint8_t *md);

/* Ask the daemon for a signature of `input`; size query when `sig` is NULL. */
int kv_sig_request(struct kv_sigctx *ctx, unsigned char *sig, size_t *sig_len,
                   size_t sig_size, const unsigned char *input, size_t input_len);

/* Write the DER of kind->algorithm into an "algorithm-id" parameter, if asked for. */
int kv_sig_get_algorithm_id(struct kv_sigctx *ctx, OSSL_PARAM params[]);

/* OSSL_FUNC_signature_* bodies, ready for the tables of RSA and ECDSA. */
int kv_sig_sign_init(void *ctx, void *key, const OSSL_PARAM params[]);
int kv_sig_sign(void *ctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                const unsigned char *tbs, size_t tbs_len);
int kv_sig_verify_init(void *ctx, void *key, const OSSL_PARAM params[]);
int kv_sig_verify(void *ctx, const unsigned char *sig, size_t sig_len,
                  const unsigned char *tbs, size_t tbs_len);
int kv_sig_digest_sign_init(void *ctx, const char *md_name, void *key,
                            const OSSL_PARAM params[]);
int kv_sig_digest_sign_update(void *ctx, const unsigned char *data, size_t len);
int kv_sig_digest_sign_final(void *ctx, unsigned char *sig, size_t *sig_len,
                             size_t sig_size);
int kv_sig_digest_sign(void *ctx, unsigned char *sig, size_t *sig_len, size_t sig_size,
                       const unsigned char *tbs, size_t tbs_len);
int kv_sig_digest_verify_init(void *ctx, const char *md_name, void *key,
                              const OSSL_PARAM params[]);
int kv_sig_digest_verify_update(void *ctx, const unsigned char *data, size_t len);
int kv_sig_digest_verify_final(void *ctx, const unsigned char *sig, size_t sig_len);
int kv_sig_digest_verify(void *ctx, const unsigned char *sig, size_t sig_len,
                         const unsigned char *tbs, size_t tbs_len);
int kv_sig_get_ctx_params(void *ctx, OSSL_PARAM params[]);
int kv_sig_set_ctx_params(void *ctx, const OSSL_PARAM params[]);
int kv_sig_get_ctx_md_params(void *ctx, OSSL_PARAM params[]);
const OSSL_PARAM *kv_sig_gettable_ctx_md_params(void *ctx);
int kv_sig_set_ctx_md_params(void *ctx, const OSSL_PARAM params[]);
const OSSL_PARAM *kv_sig_settable_ctx_md_params(void *ctx);

/* The rows that RSA and ECDSA have in common; all of them, because libcrypto silently
 * drops an algorithm whose set of functions is incomplete. */
#define KV_SIG_ROW(NAME, name, fn)                                                     \
    KV_DISPATCH(OSSL_FUNC_SIGNATURE_##NAME, OSSL_FUNC_signature_##name, fn)
#define KV_SIG_DIGEST_ROWS(gettable, settable)                                         \
    KV_SIG_ROW(FREECTX, freectx, kv_sig_free), KV_SIG_ROW(DUPCTX, dupctx, kv_sig_dup), \
        KV_SIG_ROW(SIGN_INIT, sign_init, kv_sig_sign_init),                            \
        KV_SIG_ROW(SIGN, sign, kv_sig_sign),                                           \
        KV_SIG_ROW(VERIFY_INIT, verify_init, kv_sig_verify_init),                      \
        KV_SIG_ROW(VERIFY, verify, kv_sig_verify),                                     \
        KV_SIG_ROW(DIGEST_SIGN_INIT, digest_sign_init, kv_sig_digest_sign_init),       \
        KV_SIG_ROW(DIGEST_SIGN_UPDATE, digest_sign_update, kv_sig_digest_sign_update), \
        KV_SIG_ROW(DIGEST_SIGN_FINAL, digest_sign_final, kv_sig_digest_sign_final),    \
        KV_SIG_ROW(DIGEST_SIGN, digest_sign, kv_sig_digest_sign),                      \
        KV_SIG_ROW(DIGEST_VERIFY_INIT, digest_verify_init, kv_sig_digest_verify_init), \
        KV_SIG_ROW(DIGEST_VERIFY_UPDATE, digest_verify_update,                         \
                   kv_sig_digest_verify_update),                                       \
        KV_SIG_ROW(DIGEST_VERIFY_FINAL, digest_verify_final,                           \
                   kv_sig_digest_verify_final),                                        \
        KV_SIG_ROW(DIGEST_VERIFY, digest_verify, kv_sig_digest_verify),                \
        KV_SIG_ROW(GET_CTX_PARAMS, get_ctx_params, kv_sig_get_ctx_params),             \
        KV_SIG_ROW(GETTABLE_CTX_PARAMS, gettable_ctx_params, gettable),                \
        KV_SIG_ROW(SET_CTX_PARAMS, set_ctx_params, kv_sig_set_ctx_params),             \
        KV_SIG_ROW(SETTABLE_CTX_PARAMS, settable_ctx_params, settable),                \
        KV_SIG_ROW(GET_CTX_MD_PARAMS, get_ctx_md_params, kv_sig_get_ctx_md_params),    \
        KV_SIG_ROW(GETTABLE_CTX_MD_PARAMS, gettable_ctx_md_params,                     \
                   kv_sig_gettable_ctx_md_params),                                     \
        KV_SIG_ROW(SET_CTX_MD_PARAMS, set_ctx_md_params, kv_sig_set_ctx_md_params),    \
        KV_SIG_ROW(SETTABLE_CTX_MD_PARAMS, settable_ctx_md_params,                     \
                   kv_sig_settable_ctx_md_params)

#endif
