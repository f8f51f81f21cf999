/*
 * Distinguished names: the text of Windows against DER.
 *
 * The text is cut by hand, because no two dialects agree on quoting; the Name itself
 * is built and taken apart by libcrypto. Going in, one type of string is chosen for
 * each attribute (UTF8String unless RFC 5280 names another). Going out, a value that
 * would not come back from its text (another type than a string, a control character,
 * out of its bounds) is written as # and the hexadecimal digits of its DER, as
 * RFC 4514 §2.4 does, so that every Name has a text.
 */
#include "lifecycle/certs/x500.h"

#include <string.h>
#include <strings.h>

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

#include "store/core/str.h"

#define NAME_DER_MAX 16384
#define SEPARATORS ",;+"
#define SPECIAL ",;+\"\\<>=#" /* quoted when printed, may be escaped when read */
#define SPACE " \t\r\n"

/* Attributes with a keyword; the first of a nid is the one that is printed. Bounds are
 * the upper bounds of RFC 5280 appendix A, in characters; 0 is none. */
static const struct attribute {
    const char *keyword;
    int nid;
    int type;
    size_t min_len;
    size_t max_len;
} attributes[] = {
    {"CN", NID_commonName, V_ASN1_UTF8STRING, 1, 64},
    {"O", NID_organizationName, V_ASN1_UTF8STRING, 1, 64},
    {"OU", NID_organizationalUnitName, V_ASN1_UTF8STRING, 1, 64},
    {"L", NID_localityName, V_ASN1_UTF8STRING, 1, 128},
    {"S", NID_stateOrProvinceName, V_ASN1_UTF8STRING, 1, 128},
    {"ST", NID_stateOrProvinceName, V_ASN1_UTF8STRING, 1, 128},
    {"C", NID_countryName, V_ASN1_PRINTABLESTRING, 2, 2},
    {"E", NID_pkcs9_emailAddress, V_ASN1_IA5STRING, 1, 255},
    {"emailAddress", NID_pkcs9_emailAddress, V_ASN1_IA5STRING, 1, 255},
    {"DC", NID_domainComponent, V_ASN1_IA5STRING, 1, 63},
    {"SERIALNUMBER", NID_serialNumber, V_ASN1_PRINTABLESTRING, 1, 64},
    {"STREET", NID_streetAddress, V_ASN1_UTF8STRING, 1, 128},
    {"T", NID_title, V_ASN1_UTF8STRING, 1, 64},
    {"title", NID_title, V_ASN1_UTF8STRING, 1, 64},
    {"G", NID_givenName, V_ASN1_UTF8STRING, 1, 0},
    {"GN", NID_givenName, V_ASN1_UTF8STRING, 1, 0},
    {"SN", NID_surname, V_ASN1_UTF8STRING, 1, 0},
    {"UID", NID_userId, V_ASN1_UTF8STRING, 1, 256},
};
#define N_ATTRIBUTES (sizeof(attributes) / sizeof(attributes[0]))

static const struct attribute unnamed = {
    .keyword = NULL, .nid = NID_undef, .min_len = 1, .type = V_ASN1_UTF8STRING};

struct scanner {
    const char *text; /* the whole, for positions */
    const char *at;
    struct kv_buf value; /* of the attribute at hand */
    struct kv_err *err;
};

static int bad(const struct scanner *scan, const char *what)
{
    return kv_err_set(scan->err, KV_E_INVALID, "policy.bad-subject",
                      "the subject is no distinguished name: %s, at character %zu",
                      what, (size_t)(scan->at - scan->text) + 1);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Length of the well-formed number at the front; 0 when there is none. */
static size_t arc_len(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && is_digit(text[n]))
        n++;
    return n > 1 && text[0] == '0' ? 0 : n;
}

bool kv_oid_is_dotted(const char *text, size_t len)
{
    size_t n_arcs = 0;
    if (len > KV_OID_MAX || len < 3 || text[0] > '2' || text[1] != '.')
        return false;
    for (size_t i = 0; i < len;) {
        size_t n = arc_len(text + i, len - i);
        if (n == 0)
            return false;
        if (n_arcs++ == 1 && text[0] < '2' && (n > 2 || (n == 2 && text[i] > '3')))
            return false;
        i += n;
        if (i == len)
            return n_arcs > 1;
        if (text[i++] != '.')
            return false;
    }
    return false; /* a dot at the end */
}

