/*
 * Access policies between their JSON form and bits.
 *
 * Two numbers stand for what an entry gives: the permissions as they were named, so
 * that they can be returned, and the actions that they come to, for decisions. Entries
 * keep the order in which they came; a second list, sorted by object id, is searched.
 */
#include "lifecycle/auth/policies.h"
#include "lifecycle/auth/uuid.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"

struct kv_access_policies {
    size_t n;
    struct kv_access_policy *items;
    const struct kv_access_policy **by_oid;
};

/* Each list begins with "all". The order is that of the bits in stored rows: names are
 * only ever added, at the end. What a name gives stands in the table of actions;
 * permissions for storage give nothing. */
static const struct {
    const char *name;
    const char *permissions[22]; /* ended by NULL */
} areas[KV_POLICY_AREAS] = {
    {"keys",
     {"all",
      "encrypt",
      "decrypt",
      "wrapKey",
      "unwrapKey",
      "sign",
      "verify",
      "get",
      "list",
      "create",
      "update",
      "import",
      "delete",
      "backup",
      "restore",
      "recover",
      "purge",
      "release",
      "rotate",
      "getrotationpolicy",
      "setrotationpolicy"}},
    {"secrets",
     {"all", "get", "list", "set", "delete", "backup", "restore", "recover", "purge"}},
    {"certificates",
     {"all", "get", "list", "delete", "create", "import", "update", "managecontacts",
      "getissuers", "listissuers", "setissuers", "deleteissuers", "manageissuers",
      "recover", "purge", "backup", "restore"}},
    {"storage",
     {"all", "get", "list", "delete", "set", "update", "regeneratekey", "recover",
      "purge", "backup", "restore", "setsas", "listsas", "getsas", "deletesas"}},
};

#define ISSUERS                                                                        \
    (KV_ACT_CERT_ISSUERS_GET | KV_ACT_CERT_ISSUERS_LIST | KV_ACT_CERT_ISSUERS_SET |    \
     KV_ACT_CERT_ISSUERS_DELETE)

/* What one permission of an area gives: the actions that it names; `all` those that any
 * permission but purge does, and those that no other one gives. */
static kv_actions actions_of(const char *area, const char *permission)
{
    bool is_all = strcmp(permission, "all") == 0;
    kv_actions actions = 0;
    const struct kv_action_name *name = NULL;
    if (strcmp(permission, "manageissuers") == 0)
        return ISSUERS;
    for (size_t i = 0; (name = kv_action_at(i)) != NULL; i++) {
        if (strcmp(name->collection, area) != 0)
            continue;
        if (is_all ? strcmp(name->permission, "purge") != 0
                   : strcmp(name->permission, permission) == 0)
            actions |= name->action;
    }
    return actions;
}

static void compile(struct kv_access_policy *policy)
{
    policy->actions = 0;
    for (size_t area = 0; area < KV_POLICY_AREAS; area++)
        for (size_t i = 0; areas[area].permissions[i] != NULL; i++)
            if ((policy->given[area] & (1U << i)) != 0)
                policy->actions |=
                    actions_of(areas[area].name, areas[area].permissions[i]);
}

/* --- lists --------------------------------------------------------------------------
 */

static int compare_oids(const void *a, const void *b)
{
    const struct kv_access_policy *const *left = a;
    const struct kv_access_policy *const *right = b;
    int order = strcmp((*left)->oid, (*right)->oid);
    if (order != 0)
        return order;
    return (*left > *right) - (*left < *right); /* one array: in the order they came */
}

static int no_memory(struct kv_err *err)
{
    return kv_err_set(err, KV_E_NOMEM, "service.no-memory", "out of memory");
}

static struct kv_access_policies *policies_new(size_t max)
{
    struct kv_access_policies *policies = calloc(1, sizeof(*policies));
    if (policies == NULL)
        return NULL;
    policies->items = calloc(max, sizeof(*policies->items));
    policies->by_oid = calloc(max, sizeof(struct kv_access_policy *));
    if (policies->items != NULL && policies->by_oid != NULL)
        return policies;
    kv_access_policies_free(policies);
    return NULL;
}

void kv_access_policies_free(struct kv_access_policies *policies)
{
    if (policies == NULL)
        return;
    free(policies->items);
    free(policies->by_oid);
    free(policies);
}

