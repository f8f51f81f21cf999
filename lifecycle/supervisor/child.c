/*
 * Starting a role.
 *
 * Between fork and exec the child sheds what is the supervisor's: blocked signals,
 * descriptors, environment, and, when started by root outside --dev, its uid. The
 * parent learns by a pipe that the role serves: the role writes one byte to the
 * descriptor of --ready-fd. OPENSSL_CONF is /dev/null in every role: a system-wide
 * configuration that activates the keyvault provider would make the keyring a client
 * of itself.
 */
#include "lifecycle/supervisor/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/core/str.h"

#define CHILD_READY_FD 3
#define READY_TIMEOUT_MS 60000

void kv_args_add(struct kv_args *args, const char *text)
{
    char *copy = args->n < KV_ARGS_MAX ? strdup(text) : NULL;
    if (copy == NULL) {
        args->failed = true;
        return;
    }
    args->items[args->n++] = copy;
    args->items[args->n] = NULL;
}

void kv_args_addf(struct kv_args *args, const char *format, ...)
{
    char text[4200];
    va_list list;
    va_start(list, format);
    int n = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    if (n < 0 || (size_t)n >= sizeof(text))
        args->failed = true;
    else
        kv_args_add(args, text);
}

void kv_args_set(struct kv_args *args, const char *option, const char *value)
{
    for (size_t i = 0; i + 1 < args->n; i++) {
        if (strcmp(args->items[i], option) != 0)
            continue;
        char *copy = strdup(value);
        if (copy == NULL) {
            args->failed = true;
            return;
        }
        free(args->items[i + 1]);
        args->items[i + 1] = copy;
        return;
    }
    kv_args_add(args, option);
    kv_args_add(args, value);
}

void kv_args_free(struct kv_args *args)
{
    for (size_t i = 0; i < args->n; i++)
        free(args->items[i]);
    *args = (struct kv_args){0};
}

void kv_child_init(struct kv_child *child, const char *name, const char *path)
{
    *child = (struct kv_child){.name = name, .path = path, .ready_fd = -1};
    const char *slash = strrchr(path, '/');
    kv_args_add(&child->args, slash != NULL ? slash + 1 : path);
}

void kv_child_fini(struct kv_child *child)
{
    if (child->ready_fd >= 0)
        (void)close(child->ready_fd);
    child->ready_fd = -1;
    kv_args_free(&child->args);
}

/* The variables that a role may know, as far as they are set. */
static const char *const passed_on[] = {
    "LANG",           "LC_ALL",        "TZ",
    "JOURNAL_STREAM", "ASAN_OPTIONS",  "LSAN_OPTIONS",
    "UBSAN_OPTIONS",  "SSL_CERT_FILE", "SSL_CERT_DIR",
};
#define N_PASSED_ON (sizeof(passed_on) / sizeof(passed_on[0]))

static void say_and_exit(const struct kv_child *child, const char *what,
                         int errno_value)
{
    (void)dprintf(STDERR_FILENO, "keyvaultd: cannot start the %s: %s: %s\n",
                  child->name, what, strerror(errno_value));
    _exit(126);
}

static void set_environment(const struct kv_child *child)
{
    static char kept[N_PASSED_ON][1024];
    for (size_t i = 0; i < N_PASSED_ON; i++) {
        const char *value = getenv(passed_on[i]);
        if (value == NULL || kv_str_copy(kept[i], sizeof(kept[i]), value) != 0)
            kept[i][0] = '\0';
    }
    if (clearenv() != 0)
        say_and_exit(child, "environment", ENOMEM);
    int failed = setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    failed |= setenv("OPENSSL_CONF", "/dev/null", 1);
    for (size_t i = 0; i < N_PASSED_ON; i++) {
        if (kept[i][0] != '\0')
            failed |= setenv(passed_on[i], kept[i], 1);
    }
    if (failed != 0)
        say_and_exit(child, "environment", ENOMEM);
}

