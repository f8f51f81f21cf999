/*
 * keyvault key random: bytes of the vault's generator.
 */
#include <string.h>

#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "store/core/b64.h"

#define BYTES_MAX 128

static int write_bytes(const struct kv_cli *cli, const json_t *reply,
                       struct kv_err *err)
{
    const char *text = kv_json_text(reply, "value");
    const char *file = kv_cli_flag(cli, "out");
    struct kv_buf bytes;
    kv_buf_init_secret(&bytes, BYTES_MAX);
    int rc = kv_b64_decode(KV_B64_URL, text, strlen(text), &bytes);
    if (rc != 0)
        rc = kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                        "the API's answer has no value in base64url");
    else if (file == NULL)
        (void)puts(text);
    else
        rc = kv_io_write(file, bytes.data, bytes.len, err);
    kv_buf_free(&bytes);
    return rc;
}

int kv_key_random_run(struct kv_cli *cli, struct kv_err *err)
{
    int64_t count = 32;
    json_t *body = NULL;
    json_t *reply = NULL;
    int rc = 0;
    KV_TRY(kv_cli_number(cli, "bytes", 1, BYTES_MAX, &count, err));
    body = json_pack("{s:I}", "count", (json_int_t)count);
    KV_TRY(kv_rest_call(cli, "POST", "/rng", body, &reply, err));
    if (cli->invocation.as_json)
        KV_TRY(kv_cli_print_json(reply, err));
    else
        KV_TRY(write_bytes(cli, reply, err));
out:
    json_decref(reply);
    json_decref(body);
    return rc;
}
