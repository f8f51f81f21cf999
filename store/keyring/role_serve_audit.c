/*
 * Requests of the service about the audit log. They write and sync the anchor's file,
 * so they belong on the pool.
 */
#include <stdlib.h>

#include "store/core/secret.h"
#include "store/keyring/role_audit.h"
#include "store/keyring/role_serve.h"

static int bad_frame(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "role.bad-frame",
                      "the payload of the frame is malformed");
}

static int serve_open(struct kv_anchor *anchor, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_err *err)
{
    struct kv_role_audit_mark msg;
    struct kv_role_audit_opened opened;
    if (kv_role_audit_mark_get(frame->payload, &msg) != 0)
        return bad_frame(err);
    int rc = kv_anchor_open(anchor, &msg.mark, opened.key, &opened.sealed, err);
    if (rc == 0)
        kv_role_audit_opened_put(out, &opened);
    kv_wipe(&opened, sizeof(opened));
    return rc == 0 ? kv_buf_status(out) : rc;
}

static int serve_seal(struct kv_anchor *anchor, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_err *err)
{
    struct kv_role_audit_mark msg;
    struct kv_role_audit_sealed sealed;
    if (kv_role_audit_mark_get(frame->payload, &msg) != 0)
        return bad_frame(err);
    int rc = kv_anchor_seal(anchor, &msg.mark, &sealed.sealed, err);
    if (rc == 0)
        kv_role_audit_sealed_put(out, &sealed);
    return rc == 0 ? kv_buf_status(out) : rc;
}

static int serve_keys(struct kv_anchor *anchor, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_audit_range range = {.n = 0};
    struct kv_role_audit_keys *keys = calloc(1, sizeof(*keys));
    if (keys == NULL)
        return KV_E_NOMEM;
    if (kv_role_audit_range_get(frame->payload, &range) != 0) {
        rc = bad_frame(err);
        goto out;
    }
    kv_anchor_last(anchor, &keys->last);
    for (; keys->n < range.n; keys->n++)
        KV_TRY(kv_anchor_key(anchor, range.first + keys->n, keys->key[keys->n], err));
    kv_role_audit_keys_put(out, keys);
    rc = kv_buf_status(out);
out:
    kv_wipe(keys, sizeof(*keys));
    free(keys);
    return rc;
}

static int serve_check(struct kv_anchor *anchor, const struct kv_frame *frame,
                       struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_audit_checked checked = {.n = 0};
    struct kv_role_audit_seals *seals = calloc(1, sizeof(*seals));
    if (seals == NULL)
        return KV_E_NOMEM;
    if (kv_role_audit_seals_get(frame->payload, seals) != 0) {
        rc = bad_frame(err);
        goto out;
    }
    for (; checked.n < seals->n; checked.n++) {
        const struct kv_role_audit_seal *row = &seals->row[checked.n];
        rc = kv_anchor_check(anchor, (enum kv_audit_seal_kind)row->kind, &row->mark,
                             &row->sealed);
        checked.is_true[checked.n] = rc == 0;
        if (rc != 0 && rc != KV_E_INTEGRITY)
            goto out;
    }
    kv_role_audit_checked_put(out, &checked);
    rc = kv_buf_status(out);
out:
    free(seals);
    return rc;
}

static int serve_uses(struct kv_ring *ring, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_err *err)
{
    int rc = KV_E_NOMEM;
    struct kv_role_audit_uses_ask *ask = calloc(1, sizeof(*ask));
    struct kv_role_audit_uses *uses = calloc(1, sizeof(*uses));
    if (ask == NULL || uses == NULL)
        goto out;
    if (kv_role_audit_uses_ask_get(frame->payload, ask) != 0) {
        rc = bad_frame(err);
        goto out;
    }
    kv_ring_uses(ring, ask, uses);
    kv_role_audit_uses_put(out, uses);
    rc = kv_buf_status(out);
out:
    free(ask);
    free(uses);
    return rc;
}

int kv_role_serve_audit(const struct kv_serve *serve, const struct kv_frame *frame,
                        struct kv_buf *out, struct kv_err *err)
{
    struct kv_anchor *anchor = kv_ring_anchor(serve->ring);
    switch (frame->verb) {
    case KV_ROLE_AUDIT_OPEN:
        return serve_open(anchor, frame, out, err);
    case KV_ROLE_AUDIT_SEAL:
        return serve_seal(anchor, frame, out, err);
    case KV_ROLE_AUDIT_KEYS:
        return serve_keys(anchor, frame, out, err);
    case KV_ROLE_AUDIT_CHECK:
        return serve_check(anchor, frame, out, err);
    default: /* the caller knows the verbs */
        return serve_uses(serve->ring, frame, out, err);
    }
}
