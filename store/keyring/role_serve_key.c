/*
 * Requests of the service about keys. Every verb but GENERATE and IMPORT brings the
 * sealed row along; what it says about itself is believed only after it
 * authenticated, and only its own body decides what may be done.
 */
#include <stdlib.h>
#include <string.h>

#include "store/keyring/role_serve.h"
#include "store/keyring/rules.h"

#define ALL_OPS UINT32_MAX

static int bad_frame(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "role.bad-frame",
                      "the payload of the frame is malformed");
}

static int need_kind_key(const struct kv_ident *ident, struct kv_err *err)
{
    if (ident->kind == KV_KIND_KEY)
        return 0;
    return kv_err_set(err, KV_E_DENIED, "seal.not-a-key", "the row '%s' is no key",
                      ident->name);
}

/* A key that is used or leaves must be one that somebody stored. */
static int need_stored(const struct kv_ident *ident, struct kv_err *err)
{
    if (ident->row_version > 0)
        return 0;
    return kv_err_set(err, KV_E_STATE, "key.pending",
                      "the key '%s' belongs to an order that has not been completed",
                      ident->name);
}

static void made_fill(struct kv_role_key_made *made, const struct kv_buf *row,
                      const struct kv_key_info *info)
{
    made->row = (struct kv_bytes){row->data, row->len};
    made->info = *info;
}

static int make_key(const struct kv_role_key_new *msg, uint16_t verb,
                    struct kv_key **key, struct kv_key_certs *certs, struct kv_err *err)
{
    if (verb == KV_ROLE_KEY_IMPORT)
        return kv_key_import(msg, key, certs, err);
    return kv_key_generate(msg->kty, msg->curve, msg->bits, key, err);
}

static int serve_new(struct kv_ring *ring, const struct kv_frame *frame,
                     struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_key_new msg;
    struct kv_role_key_made made = {.n_certs = 0};
    struct kv_key_certs certs = {.n = 0};
    struct kv_key *key = NULL;
    struct kv_buf body;
    struct kv_buf row;
    kv_buf_init_secret(&body, KV_BODY_MAX);
    kv_buf_init(&row, KV_ROW_MAX);
    const bool is_import = frame->verb == KV_ROLE_KEY_IMPORT;
    if (kv_role_key_new_get(frame->payload, &msg) != 0 ||
        is_import != (msg.import != KV_IMPORT_NONE)) {
        rc = bad_frame(err);
        goto out;
    }
    KV_TRY(need_kind_key(&msg.ident, err));
    KV_TRY(make_key(&msg, frame->verb, &key, &certs, err));
    KV_TRY(kv_body_put(&body, key, &msg.attrs));
    KV_TRY(kv_ring_seal(ring, &msg.ident, (struct kv_bytes){body.data, body.len}, &row,
                        err));
    const struct kv_key_info info = {.kty = kv_key_kty(key),
                                     .curve = kv_key_curve(key),
                                     .bits = kv_key_bits(key),
                                     .attrs = msg.attrs,
                                     .spki = kv_key_spki(key)};
    made_fill(&made, &row, &info);
    made.n_certs = (uint16_t)certs.n;
    for (unsigned i = 0; i < certs.n; i++)
        made.cert[i] = (struct kv_bytes){certs.der[i].data, certs.der[i].len};
    kv_role_key_made_put(out, &made);
    rc = kv_buf_status(out);
out:
    kv_key_certs_free(&certs);
    kv_key_unref(key);
    kv_buf_free(&body);
    kv_buf_free(&row);
    return rc;
}

/* The new identity is the old one, rewritten: only term and row version move on. */
static int check_idents(const struct kv_ident *old_ident, const struct kv_ident *ident,
                        struct kv_err *err)
{
    const bool is_same = memcmp(old_ident->vault, ident->vault, KV_ID_LEN) == 0 &&
                         old_ident->kind == ident->kind &&
                         strcmp(old_ident->name, ident->name) == 0 &&
                         memcmp(old_ident->version, ident->version, KV_ID_LEN) == 0;
    if (!is_same)
        return kv_err_set(err, KV_E_DENIED, "key.other-identity",
                          "an update may not turn '%s' into another object",
                          old_ident->name);
    if (ident->row_version <= old_ident->row_version || ident->term < old_ident->term)
        return kv_err_set(err, KV_E_CONFLICT, "key.row-version",
                          "the row version of '%s' must rise", old_ident->name);
    return 0;
}

/* One body that is sealed again: for its own row, or with REUSE for a pending one. */
struct step {
    struct kv_role_key_update msg;
    bool is_reuse;
    struct kv_buf plain;
    struct kv_body old; /* borrows from `plain` */
    struct kv_buf body;
};

