/*
 * Random bytes from libcrypto's generator for private numbers.
 */
#include <openssl/rand.h>

#include "lifecycle/api/internal.h"
#include "store/core/b64.h"
#include "store/core/clock.h"
#include "store/core/secret.h"

#define BYTES_MAX 128

static json_t *bytes_json(const uint8_t *bytes, size_t len)
{
    struct kv_buf text;
    kv_buf_init_secret(&text, 1024);
    const char *value =
        kv_b64_encode(KV_B64_URL, bytes, len, &text) == 0 ? kv_buf_cstr(&text) : NULL;
    json_t *json = value != NULL ? json_pack("{s:s}", "value", value) : NULL;
    kv_buf_free(&text);
    return json;
}

static void get_random(struct kv_call *call)
{
    struct kv_err err = KV_ERR_INIT;
    uint8_t bytes[BYTES_MAX];
    int64_t count = 0;
    int rc = kv_json_integer(call->body, "count", &count, &err);
    if (rc == 0 && (count < 1 || count > BYTES_MAX))
        rc = kv_err_set(&err, KV_E_INVALID, "api.bad-field",
                        "the member 'count' must be a number from 1 to 128");
    if (rc == 0)
        rc = kv_rand_fill(kv_rand_system(), bytes, (size_t)count);
    if (rc != 0) {
        kv_task_fail(&call->task, rc, &err);
        return;
    }
    json_t *json = bytes_json(bytes, (size_t)count);
    kv_wipe(bytes, sizeof(bytes));
    kv_call_reply(call, 200, json);
}

const struct kv_route kv_routes_random[] = {
    {"POST", "/rng", "getRandomBytes", KV_ACT_KEY_LIST, true, get_random},
    {NULL, NULL, NULL, 0, false, NULL},
};
