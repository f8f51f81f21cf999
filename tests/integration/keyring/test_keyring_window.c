/*
 * Windows of the real keyvault-keyring: what goes by one, and clients that do not keep
 * to it. The test maps the page as any client may and writes into it what it likes.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support/journey.h"

TestSuite(keyring_window, .timeout = 60);

enum {
    WEB = 1,
    SLOW = 2,
    NONE = 9
}; /* versions: two keys, and one that is not there */

struct end {
    struct kv_channel_client client;
    struct kv_window *page;
    int page_fd;
    int bell;
};

static void setup(void)
{
    const struct kv_role_key_new slow = {.kty = KV_KTY_RSA,
                                         .bits = 3072,
                                         .attrs = {.ops = KV_OP_SIGN,
                                                   .is_enabled = 1,
                                                   .nbf_s = KV_TIME_NONE,
                                                   .exp_s = KV_TIME_NONE}};
    journey_setup_dir();
    cr_assert_eq(journey_start(), 0);
    cr_assert_eq(kv_fake_service_open(&journey.service, journey.role_path), 0);
    journey_make_key("web", KV_KTY_EC, KV_CURVE_P256, KV_OP_SIGN | KV_OP_DERIVE);
    cr_assert_eq(kv_fake_service_key(&journey.service, "slow", &slow), 0);
    journey.service.keys[1].ops = KV_OP_SIGN;
    journey.service.keys[1].uid = geteuid();
    kv_fake_service_run(&journey.service);
    journey_connect_client();
}

static bool receive_fds(int fd, int fds[2])
{
    union {
        struct cmsghdr head;
        uint8_t space[CMSG_SPACE(2 * sizeof(int))];
    } control;
    uint8_t bytes[512];
    struct iovec iov = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &control,
                         .msg_controllen = sizeof(control)};
    if (recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) != KV_FRAME_HEADER_LEN)
        return false;
    const struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    if (cmsg == NULL || cmsg->cmsg_type != SCM_RIGHTS)
        return false;
    memcpy(fds, CMSG_DATA(cmsg), 2 * sizeof(int));
    return true;
}

static void open_end(struct end *end)
{
    int fds[2] = {-1, -1};
    struct kv_msg_hello_reply hello;
    struct kv_buf none;
    kv_buf_init(&none, 16);
    cr_assert_eq(kv_channel_client_open(&end->client, journey.keys_path), 0);
    cr_assert_eq(kv_channel_client_hello(&end->client, KV_VERB_HELLO, 1, &hello), 0);
    (void)kv_channel_client_request(&end->client, KV_VERB_WINDOW, &none);
    cr_assert(receive_fds(end->client.fd, fds));
    end->page_fd = fds[0];
    end->bell = fds[1];
    end->page = mmap(NULL, sizeof(*end->page), PROT_READ | PROT_WRITE, MAP_SHARED,
                     end->page_fd, 0);
    cr_assert_neq(end->page, MAP_FAILED);
}

static void close_end(struct end *end)
{
    (void)munmap(end->page, sizeof(*end->page)); /* cannot fail for what was mapped */
    (void)close(end->page_fd);
    (void)close(end->bell);
    kv_channel_client_close(&end->client);
}

static void ring(const struct end *end)
{
    const uint64_t one = 1;
    cr_assert_eq(write(end->bell, &one, sizeof(one)), sizeof(one));
}

/* Put a SIGN frame of this key into the window; its length. */
static size_t put_sign(struct end *end, uint8_t key, uint8_t sig)
{
    struct kv_buf out;
    struct kv_msg_sign msg = {.sig = sig,
                              .md = KV_MD_SHA256,
                              .mgf1_md = KV_MD_NONE,
                              .input = {journey_digest, 32}};
    memset(msg.version, key, KV_ID_LEN);
    if (key != NONE)
        memcpy(msg.version, journey.service.keys[key - 1].ident.version, KV_ID_LEN);
    kv_buf_init(&out, sizeof(end->page->request));
    const size_t begin =
        kv_frame_begin(&out, &(struct kv_frame){.id = 77, .verb = KV_VERB_SIGN});
    kv_msg_sign_put(&out, &msg);
    kv_frame_end(&out, begin);
    memcpy(end->page->request, out.data, out.len);
    const size_t len = out.len;
    kv_buf_free(&out);
    return len;
}

