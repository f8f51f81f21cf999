/*
 * Every operation of the contract finds its row; what is none, finds nothing.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "lifecycle/api/internal.h"

TestSuite(api_route, .timeout = 20);

#define V "0123456789abcdef0123456789abcdef"
#define N127                                                                           \
    "abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ"                 \
    "abcdefghijklmnopqrstuvwxyz-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXY"

static const struct {
    const char *method;
    const char *path;
    const char *route; /* the row's path */
    const char *name;
    const char *version;
} rows[] = {
    /* "latest" is written in three ways, and // is never made / */
    {"GET", "/keys/n", "/keys/{name}/{version}", "n", ""},
    {"GET", "/keys/n/", "/keys/{name}/{version}", "n", ""},
    {"GET", "/keys/n//", "/keys/{name}/{version}", "n", ""},
    {"GET", "/keys/n/" V, "/keys/{name}/{version}", "n", V},
    {"GET", "/keys/n/" V "/", "/keys/{name}/{version}", "n", V},
    {"POST", "/keys/n//sign", "/keys/{name}/{version}/sign", "n", ""},
    {"POST", "/keys/n/" V "/sign", "/keys/{name}/{version}/sign", "n", V},
    {"POST", "/keys/n/" V "/sign/", "/keys/{name}/{version}/sign", "n", V},
    {"POST", "/keys/n//verify", "/keys/{name}/{version}/verify", "n", ""},
    {"POST", "/keys/n//encrypt", "/keys/{name}/{version}/encrypt", "n", ""},
    {"POST", "/keys/n//decrypt", "/keys/{name}/{version}/decrypt", "n", ""},
    {"POST", "/keys/n//wrapkey", "/keys/{name}/{version}/wrapkey", "n", ""},
    {"POST", "/keys/n//unwrapkey", "/keys/{name}/{version}/unwrapkey", "n", ""},
    {"GET", "/secrets/n/", "/secrets/{name}/{version}", "n", ""},
    /* literals win over what stands for a name or version */
    {"GET", "/keys/n/versions", "/keys/{name}/versions", "n", ""},
    {"GET", "/keys/versions", "/keys/{name}/{version}", "versions", ""},
    {"GET", "/keys/versions/versions", "/keys/{name}/versions", "versions", ""},
    {"POST", "/keys/create/create", "/keys/{name}/create", "create", ""},
    {"GET", "/keys", "/keys", "", ""},
    {"GET", "/keys/", "/keys", "", ""},
    {"GET", "/certificates/contacts", "/certificates/contacts", "", ""},
    {"GET", "/certificates/issuers", "/certificates/issuers", "", ""},
    {"GET", "/certificates/issuers/i", "/certificates/issuers/{name}", "i", ""},
    {"POST", "/certificates/n/pending/merge", "/certificates/{name}/pending/merge", "n",
     ""},
    /* literals have no case, names keep theirs */
    {"GET", "/KEYS/Name/Versions", "/keys/{name}/versions", "Name", ""},
    /* decoded once */
    {"GET", "/k%65ys/%6e", "/keys/{name}/{version}", "n", ""},
    {"GET", "/keys/%2541", "/keys/{name}/{version}", "%41", ""},
    {"GET", "/keys/a%2Fb", "/keys/{name}/{version}", "a/b", ""},
    {"GET", "/keys/%c3%a4", "/keys/{name}/{version}", "\xc3\xa4", ""},
    {"GET", "/keys/a%00b", "/keys/{name}/{version}", "%", ""},
    {"GET", "/keys/%zz", "/keys/{name}/{version}", "%", ""},
    {"GET", "/keys/..", "/keys/{name}/{version}", "..", ""},
    {"GET", "/keys/./x", "/keys/{name}/{version}", ".", "x"},
    {"PUT", "/keys/", "/keys/{name}", "", ""},
    {"GET", "/keys//", "/keys/{name}/{version}", "", ""},
    {"GET", "/keys//versions", "/keys/{name}/versions", "", ""},
    /* as long as may be, and one more: no valid name, but no other name either */
    {"GET", "/keys/" N127, "/keys/{name}/{version}", N127, ""},
    {"GET", "/keys/" N127 "x", "/keys/{name}/{version}", N127 "x", ""},
    {"GET", "/keys/" N127 "xx", "/keys/{name}/{version}", "%", ""},
    {"GET", "/keys/n/" V "0", "/keys/{name}/{version}", "n", V "0"},
    {"GET", "/keys/n/" V "00", "/keys/{name}/{version}", "n", V "0"},
    /* ours */
    {"GET", "/keyvault/v1/status", "/keyvault/v1/status", "", ""},
    {"PUT", "/keyvault/v1/assignments", "/keyvault/v1/assignments", "", ""},
};

