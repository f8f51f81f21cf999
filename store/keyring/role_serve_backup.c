/*
 * Backups of the whole store: the key of a file, and the proof that keys work.
 *
 * PROVE signs and verifies with each key something that is made here and leaves to
 * nobody, so it needs no permission of the key: a key that is disabled or may only
 * decrypt is proved as any other. It leaves the live keys alone.
 */
#include <stdlib.h>
#include <string.h>

#include "store/core/secret.h"
#include "store/keyring/role_serve.h"
#include "store/keyring/slots.h"

#define DIGEST_LEN 32
#define SIGNATURE_MAX 1024

static int bad_frame(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "role.bad-frame",
                      "the payload of the frame is malformed");
}

/* Whether somebody could open the installation with what fits on a sheet of paper. */
static uint8_t opens_elsewhere(struct kv_bytes file)
{
    struct kv_slots slots;
    if (kv_slots_decode(file, &slots, NULL) != 0)
        return 0;
    for (uint8_t i = 0; i < slots.n; i++) {
        if (slots.slot[i].kind == KV_SLOT_RECOVERY ||
            slots.slot[i].kind == KV_SLOT_PASSPHRASE)
            return 1;
    }
    return 0;
}

static int serve_key_new(struct kv_ring *ring, const struct kv_frame *frame,
                         struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_backup_key msg;
    struct kv_buf wrapped;
    if (frame->payload.len != 0)
        return bad_frame(err);
    kv_buf_init(&wrapped, 256);
    KV_TRY(kv_ring_backup_key_new(ring, msg.key, &wrapped, &msg.slots));
    msg.wrapped = (struct kv_bytes){wrapped.data, wrapped.len};
    msg.opens_elsewhere = opens_elsewhere(msg.slots);
    kv_role_backup_key_put(out, &msg);
    rc = kv_buf_status(out);
out:
    kv_wipe(msg.key, sizeof(msg.key));
    kv_buf_free(&wrapped);
    return rc;
}

static int serve_key_open(struct kv_ring *ring, const struct kv_frame *frame,
                          struct kv_buf *out, struct kv_err *err)
{
    uint8_t key[KV_BACKUP_KEY_LEN];
    if (frame->payload.len > KV_BACKUP_WRAPPED_MAX)
        return bad_frame(err);
    int rc = kv_ring_backup_key_open(ring, frame->payload, key, err);
    if (rc == 0)
        rc = kv_buf_append(out, key, sizeof(key));
    kv_wipe(key, sizeof(key));
    return rc;
}

/* Sign something with the key and look at the signature. */
static int prove_key(struct kv_key *key, unsigned slot, struct kv_err *err)
{
    int rc = 0;
    bool is_valid = false;
    uint8_t digest[64];
    struct kv_msg_sign msg = {.md = KV_MD_SHA256, .input = {digest, DIGEST_LEN}};
    struct kv_buf signature;
    kv_buf_init(&signature, SIGNATURE_MAX);
    KV_TRY(kv_rand_fill(kv_rand_system(), digest, sizeof(digest)));
    switch (kv_key_kty(key)) {
    case KV_KTY_RSA:
        msg.sig = KV_SIG_PKCS1;
        break;
    case KV_KTY_EC:
        msg.sig = KV_SIG_ECDSA;
        break;
    case KV_KTY_OKP:
        msg.sig = KV_SIG_EDDSA;
        msg.md = KV_MD_NONE;
        break;
    default: /* signs nothing: that it opened is the proof */
        goto out;
    }
    KV_TRY(kv_key_sign(key, slot, &msg, &signature, err));
    KV_TRY(kv_key_verify(key, slot, &msg,
                         (struct kv_bytes){signature.data, signature.len}, &is_valid,
                         err));
    rc = is_valid ? 0 : KV_E_INTEGRITY;
out:
    kv_buf_free(&signature);
    return rc;
}

static int prove_row(const struct kv_serve *serve, const struct kv_role_row *row)
{
    int rc = 0;
    struct kv_body body;
    struct kv_key *key = NULL;
    struct kv_buf plain;
    kv_buf_init_secret(&plain, KV_BODY_MAX);
    if (row->ident.kind != KV_KIND_KEY) {
        rc = KV_E_DENIED;
        goto out;
    }
    KV_TRY(kv_ring_unseal(serve->ring, &row->ident, row->body, &plain, NULL));
    KV_TRY(kv_body_get((struct kv_bytes){plain.data, plain.len}, &body, NULL));
    KV_TRY(kv_key_from_pkcs8(body.pkcs8, &key, NULL));
    const struct kv_bytes spki = kv_key_spki(key);
    if (spki.len != body.info.spki.len ||
        memcmp(spki.data, body.info.spki.data, spki.len) != 0) {
        rc = KV_E_INTEGRITY;
        goto out;
    }
    rc = prove_key(key, serve->slot, NULL);
out:
    if (key != NULL)
        kv_key_unref(key);
    kv_buf_free(&plain);
    return rc;
}

static int serve_prove(const struct kv_serve *serve, const struct kv_frame *frame,
                       struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return KV_E_NOMEM;
    if (kv_role_rows_get(frame->payload, rows) != 0) {
        rc = bad_frame(err);
        goto out;
    }
    kv_wire_put_u16(out, rows->n);
    for (uint16_t i = 0; i < rows->n; i++)
        kv_wire_put_u32(out, (uint32_t)prove_row(serve, &rows->row[i]));
    rc = kv_buf_status(out);
out:
    free(rows);
    return rc;
}

int kv_role_serve_backup(const struct kv_serve *serve, const struct kv_frame *frame,
                         struct kv_buf *out, struct kv_err *err)
{
    if (frame->verb == KV_ROLE_BACKUP_NEW)
        return serve_key_new(serve->ring, frame, out, err);
    if (frame->verb == KV_ROLE_BACKUP_OPEN)
        return serve_key_open(serve->ring, frame, out, err);
    return serve_prove(serve, frame, out, err);
}