static const struct attribute *by_nid(int nid)
{
    for (size_t i = 0; nid != NID_undef && i < N_ATTRIBUTES; i++)
        if (attributes[i].nid == nid)
            return &attributes[i];
    return &unnamed;
}

/* --- values ------------------------------------------------------------------------
 */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_printable_char(char c)
{
    return is_letter(c) || is_digit(c) ||
           (c != '\0' && strchr(" '()+,-./:=?", c) != NULL);
}

/* Why the value is none of this attribute; NULL when it is one. */
static const char *why_bad(const struct attribute *attribute, struct kv_bytes value)
{
    size_t n_chars = 0;
    for (size_t i = 0; i < value.len; n_chars++) {
        size_t n = kv_utf8_char_len((const char *)value.data + i, value.len - i);
        char c = (char)value.data[i];
        if (n == 0)
            return "the value is not UTF-8";
        if (n == 1 && ((c >= 0 && c < ' ') || c == 0x7f))
            return "the value has a control character";
        if (attribute->type == V_ASN1_IA5STRING && n > 1)
            return "this attribute takes ASCII only";
        if (attribute->type == V_ASN1_PRINTABLESTRING && !is_printable_char(c))
            return "this attribute takes letters, digits, space and '()+,-./:=? only";
        i += n;
    }
    if (n_chars < attribute->min_len)
        return "the value is too short";
    if (attribute->max_len != 0 && n_chars > attribute->max_len)
        return "the value is longer than RFC 5280 allows";
    if (attribute->nid == NID_countryName &&
        (!is_letter((char)value.data[0]) || !is_letter((char)value.data[1])))
        return "a country is two letters";
    return NULL;
}

/* Put the value in: a string of the attribute's type, or what the DER says. */
static int add_entry(X509_NAME *name, const ASN1_OBJECT *oid, int type,
                     const struct kv_bytes *value, bool joins)
{
    int set = joins ? -1 : 0;
    return X509_NAME_add_entry_by_OBJ(name, oid, type, value->data, (int)value->len, -1,
                                      set) == 1
               ? 0
               : KV_E_NOMEM;
}

static bool is_string(const ASN1_STRING *string)
{
    switch (ASN1_STRING_type(string)) {
    case V_ASN1_UTF8STRING:
    case V_ASN1_PRINTABLESTRING:
    case V_ASN1_IA5STRING:
    case V_ASN1_T61STRING:
    case V_ASN1_BMPSTRING:
    case V_ASN1_UNIVERSALSTRING:
        return true;
    default:
        return false;
    }
}

/* Text in bytes that its type does not allow: libcrypto would not encode it. */
static bool is_broken(const ASN1_STRING *string)
{
    uint8_t *utf8 = NULL;
    int len = is_string(string) ? ASN1_STRING_to_UTF8(&utf8, string) : 0;
    OPENSSL_free(utf8);
    return len < 0;
}

static int add_der(const struct scanner *scan, X509_NAME *name, const ASN1_OBJECT *oid,
                   bool joins)
{
    static const struct kv_bytes none = {(const uint8_t *)"", 0};
    const uint8_t *at = scan->value.data;
    ASN1_STRING *string = d2i_ASN1_PRINTABLE(NULL, &at, (long)scan->value.len);
    int rc = 0;
    if (string == NULL || at != scan->value.data + scan->value.len ||
        is_broken(string)) {
        rc = bad(scan, "the digits after # are no DER value");
        goto out;
    }
    KV_TRY(add_entry(name, oid, V_ASN1_UTF8STRING, &none, joins));
    X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, X509_NAME_entry_count(name) - 1);
    if (ASN1_STRING_copy(X509_NAME_ENTRY_get_data(entry), string) != 1)
        rc = KV_E_NOMEM;
out:
    ASN1_STRING_free(string);
    return rc;
}

/* --- text to Name ------------------------------------------------------------------
 */