/* Wait until the keyring answers number `asked` or closes; false when it closed. */
static bool await(const struct end *end, uint32_t asked)
{
    for (int i = 0; i < 5000; i++) {
        const struct timespec slice = {.tv_nsec = 10000000};
        const uint32_t seen = end->page->answered;
        if (seen == asked)
            return true;
        if (end->page->is_closed != 0)
            return false;
        (void)syscall(SYS_futex, &end->page->answered, FUTEX_WAIT, seen, &slice, NULL,
                      0); /* the loop looks again */
    }
    cr_assert_fail("the keyring neither answers nor closes");
    return false;
}

/* Ask for a signature by the window; the status of the reply. */
static int sign(struct end *end, uint8_t key, uint8_t sig, size_t *sig_len)
{
    struct kv_frame reply;
    size_t frame_len = 0;
    (void)put_sign(end, key, sig);
    const uint32_t asked = ++end->page->asked;
    ring(end);
    cr_assert(await(end, asked));
    cr_assert_eq(kv_frame_decode(end->page->reply, sizeof(end->page->reply),
                                 KV_FRAME_MAX, &reply, &frame_len),
                 1);
    cr_assert_eq(reply.id, 77);
    cr_assert_eq(reply.verb, KV_VERB_SIGN);
    cr_assert_eq(reply.flags, KV_FRAME_REPLY);
    *sig_len = reply.payload.len;
    return reply.status;
}

Test(keyring_window, signs, .init = setup, .fini = journey_teardown)
{
    struct end end;
    size_t len = 0;
    open_end(&end);
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(sign(&end, WEB, KV_SIG_ECDSA, &len), 0);
        cr_assert(len >= 64 && len <= 72);
    }
    cr_assert_eq(sign(&end, SLOW, KV_SIG_PKCS1, &len), 0, "through the pool");
    cr_expect_eq(len, 384);
    cr_assert_eq(sign(&end, NONE, KV_SIG_ECDSA, &len), KV_E_NOT_FOUND);
    cr_assert_eq(sign(&end, WEB, KV_SIG_PSS, &len), KV_E_INVALID);
    cr_assert_eq(sign(&end, WEB, KV_SIG_ECDSA, &len), 0, "refusals end nothing");
    close_end(&end);
}

Test(keyring_window, socket_goes_on_beside_it, .init = setup, .fini = journey_teardown)
{
    struct end end;
    struct kv_bytes reply;
    size_t len = 0;
    open_end(&end);
    journey_put_sign(WEB, KV_SIG_ECDSA);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(sign(&end, WEB, KV_SIG_ECDSA, &len), 0);
        cr_assert_eq(
            kv_channel_client_call(&end.client, KV_VERB_SIGN, &journey.payload, &reply),
            0);
    }
    kv_buf_reset(&journey.payload);
    cr_expect_eq(
        kv_channel_client_call(&end.client, KV_VERB_WINDOW, &journey.payload, &reply),
        KV_E_EXISTS, "one window is enough");
    cr_assert_eq(sign(&end, WEB, KV_SIG_ECDSA, &len), 0);
    close_end(&end);
}