Test(api_route, finds_the_row_and_its_parameters)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_route_match match;
        kv_route_find(rows[i].method, rows[i].path, &match);
        cr_assert_not_null(match.route, "%s", rows[i].path);
        cr_assert(match.is_path_known, "%s", rows[i].path);
        cr_assert_str_eq(match.route->path, rows[i].route, "%s", rows[i].path);
        cr_assert_str_eq(match.route->method, rows[i].method, "%s", rows[i].path);
        cr_assert_str_eq(match.name, rows[i].name, "%s", rows[i].path);
        cr_assert_str_eq(match.version, rows[i].version, "%s", rows[i].path);
    }
}

Test(api_route, serves_nothing_else)
{
    static const char *const paths[] = {
        "",
        "/",
        "//",
        "keys",
        "keys/n",
        "//keys",
        "/key/n",
        "/keysx",
        "/keys/n/v/sign/x",
        "/keys/n/v/sign//",
        "/keys/n/v/x",
        "/keys/n/v/versions",
        "/a/b/c/d/e/f/g",
        "/certificates/n/pending/merge/x",
        "/keyvault",
        "/keyvault/v1",
        "/keyvault/v2/status",
        "/keyvault//v1/status",
        "/keyvault/v1/status/x",
        "/%00",
        "/deletedkeys/n/recover/x",
        "/*",
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct kv_route_match match;
        kv_route_find("GET", paths[i], &match);
        cr_assert_null(match.route, "%s", paths[i]);
        cr_assert(!match.is_path_known, "%s", paths[i]);
        cr_assert_str_eq(match.allow, "", "%s", paths[i]);
    }
}

/* Whether `allow` names exactly these methods, in any order. */
static bool is_allow(const char *allow, const char *const *methods)
{
    size_t len = 0;
    size_t n = 0;
    for (; methods[n] != NULL; n++) {
        if (strstr(allow, methods[n]) == NULL)
            return false;
        len += strlen(methods[n]);
    }
    return strlen(allow) == len + 2 * (n - 1);
}

Test(api_route, a_known_path_tells_its_methods)
{
    static const struct {
        const char *method;
        const char *path;
        const char *const methods[6];
    } refused[] = {
        {"DELETE", "/keys", {"GET"}},
        {"POST", "/keys/n", {"GET", "PUT", "DELETE", "PATCH"}},
        {"GET", "/keys/n/" V "/sign", {"POST"}},
        {"HEAD", "/keys/n/versions", {"GET", "PATCH"}},
        {"OPTIONS", "/secrets/n", {"GET", "PUT", "DELETE", "PATCH"}},
        {"PATCH", "/keyvault/v1/assignments", {"GET", "PUT", "DELETE"}},
        {"get", "/keys", {"GET"}},
        {"", "/keys", {"GET"}},
        {"PUT", "/certificates/n/create", {"GET", "PATCH", "POST"}},
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct kv_route_match match;
        kv_route_find(refused[i].method, refused[i].path, &match);
        cr_assert_null(match.route, "%s", refused[i].path);
        cr_assert(match.is_path_known, "%s", refused[i].path);
        cr_assert(is_allow(match.allow, refused[i].methods), "%s %s: %s",
                  refused[i].method, refused[i].path, match.allow);
    }
}

