/*
 * Reading and writing what may be secret: no stdio buffers, every copy is wiped.
 *
 * The prompt talks to /dev/tty, so that it works with redirected input, and puts the
 * terminal back also when a signal ends the question.
 */
#include "lifecycle/cli/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "lifecycle/supervisor/dev_files.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define PROMPT_MAX 1024

static int read_fd(int fd, const char *file, struct kv_buf *out, struct kv_err *err)
{
    uint8_t bytes[4096];
    int rc = 0;
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = kv_err_errno(err, errno, "cli.input", file);
        if (n <= 0)
            break;
        rc = kv_buf_append(out, bytes, (size_t)n);
        if (rc == KV_E_TOO_BIG)
            rc = kv_err_set(err, rc, "cli.input-too-big", "%s has more than %zu bytes",
                            file, out->max_len);
        if (rc != 0)
            break;
    }
    kv_wipe(bytes, sizeof(bytes));
    return rc;
}

int kv_io_read(const char *file, struct kv_buf *out, struct kv_err *err)
{
    if (strcmp(file, "-") == 0)
        return read_fd(STDIN_FILENO, "standard input", out, err);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        (void)kv_err_set(err, KV_E_INVALID, "cli.no-file", "there is no file %s", file);
        return KV_E_INVALID;
    }
    if (fd < 0)
        return kv_err_errno(err, errno, "cli.input", file);
    int rc = read_fd(fd, file, out, err);
    (void)close(fd);
    return rc;
}

int kv_io_read_line(const char *file, struct kv_buf *out, struct kv_err *err)
{
    int rc = kv_io_read(file, out, err);
    size_t len = out->len;
    if (len > 0 && out->data[len - 1] == '\n')
        len--;
    if (len > 0 && out->data[len - 1] == '\r')
        len--;
    kv_buf_truncate(out, len);
    return rc;
}

/* --- the prompt ------------------------------------------------------------------- */

static volatile sig_atomic_t caught_signal;

static void on_signal(int number)
{
    caught_signal = number;
}

static int read_answer(int fd, struct kv_buf *out)
{
    char c = 0;
    for (;;) {
        ssize_t n = read(fd, &c, 1);
        if (n < 0 && errno == EINTR && caught_signal == 0)
            continue;
        if (n <= 0)
            return caught_signal != 0 || n < 0 ? KV_E_IO : 0;
        if (c == '\n' || c == '\r')
            return 0;
        int rc = kv_buf_append(out, &c, 1);
        if (rc != 0)
            return rc;
    }
}

static int ask_silently(int fd, const char *prompt, struct kv_buf *out)
{
    struct termios before;
    if (tcgetattr(fd, &before) != 0)
        return KV_E_STATE;
    struct termios silent = before;
    silent.c_lflag &= (tcflag_t) ~(ECHO | ECHONL);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    struct sigaction old[5];
    struct sigaction action = {.sa_handler = on_signal};
    for (size_t i = 0; i < 5; i++)
        (void)sigaction(signals[i], &action, &old[i]);
    (void)tcsetattr(fd, TCSAFLUSH, &silent);
    (void)dprintf(fd, "%s: ", prompt);
    int rc = read_answer(fd, out);
    (void)tcsetattr(fd, TCSAFLUSH, &before);
    (void)dprintf(fd, "\n");
    for (size_t i = 0; i < 5; i++)
        (void)sigaction(signals[i], &old[i], NULL);
    if (caught_signal != 0)
        (void)raise(caught_signal);
    return rc;
}

int kv_io_prompt(const char *prompt, struct kv_buf *out, struct kv_err *err)
{
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    int rc = fd >= 0 ? ask_silently(fd, prompt, out) : KV_E_STATE;
    if (fd >= 0)
        (void)close(fd);
    if (rc == KV_E_STATE) {
        (void)kv_err_set(err, rc, "cli.no-terminal",
                         "there is no terminal to ask for: %s", prompt);
        kv_err_hint(err, "pass it in a file or on standard input; see --help");
    } else if (rc == KV_E_TOO_BIG) {
        (void)kv_err_set(err, rc, "cli.input-too-big", "more than %zu bytes were typed",
                         out->max_len);
    } else if (rc != 0) {
        (void)kv_err_set(err, rc, "cli.input", "nothing was typed");
    }
    return rc;
}

int kv_io_confirm(const char *question, struct kv_err *err)
{
    struct kv_buf answer;
    kv_buf_init(&answer, PROMPT_MAX);
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    int rc = fd >= 0 ? 0 : KV_E_STATE;
    if (rc == 0 && dprintf(fd, "%s: ", question) >= 0)
        rc = read_answer(fd, &answer);
    if (fd >= 0)
        (void)close(fd);
    const char *text = kv_buf_cstr(&answer);
    if (fd < 0)
        (void)kv_err_set(err, rc, "cli.no-terminal", "there is no terminal to ask on");
    else if (rc != 0 || text == NULL || !kv_str_equal_nocase(text, "yes"))
        rc = kv_err_set(err, KV_E_STATE, "cli.not-confirmed",
                        "the answer was not yes: nothing was done");
    if (rc != 0)
        kv_err_hint(err, "--yes answers in advance");
    kv_buf_free(&answer);
    return rc;
}

/* --- output ----------------------------------------------------------------------- */

static int write_stdout(const uint8_t *data, size_t len, struct kv_err *err)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kv_err_errno(err, errno, "cli.output", "standard output");
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int kv_io_write(const char *file, const void *data, size_t len, struct kv_err *err)
{
    if (file != NULL)
        return kv_file_write(file, 0600, data, len, err);
    (void)fflush(stdout);
    const uint8_t *bytes = data;
    int rc = write_stdout(bytes, len, err);
    bool has_newline = len > 0 && bytes[len - 1] == '\n';
    if (rc == 0 && !has_newline && isatty(STDOUT_FILENO) == 1)
        rc = write_stdout((const uint8_t *)"\n", 1, err);
    return rc;
}
