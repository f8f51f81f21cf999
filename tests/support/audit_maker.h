/*
 * Audit logs in memory: segments of records under a fixed audit key, sealed as the
 * keyring seals them, to be damaged and checked. Everything asserts.
 */
#ifndef KV_TESTS_SUPPORT_AUDIT_MAKER_H
#define KV_TESTS_SUPPORT_AUDIT_MAKER_H

#include "lifecycle/audit/verify.h"

#define AUDIT_MAKER_SEGMENTS_MAX 8

extern const uint8_t audit_maker_key[KV_AUDIT_KEY_LEN];

struct audit_maker {
    size_t n_segments;
    struct kv_buf segments[AUDIT_MAKER_SEGMENTS_MAX]; /* the file of segment i + 1 */
    struct kv_audit_mark last;                        /* what was written last */
    struct kv_audit_mark anchor;                      /* what was sealed last */
    bool hides_lost; /* the service does not write the `lost_to` of the seal */
    struct kv_audit_chain *chain;
};

void audit_maker_init(struct audit_maker *maker);
void audit_maker_fini(struct audit_maker *maker);

/* Begin the next segment; `lost_to` as in struct kv_audit_opening. */
void audit_maker_open(struct audit_maker *maker, uint64_t lost_to);
/* Add `n` records. */
void audit_maker_add(struct audit_maker *maker, unsigned n);
/* Add a checkpoint of the last record, or one with a seal of nobody. */
void audit_maker_checkpoint(struct audit_maker *maker, bool is_forged);
/* Add the record that a segment of which this is the end was deleted. */
void audit_maker_retire(struct audit_maker *maker, const struct kv_audit_mark *last);

/* Two segments of 2 + 10 records, a checkpoint after the fifth and at the end. */
void audit_maker_two(struct audit_maker *maker);

/* Check what is in memory; segments without bytes are not there. */
void audit_maker_verify(const struct audit_maker *maker, bool has_anchor,
                        struct kv_audit_report *report);

/* Where line `n` (from 0) of a segment begins, and its length with the newline. */
char *audit_maker_line(struct audit_maker *maker, size_t segment, unsigned n,
                       size_t *len);

#endif
