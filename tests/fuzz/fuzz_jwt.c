/*
 * Tokens: whatever comes is refused with an id, or taken apart within its bounds; none
 * of it is ever believed, as the keys here signed nothing.
 */
#include <string.h>

#include "lifecycle/auth/jwt.h"
#include "store/core/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char set[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\","
                          "\"x\":\"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY\","
                          "\"y\":\"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU\"},"
                          "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"o\","
                          "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct kv_jwks keys;
    const struct kv_jwt_rules rules = {
        .issuer = "i", .audience = "a", .algs = KV_JOSE_ANY};
    struct kv_jwt jwt;
    struct kv_err err = KV_ERR_INIT;
    if (keys.n == 0)
        KV_ASSERT(kv_jwks_parse(set, sizeof(set) - 1, &keys, &err) == 0);
    int rc = kv_jwt_parse((const char *)data, len, &jwt, &err);
    if (rc != 0) {
        KV_ASSERT(err.code == rc);
        KV_ASSERT(kv_str_has_prefix(err.id, "jose.") ||
                  kv_str_has_prefix(err.id, "jwt."));
        KV_ASSERT(jwt.claims == NULL && jwt.jws.header == NULL);
        return 0;
    }
    KV_ASSERT(len <= KV_JOSE_TOKEN_MAX && json_is_object(jwt.claims));
    KV_ASSERT(jwt.jws.alg != KV_JOSE_NONE && jwt.jws.signature.len > 0);
    KV_ASSERT(jwt.jws.kid == NULL || strlen(jwt.jws.kid) <= KV_JOSE_KID_MAX);
    rc = kv_jwt_check(&jwt, &keys, &rules, 1800000000, &err);
    KV_ASSERT(rc == KV_E_DENIED && err.id[0] != '\0');
    for (size_t i = 0; i < keys.n; i++)
        KV_ASSERT(kv_jwt_check_with(&jwt, &keys.keys[i], &rules, 1800000000, NULL) ==
                  KV_E_DENIED);
    kv_jwt_free(&jwt);
    return 0;
}
