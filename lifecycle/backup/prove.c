/*
 * Proving a backup over the rows of its copy, in frames of as many rows as fit.
 */
#include "lifecycle/backup/prove.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/core/secret.h"
#include "store/core/str.h"

#define TYPES_MAX 32
#define FRAME_BYTES_MAX (3U << 20)

struct type {
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
};

/* Rows that wait to be asked about together. */
struct batch {
    const struct kv_backup_keyring *keyring;
    uint8_t (*vaults)[KV_ID_LEN]; /* whose keys are in the copy */
    size_t n_vaults;
    uint64_t n_erased; /* rows of vaults that were being purged */
    size_t n_kept;     /* vaults that were not */
    struct kv_role_rows *rows;
    struct kv_buf bodies[KV_BATCH_MAX];
    size_t bytes;
    uint64_t n_done;
    struct type types[TYPES_MAX]; /* that have signed */
    size_t n_types;
};

static int not_proved(struct kv_err *err, const char *name, const char *what)
{
    (void)kv_err_set(err, KV_E_INTEGRITY, "backup.not-proved",
                     "the row '%.127s' of the backup %s", name, what);
    kv_err_hint(err, "the store itself may be damaged: keyvault doctor, and the log");
    return KV_E_INTEGRITY;
}

static int ask(const struct batch *batch, uint16_t verb,
               const struct kv_role_rows *rows, struct kv_buf *reply,
               struct kv_err *err)
{
    struct kv_buf payload;
    kv_buf_init_secret(&payload, KV_FRAME_MAX_ROLE);
    kv_role_rows_put(&payload, rows);
    int rc = kv_buf_status(&payload);
    if (rc == 0)
        rc = batch->keyring->ask(batch->keyring->arg, verb, &payload, reply, err);
    kv_buf_free(&payload);
    return rc;
}

static void batch_clear(struct batch *batch)
{
    for (uint16_t i = 0; i < batch->rows->n; i++)
        kv_buf_free(&batch->bodies[i]);
    batch->n_done += batch->rows->n;
    batch->rows->n = 0;
    batch->bytes = 0;
}

/* --- keys ---------------------------------------------------------------------------
 */

static bool is_new_type(struct batch *batch, const struct kv_key_info *info)
{
    for (size_t i = 0; i < batch->n_types; i++) {
        const struct type *type = &batch->types[i];
        if (type->kty == info->kty && type->curve == info->curve &&
            type->bits == info->bits)
            return false;
    }
    if (batch->n_types == TYPES_MAX)
        return false;
    batch->types[batch->n_types++] =
        (struct type){.kty = info->kty, .curve = info->curve, .bits = info->bits};
    return true;
}

static int sign_with(struct batch *batch, const struct kv_role_row *row,
                     struct kv_err *err)
{
    int rc = KV_E_NOMEM;
    struct kv_wire wire;
    struct kv_buf reply;
    struct kv_role_rows *one = calloc(1, sizeof(*one));
    kv_buf_init(&reply, 64);
    if (one == NULL)
        goto out;
    one->n = 1;
    one->row[0] = *row;
    KV_TRY(ask(batch, KV_ROLE_KEY_PROVE, one, &reply, err));
    kv_wire_init(&wire, reply.data, reply.len);
    const uint16_t n = kv_wire_u16(&wire);
    const uint32_t status = kv_wire_u32(&wire);
    if (kv_wire_end(&wire) != 0 || n != 1 || status != 0)
        rc = not_proved(err, row->ident.name, "holds a key that does not sign");
out:
    kv_buf_free(&reply);
    free(one);
    return rc;
}

