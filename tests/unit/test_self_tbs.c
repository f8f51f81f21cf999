/* Bodies of self-signed certificates: what a request may ask for, what it gets, and
 * that the keyring signs the result. Calendar arithmetic. */
#include <string.h>
#include <time.h>

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "plugins/self/tbs.h"
#include "store/keyring/key_internal.h"
#include "tests/support/chain_maker.h"

#define NOW_S CHAIN_MAKER_NOW_S
#define LIFE                                                                           \
    ((struct kv_self_life){.not_before_s = NOW_S, .not_after_s = NOW_S + 86400})

static const uint8_t serial[16] = {0x8f, 1, 2,  3,  4,  5,  6,  7,
                                   8,    9, 10, 11, 12, 13, 14, 15};

static void setup(void)
{
    cr_assert_eq(kv_keys_init(NULL), 0);
}

static void teardown(void)
{
    cr_expect_eq(ERR_peek_error(), 0, "the error queue is left clean");
    kv_keys_fini();
}

TestSuite(self_tbs, .timeout = 30, .init = setup, .fini = teardown);

/* --- life ------------------------------------------------------------------------- */

static int64_t at(const char *text)
{
    struct tm tm = {0};
    cr_assert_not_null(strptime(text, "%Y-%m-%dT%H:%M:%S", &tm), "%s", text);
    return (int64_t)timegm(&tm);
}

