/*
 * Orders against an issuer that a test writes: what it is given, what its answers do,
 * and what becomes of answers, documents and names that are nonsense.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "plugins/self/self.h"
#include "tests/support/fake_issuer.h"
#include "tests/support/order_box.h"

static struct service_box box;

static void setup(void)
{
    service_box_init(&box);
}

static void teardown(void)
{
    cr_expect_eq(fake_issuer.n_released, fake_issuer.n_answered);
    service_box_fini(&box);
}

TestSuite(run, .timeout = 120, .init = setup, .fini = teardown);

#define FAKE_POLICY                                                                    \
    "{\"key_props\":{\"kty\":\"EC\"},\"issuer\":{\"name\":\"Fake\"},"                  \
    "\"x509_props\":{\"subject\":\"CN=web.example\",\"validity_months\":3,"            \
    "\"key_usage\":[\"digitalSignature\"]}}"

static void create(const char *name)
{
    const struct order_ask ask = {.name = name, .policy = FAKE_POLICY};
    cr_assert_eq(order_create(&box, &ask), 0, "%s", box.err.message);
}

/* Member of the operation, borrowed until the next call; NULL: none. */
static const json_t *member(const char *name, const char *field)
{
    static json_t *doc;
    json_decref(doc);
    doc = order_operation(&box, name, NULL);
    return json_object_get(doc, field);
}

static int64_t next_at_s(const char *name)
{
    struct kv_row row;
    json_decref(order_operation(&box, name, &row));
    return row.next_at_s;
}

/* The order has failed for good: its operation says why and holds no key any more, its
 * version waits for ever, and another order may follow. */
static void expect_failed(const char *name, const char *id, const char *why)
{
    struct kv_row row;
    struct kv_object version;
    uint8_t at[KV_ID_LEN];
    json_t *doc = order_operation(&box, name, &row);
    const json_t *error = json_object_get(doc, "error");
    const char *code = json_string_value(json_object_get(error, "code"));
    cr_assert_str_eq(json_string_value(json_object_get(doc, "status")), "failed", "%s",
                     why);
    cr_assert_not_null(code, "%s", why);
    cr_assert_str_eq(code, id, "%s: %s", why,
                     json_string_value(json_object_get(error, "message")));
    cr_assert_null(json_object_get(doc, "key"), "%s: the key is left", why);
    cr_assert_null(json_object_get(doc, "state"), "%s", why);
    cr_assert_null(json_object_get(doc, "effect"), "%s", why);
    cr_assert_not_null(json_object_get(doc, "csr"), "%s", why);
    cr_assert_eq(row.next_at_s, KV_TIME_NONE, "%s: it is still due", why);
    order_version(doc, at);
    cr_assert_eq(service_box_find(&box, KV_KIND_CERTIFICATE, name, at, &version), 0);
    cr_assert_eq(version.row.flags, KV_ROW_PENDING, "%s", why);
    cr_assert_eq(service_box_versions(&box, KV_KIND_KEY, name), 0, "%s", why);
    cr_assert_eq(box.service.n_running, 0, "%s", why);
    kv_object_free(&version);
    json_decref(doc);
}

/* --- answers -----------------------------------------------------------------------
 */

static const struct keyvault_bytes wait_effect = FAKE_TEXT("{\"until_s\":1750000100}");
Test(run, an_issuer_gets_its_state_back_and_the_name_of_its_order)
{
    static const struct fake_answer answers[] = {
        {FAKE_TEXT("{\"n\":1}"), KEYVAULT_EFFECT_WAIT, 1, &wait_effect, 0},
        {FAKE_TEXT(""), KEYVAULT_EFFECT_WAIT, 1, &wait_effect, 0},
    };
    char key_id[64];
    create("web");
    fake_issuer_set(answers, 2);
    cr_assert_eq(order_run(&box, "web"), 0, "%s", box.err.message);
    cr_expect_str_eq(fake_issuer.state, "");
    cr_expect_str_eq(fake_issuer.events, "");
    cr_expect_str_eq(fake_issuer.key_id, json_string_value(member("web", "requestId")));
    memcpy(key_id, fake_issuer.key_id, sizeof(key_id));
    cr_expect_eq(next_at_s("web"), 1750000100);
    order_expect_pending(&box, "web", 0);
    cr_expect_null(member("web", "effect"));
    cr_assert_eq(order_run(&box, "web"), 0);
    cr_expect_str_eq(fake_issuer.state, "{\"n\":1}");
    cr_expect_str_eq(fake_issuer.key_id, key_id);
    cr_assert_eq(order_run(&box, "web"), 0);
    cr_expect_str_eq(fake_issuer.state, "", "an empty state is one, too");
    cr_expect_eq(fake_issuer.n_steps, 3);
}

