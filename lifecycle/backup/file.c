/*
 * Writing and reading backup files, one chunk in memory at a time.
 *
 * The header says how long the copy is, so the length of the whole file is known
 * before the first chunk is opened, and a shorter or longer one is refused at once.
 * The file key is new for each backup: counting nonces never repeat under it.
 */
#include "lifecycle/backup/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/core/secret.h"

#define FORMAT 1
#define MAGIC_LEN 8
#define FRONT_LEN (MAGIC_LEN + 2 + 4) /* magic, format, length of the header */
#define NONCE_LEN 12
#define TAG_LEN 16
#define TRAILER_LEN (8 + 8 * KV_COPY_KINDS)
#define FLAG_BODY 0
#define FLAG_LAST 1
#define BODY_MAX (UINT64_C(1) << 46)

static const char magic[MAGIC_LEN + 1] = "KVBACKUP";
static const char label[] = "keyvault backup file 1";

/* One open file of either direction. */
struct stream {
    const struct kv_backup_job *job;
    int from;
    int to;
    uint64_t done;
    uint64_t total;
    uint64_t chunk;
    EVP_CIPHER_CTX *cipher;
    EVP_MD_CTX *digest; /* of what is read of a backup */
    uint8_t header_hash[KV_BACKUP_DIGEST_LEN];
    uint8_t plain[KV_BACKUP_CHUNK];
    uint8_t sealed[KV_BACKUP_CHUNK + TAG_LEN];
};

static int damaged(struct kv_err *err, const char *what)
{
    (void)kv_err_set(err, KV_E_INTEGRITY, "backup.altered",
                     "the backup is altered or damaged: %s", what);
    kv_err_hint(err, "take another backup");
    return KV_E_INTEGRITY;
}

static int crypto(struct kv_err *err)
{
    ERR_clear_error();
    return kv_err_set(err, KV_E_CRYPTO, "backup.crypto", "libcrypto failed");
}

static int sha256(const void *data, size_t len, uint8_t out[KV_BACKUP_DIGEST_LEN])
{
    int ok = EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL);
    ERR_clear_error();
    return ok == 1 ? 0 : KV_E_CRYPTO;
}

/* --- header ----------------------------------------------------------------------- */

int kv_backup_header_put(const struct kv_backup_header *header, struct kv_buf *out)
{
    uint8_t digest[KV_BACKUP_DIGEST_LEN];
    const size_t start = out->len;
    const size_t len = FRONT_LEN + (size_t)2 * KV_ID_LEN + 8 + 4 + 4 + 8 + 4 +
                       header->wrapped.len + 4 + header->slots.len + sizeof(digest);
    kv_wire_put_raw(out, magic, MAGIC_LEN);
    kv_wire_put_u16(out, FORMAT);
    kv_wire_put_u32(out, (uint32_t)len);
    kv_wire_put_raw(out, header->installation, KV_ID_LEN);
    kv_wire_put_raw(out, header->id, KV_ID_LEN);
    kv_wire_put_i64(out, header->created_s);
    kv_wire_put_u32(out, header->schema);
    kv_wire_put_u32(out, KV_BACKUP_CHUNK);
    kv_wire_put_u64(out, header->body_len);
    kv_wire_put_bytes(out, header->wrapped.data, header->wrapped.len);
    kv_wire_put_bytes(out, header->slots.data, header->slots.len);
    int rc = kv_buf_status(out);
    if (rc == 0)
        rc = sha256(out->data + start, out->len - start, digest);
    if (rc == 0)
        rc = kv_buf_append(out, digest, sizeof(digest));
    return rc;
}

/* The length of the header that begins so; 0: this is no header. */
static size_t header_len(struct kv_bytes front)
{
    struct kv_wire wire;
    if (front.len < FRONT_LEN || memcmp(front.data, magic, MAGIC_LEN) != 0)
        return 0;
    kv_wire_init(&wire, front.data + MAGIC_LEN + 2, 4);
    const uint32_t len = kv_wire_u32(&wire);
    return len > FRONT_LEN + KV_BACKUP_DIGEST_LEN && len <= KV_BACKUP_HEADER_MAX ? len
                                                                                 : 0;
}