static int check_step(const struct step *step, struct kv_err *err)
{
    const struct kv_role_key_update *msg = &step->msg;
    const struct kv_live old = {.ident = msg->old_ident, .attrs = step->old.info.attrs};
    if (step->is_reuse)
        return kv_rules_reuse(&old, &msg->ident, &msg->attrs, err);
    int rc = check_idents(&msg->old_ident, &msg->ident, err);
    return rc != 0 ? rc : kv_rules_update(&old.attrs, &msg->attrs, err);
}

/* Check the step and write the new body. */
static int rewrite_body(struct kv_ring *ring, struct step *step, struct kv_err *err)
{
    const struct kv_role_key_update *msg = &step->msg;
    int rc = 0;
    KV_TRY(need_kind_key(&msg->old_ident, err));
    KV_TRY(kv_ring_unseal(ring, &msg->old_ident, msg->old_row, &step->plain, err));
    KV_TRY(kv_body_get((struct kv_bytes){step->plain.data, step->plain.len}, &step->old,
                       err));
    KV_TRY(check_step(step, err));
    rc = kv_body_put_again(&step->body, &step->old, &msg->attrs);
out:
    return rc;
}

static int serve_update(struct kv_ring *ring, const struct kv_frame *frame,
                        struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct step step = {.is_reuse = frame->verb == KV_ROLE_KEY_REUSE};
    struct kv_role_key_made made = {.n_certs = 0};
    struct kv_buf row;
    if (kv_role_key_update_get(frame->payload, &step.msg) != 0)
        return bad_frame(err);
    kv_buf_init_secret(&step.plain, KV_BODY_MAX);
    kv_buf_init_secret(&step.body, KV_BODY_MAX);
    kv_buf_init(&row, KV_ROW_MAX);
    KV_TRY(rewrite_body(ring, &step, err));
    KV_TRY(kv_ring_seal(ring, &step.msg.ident,
                        (struct kv_bytes){step.body.data, step.body.len}, &row, err));
    struct kv_key_info info = step.old.info;
    info.attrs = step.msg.attrs;
    made_fill(&made, &row, &info);
    kv_role_key_made_put(out, &made);
    rc = kv_buf_status(out);
out:
    kv_buf_free(&step.plain);
    kv_buf_free(&step.body);
    kv_buf_free(&row);
    return rc;
}

/* Append one row of KEY_INFO. */
static void put_info(struct kv_ring *ring, const struct kv_role_row *in,
                     struct kv_buf *plain, struct kv_buf *out)
{
    struct kv_body body;
    kv_buf_reset(plain);
    int status = need_kind_key(&in->ident, NULL);
    if (status == 0)
        status = kv_ring_unseal(ring, &in->ident, in->body, plain, NULL);
    if (status == 0)
        status = kv_body_get((struct kv_bytes){plain->data, plain->len}, &body, NULL);
    kv_wire_put_u32(out, (uint32_t)status);
    if (status == 0)
        kv_key_info_put(out, &body.info);
}

static int serve_info(struct kv_ring *ring, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_buf plain;
    kv_buf_init_secret(&plain, KV_BODY_MAX);
    struct kv_role_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return KV_E_NOMEM;
    if (kv_role_rows_get(frame->payload, rows) != 0) {
        rc = bad_frame(err);
        goto out;
    }
    kv_wire_put_u16(out, rows->n);
    for (uint16_t i = 0; i < rows->n; i++)
        put_info(ring, &rows->row[i], &plain, out);
    rc = kv_buf_status(out);
out:
    kv_buf_free(&plain);
    free(rows);
    return rc;
}

/* The bits of which `op` must be one. */
static uint32_t ops_of_verb(uint16_t verb)
{
    switch (verb) {
    case KV_ROLE_KEY_SIGN:
        return KV_OP_SIGN;
    case KV_ROLE_KEY_VERIFY:
        return KV_OP_VERIFY;
    case KV_ROLE_KEY_ENCRYPT:
        return KV_OP_ENCRYPT | KV_OP_WRAP;
    case KV_ROLE_KEY_DECRYPT:
        return KV_OP_DECRYPT | KV_OP_UNWRAP;
    default:
        return 0;
    }
}

static int begin_use(struct kv_ring *ring, const struct kv_role_use *use, uint16_t verb,
                     struct kv_live *live, struct kv_err *err)
{
    int rc = 0;
    if ((use->op & ops_of_verb(verb)) == 0)
        return bad_frame(err);
    KV_TRY(kv_ring_load(ring, &use->ident, use->row, live, err));
    KV_TRY(need_stored(&use->ident, err));
    rc = kv_rules_check(live, ALL_OPS, use->op, kv_ring_now_s(ring), err);
out:
    return rc;
}

