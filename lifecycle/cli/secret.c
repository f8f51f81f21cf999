/*
 * keyvault secret set | get, and what a secret looks like.
 *
 * A secret is text. Bytes that are no UTF-8 are stored as base64 with the tag
 * file-encoding=base64, as other command lines of the contract do it, and come back
 * as bytes.
 */
#include <string.h>

#include "lifecycle/cli/attributes.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/noun.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/secret.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define SECRET_MAX 25600
#define ENCODING_TAG "file-encoding"

/* --- set -------------------------------------------------------------------------- */

static int ask_value(struct kv_buf *out, struct kv_err *err)
{
    struct kv_buf again;
    kv_buf_init_secret(&again, SECRET_MAX);
    int rc = 0;
    KV_TRY(kv_io_prompt("Secret", out, err));
    KV_TRY(kv_io_prompt("Secret, once more", &again, err));
    if (again.len != out->len ||
        (out->len > 0 && !kv_equal_ct(again.data, out->data, out->len)))
        rc = kv_err_set(err, KV_E_INVALID, "cli.input", "the two are not the same");
out:
    kv_buf_free(&again);
    return rc;
}

static int read_value(const struct kv_cli *cli, struct kv_buf *out, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "file");
    const char *value = kv_cli_flag(cli, "value");
    if (file != NULL && value != NULL)
        return kv_cli_bad(err, "--file and --value exclude each other");
    if (file != NULL)
        return kv_io_read(file, out, err);
    if (value == NULL)
        return ask_value(out, err);
    (void)fputs("keyvault: warning: ps and the shell's history show what stands behind "
                "--value; use --file - instead\n",
                stderr);
    int rc = kv_buf_append_str(out, value);
    return rc != KV_E_TOO_BIG ? rc
                              : kv_err_set(err, rc, "cli.input-too-big",
                                           "a secret has at most %d bytes", SECRET_MAX);
}

static int set_encoding_tag(json_t *body)
{
    json_t *tags = json_object_get(body, "tags");
    if (tags == NULL) {
        tags = json_object();
        if (json_object_set_new(body, "tags", tags) != 0)
            return KV_E_NOMEM;
    }
    return json_object_set_new(tags, ENCODING_TAG, json_string("base64")) == 0
               ? 0
               : KV_E_NOMEM;
}

static int set_value(json_t *body, const struct kv_buf *value, bool as_base64,
                     struct kv_err *err)
{
    const char *text = value->len > 0 ? (const char *)value->data : "";
    struct kv_buf encoded;
    kv_buf_init_secret(&encoded, 2 * (size_t)SECRET_MAX);
    json_t *json = NULL;
    int rc = 0;
    if (as_base64) {
        KV_TRY(kv_b64_encode(KV_B64_STD, text, value->len, &encoded));
        json = json_stringn((const char *)encoded.data, encoded.len);
        KV_TRY(set_encoding_tag(body));
    } else if (!kv_utf8_is_valid(text, value->len)) {
        (void)kv_err_set(err, KV_E_INVALID, "cli.not-text",
                         "the secret is no UTF-8 text");
        kv_err_hint(err, "--encoding base64 stores any bytes, up to 19,200 of them");
        rc = KV_E_INVALID;
        goto out;
    } else {
        json = json_stringn(text, value->len);
    }
    rc = json_object_set(body, "value", json) == 0 ? 0 : KV_E_NOMEM;
out:
    json_decref(json);
    kv_buf_free(&encoded);
    return rc;
}

static int read_encoding(const struct kv_cli *cli, bool *as_base64, struct kv_err *err)
{
    const char *encoding = kv_cli_flag(cli, "encoding");
    *as_base64 = encoding != NULL && strcmp(encoding, "base64") == 0;
    if (encoding != NULL && !*as_base64 && strcmp(encoding, "utf-8") != 0)
        return kv_cli_bad(err, "--encoding is utf-8 or base64, not '%s'", encoding);
    return 0;
}

int kv_secret_read_type(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *type = kv_cli_flag(cli, "content-type");
    if (type == NULL)
        return 0;
    json_t *json = json_string(type);
    if (json == NULL)
        return kv_cli_bad(err, "--content-type is no UTF-8 text");
    return json_object_set_new(body, "contentType", json) == 0 ? 0 : KV_E_NOMEM;
}

int kv_secret_print(const json_t *bundle, struct kv_err *err)
{
    (void)err;
    kv_object_print_common(bundle);
    kv_object_print_field("content type", kv_json_text(bundle, "contentType"));
    return 0;
}

static int set_body(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    bool as_base64 = false;
    struct kv_buf value;
    kv_buf_init_secret(&value, SECRET_MAX);
    int rc = 0;
    KV_TRY(read_encoding(cli, &as_base64, err));
    KV_TRY(kv_attributes_read(cli, body, err));
    KV_TRY(kv_secret_read_type(cli, body, err));
    KV_TRY(read_value(cli, &value, err));
    KV_TRY(set_value(body, &value, as_base64, err));
out:
    kv_buf_free(&value);
    return rc;
}

int kv_secret_set_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    json_t *body = json_object();
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(set_body(cli, body, err));
    KV_TRY(kv_rest_object_path(path, "secrets", name, ""));
    KV_TRY(kv_rest_call(cli, "PUT", path, body, &bundle, err));
    KV_TRY(kv_noun_print(cli, bundle, err));
out:
    json_decref(bundle);
    json_decref(body);
    return rc;
}

/* --- get -------------------------------------------------------------------------- */

static int write_value(struct kv_cli *cli, const json_t *bundle, struct kv_err *err)
{
    const char *text = kv_json_text(bundle, "value");
    size_t len = json_string_length(json_object_get(bundle, "value"));
    const char *encoding = kv_json_text(json_object_get(bundle, "tags"), ENCODING_TAG);
    struct kv_buf bytes;
    kv_buf_init_secret(&bytes, 2 * (size_t)SECRET_MAX);
    int rc = 0;
    if (strcmp(encoding, "base64") != 0) {
        rc = kv_io_write(kv_cli_flag(cli, "out"), text, len, err);
    } else if (kv_b64_decode(KV_B64_STD, text, len, &bytes) == 0) {
        rc = kv_io_write(kv_cli_flag(cli, "out"), bytes.data, bytes.len, err);
    } else {
        (void)kv_err_set(err, KV_E_INVALID, "cli.not-base64",
                         "the secret is tagged " ENCODING_TAG
                         "=base64 but is no base64");
        kv_err_hint(err, "--json shows it as it is");
        rc = KV_E_INVALID;
    }
    kv_buf_free(&bytes);
    return rc;
}

int kv_secret_get_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *bundle = NULL;
    int rc = kv_object_get(cli, "secrets", &bundle, err);
    if (rc == 0)
        rc = cli->invocation.as_json ? kv_cli_print_json(bundle, err)
                                     : write_value(cli, bundle, err);
    json_decref(bundle);
    return rc;
}
