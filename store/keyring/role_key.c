/*
 * Messages between service and keyring about keys: attributes, making, importing,
 * updating, using and exporting them.
 */
#include "store/keyring/codec.h"
#include "store/keyring/role.h"

void kv_key_attrs_put(struct kv_buf *out, const struct kv_key_attrs *attrs)
{
    kv_wire_put_u32(out, attrs->ops);
    kv_wire_put_u8(out, attrs->is_enabled);
    kv_wire_put_u8(out, attrs->is_exportable);
    kv_wire_put_u8(out, attrs->is_managed);
    kv_wire_put_i64(out, attrs->nbf_s);
    kv_wire_put_i64(out, attrs->exp_s);
    kv_wire_put_i64(out, attrs->created_s);
    kv_wire_put_i64(out, attrs->updated_s);
    kv_codec_bytes_put(out, attrs->app);
}

void kv_key_attrs_read(struct kv_wire *wire, struct kv_key_attrs *attrs)
{
    attrs->ops = kv_codec_ops(wire);
    attrs->is_enabled = kv_codec_u8(wire, 0, 1);
    attrs->is_exportable = kv_codec_u8(wire, 0, 1);
    attrs->is_managed = kv_codec_u8(wire, 0, 1);
    attrs->nbf_s = kv_wire_i64(wire);
    attrs->exp_s = kv_wire_i64(wire);
    attrs->created_s = kv_wire_i64(wire);
    attrs->updated_s = kv_wire_i64(wire);
    attrs->app = kv_wire_bytes(wire, KV_APP_MAX);
}

void kv_key_info_put(struct kv_buf *out, const struct kv_key_info *info)
{
    kv_wire_put_u8(out, info->kty);
    kv_wire_put_u8(out, info->curve);
    kv_wire_put_u16(out, info->bits);
    kv_key_attrs_put(out, &info->attrs);
    kv_codec_bytes_put(out, info->spki);
}

static void info_read(struct kv_wire *wire, struct kv_key_info *info)
{
    kv_codec_shape(wire, &info->kty, &info->curve, &info->bits);
    kv_key_attrs_read(wire, &info->attrs);
    info->spki = kv_wire_bytes(wire, KV_SPKI_MAX);
}

void kv_role_infos_put(struct kv_buf *out, const struct kv_role_infos *msg)
{
    KV_ASSERT(msg->n <= KV_BATCH_MAX);
    kv_wire_put_u16(out, msg->n);
    for (uint16_t i = 0; i < msg->n; i++) {
        kv_wire_put_u32(out, (uint32_t)msg->row[i].status);
        if (msg->row[i].status == 0)
            kv_key_info_put(out, &msg->row[i].info);
    }
}

int kv_role_infos_get(struct kv_bytes payload, struct kv_role_infos *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->n = kv_codec_u16(&wire, 0, KV_BATCH_MAX);
    for (uint16_t i = 0; i < msg->n; i++) {
        msg->row[i].info = (struct kv_key_info){.kty = 0};
        msg->row[i].status = kv_codec_status(&wire);
        if (msg->row[i].status == 0)
            info_read(&wire, &msg->row[i].info);
    }
    return kv_wire_end(&wire);
}

void kv_role_key_new_put(struct kv_buf *out, const struct kv_role_key_new *msg)
{
    kv_ident_put(out, &msg->ident);
    kv_wire_put_u8(out, msg->kty);
    kv_wire_put_u8(out, msg->curve);
    kv_wire_put_u16(out, msg->bits);
    kv_key_attrs_put(out, &msg->attrs);
    kv_wire_put_u8(out, msg->import);
    kv_codec_bytes_put(out, msg->password);
    kv_codec_bytes_put(out, msg->material);
}

/* A request may leave the shape of an imported file open (kty 0, curve 0). */
int kv_role_key_new_get(struct kv_bytes payload, struct kv_role_key_new *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_ident_read(&wire, &msg->ident);
    msg->kty = kv_codec_u8(&wire, 0, KV_KTY_OKP);
    msg->curve = kv_codec_u8(&wire, KV_CURVE_NONE, KV_CURVE_ED25519);
    msg->bits = kv_wire_u16(&wire);
    kv_key_attrs_read(&wire, &msg->attrs);
    msg->import = kv_codec_u8(&wire, KV_IMPORT_NONE, KV_IMPORT_OKP);
    msg->password = kv_wire_bytes(&wire, KV_PASSWORD_MAX);
    msg->material = kv_wire_bytes(&wire, KV_IMPORT_MAX);
    if ((msg->import == KV_IMPORT_NONE) != (msg->material.len == 0))
        kv_wire_fail(&wire);
    return kv_wire_end(&wire);
}

