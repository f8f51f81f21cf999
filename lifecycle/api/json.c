/*
 * JSON bodies: parsing with limits, and members read with clear complaints.
 *
 * jansson recurses as deep as the text nests, so nesting is counted before parsing.
 * Values may be secrets: messages name fields and never quote values.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "lifecycle/auth/jose.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

int kv_json_parse(const uint8_t *data, size_t len, json_t **out, struct kv_err *err)
{
    json_error_t error;
    if (len == 0)
        return kv_err_set(err, KV_E_INVALID, "api.no-body",
                          "Request body not specified");
    if (kv_json_depth(data, len) > KV_JSON_DEPTH_MAX)
        return kv_err_set(err, KV_E_INVALID, "api.bad-body",
                          "the request body nests deeper than %d levels",
                          KV_JSON_DEPTH_MAX);
    size_t n_failures = kv_wiping_failures();
    json_t *value = json_loadb((const char *)data, len, JSON_REJECT_DUPLICATES, &error);
    if (kv_wiping_failures() != n_failures) { /* jansson cuts what it cannot store */
        json_decref(value);
        return KV_E_NOMEM;
    }
    if (json_is_object(value)) {
        *out = value;
        return 0;
    }
    bool is_json = value != NULL;
    json_decref(value);
    if (!is_json &&
        (error.text[0] == '\0' || json_error_code(&error) == json_error_out_of_memory))
        return KV_E_NOMEM;
    if (is_json)
        return kv_err_set(err, KV_E_INVALID, "api.bad-body",
                          "the request body is not a JSON object");
    return kv_err_set(err, KV_E_INVALID, "api.bad-body",
                      "the request body is not valid JSON (line %d, column %d)",
                      error.line, error.column);
}

bool kv_json_is_media_type(const char *type)
{
    static const char json[] = "application/json";
    char name[sizeof(json) + 1];
    if (type == NULL)
        return true;
    kv_str_cut(name, sizeof(name), type, strcspn(type, "; \t"));
    return kv_str_equal_nocase(name, json);
}

static int wrong_type(const char *field, const char *type, struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "api.bad-field", "the member '%s' must be %s",
                      field, type);
}

/* The member, or NULL with *rc 0 (absent) or a failure. */
static json_t *member(const json_t *object, const char *field, enum kv_presence need,
                      int *rc, struct kv_err *err)
{
    json_t *value = json_object_get(object, field);
    *rc = 0;
    if (value != NULL && !json_is_null(value))
        return value;
    if (need == KV_REQUIRED)
        *rc = kv_err_set(err, KV_E_INVALID, "api.missing-field",
                         "the member '%s' is required", field);
    return NULL;
}

int kv_json_string(const json_t *object, const char *field, enum kv_presence need,
                   const char **out, struct kv_err *err)
{
    int rc = 0;
    json_t *value = member(object, field, need, &rc, err);
    if (value == NULL)
        return rc;
    if (!json_is_string(value))
        return wrong_type(field, "a string", err);
    *out = json_string_value(value);
    return 0;
}

int kv_json_bool(const json_t *object, const char *field, bool *out, struct kv_err *err)
{
    int rc = 0;
    json_t *value = member(object, field, KV_OPTIONAL, &rc, err);
    if (value == NULL)
        return rc;
    if (!json_is_boolean(value))
        return wrong_type(field, "true or false", err);
    *out = json_is_true(value);
    return 0;
}

int kv_json_integer(const json_t *object, const char *field, int64_t *out,
                    struct kv_err *err)
{
    int rc = 0;
    json_t *value = member(object, field, KV_OPTIONAL, &rc, err);
    if (value == NULL)
        return rc;
    if (!json_is_integer(value))
        return wrong_type(field, "a whole number", err);
    *out = json_integer_value(value);
    return 0;
}

