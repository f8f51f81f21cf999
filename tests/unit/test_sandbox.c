/*
 * What the key process has given up, tried one by one in a child: the filter ends it
 * (SIGSYS), answers EACCES, or lets it be.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "store/keyring/sandbox.h"

TestSuite(sandbox, .timeout = 20);

enum { FINE = 0, TOLD_NO = 1, NO_SANDBOX = 2 };

/* Each returns 0 when the system did it, else -1 with errno. */
static int read_clock_and_chance(void)
{
    struct timespec now;
    uint8_t bytes[16];
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0 &&
                   getrandom(bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes)
               ? 0
               : -1;
}

static int by_length(const void *a, const void *b)
{
    return *(const char *)a - *(const char *)b;
}

static int sort_much(void)
{
    static char rows[400][24];
    qsort(rows, 400, sizeof(rows[0]),
          by_length); /* libc asks how much memory there is */
    return 0;
}

static int take_memory(void)
{
    void *volatile block = malloc((size_t)8 << 20);
    free(block);
    return block != NULL ? 0 : -1;
}

static int end_in_abort(void)
{
    abort();
}

static int open_file(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 ? 0 : -1;
}

static int make_inet_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 0 : -1;
}

static int make_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 ? 0 : -1;
}

static int run_program(void)
{
    char *const argv[] = {"true", NULL};
    return execve("/bin/true", argv, argv + 1);
}

static int fork_child(void)
{
    const pid_t child = fork();
    if (child == 0)
        _exit(0);
    return child > 0 ? 0 : -1;
}

static int map_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) != MAP_FAILED
               ? 0
               : -1;
}

static int make_code(void)
{
    void *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page != MAP_FAILED ? mprotect(page, 4096, PROT_READ | PROT_EXEC) : -1;
}

static int signal_parent(void)
{
    return kill(getppid(), 0);
}

static int trace_parent(void)
{
    return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int allow_dumps(void)
{
    return prctl(PR_SET_DUMPABLE, 1);
}

static int read_other_process(void)
{
    return (int)syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static const struct {
    const char *name;
    int (*act)(void);
    int outcome; /* exit status, or minus the signal */
    bool is_instrumented_too;
} rows[] = {
    {"clock and chance", read_clock_and_chance, FINE, true},
    {"sort", sort_much, FINE, true},
    {"memory", take_memory, FINE, true},
    {"abort", end_in_abort, -SIGABRT, false},
    {"open", open_file, TOLD_NO, false},
    {"socket AF_INET", make_inet_socket, -SIGSYS, true},
    {"socket AF_UNIX", make_unix_socket, -SIGSYS, false},
    {"execve", run_program, -SIGSYS, true},
    {"fork", fork_child, -SIGSYS, false},
    {"mmap PROT_EXEC", map_code, -SIGSYS, false},
    {"mprotect PROT_EXEC", make_code, -SIGSYS, false},
    {"kill", signal_parent, -SIGSYS, false},
    {"ptrace", trace_parent, -SIGSYS, false},
    {"prctl", allow_dumps, -SIGSYS, false},
    {"process_vm_readv", read_other_process, -SIGSYS, false},
};

static int outcome_of(int (*act)(void))
{
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGABRT, SIG_DFL); /* Criterion has its own */
        if (kv_sandbox_harden(NULL) != 0 || kv_sandbox_enter(NULL) != 0)
            _exit(NO_SANDBOX);
        _exit(act() == 0 ? FINE : TOLD_NO);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

Test(sandbox, each_call_has_its_outcome)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
#ifdef KV_INSTRUMENTED
        if (!rows[i].is_instrumented_too)
            continue;
#endif
        cr_expect_eq(outcome_of(rows[i].act), rows[i].outcome, "%s: %d", rows[i].name,
                     outcome_of(rows[i].act));
    }
}

Test(sandbox, inherited_descriptors_are_closed_but_one)
{
#ifdef KV_INSTRUMENTED
    cr_skip_test("the log of a sanitizer is one of them");
#endif
    int fds[6];
    for (int i = 0; i < 6; i++)
        fds[i] = dup(STDERR_FILENO);
    const pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        kv_sandbox_close_inherited(fds[3]);
        int n_open = 0;
        for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
            n_open += fcntl(fd, F_GETFD) >= 0;
        const bool is_kept = fcntl(fds[3], F_GETFD) >= 0;
        kv_sandbox_close_inherited(-1);
        _exit(n_open == 1 && is_kept && fcntl(fds[3], F_GETFD) < 0 ? 0 : 1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int i = 0; i < 6; i++)
        close(fds[i]);
}
