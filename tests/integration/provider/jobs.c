/*
 * ASYNC jobs of a host, which runs them as servers do: start, poll what the wait
 * context announces, resume. OPENSSL_CONF activates keyvault with async = on.
 *
 *   jobs CASE URI-OR-FILE...
 */
#include <openssl/async.h>
#include <openssl/err.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/provider/host.h"

#define N_JOBS 64
#define MAX_FDS 4

struct job {
    int k;
    ASYNC_JOB *async;
    ASYNC_WAIT_CTX *wait_ctx;
    unsigned n_pauses;
    bool is_over;
    bool is_good;
};

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int sign_in_job(void *arg)
{
    struct job *job = *(struct job **)arg;
    unsigned char sig[1024];
    size_t len = sizeof(sig);
    job->is_good =
        host_sign_raw(host_keys[job->k].pkey, sig, &len, "message", 7) == 1 &&
        host_verify(job->k, sig, len, "message", 7) == 0;
    return 1;
}

static void open_job(struct job *job, int number)
{
    *job = (struct job){.k = number % host_n_keys, .wait_ctx = ASYNC_WAIT_CTX_new()};
    if (job->wait_ctx == NULL)
        abort();
}

/* Start or resume. */
static void step(struct job *job)
{
    int ret = 0;
    struct job *argument = job; /* a job gets a copy of the pointer */
    int state = ASYNC_start_job(&job->async, job->wait_ctx, &ret, sign_in_job,
                                &argument, sizeof(argument));
    if (state == ASYNC_PAUSE) {
        job->n_pauses++;
        return;
    }
    job->is_over = true;
    if (state != ASYNC_FINISH)
        (void)host_fail("a job did not start");
}