int kv_json_object(const json_t *object, const char *field, enum kv_presence need,
                   const json_t **out, struct kv_err *err)
{
    int rc = 0;
    json_t *value = member(object, field, need, &rc, err);
    if (value == NULL)
        return rc;
    if (!json_is_object(value))
        return wrong_type(field, "an object", err);
    *out = value;
    return 0;
}

int kv_json_bytes(const json_t *object, const char *field, enum kv_presence need,
                  struct kv_buf *out, struct kv_err *err)
{
    const char *text = NULL;
    int rc = kv_json_string(object, field, need, &text, err);
    if (rc != 0 || text == NULL)
        return rc;
    rc = kv_b64_decode(KV_B64_URL, text, strlen(text), out);
    if (rc == KV_E_TOO_BIG)
        return kv_err_set(err, KV_E_TOO_BIG, "api.bad-field",
                          "the member '%s' is too long", field);
    if (rc != 0 && rc != KV_E_NOMEM)
        return wrong_type(field, "base64url text without padding", err);
    return rc;
}

json_t *kv_json_append(json_t *array, json_t *item)
{
    if (json_array_append_new(array, item) == 0)
        return array;
    json_decref(array);
    return NULL;
}

size_t kv_utf8_count(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        if (((uint8_t)*text & 0xC0) != 0x80)
            n++;
    return n;
}

static int check_tags(const json_t *tags, struct kv_err *err)
{
    const char *name = NULL;
    json_t *value = NULL;
    if (json_object_size(tags) > KV_TAGS_MAX)
        return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                          "the member 'tags' has more than %d entries", KV_TAGS_MAX);
    json_object_foreach((json_t *)tags, name, value)
    {
        if (!json_is_string(value))
            return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                              "each value of 'tags' must be a string");
        if (name[0] == '\0' || kv_utf8_count(name) > KV_TAG_CHARS_MAX ||
            kv_utf8_count(json_string_value(value)) > KV_TAG_CHARS_MAX)
            return kv_err_set(err, KV_E_INVALID, "api.bad-field",
                              "names and values of 'tags' have at most %d characters, "
                              "names at least one",
                              KV_TAG_CHARS_MAX);
    }
    return 0;
}

/* Some SDKs cut dates behind 2038-01-19 to 32 bits: they arrive 2^32 too low. */
static int read_date(const json_t *object, const char *field, int64_t *out,
                     struct kv_err *err)
{
    int64_t at_s = 0;
    const json_t *value = json_object_get(object, field);
    if (value == NULL || json_is_null(value))
        return 0;
    int rc = kv_json_integer(object, field, &at_s, err);
    if (rc != 0)
        return rc;
    if (at_s < 0 && at_s >= INT32_MIN)
        at_s += INT64_C(1) << 32;
    if (at_s < 0 || at_s > INT64_C(253402300799)) /* 9999-12-31 */
        return wrong_type(field, "a date in Unix seconds", err);
    *out = at_s;
    return 0;
}

int kv_json_attrs(const json_t *body, struct kv_call_attrs *attrs, struct kv_err *err)
{
    const json_t *object = NULL;
    const json_t *tags = NULL;
    struct kv_call_attrs read = *attrs;
    int rc = 0;
    KV_TRY(kv_json_object(body, "attributes", KV_OPTIONAL, &object, err));
    KV_TRY(kv_json_bool(object, "enabled", &read.is_enabled, err));
    KV_TRY(read_date(object, "nbf", &read.nbf_s, err));
    KV_TRY(read_date(object, "exp", &read.exp_s, err));
    if (read.nbf_s != KV_TIME_NONE && read.exp_s != KV_TIME_NONE &&
        read.nbf_s > read.exp_s) {
        rc = kv_err_set(err, KV_E_INVALID, "api.bad-field",
                        "the member 'exp' must not lie before 'nbf'");
        goto out;
    }
    KV_TRY(kv_json_object(body, "tags", KV_OPTIONAL, &tags, err));
    KV_TRY(check_tags(tags, err));
    if (tags != NULL)
        read.tags = (json_t *)tags;
    *attrs = read;
out:
    return rc;
}
