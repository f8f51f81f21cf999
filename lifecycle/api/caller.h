/*
 * Who is calling: a local user by its uid, the --dev administrator or an application by
 * its bearer token (RFC 6750 §2.1), a TLS client by the key of its certificate. Loop
 * thread only.
 *
 * A certificate counts where no token came and something was granted to it: clients
 * that have one for other reasons are asked for a token as everybody is.
 */
#ifndef KV_LIFECYCLE_API_CALLER_H
#define KV_LIFECYCLE_API_CALLER_H

#include "lifecycle/auth/access.h"
#include "lifecycle/http/http.h"
#include "lifecycle/service/service.h"

enum kv_caller {
    KV_CALLER_NOBODY, /* 401: neither a Unix peer nor a token that is good now */
    KV_CALLER_KNOWN,  /* `out` says who */
    KV_CALLER_ASK,    /* a Unix peer whose name is not known: kv_principals_resolve */
    KV_CALLER_WAIT,   /* a token of an issuer whose keys must be fetched first */
};

/* Find out who sent a request. It is asked twice for each, before the body is read and
 * again when it is there: what was found out about a token is kept for a minute, but
 * the end of an application counts at once. Why a token is refused is logged
 * (auth.token-refused). */
enum kv_caller kv_caller_find(struct kv_service *service,
                              const struct kv_http_request *request,
                              struct kv_principal *out);

/* Call back, once, when keys have been fetched, or not: then ask again. KV_E_*: no
 * callback comes. */
int kv_caller_wait(struct kv_service *service, const struct kv_http_request *request,
                   void (*cb)(void *arg), void *arg) KV_MUST_CHECK;

/* The token of an Authorization header that has one as Bearer; NULL otherwise. */
const char *kv_bearer_token(const char *authorization);

#endif
