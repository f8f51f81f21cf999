/* The client's end of a window, against a keyring that does or does not keep to it. */
#include "provider/window.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/core/clock.h"
#include "tests/support/fake_keyring.h"

TestSuite(window, .timeout = 20);

static struct world {
    char dir[64];
    struct kv_conn_target target;
    struct fake_keyring *keyring;
    struct fake_counts *counts;
    struct kv_conn conn;
    uint8_t version[KV_ID_LEN]; /* of the key p256 */
} world;

static void teardown(void)
{
    kv_conn_close(&world.conn);
    fake_keyring_stop(world.keyring);
    (void)rmdir(world.dir);
}

static void setup_as(enum fake_mode mode)
{
    struct kv_msg_uri msg = {.uri = "keyvault:///keys/p256"};
    struct kv_msg_key key;
    struct kv_frame reply;
    (void)snprintf(world.dir, sizeof(world.dir), "/tmp/kv-window.XXXXXX");
    cr_assert_not_null(mkdtemp(world.dir));
    world.target = (struct kv_conn_target){.server_uid = KV_CONN_ANY_SAFE_UID,
                                           .connect_timeout_ms = 3000,
                                           .deadline_ms = INT64_MAX,
                                           .reply_timeout_ms = 3000};
    (void)snprintf(world.target.address, sizeof(world.target.address), "%s/keys.sock",
                   world.dir);
    world.keyring = fake_keyring_start(world.target.address, NULL, mode);
    cr_assert_not_null(world.keyring);
    world.counts = fake_keyring_counts(world.keyring);
    kv_conn_init(&world.conn);
    cr_assert_eq(kv_conn_open(&world.conn, &world.target, NULL), 0);
    size_t begin = kv_conn_begin(&world.conn, KV_VERB_OPEN);
    kv_msg_uri_put(&world.conn.out, &msg);
    kv_frame_end(&world.conn.out, begin);
    cr_assert_eq(kv_conn_exchange(&world.conn, &world.target, &reply, NULL), 0);
    cr_assert_eq(kv_msg_key_get(reply.payload, &key), 0);
    memcpy(world.version, key.version, KV_ID_LEN);
}

static void setup(void)
{
    setup_as(FAKE_GOOD);
}

/* One signature; the result of the exchange, or the status of the reply. */
static int sign(struct kv_err *err)
{
    static const uint8_t digest[32] = {7};
    struct kv_frame reply;
    struct kv_msg_sign msg = {.sig = KV_SIG_ECDSA,
                              .md = KV_MD_SHA256,
                              .input = {.data = digest, .len = sizeof(digest)}};
    memcpy(msg.version, world.version, KV_ID_LEN);
    size_t begin = kv_conn_begin(&world.conn, KV_VERB_SIGN);
    kv_msg_sign_put(&world.conn.out, &msg);
    kv_frame_end(&world.conn.out, begin);
    int rc = kv_conn_exchange(&world.conn, &world.target, &reply, err);
    if (rc != 0 || reply.status != 0)
        return rc != 0 ? rc : reply.status;
    cr_assert_gt(reply.payload.len, 60);
    return 0;
}

static void sign_many(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(sign(NULL), 0, "signature %u", i);
}

static unsigned n_descriptors(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n;
}

Test(window, opens_where_many_signatures_are_wanted, .init = setup, .fini = teardown)
{
    sign_many(10);
    cr_expect_null(world.conn.window, "a few are not worth it");
    sign_many(100);
    cr_expect_not_null(world.conn.window);
    cr_expect_eq(world.counts->windows, 1);
    cr_expect_eq(world.counts->signs, 110);
    cr_expect_eq(world.conn.window->answered, world.conn.window->asked);
    cr_expect_geq(world.conn.window->asked, 90, "signatures went that way");
}