static int serve_sign(const struct kv_serve *serve, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    bool is_valid = false;
    struct kv_role_use use;
    struct kv_msg_sign msg;
    struct kv_bytes signature = {NULL, 0};
    struct kv_live live = {.key = NULL};
    struct kv_wire wire;
    kv_wire_init(&wire, frame->payload.data, frame->payload.len);
    kv_role_use_read(&wire, &use);
    kv_msg_sign_read(&wire, &msg);
    const bool is_sign = frame->verb == KV_ROLE_KEY_SIGN;
    if (!is_sign)
        signature = kv_wire_bytes(&wire, KV_SPKI_MAX);
    if (kv_wire_end(&wire) != 0)
        return bad_frame(err);
    KV_TRY(begin_use(serve->ring, &use, frame->verb, &live, err));
    if (is_sign) {
        rc = kv_key_sign(live.key, serve->slot, &msg, out, err);
        goto out;
    }
    KV_TRY(kv_key_verify(live.key, serve->slot, &msg, signature, &is_valid, err));
    kv_wire_put_u8(out, is_valid ? 1 : 0);
    rc = kv_buf_status(out);
out:
    return kv_serve_end_use(serve, &live, is_sign ? KV_USE_SIGN : KV_USE_VERIFY, rc);
}

static int serve_crypt(const struct kv_serve *serve, const struct kv_frame *frame,
                       struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_use use;
    struct kv_msg_decrypt msg;
    struct kv_live live = {.key = NULL};
    struct kv_wire wire;
    kv_wire_init(&wire, frame->payload.data, frame->payload.len);
    kv_role_use_read(&wire, &use);
    kv_msg_decrypt_read(&wire, &msg);
    if (kv_wire_end(&wire) != 0 || msg.enc == KV_ENC_TLS)
        return bad_frame(err);
    const bool is_encrypt = frame->verb == KV_ROLE_KEY_ENCRYPT;
    KV_TRY(begin_use(serve->ring, &use, frame->verb, &live, err));
    if (is_encrypt)
        rc = kv_key_encrypt(live.key, serve->slot, &msg, out, err);
    else
        rc = kv_key_decrypt(live.key, serve->slot, &msg, out, err);
out:
    return kv_serve_end_use(serve, &live, is_encrypt ? KV_USE_ENCRYPT : KV_USE_DECRYPT,
                            rc);
}

static int serve_tbs(const struct kv_serve *serve, const struct kv_frame *frame,
                     struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_tbs msg;
    struct kv_live live = {.key = NULL};
    if (kv_role_tbs_get(frame->payload, &msg) != 0)
        return bad_frame(err);
    KV_TRY(kv_ring_load(serve->ring, &msg.ident, msg.row, &live, err));
    if (msg.ident.row_version > 0)
        KV_TRY(kv_rules_check_enabled(&live, err));
    rc = kv_key_sign_tbs(live.key, &msg, out, err);
out:
    return kv_serve_end_use(serve, &live, KV_USE_SIGN, rc);
}

static int serve_export(struct kv_ring *ring, const struct kv_frame *frame,
                        struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_export msg;
    struct kv_live live = {.key = NULL};
    if (kv_role_export_get(frame->payload, &msg) != 0)
        return bad_frame(err);
    KV_TRY(kv_ring_load(ring, &msg.ident, msg.row, &live, err));
    KV_TRY(need_stored(&msg.ident, err));
    KV_TRY(kv_rules_check_alive(&live, kv_ring_now_s(ring), err));
    if (!live.attrs.is_exportable) {
        rc = kv_err_set(err, KV_E_DENIED, "key.not-exportable",
                        "the key '%s' was made not exportable", msg.ident.name);
        goto out;
    }
    rc = kv_key_export(live.key, &msg, out, err);
out:
    kv_live_release(&live);
    return rc;
}

int kv_role_serve_key(const struct kv_serve *serve, const struct kv_frame *frame,
                      struct kv_buf *out, struct kv_err *err)
{
    struct kv_ring *ring = serve->ring;
    struct kv_serve timed = *serve;
    if (timed.begun_us == 0)
        timed.begun_us = kv_ring_now_us(ring);
    switch (frame->verb) {
    case KV_ROLE_KEY_GENERATE:
    case KV_ROLE_KEY_IMPORT:
        return serve_new(ring, frame, out, err);
    case KV_ROLE_KEY_UPDATE:
    case KV_ROLE_KEY_REUSE:
        return serve_update(ring, frame, out, err);
    case KV_ROLE_KEY_INFO:
        return serve_info(ring, frame, out, err);
    case KV_ROLE_KEY_SIGN:
    case KV_ROLE_KEY_VERIFY:
        return serve_sign(&timed, frame, out, err);
    case KV_ROLE_KEY_ENCRYPT:
    case KV_ROLE_KEY_DECRYPT:
        return serve_crypt(&timed, frame, out, err);
    case KV_ROLE_KEY_SIGN_TBS:
        return serve_tbs(&timed, frame, out, err);
    case KV_ROLE_KEY_EXPORT:
        return serve_export(ring, frame, out, err);
    default: /* the verb is a number from outside */
        return kv_err_set(err, KV_E_UNSUPPORTED, "channel.unknown-verb",
                          "there is no verb %u on this channel", frame->verb);
    }
}
