/*
 * Access policies from and to the vault resource's JSON, and how a list changes.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/auth/policies.h"
#include "tests/support/fault.h"

TestSuite(policies, .timeout = 20);

#define T "11111111-1111-1111-1111-111111111111"
#define U "aaaaaaaa-0000-0000-0000-000000000001"
#define V "aaaaaaaa-0000-0000-0000-000000000002"
#define A "bbbbbbbb-0000-0000-0000-00000000000a"

#define ENTRY(OID, KEYS, SECRETS)                                                      \
    "{\"tenantId\":\"" T "\",\"objectId\":\"" OID "\",\"permissions\":{\"keys\":" KEYS \
    ",\"secrets\":" SECRETS "}}"

static struct kv_access_policies *parse(const char *text)
{
    struct kv_access_policies *policies = NULL;
    struct kv_err err = KV_ERR_INIT;
    json_t *array = json_loads(text, JSON_DECODE_ANY, NULL);
    cr_assert_not_null(array, "%s", text);
    cr_assert_eq(kv_access_policies_parse(array, &policies, &err), 0, "%s: %s", text,
                 err.message);
    json_decref(array);
    return policies;
}

static void is_written(const struct kv_access_policies *policies, const char *expected)
{
    json_t *array = kv_access_policies_write(policies);
    json_t *wanted = json_loads(expected, 0, NULL);
    char *text = json_dumps(array, JSON_COMPACT);
    cr_assert(json_equal(array, wanted), "%s", text);
    free(text);
    json_decref(wanted);
    json_decref(array);
}

Test(policies, come_back_as_they_were_given)
{
    struct kv_access_policies *policies =
        parse("[{\"tenantId\":\"" T "\",\"objectId\":\"AAAAAAAA-0000-0000-0000-"
              "000000000001\",\"applicationId\":\"" A
              "\",\"permissions\":{\"keys\":[\"SIGN\",\"get\",\"wrapkey\"],"
              "\"secrets\":[\"all\",\"purge\"],\"certificates\":null,"
              "\"storage\":[\"getsas\"]}}]");
    is_written(policies,
               "[{\"tenantId\":\"" T "\",\"objectId\":\"" U "\",\"applicationId\":\"" A
               "\",\"permissions\":{\"keys\":[\"wrapKey\",\"sign\",\"get\"],"
               "\"secrets\":[\"all\",\"purge\"],\"certificates\":[],"
               "\"storage\":[\"getsas\"]}}]");
    const struct kv_access_policy *policy = kv_access_policies_at(policies, 0);
    cr_assert_str_eq(policy->tenant, T);
    cr_assert_str_eq(policy->app, A);
    cr_assert_null(kv_access_policies_at(policies, 1));
    kv_access_policies_free(policies);
}

Test(policies, an_empty_list_is_none)
{
    cr_assert_null(parse("[]"));
    cr_assert_null(parse("null"));
    struct kv_access_policies *policies =
        parse("[{\"tenantId\":\"" T "\",\"objectId\":\"" U
              "\",\"applicationId\":null,\"permissions\":{}}]");
    cr_assert_str_eq(kv_access_policies_at(policies, 0)->app, "", "null is none");
    kv_access_policies_free(policies);
    cr_assert_eq(kv_access_policies_parse(NULL, &policies, NULL), 0);
    cr_assert_null(policies);
    is_written(NULL, "[]");
    size_t n = 7;
    cr_assert_null(kv_access_policies_find(NULL, U, &n));
    cr_assert_eq(n, 0);
    kv_access_policies_free(NULL);
}

static const struct {
    const char *area;
    const char *permission;
    kv_actions gives;
} permissions[] = {
    {"keys", "get", KV_ACT_KEY_GET},
    {"keys", "decrypt", KV_ACT_KEY_DECRYPT | KV_ACT_KEY_TLS_UNPAD},
    {"keys", "getrotationpolicy", KV_ACT_KEY_POLICY_GET},
    {"keys", "setrotationpolicy", KV_ACT_KEY_POLICY_SET},
    {"keys", "purge", KV_ACT_KEY_PURGE},
    {"secrets", "get", KV_ACT_SECRET_GET | KV_ACT_SECRET_GET_DELETED},
    {"secrets", "set", KV_ACT_SECRET_SET | KV_ACT_SECRET_UPDATE},
    {"secrets", "list", KV_ACT_SECRET_LIST},
    {"secrets", "all",
     KV_ACT_SECRET_LIST | KV_ACT_SECRET_GET | KV_ACT_SECRET_GET_DELETED |
         KV_ACT_SECRET_SET | KV_ACT_SECRET_UPDATE | KV_ACT_SECRET_DELETE |
         KV_ACT_SECRET_RECOVER | KV_ACT_SECRET_BACKUP | KV_ACT_SECRET_RESTORE},
    {"certificates", "manageissuers",
     KV_ACT_CERT_ISSUERS_GET | KV_ACT_CERT_ISSUERS_LIST | KV_ACT_CERT_ISSUERS_SET |
         KV_ACT_CERT_ISSUERS_DELETE},
    {"certificates", "managecontacts", KV_ACT_CERT_CONTACTS},
    {"storage", "all", 0},
};

Test(policies, a_permission_gives_what_its_name_says)
{
    for (size_t i = 0; i < sizeof(permissions) / sizeof(permissions[0]); i++) {
        char text[400];
        (void)snprintf(text, sizeof(text),
                       "[{\"tenantId\":\"" T "\",\"objectId\":\"" U
                       "\",\"permissions\":{\"%s\":[\"%s\"]}}]",
                       permissions[i].area, permissions[i].permission);
        struct kv_access_policies *policies = parse(text);
        cr_assert_eq(kv_access_policies_at(policies, 0)->actions, permissions[i].gives,
                     "%s", text);
        kv_access_policies_free(policies);
    }
}

Test(policies, all_is_everything_but_purge)
{
    struct kv_access_policies *policies =
        parse("[{\"tenantId\":\"" T "\",\"objectId\":\"" U
              "\",\"permissions\":{\"keys\":[\"all\"],\"secrets\":[\"All\"],"
              "\"certificates\":[\"ALL\"]}}]");
    cr_assert_eq(kv_access_policies_at(policies, 0)->actions,
                 KV_ACT_ALL &
                     ~(KV_ACT_KEY_PURGE | KV_ACT_SECRET_PURGE | KV_ACT_CERT_PURGE));
    kv_access_policies_free(policies);
}

Test(policies, entries_of_one_object_are_found_together)
{
    struct kv_access_policies *policies =
        parse("[" ENTRY(V, "[\"get\"]", "[]") "," ENTRY(
            U, "[\"get\"]", "[]") ","
                                  "{\"tenantId\":\"" T "\",\"objectId\":\"" U
                                  "\",\"applicationId\":\"" A
                                  "\",\"permissions\":{}}," ENTRY(U, "[\"sign\"]",
                                                                  "[\"get\"]") "]");
    size_t n = 0;
    const struct kv_access_policy *const *found =
        kv_access_policies_find(policies, "AAAAAAAA-0000-0000-0000-000000000001", &n);
    cr_assert_eq(n, 2, "the same object and application is one entry");
    cr_assert_str_eq(found[0]->app, "");
    cr_assert_str_eq(found[1]->app, A);
    cr_assert_eq(found[0]->actions, KV_ACT_KEY_GET | KV_ACT_KEY_SIGN |
                                        KV_ACT_SECRET_GET | KV_ACT_SECRET_GET_DELETED);
    (void)kv_access_policies_find(policies, V, &n);
    cr_assert_eq(n, 1);
    (void)kv_access_policies_find(policies, A, &n);
    cr_assert_eq(n, 0);
    (void)kv_access_policies_find(policies, "", &n);
    cr_assert_eq(n, 0);
    cr_assert_str_eq(kv_access_policies_at(policies, 0)->oid, V, "the order stays");
    kv_access_policies_free(policies);
}

Test(policies, one_object_id_of_two_tenants_is_two_entries)
{
    struct kv_access_policies *policies = parse(
        "[" ENTRY(U, "[\"get\"]", "[]") ",{\"tenantId\":\"" V "\",\"objectId\":\"" U
                                        "\",\"permissions\":{}}]");
    size_t n = 0;
    const struct kv_access_policy *const *found =
        kv_access_policies_find(policies, U, &n);
    cr_assert_eq(n, 2);
    cr_assert_str_eq(found[0]->tenant, T);
    cr_assert_str_eq(found[1]->tenant, V);
    kv_access_policies_free(policies);
}

static const char *const bad[] = {
    "{}",
    "1",
    "\"all\"",
    "[1]",
    "[null]",
    "[{}]",
    "[{\"tenantId\":1}]",
    "[{\"tenantId\":\"" T "\"}]",
    "[{\"tenantId\":\"" T "\",\"objectId\":\"\",\"permissions\":{}}]",
    "[{\"tenantId\":\"" T "\",\"objectId\":\"" U "0\",\"permissions\":{}}]",
    "[{\"tenantId\":\"" T "\",\"objectId\":\"aaaaaaaa00000000000000000000000000001\","
    "\"permissions\":{}}]",
    "[{\"tenantId\":\"" T "\",\"objectId\":\"gaaaaaaa-0000-0000-0000-000000000001\","
    "\"permissions\":{}}]",
    "[{\"tenantId\":\"" T "\",\"objectId\":\"" U "\"}]",
    "[{\"tenantId\":\"" T "\",\"objectId\":\"" U "\",\"permissions\":[]}]",
    "[{\"tenantId\":\"" T "\",\"objectId\":\"" U
    "\",\"applicationId\":\"\",\"permissions\":{}}]",
    "[" ENTRY(U, "\"get\"", "[]") "]",
    "[" ENTRY(U, "[1]", "[]") "]",
    "[" ENTRY(U, "[\"\"]", "[]") "]",
    "[" ENTRY(U, "[\"set\"]", "[]") "]",
    "[" ENTRY(U, "[]", "[\"sign\"]") "]",
    "[" ENTRY(U, "[]", "[\"get \"]") "]",
};

Test(policies, what_is_no_policy_is_refused_by_name)
{
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct kv_access_policies *policies = NULL;
        struct kv_err err = KV_ERR_INIT;
        json_t *json = json_loads(bad[i], JSON_DECODE_ANY, NULL);
        cr_assert_eq(kv_access_policies_parse(json, &policies, &err), KV_E_INVALID,
                     "%s", bad[i]);
        cr_assert_str_eq(err.id, "access.bad-policy");
        cr_assert_not_null(strstr(err.message, "accessPolicies"), "%s", err.message);
        cr_assert_null(policies);
        json_decref(json);
    }
}

static json_t *many(size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; i < n; i++) {
        char oid[40];
        (void)snprintf(oid, sizeof(oid), "aaaaaaaa-0000-0000-0000-%012x", (unsigned)i);
        json_array_append_new(array,
                              json_pack("{s:s,s:s,s:{s:[s]}}", "tenantId", T,
                                        "objectId", oid, "permissions", "keys", "get"));
    }
    return array;
}

Test(policies, there_are_at_most_1024)
{
    struct kv_access_policies *full = NULL;
    struct kv_access_policies *out = NULL;
    struct kv_err err = KV_ERR_INIT;
    json_t *array = many(KV_ACCESS_POLICIES_MAX);
    cr_assert_eq(kv_access_policies_parse(array, &full, NULL), 0);
    json_decref(array);
    array = many(KV_ACCESS_POLICIES_MAX + 1);
    cr_assert_eq(kv_access_policies_parse(array, &out, &err), KV_E_INVALID);
    cr_assert_str_eq(err.id, "access.too-many-policies");
    json_decref(array);
    struct kv_access_policies *one = parse("[" ENTRY(A, "[\"get\"]", "[]") "]");
    struct kv_err again = KV_ERR_INIT;
    cr_assert_eq(kv_access_policies_change(full, KV_POLICY_ADD, one, &out, &again),
                 KV_E_INVALID);
    cr_assert_str_eq(again.id, "access.too-many-policies");
    cr_assert_null(out);
    cr_assert_eq(kv_access_policies_change(full, KV_POLICY_ADD, full, &out, NULL), 0);
    cr_assert_not_null(kv_access_policies_at(out, KV_ACCESS_POLICIES_MAX - 1));
    kv_access_policies_free(out);
    kv_access_policies_free(one);
    kv_access_policies_free(full);
}

#define LIST(ENTRIES) "[" ENTRIES "]"
#define WRITTEN(OID, KEYS, SECRETS)                                                    \
    "{\"tenantId\":\"" T "\",\"objectId\":\"" OID "\",\"permissions\":{\"keys\":" KEYS \
    ",\"secrets\":" SECRETS ",\"certificates\":[],\"storage\":[]}}"

static const struct {
    enum kv_policy_change how;
    const char *before;
    const char *change;
    const char *after;
} changes[] = {
    {KV_POLICY_ADD, LIST(""), LIST(ENTRY(U, "[\"get\"]", "[]")),
     LIST(WRITTEN(U, "[\"get\"]", "[]"))},
    {KV_POLICY_ADD, LIST(ENTRY(U, "[\"get\"]", "[]")),
     LIST(ENTRY(U, "[\"sign\"]", "[\"set\"]")),
     LIST(WRITTEN(U, "[\"sign\",\"get\"]", "[\"set\"]"))},
    {KV_POLICY_REPLACE,
     LIST(ENTRY(U, "[\"get\"]", "[\"get\"]") "," ENTRY(V, "[\"get\"]", "[]")),
     LIST(ENTRY(U, "[\"sign\"]", "[]")),
     LIST(WRITTEN(U, "[\"sign\"]", "[]") "," WRITTEN(V, "[\"get\"]", "[]"))},
    {KV_POLICY_REPLACE, LIST(""), LIST(ENTRY(U, "[\"sign\"]", "[]")),
     LIST(WRITTEN(U, "[\"sign\"]", "[]"))},
    {KV_POLICY_REMOVE, LIST(ENTRY(U, "[\"get\",\"sign\"]", "[]")),
     LIST(ENTRY(U, "[\"get\",\"list\"]", "[]")), LIST(WRITTEN(U, "[\"sign\"]", "[]"))},
    {KV_POLICY_REMOVE,
     LIST(ENTRY(U, "[\"get\"]", "[]") "," ENTRY(V, "[\"get\"]", "[]")),
     LIST(ENTRY(U, "[\"get\"]", "[]")), LIST(WRITTEN(V, "[\"get\"]", "[]"))},
    {KV_POLICY_DROP,
     LIST(ENTRY(U, "[\"get\",\"sign\"]", "[\"all\"]") "," ENTRY(V, "[\"get\"]", "[]")),
     LIST(ENTRY(U, "[]", "[]")), LIST(WRITTEN(V, "[\"get\"]", "[]"))},
    {KV_POLICY_ALL, LIST(ENTRY(U, "[\"get\",\"sign\"]", "[\"all\"]")),
     LIST(ENTRY(V, "[\"get\"]", "[]")), LIST(WRITTEN(V, "[\"get\"]", "[]"))},
    {KV_POLICY_REMOVE, LIST(ENTRY(V, "[\"get\"]", "[]")),
     LIST(ENTRY(V, "[\"get\"]", "[]") "," ENTRY(U, "[\"get\"]", "[]")), LIST("")},
};

Test(policies, a_list_is_added_to_replaced_in_and_removed_from)
{
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct kv_access_policies *before = parse(changes[i].before);
        struct kv_access_policies *change = parse(changes[i].change);
        struct kv_access_policies *after = NULL;
        cr_assert_eq(
            kv_access_policies_change(before, changes[i].how, change, &after, NULL), 0);
        is_written(after, changes[i].after);
        kv_access_policies_free(after);
        kv_access_policies_free(change);
        kv_access_policies_free(before);
    }
}

static const char *const damaged[] = {
    "[1]",
    "[\"\"]",
    "[\"" T " " U " - 1 2 3\"]",
    "[\"" T " " U " - 1 2 3 4 5\"]",
    "[\"" T " " U " - 1 2 3 g\"]",
    "[\"" T " " U " - 1 2 3 -1\"]",
    "[\"" T " " U " - 1 2 3 123456789\"]",
    "[\"" T " " U "\"]",
    "[\"" T "\"]",
    "[\"" T "0 " U " - 1 2 3 4\"]",
    "[\"" T " " U " x 1 2 3 4\"]",
    "[\"" T " x - 1 2 3 4\"]",
    "[\"x " U " - 1 2 3 4\"]",
};

Test(policies, are_stored_in_little_room_and_read_back)
{
    json_t *array = many(KV_ACCESS_POLICIES_MAX);
    struct kv_access_policies *full = NULL;
    struct kv_access_policies *read = NULL;
    cr_assert_eq(kv_access_policies_parse(array, &full, NULL), 0);
    json_t *doc = kv_access_policies_doc(full);
    char *written = json_dumps(doc, JSON_COMPACT);
    cr_assert_lt(strlen(written), 200000, "a sealed row has 256 KiB");
    free(written);
    cr_assert_eq(kv_access_policies_read(doc, &read), 0);
    json_t *again = kv_access_policies_write(read);
    json_t *before = kv_access_policies_write(full);
    cr_assert(json_equal(before, again));
    json_decref(before);
    json_decref(again);
    json_decref(doc);
    json_decref(array);
    kv_access_policies_free(read);
    kv_access_policies_free(full);
    full =
        parse("[{\"tenantId\":\"" T "\",\"objectId\":\"" U "\",\"applicationId\":\"" A
              "\",\"permissions\":{\"keys\":[\"sign\"],\"secrets\":[\"purge\"],"
              "\"certificates\":[\"restore\"],\"storage\":[\"deletesas\"]}}]");
    doc = kv_access_policies_doc(full);
    cr_assert_str_eq(json_string_value(json_array_get(doc, 0)),
                     T " " U " " A " 20 100 10000 4000",
                     "the bits of stored rows never change their meaning");
    cr_assert_eq(kv_access_policies_read(doc, &read), 0);
    cr_assert_eq(kv_access_policies_at(read, 0)->actions,
                 KV_ACT_KEY_SIGN | KV_ACT_SECRET_PURGE | KV_ACT_CERT_RESTORE);
    json_decref(doc);
    kv_access_policies_free(read);
    kv_access_policies_free(full);
    cr_assert_eq(kv_access_policies_read(NULL, &read), 0);
    cr_assert_null(read);
}

Test(policies, damage_to_what_is_stored_is_noticed)
{
    for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
        struct kv_access_policies *read = NULL;
        json_t *doc = json_loads(damaged[i], 0, NULL);
        cr_assert_eq(kv_access_policies_read(doc, &read), KV_E_INTEGRITY, "%s",
                     damaged[i]);
        cr_assert_null(read);
        json_decref(doc);
    }
}

/* jansson's memory fails with the program's own. */
static void *take(size_t n)
{
    return malloc(n);
}

