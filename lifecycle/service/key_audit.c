/*
 * Records of the key channel.
 *
 * Uses are asked for page by page. A page is recorded, and with the next question the
 * keyring hears that it was; so a count is in the log once or, after a crash in
 * between, twice, and never not at all.
 */
#include "lifecycle/service/key_audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/principal.h"
#include "lifecycle/service/keyring.h"
#include "store/keyring/role_audit.h"

static void put_facts(struct kv_buf *body, const struct kv_key_audit *facts)
{
    kv_audit_put_text(body, "principal", facts->principal, KV_PRINCIPAL_MAX);
    kv_audit_put_text(body, "peer", "keys.sock", 16);
    kv_audit_put_number(body, "uid", facts->asked->uid);
    kv_audit_put_number(body, "gid", facts->asked->gid);
    kv_audit_put_number(body, "pid", facts->asked->pid);
    if (facts->vault != NULL)
        kv_audit_put_text(body, "vault", facts->vault->name, KV_VAULT_NAME_MAX);
    kv_audit_put_text(body, "op", "open", 16);
    kv_audit_put_text(body, "object", "keys", 16);
    kv_audit_put_text(body, "name", facts->name, KV_NAME_MAX);
    if (facts->version != NULL)
        kv_audit_put_hex(body, "version", facts->version, KV_ID_LEN);
}

int kv_key_audit_grant(struct kv_service *service, const struct kv_key_audit *facts,
                       kv_audit_cb cb, void *arg, struct kv_err *err)
{
    struct kv_buf *body = kv_audit_begin(service->audit, "grant");
    put_facts(body, facts);
    kv_audit_put_text(body, "decision", "allow", 16);
    kv_audit_put_number(body, "ops", facts->ops);
    return kv_audit_end(service->audit, cb, arg, err);
}

void kv_key_audit_refuse(struct kv_service *service, const struct kv_key_audit *facts)
{
    if (service->audit == NULL || !kv_audit_is_running(service->audit) ||
        !kv_audit_may_refuse(service->audit))
        return;
    struct kv_buf *body = kv_audit_begin(service->audit, "deny");
    put_facts(body, facts);
    kv_audit_put_text(body, "decision", "deny", 16);
    kv_audit_put_text(body, "error", facts->error, KV_ERR_ID_MAX);
    if (kv_audit_end(service->audit, NULL, NULL, NULL) != 0)
        return; /* nothing was given, and the log has said that it stopped */
}

/* --- uses ----------------------------------------------------------------------------
 */

struct uses {
    struct kv_service *service;
    struct kv_role_audit_uses_ask ask;
    struct kv_role_audit_uses page;
    void (*cb)(void *arg);
    void *arg;
};

static void end(struct uses *uses)
{
    void (*cb)(void *arg) = uses->cb;
    void *arg = uses->arg;
    uses->service->n_running--;
    uses->service->is_telling_uses = false;
    free(uses);
    if (cb != NULL)
        cb(arg);
}

static void ask_page(struct uses *uses);

/* A page is in the log: the keyring may forget it. */
static void on_recorded(void *arg, int rc, const struct kv_err *err)
{
    struct uses *uses = arg;
    (void)err; /* the log has said that it stopped; the counts wait */
    if (rc != 0) {
        end(uses);
        return;
    }
    uses->ask.n_done = uses->page.n;
    for (uint16_t i = 0; i < uses->page.n; i++) {
        const struct kv_role_audit_use *row = &uses->page.row[i];
        uses->ask.done[i].uid = row->uid;
        memcpy(uses->ask.done[i].version, row->version, KV_ID_LEN);
        uses->ask.done[i].counts = row->counts;
    }
    /* Behind the last page nothing more is shown, but heard that it was recorded. */
    uses->ask.from = uses->page.next != 0 ? uses->page.next : UINT32_MAX;
    ask_page(uses);
}

static int record(struct uses *uses, const struct kv_role_audit_use *row, bool is_last)
{
    static const char *const names[] = {"sign", "decrypt", "derive"};
    char unix_id[32];
    struct kv_service *service = uses->service;
    const struct kv_principal *principal =
        kv_principals_find(service->principals, row->uid);
    const struct kv_vault *vault = kv_service_vault_by_id(service, row->vault);
    struct kv_buf *body = kv_audit_begin(service->audit, "use");
    (void)snprintf(unix_id, sizeof(unix_id), "unix:#%u", row->uid);
    kv_audit_put_text(body, "principal", principal != NULL ? principal->id : unix_id,
                      KV_PRINCIPAL_MAX);
    kv_audit_put_text(body, "peer", "keys.sock", 16);
    kv_audit_put_number(body, "uid", row->uid);
    if (vault != NULL)
        kv_audit_put_text(body, "vault", vault->name, KV_VAULT_NAME_MAX);
    kv_audit_put_text(body, "object", "keys", 16);
    kv_audit_put_text(body, "name", row->name, KV_NAME_MAX);
    kv_audit_put_hex(body, "version", row->version, KV_ID_LEN);
    for (size_t i = 0; i < KV_AUDIT_USES_N; i++)
        if (row->counts.n[i] > 0)
            kv_audit_put_number(body, names[i], row->counts.n[i]);
    return kv_audit_end(service->audit, is_last ? on_recorded : NULL, uses, NULL);
}

static void on_page(void *arg, int rc, struct kv_bytes payload,
                    const struct kv_err *err)
{
    struct uses *uses = arg;
    (void)err; /* tried again in a minute */
    if (rc == 0)
        rc = kv_role_audit_uses_get(payload, &uses->page);
    if (rc != 0 || uses->page.n == 0) {
        end(uses);
        return;
    }
    for (uint16_t i = 0; i < uses->page.n && rc == 0; i++)
        rc = record(uses, &uses->page.row[i], i + 1 == uses->page.n);
    if (rc != 0) /* the last one was not taken: nobody calls back */
        end(uses);
}

static void ask_page(struct uses *uses)
{
    struct kv_buf payload;
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    kv_role_audit_uses_ask_put(&payload, &uses->ask);
    int rc = kv_buf_status(&payload);
    if (rc == 0)
        rc = kv_keyring_call(uses->service->keyring, KV_ROLE_AUDIT_USES, &payload,
                             on_page, uses);
    kv_buf_free(&payload);
    if (rc != 0)
        end(uses);
}

void kv_key_audit_uses(struct kv_service *service, void (*cb)(void *arg), void *arg)
{
    bool is_possible = service->audit != NULL && kv_audit_is_running(service->audit) &&
                       kv_keyring_is_connected(service->keyring) &&
                       !service->is_telling_uses;
    struct uses *uses = is_possible ? calloc(1, sizeof(*uses)) : NULL;
    if (uses == NULL) {
        if (cb != NULL)
            cb(arg);
        return;
    }
    uses->service = service;
    uses->cb = cb;
    uses->arg = arg;
    service->n_running++;
    service->is_telling_uses = true;
    ask_page(uses);
}