Test(self_tbs, months_are_those_of_the_calendar)
{
    static const struct {
        const char *from;
        int64_t months;
        const char *to;
    } rows[] = {
        {"2025-06-15T12:34:56", 12, "2026-06-15T12:34:56"},
        {"2024-12-15T00:00:00", 1, "2025-01-15T00:00:00"},
        {"2024-01-31T10:00:00", 1, "2024-02-29T10:00:00"},
        {"2023-01-31T10:00:00", 1, "2023-02-28T10:00:00"},
        {"2024-01-30T10:00:00", 1, "2024-02-29T10:00:00"},
        {"2024-01-31T10:00:00", 3, "2024-04-30T10:00:00"},
        {"2023-12-31T23:59:59", 2, "2024-02-29T23:59:59"},
        {"2024-02-29T00:00:00", 12, "2025-02-28T00:00:00"},
        {"2024-02-29T00:00:00", 48, "2028-02-29T00:00:00"},
        {"2024-02-29T00:00:00", 1200, "2124-02-29T00:00:00"},
        {"2099-01-31T00:00:00", 13, "2100-02-28T00:00:00"}, /* no leap year */
        {"1999-01-31T00:00:00", 13, "2000-02-29T00:00:00"}, /* a leap year */
        {"2025-08-31T00:00:00", 1, "2025-09-30T00:00:00"},
        {"2037-12-31T00:00:00", 12, "2038-12-31T00:00:00"},
        {"1970-01-01T00:00:00", 1, "1970-02-01T00:00:00"},
        {"9899-12-31T23:59:59", 1200, "9999-12-31T23:59:59"},
        {"9999-11-30T00:00:00", 1, "9999-12-30T00:00:00"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_self_life life = {0};
        struct kv_err err = KV_ERR_INIT;
        cr_assert_eq(kv_self_life(at(rows[i].from), rows[i].months, 0, &life, &err), 0,
                     "%s: %s", rows[i].from, err.message);
        cr_expect_eq(life.not_after_s, at(rows[i].to), "%s + %lld", rows[i].from,
                     (long long)rows[i].months);
        cr_expect_eq(life.not_before_s, at(rows[i].from) - 600);
        cr_expect(kv_self_life_is_sound(&life));
    }
}

Test(self_tbs, hours_count_instead_of_months)
{
    static const int64_t hours[] = {1, 24, 8760, 876000};
    for (size_t i = 0; i < sizeof(hours) / sizeof(hours[0]); i++) {
        struct kv_self_life life = {0};
        cr_assert_eq(kv_self_life(NOW_S, 12, hours[i], &life, NULL), 0);
        cr_expect_eq(life.not_after_s, NOW_S + hours[i] * 3600);
    }
}

Test(self_tbs, a_life_out_of_range_is_refused)
{
    static const struct {
        int64_t now_s;
        int64_t months;
        int64_t hours;
    } rows[] = {
        {NOW_S, 0, 0},
        {NOW_S, -1, 0},
        {NOW_S, 1201, 0},
        {NOW_S, INT64_MAX, 0},
        {NOW_S, INT64_MIN, 0},
        {NOW_S, 12, -1},
        {NOW_S, 12, 876001},
        {NOW_S, 12, INT64_MAX},
        {-1, 12, 0},
        {INT64_MIN, 12, 0},
        {INT64_MIN, 12, 1},
        {INT64_MAX, 12, 0},
        {INT64_MAX, 12, 1},
        {INT64_C(250246627200), 1200, 0}, /* 9900-01-01 */
        {INT64_C(253402300799), 0, 1},
        {INT64_C(253402300800), 1, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_self_life life = {.not_after_s = 4711};
        struct kv_err err = KV_ERR_INIT;
        cr_expect_eq(
            kv_self_life(rows[i].now_s, rows[i].months, rows[i].hours, &life, &err),
            KV_E_INVALID, "row %zu", i);
        cr_expect_str_eq(err.id, "self.bad-validity");
        cr_expect_eq(life.not_after_s, 4711, "nothing is written");
    }
}

Test(self_tbs, a_life_read_again_must_be_one_that_can_have_been_made)
{
    static const struct kv_self_life unsound[] = {
        {.not_before_s = -601, .not_after_s = 1000},
        {.not_before_s = 1000, .not_after_s = 1000},
        {.not_before_s = 1000, .not_after_s = 999},
        {.not_before_s = 1000, .not_after_s = INT64_C(253402300800)},
        {.not_before_s = INT64_MIN, .not_after_s = INT64_MAX},
    };
    for (size_t i = 0; i < sizeof(unsound) / sizeof(unsound[0]); i++)
        cr_expect_not(kv_self_life_is_sound(&unsound[i]), "row %zu", i);
    cr_expect(kv_self_life_is_sound(&LIFE));
}

/* --- bodies ----------------------------------------------------------------------- */

static int make_tbs(const struct csr_made *csr, struct kv_buf *tbs, struct kv_err *err)
{
    kv_buf_init(tbs, 65536);
    *err = KV_ERR_INIT;
    return kv_self_tbs(csr->der, csr->der_len, &LIFE, serial, tbs, err);
}

static uint8_t digest_of(const char *type)
{
    if (strcmp(type, "ED25519") == 0)
        return KV_MD_NONE;
    if (strcmp(type, "P-384") == 0)
        return KV_MD_SHA384;
    return strcmp(type, "P-521") == 0 ? KV_MD_SHA512 : KV_MD_SHA256;
}

/* Let the keyring's own code sign a body; it refuses one that is not self-issued. */
static X509 *sign(EVP_PKEY *pkey, const char *type, const struct kv_buf *tbs)
{
    struct kv_key *key = NULL;
    uint8_t *der = NULL;
    struct kv_buf out;
    struct kv_err err = KV_ERR_INIT;
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(pkey);
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    cr_assert_gt(len, 0);
    struct kv_role_key_new request = {.import = KV_IMPORT_DER,
                                      .material = {der, (size_t)len}};
    cr_assert_eq(kv_key_import(&request, &key, NULL, &err), 0, "%s", err.message);
    struct kv_role_tbs msg = {
        .tbs = KV_TBS_SELF_SIGNED, .md = digest_of(type), .der = {tbs->data, tbs->len}};
    kv_buf_init(&out, 65536);
    cr_assert_eq(kv_key_sign_tbs(key, &msg, &out, &err), 0, "%s: %s", type,
                 err.message);
    const uint8_t *from = out.data;
    X509 *cert = d2i_X509(NULL, &from, (long)out.len);
    cr_assert_not_null(cert);
    kv_buf_free(&out);
    kv_key_unref(key);
    PKCS8_PRIV_KEY_INFO_free(info);
    OPENSSL_free(der);
    return cert;
}

static X509 *make_cert(const struct csr_maker *maker)
{
    struct csr_made csr = csr_make(maker);
    struct kv_buf tbs;
    struct kv_err err;
    cr_assert_eq(make_tbs(&csr, &tbs, &err), 0, "%s", err.message);
    X509 *cert = sign(csr.key, maker->type, &tbs);
    cr_expect_eq(X509_verify(cert, csr.key), 1);
    kv_buf_free(&tbs);
    csr_made_free(&csr);
    return cert;
}

static const struct csr_extension usual[] = {
    {NID_key_usage, "critical,digitalSignature,keyEncipherment"},
    {NID_ext_key_usage, "serverAuth,clientAuth"},
    {NID_subject_alt_name, "DNS:a.example,IP:192.0.2.1"},
    {NID_basic_constraints, "critical,CA:FALSE"},
    {0, NULL},
};

static int64_t unix_of(const ASN1_TIME *time)
{
    struct tm tm;
    cr_assert_eq(ASN1_TIME_to_tm(time, &tm), 1);
    return (int64_t)timegm(&tm);
}

Test(self_tbs, the_keyring_signs_it_for_every_key_type)
{
    static const char *const types[] = {"RSA",   "P-256",     "P-384",
                                        "P-521", "secp256k1", "ED25519"};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        X509 *cert = make_cert(&(struct csr_maker){
            .type = types[i], .subject = "a.example", .extensions = usual});
        cr_expect_eq(X509_get_version(cert), X509_VERSION_3);
        cr_expect_eq(unix_of(X509_get0_notBefore(cert)), NOW_S);
        cr_expect_eq(unix_of(X509_get0_notAfter(cert)), NOW_S + 86400);
        cr_expect_eq(
            X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)), 0);
        cr_expect_eq(X509_get_ext_count(cert), 5);
        cr_expect_eq(X509_check_ca(cert), 0);
        cr_expect_eq(X509_check_host(cert, "a.example", 0, 0, NULL), 1);
        cr_expect_eq(X509_check_ip_asc(cert, "192.0.2.1", 0), 1);
        cr_expect_eq(X509_get_key_usage(cert),
                     X509v3_KU_DIGITAL_SIGNATURE | X509v3_KU_KEY_ENCIPHERMENT);
        cr_expect_eq(X509_get_extended_key_usage(cert),
                     XKU_SSL_SERVER | XKU_SSL_CLIENT);
        cr_expect_not_null(X509_get0_subject_key_id(cert));
        cr_expect_null(X509_get0_authority_key_id(cert));
        X509_free(cert);
    }
}

