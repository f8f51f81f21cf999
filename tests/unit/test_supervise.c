/* lifecycle/supervisor/supervise.c and child.c, with shell scripts as roles. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lifecycle/supervisor/supervise.h"

TestSuite(supervise, .timeout = 20);

/* A directory with what the roles wrote. */
static char dir[64];

static void make_dir(void)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/keyvault-supervise.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void remove_dir(void)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    cr_assert_eq(system(command), 0);
}

/* How many lines a file of the directory has. */
static int n_lines(const char *name)
{
    char path[128];
    char line[256];
    int n = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        n++;
    if (file != NULL)
        (void)fclose(file);
    return n;
}

static void add_script(struct kv_supervisor *supervisor, const char *name,
                       const char *script)
{
    struct kv_child *child = &supervisor->children[supervisor->n_children++];
    kv_child_init(child, name, "/bin/sh");
    kv_args_add(&child->args, "-c");
    kv_args_addf(&child->args, "cd %s; %s", dir, script);
}

/* Ends the run: as if somebody had sent SIGTERM to the supervisor. */
static int stop_when_ready(void *arg, struct kv_err *err)
{
    (void)arg;
    (void)err;
    return kill(getpid(), SIGTERM) == 0 ? 0 : KV_E_IO;
}

static int run(struct kv_supervisor *supervisor, struct kv_err *err)
{
    supervisor->clock = kv_clock_system();
    if (supervisor->on_ready == NULL)
        supervisor->on_ready = stop_when_ready;
    cr_assert_eq(kv_supervise_open(supervisor, err), 0);
    int rc = kv_supervise_run(supervisor, err);
    for (size_t i = 0; i < supervisor->n_children; i++)
        cr_expect_eq(supervisor->children[i].pid, 0, "child %zu still runs", i);
    cr_expect_lt(waitpid(-1, NULL, WNOHANG), 0, "a process is left");
    kv_supervise_close(supervisor);
    return rc;
}

Test(supervise, starts_in_order_and_stops_in_reverse, .init = make_dir,
     .fini = remove_dir)
{
    struct kv_supervisor supervisor = {0};
    struct kv_err err = KV_ERR_INIT;
    add_script(&supervisor, "first",
               "date +%s%N >first.start;"
               "trap 'date +%s%N >first.end; exit 0' TERM; echo r >&3; while :; do "
               "sleep 0.02; done");
    add_script(
        &supervisor, "second",
        "test -s first.start || exit 9;"
        "trap 'sleep 0.2; test ! -e first.end && echo y >second.first; exit 0' TERM;"
        "echo r >&3; while :; do sleep 0.02; done");
    cr_assert_eq(run(&supervisor, &err), 0, "%s", err.message);
    cr_assert_eq(n_lines("second.first"), 1,
                 "the last role drains before the first is asked");
    cr_assert_eq(n_lines("first.end"), 1);
}

Test(supervise, a_role_that_ends_before_ready_is_an_error, .init = make_dir,
     .fini = remove_dir)
{
    struct kv_supervisor supervisor = {0};
    struct kv_err err = KV_ERR_INIT;
    add_script(&supervisor, "first",
               "trap 'exit 0' TERM; echo r >&3; while :; do sleep 0.02; done");
    add_script(&supervisor, "second", "exit 7");
    cr_assert_eq(run(&supervisor, &err), KV_E_UNAVAILABLE);
    cr_assert_str_eq(err.id, "supervisor.role-failed");
    cr_assert_not_null(strstr(err.message, "second"));
    cr_assert_not_null(strstr(err.message, "exit status 7"));
}

Test(supervise, a_missing_program_is_an_error, .init = make_dir, .fini = remove_dir)
{
    struct kv_supervisor supervisor = {.n_children = 1};
    struct kv_err err = KV_ERR_INIT;
    kv_child_init(&supervisor.children[0], "first", "/nowhere/program");
    cr_assert_eq(run(&supervisor, &err), KV_E_UNAVAILABLE);
    cr_assert_str_eq(err.id, "supervisor.role-failed");
}

static int go_on(void *arg, struct kv_err *err)
{
    (void)arg;
    (void)err;
    return 0;
}

