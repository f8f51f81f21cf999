/*
 * The check of a log, record by record.
 *
 *   begin -> OPEN: the first record must open the segment, and its seal must be true
 *         -> CHAIN: number and MAC of each record; checkpoints against what they name
 *         -> SEARCH: a number is missing; does it come later? (moved or dropped)
 *         -> DEAD: damaged, the rest of the segment is passed over
 *
 * The MACs since the last checkpoint are kept, because a checkpoint names a record that
 * stands before it, and each seal the record that was sealed before: it must stand
 * there too, so that leaving a checkpoint out hides nothing.
 */
#include "lifecycle/audit/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/secret.h"
#include "store/core/str.h"

#define MACS_MAX ((size_t)1 << 22) /* between two checkpoints: 128 MiB */

enum state { OPEN, CHAIN, SEARCH, DEAD };

struct kv_audit_verifier {
    const struct kv_audit_keys *keys;
    const struct kv_audit_mark *anchor;
    struct kv_audit_report *report;
    bool is_anchor_seen;
    bool has_prev;       /* `report->last` is the true end of the segment before */
    uint64_t first_prev; /* the segment before the first one that is there; 0: none */
    uint8_t first_mac[KV_AUDIT_MAC_LEN];
    bool is_first_retired;
    uint64_t first_lost; /* the first segment begins behind it, and behind no segment */
    bool has_sealed;     /* the last seal that was met is known */
    struct kv_audit_mark sealed;
    /* of the present segment */
    char file[KV_AUDIT_FILE_MAX];
    uint64_t segment;
    uint64_t n_lines;
    enum state state;
    struct kv_audit_chain *chain;
    uint64_t expected; /* number of the next record */
    uint64_t searched_line;
    uint64_t macs_from; /* number of the record of the first MAC below */
    struct kv_buf macs;
    size_t line_len;
    char line[KV_AUDIT_LINE_MAX];
};

static int key_of(void *arg, uint64_t segment, uint8_t out[KV_AUDIT_KEY_LEN])
{
    return kv_audit_segment_key(arg, segment, out);
}

static int check_seal(void *arg, enum kv_audit_seal_kind kind,
                      const struct kv_audit_mark *mark,
                      const struct kv_audit_mark *after,
                      const uint8_t seal[KV_AUDIT_MAC_LEN])
{
    uint8_t made[KV_AUDIT_MAC_LEN];
    int rc = kv_audit_seal(arg, kind, mark, after, made);
    if (rc == 0 && !kv_equal_ct(made, seal, sizeof(made)))
        rc = KV_E_INTEGRITY;
    return rc;
}

void kv_audit_keys_of(struct kv_audit_keys *out,
                      const uint8_t audit_key[KV_AUDIT_KEY_LEN])
{
    *out = (struct kv_audit_keys){.segment_key = key_of,
                                  .check_seal = check_seal,
                                  .arg = (void *)(uintptr_t)audit_key};
}

const char *kv_audit_damage_name(enum kv_audit_damage damage)
{
    static const char *const names[] = {"flip", "drop", "reorder", "truncate",
                                        "splice"};
    return names[damage];
}

__attribute__((format(printf, 4, 5))) static void
note(struct kv_audit_verifier *verifier, enum kv_audit_damage damage, uint64_t line,
     const char *format, ...)
{
    struct kv_audit_report *report = verifier->report;
    size_t at = report->n_findings++;
    if (at >= KV_AUDIT_FINDINGS_MAX)
        return;
    struct kv_audit_finding *finding = &report->findings[at];
    va_list list;
    finding->damage = damage;
    finding->line = line;
    memcpy(finding->file, verifier->file, sizeof(finding->file));
    va_start(list, format);
    (void)vsnprintf(finding->text, sizeof(finding->text), format, list);
    va_end(list);
}

/* Note a damage and pass over the rest of the segment. */
#define DAMAGE(verifier, damage, ...)                                                  \
    (note((verifier), (damage), (verifier)->n_lines, __VA_ARGS__),                     \
     (void)((verifier)->state = DEAD), 0)

