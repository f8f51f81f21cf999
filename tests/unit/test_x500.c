/* Distinguished names: Windows' text against DER, both ways. */
#include <string.h>

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/x509.h>

#include "lifecycle/certs/x500.h"

#define DER_MAX 16384

TestSuite(x500, .timeout = 20);

static void parse(const char *text, struct kv_buf *der)
{
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(der, DER_MAX);
    cr_assert_eq(kv_x500_parse(text, der, &err), 0, "%s: %s", text, err.message);
    cr_assert_eq(err.code, 0);
}

static struct kv_bytes bytes_of(const struct kv_buf *buf)
{
    return (struct kv_bytes){buf->data, buf->len};
}

/* The text prints as `printed`, and that is the same Name. */
static void expect_text(const char *text, const char *printed)
{
    struct kv_buf der;
    struct kv_buf again;
    struct kv_buf out;
    parse(text, &der);
    kv_buf_init(&out, KV_X500_TEXT_MAX);
    cr_assert_eq(kv_x500_print(bytes_of(&der), &out), 0, "%s", text);
    cr_expect_str_eq(kv_buf_cstr(&out), printed, "%s printed as %s", text,
                     kv_buf_cstr(&out));
    parse(kv_buf_cstr(&out), &again);
    cr_expect(again.len == der.len && memcmp(again.data, der.data, der.len) == 0,
              "%s reads back as another name", printed);
    kv_buf_free(&again);
    kv_buf_free(&der);
    kv_buf_free(&out);
}