Test(run, waiting_never_ends_before_the_next_second)
{
    static const struct {
        const char *until;
        int64_t next_at_s;
    } rows[] = {
        {"{\"until_s\":1750000001}", CHAIN_MAKER_NOW_S + 1},
        {"{\"until_s\":1750000000}", CHAIN_MAKER_NOW_S + 1},
        {"{\"until_s\":0}", CHAIN_MAKER_NOW_S + 1},
        {"{\"until_s\":-9223372036854775808}", CHAIN_MAKER_NOW_S + 1},
        {"{\"until_s\":9223372036854775807}", INT64_MAX},
    };
    create("web");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct keyvault_bytes effect = {rows[i].until, strlen(rows[i].until)};
        const struct fake_answer answer = {FAKE_TEXT("{}"), KEYVAULT_EFFECT_WAIT, 1,
                                           &effect, 0};
        fake_issuer_set(&answer, 1);
        cr_assert_eq(order_run(&box, "web"), 0, "%zu: %s", i, box.err.message);
        cr_expect_eq(next_at_s("web"), rows[i].next_at_s, "%zu", i);
    }
}

Test(run, a_passing_refusal_is_tried_again)
{
    static const struct {
        const char *effect;
        int64_t next_at_s;
    } rows[] = {
        {"{\"class\":\"transient\"}", CHAIN_MAKER_NOW_S + 60},
        {"{\"class\":\"transient\",\"retry_at_s\":1750000007}", CHAIN_MAKER_NOW_S + 7},
        {"{\"class\":\"rate-limit\",\"retry_at_s\":1750003600}",
         CHAIN_MAKER_NOW_S + 3600},
        {"{\"class\":\"rate-limit\",\"retry_at_s\":1}", CHAIN_MAKER_NOW_S + 1},
        {"{\"class\":\"rate-limit\",\"retry_at_s\":\"soon\"}", CHAIN_MAKER_NOW_S + 60},
    };
    create("web");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct keyvault_bytes effect = {rows[i].effect, strlen(rows[i].effect)};
        const struct fake_answer answer = {FAKE_TEXT("{\"kept\":1}"),
                                           KEYVAULT_EFFECT_FAILED, 1, &effect, 0};
        fake_issuer_set(&answer, 1);
        cr_assert_eq(order_run(&box, "web"), 0, "%zu: %s", i, box.err.message);
        cr_expect_eq(next_at_s("web"), rows[i].next_at_s, "%zu", i);
        cr_expect_str_eq(json_string_value(member("web", "state")), "{\"kept\":1}");
        order_expect_pending(&box, "web", 0);
    }
}

Test(run, an_issuer_without_memory_changes_nothing)
{
    static const struct fake_answer answer = {.rc = -1};
    create("web");
    json_t *before = order_operation(&box, "web", NULL);
    fake_issuer_set(&answer, 1);
    cr_assert_eq(order_run(&box, "web"), KV_E_NOMEM);
    json_t *after = order_operation(&box, "web", NULL);
    cr_assert(json_equal(before, after));
    cr_expect_eq(fake_issuer.n_released, 0, "nothing was handed out");
    json_decref(before);
    json_decref(after);
}

