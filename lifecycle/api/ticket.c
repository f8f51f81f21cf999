/*
 * The first administrator: who runs the machine has a ticket made, and whoever brings
 * it back within a quarter of an hour, over api.sock, becomes administrator of the
 * installation. It works once, and only while there is no such administrator.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/auth/token.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/identity.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define ROW_NAME "first-ticket"
#define LIFETIME_S 900
#define ROLE "administrator"

struct ticket {
    struct kv_assignment
        assignment; /* redeem: what it gives; first, as granting wants */
    char text[KV_TOKEN_TEXT_LEN + 1];
    uint8_t hash[KV_TOKEN_HASH_LEN];
    int64_t expires_s;
};

static struct ticket *begin(struct kv_call *call)
{
    struct ticket *ticket = kv_wiping_calloc(1, sizeof(*ticket));
    call->data = ticket;
    call->data_free = ticket != NULL ? kv_wiping_free : NULL;
    return ticket;
}

static int check_local(const struct kv_call *call, struct kv_err *err)
{
    return call->is_local ? 0
                          : kv_err_set(err, KV_E_DENIED, "init.not-local",
                                       "tickets are made and redeemed over api.sock");
}

static int check_none_yet(const struct kv_call *call, struct kv_err *err)
{
    size_t n = 0;
    const struct kv_assignment *const *all =
        kv_assignments_all(call->task.service->assignments, &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i]->role, ROLE) == 0 && strcmp(all[i]->scope, "/") == 0)
            return kv_err_set(err, KV_E_EXISTS, "init.done",
                              "the installation has an administrator already");
    return 0;
}

/* --- made --------------------------------------------------------------------------
 */

static void made(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    const struct ticket *ticket = call->data;
    kv_log(task->service->log, KV_LOG_INFO, "init.ticket-made",
           KV_S("by", call->principal.id));
    kv_call_reply(call, 200,
                  json_pack("{s:s,s:I}", "ticket", ticket->text, "expires",
                            (json_int_t)ticket->expires_s));
}

static void put_ticket(struct kv_task *task)
{
    const struct ticket *ticket = kv_call_of(task)->data;
    struct kv_row row = task->object.row;
    char hex[2 * KV_TOKEN_HASH_LEN + 1];
    uint64_t expect = row.row_version;
    kv_hex_encode(hex, ticket->hash, sizeof(ticket->hash));
    row.key.kind = KV_KIND_SYSTEM;
    kv_str_cut(row.key.name, sizeof(row.key.name), ROW_NAME, strlen(ROW_NAME));
    row.flags = KV_ROW_ENABLED;
    row.updated_s = kv_now_s(task->service->clock);
    row.created_s = expect == 0 ? row.updated_s : row.created_s;
    row.nbf_s = KV_TIME_NONE;
    row.exp_s = KV_TIME_NONE;
    row.next_at_s = KV_TIME_NONE;
    kv_task_put_doc(task, &row, expect,
                    json_pack("{s:s,s:I}", "sha256", hex, "expires",
                              (json_int_t)ticket->expires_s));
    kv_task_commit(task, made);
}

void kv_admin_make_ticket(struct kv_call *call)
{
    const struct kv_access_object everything = {.vault = NULL};
    struct kv_service *service = call->task.service;
    struct ticket *ticket = begin(call);
    struct kv_err err = KV_ERR_INIT;
    int rc = ticket != NULL ? 0 : KV_E_NOMEM;
    if (rc != 0)
        goto out;
    KV_TRY(check_local(call, &err));
    KV_TRY(kv_call_check_management(call, &everything, KV_MANAGE_ACCESS_WRITE, &err));
    KV_TRY(check_none_yet(call, &err));
    KV_TRY(kv_token_make(service->rand, ticket->text, ticket->hash));
    ticket->expires_s = kv_now_s(service->clock) + LIFETIME_S;
    call->task.vault = &service->system;
    kv_task_find(&call->task, KV_KIND_SYSTEM, ROW_NAME, NULL, put_ticket);
    return;
out:
    kv_task_fail(&call->task, rc, &err);
}