struct kv_audit_verifier *kv_audit_verifier_new(const struct kv_audit_keys *keys,
                                                const struct kv_audit_mark *anchor,
                                                struct kv_audit_report *report)
{
    struct kv_audit_verifier *verifier = calloc(1, sizeof(*verifier));
    memset(report, 0, sizeof(*report));
    if (verifier == NULL)
        return NULL;
    verifier->keys = keys;
    verifier->anchor = anchor;
    verifier->report = report;
    verifier->has_prev = true; /* before the first segment there is nothing */
    kv_buf_init(&verifier->macs, MACS_MAX * KV_AUDIT_MAC_LEN);
    return verifier;
}

void kv_audit_verifier_free(struct kv_audit_verifier *verifier)
{
    if (verifier == NULL)
        return;
    kv_audit_chain_free(verifier->chain);
    kv_buf_free(&verifier->macs);
    free(verifier);
}

int kv_audit_verifier_begin(struct kv_audit_verifier *verifier, const char *file,
                            uint64_t segment)
{
    static const uint8_t none[KV_AUDIT_MAC_LEN];
    uint8_t key[KV_AUDIT_KEY_LEN];
    kv_str_cut(verifier->file, sizeof(verifier->file), file, strlen(file));
    verifier->segment = segment;
    verifier->n_lines = 0;
    verifier->line_len = 0;
    verifier->report->n_bytes = 0;
    verifier->report->is_torn = false;
    verifier->state = OPEN;
    kv_audit_chain_free(verifier->chain);
    verifier->chain = NULL;
    int rc = verifier->keys->segment_key(verifier->keys->arg, segment, key);
    if (rc == 0)
        rc = kv_audit_chain_new(&verifier->chain, key, none);
    kv_wipe(key, sizeof(key));
    return rc;
}

/* A record that is as it should be. */
static int accept(struct kv_audit_verifier *verifier, const struct kv_audit_line *line)
{
    const struct kv_audit_mark *anchor = verifier->anchor;
    struct kv_audit_mark *last = &verifier->report->last;
    verifier->report->n_records++;
    verifier->report->n_bytes += line->body_len + KV_AUDIT_TAIL_LEN + 1;
    verifier->expected = line->seq + 1;
    last->segment = verifier->segment;
    last->seq = line->seq;
    memcpy(last->mac, line->mac, KV_AUDIT_MAC_LEN);
    if (verifier->macs.len == 0)
        verifier->macs_from = line->seq;
    int rc = kv_buf_append(&verifier->macs, line->mac, KV_AUDIT_MAC_LEN);
    if (rc == 0 && anchor != NULL && anchor->seq == line->seq) {
        verifier->is_anchor_seen = true;
        if (memcmp(anchor->mac, line->mac, KV_AUDIT_MAC_LEN) != 0)
            return DAMAGE(verifier, KV_AUDIT_SPLICE,
                          "the keyring has seen another record %" PRIu64, line->seq);
    }
    return rc;
}

/* The number of a record is not the next one. */
static int wrong_number(struct kv_audit_verifier *verifier, uint64_t seq)
{
    if (seq < verifier->expected)
        return DAMAGE(verifier, KV_AUDIT_REORDER,
                      "record %" PRIu64 " stands where %" PRIu64 " should", seq,
                      verifier->expected);
    verifier->state = SEARCH;
    verifier->searched_line = verifier->n_lines;
    return 0;
}

/* What the first record of a segment says of the one before. */
struct opening {
    uint64_t segment;
    struct kv_audit_mark mark; /* sealed */
    uint64_t prev_segment;
    uint64_t lost_to;
    struct kv_audit_mark after; /* sealed */
    uint8_t seal[KV_AUDIT_MAC_LEN];
};

/* The mark that was sealed before; seq 0: there was none. */
static bool read_after(const char *text, size_t len, struct kv_audit_mark *out)
{
    memset(out, 0, sizeof(*out));
    return !kv_audit_line_u64(text, len, "after", &out->seq) ||
           kv_audit_line_mac(text, len, "after_mac", out->mac);
}

static bool is_record(const struct kv_audit_mark *mark, uint64_t seq,
                      const uint8_t mac[KV_AUDIT_MAC_LEN])
{
    return mark->seq == seq && memcmp(mark->mac, mac, KV_AUDIT_MAC_LEN) == 0;
}