Test(window, other_verbs_stay_on_the_socket, .init = setup, .fini = teardown)
{
    struct kv_msg_uri msg = {.uri = "keyvault:///keys/p256"};
    struct kv_frame reply;
    sign_many(100);
    const uint32_t asked = world.conn.window->asked;
    size_t begin = kv_conn_begin(&world.conn, KV_VERB_INFO);
    kv_msg_uri_put(&world.conn.out, &msg);
    kv_frame_end(&world.conn.out, begin);
    cr_expect_eq(kv_conn_exchange(&world.conn, &world.target, &reply, NULL), 0);
    cr_expect_eq(reply.verb, KV_VERB_INFO);
    cr_expect_eq(world.conn.window->asked, asked);
    sign_many(10);
    cr_expect_eq(world.conn.window->asked, asked + 10);
}

Test(window, a_refusal_comes_through, .init = setup, .fini = teardown)
{
    sign_many(100);
    world.version[0] ^= 1;
    cr_expect_eq(sign(NULL), KV_E_NOT_FOUND);
    world.version[0] ^= 1;
    sign_many(10);
}

Test(window, without_one_the_socket_serves)
{
    static const enum fake_mode modes[] = {FAKE_NO_WINDOW, FAKE_WINDOW_BARE,
                                           FAKE_WINDOW_HALF, FAKE_WINDOW_SMALL,
                                           FAKE_WINDOW_UNSEALED};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        setup_as(modes[i]);
        sign_many(20);
        const unsigned n = n_descriptors();
        sign_many(30);
        cr_expect_null(world.conn.window, "mode %d", (int)modes[i]);
        cr_expect_eq(n_descriptors(), n);
        cr_expect_leq(world.counts->windows, 1, "asked for once");
        teardown();
    }
}

Test(window, a_reply_that_is_none_ends_the_connection)
{
    static const enum fake_mode modes[] = {FAKE_WINDOW_LONG, FAKE_WINDOW_GARBAGE};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        setup();
        sign_many(20);
        fake_keyring_set_mode(world.keyring, modes[i]);
        cr_expect_eq(sign(&err), KV_E_INVALID);
        cr_expect_str_eq(err.id, "client.bad-reply");
        teardown();
    }
}

Test(window, waits_no_longer_than_the_limit, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    sign_many(20);
    fake_keyring_set_mode(world.keyring, FAKE_WINDOW_SILENT);
    world.target.reply_timeout_ms = 200;
    cr_expect_eq(sign(&err), KV_E_TIMEOUT);
    cr_expect_str_eq(err.id, "client.timeout");
}

Test(window, a_keyring_that_ends_is_noticed, .init = setup, .fini = teardown)
{
    struct kv_err err = KV_ERR_INIT;
    sign_many(20);
    fake_keyring_set_mode(world.keyring, FAKE_CLOSE);
    cr_expect_eq(sign(&err), KV_E_UNAVAILABLE);
    cr_expect_str_eq(err.id, "client.lost");
}

Test(window, closing_gives_everything_back, .init = setup, .fini = teardown)
{
    for (int i = 0; i < 50; i++) {
        const unsigned n = n_descriptors();
        kv_conn_close(&world.conn);
        cr_assert_eq(kv_conn_open(&world.conn, &world.target, NULL), 0);
        sign_many(20);
        cr_assert_not_null(world.conn.window);
        if (i > 0)
            cr_assert_leq(n_descriptors(), n + 4, "the fake's ends may linger");
    }
    cr_expect_leq(n_descriptors(), 40);
}

Test(window, a_bell_that_the_host_closed_is_not_touched, .init = setup,
     .fini = teardown)
{
    char path[96];
    struct stat st;
    sign_many(20);
    const int bell = world.conn.bell;
    (void)snprintf(path, sizeof(path), "%s/file", world.dir);
    const int other = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const int file = dup2(other, bell);
    cr_assert_eq(file, bell, "the number is used again");
    (void)close(other);
    cr_expect_eq(sign(NULL), KV_E_UNAVAILABLE);
    kv_conn_close(&world.conn);
    cr_assert_eq(fstat(file, &st), 0, "still open");
    cr_expect_eq(st.st_size, 0, "nothing was written");
    (void)close(file);
    (void)unlink(path);
}