static int check_format(struct kv_bytes bytes, struct kv_err *err)
{
    struct kv_wire wire;
    kv_wire_init(&wire, bytes.data + MAGIC_LEN, 2);
    const uint16_t format = kv_wire_u16(&wire);
    if (format == FORMAT)
        return 0;
    (void)kv_err_set(err, KV_E_UNSUPPORTED, "backup.newer-format",
                     "the backup has format %u, this program reads %d", format, FORMAT);
    kv_err_hint(err, "use the version of keyvault that wrote it, or a newer one");
    return KV_E_UNSUPPORTED;
}

static int check_schema(const struct kv_backup_header *header, struct kv_err *err)
{
    if (header->schema <= KV_STORE_SCHEMA)
        return 0;
    (void)kv_err_set(err, KV_E_UNSUPPORTED, "backup.newer-schema",
                     "the backup has schema %u, this program knows up to %d",
                     header->schema, KV_STORE_SCHEMA);
    kv_err_hint(err, "use the version of keyvault that wrote it, or a newer one");
    return KV_E_UNSUPPORTED;
}

int kv_backup_header_get(struct kv_bytes bytes, struct kv_backup_header *out,
                         struct kv_err *err)
{
    uint8_t digest[KV_BACKUP_DIGEST_LEN];
    struct kv_backup_header header;
    struct kv_wire wire;
    const size_t len = header_len(bytes);
    int rc = 0;
    if (len == 0 || len > bytes.len)
        return damaged(err, "it does not begin as a backup does");
    const size_t content = len - sizeof(digest);
    KV_TRY(sha256(bytes.data, content, digest));
    if (memcmp(digest, bytes.data + content, sizeof(digest)) != 0)
        return damaged(err, "its header");
    KV_TRY(check_format(bytes, err));
    kv_wire_init(&wire, bytes.data + FRONT_LEN, content - FRONT_LEN);
    kv_wire_raw(&wire, header.installation, KV_ID_LEN);
    kv_wire_raw(&wire, header.id, KV_ID_LEN);
    header.created_s = kv_wire_i64(&wire);
    header.schema = kv_wire_u32(&wire);
    const uint32_t chunk = kv_wire_u32(&wire);
    header.body_len = kv_wire_u64(&wire);
    header.wrapped = kv_wire_bytes(&wire, KV_BACKUP_WRAPPED_MAX);
    header.slots = kv_wire_bytes(&wire, KV_BACKUP_SLOTS_MAX);
    if (kv_wire_end(&wire) != 0 || chunk != KV_BACKUP_CHUNK || header.schema < 1 ||
        header.body_len < 1 || header.body_len > BODY_MAX)
        return damaged(err, "its header");
    KV_TRY(check_schema(&header, err));
    *out = header;
out:
    return rc;
}

/* --- files ------------------------------------------------------------------------ */

/* Read exactly `len` bytes; fewer are damage. */
static int read_all(int fd, uint8_t *out, size_t len, const char *file,
                    struct kv_err *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = read(fd, out + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kv_err_errno(err, errno, "backup.unreadable", file);
        if (n == 0)
            return damaged(err, "it ends too early");
        done += (size_t)n;
    }
    return 0;
}

static int write_all(int fd, const uint8_t *data, size_t len, const char *file,
                     struct kv_err *err)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, data + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return kv_err_errno(err, errno, "backup.not-written", file);
        done += (size_t)n;
    }
    return 0;
}

static int open_regular(const char *file, uint64_t *size, int *out, struct kv_err *err)
{
    struct stat info;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return kv_err_errno(err, errno, "backup.unreadable", file);
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        (void)close(fd); /* opened for reading */
        return kv_err_set(err, KV_E_INVALID, "backup.unreadable",
                          "%s is no regular file", file);
    }
    *size = (uint64_t)info.st_size;
    *out = fd;
    return 0;
}