static int flush_keys(struct batch *batch, struct kv_err *err)
{
    int rc = 0;
    struct kv_buf reply;
    struct kv_role_infos *infos = calloc(1, sizeof(*infos));
    kv_buf_init(&reply, KV_FRAME_MAX_ROLE);
    if (infos == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    KV_TRY(ask(batch, KV_ROLE_KEY_INFO, batch->rows, &reply, err));
    if (kv_role_infos_get((struct kv_bytes){reply.data, reply.len}, infos) != 0 ||
        infos->n != batch->rows->n) {
        rc = KV_E_INTERNAL;
        goto out;
    }
    for (uint16_t i = 0; i < infos->n; i++) {
        const struct kv_role_row *row = &batch->rows->row[i];
        if (infos->row[i].status != 0) {
            rc = not_proved(err, row->ident.name, "holds a key that does not open");
            goto out;
        }
        if (is_new_type(batch, &infos->row[i].info))
            KV_TRY(sign_with(batch, row, err));
    }
    batch_clear(batch);
out:
    free(infos);
    kv_buf_free(&reply);
    return rc;
}

/* --- other rows ----------------------------------------------------------------------
 */

static int flush_others(struct batch *batch, struct kv_err *err)
{
    int rc = 0;
    struct kv_buf reply;
    struct kv_role_rows *opened = calloc(1, sizeof(*opened));
    kv_buf_init_secret(&reply, KV_FRAME_MAX_ROLE);
    if (opened == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    KV_TRY(ask(batch, KV_ROLE_UNSEAL, batch->rows, &reply, err));
    if (kv_role_rows_get((struct kv_bytes){reply.data, reply.len}, opened) != 0 ||
        opened->n != batch->rows->n) {
        rc = KV_E_INTERNAL;
        goto out;
    }
    for (uint16_t i = 0; i < opened->n; i++) {
        if (opened->row[i].status != 0) {
            rc = not_proved(err, opened->row[i].ident.name, "does not open");
            goto out;
        }
    }
    batch_clear(batch);
out:
    free(opened);
    kv_buf_free(&reply);
    return rc;
}

static int flush(struct batch *batch, struct kv_err *err)
{
    if (batch->rows->n == 0)
        return 0;
    return batch->rows->row[0].ident.kind == KV_KIND_KEY ? flush_keys(batch, err)
                                                         : flush_others(batch, err);
}

/* A purge removes the keys of a vault first: the rest of it opens nowhere. */
static bool is_erased(const struct batch *batch, const struct kv_row *row)
{
    if (kv_id_is_zero(row->key.vault))
        return false;
    for (size_t i = 0; i < batch->n_vaults; i++)
        if (memcmp(batch->vaults[i], row->key.vault, KV_ID_LEN) == 0)
            return false;
    return true;
}

static int on_row(void *arg, const struct kv_row *row, struct kv_err *err)
{
    struct batch *batch = arg;
    int rc = 0;
    if (is_erased(batch, row)) {
        batch->n_erased++;
        return 0;
    }
    if (batch->rows->n == KV_BATCH_MAX ||
        batch->bytes + row->sealed_len > FRAME_BYTES_MAX)
        rc = flush(batch, err);
    if (rc != 0)
        return rc;
    const uint16_t i = batch->rows->n;
    struct kv_role_row *place = &batch->rows->row[i];
    memset(place, 0, sizeof(*place));
    kv_row_ident(row, &place->ident);
    kv_buf_init(&batch->bodies[i], KV_ROW_MAX);
    rc = kv_buf_append(&batch->bodies[i], row->sealed, row->sealed_len);
    place->body = (struct kv_bytes){batch->bodies[i].data, batch->bodies[i].len};
    batch->bytes += row->sealed_len;
    batch->rows->n++;
    return rc;
}

static int walk(struct kv_copy *copy, enum kv_copy_what what, struct batch *batch,
                uint64_t *n, struct kv_err *err)
{
    const uint64_t before = batch->n_done;
    int rc =
        kv_copy_each(copy, what, KV_KIND_KEY, KV_BACKUP_SAMPLE, on_row, batch, err);
    if (rc == 0)
        rc = flush(batch, err);
    *n = batch->n_done - before;
    return rc;
}

/* --- vault keys
 * -----------------------------------------------------------------------
 */

/* Note a vault that has a key; the installation's own rows are of no vault. */
static int add_vault(struct batch *batch, const uint8_t vault[KV_ID_LEN])
{
    if (kv_id_is_zero(vault))
        return 0;
    for (size_t i = 0; i < batch->n_vaults; i++)
        if (memcmp(batch->vaults[i], vault, KV_ID_LEN) == 0)
            return 0;
    void *more = realloc(batch->vaults, (batch->n_vaults + 1) * sizeof(*batch->vaults));
    if (more == NULL)
        return KV_E_NOMEM;
    batch->vaults = more;
    memcpy(batch->vaults[batch->n_vaults++], vault, KV_ID_LEN);
    return 0;
}

static int on_vault_key(void *arg, const struct kv_row *row, struct kv_err *err)
{
    struct batch *batch = arg;
    const struct kv_backup_keyring *keyring = batch->keyring;
    char id[2 * KV_ID_LEN + 1];
    int64_t term = 0;
    struct kv_role_vault_key key = {.wrapped = {row->sealed, row->sealed_len}};
    const char *name = row->key.name;
    const size_t id_len = sizeof(id) - 1;
    kv_str_cut(id, sizeof(id), name, id_len);
    if (strlen(name) < id_len + 2 || name[id_len] != '-' ||
        kv_hex_decode(key.vault, KV_ID_LEN, id) != 0 ||
        kv_str_to_i64(name + id_len + 1, 1, UINT32_MAX, &term) != 0)
        return not_proved(err, name, "is no vault key");
    key.term = (uint32_t)term;
    struct kv_buf payload;
    struct kv_buf reply;
    kv_buf_init(&payload, 4096);
    kv_buf_init(&reply, 64);
    kv_role_vault_key_put(&payload, &key);
    int rc = kv_buf_status(&payload);
    if (rc == 0)
        rc = add_vault(batch, key.vault);
    if (rc == 0)
        rc = keyring->ask(keyring->arg, KV_ROLE_VAULT_KEY_OPEN, &payload, &reply, err);
    kv_buf_free(&payload);
    kv_buf_free(&reply);
    return rc;
}

/* A vault whose purge has begun is the only one without a key. Its row is due at once;
 * one that is only deleted is due after its retention. */
static int on_vault(void *arg, const struct kv_row *row, struct kv_err *err)
{
    struct batch *batch = arg;
    const bool is_purging =
        (row->flags & KV_ROW_DELETED) != 0 && row->next_at_s <= row->updated_s;
    if (!is_purging)
        batch->n_kept++;
    if (batch->n_kept > batch->n_vaults)
        return not_proved(err, row->key.name, "is of a vault that has lost its key");
    return 0;
}

static int prove_rows(struct kv_copy *copy, const struct kv_backup_keyring *keyring,
                      struct kv_backup_proof *out, struct kv_err *err)
{
    int rc = KV_E_NOMEM;
    struct batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL)
        return rc;
    batch->keyring = keyring;
    batch->rows = calloc(1, sizeof(*batch->rows));
    if (batch->rows == NULL)
        goto out;
    KV_TRY(kv_copy_each(copy, KV_COPY_KIND, KV_KIND_VAULT_KEY, 0, on_vault_key, batch,
                        err));
    KV_TRY(kv_copy_each(copy, KV_COPY_KIND, KV_KIND_VAULT, 0, on_vault, batch, err));
    KV_TRY(walk(copy, KV_COPY_KIND, batch, &out->n_keys, err));
    KV_TRY(walk(copy, KV_COPY_SAMPLE, batch, &out->n_sampled, err));
    out->n_types = batch->n_types;
    out->n_erased = batch->n_erased;
out:
    if (batch->rows != NULL)
        batch_clear(batch);
    free(batch->rows);
    free(batch->vaults);
    free(batch);
    return rc;
}

/* --- the whole
 * ------------------------------------------------------------------------
 */

static int compare_counts(struct kv_copy *copy, const struct kv_copy_counts *told,
                          struct kv_err *err)
{
    struct kv_copy_counts counts;
    int rc = kv_copy_count(copy, &counts, err);
    if (rc == 0 && memcmp(&counts, told, sizeof(counts)) != 0)
        rc = kv_err_set(err, KV_E_INTEGRITY, "backup.not-proved",
                        "the backup has %llu rows and says it has %llu",
                        (unsigned long long)counts.n_rows,
                        (unsigned long long)told->n_rows);
    return rc;
}

static int open_file_key(const struct kv_backup_job *job,
                         const struct kv_backup_keyring *keyring,
                         struct kv_backup_proof *out, uint8_t *key, struct kv_err *err)
{
    int rc = 0;
    struct kv_buf bytes;
    struct kv_buf reply;
    struct kv_buf payload;
    kv_buf_init(&bytes, KV_BACKUP_HEADER_MAX);
    kv_buf_init(&payload, KV_BACKUP_WRAPPED_MAX);
    kv_buf_init_secret(&reply, 256);
    KV_TRY(kv_backup_header_read(job->from, &bytes, &out->header, err));
    KV_TRY(kv_buf_append(&payload, out->header.wrapped.data, out->header.wrapped.len));
    KV_TRY(keyring->ask(keyring->arg, KV_ROLE_BACKUP_OPEN, &payload, &reply, err));
    if (reply.len == KV_BACKUP_KEY_LEN)
        memcpy(key, reply.data, reply.len);
    else
        rc = KV_E_INTERNAL;
out:
    out->header.wrapped = (struct kv_bytes){NULL, 0};
    out->header.slots = (struct kv_bytes){NULL, 0};
    kv_buf_free(&bytes);
    kv_buf_free(&payload);
    kv_buf_free(&reply);
    return rc;
}

static int prove_copy(const char *path, const struct kv_backup_keyring *keyring,
                      struct kv_backup_proof *out, struct kv_err *err)
{
    struct kv_copy *copy = NULL;
    int rc = 0;
    KV_TRY(kv_copy_open(&copy, path, err));
    KV_TRY(compare_counts(copy, &out->counts, err));
    rc = prove_rows(copy, keyring, out, err);
out:
    kv_copy_close(copy);
    return rc;
}

int kv_backup_prove(const struct kv_backup_job *job,
                    const struct kv_backup_keyring *keyring,
                    struct kv_backup_proof *out, struct kv_err *err)
{
    int rc = 0;
    struct stat info;
    uint8_t key[KV_BACKUP_KEY_LEN];
    struct kv_backup_job reading = *job;
    reading.file_key = key;
    memset(out, 0, sizeof(*out));
    KV_TRY(open_file_key(job, keyring, out, key, err));
    KV_TRY(kv_backup_read(&reading, &out->counts, out->digest, err));
    rc = prove_copy(job->to, keyring, out, err);
    if (rc != 0)
        (void)unlink(job->to); /* the first error counts */
    else if (stat(job->from, &info) == 0)
        out->file_bytes = (uint64_t)info.st_size;
out:
    kv_wipe(key, sizeof(key));
    return rc;
}