Test(run, an_issuer_that_never_ends_takes_its_turns)
{
    /* What the keyring refuses to sign ends the order, so it signs what Self asks for.
     */
    struct keyvault_step_out self;
    create("web");
    json_t *doc = order_operation(&box, "web", NULL);
    struct kv_buf csr;
    kv_buf_init(&csr, 65536);
    cr_assert_eq(kv_order_b64_get(doc, "csr", &csr), 0);
    const char *policy = "{\"x509_props\":{\"validity_months\":3}}";
    const struct keyvault_step_in in = {.abi = KEYVAULT_ISSUER_ABI,
                                        .purpose = KEYVAULT_PURPOSE_ISSUE,
                                        .now_s = CHAIN_MAKER_NOW_S,
                                        .policy = {policy, strlen(policy)},
                                        .csr = {(const char *)csr.data, csr.len}};
    cr_assert_eq(kv_self_issuer()->step(&in, &self), 0);
    cr_assert_eq(self.effect_kind, KEYVAULT_EFFECT_SIGN);
    const struct fake_answer answer = {FAKE_TEXT("{}"), KEYVAULT_EFFECT_SIGN, 1,
                                       self.effects, 0};
    fake_issuer_set(&answer, 1);
    cr_assert_eq(order_run(&box, "web"), KV_E_BUSY);
    cr_expect_eq(fake_issuer.n_steps, 64);
    cr_expect_not_null(strstr(fake_issuer.events, "\"der\""));
    order_expect_pending(&box, "web", 0);
    cr_assert_eq(order_run(&box, "web"), KV_E_BUSY, "it goes on in the next run");
    cr_expect_eq(fake_issuer.n_steps, 128);
    kv_self_issuer()->release(&self);
    kv_buf_free(&csr);
    json_decref(doc);
}

/* --- nonsense ----------------------------------------------------------------------
 */

#define BAD_EFFECT "cert.bad-effect"

static const struct {
    const char *why;
    uint32_t kind;
    const char *effect;
    const char *id;
} nonsense[] = {
    {"kind 0", 0, "{}", BAD_EFFECT},
    {"kind 99", 99, "{}", BAD_EFFECT},
    {"not offered", KEYVAULT_EFFECT_HTTP, "{}", BAD_EFFECT},
    {"empty effect", KEYVAULT_EFFECT_WAIT, "", BAD_EFFECT},
    {"no JSON", KEYVAULT_EFFECT_WAIT, "{", BAD_EFFECT},
    {"no object", KEYVAULT_EFFECT_FAILED, "[]", BAD_EFFECT},
    {"a member twice", KEYVAULT_EFFECT_WAIT, "{\"until_s\":1,\"until_s\":2}",
     BAD_EFFECT},
    {"wait without time", KEYVAULT_EFFECT_WAIT, "{}", BAD_EFFECT},
    {"wait for text", KEYVAULT_EFFECT_WAIT, "{\"until_s\":\"1\"}", BAD_EFFECT},
    {"wait for 2^63", KEYVAULT_EFFECT_WAIT, "{\"until_s\":9223372036854775808}",
     BAD_EFFECT},
    {"sign for nobody", KEYVAULT_EFFECT_SIGN, "{\"tbs\":\"AAAA\"}", BAD_EFFECT},
    {"sign for another", KEYVAULT_EFFECT_SIGN, "{\"role\":\"ca\",\"tbs\":\"AAAA\"}",
     BAD_EFFECT},
    {"sign nothing", KEYVAULT_EFFECT_SIGN, "{\"role\":\"self\"}", BAD_EFFECT},
    {"sign no base64", KEYVAULT_EFFECT_SIGN, "{\"role\":\"self\",\"tbs\":\"*\"}",
     BAD_EFFECT},
    {"sign no certificate", KEYVAULT_EFFECT_SIGN,
     "{\"role\":\"self\",\"tbs\":\"AAAA\"}", "key.tbs-bad-der"},
    {"issue nothing", KEYVAULT_EFFECT_ISSUED, "{}", "cert.bad-chain"},
    {"issue an empty chain", KEYVAULT_EFFECT_ISSUED, "{\"chain\":[]}",
     "cert.bad-chain"},
    {"issue no text", KEYVAULT_EFFECT_ISSUED, "{\"chain\":[7]}", "cert.bad-chain"},
    {"issue no base64", KEYVAULT_EFFECT_ISSUED, "{\"chain\":[\"*\"]}",
     "cert.bad-chain"},
    {"issue no certificate", KEYVAULT_EFFECT_ISSUED, "{\"chain\":[\"AAAA\"]}",
     "chain.bad-certificate"},
    {"refuse without a word", KEYVAULT_EFFECT_FAILED, "{}", "cert.refused"},
    {"refuse with numbers", KEYVAULT_EFFECT_FAILED,
     "{\"class\":1,\"id\":2,\"message\":3}", "cert.refused"},
};

static void expect_nonsense_fails(const struct fake_answer *answer, const char *id,
                                  const char *why)
{
    static unsigned n;
    char name[16];
    (void)snprintf(name, sizeof(name), "web%u", n++);
    create(name);
    fake_issuer_set(answer, 1);
    cr_assert_eq(order_run(&box, name), 0, "%s: %s", why, box.err.message);
    expect_failed(name, id, why);
    cr_assert_eq(fake_issuer.n_released, 1, "%s", why);
}

