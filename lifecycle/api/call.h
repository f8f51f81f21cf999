/*
 * One API call: an HTTP request with its caller, vault, route and JSON body, run as a
 * task. Handlers are small steps; every failure ends in one Azure error body.
 *
 * Order of checks (azure wire contract): authentication (401 with challenge, before
 * body, name or existence), api-version, route and method, name syntax, permission,
 * body, existence. Loop thread only.
 */
#ifndef KV_LIFECYCLE_API_CALL_H
#define KV_LIFECYCLE_API_CALL_H

#include <jansson.h>

#include "lifecycle/auth/access.h"
#include "lifecycle/http/http.h"
#include "lifecycle/service/task.h"

struct kv_call {
    struct kv_task task;             /* first member: steps cast back with kv_call_of */
    struct kv_http_request *request; /* NULL once answered or gone */
    struct kv_principal principal;
    const struct kv_route *route;
    char name[KV_NAME_MAX + 1]; /* {name} of the path */
    bool has_version;
    uint8_t version[KV_ID_LEN]; /* {version}; zeros when absent or empty */
    json_t *body;               /* object, or NULL */
    void *data;                 /* the handler's own; freed with data_free */
    void (*data_free)(void *data);
    /* private */
    struct kv_vault *host_vault; /* named by the Host header */
    unsigned n_attempts;         /* runs that ended in a row conflict */
    bool is_local;               /* came over api.sock */
    unsigned n_waits;            /* for keys of a token's issuer */
    bool is_health;              /* asks for the state of the service: not audited */
    bool is_told;                /* the audit log has a record of the request */
    uint8_t id[KV_ID_LEN];       /* x-ms-request-id */
    int64_t begun_us;            /* monotonic */
    int status;                  /* of the reply, which waits for its record */
    json_t *reply;
    int64_t retry_ms; /* of a reply 429 */
};

/* One row of the routing table. */
struct kv_route {
    const char *method;
    const char *path;      /* "/keys/{name}/{version}/sign"; {version} may be empty */
    const char *operation; /* name in the contract: "sign" */
    kv_actions action;     /* needed */
    bool has_body;         /* a JSON object is required */
    void (*run)(struct kv_call *call);
};

static inline struct kv_call *kv_call_of(struct kv_task *task)
{
    return (struct kv_call *)task;
}

/* Tables of the handlers, ended by a row without method. */
extern const struct kv_route kv_routes_keys[];
extern const struct kv_route kv_routes_rotation[];
extern const struct kv_route kv_routes_random[];
extern const struct kv_route kv_routes_secrets[];
extern const struct kv_route kv_routes_certificates[];
extern const struct kv_route kv_routes_contacts[];
extern const struct kv_route kv_routes_issuers[];
extern const struct kv_route kv_routes_deleted[];
extern const struct kv_route kv_routes_backup[];
extern const struct kv_route kv_routes_access[];
extern const struct kv_route kv_routes_vaults[];  /* our own, as the next */
extern const struct kv_route kv_routes_admin[];   /* our own, below /keyvault/v1 */
extern const struct kv_route kv_routes_backups[]; /* of the whole store */
extern const struct kv_route kv_routes_apps[];

extern const struct kv_route kv_routes_later[]; /* of the contract, not offered yet */

/* Fill in the HTTP server's handler: 401 before the body is read, calls, error bodies.
 * `service` must outlive the server. */
void kv_call_handler(struct kv_service *service, struct kv_http_handler *handler);

/* Let the requests that bring a backup blob have a long body. */
void kv_call_limits(struct kv_http_limits *limits);

/* Start a call for a complete request; the call frees itself. */
void kv_call_start(struct kv_service *service, struct kv_http_request *request);

/* Answer with JSON (`body` is taken) and end the call. */
void kv_call_reply(struct kv_call *call, int status, json_t *body);

/* Keep the reply to a change (`json` is taken) until it is committed; false: no memory.
 * kv_call_reply_kept is the step behind the commit: it answers 200 with it. */
bool kv_call_keep(struct kv_call *call, json_t *json) KV_MUST_CHECK;
void kv_call_reply_kept(struct kv_task *task);

/* Map a KV_E_* failure to the contract's status and code, and end the call. This is
 * the on_fail of a call's task. A row conflict runs the handler again instead (its
 * data is freed first), a bounded number of times. */
void kv_call_fail(struct kv_task *task, int rc, const struct kv_err *err);

/* Query parameter by decoded name ("maxresults"), decoded into `out`. False if absent;
 * a malformed value was refused before the handler ran, one that does not fit is read
 * as "". */
bool kv_call_query(const struct kv_call *call, const char *name, char *out,
                   size_t out_size);

/* Page size 1..25 from maxresults and the position of $skiptoken: a name, or for
 * lists of versions their 32 digits. Ends the call and returns non-zero when
 * malformed. */
int kv_call_page(struct kv_call *call, size_t *limit,
                 char after_name[KV_NAME_MAX + 1]) KV_MUST_CHECK;
/* The same for the versions of call->name: fills in the whole query. */
int kv_call_versions_query(struct kv_call *call, uint8_t kind,
                           struct kv_list_query *query) KV_MUST_CHECK;
/* The nextLink of a list; JSON null when `last_name` is NULL. */
json_t *kv_call_next_link(const struct kv_call *call, const char *last_name);

/* Answer a list: `items` (taken) and the nextLink when the task's list has more. */
void kv_call_reply_list(struct kv_call *call, json_t *items, bool is_versions);

/* "https://vault/keys/NAME[/VERSION]" as a JSON string; version may be NULL. */
json_t *kv_call_id(const struct kv_call *call, const char *collection, const char *name,
                   const uint8_t *version);

/* Attributes shared by all objects: enabled, nbf, exp, created, updated, and what the
 * vault makes of deleting: recoveryLevel, recoverableDays. */
json_t *kv_call_attributes(const struct kv_call *call, const struct kv_row *row);

/* "attributes" {enabled, nbf, exp} and "tags" of a request body. */
struct kv_call_attrs {
    bool is_enabled;
    int64_t nbf_s;
    int64_t exp_s;
    json_t *tags; /* borrowed from the body; NULL when absent */
};

/* Refuse a key or secret that belongs to a certificate: api.managed. */
int kv_call_check_own(const struct kv_call *call, const struct kv_row *row,
                      struct kv_err *err) KV_MUST_CHECK;

/* Refuse to write over a name: head of a certificate's own object (403) or deleted
 * (409). `head` is the result of kv_task_find_head. Ends the call and returns
 * non-zero when refused. */
int kv_call_check_head(struct kv_call *call, const struct kv_row *head) KV_MUST_CHECK;

/* Whether the caller may manage what `object` names (a vault of NULL: the installation)
 * in all of these ways; api.forbidden. */
int kv_call_check_management(const struct kv_call *call,
                             const struct kv_access_object *object,
                             kv_management wanted, struct kv_err *err) KV_MUST_CHECK;

#endif
