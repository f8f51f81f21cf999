/*
 * The file has two places; a mark goes where the older one stands, so that a crash in
 * between leaves the other whole:
 *
 *   "kvanchr1" | count u64 | segment u64 | seq u64 | MAC 32 | seal 32
 *
 * at 0 and at 256. The seal is HKDF of the audit key over what stands before it. The
 * file is opened before the sandbox closes.
 */
#include "store/keyring/anchor.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/core/secret.h"
#include "store/keyring/seal.h"

/* Nobody begins or writes so much at once: a number beyond it would only bring the ones
 * that follow closer to their end. */
#define SEGMENT_STEP_MAX 65536U
#define SEQ_STEP_MAX ((uint64_t)1 << 32)

#define PLACE_LEN 256
#define BODY_LEN 64
#define RECORD_LEN (BODY_LEN + KV_AUDIT_MAC_LEN)

static const char magic[] = "kvanchr1";

struct kv_anchor {
    struct kv_secret key;
    int fd;
    pthread_mutex_t lock; /* everything below */
    uint64_t count;       /* of marks written; the parity tells the place */
    struct kv_audit_mark last;
};

static void lock(struct kv_anchor *anchor)
{
    KV_ASSERT(pthread_mutex_lock(&anchor->lock) == 0);
}

static void unlock(struct kv_anchor *anchor)
{
    KV_ASSERT(pthread_mutex_unlock(&anchor->lock) == 0);
}

static int encode(const struct kv_anchor *anchor, uint64_t count,
                  const struct kv_audit_mark *mark, uint8_t out[RECORD_LEN])
{
    struct kv_buf body;
    kv_buf_init(&body, BODY_LEN);
    kv_wire_put_raw(&body, magic, sizeof(magic) - 1);
    kv_wire_put_u64(&body, count);
    kv_wire_put_u64(&body, mark->segment);
    kv_wire_put_u64(&body, mark->seq);
    kv_wire_put_raw(&body, mark->mac, KV_AUDIT_MAC_LEN);
    int rc = kv_buf_status(&body);
    if (rc == 0) {
        KV_ASSERT(body.len == BODY_LEN);
        memcpy(out, body.data, BODY_LEN);
        rc = kv_hkdf((struct kv_bytes){anchor->key.data, anchor->key.len},
                     (struct kv_bytes){NULL, 0}, (struct kv_bytes){out, BODY_LEN},
                     out + BODY_LEN, KV_AUDIT_MAC_LEN);
    }
    kv_buf_free(&body);
    return rc;
}

/* One place of the file; false when no whole mark stands there. */
static bool decode(const struct kv_anchor *anchor, const uint8_t in[RECORD_LEN],
                   uint64_t *count, struct kv_audit_mark *mark)
{
    char read_magic[sizeof(magic) - 1];
    uint8_t made[RECORD_LEN];
    struct kv_wire wire;
    kv_wire_init(&wire, in, BODY_LEN);
    kv_wire_raw(&wire, read_magic, sizeof(read_magic));
    *count = kv_wire_u64(&wire);
    mark->segment = kv_wire_u64(&wire);
    mark->seq = kv_wire_u64(&wire);
    kv_wire_raw(&wire, mark->mac, KV_AUDIT_MAC_LEN);
    return kv_wire_end(&wire) == 0 && encode(anchor, *count, mark, made) == 0 &&
           kv_equal_ct(made, in, RECORD_LEN);
}

static int load(struct kv_anchor *anchor, struct kv_err *err)
{
    uint8_t bytes[PLACE_LEN + RECORD_LEN];
    memset(bytes, 0, sizeof(bytes));
    if (lseek(anchor->fd, 0, SEEK_SET) < 0 ||
        read(anchor->fd, bytes, sizeof(bytes)) < 0)
        return kv_err_errno(err, errno, "anchor.failed", KV_ANCHOR_FILE);
    for (size_t i = 0; i < 2; i++) {
        uint64_t count = 0;
        struct kv_audit_mark mark;
        if (decode(anchor, bytes + i * PLACE_LEN, &count, &mark) &&
            count > anchor->count) {
            anchor->count = count;
            anchor->last = mark;
        }
    }
    return 0;
}

int kv_anchor_new(struct kv_anchor **out, const uint8_t audit_key[KV_AUDIT_KEY_LEN],
                  int fd, struct kv_err *err)
{
    int rc = KV_E_NOMEM;
    struct kv_anchor *anchor = calloc(1, sizeof(*anchor));
    if (anchor == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return KV_E_NOMEM;
    }
    anchor->fd = fd;
    KV_ASSERT(pthread_mutex_init(&anchor->lock, NULL) == 0);
    KV_TRY(kv_secret_init_from(&anchor->key, audit_key, KV_AUDIT_KEY_LEN));
    if (fd >= 0)
        KV_TRY(load(anchor, err));
    *out = anchor;
    return 0;
out:
    kv_anchor_free(anchor);
    return rc;
}