void kv_role_key_made_put(struct kv_buf *out, const struct kv_role_key_made *msg)
{
    kv_codec_bytes_put(out, msg->row);
    kv_key_info_put(out, &msg->info);
    kv_codec_certs_put(out, msg->n_certs, msg->cert);
}

int kv_role_key_made_get(struct kv_bytes payload, struct kv_role_key_made *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->row = kv_wire_bytes(&wire, KV_ROW_MAX);
    info_read(&wire, &msg->info);
    kv_codec_certs(&wire, 0, &msg->n_certs, msg->cert);
    return kv_wire_end(&wire);
}

void kv_role_key_update_put(struct kv_buf *out, const struct kv_role_key_update *msg)
{
    kv_ident_put(out, &msg->old_ident);
    kv_codec_bytes_put(out, msg->old_row);
    kv_ident_put(out, &msg->ident);
    kv_key_attrs_put(out, &msg->attrs);
}

int kv_role_key_update_get(struct kv_bytes payload, struct kv_role_key_update *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_ident_read(&wire, &msg->old_ident);
    msg->old_row = kv_wire_bytes(&wire, KV_ROW_MAX);
    kv_ident_read(&wire, &msg->ident);
    kv_key_attrs_read(&wire, &msg->attrs);
    return kv_wire_end(&wire);
}

void kv_role_use_put(struct kv_buf *out, const struct kv_role_use *msg)
{
    kv_ident_put(out, &msg->ident);
    kv_codec_bytes_put(out, msg->row);
    kv_wire_put_u32(out, msg->op);
}

void kv_role_use_read(struct kv_wire *wire, struct kv_role_use *msg)
{
    kv_ident_read(wire, &msg->ident);
    msg->row = kv_wire_bytes(wire, KV_ROW_MAX);
    msg->op = kv_codec_ops(wire);
    if (msg->op == 0 || (msg->op & (msg->op - 1)) != 0)
        kv_wire_fail(wire);
}

void kv_role_tbs_put(struct kv_buf *out, const struct kv_role_tbs *msg)
{
    kv_ident_put(out, &msg->ident);
    kv_codec_bytes_put(out, msg->row);
    kv_wire_put_u8(out, msg->tbs);
    kv_wire_put_u8(out, msg->md);
    kv_wire_put_u8(out, msg->is_pss);
    kv_codec_bytes_put(out, msg->der);
}

int kv_role_tbs_get(struct kv_bytes payload, struct kv_role_tbs *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_ident_read(&wire, &msg->ident);
    msg->row = kv_wire_bytes(&wire, KV_ROW_MAX);
    msg->tbs = kv_codec_u8(&wire, KV_TBS_CSR, KV_TBS_SELF_SIGNED);
    msg->md = kv_codec_u8(&wire, KV_MD_NONE, KV_MD_SHA3_512);
    msg->is_pss = kv_codec_u8(&wire, 0, 1);
    msg->der = kv_wire_bytes(&wire, KV_CERT_DER_MAX);
    return kv_wire_end(&wire);
}

void kv_role_export_put(struct kv_buf *out, const struct kv_role_export *msg)
{
    kv_ident_put(out, &msg->ident);
    kv_codec_bytes_put(out, msg->row);
    kv_wire_put_u8(out, msg->format);
    kv_codec_bytes_put(out, msg->password);
    kv_codec_certs_put(out, msg->n_certs, msg->cert);
}

int kv_role_export_get(struct kv_bytes payload, struct kv_role_export *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_ident_read(&wire, &msg->ident);
    msg->row = kv_wire_bytes(&wire, KV_ROW_MAX);
    msg->format = kv_codec_u8(&wire, KV_EXPORT_PFX, KV_EXPORT_PEM);
    msg->password = kv_wire_bytes(&wire, KV_PASSWORD_MAX);
    kv_codec_certs(&wire, 0, &msg->n_certs, msg->cert);
    return kv_wire_end(&wire);
}
