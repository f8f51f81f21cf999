/*
 * The roles, and the names of what they give.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "lifecycle/auth/roles.h"

TestSuite(roles, .timeout = 20);

static const struct {
    const char *name;
    kv_actions may;
    kv_actions may_not;
} roles[] = {
    {"administrator", KV_ACT_ALL, 0},
    {"certificates-officer", KV_ACT_CERT_CREATE | KV_ACT_CERT_DELETE,
     KV_ACT_SECRET_GET | KV_ACT_KEY_SIGN},
    {"certificate-user", KV_ACT_CERT_READ | KV_ACT_SECRET_GET,
     KV_ACT_CERT_CREATE | KV_ACT_KEY_SIGN | KV_ACT_SECRET_SET},
    {"crypto-officer", KV_ACT_KEY_CREATE | KV_ACT_KEY_SIGN | KV_ACT_KEY_DELETE,
     KV_ACT_SECRET_LIST | KV_ACT_CERT_READ},
    {"crypto-user", KV_ACT_KEY_SIGN | KV_ACT_KEY_DECRYPT | KV_ACT_KEY_UPDATE,
     KV_ACT_KEY_CREATE | KV_ACT_KEY_DELETE | KV_ACT_KEY_IMPORT | KV_ACT_KEY_TLS_UNPAD},
    {"crypto-service-encryption-user", KV_ACT_KEY_WRAP | KV_ACT_KEY_UNWRAP,
     KV_ACT_KEY_SIGN | KV_ACT_KEY_DECRYPT},
    {"secrets-officer", KV_ACT_SECRET_GET | KV_ACT_SECRET_DELETE,
     KV_ACT_KEY_READ | KV_ACT_CERT_READ},
    {"secrets-user", KV_ACT_SECRET_GET | KV_ACT_SECRET_LIST, KV_ACT_SECRET_SET},
    {"reader", KV_ACT_KEY_READ | KV_ACT_SECRET_LIST | KV_ACT_CERT_READ,
     KV_ACT_SECRET_GET | KV_ACT_KEY_SIGN},
    {"tls-server", KV_ACT_KEY_SIGN | KV_ACT_KEY_TLS_UNPAD | KV_ACT_CERT_READ,
     KV_ACT_KEY_DECRYPT | KV_ACT_SECRET_LIST | KV_ACT_KEY_UNWRAP},
    {"crypto-service-release-user", KV_ACT_KEY_RELEASE, ~KV_ACT_KEY_RELEASE},
    {"contributor", 0, KV_ACT_ALL},
    {"purge-operator", 0, KV_ACT_ALL},
    {"data-access-administrator", 0, KV_ACT_ALL},
};

Test(roles, roles_may_what_their_name_says_and_no_more)
{
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        const char *name = roles[i].name;
        const struct kv_role *role = kv_role_find(name);
        cr_assert_not_null(role, "%s", name);
        cr_assert_str_eq(role->name, name);
        kv_actions actions = kv_role_actions(role);
        cr_assert_eq(actions & roles[i].may, roles[i].may, "%s", name);
        cr_assert_eq(actions & roles[i].may_not, 0, "%s", name);
    }
}

Test(roles, management_is_for_those_whose_name_says_so)
{
    size_t n = 0;
    for (; kv_role_at(n) != NULL; n++) {
        const struct kv_role *role = kv_role_at(n);
        bool is_administrator = strcmp(role->name, "administrator") == 0;
        bool deals = (role->manages & KV_MANAGE_ACCESS_WRITE) != 0;
        cr_assert_eq(role->manages == KV_MANAGE_ALL, is_administrator, "%s",
                     role->name);
        cr_assert_eq(deals,
                     is_administrator ||
                         strcmp(role->name, "data-access-administrator") == 0,
                     "%s", role->name);
    }
    cr_assert_eq(n, sizeof(roles) / sizeof(roles[0]), "no role without a test");
    cr_assert_eq(kv_role_find("contributor")->manages & KV_MANAGE_VAULT_PURGE, 0);
    cr_assert_eq(kv_role_find("purge-operator")->manages,
                 KV_MANAGE_VAULT_READ | KV_MANAGE_VAULT_PURGE);
}

Test(roles, are_found_by_either_name_and_by_id)
{
    const struct kv_role *role = kv_role_find("crypto-user");
    cr_assert_eq(kv_role_find("Key Vault Crypto User"), role);
    cr_assert_eq(kv_role_find("key vault crypto user"), role);
    cr_assert_eq(kv_role_find("CRYPTO-USER"), role);
    cr_assert_eq(kv_role_find("12338AF0-0e69-4776-bea7-57ae8d297424"), role);
    cr_assert_null(kv_role_find("Crypto User"));
    cr_assert_null(kv_role_find("crypto-user "));
    cr_assert_null(kv_role_find(""));
    for (size_t i = 0; kv_role_at(i) != NULL; i++) {
        cr_assert_eq(strlen(kv_role_at(i)->id), 36);
        cr_assert_eq(kv_role_find(kv_role_at(i)->id), kv_role_at(i), "ids are unique");
    }
}

Test(roles, each_action_has_one_row_of_names)
{
    kv_actions seen = 0;
    size_t n = 0;
    for (; kv_action_at(n) != NULL; n++) {
        const struct kv_action_name *name = kv_action_at(n);
        cr_assert_eq(seen & name->action, 0, "%s", name->data_action);
        seen |= name->action;
        cr_assert_eq(kv_action_name(name->action), name);
        cr_assert_neq(kv_actions_find(name->data_action) & name->action, 0);
    }
    cr_assert_eq(seen, KV_ACT_ALL);
    cr_assert_null(kv_action_name(0));
    cr_assert_eq(kv_action_name(KV_ACT_ALL)->action, KV_ACT_KEY_GET, "the lowest");
}

Test(roles, actions_are_found_by_the_names_of_both_models)
{
    cr_assert_eq(kv_actions_find("microsoft.keyvault/vaults/secrets/getSecret/action"),
                 KV_ACT_SECRET_GET);
    cr_assert_eq(kv_actions_find("keys/read"), KV_ACT_KEY_READ);
    cr_assert_eq(kv_actions_find("KEYS/wrapkey"), KV_ACT_KEY_WRAP);
    cr_assert_eq(kv_actions_find("secrets/get"), KV_ACT_SECRET_GET);
    cr_assert_eq(kv_actions_find("secrets/set"), KV_ACT_SECRET_SET);
    cr_assert_eq(kv_actions_find("keys/decrypt"), KV_ACT_KEY_DECRYPT);
    static const char *const none[] = {
        "", "keys", "keys/", "keys/all", "keysx/get", "key/get", "secrets/get/", "*"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        cr_assert_eq(kv_actions_find(none[i]), 0, "%s", none[i]);
    cr_assert_eq(kv_management_find("VAULTS/purge"), KV_MANAGE_VAULT_PURGE);
    cr_assert_eq(kv_management_find("vaults"), 0);
    for (kv_management bit = 1; bit < KV_MANAGE_ALL; bit <<= 1)
        cr_assert_eq(kv_management_find(kv_management_name(bit)), bit);
    cr_assert_str_eq(kv_management_name(0), "");
}

Test(roles, a_star_stands_for_any_text)
{
    cr_assert_eq(kv_actions_glob("*"), KV_ACT_ALL);
    cr_assert_eq(kv_actions_glob("**"), KV_ACT_ALL);
    cr_assert_eq(kv_actions_glob("keys/read"), KV_ACT_KEY_READ);
    cr_assert_eq(kv_actions_glob("*s/wrap*n"), KV_ACT_KEY_WRAP);
    cr_assert_eq(kv_actions_glob("key*/read"), KV_ACT_KEY_READ | KV_ACT_KEY_POLICY_GET);
    cr_assert_eq(kv_actions_glob("*d"), KV_ACT_KEY_READ | KV_ACT_KEY_POLICY_GET |
                                            KV_ACT_CERT_READ | KV_ACT_CERT_ISSUERS_GET |
                                            KV_ACT_CERT_ISSUERS_LIST);
    cr_assert_eq(kv_actions_glob("keys/read**"), KV_ACT_KEY_READ);
    cr_assert_eq(kv_actions_glob(""), 0);
    cr_assert_eq(kv_actions_glob("keys"), 0);
    cr_assert_eq(kv_actions_glob("keys/read/"), 0);
    cr_assert_eq(kv_actions_glob("keys/*/read"), 0);
}
