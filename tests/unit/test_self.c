/* The issuer `Self` as a state machine: two steps, the same ones after a crash, and an
 * answer to everything that is not as it should be. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "lifecycle/certs/chain.h"
#include "lifecycle/certs/csr.h"
#include "plugins/self/self.h"
#include "store/core/b64.h"
#include "store/core/str.h"
#include "store/keyring/key_internal.h"
#include "tests/support/chain_maker.h"
#include "tests/support/fault.h"

#define NOW_S CHAIN_MAKER_NOW_S
#define POLICY "{\"x509_props\":{\"validity_months\":12}}"
#define SERIAL "00112233445566778899aabbccddeeff"

static struct csr_made csr;
static struct keyvault_step_in in;
static struct keyvault_step_out out;
static json_t *effect;

static struct keyvault_bytes text(const char *value)
{
    return (struct keyvault_bytes){value, strlen(value)};
}

static void setup(void)
{
    csr = csr_make(&(struct csr_maker){.type = "P-256", .subject = "a.example"});
    in = (struct keyvault_step_in){
        .abi = KEYVAULT_ISSUER_ABI,
        .purpose = KEYVAULT_PURPOSE_ISSUE,
        .now_s = NOW_S,
        .key_id = text("order"),
        .policy = text(POLICY),
        .csr = {(const char *)csr.der, csr.der_len},
    };
    cr_assert_eq(kv_hex_decode(in.random, 16, SERIAL), 0);
}

static void release(void)
{
    kv_self_issuer()->release(&out);
    json_decref(effect);
    effect = NULL;
}

static void teardown(void)
{
    release();
    csr_made_free(&csr);
    cr_expect_eq(ERR_peek_error(), 0, "the error queue is left clean");
}

TestSuite(self, .timeout = 30, .init = setup, .fini = teardown);

/* Make one step, expect one effect of this kind, and read it. */
static void step(uint32_t kind)
{
    release();
    cr_assert_eq(kv_self_issuer()->step(&in, &out), 0);
    cr_assert_eq(out.n_effects, 1);
    cr_assert_leq(out.state.len, KEYVAULT_STATE_MAX);
    cr_assert_leq(out.effects[0].len, KEYVAULT_STATE_MAX);
    effect = json_loadb(out.effects[0].data, out.effects[0].len, 0, NULL);
    cr_assert_not_null(effect);
    cr_assert_eq(out.effect_kind, kind, "%.*s", (int)out.effects[0].len,
                 out.effects[0].data);
    json_t *state = json_loadb(out.state.data, out.state.len, 0, NULL);
    cr_assert(json_is_object(state));
    json_decref(state);
}

static const char *member(const char *name)
{
    return json_string_value(json_object_get(effect, name));
}

static void expect_failed(const char *error_class, const char *id)
{
    step(KEYVAULT_EFFECT_FAILED);
    cr_expect_str_eq(member("class"), error_class);
    cr_expect_str_eq(member("id"), id);
    cr_expect_gt(strlen(member("message")), 20);
}

/* The state of the last step as the next step's; `store` keeps it. */
static void keep_state(char *store, size_t size)
{
    cr_assert_lt(out.state.len, size);
    memcpy(store, out.state.data, out.state.len);
    in.state = (struct keyvault_bytes){store, out.state.len};
}

Test(self, an_order_takes_two_steps)
{
    char state[512];
    step(KEYVAULT_EFFECT_SIGN);
    cr_expect_str_eq(member("role"), "self");
    cr_expect_not_null(member("tbs"));
    keep_state(state, sizeof(state));
    in.events = text("[{\"der\":\"MAA=\"}]");
    step(KEYVAULT_EFFECT_ISSUED);
    const json_t *chain = json_object_get(effect, "chain");
    cr_assert_eq(json_array_size(chain), 1);
    cr_expect_str_eq(json_string_value(json_array_get(chain, 0)), "MAA=");
}

