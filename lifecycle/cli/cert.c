/*
 * keyvault cert create | import | list | show | versions | policy.
 *
 * Creating is an operation at the API: it is started, then watched until it is over,
 * because scripts want to use the certificate in their next line.
 */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

#include "lifecycle/cli/cert_show.h"
#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/policy.h"
#include "lifecycle/cli/rest.h"
#include "store/core/b64.h"

#define CERT_FILE_MAX 262144
#define POLL_FIRST_MS 50
#define POLL_LAST_MS 2000

int kv_cert_list_run(struct kv_cli *cli, struct kv_err *err)
{
    return kv_object_list(cli, "certificates", err);
}

int kv_cert_versions_run(struct kv_cli *cli, struct kv_err *err)
{
    return kv_object_versions(cli, "certificates", err);
}

int kv_cert_show_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(kv_object_get(cli, "certificates", &bundle, err));
    if (kv_cli_flag(cli, "pem") != NULL)
        KV_TRY(kv_cert_print_pem(cli, bundle, err));
    else if (cli->invocation.as_json)
        KV_TRY(kv_cli_print_json(bundle, err));
    else
        KV_TRY(kv_cert_print(bundle, err));
out:
    json_decref(bundle);
    return rc;
}

/* --- create ------------------------------------------------------------------------
 */

static void sleep_ms(long ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (nanosleep(&wait, &wait) != 0) {
        /* a signal: sleep on for the rest */
    }
}

static int operation_failed(const json_t *operation, const char *name,
                            struct kv_err *err)
{
    const json_t *error = json_object_get(operation, "error");
    const char *message = kv_json_text(error, "message");
    const char *id = kv_json_text(error, "id");
    if (message[0] == '\0')
        message = kv_json_text(operation, "status_details");
    (void)kv_err_set(err, KV_E_STATE, id[0] != '\0' ? id : "cli.cert-failed",
                     "certificate %s: the operation is %s: %s", name,
                     kv_json_text(operation, "status"),
                     message[0] != '\0' ? message : "no reason is given");
    return KV_E_STATE;
}

/* Watch until the operation is over. `*is_waiting` is set instead when it waits for a
 * person: a CSR that somebody has to sign. */
static int wait_for(struct kv_cli *cli, const char *name, json_t **operation,
                    bool *is_waiting, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    long pause_ms = POLL_FIRST_MS;
    int rc = kv_rest_object_path(path, "certificates", name, "pending");
    while (rc == 0 && strcmp(kv_json_text(*operation, "status"), "inProgress") == 0) {
        const json_t *issuer = json_object_get(*operation, "issuer");
        if (strcmp(kv_json_text(issuer, "name"), "Unknown") == 0) {
            *is_waiting = true;
            return 0;
        }
        sleep_ms(pause_ms);
        pause_ms = pause_ms * 2 < POLL_LAST_MS ? pause_ms * 2 : POLL_LAST_MS;
        json_t *next = NULL;
        rc = kv_rest_call(cli, "GET", path, NULL, &next, err);
        if (rc == 0) {
            json_decref(*operation);
            *operation = next;
        }
    }
    if (rc == 0 && strcmp(kv_json_text(*operation, "status"), "completed") != 0)
        rc = operation_failed(*operation, name, err);
    return rc;
}

static void say_pending(const json_t *operation, const char *name, bool is_waiting)
{
    (void)printf("certificate %s: %s\n", name, kv_json_text(operation, "status"));
    if (is_waiting)
        (void)fprintf(stderr, "hint: its issuer is Unknown: have the request signed, "
                              "then merge the result\n");
}

static int print_created(struct kv_cli *cli, const char *name, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(kv_rest_object_path(path, "certificates", name, ""));
    KV_TRY(kv_rest_call(cli, "GET", path, NULL, &bundle, err));
    rc = cli->invocation.as_json ? kv_cli_print_json(bundle, err)
                                 : kv_cert_print(bundle, err);
out:
    json_decref(bundle);
    return rc;
}

static bool names_anything(const struct kv_cli *cli)
{
    return kv_cli_flag(cli, "policy") != NULL || kv_cli_flag(cli, "subject") != NULL ||
           kv_cli_flag(cli, "dns") != NULL || kv_cli_flag(cli, "ip") != NULL ||
           kv_cli_flag(cli, "email") != NULL;
}

static int create_body(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    json_t *policy = NULL;
    int rc = 0;
    if (kv_cli_flag(cli, "issuer") == NULL && kv_cli_flag(cli, "policy") == NULL)
        return kv_cli_bad(err, "--issuer is needed: Self, Unknown or the name of an "
                               "issuer");
    if (!names_anything(cli))
        return kv_cli_bad(err, "a certificate needs --subject or names (--dns, --ip, "
                               "--email)");
    KV_TRY(kv_policy_from_flags(cli, &policy, err));
    if (json_object_set(body, "policy", policy) != 0)
        rc = KV_E_NOMEM;
    if (rc == 0)
        rc = kv_object_read_attributes(cli, body, err);
out:
    json_decref(policy);
    return rc;
}

/* Start the operation and print how it stands or what it made. */
static int create(struct kv_cli *cli, const char *name, const json_t *body,
                  struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    json_t *operation = NULL;
    bool is_waiting = false;
    bool wants_wait = kv_cli_flag(cli, "no-wait") == NULL;
    int rc = kv_rest_object_path(path, "certificates", name, "create");
    if (rc == 0)
        rc = kv_rest_call(cli, "POST", path, body, &operation, err);
    if (rc == 0 && wants_wait)
        rc = wait_for(cli, name, &operation, &is_waiting, err);
    if (rc == 0 && wants_wait && !is_waiting)
        rc = print_created(cli, name, err);
    else if (rc == 0 && cli->invocation.as_json)
        rc = kv_cli_print_json(operation, err);
    else if (rc == 0)
        say_pending(operation, name, is_waiting);
    json_decref(operation);
    return rc;
}

int kv_cert_create_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *name = NULL;
    json_t *body = json_object();
    int rc = kv_cli_name(cli, &name, err);
    if (rc == 0)
        rc = create_body(cli, body, err);
    if (rc == 0)
        rc = create(cli, name, body, err);
    json_decref(body);
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
    return rc == 0 ? kv_object_read_attributes(cli, body, err) : rc;
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
    rc = cli->invocation.as_json ? kv_cli_print_json(bundle, err)
                                 : kv_cert_print(bundle, err);
out:
    json_decref(bundle);
    json_decref(body);
    return rc;
}

/* --- policy ------------------------------------------------------------------------
 */

static int show_policy(struct kv_cli *cli, const char *name, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    int rc = kv_rest_object_path(path, "certificates", name, "policy");
    return rc != 0 ? rc : kv_rest_print(cli, path, err);
}

int kv_cert_policy_run(struct kv_cli *cli, struct kv_err *err)
{
    struct kv_invocation *invocation = &cli->invocation;
    const char *action = invocation->args[0];
    if (strcmp(action, "default") == 0 && invocation->n_args == 1) {
        json_t *policy = kv_policy_default();
        int rc = policy != NULL ? kv_cli_print_json(policy, err) : KV_E_NOMEM;
        json_decref(policy);
        return rc;
    }
    if (strcmp(action, "show") != 0 || invocation->n_args != 2)
        return kv_cli_bad(err,
                          "expected: cert policy show NAME, or cert policy default");
    const char *name = NULL;
    invocation->args[0] = invocation->args[1];
    int rc = kv_cli_name(cli, &name, err);
    return rc != 0 ? rc : show_policy(cli, name, err);
}
