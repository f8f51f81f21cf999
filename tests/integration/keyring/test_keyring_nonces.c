/*
 * Journeys with the real keyvault-keyring that prepares nonces: many signatures of many
 * threads and processes, over kills and restarts, and no nonce signs twice.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/journey.h"
#include "tests/support/signed_once.h"

TestSuite(keyring_nonces, .timeout = 280);

enum { N_PROCESSES = 3, N_THREADS = 2, N_CURVES = 4, N_LIVES = 3 };
enum { N_SIGNERS = N_PROCESSES * N_THREADS, SHORT = 1500, FULL = 50000 };
enum { WAIT_TRIES = 60000, PREPARED_NS = 1000000 };

/* Shared with the processes that sign. */
struct results {
    unsigned wanted;
    struct {
        unsigned n;
        uint8_t r[FULL][KV_SIGNED_R_LEN];
    } signer[N_SIGNERS];
};

static struct results *results;

static void setup(void)
{
    static const char *const names[N_CURVES] = {"web", "p384", "p521", "p256k"};
    journey.prepared_nonces = "on";
    journey_setup_dir();
    cr_assert_eq(journey_start(), 0);
    cr_assert_eq(kv_fake_service_open(&journey.service, journey.role_path), 0);
    for (uint8_t i = 0; i < N_CURVES; i++)
        journey_make_key(names[i], KV_KTY_EC, (uint8_t)(KV_CURVE_P256 + i), KV_OP_SIGN);
    kv_fake_service_run(&journey.service);
    journey_connect_client();
    results = mmap(NULL, sizeof(*results), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(results, MAP_FAILED);
    const char *full = getenv("KEYVAULT_TEST_FULL");
    results->wanted = full != NULL && full[0] == '1' ? FULL : SHORT;
}

static void teardown(void)
{
    (void)munmap(results, sizeof(*results)); /* cannot fail for what was mapped */
    journey_teardown();
}

/* One signature in three is of another curve than P-256. */
static bool sign_once(struct kv_channel_client *client, struct kv_buf *payload,
                      unsigned turn, uint8_t r[KV_SIGNED_R_LEN])
{
    struct kv_bytes sig;
    struct kv_msg_sign msg = {
        .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {journey_digest, 32}};
    const unsigned at = turn % 3 != 0 ? 0 : turn / 3 % N_CURVES;
    memcpy(msg.version, journey.service.keys[at].ident.version, KV_ID_LEN);
    kv_buf_reset(payload);
    kv_msg_sign_put(payload, &msg);
    return kv_channel_client_call(client, KV_VERB_SIGN, payload, &sig) == 0 &&
           kv_signed_r(r, sig.data, sig.len);
}

/* Sign until there are enough, or the keyring is gone. */
static void *sign_many(void *arg)
{
    const size_t at = (size_t)(uintptr_t)arg;
    struct kv_channel_client client;
    struct kv_msg_hello_reply hello;
    struct kv_buf payload;
    kv_buf_init(&payload, 4096);
    bool ok =
        kv_channel_client_open(&client, journey.keys_path) == 0 &&
        kv_channel_client_hello(&client, KV_VERB_HELLO, (uint32_t)at, &hello) == 0;
    for (unsigned i = 0; ok && i < results->wanted; i++) {
        const unsigned n = results->signer[at].n;
        ok = n < FULL && sign_once(&client, &payload, i, results->signer[at].r[n]);
        results->signer[at].n += ok;
        if (i % 32 == 0)
            usleep(500); /* a time in which nonces can be prepared */
    }
    kv_channel_client_close(&client);
    kv_buf_free(&payload);
    return NULL;
}

static _Noreturn void run_process(size_t first)
{
    pthread_t threads[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) {
        void *arg = (void *)(uintptr_t)(first + i); /* a number */
        if (pthread_create(&threads[i], NULL, sign_many, arg) != 0)
            _exit(1);
    }
    for (size_t i = 0; i < N_THREADS; i++)
        (void)pthread_join(threads[i], NULL); /* cannot fail for a thread of ours */
    _exit(0);
}

static void start_processes(pid_t *pids)
{
    for (size_t i = 0; i < N_PROCESSES; i++) {
        pids[i] = fork();
        cr_assert_geq(pids[i], 0);
        if (pids[i] == 0)
            run_process(i * N_THREADS);
    }
}

static void await_processes(const pid_t *pids)
{
    for (size_t i = 0; i < N_PROCESSES; i++) {
        int status = -1;
        cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
        cr_expect_eq(status, 0);
    }
}

static unsigned n_signed(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < N_SIGNERS; i++)
        n += __atomic_load_n(&results->signer[i].n, __ATOMIC_RELAXED);
    return n;
}