static void set_descriptors(const struct kv_child *child, int ready_fd)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        say_and_exit(child, "/dev/null", errno);
    if (dup2(null_fd, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        say_and_exit(child, "standard input and output", errno);
    /* dup2 onto itself would leave close-on-exec set. */
    int failed = ready_fd == CHILD_READY_FD ? fcntl(ready_fd, F_SETFD, 0)
                                            : dup2(ready_fd, CHILD_READY_FD);
    if (failed < 0)
        say_and_exit(child, "ready pipe", errno);
    if (close_range(CHILD_READY_FD + 1, ~0U, 0) != 0)
        say_and_exit(child, "closing descriptors", errno);
}

static void reset_signals(void)
{
    static const int caught[] = {SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGCHLD};
    for (size_t i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
        (void)signal(caught[i], SIG_DFL);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child; never returns. */
static void run_program(const struct kv_child *child, int ready_fd, pid_t parent)
{
    /* A terminal's ^C is the supervisor's business: it drains in order. */
    (void)setpgid(0, 0);
    set_descriptors(child, ready_fd);
    set_environment(child);
    if (child->user != NULL) {
        int rc = kv_user_become(child->user);
        if (rc != 0)
            say_and_exit(child, child->user->name, -rc);
    }
    /* A change of credentials clears it, so this comes behind setuid. */
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
        say_and_exit(child, "parent death signal", errno);
    if (getppid() != parent)
        _exit(126); /* it died before the signal was asked for */
    reset_signals();
    (void)execv(child->path, child->args.items);
    say_and_exit(child, child->path, errno);
}

int kv_child_spawn(struct kv_child *child, int64_t now_ms, struct kv_err *err)
{
    int fds[2] = {-1, -1};
    size_t n_args = child->args.n;
    kv_args_add(&child->args, "--ready-fd");
    kv_args_addf(&child->args, "%d", CHILD_READY_FD);
    int rc = 0;
    if (child->args.failed) {
        rc = kv_err_set(err, KV_E_NOMEM, "supervisor.cannot-start",
                        "cannot start the %s: too many arguments or out of memory",
                        child->name);
        goto out;
    }
    if (pipe2(fds, O_CLOEXEC) != 0) {
        rc = kv_err_errno(err, errno, "supervisor.cannot-start", "pipe");
        goto out;
    }
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    pid_t self = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        rc = kv_err_errno(err, errno, "supervisor.cannot-start", "fork");
        goto out;
    }
    if (pid == 0)
        run_program(child, fds[1], self);
    (void)setpgid(pid, pid);
    child->pid = pid;
    child->ready_fd = fds[0];
    fds[0] = -1;
    child->state = KV_CHILD_STARTING;
    child->at_ms = now_ms + READY_TIMEOUT_MS;
    kv_backoff_started(&child->backoff, now_ms);
out:
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0)
            (void)close(fds[i]);
    }
    while (child->args.n > n_args) {
        free(child->args.items[--child->args.n]);
        child->args.items[child->args.n] = NULL;
    }
    return rc;
}

bool kv_child_on_ready_fd(struct kv_child *child)
{
    char bytes[16];
    ssize_t n = read(child->ready_fd, bytes, sizeof(bytes));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    (void)close(child->ready_fd);
    child->ready_fd = -1;
    if (n <= 0 || child->state != KV_CHILD_STARTING)
        return false; /* closed without a word: it is about to end */
    child->state = KV_CHILD_READY;
    child->was_ready = true;
    return true;
}

void kv_child_reaped(struct kv_child *child, int status)
{
    child->pid = 0;
    child->last_status = status;
    if (child->ready_fd >= 0)
        (void)close(child->ready_fd);
    child->ready_fd = -1;
}

void kv_child_status_text(int status, char *out, size_t out_size)
{
    if (WIFSIGNALED(status))
        (void)snprintf(out, out_size, "signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else
        (void)snprintf(out, out_size, "exit status %d", WEXITSTATUS(status));
}
