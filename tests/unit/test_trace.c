#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provider/trace.h"
#include "tests/support/provider_fixture.h"

static char dir[32];
static char path[64];
static char text[8192];

static void setup(void)
{
    (void)strcpy(dir, "/tmp/trace.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/trace", dir);
}

static void teardown(void)
{
    char command[64];
    (void)snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

TestSuite(trace, .timeout = 30, .init = setup, .fini = teardown);

static void put(struct kv_trace *trace, const char *uri, const char *result)
{
    kv_trace_write(trace, &(struct kv_trace_entry){.verb = "SIGN",
                                                   .uri = uri,
                                                   .begin_us = kv_trace_begin_us(),
                                                   .result = result});
}

/* Read the file into `text`; its number of lines. */
static size_t lines(void)
{
    size_t n = 0;
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    const size_t len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = '\0';
    cr_assert_eq(fclose(file), 0);
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n' ? 1 : 0;
    return n;
}

static bool matches(const char *pattern)
{
    regex_t regex;
    cr_assert_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE), 0);
    const int rc = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    return rc == 0;
}

#define TIME "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{6}Z "

Test(trace, a_line_has_time_ids_verb_key_duration_and_result)
{
    char pattern[256];
    char today[16];
    const time_t now = time(NULL);
    struct tm parts;
    struct kv_trace *trace = kv_trace_new(path);
    cr_assert_not_null(trace);
    put(trace, "keyvault:///keys/web", NULL);
    put(trace, "keyvault:///keys/web", "key.expired");
    cr_assert_eq(lines(), 2);
    (void)snprintf(pattern, sizeof(pattern),
                   TIME "%ld %ld SIGN keyvault:///keys/web [0-9]+ ok$", (long)getpid(),
                   (long)gettid());
    cr_expect(matches(pattern), "%s", text);
    cr_expect(matches("SIGN keyvault:///keys/web [0-9]+ key.expired$"), "%s", text);
    cr_assert_not_null(gmtime_r(&now, &parts));
    cr_assert_gt(strftime(today, sizeof(today), "%Y-%m-%dT", &parts), 0);
    cr_expect_eq(strncmp(text, today, strlen(today)), 0, "but for midnight");
    kv_trace_free(trace);
}

