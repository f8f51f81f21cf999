#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lifecycle/backup/file.h"

TestSuite(backup_file, .timeout = 120);

#define BODY_LEN ((size_t)5 * KV_BACKUP_CHUNK + 1234)
#define FLIPS 1000

static char dir[64];
static const uint8_t file_key[KV_BACKUP_KEY_LEN] = {1, 2, 3};
static const uint8_t other_key[KV_BACKUP_KEY_LEN] = {4, 5, 6};

struct bytes {
    uint8_t *data;
    size_t len;
};

static const char *path(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *out = paths[next++ % 4];
    (void)snprintf(out, sizeof(paths[0]), "%s/%s", dir, name);
    return out;
}

static void put(const char *name, const uint8_t *data, size_t len)
{
    FILE *file = fopen(path(name), "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, len, file), len);
    cr_assert_eq(fclose(file), 0);
}

static struct bytes get(const char *name)
{
    struct stat info;
    cr_assert_eq(stat(path(name), &info), 0);
    struct bytes bytes = {malloc((size_t)info.st_size + 1), (size_t)info.st_size};
    FILE *file = fopen(path(name), "rb");
    cr_assert_not_null(file);
    cr_assert_eq(fread(bytes.data, 1, bytes.len, file), bytes.len);
    (void)fclose(file);
    return bytes;
}

static struct kv_backup_header header_of(uint8_t id, size_t body_len)
{
    struct kv_backup_header header = {.installation = {9},
                                      .id = {id},
                                      .created_s = 1750000000,
                                      .schema = KV_STORE_SCHEMA,
                                      .body_len = body_len,
                                      .wrapped = {(const uint8_t *)"wrapped", 7},
                                      .slots = {(const uint8_t *)"slots", 5}};
    return header;
}

static struct kv_copy_counts counts_of(void)
{
    struct kv_copy_counts counts = {.n_rows = 7};
    counts.n_kind[1] = 3;
    counts.n_kind[2] = 4;
    return counts;
}

/* Write a backup of `body_len` bytes, each its place plus `id`. */
static struct bytes make(const char *name, uint8_t id, size_t body_len,
                         const uint8_t *key)
{
    uint8_t *body = malloc(body_len);
    for (size_t i = 0; i < body_len; i++)
        body[i] = (uint8_t)(i * 7 + id);
    (void)unlink(path("body"));
    (void)unlink(path(name));
    put("body", body, body_len);
    free(body);
    const struct kv_backup_header header = header_of(id, body_len);
    const struct kv_copy_counts counts = counts_of();
    const struct kv_backup_job job = {
        .from = path("body"), .to = path(name), .file_key = key};
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_backup_write(&job, &header, &counts, &err), 0, "%s", err.message);
    return get(name);
}

static int read_it(const char *name, const uint8_t *key, struct kv_copy_counts *counts)
{
    uint8_t digest[KV_BACKUP_DIGEST_LEN];
    struct kv_err err = KV_ERR_INIT;
    (void)unlink(path("out"));
    const struct kv_backup_job job = {
        .from = path(name), .to = path("out"), .file_key = key};
    int rc = kv_backup_read(&job, counts, digest, &err);
    cr_assert_eq(rc, err.code);
    cr_assert_eq(access(path("out"), F_OK) == 0, rc == 0, "a failure leaves no file");
    return rc;
}

/* These bytes must not be taken for a backup. */
static void must_fail(const uint8_t *data, size_t len, const char *what, size_t where)
{
    struct kv_copy_counts counts;
    put("bad", data, len);
    int rc = read_it("bad", file_key, &counts);
    cr_assert(rc == KV_E_INTEGRITY || rc == KV_E_UNSUPPORTED, "%s at %zu: %d", what,
              where, rc);
}