Test(self_tbs, the_serial_is_positive_and_of_sixteen_octets)
{
    X509 *cert = make_cert(&(struct csr_maker){.type = "P-256", .subject = "a"});
    const ASN1_INTEGER *number = X509_get0_serialNumber(cert);
    cr_expect_eq(number->type, V_ASN1_INTEGER, "not negative");
    cr_expect_eq(number->length, 16);
    cr_expect_eq(number->data[0], 0x4f);
    cr_expect_eq(memcmp(number->data + 1, serial + 1, 15), 0);
    X509_free(cert);
}

Test(self_tbs, the_same_arguments_make_the_same_bytes)
{
    struct csr_made csr = csr_make(
        &(struct csr_maker){.type = "P-256", .subject = "a", .extensions = usual});
    struct kv_buf first;
    struct kv_buf second;
    struct kv_err err;
    cr_assert_eq(make_tbs(&csr, &first, &err), 0);
    cr_assert_eq(make_tbs(&csr, &second, &err), 0);
    cr_assert_eq(first.len, second.len);
    cr_expect_eq(memcmp(first.data, second.data, first.len), 0);
    kv_buf_free(&first);
    kv_buf_free(&second);
    csr_made_free(&csr);
}

/* --- extensions ------------------------------------------------------------------- */

