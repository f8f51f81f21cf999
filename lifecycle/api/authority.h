/*
 * Shared by the files of the token authority: a token request as a form, its
 * credentials, and how it is refused. Loop thread only.
 */
#ifndef KV_LIFECYCLE_API_AUTHORITY_H
#define KV_LIFECYCLE_API_AUTHORITY_H

#include "lifecycle/auth/apps.h"
#include "lifecycle/auth/jose.h"
#include "lifecycle/http/http.h"
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

/* Answer with a refusal. */
void kv_oauth_answer(struct kv_service *service, struct kv_http_request *request,
                     const struct kv_oauth_error *error);

enum kv_grant {
    KV_GRANT_CLIENT, /* RFC 6749 §4.4: an application for itself */
    KV_GRANT_DEVICE, /* RFC 8628 §3.4: a user who signed in elsewhere */
    KV_GRANT_BEHALF, /* RFC 7523 §2.1: an application for the user of a token it got */
};

/* The fields of a token request; wiped by _free. */
struct kv_signin_form {
    enum kv_grant grant;
    char client_id[37];
    char scope[512];
    char secret[512];         /* "": none came */
    struct kv_buf assertion;  /* of the client; empty: none came */
    char device_code[64];     /* KV_GRANT_DEVICE */
    struct kv_buf user_token; /* KV_GRANT_BEHALF */
};

/* Read an application/x-www-form-urlencoded body (which is wiped) as text with spaces
 * in the place of plus signs; false: it is none, or too large. */
bool kv_signin_form_text(const char *content_type, uint8_t *body, size_t len,
                         struct kv_buf *out);

/* Read a token request, or with `is_token` false a request for device codes, which
 * needs a client id alone. False: `error` says why. `form` is to be freed either way.
 */
bool kv_signin_form_read(struct kv_signin_form *form, const char *content_type,
                         uint8_t *body, size_t len, bool is_token,
                         struct kv_oauth_error *error);
void kv_signin_form_free(struct kv_signin_form *form);

/* The audience that the scope asks for, without "/.default": the vaults' resource, or
 * for users (`is_user`) "api://CLIENT-ID" of an application, which may then act on
 * their behalf. False: it asks for something else, or for several. */
bool kv_signin_audience(const struct kv_service *service,
                        const struct kv_signin_form *form, bool is_user, char out[256]);

/* The user of a token that was made for the application of `form`; NULL: it is none, or
 * no longer good. `until_s` is when it ends. */
const struct kv_app *kv_signin_user(const struct kv_service *service,
                                    const struct kv_app *app,
                                    const struct kv_signin_form *form,
                                    int64_t *until_s);

/* POST .../devicecode, GET and POST of the page where users sign in for a device. */
void kv_device_start(struct kv_service *service, struct kv_http_request *request,
                     const char *tenant);
void kv_device_page(struct kv_service *service, struct kv_http_request *request,
                    const char *tenant);

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
