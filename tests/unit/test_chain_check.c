/* What an issuer delivered against what was ordered: key, names, dates, signatures. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/err.h>

#include "lifecycle/certs/chain.h"
#include "tests/support/chain_maker.h"
#include "tests/support/fault.h"

#define DAY_S 86400
#define NOW_S CHAIN_MAKER_NOW_S

static struct chain_made root;
static struct chain_made intermediate;

static void setup(void)
{
    root = chain_make(&(struct chain_maker){.type = "P-256", .subject = "Root"}, NULL);
    intermediate = chain_make(
        &(struct chain_maker){.type = "P-256", .subject = "Intermediate"}, &root);
}

static void teardown(void)
{
    chain_made_free(&root);
    chain_made_free(&intermediate);
    cr_expect_eq(ERR_peek_error(), 0, "the error queue is left clean");
}

TestSuite(chain_check, .timeout = 30, .init = setup, .fini = teardown);

/* Check the chain of `leaf` against an order; "" or the error's id. */
static const char *check(const struct chain_made *leaf, const char *issuer,
                         const char *subject, const char *sans, struct kv_err *err)
{
    struct kv_policy policy = {.subject = subject, .issuer = issuer};
    struct kv_chain chain = {.n = 3,
                             .der = {chain_made_der(leaf),
                                     chain_made_der(&intermediate),
                                     chain_made_der(&root)}};
    json_t *doc = json_loads(sans, 0, NULL);
    cr_assert_not_null(doc, "%s", sans);
    policy.sans = doc;
    *err = KV_ERR_INIT;
    int rc = kv_chain_check(&chain, chain_made_spki(leaf), &policy, NOW_S, err);
    err->code = rc; /* out of memory has no id */
    json_decref(doc);
    return err->id;
}

static const char *const types[] = {"RSA",   "P-256",     "P-384",
                                    "P-521", "secp256k1", "ED25519"};
#define N_TYPES (sizeof(types) / sizeof(types[0]))

Test(chain_check, every_key_type_passes)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        struct kv_err err;
        struct chain_made leaf = chain_make(
            &(struct chain_maker){.type = types[i], .subject = "a.example"}, &root);
        struct kv_chain chain = {.n = 2,
                                 .der = {chain_made_der(&leaf), chain_made_der(&root)}};
        struct kv_policy policy = {.subject = "CN=a.example", .issuer = "Other"};
        err = KV_ERR_INIT;
        cr_expect_eq(
            kv_chain_check(&chain, chain_made_spki(&leaf), &policy, NOW_S, &err), 0,
            "%s: %s", types[i], err.message);
        chain_made_free(&leaf);
    }
}

#define ALL_SANS                                                                       \
    "{\"dns_names\":[\"a.example\",\"*.b.example\"],\"emails\":[\"Me@c.example\"],"    \
    "\"uris\":[\"https://d.example/E\"],\"upns\":[\"me@f.example\"],"                  \
    "\"ipAddresses\":[\"192.0.2.1\",\"2001:db8::1\"]}"
#define ALL_NAMES                                                                      \
    "DNS:a.example,DNS:*.B.example,email:Me@C.example,URI:https://d.example/E,"        \
    "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:me@f.example,IP:192.0.2.1,IP:2001:db8::1"