static bool is_critical(const X509 *cert, int nid)
{
    int place = X509_get_ext_by_NID(cert, nid, -1);
    cr_assert_geq(place, 0, "%s", OBJ_nid2sn(nid));
    return X509_EXTENSION_get_critical(X509_get_ext(cert, place)) == 1;
}

static X509 *with(const char *subject, const struct csr_extension *extensions)
{
    return make_cert(&(struct csr_maker){
        .type = "ED25519", .subject = subject, .extensions = extensions});
}

Test(self_tbs, other_extensions_are_left_out)
{
    X509 *cert =
        with("a", (const struct csr_extension[]){
                      {NID_name_constraints, "permitted;DNS:example"},
                      {NID_certificate_policies, "DER:30:06:30:04:06:02:2A:03"},
                      {NID_subject_key_identifier, "00:11:22"},
                      {NID_tlsfeature, "status_request"},
                      {NID_key_usage, "digitalSignature"},
                      {0, NULL}});
    cr_expect_eq(X509_get_ext_count(cert), 2);
    cr_expect(is_critical(cert, NID_key_usage), "always");
    cr_expect_eq(ASN1_STRING_length(X509_get0_subject_key_id(cert)), 20);
    X509_free(cert);
}

Test(self_tbs, alternative_names_are_critical_without_a_subject)
{
    static const struct csr_extension plain[] = {{NID_subject_alt_name, "DNS:a"},
                                                 {0, NULL}};
    static const struct csr_extension critical[] = {
        {NID_subject_alt_name, "critical,DNS:a"}, {0, NULL}};
    X509 *cert = with(NULL, plain);
    cr_expect(is_critical(cert, NID_subject_alt_name));
    X509_free(cert);
    cert = with("a", critical);
    cr_expect_not(is_critical(cert, NID_subject_alt_name));
    X509_free(cert);
}

Test(self_tbs, a_certificate_without_ca_does_not_sign_others)
{
    X509 *cert =
        with("a", (const struct csr_extension[]){
                      {NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign"},
                      {NID_basic_constraints, "CA:FALSE,pathlen:3"},
                      {0, NULL}});
    BASIC_CONSTRAINTS *constraints =
        X509_get_ext_d2i(cert, NID_basic_constraints, NULL, NULL);
    cr_expect_eq(X509_get_key_usage(cert),
                 X509v3_KU_DIGITAL_SIGNATURE | X509v3_KU_CRL_SIGN);
    cr_assert_not_null(constraints);
    cr_expect_not(constraints->ca);
    cr_expect_null(constraints->pathlen);
    BASIC_CONSTRAINTS_free(constraints);
    X509_free(cert);
    cert = with("a", (const struct csr_extension[]){
                         {NID_key_usage, "keyCertSign,decipherOnly"}, {0, NULL}});
    cr_expect_eq(X509_get_key_usage(cert), X509v3_KU_DECIPHER_ONLY);
    X509_free(cert);
}

static const struct {
    const char *subject;
    struct csr_extension extensions[3];
    const char *text;
} refused[] = {
    {"a", {{NID_basic_constraints, "critical,CA:TRUE"}}, "CA certificate"},
    {"a", {{NID_basic_constraints, "CA:TRUE,pathlen:0"}}, "CA certificate"},
    {"a", {{NID_key_usage, "critical,keyCertSign"}}, "no key usage but"},
    {"a", {{NID_key_usage, "DER:03:02:07:00"}}, "no key usage but"},
    {"a", {{NID_key_usage, "DER:03:01:00"}}, "no key usage but"},
    {"a", {{NID_key_usage, "DER:05:00"}}, "cannot be read"},
    {"a", {{NID_subject_alt_name, "DER:30:05:82:01"}}, "cannot be read"},
    {"a", {{NID_ext_key_usage, "DER:01"}}, "cannot be read"},
    {"a", {{NID_basic_constraints, "DER:00"}}, "cannot be read"},
    {"a",
     {{NID_key_usage, "digitalSignature"}, {NID_key_usage, "digitalSignature"}},
     "twice"},
    {"a", {{NID_subject_alt_name, "DNS:a"}, {NID_subject_alt_name, "DNS:b"}}, "twice"},
    {"a",
     {{NID_tlsfeature, "status_request"}, {NID_tlsfeature, "status_request"}},
     "twice"},
    {NULL, {{NID_key_usage, "digitalSignature"}}, "neither a subject nor"},
};

static void expect_refused(const struct csr_made *csr, const char *id, const char *text)
{
    struct kv_buf tbs;
    struct kv_err err;
    cr_expect_eq(make_tbs(csr, &tbs, &err), err.code);
    cr_expect_str_eq(err.id, id, "%s", err.message);
    cr_expect_not_null(strstr(err.message, text), "'%s' in '%s'", text, err.message);
    cr_expect_eq(tbs.len, 0);
    kv_buf_free(&tbs);
}

Test(self_tbs, requests_for_what_self_does_not_make_are_refused)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct csr_made csr =
            csr_make(&(struct csr_maker){.type = "ED25519",
                                         .subject = refused[i].subject,
                                         .extensions = refused[i].extensions});
        expect_refused(&csr, "self.bad-csr", refused[i].text);
        csr_made_free(&csr);
    }
}

