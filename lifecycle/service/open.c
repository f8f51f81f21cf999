/*
 * Unseal many objects with few frames.
 *
 * Documents go to UNSEAL, keys to KEY_INFO, both in chunks of at most KV_BATCH_MAX
 * rows and KV_CHUNK_BYTES_MAX bytes. A row that does not open gets its own status:
 * one damaged object hides nothing but itself.
 *
 *   next chunk --> call --> read each row --+--> next chunk ... --> callback
 */
#include "lifecycle/service/internal.h"

#include <stdlib.h>
#include <string.h>

#include "lifecycle/service/keyring.h"

struct open {
    struct kv_open_request request;
    size_t at; /* objects before this one are done or in the chunk */
    bool is_keys;
    size_t n_chunk;
    size_t chunk[KV_BATCH_MAX]; /* indexes of the objects asked about */
};

static void finish(struct open *open, int rc, const struct kv_err *err)
{
    struct kv_open_request request = open->request;
    free(open);
    request.cb(request.arg, rc, err);
}

static void set_status(struct open *open, size_t i, int rc, const struct kv_err *err)
{
    struct kv_err *first = open->request.first_err;
    open->request.status[i] = rc;
    if (rc != 0 && first != NULL && first->code == 0)
        *first = *err;
}

/* Only heads have no body, and a vault key's is not sealed under a vault key. */
static bool is_sealed_kind(const struct kv_row_key *key)
{
    if (key->kind == KV_KIND_VAULT_KEY)
        return false;
    return !kv_kind_has_versions(key->kind) || !kv_id_is_zero(key->version);
}

/* Columns without the body that vouches for them prove nothing. */
static void set_bodiless(struct open *open, size_t i)
{
    const struct kv_row_key *key = &open->request.objects[i].row.key;
    struct kv_err err = KV_ERR_INIT;
    kv_err_set(&err, KV_E_INTEGRITY, "object.bad-body",
               "the stored %s '%s' has no sealed body", kv_kind_name(key->kind),
               key->name);
    set_status(open, i, KV_E_INTEGRITY, &err);
}

/* What is left of a vault that is being purged is no damage, and cannot be opened. */
static bool is_erased(const struct open *open, const struct kv_row *row)
{
    const struct kv_vault *vault =
        kv_service_vault_of_row(open->request.service, row->key.vault);
    return vault != NULL && vault->state == KV_VAULT_PURGING;
}

/* Gather the next rows of one sort; false when nothing is left. */
static bool next_chunk(struct open *open)
{
    size_t bytes = 0;
    open->n_chunk = 0;
    for (; open->at < open->request.n && open->n_chunk < KV_BATCH_MAX; open->at++) {
        const struct kv_row *row = &open->request.objects[open->at].row;
        bool is_key = row->key.kind == KV_KIND_KEY;
        if (!is_sealed_kind(&row->key))
            continue;
        if (is_erased(open, row)) {
            open->request.status[open->at] = KV_E_NOT_FOUND;
            continue;
        }
        if (row->sealed_len == 0) {
            set_bodiless(open, open->at);
            continue;
        }
        if (open->n_chunk > 0 &&
            (is_key != open->is_keys || bytes + row->sealed_len > KV_CHUNK_BYTES_MAX))
            break;
        open->is_keys = is_key;
        bytes += row->sealed_len;
        open->chunk[open->n_chunk++] = open->at;
    }
    return open->n_chunk > 0;
}

static void damaged(const struct kv_object *object, int status, struct kv_err *err)
{
    kv_err_set(err, status, "object.unseal-failed",
               "the %s '%s' cannot be unsealed: %s", kv_kind_name(object->row.key.kind),
               object->row.key.name, kv_code_text(status));
}

