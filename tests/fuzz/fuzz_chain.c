/*
 * Certificates from outside: each is a 16-bit length (little-endian) and that many
 * bytes, DER or not. The chain is put in order for the key of its last certificate and
 * checked; whatever happens, the same certificates are there afterwards, refused ones
 * untouched, and what is written to JSON is read again.
 */
#include <openssl/err.h>
#include <string.h>

#include "lifecycle/certs/chain_internal.h"

#define SPKI_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char sans[] =
    "{\"dns_names\":[\"a.example\"],\"emails\":[\"me@a.example\"],"
    "\"uris\":[\"https://a.example\"],\"upns\":[\"me@a.example\"],"
    "\"ipAddresses\":[\"192.0.2.1\",\"2001:db8::1\"]}";

static struct kv_chain split(const uint8_t *data, size_t len)
{
    struct kv_chain chain = {.n = 0};
    struct kv_wire wire;

    kv_wire_init(&wire, data, len);
    while (wire.left >= 2 && chain.n < KV_CHAIN_MAX) {
        size_t wanted = kv_wire_u16(&wire);
        size_t n = wanted < wire.left ? wanted : wire.left;
        chain.der[chain.n++] =
            (struct kv_bytes){.data = n > 0 ? wire.at : NULL, .len = n};
        wire.at += n;
        wire.left -= n;
    }
    return chain;
}

static bool is_one_of(const char *id, const char *const *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(id, ids[i]) == 0)
            return true;
    return false;
}

/* The public key of a certificate into `out`; an empty one when it is none. */
static void key_of(struct kv_bytes der, struct kv_buf *out)
{
    uint8_t *spki = NULL;
    X509 *cert = kv_chain_cert(der);
    int len = cert != NULL ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki) : 0;

    if (len > 0)
        KV_ASSERT(kv_buf_append(out, spki, (size_t)len) == 0);
    OPENSSL_free(spki);
    X509_free(cert);
    ERR_clear_error();
}

static void read_one(struct kv_bytes der)
{
    struct kv_cert_facts facts;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf text;

    kv_buf_init(&text, KV_CERT_DER_MAX * 4);
    int rc = kv_cert_facts(der, &facts, &err);
    KV_ASSERT(rc == err.code && (rc == 0 || strncmp(err.id, "chain.bad-", 10) == 0));
    KV_ASSERT(rc != 0 || der.len <= KV_CERT_DER_MAX);
    rc = kv_cert_subject(der, &text);
    KV_ASSERT(rc == KV_E_INVALID || strcmp(err.id, "chain.bad-certificate") != 0);
    KV_ASSERT(ERR_peek_error() == 0);
    kv_buf_free(&text);
}

static void order(struct kv_chain *chain, struct kv_bytes spki)
{
    static const char *const ids[] = {"chain.no-leaf", "chain.bad-certificate"};
    struct kv_chain before = *chain;
    struct kv_err err = KV_ERR_INIT;
    int rc = kv_chain_order(chain, spki, &err);

    KV_ASSERT(rc == err.code && (rc == 0 || is_one_of(err.id, ids, 2)));
    if (rc != 0)
        KV_ASSERT(memcmp(&before, chain, sizeof(before)) == 0);
    for (size_t i = 0; i < before.n; i++) {
        size_t n = 0;
        for (size_t j = 0; j < before.n; j++)
            n += chain->der[j].data == before.der[i].data &&
                 chain->der[j].len == before.der[i].len;
        KV_ASSERT(n >= 1);
    }
    KV_ASSERT(ERR_peek_error() == 0);
}

static void check(const struct kv_chain *chain, struct kv_bytes spki,
                  const json_t *names)
{
    static const char *const ids[] = {"chain.key-mismatch", "chain.name-mismatch",
                                      "chain.bad-dates", "chain.broken",
                                      "chain.bad-certificate"};
    const struct kv_policy policies[] = {
        {.subject = "CN=a.example", .sans = names, .issuer = "CA"},
        {.subject = "CN=a.example, O=Org", .issuer = "Self"},
        {.subject = "", .sans = names, .issuer = "CA"},
    };
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        int rc = kv_chain_check(chain, spki, &policies[i], 1750000000, &err);
        KV_ASSERT(rc == err.code && (rc == 0 || is_one_of(err.id, ids, 5)));
        KV_ASSERT(ERR_peek_error() == 0);
    }
}

static void write_and_read(const struct kv_chain *chain)
{
    struct kv_chain again;
    struct kv_buf store;
    json_t *array = kv_chain_write(chain);

    KV_ASSERT(array != NULL);
    kv_buf_init(&store, (size_t)KV_CHAIN_MAX * KV_CERT_DER_MAX);
    KV_ASSERT(kv_chain_read(array, &store, &again) == 0 && again.n == chain->n);
    for (size_t i = 0; i < chain->n; i++)
        KV_ASSERT(again.der[i].len == chain->der[i].len &&
                  memcmp(again.der[i].data, chain->der[i].data, again.der[i].len) == 0);
    kv_buf_reset(&store);
    KV_ASSERT(kv_chain_pem(chain, &store) == 0 && store.len > 0);
    kv_buf_free(&store);
    json_decref(array);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static json_t *names;
    struct kv_buf spki;
    struct kv_chain chain = split(data, len);

    if (names == NULL)
        names = json_loads(sans, 0, NULL);
    KV_ASSERT(names != NULL);
    kv_buf_init(&spki, SPKI_MAX);
    for (size_t i = 0; i < chain.n; i++)
        read_one(chain.der[i]);
    if (chain.n > 0)
        key_of(chain.der[chain.n - 1], &spki);
    struct kv_bytes key = {spki.data, spki.len};
    check(&chain, key, names);
    order(&chain, key);
    check(&chain, key, names);
    bool is_whole = chain.n > 0;
    for (size_t i = 0; i < chain.n; i++)
        is_whole =
            is_whole && chain.der[i].len > 0 && chain.der[i].len <= KV_CERT_DER_MAX;
    if (is_whole)
        write_and_read(&chain);
    kv_buf_free(&spki);
    return 0;
}
