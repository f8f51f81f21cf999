/*
 * Who a uid is, asked on the pool and kept for a minute.
 */
#include <criterion/criterion.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/auth/principal.h"

TestSuite(principal, .timeout = 60);

#define NOBODY ((uid_t)3999999999U) /* a uid without a name */

Test(principal, a_user_has_its_name_and_groups)
{
    static struct kv_principal root;
    kv_principal_lookup(0, &root);
    cr_assert_eq(root.kind, KV_PRINCIPAL_UNIX);
    cr_assert_str_eq(root.id, "unix:root");
    cr_assert_geq(root.n_groups, 1);
    cr_assert_str_eq(root.groups[0], "unixgroup:root");
}

Test(principal, a_uid_without_a_name_is_written_as_its_number)
{
    static struct kv_principal nobody;
    char text[KV_PRINCIPAL_MAX];
    kv_principal_lookup(NOBODY, &nobody);
    cr_assert_eq(nobody.kind, KV_PRINCIPAL_UNIX);
    cr_assert_str_eq(nobody.id, "unix:#3999999999");
    cr_assert_eq(nobody.n_groups, 0);
    cr_assert_eq(kv_principal_parse(nobody.id, text, NULL), 0, "roles can be granted");
}

Test(principal, every_principal_can_be_granted_a_role)
{
    static struct kv_principal principal;
    struct passwd *entry = NULL;
    setpwent();
    for (int i = 0; i < 50 && (entry = getpwent()) != NULL; i++) {
        char text[KV_PRINCIPAL_MAX];
        kv_principal_lookup(entry->pw_uid, &principal);
        cr_assert_eq(kv_principal_parse(principal.id, text, NULL), 0, "%s",
                     principal.id);
        for (size_t g = 0; g < principal.n_groups; g++)
            cr_assert_eq(kv_principal_parse(principal.groups[g], text, NULL), 0);
    }
    endpwent();
}

struct seen {
    unsigned n;
    int rc;
    char id[KV_PRINCIPAL_MAX];
};

static void on_principal(void *arg, int rc, const struct kv_principal *principal)
{
    struct seen *seen = arg;
    seen->n++;
    seen->rc = rc;
    (void)snprintf(seen->id, sizeof(seen->id), "%s", principal->id);
}

Test(principal, answers_come_later_and_are_kept_for_a_minute)
{
    uv_loop_t loop;
    struct kv_clock_manual clock;
    struct kv_principals *principals = NULL;
    struct seen seen = {.n = 0};
    cr_assert_eq(uv_loop_init(&loop), 0);
    kv_clock_manual_init(&clock, 1000);
    cr_assert_eq(kv_principals_new(&principals, &loop, &clock.clock), 0);
    cr_assert_null(kv_principals_find(principals, 0));
    for (int i = 0; i < 3; i++)
        cr_assert_eq(kv_principals_resolve(principals, 0, on_principal, &seen), 0);
    cr_assert_eq(seen.n, 0, "never before the call returns");
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(seen.n, 3, "once for each call");
    cr_assert_eq(seen.rc, 0);
    cr_assert_str_eq(seen.id, "unix:root");
    const struct kv_principal *known = kv_principals_find(principals, 0);
    cr_assert_not_null(known);
    cr_assert_str_eq(known->id, "unix:root");
    cr_assert_null(kv_principals_find(principals, 1));
    kv_clock_manual_advance(&clock, 59);
    cr_assert_not_null(kv_principals_find(principals, 0));
    kv_clock_manual_advance(&clock, 2);
    cr_assert_null(kv_principals_find(principals, 0), "asked again after a minute");
    kv_principals_free(principals);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

Test(principal, the_oldest_answer_gives_way)
{
    uv_loop_t loop;
    struct kv_clock_manual clock;
    struct kv_principals *principals = NULL;
    struct seen seen = {.n = 0};
    cr_assert_eq(uv_loop_init(&loop), 0);
    kv_clock_manual_init(&clock, 1000);
    cr_assert_eq(kv_principals_new(&principals, &loop, &clock.clock), 0);
    for (uid_t i = 0; i < 65; i++) {
        cr_assert_eq(kv_principals_resolve(principals, NOBODY + i, on_principal, &seen),
                     0);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        if (i == 0)
            kv_clock_manual_advance(&clock, 1);
    }
    cr_assert_eq(seen.n, 65);
    cr_assert_null(kv_principals_find(principals, NOBODY));
    cr_assert_not_null(kv_principals_find(principals, NOBODY + 1));
    cr_assert_not_null(kv_principals_find(principals, NOBODY + 64));
    kv_principals_free(principals);
    cr_assert_eq(uv_loop_close(&loop), 0);
}