static void skip_space(struct scanner *scan)
{
    scan->at += strspn(scan->at, SPACE);
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool take_hex(struct scanner *scan)
{
    int high = hex_value(scan->at[0]);
    int low = high >= 0 ? hex_value(scan->at[1]) : -1;
    if (low < 0)
        return false;
    uint8_t byte = (uint8_t)(high << 4 | low);
    (void)kv_buf_append(&scan->value, &byte, 1); /* sticky */
    scan->at += 2;
    return true;
}

/* "..." with "" for one quote. */
static int take_quoted(struct scanner *scan)
{
    for (scan->at++; *scan->at != '\0'; scan->at++) {
        if (*scan->at == '"' && *++scan->at != '"')
            return 0;
        (void)kv_buf_append(&scan->value, scan->at, 1); /* sticky */
    }
    return bad(scan, "the closing quote is missing");
}

/* Up to a separator, without spaces at the end unless they are escaped. */
static int take_plain(struct scanner *scan)
{
    size_t keep = 0;
    while (*scan->at != '\0' && strchr(SEPARATORS, *scan->at) == NULL) {
        bool is_escaped = *scan->at == '\\';
        if (is_escaped)
            scan->at++;
        if (*scan->at == '"' && !is_escaped)
            return bad(scan, "a quote in the middle of a value");
        if (is_escaped && take_hex(scan)) {
            keep = scan->value.len;
            continue;
        }
        if (is_escaped &&
            (*scan->at == '\0' || strchr(SPECIAL SPACE, *scan->at) == NULL))
            return bad(scan, "a backslash in front of nothing that needs one");
        (void)kv_buf_append(&scan->value, scan->at, 1); /* sticky */
        if (is_escaped || strchr(SPACE, *scan->at) == NULL)
            keep = scan->value.len;
        scan->at++;
    }
    if (kv_buf_status(&scan->value) == 0)
        kv_buf_truncate(&scan->value, keep);
    return 0;
}

static int take_value(struct scanner *scan, bool *is_der)
{
    int rc = 0;
    kv_buf_reset(&scan->value);
    skip_space(scan);
    *is_der = *scan->at == '#';
    if (*is_der) {
        scan->at++;
        while (take_hex(scan))
            ;
    } else {
        rc = *scan->at == '"' ? take_quoted(scan) : take_plain(scan);
    }
    if (rc != 0)
        return rc;
    skip_space(scan);
    if (*scan->at != '\0' && strchr(SEPARATORS, *scan->at) == NULL)
        return bad(scan, "something stands between the value and the next comma");
    return kv_buf_status(&scan->value);
}

static int take_key(struct scanner *scan, const struct attribute **attribute,
                    ASN1_OBJECT **oid)
{
    char key[KV_OID_MAX + sizeof("OID.")];
    skip_space(scan);
    size_t len = strcspn(scan->at, "=" SEPARATORS);
    if (scan->at[len] != '=')
        return bad(scan, "an attribute has no =");
    const char *behind = scan->at + len + 1;
    while (len > 0 && strchr(SPACE, scan->at[len - 1]) != NULL)
        len--;
    if (len == 0 || len >= sizeof(key))
        return bad(scan, "the name of an attribute is missing or too long");
    memcpy(key, scan->at, len);
    key[len] = '\0';
    for (size_t i = 0; i < N_ATTRIBUTES && *oid == NULL; i++)
        if (kv_str_equal_nocase(key, attributes[i].keyword))
            *oid = OBJ_nid2obj(attributes[i].nid);
    size_t prefix = strncasecmp(key, "OID.", 4) == 0 ? 4 : 0;
    if (*oid == NULL && kv_oid_is_dotted(key + prefix, len - prefix))
        *oid = OBJ_txt2obj(key + prefix, 1);
    if (*oid == NULL)
        return bad(scan, "the attribute is not known; write it as OID.1.2.3");
    *attribute = by_nid(OBJ_obj2nid(*oid));
    scan->at = behind;
    return 0;
}

static int take_attribute(struct scanner *scan, X509_NAME *name, bool joins)
{
    const struct attribute *attribute = &unnamed;
    ASN1_OBJECT *oid = NULL;
    bool is_der = false;
    int rc = 0;
    KV_TRY(take_key(scan, &attribute, &oid));
    KV_TRY(take_value(scan, &is_der));
    if (is_der) {
        rc = add_der(scan, name, oid, joins);
        goto out;
    }
    struct kv_bytes value = {scan->value.data, scan->value.len};
    const char *why = why_bad(attribute, value);
    rc = why != NULL ? bad(scan, why)
                     : add_entry(name, oid, attribute->type, &value, joins);
out:
    ASN1_OBJECT_free(oid);
    return rc;
}

static int append_der(X509_NAME *name, struct kv_buf *der)
{
    uint8_t *bytes = NULL;
    int len = i2d_X509_NAME(name, &bytes);
    int rc = len > 0 ? kv_buf_append(der, bytes, (size_t)len) : KV_E_NOMEM;
    OPENSSL_free(bytes);
    return rc;
}

int kv_x500_parse(const char *text, struct kv_buf *der, struct kv_err *err)
{
    struct scanner scan = {.text = text, .at = text, .err = err};
    X509_NAME *name = NULL;
    bool joins = false;
    int rc = 0;
    size_t len = strlen(text);
    kv_buf_init(&scan.value, KV_X500_TEXT_MAX);
    if (len > KV_X500_TEXT_MAX || !kv_utf8_is_valid(text, len)) {
        rc = bad(&scan, "it is too long, or no UTF-8");
        goto out;
    }
    name = X509_NAME_new();
    if (name == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    KV_TRY(take_attribute(&scan, name, false));
    while (*scan.at != '\0') {
        joins = *scan.at++ == '+';
        KV_TRY(take_attribute(&scan, name, joins));
    }
    rc = append_der(name, der);
out:
    X509_NAME_free(name);
    kv_buf_free(&scan.value);
    ERR_clear_error();
    return rc;
}

/* --- Name to text ------------------------------------------------------------------
 */

static void put_quoted(struct kv_buf *text, struct kv_bytes value)
{
    bool needs_quotes = value.data[0] == ' ' || value.data[value.len - 1] == ' ';
    for (size_t i = 0; i < value.len; i++)
        needs_quotes = needs_quotes || strchr(SPECIAL, value.data[i]) != NULL;
    const char *quote = needs_quotes ? "\"" : "";
    (void)kv_buf_append_str(text, quote); /* all sticky */
    for (size_t i = 0; i < value.len; i++)
        (void)kv_buf_append(
            text, value.data[i] == '"' ? "\"\"" : (const char *)&value.data[i],
            value.data[i] == '"' ? 2 : 1);
    (void)kv_buf_append_str(text, quote);
}

static int put_hex(struct kv_buf *text, const ASN1_STRING *string)
{
    uint8_t *der = NULL;
    int len = i2d_ASN1_PRINTABLE(string, &der);
    if (len <= 0)
        return KV_E_INVALID;
    (void)kv_buf_append_str(text, "#"); /* sticky */
    for (int i = 0; i < len; i++)
        (void)kv_buf_appendf(text, "%02x", der[i]); /* sticky */
    OPENSSL_free(der);
    return 0;
}

static int put_value(struct kv_buf *text, const struct attribute *attribute,
                     const ASN1_STRING *string)
{
    uint8_t *utf8 = NULL;
    int len = is_string(string) ? ASN1_STRING_to_UTF8(&utf8, string) : 0;
    struct kv_bytes value = {utf8, len > 0 ? (size_t)len : 0};
    int rc = 0;
    if (value.len > 0 && why_bad(attribute, value) == NULL)
        put_quoted(text, value);
    else
        rc = put_hex(text, string);
    OPENSSL_free(utf8);
    return rc;
}

static int put_entry(struct kv_buf *text, const X509_NAME_ENTRY *entry)
{
    const ASN1_OBJECT *oid = X509_NAME_ENTRY_get_object(entry);
    const struct attribute *attribute = by_nid(OBJ_obj2nid(oid));
    char dotted[KV_OID_MAX + 2];
    if (attribute->keyword != NULL) {
        (void)kv_buf_appendf(text, "%s=", attribute->keyword); /* sticky */
    } else {
        int len = OBJ_obj2txt(dotted, sizeof(dotted), oid, 1);
        if (len <= 0 || len > KV_OID_MAX || !kv_oid_is_dotted(dotted, (size_t)len))
            return KV_E_INVALID;
        (void)kv_buf_appendf(text, "OID.%s=", dotted); /* sticky */
    }
    return put_value(text, attribute, X509_NAME_ENTRY_get_data(entry));
}

int kv_x500_print(struct kv_bytes der, struct kv_buf *text)
{
    const uint8_t *at = der.data;
    size_t before = text->len;
    X509_NAME *name =
        der.len <= NAME_DER_MAX ? d2i_X509_NAME(NULL, &at, (long)der.len) : NULL;
    int rc = 0;
    int last_set = -1;
    if (name == NULL || at != der.data + der.len) {
        rc = KV_E_INVALID;
        goto out;
    }
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        int set = X509_NAME_ENTRY_set(entry);
        if (i > 0)
            (void)kv_buf_append_str(text, set == last_set ? " + " : ", "); /* sticky */
        last_set = set;
        KV_TRY(put_entry(text, entry));
    }
    rc = kv_buf_status(text);
out:
    if (rc != 0)
        kv_buf_truncate(text, before);
    X509_NAME_free(name);
    ERR_clear_error();
    return rc;
}