static void set_up(void)
{
    (void)strcpy(dir, "/tmp/kv-backup-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
}

static void tear_down(void)
{
    static const char *const names[] = {"body", "good", "other", "bad", "out"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        (void)unlink(path(names[i]));
    cr_assert_eq(rmdir(dir), 0);
}

static size_t header_len(struct bytes file)
{
    struct kv_backup_header header;
    struct kv_buf bytes;
    kv_buf_init(&bytes, KV_BACKUP_HEADER_MAX);
    (void)file;
    cr_assert_eq(kv_backup_header_read(path("good"), &bytes, &header, NULL), 0);
    size_t len = bytes.len;
    kv_buf_free(&bytes);
    return len;
}

Test(backup_file, what_was_written_is_read, .init = set_up, .fini = tear_down)
{
    const size_t sizes[] = {1, KV_BACKUP_CHUNK - 1, KV_BACKUP_CHUNK,
                            KV_BACKUP_CHUNK + 1, BODY_LEN};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct kv_copy_counts counts;
        const struct kv_copy_counts wanted = counts_of();
        struct bytes file = make("good", 1, sizes[i], file_key);
        cr_assert_eq(read_it("good", file_key, &counts), 0);
        cr_assert_eq(memcmp(&counts, &wanted, sizeof(counts)), 0);
        struct bytes in = get("body");
        struct bytes out = get("out");
        cr_assert(in.len == out.len && memcmp(in.data, out.data, in.len) == 0);
        free(file.data);
        free(in.data);
        free(out.data);
    }
}

Test(backup_file, every_altered_byte_is_refused, .init = set_up, .fini = tear_down)
{
    struct bytes file = make("good", 1, BODY_LEN, file_key);
    size_t front = header_len(file);
    for (size_t i = 0; i < front; i++) {
        file.data[i] ^= 1;
        must_fail(file.data, file.len, "header", i);
        file.data[i] ^= 1;
    }
    srandom(1);
    for (size_t n = 0; n < FLIPS; n++) {
        size_t i = front + (size_t)random() % (file.len - front);
        uint8_t bit = (uint8_t)(1U << (random() % 8));
        file.data[i] ^= bit;
        must_fail(file.data, file.len, "body", i);
        file.data[i] ^= bit;
    }
    struct kv_copy_counts counts;
    put("bad", file.data, file.len);
    cr_assert_eq(read_it("bad", file_key, &counts), 0, "the control is whole");
    free(file.data);
}

Test(backup_file, other_lengths_are_refused, .init = set_up, .fini = tear_down)
{
    struct bytes file = make("good", 1, BODY_LEN, file_key);
    size_t front = header_len(file);
    for (size_t len = 0; len < front + 8; len++)
        must_fail(file.data, len, "cut", len);
    for (size_t len = front; len < file.len; len += 4099)
        must_fail(file.data, len, "cut", len);
    must_fail(file.data, file.len - 1, "cut", file.len - 1);
    uint8_t *longer = realloc(file.data, file.len + 1);
    longer[file.len] = 0;
    must_fail(longer, file.len + 1, "longer", file.len);
    free(longer);
}

Test(backup_file, moved_and_foreign_chunks_are_refused, .init = set_up,
     .fini = tear_down)
{
    struct bytes file = make("good", 1, BODY_LEN, file_key);
    struct bytes same_key = make("other", 2, BODY_LEN, file_key);
    const size_t chunk = KV_BACKUP_CHUNK + 16;
    size_t front = header_len(file);
    uint8_t *mixed = malloc(file.len);

    memcpy(mixed, file.data, file.len);
    memcpy(mixed + front, file.data + front + chunk, chunk);
    memcpy(mixed + front + chunk, file.data + front, chunk);
    must_fail(mixed, file.len, "swapped", 0);

    memcpy(mixed, file.data, file.len);
    memcpy(mixed + front + chunk, file.data + front, chunk);
    must_fail(mixed, file.len, "twice", 1);

    /* Even under one file key the header binds the chunks. */
    for (size_t i = 0; i < 5; i++) {
        memcpy(mixed, file.data, file.len);
        memcpy(mixed + front + i * chunk, same_key.data + front + i * chunk, chunk);
        must_fail(mixed, file.len, "spliced", i);
    }
    memcpy(mixed, same_key.data, file.len);
    memcpy(mixed, file.data, front);
    must_fail(mixed, file.len, "header of another", 0);
    free(mixed);
    free(file.data);
    free(same_key.data);
}

Test(backup_file, another_key_opens_nothing, .init = set_up, .fini = tear_down)
{
    struct kv_copy_counts counts;
    struct bytes file = make("good", 1, BODY_LEN, other_key);
    cr_assert_eq(read_it("good", file_key, &counts), KV_E_INTEGRITY);
    free(file.data);
}

Test(backup_file, a_newer_schema_is_named, .init = set_up, .fini = tear_down)
{
    struct kv_backup_header header = header_of(1, 10);
    struct kv_backup_header found;
    struct kv_buf bytes;
    struct kv_err err = KV_ERR_INIT;
    kv_buf_init(&bytes, KV_BACKUP_HEADER_MAX);
    header.schema = KV_STORE_SCHEMA + 1;
    cr_assert_eq(kv_backup_header_put(&header, &bytes), 0);
    int rc =
        kv_backup_header_get((struct kv_bytes){bytes.data, bytes.len}, &found, &err);
    cr_assert_eq(rc, KV_E_UNSUPPORTED);
    cr_assert_str_eq(err.id, "backup.newer-schema");
    kv_buf_free(&bytes);
}

Test(backup_file, nothing_is_overwritten, .init = set_up, .fini = tear_down)
{
    struct bytes file = make("good", 1, 10, file_key);
    const struct kv_backup_header header = header_of(1, 10);
    const struct kv_copy_counts counts = counts_of();
    const struct kv_backup_job job = {
        .from = path("body"), .to = path("good"), .file_key = file_key};
    struct kv_err err = KV_ERR_INIT;
    cr_assert_eq(kv_backup_write(&job, &header, &counts, &err), KV_E_EXISTS);
    cr_assert_str_eq(err.id, "backup.exists");
    struct bytes after = get("good");
    cr_assert(after.len == file.len && memcmp(after.data, file.data, file.len) == 0);
    free(after.data);
    free(file.data);
}

static int stop_at_once(void *arg, uint64_t done, uint64_t total)
{
    (void)arg;
    (void)done;
    (void)total;
    return KV_E_UNAVAILABLE;
}

Test(backup_file, who_watches_may_end_it, .init = set_up, .fini = tear_down)
{
    struct bytes file = make("good", 1, BODY_LEN, file_key);
    uint8_t digest[KV_BACKUP_DIGEST_LEN];
    struct kv_copy_counts counts;
    const struct kv_backup_job job = {.from = path("good"),
                                      .to = path("out"),
                                      .file_key = file_key,
                                      .progress = stop_at_once};
    cr_assert_eq(kv_backup_read(&job, &counts, digest, NULL), KV_E_UNAVAILABLE);
    cr_assert_neq(access(path("out"), F_OK), 0);
    free(file.data);
}
