/*
 * Frames and messages of keys.sock: bytes to structs and back.
 *
 * Each get() reads its fields straight down through the sticky reader of
 * store/core/wire.h and ends with kv_wire_end, which refuses short and long
 * payloads; values outside their enum are refused by codec.h. What a value means
 * for a key (does this digest fit that scheme) is decided by keys.h, where the
 * answer can say so in words.
 */
#include "store/keyring/protocol.h"

#include <string.h>

#include "store/core/str.h"
#include "store/keyring/codec.h"

#define LABEL_MAX 8192
#define ENC_INPUT_MAX 8192

int kv_frame_decode(const uint8_t *data, size_t len, size_t max_len,
                    struct kv_frame *frame, size_t *frame_len)
{
    if (len < sizeof(uint32_t))
        return 0;
    struct kv_wire wire;
    kv_wire_init(&wire, data, len);
    const size_t behind = kv_wire_u32(&wire);
    if (behind < KV_FRAME_HEADER_LEN - 4 || behind > max_len - 4)
        return KV_E_INVALID;
    if (len < behind + 4)
        return 0;

    struct kv_frame found = {.id = kv_wire_u32(&wire)};
    found.verb = kv_wire_u16(&wire);
    found.flags = kv_wire_u16(&wire);
    found.status = (int32_t)kv_wire_u32(&wire);
    found.payload.len = behind + 4 - KV_FRAME_HEADER_LEN;
    found.payload.data = found.payload.len > 0 ? data + KV_FRAME_HEADER_LEN : NULL;
    const bool is_reply = found.flags == KV_FRAME_REPLY;
    if ((found.flags != 0 && !is_reply) || found.status > 0 ||
        (!is_reply && found.status != 0))
        return KV_E_INVALID;
    *frame = found;
    *frame_len = behind + 4;
    return 1;
}

size_t kv_frame_begin(struct kv_buf *out, const struct kv_frame *frame)
{
    const size_t begin = out->len;
    kv_wire_put_u32(out, 0);
    kv_wire_put_u32(out, frame->id);
    kv_wire_put_u16(out, frame->verb);
    kv_wire_put_u16(out, frame->flags);
    kv_wire_put_u32(out, (uint32_t)frame->status);
    return begin;
}

void kv_frame_end(struct kv_buf *out, size_t begin)
{
    if (kv_buf_status(out) != 0)
        return;
    KV_ASSERT(out->len >= begin + KV_FRAME_HEADER_LEN);
    const uint32_t behind = (uint32_t)(out->len - begin - 4);
    for (size_t i = 0; i < 4; i++)
        out->data[begin + i] = (uint8_t)(behind >> (8 * i));
}

void kv_msg_error_put(struct kv_buf *out, const struct kv_err *err)
{
    kv_wire_put_str(out, err->id);
    kv_wire_put_str(out, err->message);
    kv_wire_put_str(out, err->hint);
}

int kv_msg_error_get(struct kv_bytes payload, struct kv_msg_error *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_str(&wire, msg->id, sizeof(msg->id));
    kv_wire_str(&wire, msg->message, sizeof(msg->message));
    kv_wire_str(&wire, msg->hint, sizeof(msg->hint));
    return kv_wire_end(&wire);
}

void kv_msg_hello_put(struct kv_buf *out, const struct kv_msg_hello *msg)
{
    kv_wire_put_u16(out, msg->version);
    kv_wire_put_u32(out, msg->cpu);
}

int kv_msg_hello_get(struct kv_bytes payload, struct kv_msg_hello *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->version = kv_wire_u16(&wire);
    msg->cpu = kv_wire_u32(&wire);
    return kv_wire_end(&wire);
}

void kv_msg_hello_reply_put(struct kv_buf *out, const struct kv_msg_hello_reply *msg)
{
    kv_wire_put_u16(out, msg->version);
    kv_wire_put_u8(out, msg->is_sealed);
    kv_wire_put_u8(out, msg->has_service);
    kv_wire_put_raw(out, msg->installation, KV_ID_LEN);
}

int kv_msg_hello_reply_get(struct kv_bytes payload, struct kv_msg_hello_reply *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->version = kv_wire_u16(&wire);
    msg->is_sealed = kv_codec_u8(&wire, 0, 1);
    msg->has_service = kv_codec_u8(&wire, 0, 1);
    kv_wire_raw(&wire, msg->installation, KV_ID_LEN);
    return kv_wire_end(&wire);
}

void kv_msg_uri_put(struct kv_buf *out, const struct kv_msg_uri *msg)
{
    kv_wire_put_str(out, msg->uri);
    kv_wire_put_u32(out, msg->ops);
}

int kv_msg_uri_get(struct kv_bytes payload, struct kv_msg_uri *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_str(&wire, msg->uri, sizeof(msg->uri));
    msg->ops = kv_codec_ops(&wire);
    return kv_wire_end(&wire);
}

