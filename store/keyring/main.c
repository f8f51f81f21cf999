/*
 * keyvault-keyring: the key process.
 *
 *   options -> hardening -> installation open -> pool, role channel, channel
 *   -> ready -> sandbox -> serve -> SIGTERM -> drain -> wipe
 *
 * The main thread accepts connections and talks to the service; loop threads serve
 * the clients (channel_loop.c), the pool does what is slow (pool.c).
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "store/core/log.h"
#include "store/core/secret.h"
#include "store/keyring/boot.h"
#include "store/keyring/channel.h"
#include "store/keyring/machine.h"
#include "store/keyring/nonce.h"
#include "store/keyring/notify.h"
#include "store/keyring/options.h"
#include "store/keyring/role_channel.h"
#include "store/keyring/sandbox.h"

#define POOL_THREADS 2
#define MAIN_SLOT (KV_KEY_SLOTS - 1)
#define POOL_SLOT (KV_KEY_SLOTS - 1 - POOL_THREADS)
#define DRAIN_TICK_MS 10
#define SWEEP_MS 500
#define FILES_WANTED 8192

_Static_assert(KV_CHANNEL_THREADS_MAX <= POOL_SLOT, "one key slot per thread");

enum exit_status { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_ROOT = 3 };

struct process {
    struct kv_options options;
    struct kv_log *log;
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_timer_t drain;
    uv_timer_t sweep; /* of prepared nonces */
    struct kv_boot boot;
    struct kv_anchor *anchor;
    struct kv_ring *ring;
    struct kv_pool *pool;
    struct kv_role_channel *role;
    struct kv_channel *channel;
    bool is_stopping;
};

/* Everything that waits came home: end the threads and close the last handles. */
static void on_drain(uv_timer_t *timer)
{
    struct process *process = timer->data;
    if (kv_channel_n_works(process->channel) > 0 ||
        kv_role_channel_n_works(process->role) > 0)
        return;
    uv_close((uv_handle_t *)timer, NULL);
    uv_close((uv_handle_t *)&process->sweep, NULL);
    kv_pool_stop(process->pool);
    kv_channel_stop(process->channel);
    kv_role_channel_close(process->role);
    for (unsigned i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&process->signals[i], NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct process *process = handle->data;
    if (process->is_stopping)
        return;
    process->is_stopping = true;
    kv_log(process->log, KV_LOG_INFO, "keyring.stopping", KV_I("signal", number));
    kv_channel_shut(process->channel);
    kv_role_channel_shut(process->role);
    KV_ASSERT(uv_timer_start(&process->drain, on_drain, 0, DRAIN_TICK_MS) == 0);
}

/* Room for the connection caps; the hard limit is what there is. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    const rlim_t wanted = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer connections then */
    }
}

static int lock_memory(struct process *process, struct kv_err *err)
{
    struct kv_err reason = KV_ERR_INIT;
    const int rc = kv_sandbox_lock_memory(&reason);
    if (rc == 0)
        return 0;
    if (process->options.may_swap) {
        kv_log(process->log, KV_LOG_WARN, "keyring.memory-not-locked",
               KV_S("why", reason.message));
        return 0;
    }
    *err = reason;
    return rc;
}

static void on_sweep(uv_timer_t *timer)
{
    (void)timer; /* there is one set for the process */
    kv_nonces_sweep();
}

/* Whether signatures are prepared; `why` says what decided it. */
static bool wants_nonces(enum kv_switch wanted, const char **why)
{
    if (wanted == KV_SWITCH_AUTO)
        return kv_machine_judge(kv_machine_cpuid(), "", why) == KV_MACHINE_PHYSICAL;
    *why = "prepared-nonces says so";
    return wanted == KV_SWITCH_ON;
}

