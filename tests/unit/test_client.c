#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <glob.h>
#include <openssl/async.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/core/clock.h"
#include "tests/support/provider_fixture.h"

static struct provider_fixture fixture;

static void setup(void)
{
    provider_fixture_open(&fixture, NULL);
}

static void teardown(void)
{
    provider_fixture_close(&fixture);
}

TestSuite(client, .timeout = 20, .init = setup, .fini = teardown);

static EVP_PKEY *load(const char *name)
{
    char uri[128];
    (void)snprintf(uri, sizeof(uri), "keyvault:///keys/%s", name);
    EVP_PKEY *key = provider_fixture_key(&fixture, uri);
    cr_assert_not_null(key, "%s", uri);
    return key;
}

/* Where one connection serves one thread. */
static void stay_on_one_cpu(void)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((unsigned)sched_getcpu(), &one);
    cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
}

/* --- talking to the daemon --- */

Test(client, one_grant_serves_many_signatures)
{
    EVP_PKEY *key = load("p256");
    for (int i = 0; i < 20; i++) {
        unsigned char sig[128];
        size_t len = sizeof(sig);
        cr_assert_eq(provider_fixture_sign(key, sig, &len), 1);
    }
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->opens, 1);
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->infos, 1);
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->signs, 20);
    EVP_PKEY_free(key);
}

Test(client, a_broken_connection_is_replaced_once)
{
    unsigned char sig[128];
    size_t len = sizeof(sig);
    EVP_PKEY *key = load("p256");
    cr_assert_eq(provider_fixture_sign(key, sig, &len), 1);
    fake_keyring_set_mode(fixture.keyring, FAKE_CLOSE_ONCE);
    len = sizeof(sig);
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 1);
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->opens, 2,
                 "the key is compared again after a reconnect");
    EVP_PKEY_free(key);
}

enum { N_SIGNERS = 4 };

static void *sign_once(void *arg)
{
    unsigned char sig[128];
    size_t len = sizeof(sig);
    return provider_fixture_sign(arg, sig, &len) == 1 ? arg : NULL;
}

/* How many of the signatures that threads of one processor want at once are made. */
static unsigned sign_at_once(EVP_PKEY *key)
{
    unsigned n_signed = 0;
    pthread_t threads[N_SIGNERS];
    for (unsigned i = 0; i < N_SIGNERS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, sign_once, key), 0);
    for (unsigned i = 0; i < N_SIGNERS; i++) {
        void *result = NULL;
        cr_assert_eq(pthread_join(threads[i], &result), 0);
        n_signed += result != NULL;
    }
    return n_signed;
}

/* The daemon starts again in the same place, with the keys of its state. */
static void restart(const char *state_dir)
{
    fake_keyring_stop(fixture.keyring);
    fixture.keyring = fake_keyring_start(fixture.socket, state_dir, FAKE_SLOW);
    cr_assert_not_null(fixture.keyring);
}

static void forget(const char *state_dir)
{
    glob_t files;
    char pattern[64];
    (void)snprintf(pattern, sizeof(pattern), "%s/*", state_dir);
    cr_assert_eq(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++)
        (void)unlink(files.gl_pathv[i]);
    globfree(&files);
    (void)rmdir(state_dir);
}

Test(client, a_restart_under_several_connections_fails_no_signature)
{
    char state_dir[] = "/tmp/kv-client.XXXXXX";
    cr_assert_not_null(mkdtemp(state_dir));
    restart(state_dir);
    stay_on_one_cpu();
    EVP_PKEY *key = load("p256");
    cr_expect_eq(sign_at_once(key), N_SIGNERS);
    cr_assert_gt(fake_keyring_counts(fixture.keyring)->connections, 1);
    for (int i = 0; i < 3; i++) {
        restart(state_dir);
        cr_expect_not_null(sign_once(key), "every connection is a former one");
        cr_expect_eq(sign_at_once(key), N_SIGNERS);
        restart(state_dir);
        cr_expect_eq(sign_at_once(key), N_SIGNERS);
    }
    EVP_PKEY_free(key);
    forget(state_dir);
}

