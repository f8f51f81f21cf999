/*
 * A small blocking HTTP/1.1 client for one server: over the API's Unix socket, where
 * the kernel says who we are, or over https, with a bearer token.
 *
 * One connection is kept for the whole run. Request and reply memory is wiped.
 */
#ifndef KV_LIFECYCLE_CLI_HTTP_H
#define KV_LIFECYCLE_CLI_HTTP_H

#include <stdbool.h>

#include "store/core/buf.h"
#include "store/core/err.h"
#include "store/core/wire.h"

#define KV_CLIENT_REPLY_MAX 25165824
#define KV_CLIENT_HOST_MAX 256

struct kv_client;

struct kv_client_config {
    const char *api;   /* "unix:PATH" or "https://HOST[:PORT]" */
    const char *token; /* https only; NULL: none */
    const char *ca;    /* https only: PEM file of the CA to trust; NULL: the system's */
};

struct kv_reply {
    int status;
    struct kv_buf body; /* secret */
};

/* Read the address; no connection is made yet. Returns 0, KV_E_INVALID (cli.bad-api),
 * KV_E_NOMEM or KV_E_IO (cli.bad-ca). */
int kv_client_open(struct kv_client **out, const struct kv_client_config *config,
                   struct kv_err *err) KV_MUST_CHECK;
void kv_client_close(struct kv_client *client);

bool kv_client_is_unix(const struct kv_client *client);

/* The host that requests name ("default.vault.localhost"), without port; over https
 * also whom to connect to and whom the certificate must name. */
const char *kv_client_host(const struct kv_client *client);
int kv_client_set_host(struct kv_client *client, const char *host,
                       struct kv_err *err) KV_MUST_CHECK;

/* Send a request and receive its reply into `reply` (initialised here; free it also
 * after a failure). `target` is path and query, percent-encoded. Returns 0 for any
 * status, KV_E_UNAVAILABLE (cli.unreachable), KV_E_TIMEOUT (cli.timeout), KV_E_DENIED
 * (cli.socket-denied), KV_E_INTEGRITY (cli.tls) or KV_E_INVALID (cli.bad-reply). */
int kv_client_exchange(struct kv_client *client, const char *method, const char *target,
                       struct kv_bytes body, struct kv_reply *reply,
                       struct kv_err *err) KV_MUST_CHECK;
void kv_reply_free(struct kv_reply *reply);

#endif
