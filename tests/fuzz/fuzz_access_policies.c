/*
 * Access policies: what is accepted is written so that it reads back as itself and
 * decides the same; adding a list to itself changes nothing, taking it away leaves
 * none.
 */
#include <string.h>

#include "lifecycle/auth/policies.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static kv_actions allowed(const struct kv_access_policies *policies,
                          const struct kv_access_policy *entry)
{
    struct kv_principal principal = {.kind = KV_PRINCIPAL_USER};
    struct kv_access_decision decision;
    const struct kv_access_object object = {.vault = "v"};
    const struct kv_access_rules rules = {
        .tenant = entry->tenant, .uses_policies = true, .policies = policies};
    memcpy(principal.oid, entry->oid, sizeof(principal.oid));
    memcpy(principal.app, entry->app, sizeof(principal.app));
    kv_access_decide(&principal, &object, &rules, 0, &decision);
    return decision.allowed;
}

static void check(const struct kv_access_policies *policies)
{
    struct kv_access_policies *again = NULL;
    struct kv_access_policies *sum = NULL;
    struct kv_access_policies *rest = NULL;
    const struct kv_access_policy *entry = NULL;
    json_t *written = kv_access_policies_write(policies);
    KV_ASSERT(kv_access_policies_parse(written, &again, NULL) == 0);
    json_t *twice = kv_access_policies_write(again);
    KV_ASSERT(json_equal(written, twice) == 1);
    for (size_t i = 0; (entry = kv_access_policies_at(policies, i)) != NULL; i++) {
        KV_ASSERT((entry->actions & ~allowed(again, entry)) == 0);
        KV_ASSERT((allowed(again, entry) & ~KV_ACT_ALL) == 0);
    }
    KV_ASSERT(kv_access_policies_change(policies, KV_POLICY_ADD, again, &sum, NULL) ==
              0);
    json_t *added = kv_access_policies_write(sum);
    KV_ASSERT(json_equal(written, added) == 1);
    KV_ASSERT(kv_access_policies_change(sum, KV_POLICY_REMOVE, policies, &rest, NULL) ==
              0);
    KV_ASSERT(rest == NULL);
    json_decref(added);
    json_decref(twice);
    json_decref(written);
    kv_access_policies_free(sum);
    kv_access_policies_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_access_policies *policies = NULL;
    struct kv_err err = KV_ERR_INIT;
    json_t *given =
        json_loadb((const char *)data, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (given == NULL)
        return 0;
    int rc = kv_access_policies_parse(given, &policies, &err);
    json_decref(given);
    if (rc == 0) {
        check(policies);
        kv_access_policies_free(policies);
    } else {
        KV_ASSERT(policies == NULL && err.code == rc);
        KV_ASSERT(strncmp(err.id, "access.", 7) == 0);
    }
    return 0;
}
