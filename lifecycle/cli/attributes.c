/*
 * Flags to `attributes` and `tags`. Commands take different ones of them: those that a
 * command does not have are as if they were not given.
 */
#include "lifecycle/cli/attributes.h"

#include <string.h>
#include <time.h>

#include "store/core/str.h"

#define TAG_NAME_MAX 1024

/* The value of a flag; NULL too when the command has no such flag. */
static const char *flag_of(const struct kv_cli *cli, const char *name)
{
    return kv_invocation_takes(&cli->invocation, name) ? kv_cli_flag(cli, name) : NULL;
}

bool kv_attributes_time(const char *text, int64_t *seconds)
{
    if (kv_str_to_i64(text, 1, INT64_C(253402300799), seconds) == 0)
        return true;
    static const char *const formats[] = {"%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"};
    for (size_t i = 0; i < 2; i++) {
        struct tm parts = {0};
        const char *end = strptime(text, formats[i], &parts);
        if (end == NULL || *end != '\0')
            continue;
        struct tm normal = parts;
        time_t when = timegm(&normal);
        /* timegm turns 31 February into March. */
        *seconds = (int64_t)when;
        return normal.tm_mday == parts.tm_mday && normal.tm_mon == parts.tm_mon;
    }
    return false;
}

static int set_time(const struct kv_cli *cli, const char *flag, json_t *attributes,
                    const char *member, struct kv_err *err)
{
    const char *text = flag_of(cli, flag);
    int64_t seconds = 0;
    if (text == NULL)
        return 0;
    if (!kv_attributes_time(text, &seconds))
        return kv_cli_bad(err,
                          "--%s wants YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ or Unix "
                          "seconds, not '%s'",
                          flag, text);
    return json_object_set_new(attributes, member, json_integer(seconds)) == 0
               ? 0
               : KV_E_NOMEM;
}

static int set_enabled(const struct kv_cli *cli, json_t *attributes, struct kv_err *err)
{
    bool is_enabled = flag_of(cli, "enabled") != NULL;
    bool is_disabled = flag_of(cli, "disabled") != NULL;
    if (is_enabled && is_disabled)
        return kv_cli_bad(err, "--enabled and --disabled exclude each other");
    if (!is_enabled && !is_disabled)
        return 0;
    return json_object_set_new(attributes, "enabled", json_boolean(is_enabled)) == 0
               ? 0
               : KV_E_NOMEM;
}

/* --- tags --------------------------------------------------------------------------
 */

/* Add the tag of `len` bytes NAME=VALUE. */
static int add_tag(json_t *tags, const char *flag, const char *pair, size_t len,
                   struct kv_err *err)
{
    const char *equals = memchr(pair, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - pair) : 0;
    if (name_len == 0)
        return kv_cli_bad(err, "--%s wants NAME=VALUE, not '%.*s'", flag, (int)len,
                          pair);
    char name[TAG_NAME_MAX];
    if (name_len >= sizeof(name))
        return kv_cli_bad(err, "a tag's name is too long");
    kv_str_cut(name, sizeof(name), pair, name_len);
    json_t *value = json_stringn(equals + 1, len - name_len - 1);
    if (value == NULL || !kv_utf8_is_valid(name, name_len)) {
        json_decref(value);
        return kv_cli_bad(err, "a tag is no UTF-8 text");
    }
    return json_object_set_new(tags, name, value) == 0 ? 0 : KV_E_NOMEM;
}

/* "a=b,c=d" */
static int add_list(json_t *tags, const char *text, struct kv_err *err)
{
    int rc = 0;
    while (rc == 0 && *text != '\0') {
        size_t len = strcspn(text, ",");
        rc = add_tag(tags, "tags", text, len, err);
        text += len + (text[len] == ',' ? 1 : 0);
    }
    return rc;
}

static int read_tags(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *list = flag_of(cli, "tags");
    const char *one = flag_of(cli, "tag");
    bool has_none = flag_of(cli, "no-tags") != NULL;
    json_t *tags = NULL;
    int rc = 0;
    if (list == NULL && one == NULL && !has_none)
        return 0;
    if (has_none && (list != NULL || one != NULL))
        return kv_cli_bad(err, "--no-tags excludes --tag and --tags");
    tags = json_object();
    if (list != NULL)
        KV_TRY(add_list(tags, list, err));
    for (size_t i = 1; one != NULL; i++) {
        KV_TRY(add_tag(tags, "tag", one, strlen(one), err));
        one = kv_invocation_flag_at(&cli->invocation, "tag", i);
    }
    KV_TRY(json_object_set(body, "tags", tags) == 0 ? 0 : KV_E_NOMEM);
out:
    json_decref(tags);
    return rc;
}

int kv_attributes_read(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    json_t *attributes = json_object();
    int rc = 0;
    KV_TRY(set_time(cli, "expires", attributes, "exp", err));
    KV_TRY(set_time(cli, "not-before", attributes, "nbf", err));
    KV_TRY(set_enabled(cli, attributes, err));
    if (json_object_size(attributes) > 0 &&
        json_object_set(body, "attributes", attributes) != 0)
        rc = KV_E_NOMEM;
    if (rc == 0)
        rc = read_tags(cli, body, err);
out:
    json_decref(attributes);
    return rc;
}
