/*
 * Bodies to sign: the first byte selects request or self-issued certificate, the
 * rest is the body; the key is the P-256 key of the fixtures. Whatever is signed is
 * readable and carries that very key; whatever is refused leaves nothing behind.
 */
#include <openssl/x509.h>

#include <string.h>

#include "store/keyring/key_internal.h"
#include "tests/support/fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct kv_key *load_key(void)
{
    struct kv_buf der;
    struct kv_key *key = NULL;
    KV_ASSERT(kv_keys_init(NULL) == 0);
    fixture_read("keys/prime256v1.sec1.der", &der);
    struct kv_role_key_new request = {.import = KV_IMPORT_DER,
                                      .material = fixture_bytes(&der)};
    KV_ASSERT(kv_key_import(&request, &key, NULL, NULL) == 0);
    kv_buf_free(&der);
    return key;
}

static bool request_fits(const struct kv_key *key, const struct kv_buf *out)
{
    const uint8_t *at = out->data;
    uint8_t *spki = NULL;
    X509_REQ *req = d2i_X509_REQ(NULL, &at, (long)out->len);
    int len = req != NULL ? i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(req), &spki) : -1;
    struct kv_bytes own = kv_key_spki(key);
    bool fits =
        len > 0 && (size_t)len == own.len && memcmp(spki, own.data, own.len) == 0;
    OPENSSL_free(spki);
    X509_REQ_free(req);
    return fits;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct kv_key *key;
    struct kv_buf out;
    struct kv_err err = KV_ERR_INIT;
    if (key == NULL)
        key = load_key();
    if (len < 1)
        return 0;
    kv_buf_init(&out, 65536);
    struct kv_role_tbs msg = {
        .tbs = data[0] % 4, .md = KV_MD_SHA256, .der = {data + 1, len - 1}};
    if (kv_key_sign_tbs(key, &msg, &out, &err) != 0) {
        KV_ASSERT(out.len == 0 && strncmp(err.id, "key.tbs-", 8) == 0);
    } else if (msg.tbs == KV_TBS_CSR) {
        KV_ASSERT(request_fits(key, &out));
    } else {
        KV_ASSERT(kv_key_fits_cert(key, fixture_bytes(&out)));
    }
    kv_buf_free(&out);
    return 0;
}
