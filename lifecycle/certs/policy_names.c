/*
 * Subject alternative names of a policy.
 *
 * Each kind has one canonical text (DNS names and the domain of an address in lower
 * case, IP addresses as inet_ntop writes them), so that names can be compared as text.
 * What RFC 5280 §4.2.1.6 does not allow in a certificate is refused here, where the
 * message can name the entry.
 */
#include <arpa/inet.h>
#include <string.h>

#include "lifecycle/certs/policy_read.h"
#include "store/core/str.h"

#define DNS_MAX 253
#define LABEL_MAX 63
#define LOCAL_PART_MAX 64
#define URI_MAX 2048
#define UPN_MAX 1024
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static const char *const members[KV_SAN_N] = {
    [KV_SAN_EMAIL] = "emails", [KV_SAN_DNS] = "dns_names",  [KV_SAN_UPN] = "upns",
    [KV_SAN_URI] = "uris",     [KV_SAN_IP] = "ipAddresses",
};

const char *kv_san_member(enum kv_san kind)
{
    return members[kind];
}

/* Labels of letters, digits and inner hyphens (RFC 1034 §3.5 and RFC 1123 §2.1); the
 * last is no number, or the name would be an IPv4 address. */
static bool is_host(const char *name)
{
    size_t len = strlen(name);
    const char *label = name;
    if (len == 0 || len > DNS_MAX)
        return false;
    for (;;) {
        size_t n = strspn(label, LETTERS DIGITS "-");
        if (n == 0 || n > LABEL_MAX || label[0] == '-' || label[n - 1] == '-')
            return false;
        if (label[n] == '\0')
            return strspn(label, DIGITS) < n;
        if (label[n] != '.')
            return false;
        label += n + 1;
    }
}

static json_t *folded(const char *text, size_t from)
{
    char copy[LOCAL_PART_MAX + 1 + DNS_MAX + 3];
    if (kv_str_copy(copy, sizeof(copy), text) != 0)
        return NULL;
    kv_str_fold(copy + from);
    return json_string(copy);
}

static json_t *dns(const char *name, const char **must)
{
    size_t wild = kv_str_has_prefix(name, "*.") ? 2 : 0;
    if (strlen(name) <= DNS_MAX && is_host(name + wild))
        return folded(name, 0);
    *must = "must be a DNS name of letters, digits and hyphens, with * for the first "
            "label at most";
    return NULL;
}

/* Mailbox (RFC 5321 §4.1.2) without quoted strings. */
static json_t *email(const char *name, const char **must)
{
    size_t local = strspn(name, LETTERS DIGITS "!#$%&'*+-/=?^_`{|}~.");
    if (local > 0 && local <= LOCAL_PART_MAX && name[local] == '@' && name[0] != '.' &&
        name[local - 1] != '.' && strstr(name, "..") == NULL &&
        is_host(name + local + 1))
        return folded(name, local);
    *must = "must be an e-mail address in ASCII";
    return NULL;
}

static json_t *upn(const char *name, const char **must)
{
    size_t len = strlen(name);
    bool is_clean = len <= UPN_MAX && kv_utf8_is_valid(name, len);
    for (size_t i = 0; i < len; i++)
        is_clean = is_clean && (uint8_t)name[i] > ' ' && name[i] != 0x7f;
    const char *at = strchr(name, '@');
    if (is_clean && at != NULL && at != name && at[1] != '\0')
        return json_string(name);
    *must = "must be a user principal name: USER@DOMAIN";
    return NULL;
}

/* Scheme and something behind it (RFC 3986 §3), no character that needs encoding. */
static json_t *uri(const char *name, const char **must)
{
    size_t scheme = strspn(name, LETTERS DIGITS "+-.");
    size_t len = strlen(name);
    bool is_clean = len <= URI_MAX && scheme > 0 && strspn(name, LETTERS) > 0 &&
                    name[scheme] == ':' && name[scheme + 1] != '\0';
    if (is_clean && strspn(name, LETTERS DIGITS "-._~:/?#[]@!$&'()*+,;=%") == len)
        return json_string(name);
    *must = "must be an absolute URI in ASCII";
    return NULL;
}

static json_t *ip(const char *name, const char **must)
{
    uint8_t address[16];
    char text[INET6_ADDRSTRLEN];
    int family = strchr(name, ':') != NULL ? AF_INET6 : AF_INET;
    if (inet_pton(family, name, address) == 1 &&
        inet_ntop(family, address, text, sizeof(text)) != NULL)
        return json_string(text);
    *must = "must be an IPv4 or IPv6 address";
    return NULL;
}

json_t *kv_san_canonical(enum kv_san kind, const char *name, const char **must)
{
    static json_t *(*const checks[KV_SAN_N])(const char *, const char **) = {
        [KV_SAN_EMAIL] = email, [KV_SAN_DNS] = dns, [KV_SAN_UPN] = upn,
        [KV_SAN_URI] = uri,     [KV_SAN_IP] = ip,
    };
    *must = NULL;
    return checks[kind](name, must);
}

static int read_kind(const json_t *given, enum kv_san kind, json_t *sans, size_t *n,
                     struct kv_err *err)
{
    static const char *const paths[KV_SAN_N] = {
        [KV_SAN_EMAIL] = "x509_props.sans.emails",
        [KV_SAN_DNS] = "x509_props.sans.dns_names",
        [KV_SAN_UPN] = "x509_props.sans.upns",
        [KV_SAN_URI] = "x509_props.sans.uris",
        [KV_SAN_IP] = "x509_props.sans.ipAddresses",
    };
    const json_t *array = NULL;
    json_t *names = NULL;
    int rc = kv_policy_array(given, paths[kind], KV_POLICY_NAMES_MAX, &array, err);
    if (rc != 0 || array == NULL)
        return rc;
    names = json_array();
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *name = json_string_value(json_array_get(array, i));
        const char *must = "must be a string";
        json_t *entry = name != NULL ? kv_san_canonical(kind, name, &must) : NULL;
        if (entry == NULL && must != NULL)
            rc = kv_policy_bad(err, paths[kind], i, must);
        else
            rc = json_array_append_new(names, entry) == 0 ? 0 : KV_E_NOMEM;
        if (rc != 0)
            goto out;
    }
    *n += json_array_size(names);
    rc = kv_policy_put(sans, members[kind], json_incref(names));
out:
    json_decref(names);
    return rc;
}

int kv_policy_read_sans(const json_t *x509, json_t **out, struct kv_err *err)
{
    const json_t *given = NULL;
    json_t *sans = json_object();
    size_t n = 0;
    int rc = 0;
    KV_TRY(kv_policy_object(x509, "x509_props.sans", &given, err));
    for (enum kv_san kind = 0; kind < KV_SAN_N; kind++)
        KV_TRY(read_kind(given, kind, sans, &n, err));
    if (n > KV_POLICY_NAMES_MAX) {
        rc = kv_policy_bad(err, "x509_props.sans", KV_POLICY_NO_INDEX,
                           "has more than 100 names");
        goto out;
    }
    *out = sans;
    return 0;
out:
    json_decref(sans);
    return rc;
}
