/*
 * Backup blobs in the REST API: what backup.c and restore.c share. Loop thread only.
 */
#ifndef KV_LIFECYCLE_API_BACKUP_H
#define KV_LIFECYCLE_API_BACKUP_H

#include "lifecycle/api/call.h"
#include "lifecycle/service/blob.h"

/* Rows with bodies of their own. Zeros: none. */
struct kv_rows {
    size_t n;
    size_t cap;
    struct kv_row *row;
};

/* Append a row and make it the owner of its body, which the caller's row loses. On
 * failure (KV_E_NOMEM, KV_E_TOO_BIG: more than KV_BLOB_ROWS_MAX) it keeps it. */
int kv_rows_take(struct kv_rows *rows, struct kv_row *row) KV_MUST_CHECK;
void kv_rows_free(struct kv_rows *rows);

/* The kind that a route is about. */
uint8_t kv_backup_kind(const struct kv_call *call);

/* POST /COLLECTION/restore. */
void kv_backup_restore(struct kv_call *call);

#endif