static int read_header(int fd, const char *file, struct kv_buf *bytes,
                       struct kv_backup_header *out, struct kv_err *err)
{
    int rc = 0;
    uint8_t front[FRONT_LEN];
    KV_TRY(read_all(fd, front, sizeof(front), file, err));
    const size_t len = header_len((struct kv_bytes){front, sizeof(front)});
    if (len == 0)
        return damaged(err, "it does not begin as a backup does");
    KV_TRY(kv_buf_append(bytes, front, sizeof(front)));
    uint8_t *rest = kv_buf_extend(bytes, len - sizeof(front));
    KV_TRY(kv_buf_status(bytes));
    KV_TRY(read_all(fd, rest, len - sizeof(front), file, err));
    rc = kv_backup_header_get((struct kv_bytes){bytes->data, bytes->len}, out, err);
out:
    return rc;
}

int kv_backup_header_read(const char *file, struct kv_buf *bytes,
                          struct kv_backup_header *out, struct kv_err *err)
{
    uint64_t size = 0;
    int fd = -1;
    int rc = open_regular(file, &size, &fd, err);
    if (rc != 0)
        return rc;
    rc = read_header(fd, file, bytes, out, err);
    (void)close(fd); /* opened for reading */
    return rc;
}

/* --- chunks ----------------------------------------------------------------------- */

/* Set nonce and additional data of the next chunk. */
static int begin_chunk(struct stream *stream, uint8_t flag, bool is_writing)
{
    int len = 0;
    uint8_t nonce[NONCE_LEN] = {0};
    for (unsigned i = 0; i < 8; i++)
        nonce[i] = (uint8_t)(stream->chunk >> (56 - 8 * i));
    nonce[NONCE_LEN - 1] = flag;
    stream->chunk++;
    return EVP_CipherInit_ex2(stream->cipher, NULL, NULL, nonce, is_writing, NULL) ==
                       1 &&
                   EVP_CipherUpdate(stream->cipher, NULL, &len, (const uint8_t *)label,
                                    sizeof(label) - 1) == 1 &&
                   EVP_CipherUpdate(stream->cipher, NULL, &len, stream->header_hash,
                                    sizeof(stream->header_hash)) == 1
               ? 0
               : KV_E_CRYPTO;
}

static int seal_chunk(struct stream *stream, size_t len, uint8_t flag,
                      struct kv_err *err)
{
    int n = 0;
    int tail = 0;
    if (begin_chunk(stream, flag, true) != 0 ||
        EVP_CipherUpdate(stream->cipher, stream->sealed, &n, stream->plain, (int)len) !=
            1 ||
        EVP_CipherFinal_ex(stream->cipher, stream->sealed + n, &tail) != 1 ||
        EVP_CIPHER_CTX_ctrl(stream->cipher, EVP_CTRL_AEAD_GET_TAG, TAG_LEN,
                            stream->sealed + len) != 1)
        return crypto(err);
    return write_all(stream->to, stream->sealed, len + TAG_LEN, stream->job->to, err);
}

static int open_chunk(struct stream *stream, size_t len, uint8_t flag,
                      struct kv_err *err)
{
    int n = 0;
    int tail = 0;
    int rc =
        read_all(stream->from, stream->sealed, len + TAG_LEN, stream->job->from, err);
    if (rc != 0)
        return rc;
    if (EVP_DigestUpdate(stream->digest, stream->sealed, len + TAG_LEN) != 1 ||
        begin_chunk(stream, flag, false) != 0 ||
        EVP_CipherUpdate(stream->cipher, stream->plain, &n, stream->sealed, (int)len) !=
            1 ||
        EVP_CIPHER_CTX_ctrl(stream->cipher, EVP_CTRL_AEAD_SET_TAG, TAG_LEN,
                            stream->sealed + len) != 1)
        return crypto(err);
    if (EVP_CipherFinal_ex(stream->cipher, stream->plain + n, &tail) == 1)
        return 0;
    ERR_clear_error();
    return damaged(err, "a part of it does not authenticate");
}