Test(x500, texts_print_as_themselves)
{
    static const char *const rows[] = {
        "CN=a",
        "CN=www.example.com, O=\"Org, Inc.\", L=Berlin, S=State, C=DE",
        "CN=a b  c",
        "CN=\" a\"",
        "CN=\"a \"",
        "CN=\"say \"\"hi\"\"\"",
        "O=c + CN=\"a+b\", OU=d",
        "CN=\"a;b\"",
        "CN=\"a=b\"",
        "CN=\"#a\"",
        "CN=\"a\\b\"",
        "CN=\"<a>\"",
        "CN=j\xc3\xb6rg",
        "E=a@b.example, DC=corp, DC=example",
        "SERIALNUMBER=12-3, STREET=1 Road, T=Dr, G=Ann, SN=Doe, UID=ann",
        "OID.1.2.3.4=a",
        "OID.2.999.1=a",
        "OID.2.5.4.17=12345, CN=a",
        "CN=#0c00",
        "CN=#0c020a0b",
        "CN=#030203a8",
        "OID.1.2.3=#3003020101",
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_text(rows[i], rows[i]);
}

Test(x500, other_spellings_mean_the_same)
{
    static const char *const rows[][2] = {
        {"  cn = a ,o=b  ", "CN=a, O=b"},
        {"CN=a;O=b", "CN=a, O=b"},
        {"CN=a,\r\n\tO=b", "CN=a, O=b"},
        {"CN=\"a\"", "CN=a"},
        {"CN=\"a\" ,O=b", "CN=a, O=b"},
        {"ST=x", "S=x"},
        {"st=x", "S=x"},
        {"emailaddress=a@b", "E=a@b"},
        {"title=x, GN=y", "T=x, G=y"},
        {"oid.2.5.4.3=a", "CN=a"},
        {"2.5.4.3=a", "CN=a"},
        {"0.9.2342.19200300.100.1.25=corp", "DC=corp"},
        {"CN=a\\, b\\+c", "CN=\"a, b+c\""},
        {"CN=a\\ ", "CN=\"a \""},
        {"CN=\\ a", "CN=\" a\""},
        {"CN=a\\\"b", "CN=\"a\"\"b\""},
        {"CN=j\\C3\\b6", "CN=j\xc3\xb6"},
        {"CN=\\41\\20", "CN=\"A \""},
        {"CN=\\#a", "CN=\"#a\""},
        {"CN=a=b", "CN=\"a=b\""},
        {"C=de", "C=de"},
        {"O=b+CN=a", "CN=a + O=b"}, /* a SET has the order of DER */
        {"CN=#0C0161", "CN=a"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_text(rows[i][0], rows[i][1]);
}

/* Text, and a piece of the complaint. */
static void expect_bad(const char *text, const char *says)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf der;
    kv_buf_init(&der, DER_MAX);
    cr_expect_eq(kv_x500_parse(text, &der, &err), KV_E_INVALID, "accepted: %s", text);
    cr_expect_str_eq(err.id, "policy.bad-subject", "%s", text);
    cr_expect_not_null(strstr(err.message, says), "%s: '%s' does not say '%s'", text,
                       err.message, says);
    cr_expect_eq(der.len, 0);
    cr_expect_eq(ERR_peek_error(), 0, "%s leaves an error in the queue", text);
    kv_buf_free(&der);
}

#define A32 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

Test(x500, what_is_wrong_is_said_with_its_place)
{
    static const char *const rows[][2] = {
        {"", "has no =, at character 1"},
        {"   ", "has no =, at character 4"},
        {"a", "has no ="},
        {"CN", "has no ="},
        {"CN=a,", "has no =, at character 6"},
        {"CN=a,,O=b", "has no =, at character 6"},
        {"CN=a, O", "has no =, at character 7"},
        {"=a", "is missing or too long"},
        {"CN=a, XX=b", "is not known; write it as OID.1.2.3, at character 7"},
        {"1.2.=b", "is not known"},
        {"1.40.3=b", "is not known"},
        {"OID.=b", "is not known"},
        {"OID.CN=b", "is not known"},
        {"CN N=a", "is not known"},
        {"CN=", "too short"},
        {"CN=\"\"", "too short"},
        {"CN=  , O=b", "too short"},
        {"CN=\"a", "closing quote"},
        {"CN=\"a\"b", "between the value and the next comma"},
        {"CN=a\"b", "a quote in the middle"},
        {"CN=a\\", "backslash"},
        {"CN=a\\x", "backslash"},
        {"CN=a\\00", "not UTF-8"},
        {"CN=a\\0ab", "control character"},
        {"CN=a\tb", "control character"},
        {"CN=a\\ff", "not UTF-8"},
        {"CN=\xff", "no UTF-8"},
        {"CN=" A32 A32 "a", "longer than RFC 5280"},
        {"C=D", "too short"},
        {"C=DEU", "longer than"},
        {"C=D1", "two letters"},
        {"C=\xc3\xa4\xc3\xb6", "letters, digits"},
        {"E=j\xc3\xb6@b", "ASCII"},
        {"DC=\xc3\xb6", "ASCII"},
        {"SERIALNUMBER=a_b", "letters, digits"},
        {"CN=#", "no DER value"},
        {"CN=#0", "between the value"},
        {"CN=#0c0261", "no DER value"},
        {"CN=#0c016161", "no DER value"},
        {"CN=#020101", "no DER value"},
        {"CN=#0c0161 b", "between the value"},
        {"CN=#0c0197", "no DER value"},
        {"CN=#1e0161", "no DER value"},
        {"CN=#zz", "between the value"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        expect_bad(rows[i][0], rows[i][1]);
}

Test(x500, bounds_count_characters)
{
    char text[4 + 2 * 64 + 1] = "CN=";
    struct kv_buf der;
    for (size_t i = 0; i < 64; i++)
        (void)strcat(text, "\xc3\xb6");
    parse(text, &der);
    kv_buf_free(&der);
}

Test(x500, text_has_a_ceiling)
{
    static char text[KV_X500_TEXT_MAX + 2];
    memset(text, 'a', KV_X500_TEXT_MAX + 1);
    memcpy(text, "G=", 2);
    expect_bad(text, "too long");
    text[KV_X500_TEXT_MAX] = '\0';
    struct kv_buf der;
    parse(text, &der);
    kv_buf_free(&der);
}

Test(x500, strings_have_the_types_of_rfc_5280)
{
    struct kv_buf der;
    parse("CN=a,C=DE,E=a@b,DC=c,SERIALNUMBER=1,OID.1.2.3=x", &der);
    static const int types[] = {V_ASN1_UTF8STRING,      V_ASN1_PRINTABLESTRING,
                                V_ASN1_IA5STRING,       V_ASN1_IA5STRING,
                                V_ASN1_PRINTABLESTRING, V_ASN1_UTF8STRING};
    const uint8_t *at = der.data;
    X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)der.len);
    cr_assert_not_null(name);
    cr_assert_eq(X509_NAME_entry_count(name), 6);
    for (int i = 0; i < 6; i++)
        cr_expect_eq(
            ASN1_STRING_type(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i))),
            types[i], "entry %d", i);
    X509_NAME_free(name);
    kv_buf_free(&der);
}

/* A Name of one value of this type and attribute. */
static void make_name(int nid, int type, const void *data, int len, struct kv_buf *der)
{
    X509_NAME *name = X509_NAME_new();
    uint8_t *bytes = NULL;
    kv_buf_init(der, DER_MAX);
    cr_assert_eq(X509_NAME_add_entry_by_NID(name, nid, type, data, len, -1, 0), 1);
    int n = i2d_X509_NAME(name, &bytes);
    cr_assert_eq(kv_buf_append(der, bytes, (size_t)n), 0);
    OPENSSL_free(bytes);
    X509_NAME_free(name);
}