static int read_infos(struct open *open, struct kv_bytes payload)
{
    struct kv_role_infos *infos = calloc(1, sizeof(*infos));
    if (infos == NULL)
        return KV_E_NOMEM;
    int rc = kv_role_infos_get(payload, infos);
    if (rc == 0 && infos->n != open->n_chunk)
        rc = KV_E_INVALID;
    for (size_t i = 0; rc == 0 && i < open->n_chunk; i++) {
        struct kv_object *object = &open->request.objects[open->chunk[i]];
        struct kv_err err = KV_ERR_INIT;
        int status = infos->row[i].status;
        if (status == 0)
            status = kv_object_read_info(object, &infos->row[i].info, &err);
        else
            damaged(object, status, &err);
        set_status(open, open->chunk[i], status, &err);
        rc = status == KV_E_NOMEM ? status : 0; /* nothing is wrong with the row */
    }
    free(infos);
    return rc;
}

static int read_bodies(struct open *open, struct kv_bytes payload)
{
    struct kv_role_rows *rows = calloc(1, sizeof(*rows));
    if (rows == NULL)
        return KV_E_NOMEM;
    int rc = kv_role_rows_get(payload, rows);
    if (rc == 0 && rows->n != open->n_chunk)
        rc = KV_E_INVALID;
    for (size_t i = 0; rc == 0 && i < open->n_chunk; i++) {
        struct kv_object *object = &open->request.objects[open->chunk[i]];
        struct kv_err err = KV_ERR_INIT;
        int status = rows->row[i].status;
        if (status == 0)
            status = kv_object_read_doc(object, rows->row[i].body, &err);
        else
            damaged(object, status, &err);
        set_status(open, open->chunk[i], status, &err);
        rc = status == KV_E_NOMEM ? status : 0; /* nothing is wrong with the row */
    }
    free(rows);
    return rc;
}

static int send_chunk(struct open *open);

static void on_opened(void *arg, int rc, struct kv_bytes payload,
                      const struct kv_err *err)
{
    struct open *open = arg;
    struct kv_err local = KV_ERR_INIT;
    if (rc == 0) {
        rc = open->is_keys ? read_infos(open, payload) : read_bodies(open, payload);
        if (rc != 0 && rc != KV_E_NOMEM)
            rc = kv_err_set(&local, KV_E_INTERNAL, "keyring.bad-reply",
                            "the keyring's answer cannot be read");
        err = &local;
    }
    if (rc == 0 && next_chunk(open)) {
        rc = send_chunk(open);
        if (rc == 0)
            return;
        kv_err_set(&local, rc, "keyring.call-failed", "the keyring cannot be asked: %s",
                   kv_code_text(rc));
    }
    finish(open, rc, err);
}

static int send_chunk(struct open *open)
{
    struct kv_buf payload;
    kv_buf_init(&payload, KV_FRAME_MAX_ROLE);
    struct kv_role_rows *rows = calloc(1, sizeof(*rows));
    int rc = KV_E_NOMEM;
    if (rows == NULL)
        goto out;
    rows->n = (uint16_t)open->n_chunk;
    for (size_t i = 0; i < open->n_chunk; i++) {
        const struct kv_row *row = &open->request.objects[open->chunk[i]].row;
        kv_row_ident(row, &rows->row[i].ident);
        rows->row[i].body = (struct kv_bytes){row->sealed, row->sealed_len};
    }
    kv_role_rows_put(&payload, rows);
    KV_TRY(kv_buf_status(&payload));
    rc = kv_keyring_call(open->request.service->keyring,
                         open->is_keys ? KV_ROLE_KEY_INFO : KV_ROLE_UNSEAL, &payload,
                         on_opened, open);
out:
    free(rows);
    kv_buf_free(&payload);
    return rc;
}

int kv_object_open(const struct kv_open_request *request)
{
    struct open *open = calloc(1, sizeof(*open));
    if (open == NULL)
        return KV_E_NOMEM;
    open->request = *request;
    if (!next_chunk(open)) {
        finish(open, 0, NULL);
        return 0;
    }
    int rc = send_chunk(open);
    if (rc != 0)
        free(open);
    return rc;
}