Test(self_tbs, more_extensions_than_a_request_needs_are_refused)
{
    struct csr_extension many[34] = {{0, NULL}};
    for (int i = 0; i < 33; i++)
        many[i] = (struct csr_extension){NID_tlsfeature, "DER:05:00"};
    struct csr_made csr = csr_make(
        &(struct csr_maker){.type = "ED25519", .subject = "a", .extensions = many});
    expect_refused(&csr, "self.bad-csr", "more than 32");
    csr_made_free(&csr);
}

/* --- requests --------------------------------------------------------------------- */

Test(self_tbs, what_is_no_request_is_refused)
{
    struct csr_made good =
        csr_make(&(struct csr_maker){.type = "P-256", .subject = "a"});
    uint8_t *copy = malloc(good.der_len + 1);
    uint8_t *huge = calloc(1, 70000);
    cr_assert(copy != NULL && huge != NULL);
    memcpy(copy, good.der, good.der_len);
    copy[good.der_len] = 0;
    memcpy(huge, "\x30\x83\x01\x11\x6b", 5);
    struct csr_made bad[] = {
        {.der = NULL, .der_len = 0},
        {.der = (uint8_t *)(uintptr_t) "garbage", .der_len = 7},
        {.der = good.der, .der_len = good.der_len - 1},
        {.der = copy, .der_len = good.der_len + 1},
        {.der = huge, .der_len = 70000},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        expect_refused(&bad[i], "self.bad-csr", "not PKCS#10");
    copy[good.der_len - 1] ^= 1; /* in the signature */
    struct csr_made forged = {.der = copy, .der_len = good.der_len};
    expect_refused(&forged, "self.bad-csr", "signed by its own key");
    free(copy);
    free(huge);
    csr_made_free(&good);
}

Test(self_tbs, extensions_that_are_no_list_are_refused)
{
    EVP_PKEY *key = chain_make_key("ED25519");
    X509_REQ *req = X509_REQ_new();
    struct csr_made csr = {.der = NULL};
    cr_assert_eq(X509_REQ_set_pubkey(req, key), 1);
    cr_assert_eq(X509_REQ_add1_attr_by_NID(req, NID_ext_req, V_ASN1_UTF8STRING,
                                           (const uint8_t *)"none", 4),
                 1);
    cr_assert_gt(X509_REQ_sign(req, key, NULL), 0);
    int len = i2d_X509_REQ(req, &csr.der);
    cr_assert_gt(len, 0);
    csr.der_len = (size_t)len;
    expect_refused(&csr, "self.bad-csr", "extensions that cannot be read");
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    csr_made_free(&csr);
}

Test(self_tbs, keys_without_an_algorithm_are_refused)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
    X509_REQ *req = X509_REQ_new();
    struct csr_made csr = {.der = NULL};
    cr_assert_eq(X509_REQ_set_pubkey(req, key), 1);
    cr_assert_gt(X509_REQ_sign(req, key, NULL), 0);
    int len = i2d_X509_REQ(req, &csr.der);
    cr_assert_gt(len, 0);
    csr.der_len = (size_t)len;
    expect_refused(&csr, "self.bad-key", "ED448");
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    csr_made_free(&csr);
}