void kv_msg_key_put(struct kv_buf *out, const struct kv_msg_key *msg)
{
    kv_wire_put_raw(out, msg->version, KV_ID_LEN);
    kv_wire_put_u8(out, msg->kty);
    kv_wire_put_u8(out, msg->curve);
    kv_wire_put_u16(out, msg->bits);
    kv_wire_put_u32(out, msg->ops);
    kv_codec_bytes_put(out, msg->spki);
    kv_wire_put_str(out, msg->uri);
}

int kv_msg_key_get(struct kv_bytes payload, struct kv_msg_key *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_raw(&wire, msg->version, KV_ID_LEN);
    kv_codec_shape(&wire, &msg->kty, &msg->curve, &msg->bits);
    msg->ops = kv_codec_ops(&wire);
    msg->spki = kv_wire_bytes(&wire, KV_SPKI_MAX);
    kv_wire_str(&wire, msg->uri, sizeof(msg->uri));
    return kv_wire_end(&wire);
}

void kv_msg_certs_put(struct kv_buf *out, const struct kv_msg_certs *msg)
{
    kv_wire_put_str(out, msg->uri);
    kv_codec_certs_put(out, msg->n, msg->der);
}

int kv_msg_certs_get(struct kv_bytes payload, struct kv_msg_certs *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_str(&wire, msg->uri, sizeof(msg->uri));
    kv_codec_certs(&wire, 1, &msg->n, msg->der);
    return kv_wire_end(&wire);
}

void kv_msg_list_put(struct kv_buf *out, const struct kv_msg_list *msg)
{
    kv_wire_put_str(out, msg->vault);
    kv_wire_put_u8(out, msg->collection);
    kv_wire_put_str(out, msg->after);
}

int kv_msg_list_get(struct kv_bytes payload, struct kv_msg_list *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_str(&wire, msg->vault, sizeof(msg->vault));
    msg->collection = kv_codec_u8(&wire, KV_URI_ANY, KV_URI_CERTIFICATES);
    kv_wire_str(&wire, msg->after, sizeof(msg->after));
    if (!wire.failed && msg->vault[0] != '\0' &&
        !kv_vault_name_is_valid(msg->vault, strlen(msg->vault)))
        kv_wire_fail(&wire);
    if (!wire.failed && msg->after[0] != '\0' &&
        !kv_name_is_valid(msg->after, strlen(msg->after)))
        kv_wire_fail(&wire);
    return kv_wire_end(&wire);
}

void kv_msg_list_reply_put(struct kv_buf *out, const struct kv_msg_list_reply *msg)
{
    KV_ASSERT(msg->n <= KV_LIST_MAX);
    kv_wire_put_u16(out, msg->n);
    kv_wire_put_u8(out, msg->has_more);
    for (uint16_t i = 0; i < msg->n; i++) {
        kv_wire_put_str(out, msg->entry[i].uri);
        kv_wire_put_str(out, msg->entry[i].desc);
    }
}

int kv_msg_list_reply_get(struct kv_bytes payload, struct kv_msg_list_reply *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    msg->n = kv_codec_u16(&wire, 0, KV_LIST_MAX);
    msg->has_more = kv_codec_u8(&wire, 0, 1);
    for (uint16_t i = 0; i < msg->n; i++) {
        kv_wire_str(&wire, msg->entry[i].uri, sizeof(msg->entry[i].uri));
        kv_wire_str(&wire, msg->entry[i].desc, sizeof(msg->entry[i].desc));
    }
    return kv_wire_end(&wire);
}

void kv_msg_sign_put(struct kv_buf *out, const struct kv_msg_sign *msg)
{
    kv_wire_put_raw(out, msg->version, KV_ID_LEN);
    kv_wire_put_u8(out, msg->sig);
    kv_wire_put_u8(out, msg->md);
    kv_wire_put_u8(out, msg->mgf1_md);
    kv_wire_put_u16(out, msg->salt_len);
    kv_codec_bytes_put(out, msg->input);
}

void kv_msg_sign_read(struct kv_wire *wire, struct kv_msg_sign *msg)
{
    kv_wire_raw(wire, msg->version, KV_ID_LEN);
    msg->sig = kv_codec_u8(wire, KV_SIG_PKCS1, KV_SIG_EDDSA);
    msg->md = kv_codec_u8(wire, KV_MD_NONE, KV_MD_SHA3_512);
    msg->mgf1_md = kv_codec_u8(wire, KV_MD_NONE, KV_MD_SHA3_512);
    msg->salt_len = kv_wire_u16(wire);
    msg->input = kv_wire_bytes(wire, KV_SIGN_INPUT_MAX);
}

int kv_msg_sign_get(struct kv_bytes payload, struct kv_msg_sign *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_msg_sign_read(&wire, msg);
    return kv_wire_end(&wire);
}

