/*
 * Foreign keys: the first byte selects the form, the second the curve, the rest is
 * the material; the password is always "secret". What is accepted is a key that
 * passes every check and survives the way into a sealed row and back; what is
 * refused says why under an id of its own and leaves nothing behind.
 */
#include <string.h>

#include "store/core/str.h"
#include "store/keyring/key_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_accepted(const struct kv_key *key, const struct kv_key_certs *certs)
{
    struct kv_buf der;
    struct kv_key *again = NULL;
    kv_buf_init_secret(&der, KV_BODY_MAX);
    KV_ASSERT(kv_key_check(key, NULL) == 0);
    KV_ASSERT(kv_key_to_pkcs8(key, &der) == 0);
    struct kv_bytes bytes = {.data = der.data, .len = der.len};
    KV_ASSERT(kv_key_from_pkcs8(bytes, &again, NULL) == 0);
    struct kv_bytes spki = kv_key_spki(key);
    KV_ASSERT(spki.len > 0 && spki.len == kv_key_spki(again).len);
    KV_ASSERT(memcmp(spki.data, kv_key_spki(again).data, spki.len) == 0);
    if (certs->n > 0) {
        struct kv_bytes leaf = {.data = certs->der[0].data, .len = certs->der[0].len};
        KV_ASSERT(kv_key_fits_cert(key, leaf));
    }
    kv_key_unref(again);
    kv_buf_free(&der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const uint8_t password[] = {'s', 'e', 'c', 'r', 'e', 't'};
    struct kv_key *key = NULL;
    struct kv_key_certs certs = {.n = 0};
    struct kv_err err = KV_ERR_INIT;
    KV_ASSERT(kv_keys_init(NULL) == 0);
    if (len < 2)
        return 0;
    struct kv_role_key_new request = {.import = data[0] % 8,
                                      .curve = data[1] % 8,
                                      .password = {password, sizeof(password)},
                                      .material = {data + 2, len - 2}};
    int rc = kv_key_import(&request, &key, &certs, &err);
    if (rc == 0) {
        check_accepted(key, &certs);
    } else {
        KV_ASSERT(key == NULL && certs.n == 0);
        KV_ASSERT(kv_str_has_prefix(err.id, "key.import-"));
    }
    kv_key_certs_free(&certs);
    kv_key_unref(key);
    return 0;
}