static void start_again(void)
{
    kv_channel_client_close(&journey.client);
    kv_fake_service_hang_up(&journey.service);
    cr_assert_eq(journey_start(), 0);
    cr_assert_eq(kv_fake_service_open(&journey.service, journey.role_path), 0);
    kv_fake_service_run(&journey.service);
    journey_connect_client();
}

/* How long the thread that prepares has run, in nanoseconds. */
static unsigned long long filler_ns(void)
{
    char path[300];
    unsigned long long ns = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)journey.daemon_pid);
    DIR *tasks = opendir(path);
    cr_assert_not_null(tasks);
    const struct dirent *task = NULL;
    while ((task = readdir(tasks)) != NULL) {
        if (sched_getscheduler(atoi(task->d_name)) != SCHED_IDLE)
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat",
                       (int)journey.daemon_pid, task->d_name);
        FILE *file = fopen(path, "r");
        cr_assert_not_null(file);
        cr_assert_eq(fscanf(file, "%llu", &ns), 1);
        (void)fclose(file);
    }
    (void)closedir(tasks);
    return ns;
}

static void check_all(unsigned at_least)
{
    struct kv_signed_once once;
    kv_signed_once_init(&once, (size_t)N_SIGNERS * FULL);
    for (size_t i = 0; i < N_SIGNERS; i++) {
        const unsigned n = results->signer[i].n;
        memcpy(once.r[once.n], results->signer[i].r, (size_t)n * KV_SIGNED_R_LEN);
        once.n += n;
    }
    cr_expect_geq(once.n, at_least);
    cr_expect_eq(kv_signed_once_duplicates(&once), 0, "%zu signatures", once.n);
    kv_signed_once_free(&once);
}

Test(keyring_nonces, none_signs_twice_for_many_threads_and_processes, .init = setup,
     .fini = teardown)
{
    pid_t pids[N_PROCESSES];
    const unsigned long long before_ns = filler_ns();
    start_processes(pids);
    await_processes(pids);
    cr_expect_eq(n_signed(), N_SIGNERS * results->wanted);
    for (int i = 0; i < WAIT_TRIES && filler_ns() < before_ns + PREPARED_NS; i++) {
        struct kv_bytes sig;
        cr_assert_eq(journey_sign(&sig), 0); /* the key stays hot: it must come */
        usleep(1000);
    }
    cr_expect_geq(filler_ns(), before_ns + PREPARED_NS, "nonces were prepared");
    check_all(N_SIGNERS * results->wanted);
}

/* The keyring dies in the middle of it, and with it what was prepared. */
Test(keyring_nonces, none_signs_twice_over_kills_and_restarts, .init = setup,
     .fini = teardown)
{
    pid_t pids[N_PROCESSES];
    unsigned n_before = 0;
    results->wanted /= N_LIVES;
    for (unsigned life = 0; life < N_LIVES; life++) {
        start_processes(pids);
        while (n_signed() < n_before + N_SIGNERS * results->wanted / 2)
            usleep(1000);
        cr_assert_eq(journey_stop(SIGKILL), -SIGKILL);
        await_processes(pids);
        n_before = n_signed();
        start_again();
    }
    check_all(N_LIVES * N_SIGNERS * results->wanted / 2);
}

/* Nothing of it is seen under a hypervisor or where nothing can be told. */
Test(keyring_nonces, the_log_says_what_was_decided, .init = setup, .fini = teardown)
{
    cr_expect(journey_log_has("\"keyring.nonces\",\"state\":\"on\""));
    cr_assert_eq(journey_stop(SIGTERM), 0);
    journey.prepared_nonces = "off";
    start_again();
    cr_expect(journey_log_has("\"keyring.nonces\",\"state\":\"off\""));
    cr_expect_eq(filler_ns(), 0);
}
