/*
 * Shared inside lifecycle/api: routing, errors, JSON bodies, queries. All pure.
 */
#ifndef KV_LIFECYCLE_API_INTERNAL_H
#define KV_LIFECYCLE_API_INTERNAL_H

#include "lifecycle/api/call.h"
#include "lifecycle/audit/audit.h"

/* --- route.c --------------------------------------------------------------------- */

struct kv_route_match {
    const struct kv_route *route; /* NULL: no route of this method */
    bool is_path_known;           /* some method is served at this path */
    char allow[64];               /* methods of the path, for a 405 */
    char name[KV_NAME_MAX + 2];   /* decoded; cut when too long: then invalid */
    char version[KV_VERSION_TEXT_LEN + 2];
};

/* Find the route of a request. `path` as sent; empty segments count. */
void kv_route_find(const char *method, const char *text, struct kv_route_match *match);

/* Whether {name} of a route is that of an object. An issuer's is none: who may do
 * something to the certificate of its name may nothing to it. */
bool kv_route_names_object(const struct kv_route *route);

/* Collection that a route's permission is about: "keys"; NULL for the vault. */
const char *kv_route_collection(const struct kv_route *route);

/* --- rights.c -------------------------------------------------------------------- */

/* Whether the caller may what its route is about: api.forbidden where roles decide,
 * api.denied-by-policy where access policies do. */
int kv_call_check_access(const struct kv_call *call, struct kv_err *err) KV_MUST_CHECK;

/* Split a normalised scope ("/vault/keys/web") into the object that it names. */
struct kv_scope_object {
    char text[sizeof(((struct kv_assignment *)0)->scope)];
    struct kv_access_object object; /* borrows from `text` */
};
void kv_scope_object(const char *scope, struct kv_scope_object *out);

/* A principal as a user writes it, as decisions know it: an application by its client
 * id, also where its name was given. access.bad-principal. */
int kv_call_read_principal(const struct kv_call *call, const char *text,
                           char out[KV_PRINCIPAL_MAX],
                           struct kv_err *err) KV_MUST_CHECK;

/* The whole caller that a text names, a user as it comes through application `app` ("":
 * none); without groups, and without object id where only set_oid gives one. */
int kv_call_read_who(const struct kv_call *call, const char *text, const char *app,
                     struct kv_principal *out, struct kv_err *err) KV_MUST_CHECK;

/* --- access_check.c -------------------------------------------------------------- */

/* POST /keyvault/v1/access/check: {"principal","action","object"}, and for a user of
 * the machine "uid", for a user "application"; answers with the decision. */
void kv_admin_check(struct kv_call *call);

/* --- call.c ---------------------------------------------------------------------- */

/* Answer a request with a JSON body, which is taken, and the headers of every reply;
 * NULL: an empty reply. */
void kv_call_answer(struct kv_service *service, struct kv_http_request *request,
                    int status, json_t *body);

/* Send call->reply and end the call. */
void kv_call_send(struct kv_call *call);

/* Put an error (503, 500) in the place of a reply that must not leave. */
void kv_call_replace_reply(struct kv_call *call, int rc, const struct kv_err *err);

/* --- authority.c ----------------------------------------------------------------- */

/* Whether a request is for the token authority: "/TENANT/oauth2/v2.0/token",
 * "/TENANT/v2.0/.well-known/openid-configuration", "/TENANT/discovery/v2.0/keys". These
 * need no caller. */
bool kv_authority_serves(const struct kv_http_request *request);

/* Answer such a request (OpenID Connect Discovery 1.0 §4, RFC 7517 §5, RFC 6749 §4.4,
 * RFC 7523 §2.2). Errors are those of OAuth (RFC 6749 §5.2), with the numbers that
 * clients of the contract know. */
void kv_authority_start(struct kv_service *service, struct kv_http_request *request);
/* --- audited.c -------------------------------------------------------------------- */

/* Whether the call has records: not before the service is ready, nor for its state. */
bool kv_call_is_audited(const struct kv_call *call);

/* Record the request, then run the handler. */
void kv_call_admit(struct kv_call *call);

/* Record what came of it (call->status; code and error id, "" for none), then
 * kv_call_send. */
void kv_call_conclude(struct kv_call *call, const char *code, const char *error);

/* Record, or count, a request without a valid token. */
void kv_call_tell_unauthorized(struct kv_service *service,
                               const struct kv_http_request *request,
                               const uint8_t *id);

/* Record that an application signs in; its token may leave once `cb` says so. And that
 * one did not, or count it. `request` may be NULL: it is gone. */
int kv_call_tell_signin(struct kv_service *service,
                        const struct kv_http_request *request, const char *client,
                        kv_audit_cb cb, void *arg, struct kv_err *err) KV_MUST_CHECK;
void kv_call_tell_no_signin(struct kv_service *service,
                            const struct kv_http_request *request, const char *client,
                            const char *error);

/* --- throttle.c ------------------------------------------------------------------- */

/* Charge a call before anything of it is checked, so that refused ones cost as much;
 * and what a use of this key weighs beyond.
 * KV_E_BUSY (quota.exceeded). */
int kv_call_throttle(struct kv_call *call, struct kv_err *err) KV_MUST_CHECK;
int kv_call_throttle_key(struct kv_call *call, const struct kv_key_info *info,
                         struct kv_err *err) KV_MUST_CHECK;

/* --- audit.c ---------------------------------------------------------------------- */

