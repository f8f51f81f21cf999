/*
 * What an issuer publishes of itself: refused with an id, or one https address of keys.
 */
#include <string.h>

#include "lifecycle/auth/oidc.h"
#include "store/core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_oidc_issuer issuer;
    struct kv_err err = KV_ERR_INIT;
    KV_ASSERT(kv_oidc_read("name=a,issuer=https://i.example", &issuer, &err) == 0);
    int rc = kv_oidc_take_metadata(&issuer, data, len, &err);
    if (rc != 0)
        KV_ASSERT(strcmp(err.id, "auth.bad-metadata") == 0 && issuer.jwks_uri[0] == 0);
    else
        KV_ASSERT(kv_str_has_prefix(issuer.jwks_uri, "https://"));
    char text[KV_OIDC_TEXT_MAX];
    kv_str_cut(text, sizeof(text), (const char *)data, len);
    err = KV_ERR_INIT;
    if (memchr(text, '\0', len) == NULL || len < sizeof(text)) {
        rc = kv_oidc_read(text, &issuer, &err);
        KV_ASSERT(rc != 0 || kv_str_has_prefix(issuer.issuer, "https://"));
        KV_ASSERT(rc == 0 || strcmp(err.id, "auth.bad-issuer") == 0);
    }
    return 0;
}