Test(run, nonsense_fails_the_order_for_good)
{
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        const struct keyvault_bytes effect = {nonsense[i].effect,
                                              strlen(nonsense[i].effect)};
        const struct fake_answer answer = {FAKE_TEXT("{}"), nonsense[i].kind, 1,
                                           &effect, 0};
        expect_nonsense_fails(&answer, nonsense[i].id, nonsense[i].why);
    }
}

Test(run, so_do_states_and_effects_that_cannot_be_kept)
{
    static char text[KEYVAULT_STATE_MAX + 2];
    static const struct keyvault_bytes two[] = {FAKE_TEXT("{\"until_s\":1}"),
                                                FAKE_TEXT("{\"until_s\":1}")};
    static const struct keyvault_bytes too_long = {text, sizeof(text) - 1};
    static const struct {
        const char *why;
        struct fake_answer answer;
    } rows[] = {
        {"no effect", {FAKE_TEXT("{}"), KEYVAULT_EFFECT_WAIT, 0, two, 0}},
        {"two effects", {FAKE_TEXT("{}"), KEYVAULT_EFFECT_WAIT, 2, two, 0}},
        {"no list", {FAKE_TEXT("{}"), KEYVAULT_EFFECT_WAIT, 1, NULL, 0}},
        {"long effect", {FAKE_TEXT("{}"), KEYVAULT_EFFECT_WAIT, 1, &too_long, 0}},
        {"long state", {{text, sizeof(text) - 1}, KEYVAULT_EFFECT_WAIT, 1, two, 0}},
        {"no UTF-8", {FAKE_TEXT("\xff\xfe"), KEYVAULT_EFFECT_WAIT, 1, two, 0}},
        {"a NUL", {FAKE_TEXT("{}\0"), KEYVAULT_EFFECT_WAIT, 1, two, 0}},
        {"no state", {{NULL, 2}, KEYVAULT_EFFECT_WAIT, 1, two, 0}},
    };
    memset(text, ' ', sizeof(text) - 1);
    memcpy(text, two[0].data, two[0].len);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_nonsense_fails(&rows[i].answer, BAD_EFFECT, rows[i].why);
}

Test(run, a_refusal_is_told_and_another_order_may_follow)
{
    static const struct keyvault_bytes effect =
        FAKE_TEXT("{\"class\":\"policy\",\"id\":\"fake.no\",\"message\":\"not you\"}");
    static const struct fake_answer answer = {FAKE_TEXT("{}"), KEYVAULT_EFFECT_FAILED,
                                              1, &effect, 0};
    create("web");
    fake_issuer_set(&answer, 1);
    cr_assert_eq(order_run(&box, "web"), 0);
    cr_expect_str_eq(
        json_string_value(json_object_get(member("web", "error"), "message")),
        "fake.no: not you");
    cr_assert_eq(order_run(&box, "web"), 0, "it is over");
    cr_expect_eq(fake_issuer.n_steps, 1);
    cr_assert_eq(order_create_ec(&box, "web"), 0, "%s", box.err.message);
    cr_assert_eq(order_run(&box, "web"), 0);
    order_expect_complete(&box, "web", NULL, NULL);
    cr_expect_eq(service_box_versions(&box, KV_KIND_CERTIFICATE, "web"), 2);
}

/* --- chains ------------------------------------------------------------------------
 */