/* GET /keyvault/v1/audit: where the log stands. GET /keyvault/v1/audit/verify: check
 * it.
 */
void kv_admin_audit(struct kv_call *call);
void kv_admin_audit_verify(struct kv_call *call);

/* --- admin.c --------------------------------------------------------------------- */

/* Give a role assignment its id and put its row into the batch of the call's task;
 * kv_admin_granted is the step behind the commit: call->data begins with the
 * assignment, which counts from then on, and is the reply. */
int kv_admin_put_assignment(struct kv_call *call,
                            struct kv_assignment *assignment) KV_MUST_CHECK;
void kv_admin_granted(struct kv_task *task);

/* --- ticket.c -------------------------------------------------------------------- */

/* POST /keyvault/v1/ticket: {"ticket","expires"}, and /ticket/redeem {"ticket",
 * "principal"}: the assignment. init.done, init.bad-ticket, init.not-local, init.wait.
 */
void kv_admin_make_ticket(struct kv_call *call);
void kv_admin_redeem_ticket(struct kv_call *call);

/* --- doctor.c -------------------------------------------------------------------- */

/* GET /keyvault/v1/doctor: {"time","store":{"path","freeBytes","totalBytes"},"grant"};
 * with the parameters `uid` and `uri` grant is {"principal","mayRead","operations"},
 * else null. */
void kv_admin_doctor(struct kv_call *call);

/* --- usage.c --------------------------------------------------------------------- */

/* GET /keyvault/v1/usage: what was done with live keys, of one name with `name`. */
void kv_admin_usage(struct kv_call *call);

/* --- query.c --------------------------------------------------------------------- */

/* Decode %XX of `len` bytes into `out` with a NUL. KV_E_INVALID: bad escape, NUL or no
 * UTF-8; KV_E_TOO_BIG: does not fit. */
int kv_percent_decode(const char *text, size_t len, char *out,
                      size_t out_size) KV_MUST_CHECK;

/* Whether every name and value of a query decodes. */
bool kv_query_is_valid(const char *query);

/* Value of the first parameter of this decoded name. 1 found, 0 absent, KV_E_*. */
int kv_query_get(const char *query, const char *name, char *out, size_t out_size);

/* Append the pairs of `query` except those named `without`, each behind `&`, the
 * first behind `?`. Returns how many. */
size_t kv_query_copy(const char *query, const char *without, struct kv_buf *out);

bool kv_api_version_is_known(const char *version);

/* --- error.c --------------------------------------------------------------------- */

struct kv_http_error {
    int status;
    const char *code;
    const char *inner; /* may be NULL */
};

/* What a failure is in the contract. `id` may be NULL. */
void kv_error_map(int rc, const char *id, const char *collection,
                  struct kv_http_error *out);

/* {"error":{"code","message","innererror":{"code"},"id","hint"}}; parts may be NULL
 * except code and message. NULL when out of memory. */
json_t *kv_error_body(const struct kv_http_error *error, const char *message,
                      const char *id, const char *hint);

/* Default code of a status that the HTTP server itself answers. */
const char *kv_error_code_of_status(int status);

/* --- json.c ---------------------------------------------------------------------- */

#define KV_JSON_DEPTH_MAX 16
#define KV_TAGS_MAX 15
#define KV_TAG_CHARS_MAX 256

/* Parse one JSON object: duplicates refused, depth limited; api.bad-body. */
int kv_json_parse(const uint8_t *data, size_t len, json_t **out,
                  struct kv_err *err) KV_MUST_CHECK;

/* Whether a Content-Type header (NULL: none came) may announce a JSON body. */
bool kv_json_is_media_type(const char *type);

/* Read a member. null counts as absent: outputs stay. A missing required member is
 * api.missing-field, another type or size api.bad-field. Strings are borrowed. */
enum kv_presence { KV_OPTIONAL, KV_REQUIRED };
int kv_json_string(const json_t *object, const char *field, enum kv_presence need,
                   const char **out, struct kv_err *err) KV_MUST_CHECK;
int kv_json_bool(const json_t *object, const char *field, bool *out,
                 struct kv_err *err) KV_MUST_CHECK;
int kv_json_integer(const json_t *object, const char *field, int64_t *out,
                    struct kv_err *err) KV_MUST_CHECK;
int kv_json_object(const json_t *object, const char *field, enum kv_presence need,
                   const json_t **out, struct kv_err *err) KV_MUST_CHECK;
/* Base64url text, decoded and appended to `out`. */
int kv_json_bytes(const json_t *object, const char *field, enum kv_presence need,
                  struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* Append an item (taken) to an array (taken). NULL when one of them is, or without
 * memory: a list that lacks an item is no list. */
json_t *kv_json_append(json_t *array, json_t *item);

/* Count of characters (code points) of UTF-8 text. */
size_t kv_utf8_count(const char *text);

/* Read attributes and tags. Dates may be negative by 2^32 (SDK overflow after 2038) and
 * are repaired. Absent members leave the outputs as they are, as does a failure. */
int kv_json_attrs(const json_t *body, struct kv_call_attrs *attrs,
                  struct kv_err *err) KV_MUST_CHECK;

/* --- id.c ------------------------------------------------------------------------ */

/* Write "https://vault/COLLECTION/NAME[/VERSION]". */
void kv_id_write(const char *vault_url, const char *collection, const char *name,
                 const uint8_t *version, struct kv_buf *out);

#endif
