/*
 * Flags to policy: the file of --policy first, then each flag that was given replaces
 * its member. What is not said is left to the API's defaults, but for one: a key made
 * here stays in the vault unless --exportable says otherwise.
 */
#include "lifecycle/cli/policy.h"

#include <string.h>

#include "lifecycle/cli/io.h"
#include "store/core/str.h"

#define POLICY_MAX 65536

/* The member of that name, made when it is missing. Borrowed. */
static json_t *section(json_t *parent, const char *name)
{
    json_t *member = json_object_get(parent, name);
    if (json_is_object(member))
        return member;
    member = json_object();
    return json_object_set_new(parent, name, member) == 0 ? member : NULL;
}

static int set(json_t *object, const char *member, json_t *value)
{
    return json_object_set_new(object, member, value) == 0 ? 0 : KV_E_NOMEM;
}

static int set_text(json_t *object, const char *member, const char *text,
                    const char *flag, struct kv_err *err)
{
    if (text == NULL)
        return 0;
    json_t *value = json_string(text);
    if (value == NULL)
        return kv_cli_bad(err, "--%s is no UTF-8 text", flag);
    return set(object, member, value);
}

static int set_number(const struct kv_cli *cli, json_t *object, const char *member,
                      const char *flag, int64_t max, struct kv_err *err)
{
    int64_t number = 0;
    if (kv_cli_flag(cli, flag) == NULL)
        return 0;
    int rc = kv_cli_number(cli, flag, 1, max, &number, err);
    return rc != 0 ? rc : set(object, member, json_integer(number));
}

/* --- sections ----------------------------------------------------------------------
 */

/* What --key-type and --curve say together. */
struct key_choice {
    bool is_ec;
    bool is_rsa;
    bool is_okp;
    const char *curve; /* NULL unless given */
};

static int choose_key(const struct kv_cli *cli, struct key_choice *out,
                      struct kv_err *err)
{
    const char *type = kv_cli_flag(cli, "key-type");
    out->curve = kv_cli_flag(cli, "curve");
    bool has_ed25519 = out->curve != NULL && kv_str_equal_nocase(out->curve, "Ed25519");
    if (type == NULL && out->curve != NULL)
        type = has_ed25519 ? "Ed25519" : "EC";
    out->is_rsa = type != NULL && kv_str_equal_nocase(type, "RSA");
    out->is_ec = type != NULL && kv_str_equal_nocase(type, "EC");
    out->is_okp = type != NULL && kv_str_equal_nocase(type, "Ed25519");
    if (type != NULL && !out->is_ec && !out->is_rsa && !out->is_okp)
        return kv_cli_bad(err, "--key-type is RSA, EC or Ed25519, not '%s'", type);
    if (out->curve != NULL && !out->is_ec && !(out->is_okp && has_ed25519))
        return kv_cli_bad(err, "--curve is for EC keys");
    if (out->is_ec && has_ed25519)
        return kv_cli_bad(err, "Ed25519 is no curve of EC keys: --key-type Ed25519");
    if ((out->is_ec || out->is_okp) && kv_cli_flag(cli, "size") != NULL)
        return kv_cli_bad(err, "--size is for RSA keys");
    return 0;
}

static int set_type(json_t *key, const struct key_choice *choice, struct kv_err *err)
{
    if (choice->is_rsa) {
        (void)json_object_del(key, "crv");
        return set(key, "kty", json_string("RSA"));
    }
    if (!choice->is_ec && !choice->is_okp)
        return 0;
    (void)json_object_del(key, "key_size");
    int rc = set(key, "kty", json_string(choice->is_okp ? "OKP" : "EC"));
    const char *curve = choice->curve != NULL ? choice->curve : "P-256";
    if (choice->is_okp)
        curve = "Ed25519";
    return rc == 0 ? set_text(key, "crv", curve, "curve", err) : rc;
}

static int set_key(const struct kv_cli *cli, json_t *policy, struct kv_err *err)
{
    json_t *key = section(policy, "key_props");
    struct key_choice choice;
    int rc = choose_key(cli, &choice, err);
    if (rc == 0)
        rc = set_type(key, &choice, err);
    if (rc == 0)
        rc = set_number(cli, key, "key_size", "size", 16384, err);
    bool is_exportable = kv_cli_flag(cli, "exportable") != NULL;
    if (rc == 0 && (is_exportable || json_object_get(key, "exportable") == NULL))
        rc = set(key, "exportable", json_boolean(is_exportable));
    return rc;
}

static bool encrypts(const json_t *usage)
{
    const char *name = json_string_value(usage);
    return name != NULL &&
           (strcmp(name, "keyEncipherment") == 0 ||
            strcmp(name, "dataEncipherment") == 0 ||
            strcmp(name, "encipherOnly") == 0 || strcmp(name, "decipherOnly") == 0);
}

/* Encrypting with a key is nothing that EC keys can do: say what they can. What a file
 * says of usage stays, unless a flag turns its key into an EC key. */
static int set_usage(const struct kv_cli *cli, json_t *policy, json_t *x509)
{
    const char *kty =
        json_string_value(json_object_get(json_object_get(policy, "key_props"), "kty"));
    json_t *usage = json_object_get(x509, "key_usage");
    bool is_chosen =
        kv_cli_flag(cli, "key-type") != NULL || kv_cli_flag(cli, "curve") != NULL;
    if (kty == NULL || (strcmp(kty, "EC") != 0 && strcmp(kty, "OKP") != 0) ||
        (usage != NULL && !is_chosen))
        return 0;
    for (size_t i = json_array_size(usage); i > 0; i--)
        if (encrypts(json_array_get(usage, i - 1)))
            (void)json_array_remove(usage, i - 1);
    return json_array_size(usage) > 0
               ? 0
               : set(x509, "key_usage", json_pack("[s]", "digitalSignature"));
}

