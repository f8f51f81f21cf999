/*
 * The service's end of keyring.sock, for tests: makes a vault and keys through the
 * real role verbs and answers GRANT, CERT and LIST from a table, on a thread of its
 * own.
 */
#ifndef KV_TESTS_SUPPORT_FAKE_SERVICE_H
#define KV_TESTS_SUPPORT_FAKE_SERVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/channel_client.h"

#define KV_FAKE_KEYS_MAX 16

struct kv_fake_key {
    struct kv_ident ident;
    struct kv_buf row;
    char uri[KV_URI_MAX + 1]; /* "keyvault://default/keys/NAME/VERSION" */
    uint32_t ops;             /* what the uid below may do; 0: refused */
    uint32_t uid;
};

struct kv_fake_service {
    struct kv_channel_client client;
    uint8_t vault[KV_ID_LEN];
    struct kv_buf wrapped; /* vault key, kept over restarts */
    unsigned n_keys;
    struct kv_fake_key keys[KV_FAKE_KEYS_MAX];
    atomic_uint lease_ms;
    atomic_ullong epoch;
    atomic_uint n_questions;
    atomic_uint n_big_certs; /* CERT answers with so many of 16 KiB; 0: a small one */
    atomic_bool is_silent;   /* hears questions and does not answer */
    /* private */
    pthread_t thread;
    atomic_bool is_running;
};

/* Connect, say HELLO, make the vault key (or open it when one was made before). */
int kv_fake_service_open(struct kv_fake_service *service, const char *path);

/* Requests of the test, before kv_fake_service_run. The request's `kty` and shape
 * count; the key is filed under keyvault://default/keys/NAME/VERSION. */
int kv_fake_service_key(struct kv_fake_service *service, const char *name,
                        const struct kv_role_key_new *request);

/* Answer questions until kv_fake_service_hang_up; beats go on with the thread. */
void kv_fake_service_run(struct kv_fake_service *service);

/* Close the connection; the table stays for another kv_fake_service_open. */
void kv_fake_service_hang_up(struct kv_fake_service *service);

void kv_fake_service_free(struct kv_fake_service *service);

#endif