/* What is complete: actions and order. An empty list is none. */
static void finish(struct kv_access_policies *policies, struct kv_access_policies **out)
{
    *out = NULL;
    if (policies->n == 0) {
        kv_access_policies_free(policies);
        return;
    }
    for (size_t i = 0; i < policies->n; i++) {
        compile(&policies->items[i]);
        policies->by_oid[i] = &policies->items[i];
    }
    qsort(policies->by_oid, policies->n, sizeof(struct kv_access_policy *),
          compare_oids);
    *out = policies;
}

const struct kv_access_policy *
kv_access_policies_at(const struct kv_access_policies *policies, size_t i)
{
    return policies != NULL && i < policies->n ? &policies->items[i] : NULL;
}

const struct kv_access_policy *const *
kv_access_policies_find(const struct kv_access_policies *policies, const char *oid,
                        size_t *n)
{
    size_t low = 0;
    size_t high = policies != NULL ? policies->n : 0;
    char folded[37];
    *n = 0;
    kv_str_cut(folded, sizeof(folded), oid, strlen(oid));
    kv_str_fold(folded);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(policies->by_oid[middle]->oid, folded) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (policies == NULL)
        return NULL;
    while (low + *n < policies->n &&
           strcmp(policies->by_oid[low + *n]->oid, folded) == 0)
        (*n)++;
    return policies->by_oid + low;
}

/* The entry of the same tenant, object and application; NULL: none yet. */
static struct kv_access_policy *find_same(const struct kv_access_policies *policies,
                                          const struct kv_access_policy *like)
{
    for (size_t i = 0; i < policies->n; i++) {
        struct kv_access_policy *item = &policies->items[i];
        if (strcmp(item->oid, like->oid) == 0 && strcmp(item->app, like->app) == 0 &&
            strcmp(item->tenant, like->tenant) == 0)
            return item;
    }
    return NULL;
}

static int too_many(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "access.too-many-policies",
                      "a vault has at most %u access policies",
                      (unsigned)KV_ACCESS_POLICIES_MAX);
}

static void unite(struct kv_access_policy *item, const struct kv_access_policy *with)
{
    for (size_t area = 0; area < KV_POLICY_AREAS; area++)
        item->given[area] |= with->given[area];
}

/* Add an entry, or its permissions to the same one. There is room. */
static void add(struct kv_access_policies *policies,
                const struct kv_access_policy *entry)
{
    struct kv_access_policy *same = find_same(policies, entry);
    if (same != NULL)
        unite(same, entry);
    else
        policies->items[policies->n++] = *entry;
}

/* --- JSON ----------------------------------------------------------------------------
 */

static int bad(struct kv_err *err, size_t index, const char *member, const char *what)
{
    return kv_err_set(err, KV_E_INVALID, "access.bad-policy",
                      "accessPolicies[%zu].%s %s", index, member, what);
}

static int read_uuid(const json_t *entry, size_t index, const char *member,
                     char out[37], struct kv_err *err)
{
    const char *text = json_string_value(json_object_get(entry, member));
    if (text == NULL || !kv_uuid_is_valid(text))
        return bad(err, index, member, "must be a UUID");
    kv_str_cut(out, 37, text, 36);
    kv_str_fold(out);
    return 0;
}

static bool read_permission(size_t area, const char *text, uint32_t *given)
{
    for (size_t i = 0; areas[area].permissions[i] != NULL; i++) {
        if (!kv_str_equal_nocase(text, areas[area].permissions[i]))
            continue;
        *given |= 1U << i;
        return true;
    }
    return false;
}

static int read_area(const json_t *list, size_t index, size_t area, uint32_t *given,
                     struct kv_err *err)
{
    char member[40] = "permissions.";
    memcpy(member + strlen(member), areas[area].name, strlen(areas[area].name) + 1);
    if (list == NULL || json_typeof(list) == JSON_NULL)
        return 0;
    if (json_typeof(list) != JSON_ARRAY)
        return bad(err, index, member, "must be an array of strings");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text == NULL || !read_permission(area, text, given))
            return bad(err, index, member, "names a permission that there is not");
    }
    return 0;
}