/* stunnel reads its keys as root and then becomes somebody else in the same process. */
Test(client, a_connection_of_a_former_user_is_not_used)
{
    unsigned char sig[128];
    size_t len = sizeof(sig);
    if (geteuid() != 0)
        cr_skip_test("needs root");
    stay_on_one_cpu();
    cr_assert_eq(chmod(fixture.dir, 0755), 0);
    cr_assert_eq(chmod(fixture.socket, 0666), 0);
    EVP_PKEY *key = load("p256");
    cr_assert_eq(provider_fixture_sign(key, sig, &len), 1);
    const unsigned before = fake_keyring_counts(fixture.keyring)->connections;
    cr_assert_eq(seteuid(65534), 0);
    for (int i = 0; i < 3; i++) {
        len = sizeof(sig);
        cr_expect_eq(provider_fixture_sign(key, sig, &len), 1);
    }
    cr_assert_eq(seteuid(0), 0);
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->connections, before + 1,
                 "the new user introduces itself, once");
    EVP_PKEY_free(key);
}

Test(client, a_grant_outlives_the_service_that_gave_it)
{
    unsigned char sig[128];
    size_t len = sizeof(sig);
    EVP_PKEY *key = load("p256");
    fake_keyring_set_mode(fixture.keyring, FAKE_NO_SERVICE);
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 1,
                 "the daemon decides by the version");
    cr_expect_eq(provider_fixture_verify(key, sig, len), 1);
    cr_expect_eq(ERR_peek_error(), 0);
    cr_expect_null(provider_fixture_key(&fixture, "keyvault:///keys/p256"),
                   "but loading needs it");
    const unsigned n_requests = fake_keyring_counts(fixture.keyring)->requests;
    for (int i = 0; i < 5; i++) {
        len = sizeof(sig);
        cr_expect_eq(provider_fixture_sign(key, sig, &len), 1);
    }
    cr_expect_lt(fake_keyring_counts(fixture.keyring)->requests, n_requests + 10,
                 "what has to wait is not asked for each time");
    fake_keyring_set_mode(fixture.keyring, FAKE_GOOD);
    for (int i = 0; i < 100 && fake_keyring_counts(fixture.keyring)->opens == 0; i++) {
        (void)usleep(20000);
        len = sizeof(sig);
        cr_expect_eq(provider_fixture_sign(key, sig, &len), 1);
    }
    cr_expect_eq(fake_keyring_counts(fixture.keyring)->opens, 1,
                 "the comparison is made up for");
    EVP_PKEY_free(key);
}

static const struct misbehaviour {
    enum fake_mode mode;
    const char *reason;
} misbehaviours[] = {
    {FAKE_HANG, "did not answer in time"},
    {FAKE_CLOSE, "closed the connection"},
    {FAKE_TRUNCATE, "closed the connection"},
    {FAKE_OVERSIZE, "malformed reply"},
    {FAKE_WRONG_ID, "malformed reply"},
    {FAKE_DRIP, "did not answer in time"},
    {FAKE_SEALED, "vault is sealed"},
    {FAKE_DENIED, "no grant to use the key"},
    {FAKE_SWAPPED, "not the one that was loaded"},
    {FAKE_SHORT_LENGTH, "malformed reply"},
    {FAKE_WRONG_VERB, "malformed reply"},
    {FAKE_NO_FLAG, "malformed reply"},
    {FAKE_POSITIVE_STATUS, "malformed reply"},
    {FAKE_TRAILING, "malformed reply"},
    {FAKE_ENDLESS, "malformed reply"},
    {FAKE_HUGE, "malformed reply"},
    {FAKE_UNKNOWN_STATUS, "operation failed"},
    {FAKE_BAD_REFUSAL, "no grant to use the key"},
    {FAKE_LOUD_REFUSAL, "no grant to use the key"},
    {FAKE_GARBAGE, "malformed reply"},
    {FAKE_NO_SIG, "malformed reply"},
    {FAKE_LONG_SIG, "malformed reply"},
    {FAKE_SHORT_SIG, "malformed reply"},
    {FAKE_BAD_KEY, "not the one that was loaded"},
};
#define N_MISBEHAVIOURS (sizeof(misbehaviours) / sizeof(misbehaviours[0]))

ParameterizedTestParameters(client, misbehaviour_is_an_error)
{
    static size_t rows[N_MISBEHAVIOURS];
    for (size_t i = 0; i < N_MISBEHAVIOURS; i++)
        rows[i] = i;
    return cr_make_param_array(size_t, rows, N_MISBEHAVIOURS);
}