/* All 64 operations of the data plane, as the contract lists them. */
static const char *const contract[][2] = {
    {"GET", "/deletedkeys"},
    {"DELETE", "/deletedkeys/n"},
    {"GET", "/deletedkeys/n"},
    {"POST", "/deletedkeys/n/recover"},
    {"GET", "/keys"},
    {"DELETE", "/keys/n"},
    {"PUT", "/keys/n"},
    {"GET", "/keys/n/" V "/attestation"},
    {"POST", "/keys/n/" V "/release"},
    {"GET", "/keys/n/" V},
    {"PATCH", "/keys/n/" V},
    {"POST", "/keys/n/" V "/decrypt"},
    {"POST", "/keys/n/" V "/encrypt"},
    {"POST", "/keys/n/" V "/sign"},
    {"POST", "/keys/n/" V "/unwrapkey"},
    {"POST", "/keys/n/" V "/verify"},
    {"POST", "/keys/n/" V "/wrapkey"},
    {"POST", "/keys/n/backup"},
    {"POST", "/keys/n/create"},
    {"POST", "/keys/n/rotate"},
    {"GET", "/keys/n/rotationpolicy"},
    {"PUT", "/keys/n/rotationpolicy"},
    {"GET", "/keys/n/versions"},
    {"POST", "/keys/restore"},
    {"POST", "/rng"},
    {"GET", "/deletedsecrets"},
    {"DELETE", "/deletedsecrets/n"},
    {"GET", "/deletedsecrets/n"},
    {"POST", "/deletedsecrets/n/recover"},
    {"GET", "/secrets"},
    {"DELETE", "/secrets/n"},
    {"PUT", "/secrets/n"},
    {"GET", "/secrets/n/" V},
    {"PATCH", "/secrets/n/" V},
    {"POST", "/secrets/n/backup"},
    {"GET", "/secrets/n/versions"},
    {"POST", "/secrets/restore"},
    {"GET", "/certificates"},
    {"DELETE", "/certificates/n"},
    {"GET", "/certificates/n/" V},
    {"PATCH", "/certificates/n/" V},
    {"POST", "/certificates/n/backup"},
    {"POST", "/certificates/n/create"},
    {"POST", "/certificates/n/import"},
    {"DELETE", "/certificates/n/pending"},
    {"GET", "/certificates/n/pending"},
    {"PATCH", "/certificates/n/pending"},
    {"POST", "/certificates/n/pending/merge"},
    {"GET", "/certificates/n/policy"},
    {"PATCH", "/certificates/n/policy"},
    {"GET", "/certificates/n/versions"},
    {"DELETE", "/certificates/contacts"},
    {"GET", "/certificates/contacts"},
    {"PUT", "/certificates/contacts"},
    {"GET", "/certificates/issuers"},
    {"DELETE", "/certificates/issuers/n"},
    {"GET", "/certificates/issuers/n"},
    {"PATCH", "/certificates/issuers/n"},
    {"PUT", "/certificates/issuers/n"},
    {"POST", "/certificates/restore"},
    {"GET", "/deletedcertificates"},
    {"DELETE", "/deletedcertificates/n"},
    {"GET", "/deletedcertificates/n"},
    {"POST", "/deletedcertificates/n/recover"},
};

Test(api_route, every_operation_of_the_contract_has_a_row_and_asks_for_a_right)
{
    cr_assert_eq(sizeof(contract) / sizeof(contract[0]), 64);
    for (size_t i = 0; i < sizeof(contract) / sizeof(contract[0]); i++) {
        struct kv_route_match match;
        kv_route_find(contract[i][0], contract[i][1], &match);
        cr_assert_not_null(match.route, "%s %s", contract[i][0], contract[i][1]);
        cr_assert_neq(match.route->action, 0, "%s %s", contract[i][0], contract[i][1]);
        /* no parameter is taken for a literal of another row */
        const bool is_named = strstr(match.route->path, "{name}") != NULL;
        cr_assert_str_eq(match.name, is_named ? "n" : "", "%s %s", contract[i][0],
                         contract[i][1]);
    }
}

Test(api_route, the_right_is_about_the_collection_of_the_path)
{
    static const char *const collections[][2] = {
        {"/keys/n", "keys"},
        {"/deletedkeys/n", "keys"},
        {"/secrets", "secrets"},
        {"/deletedsecrets", "secrets"},
        {"/certificates/n/policy", "certificates"},
        {"/certificates/issuers", "certificates"},
        {"/deletedcertificates/n", "certificates"},
        {"/keyvault/v1/status", NULL},
    };
    for (size_t i = 0; i < sizeof(collections) / sizeof(collections[0]); i++) {
        struct kv_route_match match;
        kv_route_find("GET", collections[i][0], &match);
        cr_assert_not_null(match.route, "%s", collections[i][0]);
        const char *collection = kv_route_collection(match.route);
        if (collections[i][1] == NULL)
            cr_assert_null(collection);
        else
            cr_assert_str_eq(collection, collections[i][1], "%s", collections[i][0]);
    }
}