Test(self, life_and_serial_are_decided_once)
{
    char state[512];
    step(KEYVAULT_EFFECT_SIGN);
    keep_state(state, sizeof(state));
    char *tbs = strdup(member("tbs"));
    /* After a crash another clock and other chance come with the saved state. */
    static const char *const nothing[] = {"", "[]"};
    for (size_t i = 0; i < 2; i++) {
        in.now_s = NOW_S + 86400;
        memset(in.random, 0xff, sizeof(in.random));
        in.events = text(nothing[i]);
        step(KEYVAULT_EFFECT_SIGN);
        cr_expect_str_eq(member("tbs"), tbs);
        cr_expect_eq(out.state.len, in.state.len);
        cr_expect_eq(memcmp(out.state.data, in.state.data, out.state.len), 0);
    }
    free(tbs);
}

Test(self, the_same_input_makes_the_same_effect)
{
    step(KEYVAULT_EFFECT_SIGN);
    char *first = strndup(out.effects[0].data, out.effects[0].len);
    char *state = strndup(out.state.data, out.state.len);
    step(KEYVAULT_EFFECT_SIGN);
    cr_expect_eq(strlen(first), out.effects[0].len);
    cr_expect_eq(memcmp(first, out.effects[0].data, out.effects[0].len), 0);
    cr_expect_eq(strlen(state), out.state.len);
    cr_expect_eq(memcmp(state, out.state.data, out.state.len), 0);
    in.random[0] ^= 1;
    step(KEYVAULT_EFFECT_SIGN);
    cr_expect_neq(memcmp(first, out.effects[0].data, out.effects[0].len), 0,
                  "another serial");
    free(first);
    free(state);
}

Test(self, events_before_the_first_step_are_nobodys)
{
    static const char *const states[] = {"", "{}"};
    in.events = text("[{\"der\":\"MAA=\"}]");
    for (size_t i = 0; i < 2; i++) {
        in.state = text(states[i]);
        step(KEYVAULT_EFFECT_SIGN);
    }
}

Test(self, an_event_that_is_no_signature_is_asked_for_again)
{
    char huge[22000];
    (void)snprintf(huge, sizeof(huge), "[{\"der\":\"%021900d\"}]", 0);
    const char *const events[] = {
        "[{}]",
        "[{\"der\":null}]",
        "[{\"der\":7}]",
        "[{\"der\":\"\"}]",
        "[{\"der\":\"no base64\"}]",
        "[{\"error\":\"key.sign-failed\"}]",
        "[{\"der\":\"MAA=\"},{\"der\":\"MAA=\"}]",
        "[\"MAA=\"]",
        "[null]",
        "{\"der\":\"MAA=\"}",
        "\"der\"",
        "no JSON",
        "[{\"der\":\"MAA=\",\"der\":\"MAA=\"}]",
        huge,
    };
    char state[512];
    step(KEYVAULT_EFFECT_SIGN);
    keep_state(state, sizeof(state));
    char *tbs = strdup(member("tbs"));
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        in.events = text(events[i]);
        expect_failed("transient", "self.not-signed");
        cr_expect_eq(out.state.len, in.state.len, "the state stays");
        cr_expect_eq(memcmp(out.state.data, in.state.data, out.state.len), 0);
        in.events = text("");
        step(KEYVAULT_EFFECT_SIGN);
        cr_expect_str_eq(member("tbs"), tbs, "%s", events[i]);
    }
    free(tbs);
}

Test(self, a_policy_without_a_validity_is_refused)
{
    static const char *const policies[] = {
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        "{\"x509_props\":null}",
        "{\"x509_props\":{}}",
        "{\"x509_props\":[]}",
        "{\"x509_props\":{\"validity_months\":null}}",
        "{\"x509_props\":{\"validity_months\":0}}",
        "{\"x509_props\":{\"validity_months\":\"12\"}}",
        "{\"x509_props\":{\"validity_months\":12.0}}",
        "{\"x509_props\":{\"validity_months\":12,\"validity_hours\":true}}",
        "{\"x509_props\":{\"validity_months\":12,\"validity_months\":12}}",
        "{\"x509_props\":{\"validity_months\":12}",
        "{\"validity_months\":12}",
    };
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        in.policy = text(policies[i]);
        expect_failed("input", "self.bad-policy");
        cr_expect_eq(out.state.len, 2, "%s", policies[i]);
    }
}

