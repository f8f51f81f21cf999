/*
 * Key sets: whatever comes is refused with an id, or a set of usable keys of different
 * names, each within its bounds and for algorithms of its own type.
 */
#include <string.h>

#include "lifecycle/auth/jose.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct kv_jwks keys;
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_jwks_parse(data, len, &keys, &err);
    if (rc != 0) {
        KV_ASSERT(err.code == rc && strcmp(err.id, "jose.bad-keys") == 0);
        KV_ASSERT(keys.n == 0);
        return 0;
    }
    KV_ASSERT(keys.n <= KV_JWKS_KEYS_MAX && len <= KV_JWKS_BYTES_MAX);
    for (size_t i = 0; i < keys.n; i++) {
        const struct kv_jwk *jwk = &keys.keys[i];
        int type = EVP_PKEY_get_base_id(jwk->key);
        KV_ASSERT(jwk->algs != 0 && jwk->kid[0] != '\0');
        KV_ASSERT(kv_jwks_find(&keys, jwk->kid) == jwk);
        KV_ASSERT(type == EVP_PKEY_RSA || type == EVP_PKEY_EC ||
                  type == EVP_PKEY_ED25519);
        if (type == EVP_PKEY_RSA)
            KV_ASSERT(EVP_PKEY_get_bits(jwk->key) >= KV_JOSE_RSA_BITS_MIN &&
                      EVP_PKEY_get_bits(jwk->key) <= KV_JOSE_RSA_BITS_MAX);
    }
    kv_jwks_free(&keys);
    return 0;
}
