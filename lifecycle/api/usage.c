/*
 * What was done with the keys of a vault: the keyring's counters, page after page, for
 * callers who may read role assignments.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/str.h"

struct listing {
    struct kv_role_usage_ask ask;
    json_t *items;
    struct kv_role_usage page;
};

static void listing_free(void *data)
{
    struct listing *listing = data;
    json_decref(listing->items);
    free(listing);
}

/* The time below which `percent` of all operations were done, from the histogram; null
 * without any, and when it is longer than the buckets tell. */
static json_t *percentile(const struct kv_usage_counts *counts, unsigned percent)
{
    uint64_t n_all = 0;
    uint64_t n_below = 0;
    for (size_t i = 0; i < KV_USAGE_BUCKETS; i++)
        n_all += counts->bucket[i];
    for (unsigned i = 0; n_all > 0 && i + 1 < KV_USAGE_BUCKETS; i++) {
        n_below += counts->bucket[i];
        if (n_below * 100 >= n_all * percent)
            return json_integer((json_int_t)1 << i);
    }
    return json_null();
}

static json_t *histogram(const struct kv_usage_counts *counts)
{
    json_t *array = json_array();
    for (size_t i = 0; i < KV_USAGE_BUCKETS; i++)
        array = kv_json_append(array, json_integer((json_int_t)counts->bucket[i]));
    return array;
}

static json_t *operations(const struct kv_usage_counts *counts)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "sign",
                     (json_int_t)counts->uses[KV_USE_SIGN], "verify",
                     (json_int_t)counts->uses[KV_USE_VERIFY], "encrypt",
                     (json_int_t)counts->uses[KV_USE_ENCRYPT], "decrypt",
                     (json_int_t)counts->uses[KV_USE_DECRYPT], "derive",
                     (json_int_t)counts->uses[KV_USE_DERIVE]);
}

static json_t *row_json(const struct kv_role_usage_row *row)
{
    char version[2 * KV_ID_LEN + 1];
    const struct kv_usage_counts *counts = &row->counts;
    kv_hex_encode(version, row->version, KV_ID_LEN);
    return json_pack("{s:s,s:s,s:s,s:s,s:i,s:I,s:o,s:I,s:I,s:o,s:o,s:o}", "name",
                     row->name, "version", version, "kty", kv_kty_name(row->kty), "crv",
                     row->curve != KV_CURVE_NONE ? kv_curve_name(row->curve) : "",
                     "bits", row->bits, "since", (json_int_t)row->since_s, "operations",
                     operations(counts), "errors", (json_int_t)counts->errors,
                     "prepared", (json_int_t)counts->prepared, "p50Us",
                     percentile(counts, 50), "p99Us", percentile(counts, 99),
                     "histogramUs", histogram(counts));
}

static void ask_page(struct kv_task *task);

static void on_page(struct kv_task *task)
{
    struct kv_call *call = kv_call_of(task);
    struct listing *listing = call->data;
    if (kv_role_usage_get(task->payload, &listing->page) != 0) {
        kv_task_fail(task, KV_E_INTERNAL, NULL);
        return;
    }
    for (uint16_t i = 0; i < listing->page.n; i++)
        listing->items =
            kv_json_append(listing->items, row_json(&listing->page.row[i]));
    listing->ask.from = listing->page.next;
    if (listing->ask.from != 0) {
        ask_page(task);
        return;
    }
    json_t *items = listing->items;
    listing->items = NULL;
    kv_call_reply(call, 200, json_pack("{s:o,s:n}", "value", items, "nextLink"));
}

static void ask_page(struct kv_task *task)
{
    struct kv_buf payload;
    const struct listing *listing = kv_call_of(task)->data;
    kv_buf_init(&payload, 1024);
    kv_role_usage_ask_put(&payload, &listing->ask);
    kv_task_keyring(task, KV_ROLE_USAGE, &payload, on_page);
}

void kv_admin_usage(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    char name[KV_NAME_MAX + 1];
    const struct kv_access_object vault = {.vault = call->task.vault->name};
    int rc = kv_call_check_management(call, &vault, KV_MANAGE_ACCESS_READ, &err);
    if (rc != 0) {
        kv_call_fail(&call->task, rc, &err);
        return;
    }
    struct listing *listing = calloc(1, sizeof(*listing));
    if (listing == NULL) {
        kv_call_fail(&call->task, KV_E_NOMEM, NULL);
        return;
    }
    call->data = listing;
    call->data_free = listing_free;
    listing->items = json_array();
    memcpy(listing->ask.vault, call->task.vault->id, KV_ID_LEN);
    if (kv_call_query(call, "name", name, sizeof(name))) {
        if (!kv_name_is_valid(name, strlen(name))) {
            rc = kv_err_set(&err, KV_E_INVALID, "api.bad-query",
                            "'name' is not the name of a key");
            kv_call_fail(&call->task, rc, &err);
            return;
        }
        kv_str_fold(name);
        memcpy(listing->ask.name, name, sizeof(name));
    }
    ask_page(&call->task);
}