Test(self, a_validity_out_of_range_is_refused)
{
    static const char *const policies[] = {
        "{\"x509_props\":{\"validity_months\":-1}}",
        "{\"x509_props\":{\"validity_months\":1201}}",
        "{\"x509_props\":{\"validity_months\":9223372036854775807}}",
        "{\"x509_props\":{\"validity_hours\":-1}}",
        "{\"x509_props\":{\"validity_hours\":876001,\"validity_months\":12}}",
    };
    for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
        in.policy = text(policies[i]);
        expect_failed("input", "self.bad-validity");
    }
    in.policy = text(POLICY);
    in.now_s = -1;
    expect_failed("input", "self.bad-validity");
}

Test(self, a_saved_state_of_somebody_else_is_refused)
{
#define STATE(step, from, to, serial)                                                  \
    "{\"step\":" step ",\"not_before_s\":" from ",\"not_after_s\":" to                 \
    ",\"serial\":" serial "}"
    static const char *const states[] = {
        "no JSON",
        "[]",
        "7",
        "null",
        "{\"step\":\"signing\"}",
        STATE("\"done\"", "1", "2", "\"" SERIAL "\""),
        STATE("7", "1", "2", "\"" SERIAL "\""),
        STATE("\"signing\"", "2", "1", "\"" SERIAL "\""),
        STATE("\"signing\"", "1", "253402300800", "\"" SERIAL "\""),
        STATE("\"signing\"", "-601", "2", "\"" SERIAL "\""),
        STATE("\"signing\"", "1.0", "2", "\"" SERIAL "\""),
        STATE("\"signing\"", "1", "2", "\"" SERIAL "00\""),
        STATE("\"signing\"", "1", "2", "\"0011\""),
        STATE("\"signing\"", "1", "2", "\"0011223344556677889xaabbccddeeff\""),
        STATE("\"signing\"", "1", "2", "null"),
        STATE("\"signing\"", "1", "2", "\"" SERIAL "\",\"more\":1"),
    };
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        in.state = text(states[i]);
        expect_failed("input", "self.bad-state");
    }
    in.state = text(STATE("\"signing\"", "1", "2", "\"" SERIAL "\""));
    step(KEYVAULT_EFFECT_SIGN);
}

Test(self, a_request_that_cannot_be_served_is_refused)
{
    in.csr = text("garbage");
    expect_failed("input", "self.bad-csr");
    in.csr = text("");
    expect_failed("input", "self.bad-csr");
}

Test(self, it_has_no_account_and_issues_only)
{
    static const uint32_t probes[] = {KEYVAULT_PURPOSE_PROBE, KEYVAULT_PURPOSE_ACCOUNT};
    static const uint32_t others[] = {0, KEYVAULT_PURPOSE_RENEWAL_INFO,
                                      KEYVAULT_PURPOSE_REVOKE, 6, UINT32_MAX};
    for (size_t i = 0; i < 2; i++) {
        in.purpose = probes[i];
        step(KEYVAULT_EFFECT_ISSUED);
        cr_expect_eq(json_array_size(json_object_get(effect, "chain")), 0);
    }
    for (size_t i = 0; i < 5; i++) {
        in.purpose = others[i];
        expect_failed("input", "self.no-such-purpose");
    }
}

Test(self, the_table_says_who_it_is)
{
    const struct keyvault_issuer *issuer = kv_self_issuer();
    cr_expect_eq(issuer->abi, KEYVAULT_ISSUER_ABI);
    cr_expect_str_eq(issuer->type, "Self");
    struct keyvault_step_out nothing = {.n_effects = 0};
    issuer->release(&nothing);
    cr_expect_null(nothing.opaque);
}

/* --- from policy to certificate ----------------------------------------------------
 */