/* The leaf's common name, organization and alternative names against an order's. */
static const struct {
    const char *cn;
    const char *org;
    const char *names;
    const char *issuer;
    const char *subject;
    const char *sans;
    const char *id;
} rows[] = {
    /* As ordered. */
    {"a.example", "Org", NULL, "Self", "CN=a.example, O=Org", "{}", ""},
    {NULL, NULL, ALL_NAMES, "Self", "", ALL_SANS, ""},
    {"Some Body", NULL, ALL_NAMES, "CA", "CN=Some Body", ALL_SANS, ""},
    /* The subject is dropped or changed but for the common name. */
    {"a.example", NULL, NULL, "CA", "CN=a.example, O=Org", "{}", ""},
    {"a.example", "Their Org", NULL, "CA", "CN=a.example, O=Org", "{}", ""},
    {NULL, NULL, "DNS:a.example", "CA", "CN=a.example, O=Org", "{}", ""},
    {NULL, NULL, "DNS:A.EXAMPLE", "CA", "CN=a.example", "{}", ""},
    {"a.example", NULL, "DNS:a.example,DNS:b.example", "CA", "CN=a.example",
     "{\"dns_names\":[\"b.example\"]}", ""},
    {NULL, NULL, "DNS:*.a.example", "CA", "CN=*.a.example", "{}", ""},
    {"b.example", NULL, "DNS:b.example", "CA", "", "{\"dns_names\":[\"b.example\"]}",
     ""},
    {"192.0.2.1", NULL, "IP:192.0.2.1", "CA", "", "{\"ipAddresses\":[\"192.0.2.1\"]}",
     ""},
    /* `Self` may not do so. */
    {"a.example", NULL, NULL, "Self", "CN=a.example, O=Org", "{}",
     "chain.name-mismatch"},
    {NULL, NULL, "DNS:a.example", "Self", "CN=a.example", "{}", "chain.name-mismatch"},
    {"b.example", NULL, "DNS:b.example", "Self", "", "{\"dns_names\":[\"b.example\"]}",
     "chain.name-mismatch"},
    /* A common name is missing, or was not ordered. */
    {NULL, "Org", NULL, "CA", "CN=a.example, O=Org", "{}", "chain.name-mismatch"},
    {NULL, NULL, "DNS:b.example", "CA", "CN=a.example",
     "{\"dns_names\":[\"b.example\"]}", "chain.name-mismatch"},
    {NULL, NULL, "email:Some Body", "CA", "CN=Some Body", "{}", "chain.name-mismatch"},
    {NULL, NULL, "DNS:192.0.2.1", "CA", "CN=192.0.2.1", "{}", "chain.name-mismatch"},
    {NULL, NULL, "DNS:a.example.", "CA", "CN=a.example.", "{}", "chain.name-mismatch"},
    {NULL, NULL, "DNS:a..example", "CA", "CN=a..example", "{}", "chain.name-mismatch"},
    {NULL, NULL, "DNS:.example", "CA", "CN=.example", "{}", "chain.name-mismatch"},
    {NULL, NULL, "DNS:a b", "CA", "CN=a b", "{}", "chain.name-mismatch"},
    {"evil.example", NULL, "DNS:a.example", "CA", "CN=a.example", "{}",
     "chain.name-mismatch"},
    {"evil.example", NULL, "DNS:a.example", "CA", "", "{\"dns_names\":[\"a.example\"]}",
     "chain.name-mismatch"},
    /* An alternative name is missing, or was not ordered. */
    {"a.example", NULL, NULL, "CA", "CN=a.example", "{\"dns_names\":[\"a.example\"]}",
     "chain.name-mismatch"},
    {"a.example", NULL, "DNS:a.example,DNS:evil.example", "CA", "CN=a.example", "{}",
     "chain.name-mismatch"},
    {NULL, NULL, ALL_NAMES ",email:me@c.example", "CA", "", ALL_SANS,
     "chain.name-mismatch"},
    {NULL, NULL, ALL_NAMES ",URI:https://d.example/e", "CA", "", ALL_SANS,
     "chain.name-mismatch"},
    {NULL, NULL, ALL_NAMES ",IP:192.0.2.2", "CA", "", ALL_SANS, "chain.name-mismatch"},
    {NULL, NULL, ALL_NAMES ",RID:1.2.3.4", "CA", "", ALL_SANS, "chain.name-mismatch"},
    {NULL, NULL, ALL_NAMES ",otherName:1.2.3.4;UTF8:me@f.example", "CA", "", ALL_SANS,
     "chain.name-mismatch"},
    {NULL, NULL, ALL_NAMES ",otherName:1.3.6.1.4.1.311.20.2.3;IA5:me@f.example", "CA",
     "", ALL_SANS, "chain.name-mismatch"},
    {NULL, NULL, "DNS:a.example,DNS:*.b.example", "CA", "", ALL_SANS,
     "chain.name-mismatch"},
    /* One kind of name is not another. */
    {NULL, NULL, "email:a@b.example", "CA", "", "{\"upns\":[\"a@b.example\"]}",
     "chain.name-mismatch"},
    {NULL, NULL, "DNS:192.0.2.1", "CA", "", "{\"ipAddresses\":[\"192.0.2.1\"]}",
     "chain.name-mismatch"},
};

Test(chain_check, names_are_those_of_the_order)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_err err;
        struct chain_made leaf =
            chain_make(&(struct chain_maker){.type = "P-256",
                                             .subject = rows[i].cn,
                                             .org = rows[i].org,
                                             .sans = rows[i].names},
                       &intermediate);
        const char *id =
            check(&leaf, rows[i].issuer, rows[i].subject, rows[i].sans, &err);
        cr_expect_str_eq(id, rows[i].id, "row %zu (%s, %s): %s", i, rows[i].subject,
                         rows[i].names, err.message);
        chain_made_free(&leaf);
    }
}

Test(chain_check, dates_are_checked_with_a_days_tolerance)
{
    static const struct {
        int64_t nbf_s;
        int64_t exp_s;
        const char *id;
    } dates[] = {
        {NOW_S + DAY_S, NOW_S + 2 * DAY_S, ""},
        {NOW_S - DAY_S, NOW_S + 1, ""},
        {NOW_S + DAY_S + 1, NOW_S + 2 * DAY_S, "chain.bad-dates"},
        {NOW_S - DAY_S, NOW_S, "chain.bad-dates"},
        {NOW_S + 3600, NOW_S + 60, "chain.bad-dates"},
        {NOW_S - DAY_S, INT64_C(253402300799), ""},
    };
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        struct kv_err err;
        struct chain_made leaf =
            chain_make(&(struct chain_maker){.type = "P-256",
                                             .subject = "a.example",
                                             .nbf_s = dates[i].nbf_s,
                                             .exp_s = dates[i].exp_s},
                       &intermediate);
        cr_expect_str_eq(check(&leaf, "CA", "CN=a.example", "{}", &err), dates[i].id,
                         "row %zu: %s", i, err.message);
        chain_made_free(&leaf);
    }
}

