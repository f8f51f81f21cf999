/*
 * Bodies of records.
 */
#include "lifecycle/audit/record.h"

#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "store/core/secret.h"
#include "store/core/str.h"

/* What cannot be appended sticks to the buffer, whose user asks once. */

void kv_audit_body_begin(struct kv_buf *body, uint64_t seq, int64_t time_us,
                         const char *type)
{
    kv_buf_reset(body);
    (void)kv_buf_appendf(
        body, "{\"v\":1,\"seq\":%" PRIu64 ",\"t\":%" PRId64 ",\"type\":\"%s\"", seq,
        time_us, type);
}

void kv_audit_put_text(struct kv_buf *body, const char *name, const char *text,
                       size_t max)
{
    if (text == NULL || text[0] == '\0')
        return;
    (void)kv_buf_appendf(body, ",\"%s\":\"", name);
    for (size_t i = 0; i < max && text[i] != '\0'; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
            (void)kv_buf_appendf(body, "\\u%04x", c);
        else
            (void)kv_buf_append(body, &text[i], 1);
    }
    (void)kv_buf_append_str(body, "\"");
}

void kv_audit_put_number(struct kv_buf *body, const char *name, uint64_t number)
{
    (void)kv_buf_appendf(body, ",\"%s\":%" PRIu64, name, number);
}

void kv_audit_put_hex(struct kv_buf *body, const char *name, const uint8_t *bytes,
                      size_t len)
{
    char hex[2 * KV_AUDIT_MAC_LEN + 1];
    KV_ASSERT(len <= KV_AUDIT_MAC_LEN);
    kv_hex_encode(hex, bytes, len);
    (void)kv_buf_appendf(body, ",\"%s\":\"%s\"", name, hex);
}

int kv_audit_digest(const uint8_t segment_key[KV_AUDIT_KEY_LEN], const char *what,
                    const void *data, size_t len, uint8_t out[KV_AUDIT_DIGEST_LEN])
{
    uint8_t key[KV_AUDIT_MAC_LEN];
    uint8_t full[KV_AUDIT_MAC_LEN];
    size_t n = 0;
    int rc = KV_E_CRYPTO;
    if (EVP_Q_mac(NULL, "HMAC", "provider=default", "SHA256", NULL, segment_key,
                  KV_AUDIT_KEY_LEN, (const unsigned char *)what, strlen(what), key,
                  sizeof(key), &n) != NULL &&
        EVP_Q_mac(NULL, "HMAC", "provider=default", "SHA256", NULL, key, sizeof(key),
                  data, len, full, sizeof(full), &n) != NULL) {
        memcpy(out, full, KV_AUDIT_DIGEST_LEN);
        rc = 0;
    }
    kv_wipe(key, sizeof(key));
    ERR_clear_error();
    return rc;
}

static void put_after(struct kv_buf *body, const struct kv_audit_mark *after)
{
    if (after->seq == 0)
        return;
    kv_audit_put_number(body, "after", after->seq);
    kv_audit_put_hex(body, "after_mac", after->mac, KV_AUDIT_MAC_LEN);
}

void kv_audit_put_opening(struct kv_buf *body, const struct kv_audit_opening *opening)
{
    kv_audit_put_number(body, "segment", opening->mark.segment);
    kv_audit_put_number(body, "prev_segment", opening->prev_segment);
    kv_audit_put_number(body, "prev_seq", opening->mark.seq);
    kv_audit_put_hex(body, "prev_mac", opening->mark.mac, KV_AUDIT_MAC_LEN);
    if (opening->lost_to != 0)
        kv_audit_put_number(body, "lost_to", opening->lost_to);
    if (opening->torn != 0)
        kv_audit_put_number(body, "torn", opening->torn);
    put_after(body, &opening->after);
    kv_audit_put_hex(body, "seal", opening->seal, KV_AUDIT_MAC_LEN);
}

void kv_audit_put_checkpoint(struct kv_buf *body, const struct kv_audit_mark *mark,
                             const struct kv_audit_mark *after,
                             const uint8_t seal[KV_AUDIT_MAC_LEN])
{
    kv_audit_put_number(body, "at", mark->seq);
    kv_audit_put_hex(body, "at_mac", mark->mac, KV_AUDIT_MAC_LEN);
    put_after(body, after);
    kv_audit_put_hex(body, "seal", seal, KV_AUDIT_MAC_LEN);
}

void kv_audit_put_retire(struct kv_buf *body, const struct kv_audit_mark *last)
{
    kv_audit_put_number(body, "of", last->segment);
    kv_audit_put_number(body, "last_seq", last->seq);
    kv_audit_put_hex(body, "last_mac", last->mac, KV_AUDIT_MAC_LEN);
}
