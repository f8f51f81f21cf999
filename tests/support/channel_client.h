/*
 * A small blocking client for keys.sock and keyring.sock: one request, one reply.
 * For tests only; it waits five seconds and gives up.
 */
#ifndef KV_TESTS_SUPPORT_CHANNEL_CLIENT_H
#define KV_TESTS_SUPPORT_CHANNEL_CLIENT_H

#include "store/keyring/role.h"

struct kv_channel_client {
    int fd; /* -1 when closed */
    uint32_t last_id;
    struct kv_buf in;          /* bytes read and not used yet */
    size_t used;               /* of `in`, by the frame handed out last */
    struct kv_buf held;        /* questions of the other end that came before a reply */
    struct kv_msg_error error; /* of the last failed reply */
};

/* Connect to a path, or to an abstract name with a leading '@'. 0 or KV_E_UNAVAILABLE.
 */
int kv_channel_client_open(struct kv_channel_client *client, const char *name);
void kv_channel_client_close(struct kv_channel_client *client);

/* Send raw bytes; false when the other end is gone. */
bool kv_channel_client_send(struct kv_channel_client *client, const void *data,
                            size_t len);

/* Send one request frame; returns its id. */
uint32_t kv_channel_client_request(struct kv_channel_client *client, uint16_t verb,
                                   const struct kv_buf *payload);

/* Wait for the next frame; its payload is good until the next call. 0,
 * KV_E_UNAVAILABLE (hung up), KV_E_TIMEOUT or KV_E_INVALID. */
int kv_channel_client_read(struct kv_channel_client *client, struct kv_frame *frame,
                           int timeout_ms);

/* Request and reply; returns the reply's status, or as kv_channel_client_read. */
int kv_channel_client_call(struct kv_channel_client *client, uint16_t verb,
                           const struct kv_buf *payload, struct kv_bytes *reply);

/* HELLO, or ROLE_HELLO, with this CPU. */
int kv_channel_client_hello(struct kv_channel_client *client, uint16_t verb,
                            uint32_t cpu, struct kv_msg_hello_reply *reply);

#endif