static int read_entry(const json_t *entry, size_t index, struct kv_access_policy *out,
                      struct kv_err *err)
{
    const json_t *permissions = json_object_get(entry, "permissions");
    const json_t *app = json_object_get(entry, "applicationId");
    int rc = 0;
    memset(out, 0, sizeof(*out));
    KV_TRY(read_uuid(entry, index, "tenantId", out->tenant, err));
    KV_TRY(read_uuid(entry, index, "objectId", out->oid, err));
    if (app != NULL && json_typeof(app) != JSON_NULL)
        KV_TRY(read_uuid(entry, index, "applicationId", out->app, err));
    if (!json_is_object(permissions))
        return bad(err, index, "permissions", "must be an object");
    for (size_t area = 0; area < KV_POLICY_AREAS; area++)
        KV_TRY(read_area(json_object_get(permissions, areas[area].name), index, area,
                         &out->given[area], err));
out:
    return rc;
}

int kv_access_policies_parse(const json_t *array, struct kv_access_policies **out,
                             struct kv_err *err)
{
    struct kv_access_policies *policies = NULL;
    int rc = 0;
    *out = NULL;
    if (array == NULL || json_typeof(array) == JSON_NULL)
        return 0;
    if (json_typeof(array) != JSON_ARRAY)
        return kv_err_set(err, KV_E_INVALID, "access.bad-policy",
                          "accessPolicies must be an array");
    size_t n = json_array_size(array);
    if (n > KV_ACCESS_POLICIES_MAX)
        return too_many(err);
    policies = policies_new(n + 1);
    if (policies == NULL)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        struct kv_access_policy entry;
        KV_TRY(read_entry(json_array_get(array, i), i, &entry, err));
        add(policies, &entry);
    }
    finish(policies, out);
    return 0;
out:
    kv_access_policies_free(policies);
    return rc;
}

/* Append an item (taken) to an array (taken); NULL when there is no memory. */
static json_t *append(json_t *array, json_t *item)
{
    if (array != NULL && json_array_append_new(array, item) == 0)
        return array;
    if (array == NULL)
        json_decref(item);
    json_decref(array);
    return NULL;
}

static json_t *write_area(size_t area, uint32_t given)
{
    json_t *list = json_array();
    for (size_t i = 0; areas[area].permissions[i] != NULL; i++)
        if ((given & (1U << i)) != 0)
            list = append(list, json_string(areas[area].permissions[i]));
    return list;
}

json_t *kv_access_policy_write(const struct kv_access_policy *policy)
{
    const char *app = policy->app[0] != '\0' ? policy->app : NULL;
    return json_pack(
        "{s:s,s:s,s:s*,s:{s:o,s:o,s:o,s:o}}", "tenantId", policy->tenant, "objectId",
        policy->oid, "applicationId", app, "permissions", "keys",
        write_area(KV_POLICY_KEYS, policy->given[KV_POLICY_KEYS]), "secrets",
        write_area(KV_POLICY_SECRETS, policy->given[KV_POLICY_SECRETS]), "certificates",
        write_area(KV_POLICY_CERTIFICATES, policy->given[KV_POLICY_CERTIFICATES]),
        "storage", write_area(KV_POLICY_STORAGE, policy->given[KV_POLICY_STORAGE]));
}

json_t *kv_access_policies_write(const struct kv_access_policies *policies)
{
    json_t *array = json_array();
    const struct kv_access_policy *policy = NULL;
    for (size_t i = 0; (policy = kv_access_policies_at(policies, i)) != NULL; i++)
        array = append(array, kv_access_policy_write(policy));
    return array;
}

/* --- stored --------------------------------------------------------------------------
 */

static json_t *entry_doc(const struct kv_access_policy *policy)
{
    return json_sprintf("%s %s %s %x %x %x %x", policy->tenant, policy->oid,
                        policy->app[0] != '\0' ? policy->app : "-", policy->given[0],
                        policy->given[1], policy->given[2], policy->given[3]);
}

json_t *kv_access_policies_doc(const struct kv_access_policies *policies)
{
    json_t *array = json_array();
    const struct kv_access_policy *policy = NULL;
    for (size_t i = 0; (policy = kv_access_policies_at(policies, i)) != NULL; i++)
        array = append(array, entry_doc(policy));
    return array;
}