Test(x500, names_of_other_certificates_have_a_text)
{
    static const struct {
        int nid;
        int type;
        const char *data;
        int len;
        const char *text;
    } rows[] = {
        {NID_organizationName, V_ASN1_PRINTABLESTRING, "Org", 3, "O=Org"},
        {NID_organizationName, V_ASN1_T61STRING, "\xf6", 1, "O=\xc3\xb6"},
        {NID_organizationName, V_ASN1_BMPSTRING, "\0\xf6", 2, "O=\xc3\xb6"},
        {NID_organizationName, V_ASN1_UTF8STRING, "", 0, "O=#0c00"},
        {NID_organizationName, V_ASN1_UTF8STRING, "a\0b", 3, "O=#0c03610062"},
        {NID_countryName, V_ASN1_UTF8STRING, "Germany", 7, "C=#0c074765726d616e79"},
        {NID_pkcs9_emailAddress, V_ASN1_UTF8STRING, "\xc3\xb6", 2, "E=#0c02c3b6"},
        {NID_countryName, V_ASN1_UTF8STRING, "DE", 2, "C=DE"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_buf der;
        struct kv_buf again;
        struct kv_buf out;
        make_name(rows[i].nid, rows[i].type, rows[i].data, rows[i].len, &der);
        kv_buf_init(&out, KV_X500_TEXT_MAX);
        cr_assert_eq(kv_x500_print(bytes_of(&der), &out), 0, "row %zu", i);
        cr_expect_str_eq(kv_buf_cstr(&out), rows[i].text, "row %zu: %s", i,
                         kv_buf_cstr(&out));
        parse(rows[i].text, &again);
        const uint8_t *at = der.data;
        const uint8_t *at2 = again.data;
        X509_NAME *a = d2i_X509_NAME(NULL, &at, (long)der.len);
        X509_NAME *b = d2i_X509_NAME(NULL, &at2, (long)again.len);
        cr_expect_eq(X509_NAME_cmp(a, b), 0, "row %zu is another name", i);
        X509_NAME_free(a);
        X509_NAME_free(b);
        kv_buf_free(&out);
        kv_buf_free(&again);
        kv_buf_free(&der);
    }
}

Test(x500, empty_name_is_an_empty_text)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_X500_TEXT_MAX);
    cr_assert_eq(kv_x500_print((struct kv_bytes){(const uint8_t *)"\x30\x00", 2}, &out),
                 0);
    cr_expect_eq(out.len, 0);
    kv_buf_free(&out);
}

Test(x500, what_is_no_name_is_not_printed)
{
    struct kv_buf der;
    struct kv_buf out;
    parse("CN=a, O=b", &der);
    kv_buf_init(&out, KV_X500_TEXT_MAX);
    cr_assert_eq(kv_buf_append_str(&out, "x"), 0);
    for (size_t len = 0; len < der.len; len++)
        cr_expect_eq(kv_x500_print((struct kv_bytes){der.data, len}, &out),
                     KV_E_INVALID, "%zu bytes", len);
    cr_assert_eq(kv_buf_append(&der, "", 1), 0);
    cr_expect_eq(kv_x500_print(bytes_of(&der), &out), KV_E_INVALID);
    cr_expect_str_eq(kv_buf_cstr(&out), "x");
    cr_expect_eq(ERR_peek_error(), 0);
    kv_buf_free(&out);
    kv_buf_free(&der);
}

Test(x500, object_identifiers_are_told_from_other_texts)
{
    static const char *const good[] = {"0.0",
                                       "1.2",
                                       "1.39",
                                       "2.999",
                                       "1.2.0.3",
                                       "1.3.6.1.4.1.311.20.2.3",
                                       "2.25.340282366920938463463374607431768211455"};
    static const char *const bad[] = {"",      "1",    "1.",    ".1",     "1..2",
                                      "3.1",   "1.40", "0.123", "1.2.03", "1.2.",
                                      "1.2.a", "1,2",  " 1.2",  "1.2 "};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        cr_expect(kv_oid_is_dotted(good[i], strlen(good[i])), "%s", good[i]);
        ASN1_OBJECT *oid = OBJ_txt2obj(good[i], 1);
        cr_expect_not_null(oid, "%s", good[i]);
        ASN1_OBJECT_free(oid);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        cr_expect_not(kv_oid_is_dotted(bad[i], strlen(bad[i])), "%s", bad[i]);
    char many[KV_OID_MAX + 2] = "1.";
    memset(many + 2, '2', KV_OID_MAX - 1);
    many[3] = '.';
    cr_expect(kv_oid_is_dotted(many, KV_OID_MAX));
    cr_expect_not(kv_oid_is_dotted(many, KV_OID_MAX + 1));
}