static const struct {
    const char *key; /* key_props */
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
    uint8_t md;
} types[] = {
    {"{\"kty\":\"RSA\",\"key_size\":2048}", KV_KTY_RSA, 0, 2048, KV_MD_SHA256},
    {"{\"kty\":\"EC\",\"crv\":\"P-256\"}", KV_KTY_EC, KV_CURVE_P256, 0, KV_MD_SHA256},
    {"{\"kty\":\"EC\",\"crv\":\"P-384\"}", KV_KTY_EC, KV_CURVE_P384, 0, KV_MD_SHA384},
    {"{\"kty\":\"EC\",\"crv\":\"P-521\"}", KV_KTY_EC, KV_CURVE_P521, 0, KV_MD_SHA512},
    {"{\"kty\":\"EC\",\"crv\":\"P-256K\"}", KV_KTY_EC, KV_CURVE_P256K, 0, KV_MD_SHA256},
    {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}", KV_KTY_OKP, KV_CURVE_ED25519, 0,
     KV_MD_NONE},
};

static void sign(struct kv_key *key, size_t type, enum kv_tbs kind, struct kv_bytes tbs,
                 struct kv_buf *to)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_role_tbs msg = {.tbs = (uint8_t)kind, .md = types[type].md, .der = tbs};
    kv_buf_init(to, 65536);
    cr_assert_eq(kv_key_sign_tbs(key, &msg, to, &err), 0, "%s", err.message);
}

/* Run an order as the service does, with `policy`; the chain passes its check. */
static void run_order(size_t type, const struct kv_policy *policy)
{
    struct kv_key *key = NULL;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf info;
    struct kv_buf request;
    struct kv_buf tbs;
    struct kv_buf der;
    struct kv_buf events;
    char state[512];
    kv_buf_init(&info, KV_CSR_MAX);
    kv_buf_init(&tbs, KV_CERT_DER_MAX);
    kv_buf_init(&events, 65536);
    cr_assert_eq(kv_key_generate(types[type].kty, types[type].curve, types[type].bits,
                                 &key, &err),
                 0);
    cr_assert_eq(kv_csr_info(policy, kv_key_spki(key), &info, &err), 0, "%s",
                 err.message);
    sign(key, type, KV_TBS_CSR, (struct kv_bytes){info.data, info.len}, &request);
    in.csr = (struct keyvault_bytes){(const char *)request.data, request.len};
    char *text_of_policy = json_dumps(policy->doc, JSON_COMPACT);
    in.policy = text(text_of_policy);
    in.state = text("");
    in.events = text("");
    step(KEYVAULT_EFFECT_SIGN);
    keep_state(state, sizeof(state));
    cr_assert_eq(kv_b64_decode(KV_B64_STD, member("tbs"), strlen(member("tbs")), &tbs),
                 0);
    sign(key, type, KV_TBS_SELF_SIGNED, (struct kv_bytes){tbs.data, tbs.len}, &der);
    (void)kv_buf_append_str(&events, "[{\"der\":\"");
    cr_assert_eq(kv_b64_encode(KV_B64_STD, der.data, der.len, &events), 0);
    (void)kv_buf_append_str(&events, "\"}]");
    in.events = (struct keyvault_bytes){(const char *)events.data, events.len};
    step(KEYVAULT_EFFECT_ISSUED);
    struct kv_chain chain;
    struct kv_buf store;
    kv_buf_init(&store, 65536);
    cr_assert_eq(kv_chain_read(json_object_get(effect, "chain"), &store, &chain), 0);
    cr_expect_eq(kv_chain_check(&chain, kv_key_spki(key), policy, NOW_S, &err), 0,
                 "%s: %s", types[type].key, err.message);
    free(text_of_policy);
    kv_buf_free(&store);
    kv_buf_free(&info);
    kv_buf_free(&request);
    kv_buf_free(&tbs);
    kv_buf_free(&der);
    kv_buf_free(&events);
    kv_key_unref(key);
}

