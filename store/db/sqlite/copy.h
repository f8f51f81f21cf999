/*
 * A copy of the store in one file, as the operation `snapshot` writes it: opened,
 * brought to the present schema, checked whole, and read row by row.
 *
 * For backups: the copy is proved with this before it counts. Blocking; one thread at
 * a time. The file is private to the caller and changes while it is open (migration).
 */
#ifndef KV_STORE_DB_SQLITE_COPY_H
#define KV_STORE_DB_SQLITE_COPY_H

#include "store/db/store.h"

#define KV_COPY_KINDS 64 /* kinds are below this */

struct kv_copy;

struct kv_copy_counts {
    uint64_t n_rows;
    uint64_t n_kind[KV_COPY_KINDS]; /* by kind */
};

enum kv_copy_what {
    KV_COPY_KIND,   /* all rows of one kind with a body */
    KV_COPY_SAMPLE, /* a random choice among all others than keys and vault keys */
};

/* Open the file at `path` and check all of it: schema, pages, indexes, foreign keys,
 * tally. KV_E_INTEGRITY (db.corrupt, db.altered-schema), KV_E_UNSUPPORTED
 * (db.newer-schema, db.foreign-file), KV_E_IO, KV_E_NOMEM. */
int kv_copy_open(struct kv_copy **out, const char *path,
                 struct kv_err *err) KV_MUST_CHECK;
void kv_copy_close(struct kv_copy *copy);

int kv_copy_count(struct kv_copy *copy, struct kv_copy_counts *out,
                  struct kv_err *err) KV_MUST_CHECK;

/* Call `fn` for each row; `row` is borrowed until it returns. A failure of `fn` ends
 * the walk and is returned. `limit` counts for SAMPLE only. */
typedef int (*kv_copy_fn)(void *arg, const struct kv_row *row, struct kv_err *err);
int kv_copy_each(struct kv_copy *copy, enum kv_copy_what what, uint8_t kind,
                 unsigned limit, kv_copy_fn fn, void *arg,
                 struct kv_err *err) KV_MUST_CHECK;

#endif
