/*
 * The decision function on a pipe: rules and questions in, one line for each question
 * out. What is decided for a request is found through the routes, as for a real one.
 *
 *   rules<TAB>JSON
 *       {"tenant","usesPolicies","accessPolicies":[..],"assignments":[[who,role,scope]]}
 *   ask<TAB>KIND<TAB>ID<TAB>TENANT<TAB>OID<TAB>APP<TAB>GROUPS<TAB>VAULT<TAB>METHOD<TAB>PATH
 *   manage<TAB>..the same six..<TAB>VAULT<TAB>COLLECTION<TAB>NAME<TAB>ACTION
 *
 * GROUPS are parted by commas. An answer is "allow admin|assignment|policy" or "deny
 * principal|scope|action"; "no route" where nothing is served.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/auth/policies.h"
#include "lifecycle/service/assignments.h"
#include "store/core/str.h"

#define LINE_MAX_BYTES (4U << 20)
#define FIELDS_MAX 12

static char tenant[37];
static bool uses_policies;
static struct kv_access_policies *policies;
static struct kv_assignments *assignments;

static void die(const char *what)
{
    (void)fprintf(stderr, "decider: %s\n", what);
    exit(2);
}

static void copy(char *out, size_t out_size, const char *text)
{
    if (text == NULL || kv_str_copy(out, out_size, text) != 0)
        die("a field is absent or too long");
}

static void read_assignments(const json_t *list)
{
    size_t i = 0;
    json_t *item = NULL;
    kv_assignments_free(assignments);
    if (kv_assignments_new(&assignments) != 0)
        die("no memory");
    json_array_foreach((json_t *)list, i, item)
    {
        struct kv_assignment one = {.id = ""};
        (void)snprintf(one.id, sizeof(one.id), "%zu", i);
        copy(one.principal, sizeof(one.principal),
             json_string_value(json_array_get(item, 0)));
        copy(one.role, sizeof(one.role), json_string_value(json_array_get(item, 1)));
        copy(one.scope, sizeof(one.scope), json_string_value(json_array_get(item, 2)));
        if (kv_assignments_add(assignments, &one, NULL) != 0)
            die("no memory");
    }
}

static void read_rules(const char *text)
{
    struct kv_err err = KV_ERR_INIT;
    json_t *json = json_loads(text, 0, NULL);
    if (json == NULL)
        die("the rules are no JSON");
    copy(tenant, sizeof(tenant), json_string_value(json_object_get(json, "tenant")));
    uses_policies = json_is_true(json_object_get(json, "usesPolicies"));
    kv_access_policies_free(policies);
    if (kv_access_policies_parse(json_object_get(json, "accessPolicies"), &policies,
                                 &err) != 0)
        die(err.message);
    read_assignments(json_object_get(json, "assignments"));
    json_decref(json);
}

static struct kv_access_rules rules(void)
{
    struct kv_access_rules out = {
        .tenant = tenant, .uses_policies = uses_policies, .policies = policies};
    out.assignments = kv_assignments_all(assignments, &out.n_assignments);
    return out;
}

static enum kv_principal_kind kind_of(const char *text)
{
    static const char *const kinds[] = {"none", "unix", "admin", "app", "user", "mtls"};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(text, kinds[i]) == 0)
            return (enum kv_principal_kind)i;
    die("no such kind of principal");
    return KV_PRINCIPAL_NONE;
}

static void read_principal(char **field, struct kv_principal *out)
{
    memset(out, 0, sizeof(*out));
    out->kind = kind_of(field[1]);
    copy(out->id, sizeof(out->id), field[2]);
    copy(out->tenant, sizeof(out->tenant), field[3]);
    copy(out->oid, sizeof(out->oid), field[4]);
    copy(out->app, sizeof(out->app), field[5]);
    char *groups = field[6];
    for (char *group = strsep(&groups, ","); group != NULL && group[0] != '\0';
         group = strsep(&groups, ","))
        copy(out->groups[out->n_groups++], KV_PRINCIPAL_MAX, group);
}

static void answer(const struct kv_access_decision *decision)
{
    static const char *const texts[] = {
        [KV_ACCESS_ADMIN] = "allow admin",
        [KV_ACCESS_ASSIGNMENT] = "allow assignment",
        [KV_ACCESS_POLICY] = "allow policy",
        [KV_ACCESS_NO_PRINCIPAL] = "deny principal",
        [KV_ACCESS_NO_SCOPE] = "deny scope",
        [KV_ACCESS_NO_ACTION] = "deny action",
    };
    bool is_allow = decision->reason <= KV_ACCESS_POLICY;
    if (is_allow != decision->is_allowed)
        die("a decision contradicts its reason");
    (void)puts(texts[decision->reason]);
}

static void ask(char **field)
{
    struct kv_principal principal;
    struct kv_route_match match;
    struct kv_access_decision decision;
    const struct kv_access_rules all = rules();
    read_principal(field, &principal);
    kv_route_find(field[8], field[9], &match);
    if (match.route == NULL || match.route->action == 0) {
        (void)puts("no route");
        return;
    }
    const struct kv_access_object object = {
        .vault = field[7],
        .collection = kv_route_collection(match.route),
        .name = kv_route_names_object(match.route) ? match.name : NULL,
    };
    kv_access_decide(&principal, &object, &all, match.route->action, &decision);
    answer(&decision);
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void manage(char **field)
{
    struct kv_principal principal;
    struct kv_access_decision decision;
    const struct kv_access_rules all = rules();
    const struct kv_access_object object = {.vault = or_null(field[7]),
                                            .collection = or_null(field[8]),
                                            .name = or_null(field[9])};
    kv_management wanted = kv_management_find(field[10]);
    read_principal(field, &principal);
    if (wanted == 0)
        die("no such management action");
    kv_access_decide_management(&principal, &object, &all, wanted, &decision);
    answer(&decision);
}

int main(void)
{
    char *line = malloc(LINE_MAX_BYTES);
    if (line == NULL || kv_assignments_new(&assignments) != 0)
        die("no memory");
    while (fgets(line, LINE_MAX_BYTES, stdin) != NULL) {
        char *field[FIELDS_MAX] = {NULL};
        size_t n = 0;
        line[strcspn(line, "\n")] = '\0';
        for (char *rest = line; rest != NULL && n < FIELDS_MAX;)
            field[n++] = strsep(&rest, "\t");
        if (n == 2 && strcmp(field[0], "rules") == 0)
            read_rules(field[1]);
        else if (n == 10 && strcmp(field[0], "ask") == 0)
            ask(field);
        else if (n == 11 && strcmp(field[0], "manage") == 0)
            manage(field);
        else
            die("a line is neither rules nor a question");
    }
    kv_access_policies_free(policies);
    kv_assignments_free(assignments);
    free(line);
    return 0;
}