static int start_nonces(struct process *process, struct kv_err *err)
{
    const char *why = "";
    struct kv_err reason = KV_ERR_INIT;
    const struct kv_nonces_config config = {
        .clock = kv_clock_system(),
        .rand = kv_rand_kernel(),
        .n_slots = kv_channel_n_loops(process->options.n_threads)};
    bool is_on = wants_nonces(process->options.prepared_nonces, &why);
    if (is_on) {
        const int rc = kv_nonces_start(&config, &reason);
        is_on = rc == 0;
        if (rc != 0 && rc != KV_E_DENIED)
            return kv_err_set(err, rc, "boot.failed", "nonces cannot be prepared: %s",
                              kv_code_text(rc));
        if (rc != 0)
            why = reason.message;
    }
    kv_log(process->log, KV_LOG_INFO, "keyring.nonces",
           KV_S("state", is_on ? "on" : "off"), KV_S("why", why));
    return 0;
}

static int start_signals(struct process *process)
{
    static const int numbers[2] = {SIGTERM, SIGINT};
    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail for these */
    (void)signal(SIGHUP, SIG_IGN);
    for (unsigned i = 0; i < 2; i++) {
        if (uv_signal_init(&process->loop, &process->signals[i]) != 0 ||
            uv_signal_start(&process->signals[i], on_signal, numbers[i]) != 0)
            return KV_E_IO;
        process->signals[i].data = process;
    }
    if (uv_timer_init(&process->loop, &process->drain) != 0)
        return KV_E_IO;
    process->drain.data = process;
    if (uv_timer_init(&process->loop, &process->sweep) != 0 ||
        uv_timer_start(&process->sweep, on_sweep, SWEEP_MS, SWEEP_MS) != 0)
        return KV_E_IO;
    return 0;
}

static int private_socket(const struct process *process, char *path, struct kv_err *err)
{
    char dir[PATH_MAX];
    const uid_t service_uid = process->options.service_uid;
    const mode_t mode = service_uid == geteuid() ? 0700 : 0711;
    if (snprintf(dir, sizeof(dir), "%s/private", process->options.run) >=
            (int)sizeof(dir) ||
        snprintf(path, PATH_MAX, "%s/keyring.sock", dir) >= PATH_MAX)
        return kv_err_set(err, KV_E_TOO_BIG, "boot.no-directory",
                          "the path of the run directory is too long");
    if (mkdir(dir, mode) == 0) {
        if (chmod(dir, mode) != 0)
            return kv_err_errno(err, errno, "boot.no-directory", dir);
    } else if (errno != EEXIST) {
        return kv_err_errno(err, errno, "boot.no-directory", dir);
    }
    struct stat st;
    if (lstat(dir, &st) != 0)
        return kv_err_errno(err, errno, "boot.no-directory", dir);
    if (S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 0022) == 0)
        return 0;
    kv_err_set(err, KV_E_DENIED, "boot.unsafe-directory",
               "others may put a socket of their own into '%s'", dir);
    kv_err_hint(err, "remove it: the keyring makes it anew");
    return KV_E_DENIED;
}

static int start_serving(struct process *process, struct kv_err *err)
{
    int rc = 0;
    char private_path[PATH_MAX];
    char keys_path[PATH_MAX];
    if (snprintf(keys_path, sizeof(keys_path), "%s/keys.sock", process->options.run) >=
        (int)sizeof(keys_path))
        return kv_err_set(err, KV_E_TOO_BIG, "boot.no-directory",
                          "the path of the run directory is too long");
    KV_TRY(private_socket(process, private_path, err));
    KV_TRY(start_signals(process));
    KV_TRY(kv_pool_start(&process->pool, process->ring, POOL_THREADS, POOL_SLOT));
    const struct kv_role_channel_config role = {.loop = &process->loop,
                                                .ring = process->ring,
                                                .pool = process->pool,
                                                .log = process->log,
                                                .path = private_path,
                                                .service_uid =
                                                    process->options.service_uid,
                                                .slot = MAIN_SLOT};
    KV_TRY(kv_role_channel_open(&process->role, &role, err));
    const struct kv_channel_config channel = {.loop = &process->loop,
                                              .ring = process->ring,
                                              .pool = process->pool,
                                              .asks =
                                                  kv_role_channel_asks(process->role),
                                              .log = process->log,
                                              .path = keys_path,
                                              .n_threads = process->options.n_threads};
    KV_TRY(kv_channel_start(&process->channel, &channel, err));
out:
    return rc;
}