/* Whether something that the job has announced is readable. */
static bool is_ready(const struct job *job, int timeout_ms)
{
    OSSL_ASYNC_FD fds[MAX_FDS];
    struct pollfd pfds[MAX_FDS];
    size_t n = 0;
    if (ASYNC_WAIT_CTX_get_all_fds(job->wait_ctx, NULL, &n) != 1 || n > MAX_FDS ||
        ASYNC_WAIT_CTX_get_all_fds(job->wait_ctx, fds, &n) != 1)
        abort();
    for (size_t i = 0; i < n; i++)
        pfds[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    return poll(pfds, n, timeout_ms) > 0;
}

static void finish_job(struct job *job)
{
    while (!job->is_over) {
        if (job->n_pauses > 0 && !is_ready(job, 20000)) {
            (void)host_fail("nothing told to resume a job");
            return;
        }
        step(job);
    }
}

static void expect_good(struct job *job)
{
    if (!job->is_good)
        (void)host_fail("the signature of a job is not good");
}

static void close_job(struct job *job)
{
    ASYNC_WAIT_CTX_free(job->wait_ctx);
    job->wait_ctx = NULL;
}

/* All are under way at the same time on one thread: the keyring takes 50 ms for each
 * answer, 64 jobs with two answers each take less than half of the sum. */
static int together(void)
{
    static struct job jobs[N_JOBS];
    int n_over = 0;
    const int64_t start_ms = now_ms();
    for (int i = 0; i < N_JOBS; i++) {
        open_job(&jobs[i], i);
        step(&jobs[i]);
        if (jobs[i].n_pauses == 0)
            return host_fail("a job did not pause");
    }
    while (n_over < N_JOBS) {
        n_over = 0;
        for (int i = 0; i < N_JOBS; i++) {
            if (!jobs[i].is_over && is_ready(&jobs[i], 0))
                step(&jobs[i]);
            n_over += jobs[i].is_over;
        }
        (void)usleep(1000);
    }
    if (now_ms() - start_ms > N_JOBS * 50)
        return host_fail("the jobs waited for each other");
    for (int i = 0; i < N_JOBS; i++) {
        expect_good(&jobs[i]);
        close_job(&jobs[i]);
    }
    return 0;
}

/* The connection stays with the wait context, as with a TLS connection that signs
 * again. */
static int again(void)
{
    struct job job;
    open_job(&job, 0);
    finish_job(&job);
    const int n_fds = host_n_fds();
    for (int i = 0; i < 200; i++) {
        job.is_over = false;
        job.n_pauses = 0;
        job.k = i % host_n_keys;
        finish_job(&job);
        expect_good(&job);
    }
    if (host_n_fds() != n_fds)
        return host_fail("descriptors grow with requests");
    close_job(&job);
    return 0;
}

/* A TLS connection that ends while its job is paused: the job is never resumed. */
static int abandoned(void)
{
    struct job job;
    open_job(&job, 0);
    finish_job(&job);
    close_job(&job);
    const int n_fds = host_n_fds();
    for (int i = 0; i < N_JOBS; i++) {
        open_job(&job, i);
        step(&job);
        if (job.n_pauses != 1)
            return host_fail("a job did not pause");
        close_job(&job);
    }
    if (host_n_fds() != n_fds)
        return host_fail("an abandoned job leaves descriptors");
    open_job(&job, 0);
    finish_job(&job);
    expect_good(&job);
    close_job(&job);
    return 0;
}

static void *run_jobs(void *arg)
{
    if (ASYNC_init_thread(0, 0) != 1)
        abort();
    for (int i = 0; i < 8; i++) {
        struct job job;
        open_job(&job, i);
        finish_job(&job);
        expect_good(&job);
        close_job(&job);
    }
    ASYNC_cleanup_thread();
    return arg;
}

/* A thread resumes its own jobs only: libcrypto 3.0 ends a job on the stack of the
 * thread that started it. */
static int threads(void)
{
    pthread_t ids[8];
    for (int i = 0; i < 8; i++) {
        if (pthread_create(&ids[i], NULL, run_jobs, NULL) != 0)
            abort();
    }
    for (int i = 0; i < 8; i++)
        (void)pthread_join(ids[i], NULL);
    return 0;
}

/* Two jobs of one wait context: one has its connection, the other waits as usual. */
static int shared(void)
{
    struct job first;
    struct job second;
    open_job(&first, 0);
    step(&first);
    second = (struct job){.k = 1 % host_n_keys, .wait_ctx = first.wait_ctx};
    finish_job(&second);
    finish_job(&first);
    expect_good(&first);
    expect_good(&second);
    close_job(&first);
    return 0;
}

static int finish_in_child(void *arg)
{
    struct job *job = arg;
    while (!job->is_over)
        step(job); /* the answer that is under way belongs to the parent */
    expect_good(job);
    close_job(job);
    return 0;
}

/* A job that is paused at a fork goes on in both processes, each with its own answer.
 */
static int forked(void)
{
    for (int i = 0; i < 8; i++) {
        struct job job;
        open_job(&job, i);
        step(&job);
        pid_t pid = host_fork(finish_in_child, &job);
        if (i % 2 == 0)
            (void)host_wait(pid);
        finish_job(&job);
        expect_good(&job);
        if (i % 2 != 0)
            (void)host_wait(pid);
        close_job(&job);
    }
    return 0;
}

/* KEYVAULT_TEST_DAEMON names the keyring's process, which ends meanwhile. */
static int daemon_dies(void)
{
    static struct job jobs[8];
    const char *pid = getenv("KEYVAULT_TEST_DAEMON");
    for (int i = 0; i < 8; i++) {
        open_job(&jobs[i], i);
        step(&jobs[i]);
    }
    if (pid == NULL || kill((pid_t)atoi(pid), SIGKILL) != 0)
        return host_fail("kill");
    for (int i = 0; i < 8; i++) {
        finish_job(&jobs[i]);
        if (jobs[i].is_good)
            return host_fail("a signature without keyring");
        close_job(&jobs[i]);
    }
    ERR_clear_error();
    return host_sign_refused(0, "cannot reach", NULL);
}

/* The keyring never answers: the timer ends each job at its deadline. */
static int silence(void)
{
    struct job job;
    const int64_t start_ms = now_ms();
    open_job(&job, 0);
    finish_job(&job);
    if (job.is_good)
        return host_fail("a signature without answer");
    if (now_ms() - start_ms > 8000)
        return host_fail("a job outlived its deadline");
    close_job(&job);
    ERR_clear_error();
    return 0;
}

/* The process ends while jobs are paused. */
static int paused_at_exit(void)
{
    static struct job jobs[8];
    for (int i = 0; i < 8; i++) {
        open_job(&jobs[i], i);
        step(&jobs[i]);
    }
    exit(0);
}

int main(int argc, char **argv)
{
    static const struct host_case cases[] = {
        {"together", together},
        {"again", again},
        {"abandoned", abandoned},
        {"threads", threads},
        {"shared", shared},
        {"forked", forked},
        {"daemon-dies", daemon_dies},
        {"silence", silence},
        {"paused-at-exit", paused_at_exit},
    };
    if (ASYNC_is_capable() != 1 || ASYNC_init_thread(0, 0) != 1)
        return 1;
    return host_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
