/*
 * A blocking byte stream to the API: Unix socket or TLS over TCP. Every wait is
 * bounded.
 */
#ifndef KV_LIFECYCLE_CLI_TRANSPORT_H
#define KV_LIFECYCLE_CLI_TRANSPORT_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

#define KV_TRANSPORT_WAIT_S 120 /* the longest single wait: key generation may take */

struct kv_transport { /* private */
    char path[108];   /* of a Unix socket; "" = TLS */
    SSL_CTX *tls;
    SSL *ssl;
    int fd; /* -1: not connected */
};

void kv_transport_init(struct kv_transport *transport);
void kv_transport_fini(struct kv_transport *transport);

/* Choose the kind. KV_E_INVALID (cli.bad-api) for a path that is too long; KV_E_IO
 * (cli.bad-ca) when the CA file cannot be used. */
int kv_transport_set_unix(struct kv_transport *transport, const char *path,
                          struct kv_err *err) KV_MUST_CHECK;
int kv_transport_set_tls(struct kv_transport *transport, const char *ca,
                         struct kv_err *err) KV_MUST_CHECK;

/* Connect unless connected. For TLS the certificate must name `host`. Errors as
 * kv_client_exchange. */
int kv_transport_connect(struct kv_transport *transport, const char *host,
                         const char *port, struct kv_err *err) KV_MUST_CHECK;
bool kv_transport_is_connected(const struct kv_transport *transport);
void kv_transport_disconnect(struct kv_transport *transport);

int kv_transport_write(struct kv_transport *transport, const uint8_t *data, size_t len,
                       struct kv_err *err) KV_MUST_CHECK;

/* Read what is there, at least one byte; `*n` 0 at the end of the stream. */
int kv_transport_read(struct kv_transport *transport, uint8_t *out, size_t out_size,
                      size_t *n, struct kv_err *err) KV_MUST_CHECK;

#endif