Test(supervise, starts_again_what_is_killed, .init = make_dir, .fini = remove_dir)
{
    struct kv_supervisor supervisor = {.on_ready = go_on};
    struct kv_err err = KV_ERR_INIT;
    /* Two lives end by kill -9, the third stops the supervisor. */
    add_script(
        &supervisor, "first",
        "echo x >>starts; echo r >&3; if [ $(wc -l <starts) -lt 3 ]; then sleep 0.1;"
        "kill -9 $$; fi; kill -TERM $PPID; sleep 10 & wait");
    cr_assert_eq(run(&supervisor, &err), 0, "%s", err.message);
    cr_assert_eq(n_lines("starts"), 3);
}

static int fail_when_ready(void *arg, struct kv_err *err)
{
    (void)arg;
    return kv_err_set(err, KV_E_IO, "supervisor.failed", "on purpose");
}

Test(supervise, a_failure_of_on_ready_stops_everything, .init = make_dir,
     .fini = remove_dir)
{
    struct kv_supervisor supervisor = {.on_ready = fail_when_ready};
    struct kv_err err = KV_ERR_INIT;
    add_script(
        &supervisor, "first",
        "trap 'echo y >asked; exit 0' TERM; echo r >&3; while :; do sleep 0.02; done");
    cr_assert_eq(run(&supervisor, &err), KV_E_IO);
    cr_assert_str_eq(err.message, "on purpose");
    cr_assert_eq(n_lines("asked"), 1);
}

Test(supervise, kills_what_does_not_stop, .init = make_dir, .fini = remove_dir,
     .timeout = 30)
{
    struct kv_supervisor supervisor = {0};
    struct kv_err err = KV_ERR_INIT;
    add_script(&supervisor, "first",
               "trap '' TERM; echo r >&3; while :; do sleep 0.05; done");
    cr_assert_eq(run(&supervisor, &err), 0, "%s", err.message);
    cr_assert(WIFSIGNALED(supervisor.children[0].last_status));
    cr_assert_eq(WTERMSIG(supervisor.children[0].last_status), SIGKILL);
}

Test(supervise, a_role_inherits_nothing_but_the_ready_pipe, .init = make_dir,
     .fini = remove_dir)
{
    struct kv_supervisor supervisor = {0};
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(setenv("KEYVAULT_TOKEN", "secret", 1), 0);
    cr_assert_eq(setenv("OPENSSL_CONF", "/somewhere/openssl.cnf", 1), 0);
    cr_assert_eq(setenv("LANG", "C.UTF-8", 1), 0);
    int extra = dup(STDERR_FILENO);
    cr_assert_geq(extra, 0);
    add_script(&supervisor, "first",
               "env >environment; ls /proc/$$/fd >descriptors;"
               "trap 'exit 0' TERM; echo r >&3; while :; do sleep 0.02; done");
    cr_assert_eq(run(&supervisor, &err), 0, "%s", err.message);
    (void)close(extra);
    char command[256];
    (void)snprintf(command, sizeof(command),
                   "cd %s && ! grep -q KEYVAULT_ environment && "
                   "grep -qx OPENSSL_CONF=/dev/null environment && "
                   "grep -qx LANG=C.UTF-8 environment",
                   dir);
    cr_expect_eq(system(command), 0, "environment");
    /* 0 to 3, and what the shell itself has open at 10 or above */
    (void)snprintf(
        command, sizeof(command),
        "cd %s && [ \"$(grep -E '^[0-9]$' descriptors | tr -d '\\n')\" = 0123 ]", dir);
    cr_expect_eq(system(command), 0, "descriptors");
}

Test(supervise, set_replaces_or_appends_an_argument)
{
    struct kv_args args = {0};
    kv_args_add(&args, "program");
    kv_args_set(&args, "--listen", "a:0");
    kv_args_set(&args, "--listen", "a:5");
    cr_assert_eq(args.n, 3);
    cr_assert_str_eq(args.items[2], "a:5");
    cr_assert_null(args.items[3]);
    for (int i = 0; i < KV_ARGS_MAX; i++)
        kv_args_add(&args, "x");
    cr_assert(args.failed);
    kv_args_free(&args);
}
