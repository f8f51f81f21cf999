/*
 * What a daemon may answer to the provider: the first byte chooses the request, the
 * rest is the stream that comes back before the connection closes. An accepted reply
 * answers that very request; a decoded message stays within its limits.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provider/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check_key(struct kv_bytes payload)
{
    struct kv_msg_key msg;
    if (kv_msg_key_get(payload, &msg) != 0)
        return;
    KV_ASSERT(strnlen(msg.uri, sizeof(msg.uri)) <= KV_URI_MAX);
    KV_ASSERT(msg.spki.len <= KV_SPKI_MAX);
}

static void check_certs(struct kv_bytes payload)
{
    struct kv_msg_certs msg;
    if (kv_msg_certs_get(payload, &msg) != 0)
        return;
    KV_ASSERT(msg.n <= KV_CHAIN_MAX);
    for (unsigned i = 0; i < msg.n; i++)
        KV_ASSERT(msg.der[i].len <= KV_CERT_DER_MAX);
}

static void check_list(struct kv_bytes payload)
{
    static struct kv_msg_list_reply msg;
    if (kv_msg_list_reply_get(payload, &msg) == 0)
        KV_ASSERT(msg.n <= KV_LIST_MAX);
}

static void check_reply(enum kv_verb verb, const struct kv_frame *reply)
{
    struct kv_msg_error error;
    struct kv_msg_hello_reply hello;
    KV_ASSERT(reply->verb == verb && reply->flags == KV_FRAME_REPLY);
    KV_ASSERT(reply->status <= 0 && reply->id == 1);
    if (reply->status != 0) {
        if (kv_msg_error_get(reply->payload, &error) == 0)
            KV_ASSERT(strnlen(error.hint, sizeof(error.hint)) < sizeof(error.hint));
    } else if (verb == KV_VERB_OPEN || verb == KV_VERB_INFO) {
        check_key(reply->payload);
    } else if (verb == KV_VERB_CERT) {
        check_certs(reply->payload);
    } else if (verb == KV_VERB_LIST) {
        check_list(reply->payload);
    } else if (verb == KV_VERB_HELLO &&
               kv_msg_hello_reply_get(reply->payload, &hello) == 0) {
        KV_ASSERT(hello.version <= UINT16_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct kv_conn_target target = {
        .connect_timeout_ms = 1000, .deadline_ms = INT64_MAX, .reply_timeout_ms = 1000};
    int fds[2];
    struct kv_conn conn;
    struct kv_frame reply;
    struct kv_err err = KV_ERR_INIT;
    if (len == 0 || len > 100000 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0)
        return 0;
    enum kv_verb verb = (enum kv_verb)(KV_VERB_HELLO + data[0] % KV_VERB_DERIVE);
    kv_conn_init(&conn);
    conn.fd = fds[0];
    kv_frame_end(&conn.out, kv_conn_begin(&conn, verb));
    (void)send(fds[1], data + 1, len - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fds[1], SHUT_WR);
    int rc = kv_conn_exchange(&conn, &target, &reply, &err);
    if (rc == 0)
        check_reply(verb, &reply);
    else
        KV_ASSERT(err.code == rc && strncmp(err.id, "client.", 7) == 0);
    (void)close(fds[1]);
    (void)close(fds[0]);
    kv_conn_close(&conn); /* releases the buffers; the descriptor is gone */
    return 0;
}
