/*
 * Private key files of `keyvault key import`. What is read either makes a JWK whose
 * public part reads back, or is refused with an id. No password comes along: a key
 * derivation takes as long as the file asks for, which is its owner's choice.
 */
#include "lifecycle/cli/pem.h"

#include <string.h>

#include "store/core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_key(EVP_PKEY *key)
{
    json_t *jwk = NULL;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf spki;
    kv_buf_init(&spki, 65536);
    if (kv_pem_to_jwk(key, &jwk, &err) != 0) {
        KV_ASSERT(jwk == NULL);
    } else {
        KV_ASSERT(json_string_value(json_object_get(jwk, "kty")) != NULL);
        int rc = kv_pem_jwk_spki(jwk, &spki, &err);
        KV_ASSERT(rc == 0 || kv_str_has_prefix(err.id, "pem."));
    }
    json_decref(jwk);
    kv_buf_free(&spki);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_buf file;
    EVP_PKEY *key = NULL;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init_secret(&file, 65536);
    int rc = kv_buf_append(&file, data, len);
    if (rc == 0) {
        rc = kv_pem_load_key(&file, NULL, &key, &err);
        KV_ASSERT(rc == 0 || kv_str_has_prefix(err.id, "pem."));
    }
    if (key != NULL)
        check_key(key);
    EVP_PKEY_free(key);
    kv_buf_free(&file);
    return 0;
}
