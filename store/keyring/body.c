/*
 * Bodies of key rows. The public key stands in the body as well, so that a list page
 * of 64 keys parses no private key.
 */
#include "store/keyring/body.h"

#include "store/keyring/codec.h"

#define BODY_VERSION 1
#define PKCS8_MAX 8192

static void head_put(struct kv_buf *out, const struct kv_key_info *info,
                     const struct kv_key_attrs *attrs)
{
    kv_wire_put_u8(out, BODY_VERSION);
    kv_wire_put_u8(out, info->kty);
    kv_wire_put_u8(out, info->curve);
    kv_wire_put_u16(out, info->bits);
    kv_key_attrs_put(out, attrs);
    kv_codec_bytes_put(out, info->spki);
}

int kv_body_put(struct kv_buf *out, const struct kv_key *key,
                const struct kv_key_attrs *attrs)
{
    struct kv_buf pkcs8;
    kv_buf_init_secret(&pkcs8, PKCS8_MAX);
    const struct kv_key_info info = {.kty = kv_key_kty(key),
                                     .curve = kv_key_curve(key),
                                     .bits = kv_key_bits(key),
                                     .spki = kv_key_spki(key)};
    int rc = kv_key_to_pkcs8(key, &pkcs8);
    if (rc == 0) {
        head_put(out, &info, attrs);
        kv_wire_put_bytes(out, pkcs8.data, pkcs8.len);
        rc = kv_buf_status(out);
    }
    kv_buf_free(&pkcs8);
    return rc;
}

int kv_body_put_again(struct kv_buf *out, const struct kv_body *body,
                      const struct kv_key_attrs *attrs)
{
    head_put(out, &body->info, attrs);
    kv_codec_bytes_put(out, body->pkcs8);
    return kv_buf_status(out);
}

int kv_body_get(struct kv_bytes plain, struct kv_body *out, struct kv_err *err)
{
    struct kv_body body = {.pkcs8 = {NULL, 0}};
    struct kv_wire wire = kv_codec_reader(plain);
    if (kv_wire_u8(&wire) != BODY_VERSION)
        kv_wire_fail(&wire);
    kv_codec_shape(&wire, &body.info.kty, &body.info.curve, &body.info.bits);
    kv_key_attrs_read(&wire, &body.info.attrs);
    body.info.spki = kv_wire_bytes(&wire, KV_SPKI_MAX);
    body.pkcs8 = kv_wire_bytes(&wire, PKCS8_MAX);
    if (kv_wire_end(&wire) != 0)
        return kv_err_set(err, KV_E_INTEGRITY, "seal.row-damaged",
                          "the sealed row holds no key");
    *out = body;
    return 0;
}
