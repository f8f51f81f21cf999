/* The real key process in a directory of its own, for journeys. */
#include "tests/support/journey.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/core/str.h"

#define START_MS 20000

struct kv_journey journey;
const uint8_t journey_digest[32] = {1, 2, 3};

void journey_sub(char *out, size_t size, const char *name)
{
    cr_assert_lt(snprintf(out, size, "%s/%s", journey.dir, name), (int)size);
}

static void exec_keyring(int ready_fd, const char *service_uid)
{
    char run[128];
    char log[128];
    char recovery[128];
    char fd[16];
    journey_sub(run, sizeof(run), "run");
    journey_sub(log, sizeof(log), "log");
    journey_sub(recovery, sizeof(recovery), "recovery.key");
    (void)snprintf(fd, sizeof(fd), "%d", ready_fd);
    const char *nonces =
        journey.prepared_nonces != NULL ? journey.prepared_nonces : "auto";
    const int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)dup2(log_fd, STDERR_FILENO);
    execl(getenv("KV_KEYRING"), "keyvault-keyring", "--dir", journey.dir, "--run", run,
          "--service-uid", service_uid, "--init", "--recovery-out", recovery,
          "--allow-swap", "--log", "json", "--ready-fd", fd, "--prepared-nonces",
          nonces, (char *)NULL);
    _exit(127);
}

/* Start the keyring; 0 when it serves, else its exit status. */
int journey_start_as(const char *service_uid)
{
    int ends[2];
    char byte = 0;
    cr_assert_eq(pipe(ends), 0);
    journey.daemon_pid = fork();
    cr_assert_geq(journey.daemon_pid, 0);
    if (journey.daemon_pid == 0) {
        close(ends[0]);
        exec_keyring(ends[1], service_uid);
    }
    close(ends[1]);
    struct pollfd wait_fd = {.fd = ends[0], .events = POLLIN};
    cr_assert_eq(poll(&wait_fd, 1, START_MS), 1, "neither ready nor ended");
    const ssize_t n = read(ends[0], &byte, 1);
    close(ends[0]);
    if (n == 1)
        return 0;
    int status = 0;
    cr_assert_eq(waitpid(journey.daemon_pid, &status, 0), journey.daemon_pid);
    journey.daemon_pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

int journey_start(void)
{
    char uid[16];
    (void)snprintf(uid, sizeof(uid), "%u", geteuid());
    return journey_start_as(uid);
}

int journey_stop(int number)
{
    int status = 0;
    cr_assert_eq(kill(journey.daemon_pid, number), 0);
    cr_assert_eq(waitpid(journey.daemon_pid, &status, 0), journey.daemon_pid);
    journey.daemon_pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void journey_setup_dir(void)
{
    char run[128];
    (void)strcpy(journey.dir, "/tmp/kv-keyring-XXXXXX");
    cr_assert_not_null(mkdtemp(journey.dir));
    cr_assert_eq(chmod(journey.dir, 0711), 0);
    journey_sub(run, sizeof(run), "run");
    cr_assert_eq(mkdir(run, 0755), 0);
    journey_sub(journey.keys_path, sizeof(journey.keys_path), "run/keys.sock");
    journey_sub(journey.role_path, sizeof(journey.role_path),
                "run/private/keyring.sock");
    kv_buf_init_secret(&journey.payload, KV_FRAME_MAX_ROLE);
}

void journey_make_key(const char *name, uint8_t kty, uint8_t curve, uint32_t ops)
{
    const struct kv_role_key_new request = {
        .kty = kty,
        .curve = curve,
        .bits = kty == KV_KTY_RSA ? 2048 : 0,
        .attrs = {
            .ops = ops, .is_enabled = 1, .nbf_s = KV_TIME_NONE, .exp_s = KV_TIME_NONE}};
    const unsigned at = journey.service.n_keys;
    cr_assert_eq(kv_fake_service_key(&journey.service, name, &request), 0);
    journey.service.keys[at].ops = ops | KV_OP_TLS_UNPAD;
    journey.service.keys[at].uid = geteuid();
}

void journey_connect_client(void)
{
    struct kv_msg_hello_reply hello;
    cr_assert_eq(kv_channel_client_open(&journey.client, journey.keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&journey.client, KV_VERB_HELLO, 1, &hello), 0);
    cr_assert_eq(hello.version, KV_PROTOCOL_VERSION);
}

void journey_setup(void)
{
    journey_setup_dir();
    cr_assert_eq(journey_start(), 0);
    cr_assert_eq(kv_fake_service_open(&journey.service, journey.role_path), 0);
    journey_make_key("web", KV_KTY_EC, KV_CURVE_P256, KV_OP_SIGN | KV_OP_DERIVE);
    kv_fake_service_run(&journey.service);
    journey_connect_client();
}

void journey_teardown(void)
{
    char command[128];
    kv_channel_client_close(&journey.client);
    kv_fake_service_free(&journey.service);
    if (journey.daemon_pid > 0)
        cr_assert_eq(journey_stop(SIGTERM), 0, "ends cleanly");
    kv_buf_free(&journey.payload);
    cr_assert_lt(snprintf(command, sizeof(command), "rm -rf %s", journey.dir), 128);
    cr_assert_eq(system(command), 0);
}

int journey_call(uint16_t verb, struct kv_bytes *reply)
{
    return kv_channel_client_call(&journey.client, verb, &journey.payload, reply);
}

int journey_open_key(const char *uri, struct kv_msg_key *key)
{
    struct kv_bytes reply;
    struct kv_msg_uri msg = {.ops = 0};
    cr_assert_eq(kv_str_copy(msg.uri, sizeof(msg.uri), uri), 0);
    kv_buf_reset(&journey.payload);
    kv_msg_uri_put(&journey.payload, &msg);
    const int rc = journey_call(KV_VERB_OPEN, &reply);
    if (rc == 0)
        cr_assert_eq(kv_msg_key_get(reply, key), 0);
    return rc;
}

void journey_put_sign(uint8_t version, uint8_t sig)
{
    struct kv_msg_sign msg = {.sig = sig,
                              .md = KV_MD_SHA256,
                              .input = {journey_digest, sizeof(journey_digest)}};
    memset(msg.version, version, KV_ID_LEN);
    kv_buf_reset(&journey.payload);
    kv_msg_sign_put(&journey.payload, &msg);
}

int journey_sign(struct kv_bytes *signature)
{
    journey_put_sign(1, KV_SIG_ECDSA);
    return journey_call(KV_VERB_SIGN, signature);
}

void journey_restart_service(void)
{
    kv_fake_service_hang_up(&journey.service);
    cr_assert_eq(kv_fake_service_open(&journey.service, journey.role_path), 0);
}

bool journey_log_has(const char *text)
{
    char path[128];
    static char content[65536];
    journey_sub(path, sizeof(path), "log");
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    const size_t n = fread(content, 1, sizeof(content) - 1, file);
    content[n] = '\0';
    (void)fclose(file);
    return strstr(content, text) != NULL;
}