/* A certificate of the order's key by `ca`, and the effect that delivers it. */
static char *deliver(const char *name, const struct chain_made *ca, int64_t exp_s,
                     bool is_leaf_last)
{
    struct kv_buf spki;
    json_t *doc = order_operation(&box, name, NULL);
    kv_buf_init(&spki, KV_SPKI_MAX);
    cr_assert_eq(kv_order_b64_get(doc, "spki", &spki), 0);
    const uint8_t *at = spki.data;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)spki.len);
    X509 *leaf = X509_dup(ca->cert);
    X509_NAME *subject = X509_NAME_new();
    cr_assert_eq(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                            (const uint8_t *)"web.example", -1, -1, 0),
                 1);
    cr_assert_eq(X509_set_subject_name(leaf, subject), 1);
    cr_assert_eq(X509_set_pubkey(leaf, key), 1);
    cr_assert_not_null(ASN1_TIME_set(X509_getm_notAfter(leaf), (time_t)exp_s));
    cr_assert_gt(X509_sign(leaf, ca->key, EVP_sha256()), 0);
    uint8_t *der = NULL;
    int len = i2d_X509(leaf, &der);
    cr_assert_gt(len, 0);
    json_t *first = kv_order_b64(der, (size_t)len);
    json_t *second = kv_order_b64(ca->der, ca->der_len);
    json_t *chain = is_leaf_last ? json_pack("[o,o]", second, first)
                                 : json_pack("[o,o]", first, second);
    json_t *effect = json_pack("{s:o}", "chain", chain);
    char *text = json_dumps(effect, JSON_COMPACT);
    json_decref(effect);
    OPENSSL_free(der);
    X509_NAME_free(subject);
    X509_free(leaf);
    EVP_PKEY_free(key);
    kv_buf_free(&spki);
    json_decref(doc);
    return text;
}

static const struct {
    const char *why;
    int64_t exp_s;
    bool is_leaf_last;
    bool preserves_order;
    const char *id; /* NULL: it is complete */
} chains[] = {
    {"in order", CHAIN_MAKER_NOW_S + 86400, false, false, NULL},
    {"out of order", CHAIN_MAKER_NOW_S + 86400, true, false, NULL},
    {"in order, to be kept", CHAIN_MAKER_NOW_S + 86400, false, true, NULL},
    {"out of order, to be kept", CHAIN_MAKER_NOW_S + 86400, true, true,
     "chain.key-mismatch"},
    {"expired", CHAIN_MAKER_NOW_S - 1, false, false, "chain.bad-dates"},
};

Test(run, a_chain_is_put_in_order_and_checked)
{
    struct chain_made ca =
        chain_make(&(struct chain_maker){.type = "P-256", .subject = "ca"}, NULL);
    for (size_t i = 0; i < sizeof(chains) / sizeof(chains[0]); i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "web%zu", i);
        const struct order_ask ask = {.name = name,
                                      .policy = FAKE_POLICY,
                                      .preserves_order = chains[i].preserves_order};
        cr_assert_eq(order_create(&box, &ask), 0);
        char *text = deliver(name, &ca, chains[i].exp_s, chains[i].is_leaf_last);
        const struct keyvault_bytes effect = {text, strlen(text)};
        const struct fake_answer answer = {FAKE_TEXT("{}"), KEYVAULT_EFFECT_ISSUED, 1,
                                           &effect, 0};
        fake_issuer_set(&answer, 1);
        cr_assert_eq(order_run(&box, name), 0, "%s: %s", chains[i].why,
                     box.err.message);
        struct kv_object certificate = {.doc = NULL};
        if (chains[i].id != NULL)
            expect_failed(name, chains[i].id, chains[i].why);
        else
            order_expect_complete(&box, name, &certificate, NULL);
        cr_expect_eq(json_array_size(json_object_get(certificate.doc, "chain")),
                     chains[i].id != NULL ? 0 : 2);
        kv_object_free(&certificate);
        free(text);
    }
    chain_made_free(&ca);
}

/* --- damage ------------------------------------------------------------------------
 */

/* One member of a sound operation set to this JSON; NULL: left out. */
static const struct {
    const char *member;
    const char *value;
    const char *id;
} damages[] = {
    {"version", NULL, "cert.bad-operation"},
    {"version", "1", "cert.bad-operation"},
    {"version", "\"0123456789abcdef0123456789abcdeg\"", "cert.bad-operation"},
    {"version", "\"00000000000000000000000000000000\"", "cert.bad-operation"},
    {"version", "\"0123456789abcdef0123456789abcdef\"", "object.not-found"},
    {"policy", NULL, "policy.bad-field"},
    {"policy", "[]", "policy.bad-field"},
    {"policy", "{\"issuer\":{\"name\":\"Gone\"},\"x509_props\":{\"subject\":\"CN=a\"}}",
     "cert.no-issuer"},
    {"csr", NULL, "cert.bad-operation"},
    {"csr", "\"*\"", "cert.bad-operation"},
    {"csr", "\"AAAA\"", "cert.refused"},
    {"key", NULL, "cert.bad-operation"},
    {"key", "5", "cert.bad-operation"},
    {"key", "\"AAAA\"", "seal.row-damaged"},
    {"keyTerm", NULL, "cert.bad-operation"},
    {"keyTerm", "4294967297", "cert.bad-operation"},
    {"spki", NULL, "cert.bad-operation"},
    {"spki", "\"AAAA\"", "chain.no-leaf"},
    {"state", "\"{\"", "cert.refused"},
    {"effect", "\"{\"", "cert.bad-effect"},
    {"effect", "{}", "cert.bad-effect"},
};