void kv_anchor_free(struct kv_anchor *anchor)
{
    if (anchor == NULL)
        return;
    kv_secret_free(&anchor->key);
    if (anchor->fd >= 0)
        (void)close(anchor->fd);
    (void)pthread_mutex_destroy(&anchor->lock); /* nobody holds it any more */
    free(anchor);
}

void kv_anchor_last(struct kv_anchor *anchor, struct kv_audit_mark *out)
{
    lock(anchor);
    *out = anchor->last;
    unlock(anchor);
}

/* Caller holds the lock. */
static int keep(struct kv_anchor *anchor, const struct kv_audit_mark *mark,
                struct kv_err *err)
{
    uint8_t bytes[RECORD_LEN];
    const uint64_t count = anchor->count + 1;
    const off_t place = (off_t)(count % 2) * PLACE_LEN;
    int rc = encode(anchor, count, mark, bytes);
    if (rc == 0 && anchor->fd >= 0 &&
        (lseek(anchor->fd, place, SEEK_SET) < 0 ||
         write(anchor->fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes) ||
         fdatasync(anchor->fd) != 0))
        rc = kv_err_errno(err, errno, "anchor.failed", KV_ANCHOR_FILE);
    if (rc == 0) {
        anchor->count = count;
        anchor->last = *mark;
    }
    return rc;
}

/* Caller holds the lock; the mark is not in front of the last one. */
static int check_step(const struct kv_anchor *anchor, const struct kv_audit_mark *mark,
                      struct kv_err *err)
{
    const struct kv_audit_mark *last = &anchor->last;
    if (mark->segment - last->segment <= SEGMENT_STEP_MAX &&
        (mark->seq <= last->seq || mark->seq - last->seq <= SEQ_STEP_MAX))
        return 0;
    return kv_err_set(err, KV_E_CONFLICT, "anchor.too-far",
                      "record %llu of segment %llu is too far from what was sealed",
                      (unsigned long long)mark->seq, (unsigned long long)mark->segment);
}

int kv_anchor_open(struct kv_anchor *anchor, const struct kv_audit_mark *mark,
                   uint8_t key[KV_AUDIT_KEY_LEN], struct kv_audit_sealed *out,
                   struct kv_err *err)
{
    int rc = 0;
    struct kv_audit_mark kept = *mark;
    lock(anchor);
    if (mark->segment <= anchor->last.segment) {
        rc = kv_err_set(err, KV_E_CONFLICT, "anchor.old-segment",
                        "segment %llu of the audit log was opened before",
                        (unsigned long long)mark->segment);
        goto out;
    }
    KV_TRY(check_step(anchor, mark, err));
    KV_TRY(kv_audit_segment_key(anchor->key.data, mark->segment, key));
    out->after = anchor->last;
    KV_TRY(kv_audit_seal(anchor->key.data, KV_AUDIT_SEAL_OPEN, mark, &out->after,
                         out->seal));
    if (mark->seq < anchor->last.seq) { /* lost: the next opening must say so, too */
        kept = anchor->last;
        kept.segment = mark->segment;
    }
    KV_TRY(keep(anchor, &kept, err));
out:
    unlock(anchor);
    return rc;
}

int kv_anchor_seal(struct kv_anchor *anchor, const struct kv_audit_mark *mark,
                   struct kv_audit_sealed *out, struct kv_err *err)
{
    int rc = 0;
    lock(anchor);
    if (mark->segment != anchor->last.segment || mark->seq < anchor->last.seq) {
        rc = kv_err_set(err, KV_E_CONFLICT, "anchor.old-mark",
                        "record %llu of segment %llu is older than what was sealed",
                        (unsigned long long)mark->seq,
                        (unsigned long long)mark->segment);
        goto out;
    }
    KV_TRY(check_step(anchor, mark, err));
    out->after = anchor->last;
    KV_TRY(kv_audit_seal(anchor->key.data, KV_AUDIT_SEAL_CHECKPOINT, mark, &out->after,
                         out->seal));
    KV_TRY(keep(anchor, mark, err));
out:
    unlock(anchor);
    return rc;
}

int kv_anchor_key(struct kv_anchor *anchor, uint64_t segment,
                  uint8_t key[KV_AUDIT_KEY_LEN], struct kv_err *err)
{
    struct kv_audit_mark last;
    kv_anchor_last(anchor, &last);
    const bool is_open =
        last.segment == 0 ? segment <= SEGMENT_STEP_MAX : segment <= last.segment;
    if (segment == 0 || !is_open)
        return kv_err_set(err, KV_E_DENIED, "anchor.not-open",
                          "segment %llu of the audit log was never opened",
                          (unsigned long long)segment);
    return kv_audit_segment_key(anchor->key.data, segment, key);
}

int kv_anchor_check(struct kv_anchor *anchor, enum kv_audit_seal_kind kind,
                    const struct kv_audit_mark *mark,
                    const struct kv_audit_sealed *sealed)
{
    uint8_t made[KV_AUDIT_MAC_LEN];
    int rc = kv_audit_seal(anchor->key.data, kind, mark, &sealed->after, made);
    if (rc == 0 && !kv_equal_ct(made, sealed->seal, sizeof(made)))
        rc = KV_E_INTEGRITY;
    return rc;
}
