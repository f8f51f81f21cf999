/*
 * Shared by the files of the token authority: a token request as a form, its
 * credentials, and how it is refused. Loop thread only.
 */
#ifndef KV_LIFECYCLE_API_AUTHORITY_H
#define KV_LIFECYCLE_API_AUTHORITY_H

#include "lifecycle/auth/apps.h"
#include "lifecycle/auth/jose.h"
#include "lifecycle/service/service.h"

/* A refusal: RFC 6749 §5.2, and the number behind "AADSTS". */
struct kv_oauth_error {
    int status;
    const char *name; /* "invalid_client" */
    int number;
    const char *text; /* one sentence */
};

void kv_oauth_unknown_client(struct kv_oauth_error *out);
void kv_oauth_foreign_scope(struct kv_oauth_error *out);

/* The fields of a token request; wiped by _free. */
struct kv_signin_form {
    char client_id[37];
    char scope[512];
    char secret[512];        /* "": none came */
    struct kv_buf assertion; /* empty: none came */
};

/* Read an application/x-www-form-urlencoded body (which is changed); grant_type must be
 * client_credentials, and there must be a secret or an assertion, not both. False:
 * `error` says why. `form` is to be freed either way. */
bool kv_signin_form_read(struct kv_signin_form *form, const char *content_type,
                         uint8_t *body, size_t len, struct kv_oauth_error *error);
void kv_signin_form_free(struct kv_signin_form *form);

/* Whether the scope is "RESOURCE/.default". */
bool kv_signin_scope_is(const struct kv_signin_form *form, const char *resource);

/* Whether the form's secret or assertion is that of the application. `base` is the
 * authority as the client spells it: an assertion is for its token endpoint. */
bool kv_signin_check(struct kv_service *service, const struct kv_app *app,
                     const struct kv_signin_form *form, const char *base,
                     const char *source, struct kv_oauth_error *error);

/* "https://HOST/TENANT" with the Host header of a request where that is a name of ours,
 * else kv_identity_authority. */
void kv_authority_base(const struct kv_service *service, const char *tenant,
                       const char *host, char *out, size_t out_size);

#endif
