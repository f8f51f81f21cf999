/*
 * Requests of the service about vault keys, rows and beats. A batch answers each row
 * for itself: one damaged row does not hide the others.
 */
#include "store/keyring/role_serve.h"

#include <stdlib.h>
#include <string.h>

bool kv_role_verb_is_slow(uint16_t verb)
{
    return (verb >= KV_ROLE_KEY_GENERATE && verb <= KV_ROLE_KEY_EXPORT) ||
           verb == KV_ROLE_KEY_REUSE || verb == KV_ROLE_BLOB_SEAL ||
           verb == KV_ROLE_BLOB_OPEN || verb == KV_ROLE_AUDIT_OPEN ||
           verb == KV_ROLE_AUDIT_SEAL || verb == KV_ROLE_AUDIT_KEYS ||
           verb == KV_ROLE_KEY_PROVE;
}

static int bad_frame(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "role.bad-frame",
                      "the payload of the frame is malformed");
}

static int serve_hello(struct kv_ring *ring, const struct kv_frame *frame,
                       struct kv_buf *out, struct kv_err *err)
{
    struct kv_msg_hello hello;
    struct kv_msg_hello_reply reply = {.version = KV_PROTOCOL_VERSION,
                                       .has_service = 1};
    if (kv_msg_hello_get(frame->payload, &hello) != 0)
        return bad_frame(err);
    if (hello.version != KV_PROTOCOL_VERSION)
        return kv_err_set(err, KV_E_UNSUPPORTED, "channel.version",
                          "the service speaks version %u of the protocol, this is %d",
                          hello.version, KV_PROTOCOL_VERSION);
    memcpy(reply.installation, kv_ring_installation(ring), KV_ID_LEN);
    kv_msg_hello_reply_put(out, &reply);
    return kv_buf_status(out);
}

static int serve_forget(struct kv_ring *ring, const struct kv_frame *frame,
                        struct kv_err *err)
{
    struct kv_role_vault_key msg;
    if (kv_role_vault_key_get(frame->payload, &msg) != 0 || msg.term != 0 ||
        msg.wrapped.len != 0)
        return bad_frame(err);
    kv_ring_forget(ring, msg.vault);
    return 0;
}

static int serve_vault_key(struct kv_ring *ring, const struct kv_frame *frame,
                           struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_vault_key msg;
    struct kv_buf wrapped;
    kv_buf_init(&wrapped, 256);
    if (kv_role_vault_key_get(frame->payload, &msg) != 0)
        return bad_frame(err);
    if (frame->verb == KV_ROLE_VAULT_KEY_OPEN)
        return kv_ring_vault_key_open(ring, &msg, err);
    if (msg.wrapped.len != 0 || msg.term == 0)
        return bad_frame(err);
    KV_TRY(kv_ring_vault_key_new(ring, msg.vault, msg.term, &wrapped, err));
    msg.wrapped = (struct kv_bytes){wrapped.data, wrapped.len};
    kv_role_vault_key_put(out, &msg);
    rc = kv_buf_status(out);
out:
    kv_buf_free(&wrapped);
    return rc;
}

/* Keys are made and opened by verbs of their own; vault keys are never sealed. */
static bool kind_is_open(uint8_t kind)
{
    return kind != KV_KIND_KEY && kind != KV_KIND_VAULT_KEY;
}

static int one_row(struct kv_ring *ring, uint16_t verb, const struct kv_role_row *in,
                   struct kv_buf *work)
{
    if (!kind_is_open(in->ident.kind))
        return KV_E_DENIED;
    if (verb == KV_ROLE_SEAL)
        return kv_ring_seal(ring, &in->ident, in->body, work, NULL);
    return kv_ring_unseal(ring, &in->ident, in->body, work, NULL);
}

static int serve_rows(struct kv_ring *ring, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_buf work;
    kv_buf_init_secret(&work, KV_ROW_MAX);
    struct kv_role_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return KV_E_NOMEM;
    if (kv_role_rows_get(frame->payload, rows) != 0) {
        rc = bad_frame(err);
        goto out;
    }
    kv_wire_put_u16(out, rows->n);
    for (uint16_t i = 0; i < rows->n; i++) {
        kv_buf_reset(&work);
        const int status = one_row(ring, frame->verb, &rows->row[i], &work);
        kv_ident_put(out, &rows->row[i].ident);
        kv_wire_put_u32(out, (uint32_t)status);
        kv_wire_put_bytes(out, work.data, status == 0 ? work.len : 0);
    }
    rc = kv_buf_status(out);
out:
    kv_buf_free(&work);
    free(rows);
    return rc;
}

static int serve_beat(struct kv_ring *ring, const struct kv_frame *frame,
                      struct kv_err *err)
{
    struct kv_role_beat beat;
    if (kv_role_beat_get(frame->payload, &beat) != 0)
        return bad_frame(err);
    const int rc = kv_ring_beat(ring, &beat);
    if (rc != 0)
        (void)kv_err_set(err, rc, "role.too-many-vaults",
                         "beats are kept for at most %d vaults", KV_RING_VAULTS_MAX);
    return rc;
}

static int serve_usage(struct kv_ring *ring, const struct kv_frame *frame,
                       struct kv_buf *out, struct kv_err *err)
{
    struct kv_role_usage_ask ask;
    if (kv_role_usage_ask_get(frame->payload, &ask) != 0)
        return bad_frame(err);
    struct kv_role_usage *usage = calloc(1, sizeof(*usage));
    if (usage == NULL)
        return KV_E_NOMEM;
    kv_ring_usage(ring, &ask, usage);
    kv_role_usage_put(out, usage);
    free(usage);
    return kv_buf_status(out);
}

int kv_role_serve(const struct kv_serve *serve, const struct kv_frame *frame,
                  struct kv_buf *out, struct kv_err *err)
{
    struct kv_ring *ring = serve->ring;
    switch (frame->verb) {
    case KV_ROLE_HELLO:
        return serve_hello(ring, frame, out, err);
    case KV_ROLE_VAULT_KEY_NEW:
    case KV_ROLE_VAULT_KEY_OPEN:
        return serve_vault_key(ring, frame, out, err);
    case KV_ROLE_VAULT_FORGET:
        return serve_forget(ring, frame, err);
    case KV_ROLE_SEAL:
    case KV_ROLE_UNSEAL:
        return serve_rows(ring, frame, out, err);
    case KV_ROLE_BLOB_SEAL:
    case KV_ROLE_BLOB_OPEN:
        return kv_role_serve_blob(serve, frame, out, err);
    case KV_ROLE_BACKUP_NEW:
    case KV_ROLE_BACKUP_OPEN:
    case KV_ROLE_KEY_PROVE:
        return kv_role_serve_backup(serve, frame, out, err);
    case KV_ROLE_BEAT:
        return serve_beat(ring, frame, err);
    case KV_ROLE_USAGE:
        return serve_usage(ring, frame, out, err);
    case KV_ROLE_AUDIT_OPEN:
    case KV_ROLE_AUDIT_SEAL:
    case KV_ROLE_AUDIT_KEYS:
    case KV_ROLE_AUDIT_CHECK:
    case KV_ROLE_AUDIT_USES:
        return kv_role_serve_audit(serve, frame, out, err);
    default: /* the verb is a number from outside */
        return kv_role_serve_key(serve, frame, out, err);
    }
}
