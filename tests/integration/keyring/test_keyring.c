/*
 * Journeys with the real keyvault-keyring: started in a directory of its own, spoken
 * to over its sockets, killed and started again.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/core/str.h"
#include "tests/support/fake_service.h"

TestSuite(keyring, .timeout = 60);

#define START_MS 20000

static char dir[64];
static char keys_path[128];
static char role_path[128];
static pid_t daemon_pid;
static struct kv_fake_service service;
static struct kv_channel_client client;
static struct kv_buf payload;

static void sub(char *out, size_t size, const char *name)
{
    cr_assert_lt(snprintf(out, size, "%s/%s", dir, name), (int)size);
}

static void exec_keyring(int ready_fd, const char *service_uid)
{
    char run[128];
    char log[128];
    char recovery[128];
    char fd[16];
    sub(run, sizeof(run), "run");
    sub(log, sizeof(log), "log");
    sub(recovery, sizeof(recovery), "recovery.key");
    (void)snprintf(fd, sizeof(fd), "%d", ready_fd);
    const int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    (void)dup2(log_fd, STDERR_FILENO);
    execl(getenv("KV_KEYRING"), "keyvault-keyring", "--dir", dir, "--run", run,
          "--service-uid", service_uid, "--init", "--recovery-out", recovery,
          "--allow-swap", "--log", "json", "--ready-fd", fd, (char *)NULL);
    _exit(127);
}

/* Start the keyring; 0 when it serves, else its exit status. */
static int start_as(const char *service_uid)
{
    int ends[2];
    char byte = 0;
    cr_assert_eq(pipe(ends), 0);
    daemon_pid = fork();
    cr_assert_geq(daemon_pid, 0);
    if (daemon_pid == 0) {
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
    cr_assert_eq(waitpid(daemon_pid, &status, 0), daemon_pid);
    daemon_pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static int start(void)
{
    char uid[16];
    (void)snprintf(uid, sizeof(uid), "%u", geteuid());
    return start_as(uid);
}

static int stop(int number)
{
    int status = 0;
    cr_assert_eq(kill(daemon_pid, number), 0);
    cr_assert_eq(waitpid(daemon_pid, &status, 0), daemon_pid);
    daemon_pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void setup_dir(void)
{
    char run[128];
    (void)strcpy(dir, "/tmp/kv-keyring-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chmod(dir, 0711), 0);
    sub(run, sizeof(run), "run");
    cr_assert_eq(mkdir(run, 0755), 0);
    sub(keys_path, sizeof(keys_path), "run/keys.sock");
    sub(role_path, sizeof(role_path), "run/private/keyring.sock");
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
}

static void make_key(const char *name, uint8_t kty, uint8_t curve, uint32_t ops)
{
    const struct kv_role_key_new request = {
        .kty = kty,
        .curve = curve,
        .bits = kty == KV_KTY_RSA ? 2048 : 0,
        .attrs = {
            .ops = ops, .is_enabled = 1, .nbf_s = KV_TIME_NONE, .exp_s = KV_TIME_NONE}};
    const unsigned at = service.n_keys;
    cr_assert_eq(kv_fake_service_key(&service, name, &request), 0);
    service.keys[at].ops = ops | KV_OP_TLS_UNPAD;
    service.keys[at].uid = geteuid();
}

static void connect_client(void)
{
    struct kv_msg_hello_reply hello;
    cr_assert_eq(kv_channel_client_open(&client, keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&client, KV_VERB_HELLO, 1, &hello), 0);
    cr_assert_eq(hello.version, KV_PROTOCOL_VERSION);
}

static void setup(void)
{
    setup_dir();
    cr_assert_eq(start(), 0);
    cr_assert_eq(kv_fake_service_open(&service, role_path), 0);
    make_key("web", KV_KTY_EC, KV_CURVE_P256, KV_OP_SIGN | KV_OP_DERIVE);
    kv_fake_service_run(&service);
    connect_client();
}

static void teardown(void)
{
    char command[128];
    kv_channel_client_close(&client);
    kv_fake_service_free(&service);
    if (daemon_pid > 0)
        cr_assert_eq(stop(SIGTERM), 0, "ends cleanly");
    kv_buf_free(&payload);
    cr_assert_lt(snprintf(command, sizeof(command), "rm -rf %s", dir), 128);
    cr_assert_eq(system(command), 0);
}

static int call(uint16_t verb, struct kv_bytes *reply)
{
    return kv_channel_client_call(&client, verb, &payload, reply);
}

static int open_key(const char *uri, struct kv_msg_key *key)
{
    struct kv_bytes reply;
    struct kv_msg_uri msg = {.ops = 0};
    cr_assert_eq(kv_str_copy(msg.uri, sizeof(msg.uri), uri), 0);
    kv_buf_reset(&payload);
    kv_msg_uri_put(&payload, &msg);
    const int rc = call(KV_VERB_OPEN, &reply);
    if (rc == 0)
        cr_assert_eq(kv_msg_key_get(reply, key), 0);
    return rc;
}

static const uint8_t digest[32] = {1, 2, 3};

static void put_sign(uint8_t version, uint8_t sig)
{
    struct kv_msg_sign msg = {
        .sig = sig, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    memset(msg.version, version, KV_ID_LEN);
    kv_buf_reset(&payload);
    kv_msg_sign_put(&payload, &msg);
}

static int sign(struct kv_bytes *signature)
{
    put_sign(1, KV_SIG_ECDSA);
    return call(KV_VERB_SIGN, signature);
}

static EVP_PKEY *public_of(struct kv_bytes spki)
{
    const unsigned char *at = spki.data;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)spki.len);
    cr_assert_not_null(pkey);
    return pkey;
}

static bool verifies(EVP_PKEY *pkey, struct kv_bytes signature)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    cr_assert_eq(EVP_PKEY_verify_init(ctx), 1);
    const int ok = EVP_PKEY_verify(ctx, signature.data, signature.len, digest, 32);
    EVP_PKEY_CTX_free(ctx);
    return ok == 1;
}

Test(keyring, signs_so_that_the_public_key_verifies, .init = setup, .fini = teardown)
{
    struct kv_msg_key key;
    struct kv_bytes signature;
    cr_assert_eq(open_key("keyvault:web", &key), 0);
    cr_assert_eq(key.ops, (uint32_t)KV_OP_SIGN | KV_OP_DERIVE);
    EVP_PKEY *pkey = public_of(key.spki);
    cr_assert_eq(sign(&signature), 0);
    cr_assert(verifies(pkey, signature));
    const unsigned n_questions = atomic_load(&service.n_questions);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(sign(&signature), 0);
    cr_assert_eq(atomic_load(&service.n_questions), n_questions, "asked only once");
    EVP_PKEY_free(pkey);
}

Test(keyring, agrees_on_a_secret_with_a_peer, .init = setup, .fini = teardown)
{
    struct kv_msg_key key;
    struct kv_bytes secret;
    unsigned char *spki = NULL;
    unsigned char ours[64];
    size_t ours_len = sizeof(ours);
    cr_assert_eq(open_key("keyvault:web", &key), 0);
    EVP_PKEY *vault = public_of(key.spki);
    EVP_PKEY *peer = EVP_EC_gen("P-256");
    const int len = i2d_PUBKEY(peer, &spki);
    cr_assert_gt(len, 0);
    struct kv_msg_derive msg = {.peer_spki = {spki, (size_t)len}};
    memset(msg.version, 1, KV_ID_LEN);
    kv_buf_reset(&payload);
    kv_msg_derive_put(&payload, &msg);
    cr_assert_eq(call(KV_VERB_DERIVE, &secret), 0);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(peer, NULL);
    cr_assert_eq(EVP_PKEY_derive_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_derive_set_peer(ctx, vault), 1);
    cr_assert_eq(EVP_PKEY_derive(ctx, ours, &ours_len), 1);
    cr_assert_eq(secret.len, ours_len);
    cr_assert_eq(memcmp(secret.data, ours, ours_len), 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(vault);
    OPENSSL_free(spki);
}

static void restart_service(void)
{
    kv_fake_service_hang_up(&service);
    cr_assert_eq(kv_fake_service_open(&service, role_path), 0);
}

Test(keyring, decrypts_and_signs_with_rsa_on_loop_and_pool, .init = setup,
     .fini = teardown)
{
    static const char text[] = "a secret";
    unsigned char sealed[512];
    struct kv_msg_key key;
    struct kv_bytes plain;
    restart_service();
    make_key("rsa", KV_KTY_RSA, KV_CURVE_NONE, KV_OP_SIGN | KV_OP_DECRYPT);
    const struct kv_role_key_new big = {.kty = KV_KTY_RSA,
                                        .bits = 3072,
                                        .attrs = {.ops = KV_OP_SIGN,
                                                  .is_enabled = 1,
                                                  .nbf_s = KV_TIME_NONE,
                                                  .exp_s = KV_TIME_NONE}};
    cr_assert_eq(kv_fake_service_key(&service, "big", &big), 0);
    service.keys[2].ops = KV_OP_SIGN;
    service.keys[2].uid = geteuid();
    kv_fake_service_run(&service);

    cr_assert_eq(open_key("keyvault:keys/rsa", &key), 0);
    EVP_PKEY *pkey = public_of(key.spki);
    size_t len = sizeof(sealed);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(pkey, NULL);
    cr_assert_eq(EVP_PKEY_encrypt_init(ctx), 1);
    cr_assert_eq(EVP_PKEY_CTX_ctrl_str(ctx, "rsa_padding_mode", "oaep"), 1);
    cr_assert_eq(EVP_PKEY_CTX_ctrl_str(ctx, "rsa_oaep_md", "sha256"), 1);
    cr_assert_eq(
        EVP_PKEY_encrypt(ctx, sealed, &len, (const unsigned char *)text, sizeof(text)),
        1);
    EVP_PKEY_CTX_free(ctx);
    struct kv_msg_decrypt msg = {.enc = KV_ENC_OAEP,
                                 .md = KV_MD_SHA256,
                                 .mgf1_md = KV_MD_SHA256,
                                 .input = {sealed, len}};
    memset(msg.version, 2, KV_ID_LEN);
    kv_buf_reset(&payload);
    kv_msg_decrypt_put(&payload, &msg);
    cr_assert_eq(call(KV_VERB_DECRYPT, &plain), 0);
    cr_assert_eq(plain.len, sizeof(text));
    cr_assert_eq(memcmp(plain.data, text, sizeof(text)), 0);
    sealed[7] ^= 1;
    kv_buf_reset(&payload);
    kv_msg_decrypt_put(&payload, &msg);
    cr_assert_eq(call(KV_VERB_DECRYPT, &plain), KV_E_CRYPTO);
    msg.enc = KV_ENC_TLS;
    msg.md = KV_MD_NONE;
    msg.mgf1_md = KV_MD_NONE;
    msg.tls_client_version = 0x0303;
    kv_buf_reset(&payload);
    kv_msg_decrypt_put(&payload, &msg);
    cr_assert_eq(call(KV_VERB_DECRYPT, &plain), 0, "bad padding is not told");
    cr_assert_eq(plain.len, 48);

    put_sign(3, KV_SIG_PKCS1);
    cr_assert_eq(call(KV_VERB_SIGN, &plain), 0, "asked by version, signed by the pool");
    cr_assert_eq(plain.len, 384);
    put_sign(2, KV_SIG_PKCS1);
    cr_assert_eq(call(KV_VERB_SIGN, &plain), 0);
    cr_assert_eq(plain.len, 256);
    EVP_PKEY_free(pkey);
}

Test(keyring, answers_info_certificates_and_lists, .init = setup, .fini = teardown)
{
    struct kv_bytes reply;
    struct kv_msg_key key;
    static struct kv_msg_certs certs;
    static struct kv_msg_list_reply list;
    struct kv_msg_uri uri = {.uri = "keyvault:web"};
    kv_msg_uri_put(&payload, &uri);
    cr_assert_eq(call(KV_VERB_INFO, &reply), 0);
    cr_assert_eq(kv_msg_key_get(reply, &key), 0);
    cr_assert_str_eq(key.uri, service.keys[0].uri);
    cr_assert_eq(call(KV_VERB_CERT, &reply), 0);
    cr_assert_eq(kv_msg_certs_get(reply, &certs), 0);
    cr_assert_eq(certs.n, 1);
    const struct kv_msg_list question = {.collection = KV_URI_KEYS};
    kv_buf_reset(&payload);
    kv_msg_list_put(&payload, &question);
    cr_assert_eq(call(KV_VERB_LIST, &reply), 0);
    cr_assert_eq(kv_msg_list_reply_get(reply, &list), 0);
    cr_assert_eq(list.n, 1);
    cr_assert_str_eq(list.entry[0].uri, "keyvault:web");
}

Test(keyring, refuses_in_the_words_of_the_service, .init = setup, .fini = teardown)
{
    struct kv_msg_key key;
    struct kv_bytes reply;
    cr_assert_eq(open_key("keyvault:nothing", &key), KV_E_NOT_FOUND);
    cr_assert_str_eq(client.error.id, "fake.not-found");
    service.keys[0].ops = 0;
    cr_assert_eq(open_key("keyvault:web", &key), KV_E_DENIED);
    cr_assert_eq(sign(&reply), KV_E_DENIED);
    cr_assert_eq(open_key("keyvault:a/b/c", &key), KV_E_INVALID);
    cr_assert_eq(open_key("keyvault:web", &key), KV_E_DENIED, "the connection lives");
}

Test(keyring, has_an_abstract_twin, .init = setup, .fini = teardown)
{
    char name[128];
    char id[2 * KV_ID_LEN + 1];
    struct kv_msg_hello_reply hello;
    struct kv_channel_client twin;
    cr_assert_eq(kv_channel_client_hello(&client, KV_VERB_HELLO, 0, &hello), 0);
    kv_hex_encode(id, hello.installation, KV_ID_LEN);
    (void)snprintf(name, sizeof(name), "@keyvault/%s/keys", id);
    cr_assert_eq(kv_channel_client_open(&twin, name), 0);
    cr_assert_eq(kv_channel_client_hello(&twin, KV_VERB_HELLO, 0, &hello), 0);
    cr_assert_eq(hello.has_service, 1);
    kv_channel_client_close(&twin);
}

static void put_u32(uint8_t *out, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

/* Send bytes as the first or a later frame; one refusal comes, then the end. */
static void is_refused(bool says_hello, const void *data, size_t len, const char *id)
{
    struct kv_frame frame;
    struct kv_msg_error error;
    struct kv_msg_hello_reply hello;
    struct kv_channel_client bad;
    cr_assert_eq(kv_channel_client_open(&bad, keys_path), 0);
    if (says_hello)
        cr_assert_eq(kv_channel_client_hello(&bad, KV_VERB_HELLO, 0, &hello), 0);
    cr_assert(kv_channel_client_send(&bad, data, len));
    cr_assert_eq(kv_channel_client_read(&bad, &frame, 5000), 0, "%s", id);
    cr_assert_eq(frame.status, KV_E_INVALID);
    cr_assert_eq(kv_msg_error_get(frame.payload, &error), 0);
    cr_assert_str_eq(error.id, id);
    cr_assert_eq(kv_channel_client_read(&bad, &frame, 5000), KV_E_UNAVAILABLE);
    kv_channel_client_close(&bad);
}

Test(keyring, malformed_frames_are_refused_and_hurt_nobody_else, .init = setup,
     .fini = teardown)
{
    struct kv_bytes reply;
    uint8_t frame[32] = {0};
    for (int hello = 0; hello < 2; hello++) {
        put_u32(frame, KV_FRAME_MAX + 1 - 4);
        is_refused(hello, frame, 16, "channel.bad-frame");
        put_u32(frame, 0xffffffff);
        is_refused(hello, frame, 4, "channel.bad-frame");
        put_u32(frame, 11);
        is_refused(hello, frame, 15, "channel.bad-frame");
        put_u32(frame, 12);
        frame[10] = 2; /* an unknown flag */
        is_refused(hello, frame, 16, "channel.bad-frame");
        frame[10] = 0;
    }
    put_u32(frame, 12);
    frame[8] = KV_VERB_SIGN;
    is_refused(false, frame, 16, "channel.no-hello");
    is_refused(true, frame, 16, "channel.bad-frame");
    frame[8] = KV_VERB_HELLO;
    is_refused(true, frame, 16, "channel.bad-frame");
    cr_assert_eq(sign(&reply), 0, "others are still served");
}

Test(keyring, no_verb_of_the_service_works_on_the_front_door, .init = setup,
     .fini = teardown)
{
    struct kv_bytes reply;
    for (uint16_t verb = 0; verb < 300; verb++) {
        if (verb >= KV_VERB_HELLO && verb <= KV_VERB_DERIVE)
            continue;
        kv_buf_reset(&payload);
        cr_assert_eq(call(verb, &reply), KV_E_UNSUPPORTED, "verb %u", verb);
    }
}

Test(keyring, pipelined_frames_in_odd_pieces_are_all_answered, .init = setup,
     .fini = teardown)
{
    enum { N = 200 };
    struct kv_buf out;
    struct kv_frame frame;
    static uint8_t seen[N + 1];
    kv_buf_init(&out, 1u << 20);
    put_sign(1, KV_SIG_ECDSA);
    for (uint32_t id = 1; id <= N; id++) {
        const size_t begin = kv_frame_begin(
            &out, &(struct kv_frame){.id = 5000 + id, .verb = KV_VERB_SIGN});
        kv_wire_put_raw(&out, payload.data, payload.len);
        kv_frame_end(&out, begin);
    }
    struct kv_bytes reply;
    cr_assert_eq(sign(&reply), 0);
    for (size_t at = 0; at < out.len; at += 1013) {
        const size_t n = out.len - at < 1013 ? out.len - at : 1013;
        cr_assert(kv_channel_client_send(&client, out.data + at, n));
    }
    for (uint32_t i = 1; i <= N; i++) {
        cr_assert_eq(kv_channel_client_read(&client, &frame, 5000), 0);
        cr_assert_eq(frame.status, 0);
        cr_assert(frame.id > 5000 && frame.id <= 5000 + N && !seen[frame.id - 5000]);
        seen[frame.id - 5000] = 1;
    }
    kv_buf_free(&out);
}

Test(keyring, many_frames_that_ask_the_same_are_asked_once, .init = setup,
     .fini = teardown)
{
    enum { N = 40 };
    struct kv_buf out;
    struct kv_frame frame;
    kv_buf_init(&out, 1u << 20);
    put_sign(1, KV_SIG_ECDSA);
    for (uint32_t id = 1; id <= N; id++) {
        const size_t begin =
            kv_frame_begin(&out, &(struct kv_frame){.id = id, .verb = KV_VERB_SIGN});
        kv_wire_put_raw(&out, payload.data, payload.len);
        kv_frame_end(&out, begin);
    }
    cr_assert(kv_channel_client_send(&client, out.data, out.len));
    for (uint32_t i = 0; i < N; i++) {
        cr_assert_eq(kv_channel_client_read(&client, &frame, 5000), 0);
        cr_assert_eq(frame.status, 0);
    }
    cr_assert_lt(atomic_load(&service.n_questions), N / 2);
    kv_buf_free(&out);
}

Test(keyring, client_that_does_not_read_is_bounded, .init = setup, .fini = teardown)
{
    struct kv_msg_hello_reply hello;
    struct kv_channel_client deaf;
    struct kv_bytes reply;
    cr_assert_eq(sign(&reply), 0);
    cr_assert_eq(kv_channel_client_open(&deaf, keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&deaf, KV_VERB_HELLO, 1, &hello), 0);
    cr_assert_eq(fcntl(deaf.fd, F_SETFL, O_NONBLOCK), 0);
    put_sign(1, KV_SIG_ECDSA);
    unsigned n_sent = 0;
    unsigned n_full = 0;
    while (n_full < 20 && n_sent < 100000) {
        struct kv_buf out;
        kv_buf_init(&out, 4096);
        const size_t begin =
            kv_frame_begin(&out, &(struct kv_frame){.id = 1, .verb = KV_VERB_SIGN});
        kv_wire_put_raw(&out, payload.data, payload.len);
        kv_frame_end(&out, begin);
        if (send(deaf.fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len) {
            n_sent++;
        } else {
            n_full++;
            (void)usleep(10000);
        }
        kv_buf_free(&out);
    }
    cr_assert_eq(n_full, 20, "sending came to a halt");
    cr_assert_eq(sign(&reply), 0, "others on the same loop are served");
    kv_channel_client_close(&deaf);
}

Test(keyring, half_frames_and_silence_before_hello_end, .init = setup, .fini = teardown)
{
    struct kv_frame frame;
    struct kv_msg_hello_reply hello;
    struct kv_channel_client half;
    struct kv_channel_client silent;
    cr_assert_eq(kv_channel_client_open(&half, keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&half, KV_VERB_HELLO, 0, &hello), 0);
    cr_assert(kv_channel_client_send(&half, "\x40\0\0\0abc", 7));
    cr_assert_eq(kv_channel_client_open(&silent, keys_path), 0);
    cr_assert_eq(kv_channel_client_read(&half, &frame, 15000), KV_E_UNAVAILABLE);
    cr_assert_eq(kv_channel_client_read(&silent, &frame, 15000), KV_E_UNAVAILABLE);
    kv_channel_client_close(&half);
    kv_channel_client_close(&silent);
    struct kv_bytes reply;
    cr_assert_eq(sign(&reply), 0, "an idle connection stays");
}

Test(keyring, grants_live_on_without_the_service_and_no_new_ones_come, .init = setup,
     .fini = teardown)
{
    struct kv_bytes reply;
    struct kv_msg_key key;
    cr_assert_eq(sign(&reply), 0);
    kv_fake_service_hang_up(&service);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(sign(&reply), 0);
        (void)usleep(50000);
    }
    cr_assert_eq(open_key("keyvault:web", &key), KV_E_UNAVAILABLE);
    cr_assert_str_eq(client.error.id, "channel.no-service");
    cr_assert_eq(kv_fake_service_open(&service, role_path), 0);
    kv_fake_service_run(&service);
    cr_assert_eq(open_key("keyvault:web", &key), 0);
}

Test(keyring, question_survives_a_restart_of_the_service, .init = setup,
     .fini = teardown)
{
    struct kv_frame frame;
    atomic_store(&service.is_silent, true);
    put_sign(1, KV_SIG_ECDSA);
    (void)kv_channel_client_request(&client, KV_VERB_SIGN, &payload);
    (void)usleep(300000);
    atomic_store(&service.is_silent, false);
    restart_service();
    kv_fake_service_run(&service);
    cr_assert_eq(kv_channel_client_read(&client, &frame, 5000), 0);
    cr_assert_eq(frame.status, 0);
}

Test(keyring, policy_change_ends_a_grant_within_a_second, .init = setup,
     .fini = teardown)
{
    struct kv_bytes reply;
    cr_assert_eq(sign(&reply), 0);
    service.keys[0].ops = 0;
    atomic_fetch_add(&service.epoch, 1);
    int rc = 0;
    for (int i = 0; i < 20 && rc == 0; i++) {
        (void)usleep(50000);
        rc = sign(&reply);
    }
    cr_assert_eq(rc, KV_E_DENIED);
}

Test(keyring, killed_and_started_again_it_serves_the_same_keys, .init = setup,
     .fini = teardown)
{
    struct kv_bytes reply;
    struct kv_msg_key key;
    struct kv_msg_key again;
    uint8_t spki[KV_SPKI_MAX];
    cr_assert_eq(open_key("keyvault:web", &key), 0);
    const size_t spki_len = key.spki.len;
    memcpy(spki, key.spki.data, spki_len);
    cr_assert_eq(stop(SIGKILL), -SIGKILL);
    cr_assert_eq(sign(&reply), KV_E_UNAVAILABLE);
    kv_channel_client_close(&client);
    kv_fake_service_hang_up(&service);
    cr_assert_eq(start(), 0, "a socket left behind does not matter");
    cr_assert_eq(kv_fake_service_open(&service, role_path), 0);
    kv_fake_service_run(&service);
    connect_client();
    cr_assert_eq(sign(&reply), 0, "nothing was opened again");
    cr_assert_eq(open_key("keyvault:web", &again), 0);
    cr_assert_eq(again.spki.len, spki_len);
    cr_assert_eq(memcmp(again.spki.data, spki, spki_len), 0);
}

Test(keyring, newest_connection_of_the_service_wins, .init = setup, .fini = teardown)
{
    struct kv_fake_service second;
    struct kv_frame frame;
    memset(&second, 0, sizeof(second));
    kv_fake_service_hang_up(&service);
    cr_assert_eq(kv_fake_service_open(&service, role_path), 0);
    cr_assert_eq(kv_channel_client_open(&second.client, role_path), 0);
    cr_assert_eq(kv_channel_client_read(&service.client, &frame, 5000),
                 KV_E_UNAVAILABLE);
    kv_channel_client_close(&second.client);
}

Test(keyring, strangers_get_no_grant, .init = setup, .fini = teardown)
{
    struct kv_bytes reply;
    if (geteuid() != 0)
        cr_skip_test("another uid needs root");
    cr_assert_eq(sign(&reply), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct kv_msg_hello_reply hello;
        struct kv_channel_client mine;
        int rc = setgid(65534) == 0 && setuid(65534) == 0 ? 0 : 1;
        if (rc == 0)
            rc = kv_channel_client_open(&mine, keys_path);
        if (rc == 0)
            rc = kv_channel_client_hello(&mine, KV_VERB_HELLO, 0, &hello);
        put_sign(1, KV_SIG_ECDSA);
        if (rc == 0)
            rc = kv_channel_client_call(&mine, KV_VERB_SIGN, &payload, &reply);
        _exit(rc == KV_E_DENIED ? 0 : 1);
    }
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

Test(keyring, private_socket_serves_only_the_uid_of_the_service, .init = setup_dir,
     .fini = teardown)
{
    struct kv_frame frame;
    struct kv_msg_hello_reply hello;
    struct kv_channel_client stranger;
    cr_assert_eq(start_as("4242"), 0);
    cr_assert_eq(kv_channel_client_open(&stranger, role_path), 0);
    cr_assert_eq(kv_channel_client_read(&stranger, &frame, 5000), KV_E_UNAVAILABLE);
    kv_channel_client_close(&stranger);
    cr_assert_eq(kv_channel_client_open(&client, keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&client, KV_VERB_HELLO, 0, &hello), 0);
    cr_assert_eq(hello.has_service, 0);
}

Test(keyring, installation_is_made_once_with_safe_modes, .init = setup,
     .fini = teardown)
{
    static const struct {
        const char *name;
        mode_t mode;
    } files[] = {{"keyring", 0700},       {"keyring/keyfile", 0400},
                 {"keyring/slots", 0600}, {"recovery.key", 0600},
                 {"run/keys.sock", 0666}, {"run/private", 0700}};
    char path[128];
    struct stat st;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        sub(path, sizeof(path), files[i].name);
        cr_assert_eq(stat(path, &st), 0, "%s", files[i].name);
        cr_assert_eq(st.st_mode & 07777, files[i].mode, "%s", files[i].name);
    }
    cr_assert_eq(stop(SIGTERM), 0);
    sub(path, sizeof(path), "recovery.key");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(start(), 0);
    cr_assert_neq(stat(path, &st), 0, "the recovery key is told once");
}

static bool log_has(const char *text)
{
    char path[128];
    static char content[65536];
    sub(path, sizeof(path), "log");
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    const size_t n = fread(content, 1, sizeof(content) - 1, file);
    content[n] = '\0';
    (void)fclose(file);
    return strstr(content, text) != NULL;
}

Test(keyring, directory_has_one_keyring, .init = setup, .fini = teardown)
{
    struct kv_bytes reply;
    const pid_t first = daemon_pid;
    cr_assert_eq(start(), 3);
    daemon_pid = first;
    cr_assert(log_has("boot.running"));
    cr_assert_eq(sign(&reply), 0, "the first one still serves");
}

Test(keyring, damaged_installation_is_told_and_nothing_starts, .init = setup_dir,
     .fini = teardown)
{
    char path[128];
    cr_assert_eq(start(), 0);
    cr_assert_eq(stop(SIGTERM), 0);
    sub(path, sizeof(path), "keyring/keyfile");
    cr_assert_eq(chmod(path, 0600), 0);
    cr_assert_eq(start(), 3);
    cr_assert(log_has("keyfile.wrong-mode"));
    const int fd = open(path, O_WRONLY);
    cr_assert_eq(pwrite(fd, "\x55\xaa\x55", 3, 4), 3);
    close(fd);
    cr_assert_eq(chmod(path, 0400), 0);
    cr_assert_eq(start(), 3);
    cr_assert(log_has("slot.wrong-secret"));
    sub(path, sizeof(path), "keyring/slots");
    cr_assert_eq(truncate(path, 100), 0);
    sub(path, sizeof(path), "keyring/keyfile");
    cr_assert_eq(start(), 3);
    cr_assert(log_has("slot.damaged"));
}

Test(keyring, gives_up_what_it_does_not_need, .init = setup, .fini = teardown)
{
    char path[64];
    char line[256];
    bool has_filter = false;
    bool has_no_new_privs = false;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", daemon_pid);
    FILE *file = fopen(path, "re");
    cr_assert_not_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        has_filter |= strcmp(line, "Seccomp:\t2\n") == 0;
        has_no_new_privs |= strcmp(line, "NoNewPrivs:\t1\n") == 0;
    }
    (void)fclose(file);
    cr_assert(has_filter && has_no_new_privs);
}
