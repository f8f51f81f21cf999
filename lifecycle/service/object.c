/*
 * Objects: a store row, its unsealed body, and the proof that both agree.
 *
 * The columns of a row can be edited by anyone who can write the database file; the
 * sealed body cannot. So the body repeats the columns, and every reader passes through
 * here, where one difference refuses the object.
 */
#include "lifecycle/service/internal.h"

#include <stdlib.h>
#include <string.h>

#include "store/core/secret.h"
#include "store/core/str.h"

int kv_object_set_row(struct kv_object *object, const struct kv_row *row)
{
    uint8_t *copy = NULL;
    if (row->sealed_len > 0) {
        copy = malloc(row->sealed_len);
        if (copy == NULL)
            return KV_E_NOMEM;
        memcpy(copy, row->sealed, row->sealed_len);
    }
    object->row = *row;
    object->row.sealed = copy;
    return 0;
}

void kv_object_free(struct kv_object *object)
{
    free((void *)object->row.sealed);
    json_decref(object->doc);
    free(object->info_bytes);
    memset(object, 0, sizeof(*object));
}

static json_t *time_json(int64_t at_s)
{
    return at_s == KV_TIME_NONE ? json_null() : json_integer(at_s);
}

static json_t *index_json(const struct kv_row *row)
{
    char current[2 * KV_ID_LEN + 1];
    kv_hex_encode(current, row->current, KV_ID_LEN);
    return json_pack("{s:I,s:s,s:I,s:I,s:o,s:o,s:o}", "flags", (json_int_t)row->flags,
                     "current", current, "created", (json_int_t)row->created_s,
                     "updated", (json_int_t)row->updated_s, "nbf",
                     time_json(row->nbf_s), "exp", time_json(row->exp_s), "next_at",
                     time_json(row->next_at_s));
}

static int append_text(const char *text, size_t len, void *out)
{
    return kv_buf_append(out, text, len);
}

int kv_json_write(const json_t *json, struct kv_buf *out)
{
    if (json != NULL && json_dump_callback(json, append_text, out, JSON_COMPACT) == 0)
        return 0;
    return kv_buf_status(out) != 0 ? kv_buf_status(out) : KV_E_NOMEM;
}

int kv_object_write_doc(const struct kv_row *row, json_t *doc, struct kv_buf *out)
{
    json_t *body = json_pack("{s:o,s:O}", "index", index_json(row), "doc", doc);
    int rc = kv_json_write(body, out);
    json_decref(body);
    return rc;
}

static int mismatch(const struct kv_object *object, struct kv_err *err)
{
    kv_err_set(err, KV_E_INTEGRITY, "object.index-mismatch",
               "the stored columns of the %s '%s' differ from its sealed body",
               kv_kind_name(object->row.key.kind), object->row.key.name);
    kv_err_hint(err, "the database was edited or damaged: restore it from a backup");
    return KV_E_INTEGRITY;
}

int kv_object_read_doc(struct kv_object *object, struct kv_bytes body,
                       struct kv_err *err)
{
    size_t n_failures = kv_wiping_failures();
    json_t *index = NULL;
    json_t *text =
        json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *doc = json_object_get(text, "doc");
    int rc = 0;
    if (kv_wiping_failures() != n_failures) { /* jansson cuts what it cannot store */
        rc = KV_E_NOMEM;
        goto out;
    }
    if (!json_is_object(doc)) {
        rc = kv_err_set(err, KV_E_INTEGRITY, "object.bad-body",
                        "the sealed body of the %s '%s' is not a document",
                        kv_kind_name(object->row.key.kind), object->row.key.name);
        goto out;
    }
    index = index_json(&object->row);
    if (index == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    if (!json_equal(index, json_object_get(text, "index"))) {
        rc = mismatch(object, err);
        goto out;
    }
    json_decref(object->doc);
    object->doc = json_incref(doc);
out:
    json_decref(index);
    json_decref(text);
    return rc;
}

static bool key_matches(const struct kv_row *row, const struct kv_key_attrs *attrs)
{
    uint32_t flags = (attrs->is_enabled ? KV_ROW_ENABLED : 0U) |
                     (attrs->is_managed ? KV_ROW_MANAGED : 0U);
    return (row->flags & (KV_ROW_ENABLED | KV_ROW_MANAGED)) == flags &&
           row->nbf_s == attrs->nbf_s && row->exp_s == attrs->exp_s &&
           row->created_s == attrs->created_s && row->updated_s == attrs->updated_s;
}

int kv_object_read_info(struct kv_object *object, const struct kv_key_info *info,
                        struct kv_err *err)
{
    if (!key_matches(&object->row, &info->attrs))
        return mismatch(object, err);
    uint8_t *bytes = malloc(info->spki.len + info->attrs.app.len + 1);
    if (bytes == NULL)
        return KV_E_NOMEM;
    free(object->info_bytes);
    object->info = *info;
    object->info_bytes = bytes;
    if (info->spki.len > 0)
        memcpy(bytes, info->spki.data, info->spki.len);
    object->info.spki.data = bytes;
    bytes += info->spki.len;
    if (info->attrs.app.len > 0)
        memcpy(bytes, info->attrs.app.data, info->attrs.app.len);
    object->info.attrs.app.data = bytes;
    return 0;
}

void kv_row_set_key(struct kv_row *row, const struct kv_key_info *info)
{
    const struct kv_key_attrs *attrs = &info->attrs;
    row->flags &= ~(uint32_t)(KV_ROW_ENABLED | KV_ROW_MANAGED);
    row->flags |= (attrs->is_enabled ? KV_ROW_ENABLED : 0U) |
                  (attrs->is_managed ? KV_ROW_MANAGED : 0U);
    row->created_s = attrs->created_s;
    row->updated_s = attrs->updated_s;
    row->nbf_s = attrs->nbf_s;
    row->exp_s = attrs->exp_s;
}

int kv_key_app_write(json_t *tags, struct kv_buf *out)
{
    if (tags == NULL || json_object_size(tags) == 0)
        return 0;
    json_t *app = json_pack("{s:O}", "tags", tags);
    int rc = kv_json_write(app, out);
    json_decref(app);
    return rc;
}
