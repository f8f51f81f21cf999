/*
 * Assertions count once; who came with one first may come again.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "lifecycle/auth/replay.h"

static struct kv_replay *replay;

static void setup(void)
{
    cr_assert_eq(kv_replay_new(&replay), 0);
}

static void teardown(void)
{
    kv_replay_free(replay);
}

TestSuite(replay, .timeout = 60, .init = setup, .fini = teardown);

static int use(const char *client, const char *jti, const char *source, int64_t exp_s,
               int64_t now_s, const char **id)
{
    static struct kv_err err;
    err = KV_ERR_INIT;
    int rc = kv_replay_use(replay, client, jti, source, exp_s, now_s, &err);
    *id = err.id;
    return rc;
}

Test(replay, another_source_may_not_use_what_was_used)
{
    const char *id = NULL;
    cr_assert_eq(use("c", "j", "192.0.2.1", 1600, 1000, &id), 0);
    cr_assert_eq(use("c", "j", "192.0.2.1", 1600, 1000, &id), 0, "its first source");
    cr_assert_eq(use("c", "j", "192.0.2.2", 1600, 1000, &id), KV_E_DENIED);
    cr_assert_str_eq(id, "jwt.replayed");
    cr_assert_eq(use("c", "k", "192.0.2.2", 1600, 1000, &id), 0, "another one");
    cr_assert_eq(use("d", "j", "192.0.2.2", 1600, 1000, &id), 0, "of another client");
}

Test(replay, uses_by_one_source_have_an_end)
{
    const char *id = NULL;
    for (int i = 0; i < KV_REPLAY_USES_MAX; i++)
        cr_assert_eq(use("c", "j", "192.0.2.1", 1600, 1000, &id), 0);
    cr_assert_eq(use("c", "j", "192.0.2.1", 1600, 1000, &id), KV_E_DENIED);
}

Test(replay, it_is_remembered_as_long_as_it_could_be_used)
{
    const char *id = NULL;
    cr_assert_eq(use("c", "j", "192.0.2.1", 1600, 1000, &id), 0);
    cr_assert_eq(use("c", "j", "192.0.2.2", 1600, 1660, &id), KV_E_DENIED);
    cr_assert_eq(use("c", "j", "192.0.2.2", 1600, 1661, &id), 0,
                 "by now its own end refuses it");
}

Test(replay, none_is_forgotten_to_make_room)
{
    const char *id = NULL;
    char client[16];
    char jti[16];
    for (int i = 0; i < KV_REPLAY_PLACES; i++) {
        (void)snprintf(client, sizeof(client), "c%d", i / KV_REPLAY_SHARE);
        (void)snprintf(jti, sizeof(jti), "%d", i);
        cr_assert_eq(use(client, jti, "192.0.2.1", 1600, 1000, &id), 0);
    }
    cr_assert_eq(use("c", "x", "192.0.2.1", 1600, 1000, &id), KV_E_BUSY);
    cr_assert_str_eq(id, "jwt.many-assertions");
    cr_assert_eq(use("c0", "0", "192.0.2.2", 1600, 1000, &id), KV_E_DENIED);
    cr_assert_eq(use("c", "x", "192.0.2.1", 2600, 2000, &id), 0, "time makes room");
}

Test(replay, one_client_has_its_share_and_no_more)
{
    const char *id = NULL;
    char jti[16];
    for (int i = 0; i < KV_REPLAY_SHARE; i++) {
        (void)snprintf(jti, sizeof(jti), "%d", i);
        cr_assert_eq(use("c", jti, "192.0.2.1", 1600, 1000, &id), 0);
    }
    cr_assert_eq(use("c", "x", "192.0.2.1", 1600, 1000, &id), KV_E_BUSY);
    cr_assert_eq(use("c", "0", "192.0.2.1", 1600, 1000, &id), 0, "one that it has");
    cr_assert_eq(use("d", "x", "192.0.2.1", 1600, 1000, &id), 0, "another's");
    cr_assert_eq(use("c", "x", "192.0.2.1", 2600, 2000, &id), 0, "time makes room");
}