static int tell_ready(struct process *process, struct kv_err *err)
{
    const int fd = process->options.ready_fd;
    kv_log(process->log, KV_LOG_INFO, "keyring.ready", KV_I("pid", getpid()));
    if (fd < 0)
        return 0;
    if (write(fd, "1", 1) != 1)
        return kv_err_errno(err, errno, "notify.failed", "--ready-fd");
    close(fd);
    return 0;
}

static int serve(struct process *process, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(kv_boot_anchor(&process->boot, &process->anchor, err));
    KV_TRY(kv_ring_new(&process->ring, process->boot.seal, process->anchor,
                       kv_clock_system()));
    KV_TRY(start_nonces(process, err));
    KV_TRY(start_serving(process, err));
    KV_TRY(kv_notify("READY=1", err));
    KV_TRY(kv_sandbox_enter(err));
    KV_TRY(tell_ready(process, err));
    (void)uv_run(&process->loop, UV_RUN_DEFAULT); /* ends without handles */
    kv_nonces_stop();
    kv_role_channel_free(process->role);
    KV_ASSERT(uv_loop_close(&process->loop) == 0);
    kv_ring_free(process->ring);
    kv_anchor_free(process->anchor);
    kv_log(process->log, KV_LOG_INFO, "keyring.stopped", KV_I("pid", getpid()));
out:
    return rc;
}

static int open_and_serve(struct process *process, struct kv_err *err)
{
    int rc = 0;
    if (process->options.only_init)
        return 0;
    if (process->options.audit_key_fd >= 0)
        return kv_boot_tell_audit(&process->boot, process->options.audit_key_fd, err);
    KV_TRY(kv_keys_init(err));
    KV_TRY(serve(process, err));
    kv_keys_fini();
out:
    return rc;
}

static enum exit_status run(struct process *process, struct kv_err *err)
{
    int rc = 0;
    enum exit_status status = EXIT_FAILED;
    const struct kv_boot_config boot = {.state_dir = process->options.dir,
                                        .may_init = process->options.may_init,
                                        .recovery_out = process->options.recovery_out,
                                        .rand = kv_rand_system(),
                                        .log = process->log};
    raise_file_limit();
    KV_TRY(kv_sandbox_harden(err));
    KV_TRY(lock_memory(process, err));
    status = EXIT_NO_ROOT;
    KV_TRY(kv_boot_open(&process->boot, &boot, err));
    status = EXIT_FAILED;
    KV_TRY(open_and_serve(process, err));
    status = EXIT_DONE;
out:
    if (rc != 0)
        (void)kv_err_set(err, rc, "boot.failed", "the keyring could not start: %s",
                         kv_code_text(rc));
    kv_boot_close(&process->boot);
    return status;
}

int main(int argc, char **argv)
{
    static struct process process;
    struct kv_err err = KV_ERR_INIT;
    process.boot = (struct kv_boot){.dir_fd = -1, .lock_fd = -1};
    if (kv_options_parse(&process.options, argc, argv, &err) != 0) {
        (void)fprintf(stderr, "keyvault-keyring: %s: %s\n%s", err.id, err.message,
                      kv_options_usage);
        return EXIT_USAGE;
    }
    if (process.options.is_help || process.options.is_version) {
        (void)printf("%s", process.options.is_help ? kv_options_usage
                                                   : "keyvault-keyring " KV_VERSION
                                                     "\n");
        return EXIT_DONE;
    }
    (void)umask(077); /* returns the old one, no failure */
    kv_sandbox_close_inherited(process.options.audit_key_fd >= 0
                                   ? process.options.audit_key_fd
                                   : process.options.ready_fd);
    if (kv_wiping_install() != 0 ||
        kv_log_open(&process.log, process.options.log_format, KV_LOG_INFO,
                    STDERR_FILENO, "keyvault-keyring", kv_clock_system()) != 0 ||
        uv_loop_init(&process.loop) != 0) {
        (void)fprintf(stderr, "keyvault-keyring: cannot start\n");
        return EXIT_FAILED;
    }
    const enum exit_status status = run(&process, &err);
    if (status != EXIT_DONE)
        kv_log_err(process.log, KV_LOG_ERROR, "keyring.failed", &err);
    kv_log_close(process.log);
    return (int)status;
}