static const char *const x509_props[] = {
    "{\"subject\":\"CN=a.example\"}",
    "{\"subject\":\"CN=A. Person, O=\\\"Org, Inc.\\\", S=Here+L=There, C=XX\"}",
    "{\"subject\":\"O=no common name\",\"validity_months\":1200}",
    "{\"sans\":{\"dns_names\":[\"a.example\",\"*.b.example\"],"
    "\"emails\":[\"Me@c.example\"],\"upns\":[\"me@d.example\"],"
    "\"uris\":[\"https://e.example/"
    "F\"],\"ipAddresses\":[\"192.0.2.1\",\"2001:db8::1\"]}}",
    "{\"subject\":\"CN=a.example\",\"sans\":{\"dns_names\":[\"b.example\"]},"
    "\"ekus\":[\"1.3.6.1.5.5.7.3.1\",\"1.2.3.4.5\"],\"validity_months\":1}",
    "{\"subject\":\"CN=a.example\",\"key_usage\":[\"cRLSign\",\"digitalSignature\","
    "\"keyCertSign\",\"nonRepudiation\"]}",
};

Test(self, whatever_a_policy_orders_passes_the_check_of_its_chain)
{
    cr_assert_eq(kv_keys_init(NULL), 0);
    for (size_t type = 0; type < sizeof(types) / sizeof(types[0]); type++)
        for (size_t i = 0; i < sizeof(x509_props) / sizeof(x509_props[0]); i++) {
            struct kv_policy policy;
            struct kv_err err = KV_ERR_INIT;
            json_t *key_props = json_loads(types[type].key, 0, NULL);
            json_t *x509 = json_loads(x509_props[i], 0, NULL);
            json_t *given = json_pack("{s:o,s:o,s:{s:s}}", "key_props", key_props,
                                      "x509_props", x509, "issuer", "name", "Self");
            cr_assert_not_null(given);
            cr_assert_eq(kv_policy_read(given, &policy, &err), 0, "%s: %s",
                         x509_props[i], err.message);
            run_order(type, &policy);
            kv_policy_free(&policy);
            json_decref(given);
        }
    kv_keys_fini();
}

/* --- out of memory -----------------------------------------------------------------
 */

/* One step in which the n-th allocation fails: it fails as a whole, to be made again,
 * or does what it does otherwise. Where libcrypto or jansson do not tell that memory
 * ran out, they blame what they were given; never is an effect half there. */
static void step_under_faults(bool libcrypto, uint32_t kind)
{
    step(kind);
    char *expected = strndup(out.effects[0].data, out.effects[0].len);
    json_set_alloc_funcs(malloc, free); /* ours, which are counted */
    cr_assert(fault_use_libcrypto(libcrypto));
    long n = 1;
    long n_blamed = 0;
    for (; fault_round(n); n++) {
        release();
        int rc = kv_self_issuer()->step(&in, &out);
        if (rc != 0) {
            cr_expect(fault_was_hit());
            cr_expect_eq(rc, -1);
            cr_expect_null(out.opaque);
            cr_expect_eq(out.n_effects, 0);
        } else if (out.effect_kind != kind) {
            cr_expect_eq(out.effect_kind, KEYVAULT_EFFECT_FAILED);
            n_blamed++;
        } else {
            cr_expect_eq(out.effects[0].len, strlen(expected));
            cr_expect_eq(memcmp(out.effects[0].data, expected, strlen(expected)), 0);
        }
        cr_expect_eq(ERR_peek_error(), 0);
    }
    (void)fault_use_libcrypto(false);
    cr_expect_geq(n, 10, "%ld", n);
    cr_expect_lt(n_blamed, n / 2, "%ld of %ld", n_blamed, n);
    free(expected);
}

Test(self, a_step_without_memory_is_made_again)
{
    char state[512];
    step_under_faults(false, KEYVAULT_EFFECT_SIGN);
    keep_state(state, sizeof(state));
    step_under_faults(false, KEYVAULT_EFFECT_SIGN);
    in.events = text("[{\"der\":\"MAA=\"}]");
    step_under_faults(false, KEYVAULT_EFFECT_ISSUED);
}

Test(self, libcrypto_without_memory_leaks_nothing, .timeout = 90)
{
    step_under_faults(true, KEYVAULT_EFFECT_SIGN);
}