static int step(struct stream *stream, size_t len)
{
    stream->done += len;
    if (stream->job->progress == NULL)
        return 0;
    return stream->job->progress(stream->job->arg, stream->done, stream->total);
}

static size_t next_len(const struct stream *stream)
{
    uint64_t left = stream->total - stream->done;
    return left < KV_BACKUP_CHUNK ? (size_t)left : KV_BACKUP_CHUNK;
}

static struct stream *stream_new(const struct kv_backup_job *job)
{
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL)
        return NULL;
    stream->job = job;
    stream->from = -1;
    stream->to = -1;
    return stream;
}

static int stream_key(struct stream *stream, bool is_writing, struct kv_err *err)
{
    stream->cipher = EVP_CIPHER_CTX_new();
    stream->digest = EVP_MD_CTX_new();
    if (stream->cipher == NULL || stream->digest == NULL ||
        EVP_CipherInit_ex2(stream->cipher, EVP_aes_256_gcm(), stream->job->file_key,
                           NULL, is_writing, NULL) != 1 ||
        EVP_DigestInit_ex2(stream->digest, EVP_sha256(), NULL) != 1)
        return crypto(err);
    return 0;
}

/* Close; what was not finished (rc not 0) is removed. */
static int stream_end(struct stream *stream, int rc, struct kv_err *err)
{
    if (stream->from >= 0)
        (void)close(stream->from); /* opened for reading */
    if (stream->to >= 0) {
        if (close(stream->to) != 0 && rc == 0)
            rc = kv_err_errno(err, errno, "backup.not-written", stream->job->to);
        if (rc != 0)
            (void)unlink(stream->job->to); /* the first error counts */
    }
    EVP_CIPHER_CTX_free(stream->cipher);
    EVP_MD_CTX_free(stream->digest);
    kv_wipe(stream, sizeof(*stream));
    free(stream);
    return rc;
}

static int make_target(struct stream *stream, struct kv_err *err)
{
    const char *file = stream->job->to;
    stream->to = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (stream->to < 0 && errno == EEXIST)
        return kv_err_set(err, KV_E_EXISTS, "backup.exists", "%s exists already", file);
    return stream->to >= 0 ? 0 : kv_err_errno(err, errno, "backup.not-written", file);
}

static int sync_target(const struct stream *stream, struct kv_err *err)
{
    return fsync(stream->to) == 0
               ? 0
               : kv_err_errno(err, errno, "backup.not-written", stream->job->to);
}

/* --- the two directions -------------------------------------------------------------
 */

static int write_header(struct stream *stream, const struct kv_backup_header *header,
                        struct kv_err *err)
{
    struct kv_buf bytes;
    kv_buf_init(&bytes, KV_BACKUP_HEADER_MAX);
    int rc = kv_backup_header_put(header, &bytes);
    if (rc == 0)
        rc = sha256(bytes.data, bytes.len, stream->header_hash);
    if (rc == 0)
        rc = write_all(stream->to, bytes.data, bytes.len, stream->job->to, err);
    kv_buf_free(&bytes);
    return rc;
}

static void trailer_put(const struct kv_copy_counts *counts, uint8_t *out)
{
    struct kv_buf bytes;
    kv_buf_init(&bytes, TRAILER_LEN);
    kv_wire_put_u64(&bytes, counts->n_rows);
    for (size_t i = 0; i < KV_COPY_KINDS; i++)
        kv_wire_put_u64(&bytes, counts->n_kind[i]);
    KV_ASSERT(kv_buf_status(&bytes) == 0 && bytes.len == TRAILER_LEN);
    memcpy(out, bytes.data, TRAILER_LEN);
    kv_buf_free(&bytes);
}

static void trailer_get(const uint8_t *bytes, struct kv_copy_counts *out)
{
    struct kv_wire wire;
    kv_wire_init(&wire, bytes, TRAILER_LEN);
    out->n_rows = kv_wire_u64(&wire);
    for (size_t i = 0; i < KV_COPY_KINDS; i++)
        out->n_kind[i] = kv_wire_u64(&wire);
}