/* --- redeemed ----------------------------------------------------------------------
 */

static void name_peer(const struct kv_call *call, char out[32])
{
    const struct kv_http_peer *peer =
        call->request != NULL ? kv_http_peer(call->request) : NULL;
    (void)snprintf(out, 32, "uid %u", peer != NULL ? (unsigned)peer->uid : 0U);
}

/* Whether the row that was found is of this ticket, and in time. */
static bool is_good(const struct kv_task *task, const struct ticket *ticket)
{
    char hex[2 * KV_TOKEN_HASH_LEN + 1];
    const json_t *doc = task->object.doc;
    const char *stored = json_string_value(json_object_get(doc, "sha256"));
    kv_hex_encode(hex, ticket->hash, sizeof(ticket->hash));
    return stored != NULL && strlen(stored) == sizeof(hex) - 1 &&
           kv_equal_ct(stored, hex, sizeof(hex) - 1) &&
           json_integer_value(json_object_get(doc, "expires")) >
               kv_now_s(task->service->clock);
}

static void redeem_found(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct ticket *ticket = call->data;
    struct kv_err err = KV_ERR_INIT;
    char peer[32];
    int rc = 0;
    name_peer(call, peer);
    if (!is_good(task, ticket)) {
        kv_throttle_failed(task->service->identity->throttle, ROW_NAME, peer,
                           kv_monotonic_ms(task->service->clock));
        kv_log(task->service->log, KV_LOG_WARN, "init.ticket-refused",
               KV_S("peer", peer));
        rc = kv_err_set(&err, KV_E_DENIED, "init.bad-ticket",
                        "the ticket is wrong, was redeemed, or has expired");
        goto out;
    }
    KV_TRY(kv_admin_put_assignment(call, &ticket->assignment));
    struct kv_row_key key = task->object.row.key;
    kv_task_delete(task, &key, task->object.row.row_version);
    kv_task_commit(task, kv_admin_granted);
    return;
out:
    kv_task_fail(task, rc, &err);
}

static int read_redeem(struct kv_call *call, struct ticket *ticket, struct kv_err *err)
{
    const char *text = NULL;
    const char *principal = call->principal.id;
    struct kv_assignment *assignment = &ticket->assignment;
    int rc = 0;
    KV_TRY(kv_json_string(call->body, "ticket", KV_REQUIRED, &text, err));
    KV_TRY(kv_json_string(call->body, "principal", KV_OPTIONAL, &principal, err));
    KV_TRY(kv_call_read_principal(call, principal, assignment->principal, err));
    KV_TRY(kv_str_copy(assignment->role, sizeof(assignment->role), ROLE));
    KV_TRY(kv_str_copy(assignment->scope, sizeof(assignment->scope), "/"));
    if (kv_token_hash(text, ticket->hash) != 0) /* no ticket is like that */
        memset(ticket->hash, 0, sizeof(ticket->hash));
out:
    return rc;
}

void kv_admin_redeem_ticket(struct kv_call *call)
{
    struct kv_service *service = call->task.service;
    struct ticket *ticket = begin(call);
    struct kv_err err = KV_ERR_INIT;
    char peer[32];
    int rc = ticket != NULL ? 0 : KV_E_NOMEM;
    if (rc != 0)
        goto out;
    KV_TRY(check_local(call, &err));
    KV_TRY(check_none_yet(call, &err));
    KV_TRY(read_redeem(call, ticket, &err));
    name_peer(call, peer);
    if (kv_throttle_wait_ms(service->identity->throttle, ROW_NAME, peer,
                            kv_monotonic_ms(service->clock)) > 0) {
        rc = kv_err_set(&err, KV_E_BUSY, "init.wait",
                        "a ticket was wrong just now; try again shortly");
        goto out;
    }
    call->task.vault = &service->system;
    kv_task_find(&call->task, KV_KIND_SYSTEM, ROW_NAME, NULL, redeem_found);
    return;
out:
    kv_task_fail(&call->task, rc, &err);
}