Test(trace, the_file_is_ours_alone_and_goes_on)
{
    struct stat st;
    (void)umask(0);
    for (size_t i = 1; i <= 3; i++) {
        struct kv_trace *trace = kv_trace_new(path);
        cr_assert_not_null(trace);
        put(trace, "keyvault:///keys/web", NULL);
        kv_trace_free(trace);
        cr_assert_eq(lines(), i);
    }
    cr_assert_eq(stat(path, &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
}

Test(trace, only_a_regular_file_of_our_own_is_written_to)
{
    char other[80];
    (void)snprintf(other, sizeof(other), "%s/target", dir);
    cr_expect_null(kv_trace_new(NULL));
    cr_expect_null(kv_trace_new(""));
    cr_expect_null(kv_trace_new(dir), "a directory");
    cr_expect_null(kv_trace_new("/dev/null"), "a device");
    cr_expect_null(kv_trace_new("/nowhere/trace"));
    cr_assert_eq(symlink(other, path), 0);
    cr_expect_null(kv_trace_new(path), "a symbolic link");
    cr_expect_neq(access(other, F_OK), 0, "nothing behind it is made");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_null(kv_trace_new(path), "a pipe without a reader does not hang");
    const int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    cr_expect_null(kv_trace_new(path), "nor is one with a reader a file");
    (void)close(reader);
    if (geteuid() != 0)
        return;
    (void)snprintf(path, sizeof(path), "%s/foreign", dir);
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    cr_assert_eq(fchown(fd, 12345, 12345), 0);
    (void)close(fd);
    cr_expect_null(kv_trace_new(path), "a file of another user");
}

Test(trace, a_child_goes_on_with_the_file)
{
    struct kv_trace *trace = kv_trace_new(path);
    cr_assert_not_null(trace);
    put(trace, "keyvault:///keys/web", NULL);
    for (int i = 0; i < 3; i++) {
        const pid_t child = fork();
        if (child == 0) {
            put(trace, "keyvault:///keys/web", NULL);
            _exit(0);
        }
        cr_assert_eq(waitpid(child, NULL, 0), child);
    }
    cr_expect_eq(lines(), 4);
    kv_trace_free(trace);
}

Test(trace, a_descriptor_that_the_host_closed_and_reused_is_left_alone)
{
    char other[80];
    char found[64] = "";
    (void)snprintf(other, sizeof(other), "%s/host", dir);
    struct kv_trace *trace = kv_trace_new(path);
    cr_assert_not_null(trace);
    for (int fd = 3; fd < 100; fd++) { /* as daemons do */
        char link[32];
        char target[80] = "";
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof(target) - 1) > 0 && strcmp(target, path) == 0)
            cr_assert_eq(close(fd), 0);
    }
    const int host = open(other, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    put(trace, "keyvault:///keys/web", NULL);
    cr_expect_eq(lines(), 1, "the file was opened again");
    put(trace, "keyvault:///keys/web", NULL);
    cr_expect_eq(lines(), 2);
    cr_expect_eq(pread(host, found, sizeof(found), 0), 0, "%s", found);
    kv_trace_free(trace);
    cr_expect_eq(fcntl(host, F_GETFD), FD_CLOEXEC, "and stays open");
    (void)close(host);
}

Test(trace, standard_descriptors_stay_free)
{
    const int saved = fcntl(0, F_DUPFD_CLOEXEC, 50);
    (void)close(0);
    struct kv_trace *trace = kv_trace_new(path);
    cr_assert_not_null(trace);
    cr_expect_eq(fcntl(0, F_GETFD), -1);
    kv_trace_free(trace);
    if (saved >= 0)
        (void)dup2(saved, 0);
}

Test(trace, what_others_wrote_stays_in_its_line)
{
    char longest[1000];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    struct kv_trace *trace = kv_trace_new(path);
    cr_assert_not_null(trace);
    put(trace, "a\nb\033[31m\377", "x\ny");
    put(trace, longest, longest);
    cr_assert_eq(lines(), 2);
    cr_expect(matches("SIGN a\\?b\\?\\[31m\\? [0-9]+ x\\?y$"), "%s", text);
    kv_trace_free(trace);
}

static void on_signal(int number)
{
    _exit(number == SIGXFSZ ? 42 : 43);
}

Test(trace, a_file_at_its_limit_ends_nobody)
{
    struct kv_trace *trace = kv_trace_new(path);
    cr_assert_not_null(trace);
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
        (void)signal(SIGXFSZ, on_signal);
        errno = EDOM;
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
            _exit(1);
        put(trace, "keyvault:///keys/web", NULL);
        _exit(errno == EDOM ? 0 : 2);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    cr_expect_eq(lines(), 0);
    kv_trace_free(trace);
}

Test(trace, requests_of_the_module_are_traced)
{
    struct provider_fixture fixture;
    char setting[80];
    unsigned char sig[128];
    size_t len = sizeof(sig);
    (void)snprintf(setting, sizeof(setting), "trace = %s", path);
    provider_fixture_open(&fixture, setting);
    EVP_PKEY *key = provider_fixture_key(&fixture, "keyvault:///keys/p256");
    cr_assert_not_null(key);
    cr_expect_null(provider_fixture_key(&fixture, "keyvault:///keys/absent"));
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 1);
    fake_keyring_set_mode(fixture.keyring, FAKE_SEALED);
    len = sizeof(sig);
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 0);
    EVP_PKEY_free(key);
    provider_fixture_close(&fixture);
    cr_expect_eq(lines(), 4, "%s", text);
    cr_expect(matches(TIME ".* INFO keyvault:///keys/p256 [0-9]+ ok$"), "%s", text);
    cr_expect(matches(TIME ".* INFO keyvault:///keys/absent [0-9]+ [a-z-]+[.][a-z-]+$"),
              "%s", text);
    cr_expect(
        matches(TIME ".* SIGN keyvault://[a-z]*/keys/p256/[0-9a-f]{32} [0-9]+ ok$"),
        "%s", text);
    cr_expect(matches(" SIGN .* [0-9]+ [a-z-]+[.][a-z-]+$"), "%s", text);
}

Test(trace, the_variable_takes_the_place_of_the_setting)
{
    struct provider_fixture fixture;
    cr_assert_eq(setenv("KEYVAULT_TRACE", path, 1), 0);
    provider_fixture_open(&fixture, "trace = /nowhere/trace");
    cr_assert_eq(unsetenv("KEYVAULT_TRACE"), 0);
    EVP_PKEY_free(provider_fixture_key(&fixture, "keyvault:///keys/p256"));
    cr_expect_eq(lines(), 1);
    provider_fixture_close(&fixture);
}

Test(trace, a_file_that_cannot_be_opened_fails_no_request)
{
    struct provider_fixture fixture;
    provider_fixture_open(&fixture, "trace = /nowhere/trace");
    EVP_PKEY *key = provider_fixture_key(&fixture, "keyvault:///keys/p256");
    cr_expect_not_null(key);
    EVP_PKEY_free(key);
    provider_fixture_close(&fixture);
}