/* What was sealed before this seal must stand in the log since the seal before. */
static void compare_after(struct kv_audit_verifier *verifier,
                          const struct kv_audit_mark *after)
{
    const uint64_t at = after->seq - verifier->macs_from;
    const struct kv_buf *macs = &verifier->macs;
    if (after->seq == 0 || !verifier->has_sealed ||
        is_record(&verifier->sealed, after->seq, after->mac))
        return;
    if (after->seq >= verifier->macs_from && at < macs->len / KV_AUDIT_MAC_LEN &&
        memcmp(macs->data + at * KV_AUDIT_MAC_LEN, after->mac, KV_AUDIT_MAC_LEN) == 0)
        return;
    note(verifier, KV_AUDIT_SPLICE, verifier->n_lines,
         "the keyring had sealed another record %" PRIu64, after->seq);
}

static bool read_opening(const struct kv_audit_verifier *verifier, const char *text,
                         const struct kv_audit_line *line, struct opening *out)
{
    size_t len = line->body_len;
    memset(out, 0, sizeof(*out));
    out->mark.segment = verifier->segment;
    (void)kv_audit_line_u64(text, len, "lost_to", &out->lost_to); /* absent: nothing */
    return strcmp(line->type, "open") == 0 &&
           kv_audit_line_u64(text, len, "segment", &out->segment) &&
           kv_audit_line_u64(text, len, "prev_segment", &out->prev_segment) &&
           kv_audit_line_u64(text, len, "prev_seq", &out->mark.seq) &&
           kv_audit_line_mac(text, len, "prev_mac", out->mark.mac) &&
           read_after(text, len, &out->after) &&
           kv_audit_line_mac(text, len, "seal", out->seal);
}

/* Does the segment go on where the one before ended? */
static void compare_ends(struct kv_audit_verifier *verifier,
                         const struct opening *opening)
{
    const struct kv_audit_mark *last = &verifier->report->last;
    if (verifier->report->n_segments == 0) {
        verifier->first_prev = opening->prev_segment;
        verifier->first_lost = opening->prev_segment == 0 ? opening->mark.seq : 0;
        memcpy(verifier->first_mac, opening->mark.mac, KV_AUDIT_MAC_LEN);
        return;
    }
    if (!verifier->has_prev)
        return;
    if (opening->prev_segment > last->segment)
        note(verifier, KV_AUDIT_DROP, 0,
             "segment %" PRIu64 " is missing in front of this one",
             opening->prev_segment);
    else if (opening->prev_segment == last->segment && opening->mark.seq > last->seq)
        note(verifier, KV_AUDIT_TRUNCATE, 0,
             "the segment before lacks its end: records %" PRIu64 " to %" PRIu64,
             last->seq + 1, opening->mark.seq);
    else if (opening->prev_segment != last->segment || opening->mark.seq != last->seq ||
             memcmp(opening->mark.mac, last->mac, KV_AUDIT_MAC_LEN) != 0)
        note(verifier, KV_AUDIT_SPLICE, verifier->n_lines,
             "the segment continues another record %" PRIu64, opening->mark.seq);
}

static int take_first(struct kv_audit_verifier *verifier, const char *text,
                      const struct kv_audit_line *line)
{
    struct opening opening;
    const struct kv_audit_keys *keys = verifier->keys;
    if (!read_opening(verifier, text, line, &opening))
        return DAMAGE(verifier, KV_AUDIT_DROP, "the segment's first record is missing");
    if (opening.segment != verifier->segment)
        return DAMAGE(verifier, KV_AUDIT_REORDER, "the file holds the segment %" PRIu64,
                      opening.segment);
    const bool is_lost = opening.after.seq > opening.mark.seq;
    int rc = keys->check_seal(keys->arg, KV_AUDIT_SEAL_OPEN, &opening.mark,
                              &opening.after, opening.seal);
    if (rc == KV_E_INTEGRITY)
        return DAMAGE(verifier, KV_AUDIT_SPLICE,
                      "the seal of the segment's beginning is not the keyring's");
    if (rc != 0)
        return rc;
    if (opening.lost_to != (is_lost ? opening.after.seq : 0))
        return DAMAGE(verifier, KV_AUDIT_SPLICE,
                      "the segment does not say what the keyring had seen");
    kv_audit_chain_set(verifier->chain, opening.mark.mac);
    compare_ends(verifier, &opening);
    if (!is_lost)
        compare_after(verifier, &opening.after);
    kv_buf_reset(&verifier->macs);
    verifier->sealed = is_lost ? opening.after : opening.mark;
    verifier->has_sealed = true;
    rc = kv_audit_chain_add(verifier->chain, text, line->body_len);
    if (rc != 0)
        return rc;
    if (!kv_equal_ct(kv_audit_chain_mac(verifier->chain), line->mac, KV_AUDIT_MAC_LEN))
        return DAMAGE(verifier, KV_AUDIT_FLIP, "the record was changed");
    verifier->expected = opening.mark.seq + 1;
    if (is_lost) {
        note(verifier, KV_AUDIT_DROP, verifier->n_lines,
             "records %" PRIu64 " to %" PRIu64 " were missing when the service started",
             verifier->expected, opening.lost_to);
        verifier->expected = opening.lost_to + 1;
    }
    if (line->seq != verifier->expected)
        return wrong_number(verifier, line->seq);
    verifier->state = CHAIN;
    return accept(verifier, line);
}

