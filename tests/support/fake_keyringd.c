/*
 * The fake keyring as a program, for tests that run openssl(1) and servers.
 *
 *   fake_keyringd SOCKET [STATE_DIR [MODE]]
 *
 * Prints "ready ABSTRACT-NAME" when it listens; SIGTERM ends it. While it runs,
 * `fake_keyringd --keyref SOCKET NAME [follow]` prints the PEM key file of a key.
 */
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/core/keyref.h"
#include "store/core/str.h"
#include "tests/support/fake_keyring.h"

/* Ask the daemon for a key's description. */
static int ask(const char *path, const char *uri, uint8_t *buf, size_t size,
               struct kv_msg_key *key)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct kv_buf out;
    struct kv_frame frame;
    size_t frame_len = 0;
    size_t have = 0;
    if (kv_str_copy(sun.sun_path, sizeof(sun.sun_path), path) != 0)
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sun, sizeof(sun)) != 0)
        return -1;
    kv_buf_init(&out, KV_FRAME_MAX);
    struct kv_msg_uri msg = {.ops = 0};
    (void)snprintf(msg.uri, sizeof(msg.uri), "%s", uri);
    size_t begin =
        kv_frame_begin(&out, &(struct kv_frame){.id = 1, .verb = KV_VERB_INFO});
    kv_msg_uri_put(&out, &msg);
    kv_frame_end(&out, begin);
    int rc = send(fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len ? 0 : -1;
    kv_buf_free(&out);
    while (rc == 0 &&
           kv_frame_decode(buf, have, KV_FRAME_MAX, &frame, &frame_len) == 0) {
        ssize_t n = recv(fd, buf + have, size - have, 0);
        rc = n > 0 ? 0 : -1;
        have += n > 0 ? (size_t)n : 0;
    }
    (void)close(fd);
    return rc != 0 || frame.status != 0 ? -1 : kv_msg_key_get(frame.payload, key);
}

static int print_keyref(const char *path, const char *name, bool follow)
{
    static uint8_t buf[KV_FRAME_MAX];
    char uri[KV_URI_MAX + 1];
    struct kv_msg_key key;
    struct kv_keyref ref = {.uri = {.collection = KV_URI_KEYS}};
    struct kv_buf pem;
    (void)snprintf(uri, sizeof(uri), "keyvault:///keys/%s", name);
    if (ask(path, uri, buf, sizeof(buf), &key) != 0)
        return 1;
    if (kv_uri_parse(key.uri, strlen(key.uri), &ref.uri, NULL) != 0)
        return 1;
    (void)snprintf(ref.key_type, sizeof(ref.key_type), "%s",
                   key.kty == KV_KTY_RSA  ? "RSA"
                   : key.kty == KV_KTY_EC ? "EC"
                                          : "ED25519");
    if (follow) {
        ref.uri.has_version = false;
    } else {
        memcpy(ref.spki, key.spki.data, key.spki.len);
        ref.spki_len = key.spki.len;
    }
    kv_buf_init(&pem, 8192);
    int rc = kv_keyref_encode_pem(&ref, &pem, NULL);
    if (rc == 0)
        (void)fwrite(pem.data, 1, pem.len, stdout);
    kv_buf_free(&pem);
    return rc != 0;
}

int main(int argc, char **argv)
{
    sigset_t set;
    int signal_number = 0;
    /* A system-wide openssl.cnf may activate the very module under test. */
    (void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
    if (argc >= 4 && strcmp(argv[1], "--keyref") == 0)
        return print_keyref(argv[2], argv[3], argc > 4);
    int mode = argc > 3 ? fake_mode_by_name(argv[3]) : FAKE_GOOD;
    if (argc < 2 || mode < 0) {
        (void)fprintf(stderr, "usage: fake_keyringd SOCKET [STATE_DIR [MODE]]\n");
        return 2;
    }
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    struct fake_keyring *keyring = fake_keyring_start(
        argv[1], argc > 2 && argv[2][0] != '\0' ? argv[2] : NULL, (enum fake_mode)mode);
    if (keyring == NULL)
        return 1;
    (void)printf("ready %s\n", fake_keyring_twin(keyring));
    (void)fflush(stdout);
    (void)sigwait(&set, &signal_number);
    fake_keyring_stop(keyring);
    return 0;
}
