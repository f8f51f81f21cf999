/*
 * Is the delivered chain what was ordered?
 *
 * Names. The alternative names of the leaf must be those of the policy, and each
 * common name of the policy must be there. Issuers differ in where they put it: ACME
 * CAs drop the subject and make the common name an alternative one, others keep it in
 * both places. So an issuer may change the subject, as long as a common name of the
 * policy stands in the subject or, when it is a DNS name, among the alternative names;
 * and the leaf may have no name that the policy has in neither place. `Self` copies
 * the request and must keep the subject as it is.
 */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "lifecycle/certs/chain_internal.h"
#include "lifecycle/certs/x500.h"
#include "store/core/str.h"

#define DAY_S 86400
#define DNS_MAX 253
#define CNS_MAX 16
#define UPN_OID "1.3.6.1.4.1.311.20.2.3"

static const struct {
    int type; /* of GENERAL_NAME */
    const char *member;
} kinds[] = {
    {GEN_DNS, "dns_names"},  {GEN_EMAIL, "emails"},      {GEN_URI, "uris"},
    {GEN_OTHERNAME, "upns"}, {GEN_IPADD, "ipAddresses"},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

struct cns {
    size_t n;
    char *text[CNS_MAX];
};

/* Both sides of the comparison. */
struct names {
    X509_NAME *subject; /* the policy's; owned */
    struct cns cns;     /* of that */
    const json_t *sans; /* the policy's */
    struct cns leaf_cns;
    STACK_OF(GENERAL_NAME) * leaf_sans; /* owned; NULL when there are none */
};

static bool is_text(const ASN1_STRING *string, const char *text, bool nocase)
{
    size_t len = (size_t)ASN1_STRING_length(string);
    const char *data = (const char *)ASN1_STRING_get0_data(string);

    if (len != strlen(text))
        return false;
    return nocase ? OPENSSL_strncasecmp(data, text, len) == 0
                  : memcmp(data, text, len) == 0;
}

/* The domain of an address is compared without case, the rest with (RFC 5280 §7.5). */
static bool is_email(const ASN1_STRING *string, const char *text)
{
    const char *at = strrchr(text, '@');
    size_t local = at != NULL ? (size_t)(at - text) : 0;

    return is_text(string, text, true) &&
           memcmp(ASN1_STRING_get0_data(string), text, local) == 0;
}

static bool is_upn(const OTHERNAME *other, const char *text)
{
    char oid[64] = "";

    return OBJ_obj2txt(oid, sizeof(oid), other->type_id, 1) > 0 &&
           strcmp(oid, UPN_OID) == 0 && other->value->type == V_ASN1_UTF8STRING &&
           is_text(other->value->value.utf8string, text, false);
}

static bool is_ip(const ASN1_OCTET_STRING *address, const char *text)
{
    ASN1_OCTET_STRING *wanted = a2i_IPADDRESS(text);
    bool is = wanted != NULL && ASN1_OCTET_STRING_cmp(address, wanted) == 0;

    ASN1_OCTET_STRING_free(wanted);
    return is;
}

static bool is_name(const GENERAL_NAME *name, int type, const char *text)
{
    if (name->type != type)
        return false;
    switch (type) {
    case GEN_DNS:
        return is_text(name->d.dNSName, text, true);
    case GEN_EMAIL:
        return is_email(name->d.rfc822Name, text);
    case GEN_URI:
        return is_text(name->d.uniformResourceIdentifier, text, false);
    case GEN_OTHERNAME:
        return is_upn(name->d.otherName, text);
    case GEN_IPADD:
        return is_ip(name->d.iPAddress, text);
    default:
        return false;
    }
}

/* Letters, digits, hyphens and underscores in labels, the first may be `*`, the last
 * is no number: an address is no DNS name. */
static bool is_dns_name(const char *text)
{
    static const char digits[] = "0123456789";
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    const char *name = kv_str_has_prefix(text, "*.") ? text + 2 : text;
    const char *dot = strrchr(name, '.');
    const char *last = dot != NULL ? dot + 1 : name;

    return strlen(text) <= DNS_MAX && name[strspn(name, allowed)] == '\0' &&
           name[0] != '.' && strstr(name, "..") == NULL &&
           last[strspn(last, digits)] != '\0';
}

/* The common names of a subject as UTF-8. KV_E_INVALID when there are more than
 * CNS_MAX or one is no text; free_cns in every case. */
static int read_cns(const X509_NAME *subject, struct cns *out)
{
    int place = -1;

    *out = (struct cns){.n = 0};
    while ((place = X509_NAME_get_index_by_NID(subject, NID_commonName, place)) >= 0) {
        uint8_t *text = NULL;
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, place);
        int len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(entry));
        if (len < 0 || out->n == CNS_MAX || strlen((char *)text) != (size_t)len) {
            OPENSSL_free(text);
            return KV_E_INVALID;
        }
        out->text[out->n++] = (char *)text;
    }
    return 0;
}

