/* The chain of a certificate's document, as the keyring's CERT question needs it. */
#include <criterion/criterion.h>
#include <string.h>

#include "lifecycle/service/grants.h"

TestSuite(grants, .timeout = 20);

static struct kv_buf der;
static struct kv_msg_certs certs;
static struct kv_err err;

static void setup(void)
{
    kv_buf_init(&der, (size_t)KV_CHAIN_MAX * KV_CERT_DER_MAX);
}

static void teardown(void)
{
    kv_buf_free(&der);
}

static int read_chain(const char *text)
{
    json_t *doc = json_loads(text, 0, NULL);
    cr_assert_not_null(doc, "%s", text);
    kv_buf_reset(&der);
    err = KV_ERR_INIT;
    const int rc = kv_grants_read_chain(doc, &der, &certs, &err);
    json_decref(doc);
    return rc;
}

Test(grants, chain_is_read_leaf_first, .init = setup, .fini = teardown)
{
    cr_assert_eq(read_chain("{\"chain\":[\"bGVhZg==\",\"Y2E=\"]}"), 0);
    cr_assert_eq(certs.n, 2);
    cr_expect_eq(certs.der[0].len, 4);
    cr_expect_eq(memcmp(certs.der[0].data, "leaf", 4), 0);
    cr_expect_eq(certs.der[1].len, 2);
    cr_expect_eq(memcmp(certs.der[1].data, "ca", 2), 0);
}

Test(grants, certificate_that_is_not_there_yet_is_pending, .init = setup,
     .fini = teardown)
{
    cr_expect_eq(read_chain("{\"chain\":[],\"contentType\":\"x\"}"), KV_E_STATE);
    cr_expect_str_eq(err.id, "cert.pending");
}

Test(grants, anything_else_is_a_damaged_row, .init = setup, .fini = teardown)
{
    static const char *const rows[] = {
        "{}",
        "{\"chain\":\"bGVhZg==\"}",
        "{\"chain\":[1]}",
        "{\"chain\":[\"!\"]}",
        "{\"chain\":[null]}",
        "{\"chain\":[\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\","
        "\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\"]}",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(read_chain(rows[i]), KV_E_INTEGRITY, "%s", rows[i]);
        cr_expect_eq(err.code, 0);
    }
}