void kv_msg_decrypt_put(struct kv_buf *out, const struct kv_msg_decrypt *msg)
{
    kv_wire_put_raw(out, msg->version, KV_ID_LEN);
    kv_wire_put_u8(out, msg->enc);
    kv_wire_put_u8(out, msg->md);
    kv_wire_put_u8(out, msg->mgf1_md);
    kv_wire_put_u16(out, msg->tls_client_version);
    kv_wire_put_u16(out, msg->tls_negotiated_version);
    kv_codec_bytes_put(out, msg->label);
    kv_codec_bytes_put(out, msg->input);
}

void kv_msg_decrypt_read(struct kv_wire *wire, struct kv_msg_decrypt *msg)
{
    kv_wire_raw(wire, msg->version, KV_ID_LEN);
    msg->enc = kv_codec_u8(wire, KV_ENC_OAEP, KV_ENC_TLS);
    msg->md = kv_codec_u8(wire, KV_MD_NONE, KV_MD_SHA3_512);
    msg->mgf1_md = kv_codec_u8(wire, KV_MD_NONE, KV_MD_SHA3_512);
    msg->tls_client_version = kv_wire_u16(wire);
    msg->tls_negotiated_version = kv_wire_u16(wire);
    msg->label = kv_wire_bytes(wire, LABEL_MAX);
    msg->input = kv_wire_bytes(wire, ENC_INPUT_MAX);
}

int kv_msg_decrypt_get(struct kv_bytes payload, struct kv_msg_decrypt *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_msg_decrypt_read(&wire, msg);
    return kv_wire_end(&wire);
}

void kv_msg_derive_put(struct kv_buf *out, const struct kv_msg_derive *msg)
{
    kv_wire_put_raw(out, msg->version, KV_ID_LEN);
    kv_codec_bytes_put(out, msg->peer_spki);
}

int kv_msg_derive_get(struct kv_bytes payload, struct kv_msg_derive *msg)
{
    struct kv_wire wire = kv_codec_reader(payload);
    kv_wire_raw(&wire, msg->version, KV_ID_LEN);
    msg->peer_spki = kv_wire_bytes(&wire, KV_SPKI_MAX);
    return kv_wire_end(&wire);
}

struct md_row {
    size_t len;
    const char *name;
};

static const struct md_row md_rows[] = {
    [KV_MD_NONE] = {0, NULL},
    [KV_MD_SHA1] = {20, "SHA1"},
    [KV_MD_SHA224] = {28, "SHA224"},
    [KV_MD_SHA256] = {32, "SHA256"},
    [KV_MD_SHA384] = {48, "SHA384"},
    [KV_MD_SHA512] = {64, "SHA512"},
    [KV_MD_SHA3_256] = {32, "SHA3-256"},
    [KV_MD_SHA3_384] = {48, "SHA3-384"},
    [KV_MD_SHA3_512] = {64, "SHA3-512"},
};

static const char *const kty_names[] = {
    [KV_KTY_RSA] = "RSA", [KV_KTY_EC] = "EC", [KV_KTY_OKP] = "OKP"};

static const char *const curve_names[] = {
    [KV_CURVE_NONE] = NULL,      [KV_CURVE_P256] = "P-256",
    [KV_CURVE_P384] = "P-384",   [KV_CURVE_P521] = "P-521",
    [KV_CURVE_P256K] = "P-256K", [KV_CURVE_ED25519] = "Ed25519",
};

/* By bit number. */
static const char *const op_names[] = {
    "sign",      "verify",     "encrypt", "decrypt", "wrapKey",
    "unwrapKey", "deriveBits", "import",  "export",
};

size_t kv_md_len(uint8_t md)
{
    return md < sizeof(md_rows) / sizeof(md_rows[0]) ? md_rows[md].len : 0;
}

const char *kv_kty_name(uint8_t kty)
{
    const size_t n = sizeof(kty_names) / sizeof(kty_names[0]);
    return kty < n ? kty_names[kty] : NULL;
}

uint8_t kv_kty_by_name(const char *name)
{
    for (unsigned i = KV_KTY_RSA; i <= KV_KTY_OKP; i++)
        if (strcmp(name, kty_names[i]) == 0)
            return (uint8_t)i;
    return 0;
}

uint8_t kv_curve_by_name(const char *name)
{
    for (unsigned i = KV_CURVE_P256; i <= KV_CURVE_ED25519; i++)
        if (strcmp(name, curve_names[i]) == 0)
            return (uint8_t)i;
    return KV_CURVE_NONE;
}

const char *kv_curve_name(uint8_t curve)
{
    const size_t n = sizeof(curve_names) / sizeof(curve_names[0]);
    return curve < n ? curve_names[curve] : NULL;
}

const char *kv_md_name(uint8_t md)
{
    return md < sizeof(md_rows) / sizeof(md_rows[0]) ? md_rows[md].name : NULL;
}

const char *kv_op_name(uint32_t op)
{
    for (size_t i = 0; i < sizeof(op_names) / sizeof(op_names[0]); i++)
        if (op == 1U << i)
            return op_names[i];
    return NULL;
}