static void expect(const struct kv_chain *chain, const struct chain_made *leaf,
                   const char *id)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_policy policy = {.subject = "CN=a.example", .issuer = "CA"};
    int rc = kv_chain_check(chain, chain_made_spki(leaf), &policy, NOW_S, &err);
    cr_expect_eq(rc, err.code);
    cr_expect_str_eq(err.id, id, "%s", err.message);
}

Test(chain_check, each_is_signed_by_the_next)
{
    struct chain_made leaf = chain_make(
        &(struct chain_maker){.type = "P-256", .subject = "a.example"}, &intermediate);
    struct chain_made twin = chain_make(
        &(struct chain_maker){.type = "P-256", .subject = "Intermediate"}, &root);
    struct kv_bytes l = chain_made_der(&leaf);
    struct kv_bytes i = chain_made_der(&intermediate);
    struct kv_bytes r = chain_made_der(&root);
    expect(&(struct kv_chain){.n = 1, .der = {l}}, &leaf, "");
    expect(&(struct kv_chain){.n = 2, .der = {l, i}}, &leaf, "");
    expect(&(struct kv_chain){.n = 3, .der = {l, i, r}}, &leaf, "");
    expect(&(struct kv_chain){.n = 2, .der = {l, r}}, &leaf, "chain.broken");
    expect(&(struct kv_chain){.n = 3, .der = {l, r, i}}, &leaf, "chain.broken");
    expect(&(struct kv_chain){.n = 2, .der = {l, chain_made_der(&twin)}}, &leaf,
           "chain.broken");
    expect(&(struct kv_chain){.n = 2, .der = {i, l}}, &leaf, "chain.key-mismatch");
    expect(&(struct kv_chain){.n = 2, .der = {l, {i.data, i.len - 1}}}, &leaf,
           "chain.bad-certificate");
    expect(&(struct kv_chain){.n = 0}, &leaf, "chain.bad-certificate");
    chain_made_free(&leaf);
    chain_made_free(&twin);
}

Test(chain_check, a_self_signed_leaf_has_its_own_signature)
{
    struct chain_made leaf = chain_make(
        &(struct chain_maker){.type = "P-256", .subject = "a.example"}, NULL);
    expect(&(struct kv_chain){.n = 1, .der = {chain_made_der(&leaf)}}, &leaf, "");
    uint8_t *forged = malloc(leaf.der_len);
    cr_assert_not_null(forged);
    memcpy(forged, leaf.der, leaf.der_len);
    forged[leaf.der_len - 1] ^= 1; /* in the signature */
    expect(&(struct kv_chain){.n = 1, .der = {{forged, leaf.der_len}}}, &leaf,
           "chain.broken");
    free(forged);
    chain_made_free(&leaf);
}

Test(chain_check, alternative_names_twice_are_not_read)
{
    struct kv_err err;
    struct chain_made leaf = chain_make(&(struct chain_maker){.type = "P-256",
                                                              .subject = "a.example",
                                                              .sans = "DNS:a.example",
                                                              .has_sans_twice = true},
                                        &intermediate);
    cr_expect_str_eq(check(&leaf, "CA", "CN=a.example", "{}", &err),
                     "chain.name-mismatch");
    cr_expect_not_null(strstr(err.message, "cannot be read"));
    chain_made_free(&leaf);
}

/* A chain that was ordered, and one with a name more: with whichever allocation
 * failing, the one may be refused, the other never passes. */
static void check_under_faults(const char *names, const char *id, long step)
{
    long n = 1;
    struct kv_err err;
    struct chain_made leaf = chain_make(
        &(struct chain_maker){.type = "P-256", .subject = "a.example", .sans = names},
        &intermediate);
    cr_assert_str_eq(check(&leaf, "CA", "CN=a.example", ALL_SANS, &err), id);
    for (; fault_round(n); n += step) {
        const char *found = check(&leaf, "CA", "CN=a.example", ALL_SANS, &err);
        if (id[0] != '\0')
            cr_expect_neq(err.code, 0, "%ld", n);
        else if (!fault_was_hit())
            cr_expect_str_eq(found, id);
    }
    cr_expect_geq(n, 3, "%ld", n);
    chain_made_free(&leaf);
}

Test(chain_check, what_was_not_ordered_does_not_pass_for_lack_of_memory, .timeout = 90)
{
    for (int libcrypto = 0; libcrypto < 2; libcrypto++) {
        cr_assert(fault_use_libcrypto(libcrypto == 1));
        long step = libcrypto == 1 ? 7 : 1; /* there are thousands */
        check_under_faults(ALL_NAMES, "", step);
        check_under_faults(ALL_NAMES ",DNS:evil.example", "chain.name-mismatch", step);
    }
    (void)fault_use_libcrypto(false);
}