static int write_chunks(struct stream *stream, const struct kv_copy_counts *counts,
                        struct kv_err *err)
{
    int rc = 0;
    while (stream->done < stream->total) {
        size_t len = next_len(stream);
        KV_TRY(read_all(stream->from, stream->plain, len, stream->job->from, err));
        KV_TRY(seal_chunk(stream, len, FLAG_BODY, err));
        KV_TRY(step(stream, len));
    }
    trailer_put(counts, stream->plain);
    KV_TRY(seal_chunk(stream, TRAILER_LEN, FLAG_LAST, err));
    rc = sync_target(stream, err);
out:
    return rc;
}

int kv_backup_write(const struct kv_backup_job *job,
                    const struct kv_backup_header *header,
                    const struct kv_copy_counts *counts, struct kv_err *err)
{
    int rc = 0;
    struct stream *stream = stream_new(job);
    if (stream == NULL)
        return KV_E_NOMEM;
    KV_TRY(open_regular(job->from, &stream->total, &stream->from, err));
    if (stream->total != header->body_len) {
        rc = kv_err_set(err, KV_E_INTERNAL, "backup.not-written",
                        "the copy of the store changed its size");
        goto out;
    }
    KV_TRY(stream_key(stream, true, err));
    KV_TRY(make_target(stream, err));
    KV_TRY(write_header(stream, header, err));
    rc = write_chunks(stream, counts, err);
out:
    return stream_end(stream, rc, err);
}

/* The length that a backup with this header has. */
static uint64_t whole_len(size_t header_bytes, uint64_t body_len)
{
    uint64_t n_chunks = (body_len + KV_BACKUP_CHUNK - 1) / KV_BACKUP_CHUNK;
    return header_bytes + body_len + n_chunks * TAG_LEN + TRAILER_LEN + TAG_LEN;
}

static int read_front(struct stream *stream, uint64_t size, struct kv_err *err)
{
    struct kv_backup_header header;
    struct kv_buf bytes;
    kv_buf_init(&bytes, KV_BACKUP_HEADER_MAX);
    int rc = read_header(stream->from, stream->job->from, &bytes, &header, err);
    if (rc == 0 && size != whole_len(bytes.len, header.body_len))
        rc = damaged(err, "its length");
    if (rc == 0)
        rc = sha256(bytes.data, bytes.len, stream->header_hash);
    if (rc == 0 && EVP_DigestUpdate(stream->digest, bytes.data, bytes.len) != 1)
        rc = crypto(err);
    if (rc == 0)
        stream->total = header.body_len;
    kv_buf_free(&bytes);
    return rc;
}

static int read_chunks(struct stream *stream, struct kv_copy_counts *counts,
                       struct kv_err *err)
{
    int rc = 0;
    while (stream->done < stream->total) {
        size_t len = next_len(stream);
        KV_TRY(open_chunk(stream, len, FLAG_BODY, err));
        KV_TRY(write_all(stream->to, stream->plain, len, stream->job->to, err));
        KV_TRY(step(stream, len));
    }
    KV_TRY(open_chunk(stream, TRAILER_LEN, FLAG_LAST, err));
    trailer_get(stream->plain, counts);
    rc = sync_target(stream, err);
out:
    return rc;
}

int kv_backup_read(const struct kv_backup_job *job, struct kv_copy_counts *counts,
                   uint8_t digest[KV_BACKUP_DIGEST_LEN], struct kv_err *err)
{
    int rc = 0;
    uint64_t size = 0;
    struct stream *stream = stream_new(job);
    if (stream == NULL)
        return KV_E_NOMEM;
    KV_TRY(open_regular(job->from, &size, &stream->from, err));
    KV_TRY(stream_key(stream, false, err));
    KV_TRY(read_front(stream, size, err));
    KV_TRY(make_target(stream, err));
    KV_TRY(read_chunks(stream, counts, err));
    if (EVP_DigestFinal_ex(stream->digest, digest, NULL) != 1)
        rc = crypto(err);
out:
    return stream_end(stream, rc, err);
}