/* A checkpoint must be the keyring's, of a record that stands here. */
static int take_checkpoint(struct kv_audit_verifier *verifier, const char *text,
                           const struct kv_audit_line *line)
{
    struct kv_audit_mark mark = {.segment = verifier->segment};
    struct kv_audit_mark after;
    uint8_t seal[KV_AUDIT_MAC_LEN];
    const struct kv_audit_keys *keys = verifier->keys;
    if (!kv_audit_line_u64(text, line->body_len, "at", &mark.seq) ||
        !kv_audit_line_mac(text, line->body_len, "at_mac", mark.mac) ||
        !read_after(text, line->body_len, &after) ||
        !kv_audit_line_mac(text, line->body_len, "seal", seal))
        return DAMAGE(verifier, KV_AUDIT_FLIP, "the checkpoint cannot be read");
    uint64_t at = mark.seq - verifier->macs_from;
    if (mark.seq < verifier->macs_from || at >= verifier->macs.len / KV_AUDIT_MAC_LEN ||
        memcmp(verifier->macs.data + at * KV_AUDIT_MAC_LEN, mark.mac,
               KV_AUDIT_MAC_LEN) != 0)
        return DAMAGE(verifier, KV_AUDIT_SPLICE,
                      "the checkpoint is of another record %" PRIu64, mark.seq);
    int rc = keys->check_seal(keys->arg, KV_AUDIT_SEAL_CHECKPOINT, &mark, &after, seal);
    if (rc == KV_E_INTEGRITY)
        return DAMAGE(verifier, KV_AUDIT_SPLICE,
                      "the seal of the checkpoint is not the keyring's");
    if (rc == 0) {
        compare_after(verifier, &after);
        verifier->sealed = mark;
        kv_buf_consume(&verifier->macs, (size_t)at * KV_AUDIT_MAC_LEN);
        verifier->macs_from = mark.seq;
    }
    return rc;
}

static void note_retired(struct kv_audit_verifier *verifier, const char *text,
                         const struct kv_audit_line *line)
{
    uint64_t segment = 0;
    uint8_t mac[KV_AUDIT_MAC_LEN];
    if (kv_audit_line_u64(text, line->body_len, "of", &segment) &&
        segment == verifier->first_prev &&
        kv_audit_line_mac(text, line->body_len, "last_mac", mac) &&
        memcmp(mac, verifier->first_mac, KV_AUDIT_MAC_LEN) == 0)
        verifier->is_first_retired = true;
}

static int take_next(struct kv_audit_verifier *verifier, const char *text,
                     const struct kv_audit_line *line)
{
    if (line->seq != verifier->expected)
        return wrong_number(verifier, line->seq);
    int rc = kv_audit_chain_add(verifier->chain, text, line->body_len);
    if (rc != 0)
        return rc;
    if (!kv_equal_ct(kv_audit_chain_mac(verifier->chain), line->mac, KV_AUDIT_MAC_LEN))
        return DAMAGE(verifier, KV_AUDIT_FLIP,
                      "the record was changed or is of another log");
    if (strcmp(line->type, "open") == 0)
        return DAMAGE(verifier, KV_AUDIT_SPLICE, "a segment begins inside of another");
    if (strcmp(line->type, "retire") == 0)
        note_retired(verifier, text, line);
    rc = accept(verifier, line);
    if (rc == 0 && strcmp(line->type, "checkpoint") == 0 && verifier->state == CHAIN)
        rc = take_checkpoint(verifier, text, line);
    return rc;
}

