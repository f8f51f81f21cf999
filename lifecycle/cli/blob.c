/*
 * keyvault key|secret|cert backup and restore: one object with all its versions, in a
 * file that only the vault can read. The file has the bytes of the blob, as the API's
 * base64url text says them.
 */
#include <string.h>

#include "lifecycle/cli/http.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/noun.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "store/core/b64.h"

/* Write the blob that a reply brings. */
static int write_blob(const struct kv_cli *cli, const json_t *reply, struct kv_err *err)
{
    const char *text = kv_json_text(reply, "value");
    struct kv_buf blob;
    int rc = 0;
    kv_buf_init(&blob, KV_CLIENT_REPLY_MAX);
    rc = kv_b64_decode(KV_B64_URL, text, strlen(text), &blob);
    if (rc == 0 && blob.len == 0)
        rc = KV_E_INVALID;
    if (rc == KV_E_INVALID)
        rc = kv_err_set(err, KV_E_INTERNAL, "cli.bad-reply",
                        "the service's answer has no backup in it");
    if (rc == 0)
        rc = kv_io_write(kv_cli_flag(cli, "out"), blob.data, blob.len, err);
    kv_buf_free(&blob);
    return rc;
}

int kv_backup_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    json_t *reply = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_rest_object_path(path, kv_noun_of(cli)->collection, name, "backup"));
    KV_TRY(kv_rest_call(cli, "POST", path, NULL, &reply, err));
    if (cli->invocation.as_json && kv_cli_flag(cli, "out") == NULL)
        rc = kv_cli_print_json(reply, err);
    else
        rc = write_blob(cli, reply, err);
out:
    json_decref(reply);
    return rc;
}

/* The request that carries the bytes of a file. */
static int read_blob(const char *file, json_t **body, struct kv_err *err)
{
    struct kv_buf blob;
    struct kv_buf text;
    int rc = 0;
    kv_buf_init(&blob, (size_t)KV_CLIENT_REPLY_MAX / 4 * 3);
    kv_buf_init(&text, KV_CLIENT_REPLY_MAX);
    KV_TRY(kv_io_read(file, &blob, err));
    KV_TRY(kv_b64_encode(KV_B64_URL, blob.data, blob.len, &text));
    *body =
        json_pack("{s:o}", "value", json_stringn((const char *)text.data, text.len));
    rc = *body != NULL ? 0 : KV_E_NOMEM;
out:
    kv_buf_free(&blob);
    kv_buf_free(&text);
    return rc;
}

int kv_restore_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *body = NULL;
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(read_blob(cli->invocation.args[0], &body, err));
    KV_TRY(kv_rest_object_path(path, kv_noun_of(cli)->collection, "restore", ""));
    KV_TRY(kv_rest_call(cli, "POST", path, body, &bundle, err));
    KV_TRY(kv_noun_print(cli, bundle, err));
out:
    json_decref(bundle);
    json_decref(body);
    return rc;
}