static int set_names(const struct kv_cli *cli, json_t *x509, struct kv_err *err)
{
    static const struct {
        const char *flag;
        const char *member;
    } names[] = {{"dns", "dns_names"}, {"ip", "ipAddresses"}, {"email", "emails"}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(names[0]); i++) {
        json_t *list = NULL;
        rc = kv_cli_list(cli, names[i].flag, &list, err);
        if (list != NULL)
            rc = set(section(x509, "sans"), names[i].member, list);
    }
    return rc;
}

static int set_validity(const struct kv_cli *cli, json_t *x509, struct kv_err *err)
{
    bool by_hours = kv_cli_flag(cli, "validity-hours") != NULL;
    if (kv_cli_flag(cli, "validity-months") != NULL && by_hours)
        return kv_cli_bad(err, "--validity-months and --validity-hours exclude each "
                               "other");
    int rc = set_number(cli, x509, "validity_months", "validity-months", 1200, err);
    if (rc == 0)
        rc = set_number(cli, x509, "validity_hours", "validity-hours", 876000, err);
    if (by_hours)
        (void)json_object_del(x509, "validity_months");
    return rc;
}

static int set_x509(const struct kv_cli *cli, json_t *policy, struct kv_err *err)
{
    json_t *x509 = section(policy, "x509_props");
    int rc = set_text(x509, "subject", kv_cli_flag(cli, "subject"), "subject", err);
    if (rc == 0)
        rc = set_names(cli, x509, err);
    if (rc == 0)
        rc = set_validity(cli, x509, err);
    return rc == 0 ? set_usage(cli, policy, x509) : rc;
}

static int set_renewal(const struct kv_cli *cli, json_t *policy, struct kv_err *err)
{
    int64_t number = 0;
    bool by_percent = kv_cli_flag(cli, "renew-percent") != NULL;
    bool by_days = kv_cli_flag(cli, "renew-days") != NULL;
    if (by_percent && by_days)
        return kv_cli_bad(err, "--renew-percent and --renew-days exclude each other");
    if (!by_percent && !by_days)
        return 0;
    int rc = by_percent ? kv_cli_number(cli, "renew-percent", 1, 99, &number, err)
                        : kv_cli_number(cli, "renew-days", 1, 36500, &number, err);
    if (rc != 0)
        return rc;
    return set(policy, "lifetime_actions",
               json_pack("[{s:{s:I},s:{s:s}}]", "trigger",
                         by_percent ? "lifetime_percentage" : "days_before_expiry",
                         (json_int_t)number, "action", "action_type", "AutoRenew"));
}

/* --- the whole ---------------------------------------------------------------------
 */

static int load_file(const char *file, json_t **out, struct kv_err *err)
{
    struct kv_buf text;
    kv_buf_init_secret(&text, POLICY_MAX);
    json_error_t why = {.line = 0};
    int rc = kv_io_read(file, &text, err);
    if (rc == 0) {
        json_t *json = json_loadb(text.len > 0 ? (const char *)text.data : "", text.len,
                                  JSON_REJECT_DUPLICATES, &why);
        if (json_is_object(json)) {
            *out = json;
        } else {
            json_decref(json);
            rc = kv_err_set(err, KV_E_INVALID, "cli.bad-json",
                            "%s:%d: no policy in JSON: %s", file, why.line,
                            why.text[0] != '\0' ? why.text : "an object is expected");
        }
    }
    kv_buf_free(&text);
    return rc;
}

int kv_policy_from_flags(const struct kv_cli *cli, const json_t *base, json_t **out,
                         struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "policy");
    const char *issuer = kv_cli_flag(cli, "issuer");
    json_t *policy = NULL;
    int rc = 0;
    if (file != NULL)
        KV_TRY(load_file(file, &policy, err));
    else
        policy = base != NULL ? json_deep_copy(base) : json_object();
    KV_TRY(set_key(cli, policy, err));
    KV_TRY(set_x509(cli, policy, err));
    KV_TRY(set_renewal(cli, policy, err));
    if (issuer != NULL)
        KV_TRY(set_text(section(policy, "issuer"), "name", issuer, "issuer", err));
out:
    if (rc == 0)
        *out = policy;
    else
        json_decref(policy);
    return rc;
}

json_t *kv_policy_default(void)
{
    return json_pack(
        "{s:{s:b,s:s,s:i,s:b},s:{s:s},s:{s:s,s:{s:[]},s:[s,s],s:[s,s],s:i},"
        "s:[{s:{s:i},s:{s:s}}],s:{s:s}}",
        "key_props", "exportable", 0, "kty", "RSA", "key_size", 2048, "reuse_key", 0,
        "secret_props", "contentType", "application/x-pkcs12", "x509_props", "subject",
        "CN=example.com", "sans", "dns_names", "ekus", "1.3.6.1.5.5.7.3.1",
        "1.3.6.1.5.5.7.3.2", "key_usage", "digitalSignature", "keyEncipherment",
        "validity_months", 12, "lifetime_actions", "trigger", "lifetime_percentage", 80,
        "action", "action_type", "AutoRenew", "issuer", "name", "Self");
}
