/*
 * keyvault key create | import, and what a key looks like.
 */
#include <openssl/evp.h>
#include <string.h>

#include "lifecycle/cli/attributes.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/key.h"
#include "lifecycle/cli/noun.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/pem.h"
#include "lifecycle/cli/rest.h"
#include "store/core/str.h"

#define KEY_FILE_MAX 65536

/* --- showing ---------------------------------------------------------------------- */

static void print_ops(const json_t *key)
{
    char text[256] = "";
    size_t used = 0;
    size_t i = 0;
    json_t *op = NULL;
    json_array_foreach(json_object_get(key, "key_ops"), i, op)
    {
        const char *name = json_string_value(op);
        int n = snprintf(text + used, sizeof(text) - used, "%s%s", used > 0 ? " " : "",
                         name != NULL ? name : "?");
        if (n < 0 || used + (size_t)n >= sizeof(text))
            break;
        used += (size_t)n;
    }
    kv_object_print_field("operations", text);
}

int kv_key_print(const json_t *bundle, struct kv_err *err)
{
    (void)err;
    const json_t *key = json_object_get(bundle, "key");
    const char *crv = kv_json_text(key, "crv");
    const char *n = kv_json_text(key, "n");
    char type[64];
    if (crv[0] != '\0')
        (void)snprintf(type, sizeof(type), "%s %s", kv_json_text(key, "kty"), crv);
    else
        (void)snprintf(type, sizeof(type), "%s %zu", kv_json_text(key, "kty"),
                       strlen(n) * 3 / 4 * 8);
    kv_object_print_common(bundle);
    kv_object_print_field("type", type);
    print_ops(key);
    return 0;
}

/* --- making ----------------------------------------------------------------------- */

static int set_text(json_t *body, const char *member, const char *text)
{
    return json_object_set_new(body, member, json_string(text)) == 0 ? 0 : KV_E_NOMEM;
}

int kv_key_read_ops(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    json_t *ops = NULL;
    int rc = kv_cli_list(cli, "ops", &ops, err);
    if (ops != NULL && json_object_set_new(body, "key_ops", ops) != 0)
        rc = KV_E_NOMEM;
    return rc;
}

static bool is_ec_body(const json_t *body)
{
    return strcmp(kv_json_text(body, "kty"), "EC") == 0;
}

/* Operations of the command line, or, for EC, what the API gives by itself and key
 * agreement with it. */
static int set_ops(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    if (kv_cli_flag(cli, "ops") != NULL || !is_ec_body(body))
        return kv_key_read_ops(cli, body, err);
    return json_object_set_new(body, "key_ops",
                               json_pack("[sss]", "sign", "verify", "deriveBits")) == 0
               ? 0
               : KV_E_NOMEM;
}

static int set_rsa(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    int64_t size = 2048;
    if (kv_cli_flag(cli, "curve") != NULL)
        return kv_cli_bad(err, "--curve is for EC keys");
    int rc = kv_cli_number(cli, "size", 2048, 4096, &size, err);
    if (rc != 0)
        return rc;
    rc = set_text(body, "kty", "RSA");
    if (rc == 0 && json_object_set_new(body, "key_size", json_integer(size)) != 0)
        rc = KV_E_NOMEM;
    return rc;
}

static int set_curve(const struct kv_cli *cli, json_t *body, bool is_ec,
                     struct kv_err *err)
{
    const char *curve = kv_cli_flag(cli, "curve");
    if (kv_cli_flag(cli, "size") != NULL)
        return kv_cli_bad(err, "--size is for RSA keys");
    if (!is_ec && curve != NULL)
        return kv_cli_bad(err, "--curve is for EC keys");
    int rc = set_text(body, "kty", is_ec ? "EC" : "OKP");
    if (rc == 0)
        rc = set_text(body, "crv",
                      !is_ec          ? "Ed25519"
                      : curve != NULL ? curve
                                      : "P-256");
    return rc;
}

static int set_type(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *type = kv_cli_flag(cli, "type");
    if (type == NULL)
        return kv_cli_bad(err, "--type is needed: RSA, EC or Ed25519");
    if (kv_str_equal_nocase(type, "RSA"))
        return set_rsa(cli, body, err);
    bool is_ec = kv_str_equal_nocase(type, "EC");
    if (!is_ec && !kv_str_equal_nocase(type, "Ed25519"))
        return kv_cli_bad(err, "--type is RSA, EC or Ed25519, not '%s'", type);
    return set_curve(cli, body, is_ec, err);
}

/* Send a body that makes a version, and show what was made. */
static int send_body(struct kv_cli *cli, const char *method, const char *operation,
                     const json_t *body, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *bundle = NULL;
    int rc = kv_rest_object_path(path, "keys", cli->invocation.args[0], operation);
    if (rc == 0)
        rc = kv_rest_call(cli, method, path, body, &bundle, err);
    if (rc == 0)
        rc = kv_noun_print(cli, bundle, err);
    json_decref(bundle);
    return rc;
}

int kv_key_create_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *name = NULL;
    json_t *body = json_object();
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(set_type(cli, body, err));
    KV_TRY(set_ops(cli, body, err));
    KV_TRY(kv_attributes_read(cli, body, err));
    KV_TRY(send_body(cli, "POST", "create", body, err));
out:
    json_decref(body);
    return rc;
}

/* Read the key of --file, with the password of --password-file or of a prompt. */
static int load_key(const struct kv_cli *cli, EVP_PKEY **key, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "file");
    const char *password_file = kv_cli_flag(cli, "password-file");
    struct kv_buf bytes;
    struct kv_buf password;
    kv_buf_init_secret(&bytes, KEY_FILE_MAX);
    kv_buf_init_secret(&password, 1024);
    int rc = 0;
    if (file == NULL) {
        rc = kv_cli_bad(err, "--file is needed: a private key in PEM or DER");
        goto out;
    }
    KV_TRY(kv_io_read(file, &bytes, err));
    if (password_file != NULL)
        KV_TRY(kv_io_read_line(password_file, &password, err));
    struct kv_err failure = KV_ERR_INIT;
    rc = kv_pem_load_key(&bytes, password_file != NULL ? &password : NULL, key,
                         &failure);
    if (rc != 0 && strcmp(failure.id, "pem.needs-password") == 0) {
        KV_TRY(kv_io_prompt("Password of the key file", &password, err));
        failure = KV_ERR_INIT;
        rc = kv_pem_load_key(&bytes, &password, key, &failure);
    }
    if (rc != 0) {
        *err = failure;
        kv_err_context(err, "%s", file);
    }
out:
    kv_buf_free(&password);
    kv_buf_free(&bytes);
    return rc;
}

/* The private JWK of --file with its operations. */
static int load_jwk(const struct kv_cli *cli, json_t **jwk, struct kv_err *err)
{
    EVP_PKEY *key = NULL;
    int rc = load_key(cli, &key, err);
    if (rc == 0)
        rc = kv_pem_to_jwk(key, jwk, err);
    if (rc == 0)
        rc = set_ops(cli, *jwk, err);
    EVP_PKEY_free(key);
    return rc;
}

int kv_key_import_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *name = NULL;
    json_t *jwk = NULL;
    json_t *body = json_object();
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(load_jwk(cli, &jwk, err));
    KV_TRY(json_object_set(body, "key", jwk) == 0 ? 0 : KV_E_NOMEM);
    KV_TRY(kv_attributes_read(cli, body, err));
    KV_TRY(send_body(cli, "PUT", "", body, err));
out:
    json_decref(body);
    json_decref(jwk);
    return rc;
}
