/*
 * The format of the audit log: lines, and the chain of MACs through them.
 *
 *   {"v":1,"seq":N,"t":MICROSECONDS,"type":"WORD",...,"mac":"64 HEX DIGITS"}
 *
 * One line is one record, printable ASCII, at most KV_AUDIT_LINE_MAX bytes with its
 * newline. Its body is what stands before `,"mac":`; its MAC is
 *
 *   HMAC-SHA256(segment key, MAC of the record before | u32 length of body | body)
 *
 * so that no record can be changed, dropped, moved or added without the key, and the
 * chain runs through all segments. Pure; one thread at a time.
 */
#ifndef KV_LIFECYCLE_AUDIT_CHAIN_H
#define KV_LIFECYCLE_AUDIT_CHAIN_H

#include <stdbool.h>

#include "store/core/buf.h"
#include "store/keyring/audit_keys.h"

#define KV_AUDIT_LINE_MAX 4096
#define KV_AUDIT_TAIL_LEN 74 /* ,"mac":"..."} */
#define KV_AUDIT_BODY_MAX (KV_AUDIT_LINE_MAX - KV_AUDIT_TAIL_LEN - 1)

struct kv_audit_chain;

/* A chain under a segment's key, behind a record with this MAC (zeros: the first one).
 * KV_E_NOMEM or KV_E_CRYPTO. */
int kv_audit_chain_new(struct kv_audit_chain **out, const uint8_t key[KV_AUDIT_KEY_LEN],
                       const uint8_t mac[KV_AUDIT_MAC_LEN]) KV_MUST_CHECK;
void kv_audit_chain_free(struct kv_audit_chain *chain); /* NULL does nothing */

/* Go on to the next record. */
int kv_audit_chain_add(struct kv_audit_chain *chain, const void *body,
                       size_t len) KV_MUST_CHECK;

/* MAC of the last record; and another one in its place. */
const uint8_t *kv_audit_chain_mac(const struct kv_audit_chain *chain);
void kv_audit_chain_set(struct kv_audit_chain *chain,
                        const uint8_t mac[KV_AUDIT_MAC_LEN]);

/* Append body, MAC and newline of a record that was just added. */
int kv_audit_line_put(const struct kv_audit_chain *chain, const void *body, size_t len,
                      struct kv_buf *out) KV_MUST_CHECK;

/* What every record says of itself. */
struct kv_audit_line {
    uint64_t seq;
    int64_t time_us;
    char type[16]; /* "req" */
    size_t body_len;
    uint8_t mac[KV_AUDIT_MAC_LEN];
};

/* Read a line without its newline; its MAC is not checked. KV_E_INVALID. */
int kv_audit_line_parse(const char *line, size_t len,
                        struct kv_audit_line *out) KV_MUST_CHECK;

/* Members of a line, found by name in its body: false when absent or of another form.
 * Only of lines that kv_audit_line_parse accepts, and not inside of text. */
bool kv_audit_line_u64(const char *line, size_t body_len, const char *name,
                       uint64_t *out);
bool kv_audit_line_mac(const char *line, size_t body_len, const char *name,
                       uint8_t out[KV_AUDIT_MAC_LEN]);

#endif
