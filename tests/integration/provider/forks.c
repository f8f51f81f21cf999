/*
 * Processes of a host: what children may do with keys that their parent loaded.
 *
 *   forks CASE URI-OR-FILE...
 */
#include "tests/integration/provider/host.h"

#include <errno.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_THREADS 8
#define N_CHILDREN 24

extern char **environ;

static int sign_some(void *arg)
{
    return host_sign_all(*(unsigned *)arg);
}

static int many(void)
{
    pid_t pids[N_CHILDREN];
    unsigned n = 5;
    if (host_sign_all(1) != 0)
        return -1;
    for (int i = 0; i < N_CHILDREN; i++)
        pids[i] = host_fork(sign_some, &n);
    (void)host_sign_all(n);
    for (int i = 0; i < N_CHILDREN; i++)
        (void)host_wait(pids[i]);
    return host_sign_all(1);
}

static _Atomic bool is_over;

static void *sign_until_over(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !is_over; i++) {
        if (host_sign((int)(i % (unsigned)host_n_keys), i) != 0)
            break;
    }
    return NULL;
}

/* Each fork meets some thread in the middle of a request. */
static int busy(void)
{
    pthread_t threads[N_THREADS];
    unsigned n = 2;
    if (host_sign_all(2) != 0) /* libcrypto's own caches: filled before any fork */
        return -1;
    for (int i = 0; i < N_THREADS; i++) {
        if (pthread_create(&threads[i], NULL, sign_until_over, NULL) != 0)
            abort();
    }
    for (int i = 0; i < N_CHILDREN; i++)
        (void)host_wait(host_fork(sign_some, &n));
    is_over = true;
    for (int i = 0; i < N_THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    return 0;
}

static int descend(void *arg)
{
    int depth = *(int *)arg;
    if (host_sign_all(1) != 0)
        return -1;
    if (depth == 0)
        return 0;
    int next = depth - 1;
    (void)host_wait(host_fork(descend, &next));
    return host_sign_all(1);
}

static int generations(void)
{
    int depth = 6;
    return descend(&depth);
}

/* What Apache does: its passphrase dialogue forks while a key is being read. */
static int fork_and_answer(char *buf, int size, int is_writing, void *arg)
{
    unsigned n = 2;
    (void)is_writing;
    (void)arg;
    (void)host_wait(host_fork(sign_some, &n));
    if (host_sign_all(1) != 0)
        return -1;
    return snprintf(buf, (size_t)size, "secret");
}

static int callback(void)
{
    EVP_PKEY *software = EVP_EC_gen("P-256");
    BIO *bio = BIO_new(BIO_s_mem());
    int rc = 0;
    if (software == NULL ||
        PEM_write_bio_PKCS8PrivateKey(bio, software, EVP_aes_128_cbc(), "secret", 6,
                                      NULL, NULL) != 1)
        rc = host_fail("cannot write an encrypted key");
    EVP_PKEY *read = PEM_read_bio_PrivateKey(bio, NULL, fork_and_answer, NULL);
    if (read == NULL || EVP_PKEY_eq(read, software) != 1)
        rc = host_fail("the encrypted key did not load");
    EVP_PKEY_free(read);
    EVP_PKEY_free(software);
    BIO_free(bio);
    return rc;
}

static char n_fds_at_start[16];

/* Run in the new program: only what this program itself was started with is open. */
static int compare_fds(const char *expected)
{
    int n = host_n_fds();
    if (n == atoi(expected))
        return 0;
    (void)fprintf(stderr, "forks: %d descriptors after exec\n", n);
    return system("ls -l /proc/self/fd >&2") == 0 ? 1 : 2;
}

static int exec_by_vfork(char **args)
{
    int status = 0;
    pid_t pid = vfork();
    if (pid == 0) {
        (void)execv("/proc/self/exe", args);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int exec_by_spawn(char **args)
{
    int status = 0;
    pid_t pid = 0;
    if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ) != 0)
        return -1;
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int exec_directly(void *arg)
{
    (void)host_sign_all(1);
    (void)execv("/proc/self/exe", arg);
    return -1;
}

static int exec(void)
{
    char *args[] = {(char[]){"forks"}, (char[]){"--fds"}, n_fds_at_start, NULL};
    if (host_sign_all(2) != 0)
        return -1;
    if (exec_by_vfork(args) != 0)
        return host_fail("vfork and exec");
    if (exec_by_spawn(args) != 0)
        return host_fail("posix_spawn");
    if (host_wait(host_fork(exec_directly, args)) != 0)
        return -1;
    return host_sign_all(2);
}

static int end_in_order(void *arg)
{
    (void)arg;
    if (host_sign_all(1) != 0)
        return -1;
    exit(0); /* runs OPENSSL_cleanup over what the parent shares */
}

static int end_untouched(void *arg)
{
    (void)arg;
    exit(0);
}

/* The parent's connection survives the end of its children, however they end. */
static int child_exits(void)
{
    for (int i = 0; i < 5; i++) {
        if (host_sign_all(1) != 0)
            return -1;
        const int n_fds = host_n_fds();
        (void)host_wait(host_fork(end_in_order, NULL));
        (void)host_wait(host_fork(end_untouched, NULL));
        if (host_sign_all(1) != 0)
            return -1;
        if (host_n_fds() > n_fds + host_n_keys)
            return host_fail("descriptors are left open");
    }
    return 0;
}

/* As daemon(3) does it: the process that loaded the keys is gone when they are used. */
static int daemonize(void)
{
    int ends[2];
    char result = 'x';
    if (host_sign_all(1) != 0 || pipe(ends) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        (void)setsid();
        if (fork() != 0)
            _exit(0);
        (void)alarm(HOST_TIME_LIMIT_S);
        result = chdir("/") == 0 && host_sign_all(3) == 0 ? 'y' : 'n';
        _exit(write(ends[1], &result, 1) != 1);
    }
    (void)close(ends[1]);
    (void)host_wait(pid);
    if (read(ends[0], &result, 1) != 1 || result != 'y')
        return host_fail("the daemon could not sign");
    (void)close(ends[0]);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct host_case cases[] = {
        {"many", many},           {"busy", busy}, {"generations", generations},
        {"callback", callback},   {"exec", exec}, {"child-exits", child_exits},
        {"daemonize", daemonize},
    };
    if (argc == 3 && strcmp(argv[1], "--fds") == 0)
        return compare_fds(argv[2]);
    (void)snprintf(n_fds_at_start, sizeof(n_fds_at_start), "%d", host_n_fds());
    return host_main(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