static unsigned count_fds(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* The queue holds one entry, of this reason, which is fit for a log. */
static void expect_error(const struct misbehaviour *m)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags);
    const char *text = ERR_reason_error_string(code);
    cr_assert_not_null(text, "%s", m->reason);
    cr_expect_not_null(strstr(text, m->reason), "%s, not %s", m->reason, text);
    for (; *data != '\0'; data++)
        cr_assert(*data >= ' ' && *data != 0x7f, "%s", m->reason);
    cr_expect_eq(ERR_peek_error(), 0, "%s: and nothing else", m->reason);
    ERR_clear_error();
}

ParameterizedTest(size_t *row, client, misbehaviour_is_an_error, .timeout = 20)
{
    const struct misbehaviour *m = &misbehaviours[*row];
    unsigned char sig[128];
    size_t len = sizeof(sig);
    stay_on_one_cpu();
    EVP_PKEY *key = load("p256");
    fake_keyring_set_mode(fixture.keyring, m->mode);
    const unsigned n_fds = count_fds();
    const int64_t start_ms = kv_monotonic_ms(kv_clock_system());
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 0, "%s", m->reason);
    cr_expect_lt(kv_monotonic_ms(kv_clock_system()) - start_ms, 2500, "%s", m->reason);
    expect_error(m);
    for (int i = 0; i < 200 && count_fds() > n_fds; i++)
        (void)usleep(10000); /* the fake keyring closes its end */
    cr_expect_leq(count_fds(), n_fds, "%s", m->reason);
    fake_keyring_set_mode(fixture.keyring, FAKE_GOOD);
    len = sizeof(sig);
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 1, "after %s all is well again",
                 m->reason);
    EVP_PKEY_free(key);
}

/* It costs as much as the whole handshake to check it, and the peer does that anyway.
 */
Test(client, a_wrong_signature_is_the_verifiers_to_find)
{
    unsigned char sig[128];
    size_t len = sizeof(sig);
    EVP_PKEY *key = load("p256");
    fake_keyring_set_mode(fixture.keyring, FAKE_OTHER_SIG);
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 1);
    cr_expect_eq(provider_fixture_verify(key, sig, len), 0);
    ERR_clear_error();
    EVP_PKEY_free(key);
}

static const char *const fixed_keys[] = {"rsa", "ed25519"};

/* What has one length has that length. */
Test(client, signatures_of_another_length_are_refused)
{
    static const struct misbehaviour m = {FAKE_SHORT_SIG, "malformed reply"};
    for (size_t i = 0; i < sizeof(fixed_keys) / sizeof(fixed_keys[0]); i++) {
        unsigned char sig[512];
        size_t len = sizeof(sig);
        fake_keyring_set_mode(fixture.keyring, FAKE_GOOD);
        EVP_PKEY *key = load(fixed_keys[i]);
        fake_keyring_set_mode(fixture.keyring, FAKE_SHORT_SIG);
        cr_expect_eq(provider_fixture_sign(key, sig, &len), 0, "%s", fixed_keys[i]);
        expect_error(&m);
        EVP_PKEY_free(key);
    }
}

/* The objects of a URI until the end; -1 if it never comes. */
static int count_objects(const char *uri)
{
    int n = 0;
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, fixture.libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    cr_assert_not_null(store);
    for (int i = 0; i < 1000; i++) {
        if (OSSL_STORE_eof(store)) {
            (void)OSSL_STORE_close(store);
            return n;
        }
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        n += info != NULL;
        OSSL_STORE_INFO_free(info);
    }
    return -1;
}

static const struct {
    enum fake_mode mode;
    const char *uri;
    int n; /* objects before the failure */
} stores[] = {
    {FAKE_SAME_PAGE, "keyvault:///keys/", 2},
    {FAKE_SAME_PAGE, "keyvault:", 2},
    {FAKE_BAD_CERTS, "keyvault:///certificates/p256", 0},
    {FAKE_NO_CERTS, "keyvault:///certificates/p256", 0},
    {FAKE_GARBAGE, "keyvault:///certificates/p256", 0},
    {FAKE_GARBAGE, "keyvault:///keys/", 0},
    {FAKE_GARBAGE, "keyvault:///keys/p256", 0},
    {FAKE_HUGE, "keyvault:///keys/", 0},
    {FAKE_BAD_KEY, "keyvault:///keys/p256", 0},
};

