/*
 * keyvault key|secret|cert update: change what is said of a version; its content
 * stays. Without --version the current one.
 */
#include "lifecycle/cli/attributes.h"
#include "lifecycle/cli/key.h"
#include "lifecycle/cli/noun.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/secret.h"

static int read_change(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(kv_attributes_read(cli, body, err));
    if (kv_invocation_takes(&cli->invocation, "ops"))
        KV_TRY(kv_key_read_ops(cli, body, err));
    if (kv_invocation_takes(&cli->invocation, "content-type"))
        KV_TRY(kv_secret_read_type(cli, body, err));
    if (json_object_size(body) == 0)
        rc = kv_cli_bad(err, "there is nothing to change: give --enabled, --disabled, "
                             "--tag or another flag");
out:
    return rc;
}

int kv_update_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    const char *version = NULL;
    json_t *body = json_object();
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_cli_version(cli, &version, err));
    KV_TRY(read_change(cli, body, err));
    KV_TRY(kv_rest_object_path(path, kv_noun_of(cli)->collection, name, version));
    KV_TRY(kv_rest_call(cli, "PATCH", path, body, &bundle, err));
    KV_TRY(kv_noun_print(cli, bundle, err));
out:
    json_decref(bundle);
    json_decref(body);
    return rc;
}