/* The next word of an entry; false: there is none, or it does not fit. */
static bool next_word(const char **text, char *out, size_t out_size)
{
    size_t len = strcspn(*text, " ");
    if (len == 0 || len >= out_size)
        return false;
    kv_str_cut(out, out_size, *text, len);
    *text += len;
    while (**text == ' ')
        (*text)++;
    return true;
}

static bool next_bits(const char **text, uint32_t *out)
{
    char word[9];
    char *end = NULL;
    if (!next_word(text, word, sizeof(word)))
        return false;
    unsigned long bits = strtoul(word, &end, 16);
    *out = (uint32_t)bits;
    return *end == '\0' && bits <= UINT32_MAX;
}

static bool read_stored(const char *text, struct kv_access_policy *out)
{
    memset(out, 0, sizeof(*out));
    if (text == NULL || !next_word(&text, out->tenant, sizeof(out->tenant)) ||
        !next_word(&text, out->oid, sizeof(out->oid)) ||
        !next_word(&text, out->app, sizeof(out->app)))
        return false;
    if (strcmp(out->app, "-") == 0)
        out->app[0] = '\0';
    for (size_t area = 0; area < KV_POLICY_AREAS; area++)
        if (!next_bits(&text, &out->given[area]))
            return false;
    return *text == '\0' && kv_uuid_is_valid(out->tenant) &&
           kv_uuid_is_valid(out->oid) &&
           (out->app[0] == '\0' || kv_uuid_is_valid(out->app));
}

int kv_access_policies_read(const json_t *doc, struct kv_access_policies **out)
{
    size_t n = json_array_size(doc);
    struct kv_access_policies *policies = policies_new(n + 1);
    *out = NULL;
    if (policies == NULL)
        return KV_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        struct kv_access_policy entry;
        if (!read_stored(json_string_value(json_array_get(doc, i)), &entry)) {
            kv_access_policies_free(policies);
            return KV_E_INTEGRITY;
        }
        add(policies, &entry);
    }
    finish(policies, out);
    return 0;
}

/* --- changes -------------------------------------------------------------------------
 */

/* Take permissions from an entry, which goes when it has none left or as a whole. */
static void take_away(struct kv_access_policies *policies,
                      struct kv_access_policy *same,
                      const struct kv_access_policy *entry, bool is_whole)
{
    uint32_t left = 0;
    for (size_t area = 0; area < KV_POLICY_AREAS; area++) {
        same->given[area] &= is_whole ? 0 : ~entry->given[area];
        left |= same->given[area];
    }
    if (left != 0)
        return;
    size_t behind = (size_t)(policies->items + policies->n - (same + 1));
    memmove(same, same + 1, behind * sizeof(*same));
    policies->n--;
}

static int change_one(struct kv_access_policies *policies, enum kv_policy_change how,
                      const struct kv_access_policy *entry, struct kv_err *err)
{
    struct kv_access_policy *same = find_same(policies, entry);
    bool is_removal = how == KV_POLICY_REMOVE || how == KV_POLICY_DROP;
    if (is_removal && same != NULL)
        take_away(policies, same, entry, how == KV_POLICY_DROP);
    if (is_removal)
        return 0;
    if (same == NULL && policies->n == KV_ACCESS_POLICIES_MAX)
        return too_many(err);
    if (same != NULL && how == KV_POLICY_REPLACE)
        *same = *entry;
    else
        add(policies, entry);
    return 0;
}

int kv_access_policies_change(const struct kv_access_policies *policies,
                              enum kv_policy_change how,
                              const struct kv_access_policies *change,
                              struct kv_access_policies **out, struct kv_err *err)
{
    struct kv_access_policies *result = policies_new(KV_ACCESS_POLICIES_MAX);
    const struct kv_access_policy *entry = NULL;
    int rc = 0;
    *out = NULL;
    if (result == NULL)
        return no_memory(err);
    if (policies != NULL && how != KV_POLICY_ALL) {
        memcpy(result->items, policies->items, policies->n * sizeof(*policies->items));
        result->n = policies->n;
    }
    for (size_t i = 0; (entry = kv_access_policies_at(change, i)) != NULL; i++)
        KV_TRY(change_one(result, how, entry, err));
    finish(result, out);
    return 0;
out:
    kv_access_policies_free(result);
    return rc;
}
