/*
 * Certificate files of `keyvault cert merge`. What is read is a list of texts that
 * decode to certificates; what is not is refused with an id.
 */
#include <openssl/x509.h>
#include <string.h>

#include "lifecycle/cli/chain.h"
#include "store/core/b64.h"
#include "store/core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_item(const json_t *item)
{
    struct kv_buf der;
    kv_buf_init(&der, 262144);
    const char *text = json_string_value(item);
    KV_ASSERT(text != NULL);
    KV_ASSERT(kv_b64_decode(KV_B64_STD, text, strlen(text), &der) == 0);
    const uint8_t *at = der.data;
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);
    KV_ASSERT(cert != NULL);
    X509_free(cert);
    kv_buf_free(&der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_buf file;
    json_t *x5c = NULL;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&file, 262144);
    if (kv_buf_append(&file, data, len) == 0) {
        int rc = kv_chain_load(&file, &x5c, &err);
        KV_ASSERT(rc == 0 || kv_str_has_prefix(err.id, "pem.") || rc == KV_E_TOO_BIG);
        KV_ASSERT(rc == 0 ? json_array_size(x5c) > 0 : x5c == NULL);
        for (size_t i = 0; i < json_array_size(x5c); i++)
            check_item(json_array_get(x5c, i));
    }
    json_decref(x5c);
    kv_buf_free(&file);
    return 0;
}