/* A request whose certificate is just signed, or just not. */
static struct csr_made request_with_name_of(EVP_PKEY *key, size_t len)
{
    struct csr_made csr = {.der = NULL};
    X509_REQ *req = X509_REQ_new();
    STACK_OF(X509_EXTENSION) *stack = sk_X509_EXTENSION_new_null();
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    char *text = malloc(len);
    cr_assert_not_null(text);
    memset(text, 'a', len);
    name->type = GEN_DNS;
    name->d.dNSName = ASN1_IA5STRING_new();
    cr_assert_eq(ASN1_STRING_set(name->d.dNSName, text, (int)len), 1);
    cr_assert_gt(sk_GENERAL_NAME_push(names, name), 0);
    cr_assert_eq(X509V3_add1_i2d(&stack, NID_subject_alt_name, names, 0, 0), 1);
    cr_assert_eq(X509_REQ_add_extensions(req, stack), 1);
    cr_assert_eq(X509_REQ_set_pubkey(req, key), 1);
    cr_assert_gt(X509_REQ_sign(req, key, NULL), 0);
    int der_len = i2d_X509_REQ(req, &csr.der);
    cr_assert_gt(der_len, 0);
    csr.der_len = (size_t)der_len;
    sk_X509_EXTENSION_pop_free(stack, X509_EXTENSION_free);
    GENERAL_NAMES_free(names);
    X509_REQ_free(req);
    free(text);
    return csr;
}

Test(self_tbs, a_body_has_at_most_what_the_keyring_signs)
{
    EVP_PKEY *key = chain_make_key("ED25519");
    struct csr_made csr = request_with_name_of(key, 12000);
    struct kv_buf tbs;
    struct kv_err err;
    cr_assert_eq(make_tbs(&csr, &tbs, &err), 0, "%s", err.message);
    size_t around = tbs.len - 12000;
    kv_buf_free(&tbs);
    csr_made_free(&csr);

    csr = request_with_name_of(key, KV_SELF_TBS_MAX - around);
    cr_assert_eq(make_tbs(&csr, &tbs, &err), 0, "%s", err.message);
    cr_expect_eq(tbs.len, KV_SELF_TBS_MAX);
    X509_free(sign(key, "ED25519", &tbs));
    kv_buf_free(&tbs);
    csr_made_free(&csr);

    csr = request_with_name_of(key, KV_SELF_TBS_MAX - around + 1);
    expect_refused(&csr, "self.too-big", "15361 bytes");
    csr_made_free(&csr);
    csr = request_with_name_of(key, 60000);
    expect_refused(&csr, "self.too-big", "at most 15360");
    csr_made_free(&csr);
    EVP_PKEY_free(key);
}

Test(self_tbs, a_full_buffer_is_no_fault_of_the_request)
{
    struct csr_made csr =
        csr_make(&(struct csr_maker){.type = "P-256", .subject = "a"});
    struct kv_buf tbs;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&tbs, 10);
    cr_expect_eq(kv_self_tbs(csr.der, csr.der_len, &LIFE, serial, &tbs, &err),
                 KV_E_TOO_BIG);
    cr_expect_eq(err.code, 0);
    kv_buf_free(&tbs);
    csr_made_free(&csr);
}
