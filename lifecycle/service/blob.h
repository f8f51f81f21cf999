/*
 * Backup blobs of one key, secret or certificate, as the API hands them out.
 *
 *   "kvb" | format u8 = 1 | installation 16 | what it is of (kv_role_blob, at = 0)
 *   then chunks: u32 length | bytes that the keyring made (role.h, BLOB_SEAL)
 *
 * The front is there to be looked at: each chunk authenticates it. Inside the chunks
 * each row carries its columns (kv_blob_columns_put). Pure; any thread.
 */
#ifndef KV_LIFECYCLE_SERVICE_BLOB_H
#define KV_LIFECYCLE_SERVICE_BLOB_H

#include "store/db/store.h"
#include "store/keyring/role.h"

#define KV_BLOB_MAX (16U << 20) /* bytes of a blob */
#define KV_BLOB_CHUNKS_MAX 64
#define KV_BLOB_CHUNK_BYTES (3U << 20) /* bodies that the service puts into one */
#define KV_BLOB_VERSIONS_MAX 500       /* of one name */

/* A blob that was read; the chunks borrow from its bytes. */
struct kv_blob {
    uint8_t installation[KV_ID_LEN];
    struct kv_role_blob of;
    size_t n_chunks;
    struct kv_bytes chunk[KV_BLOB_CHUNKS_MAX];
};

/* Append the front of a blob, and a chunk. Failures stick to the buffer. */
void kv_blob_front_put(struct kv_buf *out, const uint8_t installation[KV_ID_LEN],
                       const struct kv_role_blob *of);
void kv_blob_chunk_put(struct kv_buf *out, struct kv_bytes chunk);

/* Take a whole blob apart. KV_E_INVALID: it is none, or of another format. */
int kv_blob_read(struct kv_bytes bytes, struct kv_blob *out) KV_MUST_CHECK;

/* Append the columns of a row that its identity does not say. */
void kv_blob_columns_put(struct kv_buf *out, const struct kv_row *row);

/* The row that the keyring gave back; `sealed` borrows from it. KV_E_INVALID when the
 * columns cannot be read, or are those of another name. */
int kv_blob_row(const struct kv_role_blob_row *in, struct kv_row *out) KV_MUST_CHECK;

#endif
