/*
 * The service without its processes: the REST API on a Unix socket, a store in memory
 * and a keyring of the same program, all on one loop that runs only while a test waits.
 * So a test decides what happens first: an answer, a failure, or a client that leaves.
 */
#ifndef KV_TESTS_SUPPORT_DESK_H
#define KV_TESTS_SUPPORT_DESK_H

#include <jansson.h>

#include "lifecycle/http/http.h"
#include "lifecycle/service/task.h"
#include "tests/support/fake_link.h"

#define DESK_CLIENTS_MAX 32

struct desk {
    struct kv_service service;
    struct kv_vault *vault; /* "default"; its id is the room's */
    struct kv_room room;    /* the keyring, and the clock */
    struct kv_keyring link;
    char dir[64];
    char path[96];
    /* private */
    uv_loop_t loop;
    struct kv_http_server *http;
};

struct desk_reply {
    int status;
    char head[4096];
    json_t *json; /* NULL: no body */
};

/* A ready service that takes the caller for an administrator. */
void desk_init(struct desk *desk);
/* Stop in order; asserts that no operation, handle or memory of the loop is left. */
void desk_fini(struct desk *desk);

/* Let everything happen that can happen now; lookups on the pool may go on. */
void desk_settle(struct desk *desk);
/* Run the loop until a counter has come this far. */
void desk_wait(struct desk *desk, const unsigned *counter, unsigned at_least);

/* Connect a client; its descriptor. */
int desk_connect(struct desk *desk);
/* Send a request; `body` NULL: none. The api-version is added. */
void desk_send(struct desk *desk, int client, const char *method, const char *path,
               const char *body);
void desk_send_raw(struct desk *desk, int client, const char *text);
/* Run the loop until a whole reply is there; its status, 0: closed instead. */
int desk_read(struct desk *desk, int client, struct desk_reply *reply);
void desk_hang_up(struct desk *desk, int client);
void desk_reply_free(struct desk_reply *reply);

/* One request on a connection of its own; the status, 0 when the connection was closed
 * instead of a reply. `json` may be NULL. */
int desk_call(struct desk *desk, const char *method, const char *path, const char *body,
              json_t **json);

/* Member of the reply's "error": "code", "id", "message"; "" when absent. Borrowed. */
const char *desk_error(const json_t *json, const char *field);

/* The same, and it must end with this status; its body, or NULL. desk_fails: with this
 * error id. */
json_t *desk_must(struct desk *desk, int status, const char *method, const char *path,
                  const char *body);
void desk_fails(struct desk *desk, int status, const char *id, const char *method,
                const char *path, const char *body);

/* One request to the host of a vault instead of the default's; the status. */
int desk_vault_call(struct desk *desk, const char *vault, const char *method,
                    const char *path, const char *body, json_t **json);
/* Make and delete a vault, and give one a secret; each must be done. */
void desk_vault_make(struct desk *desk, const char *name, const char *body);
void desk_vault_delete(struct desk *desk, const char *name);
void desk_vault_secret(struct desk *desk, const char *vault, const char *name,
                       const char *value);

/* How many items a list has on its first page. */
size_t desk_count(struct desk *desk, const char *path);

/* A member by its path, "attributes.enabled", and its text, "" when it is none.
 * Borrowed. */
const json_t *desk_at(const json_t *json, const char *path);
const char *desk_text(const json_t *json, const char *path);

/* Import the fixture's P-256 certificate with its key under a name. */
void desk_import(struct desk *desk, const char *name);

/* Change the store behind the service's back. */
void desk_apply(struct desk *desk, const struct kv_mutation *mutations, size_t n);
/* Read a row; its body is copied into `sealed`. KV_E_*. */
int desk_get(struct desk *desk, const struct kv_row_key *key, bool is_current,
             struct kv_row *row, struct kv_buf *sealed);

#endif
