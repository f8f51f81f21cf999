/*
 * Derivations by HKDF-SHA256; a seal is one too, for its input is short and of fixed
 * form: label, kind, segment, seq, MAC, seq and MAC of what was sealed before.
 */
#include "store/keyring/audit_keys.h"

#include "store/core/secret.h"
#include "store/keyring/seal.h"

static const char key_label[] = "keyvault audit 1";
static const char segment_label[] = "keyvault audit segment 1";
static const char seal_label[] = "keyvault audit seal 1";

static int derive(struct kv_bytes key, struct kv_buf *info, uint8_t *out)
{
    int rc = kv_buf_status(info);
    if (rc == 0)
        rc = kv_hkdf(key, (struct kv_bytes){NULL, 0},
                     (struct kv_bytes){info->data, info->len}, out, KV_AUDIT_KEY_LEN);
    kv_buf_free(info);
    return rc;
}

int kv_audit_key(struct kv_bytes root, const uint8_t installation[KV_ID_LEN],
                 uint8_t out[KV_AUDIT_KEY_LEN])
{
    struct kv_buf info;
    kv_buf_init(&info, 128);
    kv_wire_put_raw(&info, key_label, sizeof(key_label) - 1);
    kv_wire_put_raw(&info, installation, KV_ID_LEN);
    return derive(root, &info, out);
}

int kv_audit_segment_key(const uint8_t audit_key[KV_AUDIT_KEY_LEN], uint64_t segment,
                         uint8_t out[KV_AUDIT_KEY_LEN])
{
    struct kv_buf info;
    kv_buf_init(&info, 128);
    kv_wire_put_raw(&info, segment_label, sizeof(segment_label) - 1);
    kv_wire_put_u64(&info, segment);
    return derive((struct kv_bytes){audit_key, KV_AUDIT_KEY_LEN}, &info, out);
}

int kv_audit_seal(const uint8_t audit_key[KV_AUDIT_KEY_LEN],
                  enum kv_audit_seal_kind kind, const struct kv_audit_mark *mark,
                  const struct kv_audit_mark *after, uint8_t out[KV_AUDIT_MAC_LEN])
{
    struct kv_buf info;
    kv_buf_init(&info, 256);
    kv_wire_put_raw(&info, seal_label, sizeof(seal_label) - 1);
    kv_wire_put_u8(&info, (uint8_t)kind);
    kv_wire_put_u64(&info, mark->segment);
    kv_wire_put_u64(&info, mark->seq);
    kv_wire_put_raw(&info, mark->mac, KV_AUDIT_MAC_LEN);
    kv_wire_put_u64(&info, after->seq);
    kv_wire_put_raw(&info, after->mac, KV_AUDIT_MAC_LEN);
    return derive((struct kv_bytes){audit_key, KV_AUDIT_KEY_LEN}, &info, out);
}