Test(run, a_damaged_operation_fails_for_good)
{
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        char name[16];
        char why[64];
        (void)snprintf(name, sizeof(name), "web%zu", i);
        (void)snprintf(why, sizeof(why), "%zu: %s", i, damages[i].member);
        cr_assert_eq(order_create_ec(&box, name), 0);
        json_t *doc = order_operation(&box, name, NULL);
        (void)json_object_del(doc, damages[i].member);
        if (damages[i].value != NULL)
            cr_assert_eq(json_object_set_new(
                             doc, damages[i].member,
                             json_loads(damages[i].value, JSON_DECODE_ANY, NULL)),
                         0);
        order_put_operation(&box, name, doc);
        cr_assert_eq(order_run(&box, name), 0, "%s: %s", why, box.err.message);
        cr_assert_str_eq(order_status(&box, name), "failed", "%s", why);
        const json_t *error = member(name, "error");
        cr_expect_str_eq(json_string_value(json_object_get(error, "code")),
                         damages[i].id, "%s: %s", why,
                         json_string_value(json_object_get(error, "message")));
        cr_expect_null(member(name, "key"), "%s", why);
        cr_expect_eq(next_at_s(name), KV_TIME_NONE, "%s", why);
        cr_expect_eq(service_box_versions(&box, KV_KIND_KEY, name), 0, "%s", why);
    }
}

Test(run, what_is_over_and_due_all_the_same_is_left_alone)
{
    static const char *const statuses[] = {"\"completed\"", "\"failed\"", "\"?\"", "7"};
    cr_assert_eq(order_create_ec(&box, "web"), 0);
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        json_t *doc = order_operation(&box, "web", NULL);
        cr_assert_eq(json_object_set_new(
                         doc, "status", json_loads(statuses[i], JSON_DECODE_ANY, NULL)),
                     0);
        order_put_operation(&box, "web", json_incref(doc));
        cr_assert_eq(order_run(&box, "web"), KV_E_INTEGRITY, "%s", statuses[i]);
        cr_expect_str_eq(box.err.id, "cert.bad-operation");
        json_t *after = order_operation(&box, "web", NULL);
        cr_expect(json_equal(doc, after));
        json_decref(after);
        json_decref(doc);
    }
}

Test(run, a_name_that_was_taken_meanwhile_fails_the_order)
{
    struct kv_row row = {.key = {.kind = KV_KIND_KEY, .name = "web"},
                         .flags = KV_ROW_ENABLED,
                         .nbf_s = KV_TIME_NONE,
                         .exp_s = KV_TIME_NONE,
                         .next_at_s = KV_TIME_NONE};
    memcpy(row.key.vault, box.vault->id, KV_ID_LEN);
    cr_assert_eq(order_create_ec(&box, "web"), 0);
    service_box_put(&box, &row, NULL);
    cr_assert_eq(order_run(&box, "web"), 0, "%s", box.err.message);
    expect_failed("web", "cert.name-taken", "a key of its own");
}

/* Replies that are cut short are no fault of the order, but nothing to go on with. */
Test(run, a_keyring_that_answers_nonsense_completes_nothing)
{
    static const uint16_t verbs[] = {KV_ROLE_KEY_SIGN_TBS, KV_ROLE_KEY_UPDATE};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "web%zu", i);
        cr_assert_eq(order_create_ec(&box, name), 0);
        box.link.spoil_verb = verbs[i];
        cr_assert_eq(order_run(&box, name), 0, "%s", box.err.message);
        box.link.spoil_verb = 0;
        cr_expect_str_eq(order_status(&box, name), "failed");
        cr_expect_eq(service_box_versions(&box, KV_KIND_KEY, name), 0);
    }
    box.link.spoil_verb = KV_ROLE_UNSEAL;
    cr_assert_eq(order_create_ec(&box, "new"), 0, "nothing is read yet");
    cr_assert_eq(order_run(&box, "new"), KV_E_INTERNAL);
    box.link.spoil_verb = 0;
    order_expect_pending(&box, "new", 0);
}
