/*
 * keyvault cert show | import.
 */
#include <string.h>

#include "lifecycle/cli/attributes.h"
#include "lifecycle/cli/cert_show.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/noun.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "store/core/b64.h"

#define CERT_FILE_MAX 262144

int kv_cert_show_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(kv_object_get_shown(cli, &bundle, err));
    if (kv_cli_flag(cli, "pem") != NULL)
        KV_TRY(kv_cert_print_pem(cli, bundle, err));
    else
        KV_TRY(kv_noun_print(cli, bundle, err));
out:
    json_decref(bundle);
    return rc;
}

/* --- import ------------------------------------------------------------------------
 */

/* Set a member to text that is a secret. */
static int set_secret(json_t *body, const char *member, const struct kv_buf *text,
                      struct kv_err *err)
{
    json_t *json =
        json_stringn(text->len > 0 ? (const char *)text->data : "", text->len);
    if (json == NULL)
        return kv_cli_bad(err, "the member %s is no UTF-8 text", member);
    return json_object_set_new(body, member, json) == 0 ? 0 : KV_E_NOMEM;
}

static int read_file(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "file");
    struct kv_buf bytes;
    struct kv_buf text;
    if (file == NULL)
        return kv_cli_bad(err,
                          "--file is needed: PFX, or PEM with key and certificates");
    kv_buf_init_secret(&bytes, CERT_FILE_MAX);
    kv_buf_init_secret(&text, 2 * (size_t)CERT_FILE_MAX);
    int rc = kv_io_read(file, &bytes, err);
    if (rc == 0)
        rc = kv_b64_encode(KV_B64_STD, bytes.data, bytes.len, &text);
    if (rc == 0)
        rc = set_secret(body, "value", &text, err);
    kv_buf_free(&text);
    kv_buf_free(&bytes);
    return rc;
}

static int read_password(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "password-file");
    struct kv_buf password;
    if (file == NULL)
        return 0;
    kv_buf_init_secret(&password, 1024);
    int rc = kv_io_read_line(file, &password, err);
    if (rc == 0)
        rc = set_secret(body, "pwd", &password, err);
    kv_buf_free(&password);
    return rc;
}

static int read_import(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    int rc = read_file(cli, body, err);
    if (rc == 0)
        rc = read_password(cli, body, err);
    if (rc == 0) { /* the API's own default lets the key leave */
        json_t *policy = json_pack("{s:{s:b}}", "key_props", "exportable",
                                   kv_cli_flag(cli, "exportable") != NULL);
        rc = json_object_set_new(body, "policy", policy) == 0 ? 0 : KV_E_NOMEM;
    }
    return rc == 0 ? kv_attributes_read(cli, body, err) : rc;
}

int kv_cert_import_run(struct kv_cli *cli, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    json_t *body = json_object();
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(read_import(cli, body, err));
    KV_TRY(kv_rest_object_path(path, "certificates", name, "import"));
    KV_TRY(kv_rest_call(cli, "POST", path, body, &bundle, err));
    KV_TRY(kv_noun_print(cli, bundle, err));
out:
    json_decref(bundle);
    json_decref(body);
    return rc;
}