static void give(void *memory)
{
    free(memory);
}

Test(policies, without_memory_nothing_is_left)
{
    json_set_alloc_funcs(take, give);
    json_t *array =
        json_loads("[" ENTRY(U, "[\"get\",\"sign\"]",
                             "[\"all\"]") "," ENTRY(V, "[\"get\"]", "[]") "]",
                   0, NULL);
    unsigned n_failed = 0;
    for (long n = 1; fault_round(n); n++) {
        struct kv_access_policies *policies = NULL;
        struct kv_access_policies *after = NULL;
        struct kv_err err = KV_ERR_INIT;
        json_t *written = NULL;
        int rc = kv_access_policies_parse(array, &policies, &err);
        if (rc == 0)
            rc = kv_access_policies_change(policies, KV_POLICY_ADD, policies, &after,
                                           &err);
        json_t *doc = rc == 0 ? kv_access_policies_doc(after) : NULL;
        if (doc != NULL) {
            kv_access_policies_free(after);
            after = NULL;
            rc = kv_access_policies_read(doc, &after);
            if (rc != 0)
                kv_err_set(&err, rc, "service.no-memory", "out of memory");
        }
        if (rc == 0 && doc != NULL)
            written = kv_access_policies_write(after);
        json_decref(doc);
        n_failed += written == NULL;
        cr_assert(rc == 0 || rc == KV_E_NOMEM, "%d", rc);
        cr_assert(rc == 0 || strcmp(err.id, "service.no-memory") == 0);
        cr_assert(rc != 0 || written != NULL || fault_was_hit());
        cr_assert(written == NULL || json_array_size(written) == 2);
        json_decref(written);
        kv_access_policies_free(after);
        kv_access_policies_free(policies);
    }
    cr_assert_geq(n_failed, 20);
    json_decref(array);
}