Test(keyring_window, page_keeps_its_size, .init = setup, .fini = journey_teardown)
{
    struct end end;
    struct stat st;
    size_t len = 0;
    open_end(&end);
    cr_assert_eq(fstat(end.page_fd, &st), 0);
    cr_expect_eq(st.st_size, sizeof(struct kv_window));
    cr_expect_neq(ftruncate(end.page_fd, 0), 0);
    cr_expect_neq(ftruncate(end.page_fd, 1 << 20), 0);
    cr_expect_neq(fcntl(end.page_fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    /* A hole reads as zeros; it does not fault. */
    (void)fallocate(end.page_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                    sizeof(struct kv_window));
    end.page->asked = 0;
    cr_assert_eq(sign(&end, WEB, KV_SIG_ECDSA, &len), 0);
    close_end(&end);
}

static void skip_a_number(struct end *end)
{
    (void)put_sign(end, WEB, KV_SIG_ECDSA);
    end->page->asked += 2;
}

static void ask_twice(struct end *end)
{
    (void)put_sign(end, SLOW, KV_SIG_PKCS1);
    end->page->asked++;
    ring(end);
    usleep(2000); /* taken by now or not: both are wrong */
    end->page->asked++;
}

static void claim_a_huge_frame(struct end *end)
{
    (void)put_sign(end, WEB, KV_SIG_ECDSA);
    memset(end->page->request, 0xff, 4);
    end->page->asked++;
}

static void claim_more_than_the_room(struct end *end)
{
    const uint16_t len = sizeof(end->page->request) - 3;
    (void)put_sign(end, WEB, KV_SIG_ECDSA);
    memcpy(end->page->request, &len, sizeof(len));
    end->page->asked++;
}

static void claim_a_short_frame(struct end *end)
{
    (void)put_sign(end, WEB, KV_SIG_ECDSA);
    memset(end->page->request, 0, 4);
    end->page->asked++;
}

static void ask_for_another_verb(struct end *end)
{
    (void)put_sign(end, WEB, KV_SIG_ECDSA);
    end->page->request[8] = KV_VERB_DECRYPT;
    end->page->asked++;
}

static void set_a_flag(struct end *end)
{
    (void)put_sign(end, WEB, KV_SIG_ECDSA);
    end->page->request[10] = 2;
    end->page->asked++;
}

static void send_a_bad_payload(struct end *end)
{
    const size_t len = put_sign(end, WEB, KV_SIG_ECDSA);
    memset(end->page->request + KV_FRAME_HEADER_LEN + KV_ID_LEN, 0xff,
           len - KV_FRAME_HEADER_LEN - KV_ID_LEN);
    end->page->asked++;
}

Test(keyring_window, broken_clients_are_closed_and_hurt_nobody_else, .init = setup,
     .fini = journey_teardown)
{
    static void (*const acts[])(struct end * end) = {
        skip_a_number,       ask_twice,  claim_a_huge_frame, claim_more_than_the_room,
        claim_a_short_frame, set_a_flag, send_a_bad_payload, ask_for_another_verb,
    };
    struct kv_bytes reply;
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        struct end end;
        struct kv_frame frame;
        open_end(&end);
        acts[i](&end);
        ring(&end);
        while (end.page->is_closed == 0)
            (void)await(&end, UINT32_MAX);
        cr_expect_eq(kv_channel_client_read(&end.client, &frame, 5000),
                     KV_E_UNAVAILABLE, "act %zu", i);
        close_end(&end);
        cr_assert_eq(journey_sign(&reply), 0, "act %zu", i);
    }
}

Test(keyring_window, ringing_for_nothing_does_nothing, .init = setup,
     .fini = journey_teardown)
{
    struct end end;
    size_t len = 0;
    open_end(&end);
    for (int i = 0; i < 1000; i++)
        ring(&end);
    cr_assert_eq(sign(&end, WEB, KV_SIG_ECDSA, &len), 0);
    end.page->answered = 4711; /* not believed */
    cr_assert_eq(sign(&end, WEB, KV_SIG_ECDSA, &len), 0);
    close_end(&end);
}

static unsigned n_descriptors(void)
{
    char path[64];
    unsigned n = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)journey.daemon_pid);
    DIR *dir = opendir(path);
    cr_assert_not_null(dir);
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n;
}

Test(keyring_window, goes_with_its_connection, .init = setup, .fini = journey_teardown)
{
    struct kv_bytes reply;
    cr_assert_eq(journey_sign(&reply), 0);
    const unsigned before = n_descriptors();
    for (int i = 0; i < 200; i++) {
        struct end end;
        open_end(&end);
        if (i % 2 == 0) { /* an answer that nobody waits for any more */
            (void)put_sign(&end, SLOW, KV_SIG_PKCS1);
            end.page->asked++;
            ring(&end);
        }
        close_end(&end);
    }
    unsigned now = before + 1;
    for (int i = 0; i < 1000 && now > before; i++) {
        usleep(10000);
        now = n_descriptors();
    }
    cr_expect_leq(now, before);
    cr_assert_eq(journey_sign(&reply), 0);
}

Test(keyring_window, says_when_the_keyring_ends, .init = setup,
     .fini = journey_teardown)
{
    struct end end;
    open_end(&end);
    cr_assert_eq(journey_stop(SIGTERM), 0);
    cr_expect_neq(end.page->is_closed, 0);
    close_end(&end);
}