static int take_line(struct kv_audit_verifier *verifier, const char *text, size_t len)
{
    struct kv_audit_line line;
    verifier->n_lines++;
    if (verifier->state == DEAD)
        return 0;
    if (kv_audit_line_parse(text, len, &line) != 0)
        return verifier->state == SEARCH
                   ? 0
                   : DAMAGE(verifier, KV_AUDIT_FLIP, "the line is no record");
    if (verifier->state == OPEN)
        return take_first(verifier, text, &line);
    if (verifier->state == CHAIN)
        return take_next(verifier, text, &line);
    if (line.seq == verifier->expected) {
        note(verifier, KV_AUDIT_REORDER, verifier->searched_line,
             "record %" PRIu64 " stands in line %" PRIu64, line.seq, verifier->n_lines);
        verifier->state = DEAD;
    }
    return 0;
}

int kv_audit_verifier_feed(struct kv_audit_verifier *verifier, const void *data,
                           size_t len)
{
    const char *at = data;
    const char *end = at + len;
    int rc = 0;
    while (rc == 0 && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = (size_t)((newline != NULL ? newline : end) - at);
        size_t room = sizeof(verifier->line) - verifier->line_len;
        if (n > room || (n == room && newline == NULL)) { /* longer than any record */
            verifier->n_lines++;
            if (verifier->state != DEAD)
                rc = DAMAGE(verifier, KV_AUDIT_FLIP, "the line is no record");
            n = room;
        }
        memcpy(verifier->line + verifier->line_len, at, n);
        verifier->line_len += n;
        at += n;
        if (at == newline) {
            rc = take_line(verifier, verifier->line, verifier->line_len);
            at++;
        } else if (verifier->line_len < sizeof(verifier->line)) {
            continue;
        }
        verifier->line_len = 0;
    }
    return rc;
}

void kv_audit_verifier_end(struct kv_audit_verifier *verifier)
{
    bool is_whole = verifier->line_len == 0;
    verifier->n_lines += is_whole ? 0 : 1;
    if (verifier->state == SEARCH)
        note(verifier, KV_AUDIT_DROP, verifier->searched_line,
             "record %" PRIu64 " is missing", verifier->expected);
    else if (verifier->state == OPEN)
        note(verifier, KV_AUDIT_TRUNCATE, verifier->n_lines, "the segment is empty");
    else if (verifier->state == CHAIN && !is_whole)
        note(verifier, KV_AUDIT_TRUNCATE, verifier->n_lines,
             "the last record is cut off");
    verifier->report->is_torn = verifier->state == CHAIN && !is_whole;
    verifier->has_prev = verifier->state == CHAIN && is_whole;
    if (!verifier->has_prev) {
        kv_buf_reset(&verifier->macs);
        verifier->has_sealed = false;
    }
    verifier->report->n_segments++;
    verifier->state = DEAD;
}

void kv_audit_verifier_finish(struct kv_audit_verifier *verifier)
{
    const struct kv_audit_mark *anchor = verifier->anchor;
    struct kv_audit_report *report = verifier->report;
    bool is_damaged = report->n_findings > 0;
    if (verifier->first_prev != 0 && !verifier->is_first_retired) {
        verifier->file[0] = '\0';
        note(verifier, KV_AUDIT_DROP, 0,
             "segment %" PRIu64 " and older are missing, and no record says that they "
             "were deleted",
             verifier->first_prev);
    }
    if (verifier->first_lost != 0)
        note(verifier, KV_AUDIT_DROP, 0,
             "records 1 to %" PRIu64 " are missing, and no segment is left of them",
             verifier->first_lost);
    if (anchor == NULL || anchor->segment == 0 || verifier->is_anchor_seen)
        return;
    if (report->n_segments == 0)
        note(verifier, KV_AUDIT_TRUNCATE, 0, "the whole log is missing");
    else if (anchor->seq > report->last.seq)
        note(verifier, KV_AUDIT_TRUNCATE, verifier->n_lines,
             "the keyring has seen record %" PRIu64 ", the log ends with %" PRIu64,
             anchor->seq, report->last.seq);
    else if (anchor->seq > 0 && !is_damaged)
        note(verifier, KV_AUDIT_DROP, 0,
             "record %" PRIu64 ", which the keyring has seen, is missing", anchor->seq);
}