static void free_cns(struct cns *cns)
{
    for (size_t i = 0; i < cns->n; i++)
        OPENSSL_free(cns->text[i]);
    cns->n = 0;
}

static bool has_cn(const struct cns *cns, const char *text)
{
    for (size_t i = 0; i < cns->n; i++)
        if (kv_str_equal_nocase(cns->text[i], text))
            return true;
    return false;
}

static bool is_delivered(const struct names *names, int type, const char *text)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names->leaf_sans); i++)
        if (is_name(sk_GENERAL_NAME_value(names->leaf_sans, i), type, text))
            return true;
    return false;
}

/* Whether the policy, or a DNS name among its common names, allows an alternative
 * name of the leaf. */
static bool is_ordered(const struct names *names, const GENERAL_NAME *name)
{
    const json_t *text = NULL;
    size_t i = 0;

    for (size_t kind = 0; kind < N_KINDS; kind++)
        json_array_foreach(json_object_get(names->sans, kinds[kind].member), i,
                           text) if (is_name(name, kinds[kind].type,
                                             json_string_value(text))) return true;
    for (i = 0; i < names->cns.n; i++)
        if (is_dns_name(names->cns.text[i]) &&
            is_name(name, GEN_DNS, names->cns.text[i]))
            return true;
    return false;
}

/* CAs promote an ordered host name or address to the common name. */
static bool is_ordered_cn(const struct names *names, const char *cn)
{
    static const char *const members[] = {"dns_names", "ipAddresses"};
    const json_t *text = NULL;
    size_t i = 0;

    if (has_cn(&names->cns, cn))
        return true;
    for (size_t member = 0; member < 2; member++)
        json_array_foreach(
            json_object_get(names->sans, members[member]), i,
            text) if (kv_str_equal_nocase(json_string_value(text), cn)) return true;
    return false;
}

static int mismatch(struct kv_err *err, const char *what, const char *name)
{
    return kv_err_set(err, KV_E_INVALID, "chain.name-mismatch", "the certificate %s %s",
                      what, name);
}

/* Each ordered name is in the leaf. */
static int check_ordered(const struct names *names, struct kv_err *err)
{
    const json_t *text = NULL;
    size_t i = 0;

    for (size_t kind = 0; kind < N_KINDS; kind++)
        json_array_foreach(
            json_object_get(names->sans, kinds[kind].member), i,
            text) if (!is_delivered(names, kinds[kind].type,
                                    json_string_value(
                                        text))) return mismatch(err,
                                                                "lacks the ordered "
                                                                "name",
                                                                json_string_value(
                                                                    text));
    for (i = 0; i < names->cns.n; i++) {
        const char *cn = names->cns.text[i];
        if (!has_cn(&names->leaf_cns, cn) &&
            !(is_dns_name(cn) && is_delivered(names, GEN_DNS, cn)))
            return mismatch(err, "lacks the ordered common name", cn);
    }
    return 0;
}

/* Each name in the leaf was ordered. */
static int check_delivered(const struct names *names, struct kv_err *err)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names->leaf_sans); i++)
        if (!is_ordered(names, sk_GENERAL_NAME_value(names->leaf_sans, i)))
            return mismatch(err, "has an alternative name that was not ordered:",
                            "compare the policy");
    for (size_t i = 0; i < names->leaf_cns.n; i++)
        if (!is_ordered_cn(names, names->leaf_cns.text[i]))
            return mismatch(err, "has a common name that was not ordered:",
                            names->leaf_cns.text[i]);
    return 0;
}