Test(client, a_store_of_a_hostile_daemon_ends_with_an_error)
{
    fake_keyring_prepare(fixture.keyring, "keyvault:///keys/p256");
    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
        fake_keyring_set_mode(fixture.keyring, stores[i].mode);
        cr_expect_eq(count_objects(stores[i].uri), stores[i].n, "%zu", i);
        unsigned long code = ERR_peek_error();
        const char *text = ERR_reason_error_string(code);
        cr_expect(text != NULL && strstr(text, "malformed reply") != NULL, "%zu: %s", i,
                  text != NULL ? text : "no error");
        ERR_clear_error();
    }
}

/* --- ASYNC jobs --- */

/* AddressSanitizer reports the longjmp() of libcrypto's fibres as suspicious. */
#ifdef KV_SANITIZED
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

struct job {
    EVP_PKEY *key;
    unsigned char sig[128];
    size_t len;
    int result;
};

static int sign_in_job(void *arg)
{
    struct job *job = *(struct job **)arg;
    job->len = sizeof(job->sig);
    job->result = provider_fixture_sign(job->key, job->sig, &job->len);
    return 1;
}

/* Wait for one of the descriptors of a paused job, as a server's loop does. */
static void wait_for_job(ASYNC_WAIT_CTX *wait_ctx)
{
    OSSL_ASYNC_FD fds[2];
    struct pollfd pfds[2];
    size_t n = 0;
    cr_assert_eq(ASYNC_WAIT_CTX_get_all_fds(wait_ctx, NULL, &n), 1);
    cr_assert_eq(n, 2, "the connection and the timer");
    cr_assert_eq(ASYNC_WAIT_CTX_get_all_fds(wait_ctx, fds, &n), 1);
    for (size_t i = 0; i < n; i++)
        pfds[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    cr_assert_geq(poll(pfds, n, 5000), 1, "a descriptor tells when to resume");
}

/* Returns how often the job paused. */
static int run_job(ASYNC_WAIT_CTX *wait_ctx, struct job *job)
{
    ASYNC_JOB *async = NULL;
    int n_pauses = 0;
    int ret = 0;
    void *argument = job; /* the pointer is what a job gets a copy of */
    job->result = 0;
    for (;;) {
        int state = ASYNC_start_job(&async, wait_ctx, &ret, sign_in_job, &argument,
                                    sizeof(argument));
        if (state == ASYNC_FINISH)
            return n_pauses;
        cr_assert_eq(state, ASYNC_PAUSE);
        n_pauses++;
        wait_for_job(wait_ctx);
    }
}

static void test_jobs(void)
{
    struct provider_fixture paused;
    provider_fixture_open(&paused, "async = on");
    struct job job = {.key = provider_fixture_key(&paused, "keyvault:///keys/p256")};
    cr_assert_not_null(job.key);
    ASYNC_WAIT_CTX *wait_ctx = ASYNC_WAIT_CTX_new();
    cr_assert_eq(ASYNC_init_thread(1, 1), 1);
    for (int i = 0; i < 3; i++) {
        cr_expect_geq(run_job(wait_ctx, &job), 1, "the job pauses");
        cr_expect_eq(job.result, 1);
        cr_expect_eq(provider_fixture_verify(job.key, job.sig, job.len), 1);
    }
    cr_expect_eq(fake_keyring_counts(paused.keyring)->connections, 2,
                 "one for the load, one for the wait context");
    fake_keyring_set_mode(paused.keyring, FAKE_CLOSE_ONCE);
    (void)run_job(wait_ctx, &job);
    cr_expect_eq(job.result, 1, "a broken connection is survived");
    (void)run_job(wait_ctx, &job);
    cr_expect_eq(job.result, 1);
    ASYNC_WAIT_CTX_free(wait_ctx);
    /* The timer ends what the daemon does not. */
    fake_keyring_set_mode(paused.keyring, FAKE_HANG);
    wait_ctx = ASYNC_WAIT_CTX_new();
    int64_t start_ms = kv_monotonic_ms(kv_clock_system());
    (void)run_job(wait_ctx, &job);
    cr_expect_eq(job.result, 0);
    cr_expect_lt(kv_monotonic_ms(kv_clock_system()) - start_ms, 2500);
    ERR_clear_error();
    ASYNC_WAIT_CTX_free(wait_ctx);
    ASYNC_cleanup_thread();
    EVP_PKEY_free(job.key);
    provider_fixture_close(&paused);
}

Test(client, a_job_pauses_and_resumes)
{
    if (ASYNC_is_capable() && !is_sanitized)
        test_jobs();
}
