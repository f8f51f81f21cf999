/*
 * What the files of keyvault.so share: the provider context, the dispatch tables and
 * the small macros that keep those tables readable. Internal to this folder.
 *
 * One kv_prov exists per library context that loads the module. It is read-only
 * after OSSL_provider_init, apart from the client's lock-free connection pool and
 * the digest cache, so every function here may be called on any thread.
 */
#ifndef KV_PROVIDER_PROVIDER_H
#define KV_PROVIDER_PROVIDER_H

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "provider/client.h"
#include "provider/reason.h"

#define KV_PROV_N_MD 9 /* enum kv_md, KV_MD_NONE included */

struct kv_prov {
    struct kv_reason_core core; /* how to report errors to the host's queue */
    OSSL_LIB_CTX *libctx;       /* our own: default provider, no configuration file */
    struct kv_trace *trace;     /* NULL: off */
    struct kv_client *client;
    OSSL_FUNC_provider_up_ref_fn *up_ref; /* both may be NULL */
    OSSL_FUNC_provider_free_fn *free_ref;
    _Atomic(EVP_MD *) md[KV_PROV_N_MD]; /* fetched once, kept until teardown */
};

/* One row of a dispatch table: the compiler checks `fn` against the OSSL_FUNC type. */
#define KV_DISPATCH(ID, type, fn)                                                      \
    {                                                                                  \
        (ID), (void (*)(void))(__builtin_choose_expr(                                  \
                  __builtin_types_compatible_p(__typeof__(fn), __typeof__(type##_fn)), \
                  (fn), kv_prov_wrong_signature))                                      \
    }
#define KV_DISPATCH_END                                                                \
    {                                                                                  \
        0, NULL                                                                        \
    }
extern void kv_prov_wrong_signature(void)
    __attribute__((error("function does not fit its OSSL_FUNC type")));

extern const OSSL_DISPATCH kv_keymgmt_rsa[];
extern const OSSL_DISPATCH kv_keymgmt_ec[];
extern const OSSL_DISPATCH kv_keymgmt_ed25519[];
extern const OSSL_DISPATCH kv_sig_rsa[];
extern const OSSL_DISPATCH kv_sig_ecdsa[];
extern const OSSL_DISPATCH kv_sig_eddsa[];
extern const OSSL_DISPATCH kv_asym_rsa[];
extern const OSSL_DISPATCH kv_keyexch_ecdh[];
extern const OSSL_DISPATCH kv_store_functions[];
extern const OSSL_DISPATCH kv_decoder_pem[];
extern const OSSL_DISPATCH kv_decoder_rsa[];
extern const OSSL_DISPATCH kv_decoder_ec[];
extern const OSSL_DISPATCH kv_decoder_ed25519[];
extern const OSSL_DISPATCH kv_encoder_private[];
extern const OSSL_DISPATCH kv_encoder_rsa_text[];
extern const OSSL_DISPATCH kv_encoder_ec_text[];
extern const OSSL_DISPATCH kv_encoder_ed25519_text[];

/* Each key holds the provider: hosts free keys after libcrypto has cleaned up, in
 * static destructors, and libcrypto 3.0 crashes when that frees the last of a provider
 * which has reason strings. From then on nothing is given back. */
void kv_prov_hold(struct kv_prov *prov);
void kv_prov_release(struct kv_prov *prov);

/* The digest of that number from our own library context, fetched at its first use;
 * NULL for unknown numbers. Borrowed from the provider context. */
const EVP_MD *kv_prov_md(struct kv_prov *prov, uint8_t md);

/* The number of a digest that OpenSSL calls `name` ("SHA256", "SHA2-256",
 * "id-sha256"); KV_MD_NONE when the key channel does not offer it. */
uint8_t kv_prov_md_by_name(struct kv_prov *prov, const char *name);

#endif