static int read_names(X509 *leaf, const struct kv_policy *policy, struct names *names,
                      struct kv_err *err)
{
    struct kv_buf der;
    int critical = -1;
    int rc = 0;

    kv_buf_init(&der, KV_CERT_DER_MAX);
    if (policy->subject[0] != '\0') {
        KV_TRY(kv_x500_parse(policy->subject, &der, err));
        const uint8_t *at = der.data;
        names->subject = d2i_X509_NAME(NULL, &at, (long)der.len);
    } else {
        names->subject = X509_NAME_new();
    }
    if (names->subject == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    KV_TRY(read_cns(names->subject, &names->cns));
    names->sans = policy->sans;
    names->leaf_sans = X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, NULL);
    if ((names->leaf_sans == NULL && critical != -1) ||
        read_cns(X509_get_subject_name(leaf), &names->leaf_cns) != 0)
        rc = mismatch(err, "has names", "that cannot be read");
out:
    kv_buf_free(&der);
    return rc;
}

static int check_names(X509 *leaf, const struct kv_policy *policy, struct kv_err *err)
{
    struct names names = {.subject = NULL};
    int rc = 0;

    KV_TRY(read_names(leaf, policy, &names, err));
    if (strcmp(policy->issuer, "Self") == 0 &&
        X509_NAME_cmp(X509_get_subject_name(leaf), names.subject) != 0) {
        rc = mismatch(err, "has another subject than", policy->subject);
        goto out;
    }
    KV_TRY(check_ordered(&names, err));
    rc = check_delivered(&names, err);
out:
    X509_NAME_free(names.subject);
    free_cns(&names.cns);
    free_cns(&names.leaf_cns);
    GENERAL_NAMES_free(names.leaf_sans);
    return rc;
}

static int check_dates(const X509 *leaf, int64_t now_s, struct kv_err *err)
{
    int64_t nbf_s = 0;
    int64_t exp_s = 0;
    int rc = kv_chain_dates(leaf, &nbf_s, &exp_s, err);

    if (rc != 0)
        return rc;
    if (nbf_s > now_s + DAY_S)
        return kv_err_set(err, KV_E_INVALID, "chain.bad-dates",
                          "the certificate is not valid before %lld (Unix seconds)",
                          (long long)nbf_s);
    if (exp_s <= now_s || exp_s < nbf_s)
        return kv_err_set(err, KV_E_INVALID, "chain.bad-dates",
                          "the certificate has expired at %lld (Unix seconds)",
                          (long long)exp_s);
    return 0;
}

/* A leaf alone that names itself as issuer must have its own signature; the last one
 * of a longer chain is trusted or not by whoever verifies it. */
static int check_links(const struct kv_chain_certs *certs, struct kv_err *err)
{
    X509 *leaf = certs->cert[0];

    for (size_t i = 0; i + 1 < certs->n; i++)
        if (!kv_chain_is_issuer(certs->cert[i + 1], certs->cert[i]))
            return kv_err_set(err, KV_E_INVALID, "chain.broken",
                              "certificate %zu of the chain is not signed by the next "
                              "one",
                              i + 1);
    if (certs->n == 1 &&
        X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_issuer_name(leaf)) == 0 &&
        !kv_chain_is_issuer(leaf, leaf))
        return kv_err_set(err, KV_E_INVALID, "chain.broken",
                          "the self-signed certificate is not signed by its own key");
    return 0;
}

int kv_chain_check(const struct kv_chain *chain, struct kv_bytes spki,
                   const struct kv_policy *policy, int64_t now_s, struct kv_err *err)
{
    struct kv_chain_certs certs;
    int rc = 0;

    KV_TRY(kv_chain_certs(chain, &certs, err));
    if (!kv_chain_has_key(certs.cert[0], spki)) {
        rc = kv_err_set(err, KV_E_INVALID, "chain.key-mismatch",
                        "the first certificate carries another key than the order");
        goto out;
    }
    if (policy != NULL)
        KV_TRY(check_names(certs.cert[0], policy, err));
    KV_TRY(check_dates(certs.cert[0], now_s, err));
    rc = check_links(&certs, err);
out:
    kv_chain_certs_free(&certs);
    ERR_clear_error();
    return rc;
}
