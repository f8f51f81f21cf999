/*
 * keyvault cert create | renew | csr | merge | operation: orders of certificates.
 *
 * An order is an operation at the API: it is started, then watched until it is over,
 * because scripts want to use the certificate in their next line. With the issuer
 * Unknown it waits for a person, who takes the request to a CA and merges the answer.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "lifecycle/cli/attributes.h"
#include "lifecycle/cli/chain.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/noun.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/policy.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/wait.h"
#include "store/core/b64.h"

#define CHAIN_FILE_MAX 262144
#define REQUEST_MAX 65536

/* Call on a certificate; `what` is the rest of the path, or "". */
static int call(struct kv_cli *cli, const char *method, const char *name,
                const char *what, const json_t *body, json_t **reply,
                struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    int rc = kv_rest_object_path(path, "certificates", name, what);
    return rc != 0 ? rc : kv_rest_call(cli, method, path, body, reply, err);
}

/* --- waiting ------------------------------------------------------------------------
 */

static bool is_running(const json_t *operation)
{
    return strcmp(kv_json_text(operation, "status"), "inProgress") == 0;
}

static bool waits_for_merge(const json_t *operation)
{
    const json_t *issuer = json_object_get(operation, "issuer");
    return is_running(operation) &&
           strcmp(kv_json_text(issuer, "name"), "Unknown") == 0;
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
    kv_err_hint(err, "keyvault cert operation show %s", name);
    return KV_E_STATE;
}

/* Watch until the operation is over, or waits for a person. */
static int watch(struct kv_cli *cli, const char *name, json_t **operation,
                 struct kv_err *err)
{
    long pause_ms = KV_WAIT_FIRST_MS;
    int rc = 0;
    while (rc == 0 && is_running(*operation) && !waits_for_merge(*operation)) {
        json_t *next = NULL;
        kv_wait_pause(&pause_ms);
        rc = call(cli, "GET", name, "pending", NULL, &next, err);
        if (rc == 0) {
            json_decref(*operation);
            *operation = next;
        }
    }
    if (rc == 0 && !is_running(*operation) &&
        strcmp(kv_json_text(*operation, "status"), "completed") != 0)
        rc = operation_failed(*operation, name, err);
    return rc;
}

static void say_operation(const json_t *operation, const char *name)
{
    const char *details = kv_json_text(operation, "status_details");
    (void)printf("certificate %s: %s\n", name, kv_json_text(operation, "status"));
    kv_object_print_field("request", kv_json_text(operation, "request_id"));
    kv_object_print_field("issuer",
                          kv_json_text(json_object_get(operation, "issuer"), "name"));
    kv_object_print_field("details", details);
    if (waits_for_merge(operation))
        (void)fprintf(stderr,
                      "hint: keyvault cert csr %s --out %s.csr, have it signed, then "
                      "keyvault cert merge %s --file CHAIN.pem\n",
                      name, name, name);
    else if (is_running(operation))
        (void)fprintf(stderr,
                      "hint: keyvault cert operation show %s tells when it is over\n",
                      name);
}

static int print_created(struct kv_cli *cli, const char *name, struct kv_err *err)
{
    json_t *bundle = NULL;
    int rc = call(cli, "GET", name, "", NULL, &bundle, err);
    if (rc == 0)
        rc = kv_noun_print(cli, bundle, err);
    json_decref(bundle);
    return rc;
}

/* Start an operation and print how it stands or what it made. */
static int order(struct kv_cli *cli, const char *name, const json_t *body,
                 struct kv_err *err)
{
    json_t *operation = NULL;
    int rc = call(cli, "POST", name, "create", body, &operation, err);
    if (rc == 0 && kv_cli_flag(cli, "no-wait") == NULL)
        rc = watch(cli, name, &operation, err);
    if (rc == 0 && !is_running(operation))
        rc = print_created(cli, name, err);
    else if (rc == 0 && cli->invocation.as_json)
        rc = kv_cli_print_json(operation, err);
    else if (rc == 0)
        say_operation(operation, name);
    json_decref(operation);
    return rc;
}

/* --- create, renew -------------------------------------------------------------------
 */

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
    KV_TRY(kv_policy_from_flags(cli, NULL, &policy, err));
    if (json_object_set(body, "policy", policy) != 0)
        rc = KV_E_NOMEM;
    if (rc == 0)
        rc = kv_attributes_read(cli, body, err);
out:
    json_decref(policy);
    return rc;
}

int kv_cert_create_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *name = NULL;
    json_t *body = json_object();
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(create_body(cli, body, err));
    KV_TRY(order(cli, name, body, err));
out:
    json_decref(body);
    return rc;
}

/* The policy of the name decides; without one the name was never ordered. */
int kv_cert_renew_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *name = NULL;
    json_t *body = json_object();
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_attributes_read(cli, body, err));
    KV_TRY(call(cli, "GET", name, "policy", NULL, NULL, err));
    KV_TRY(order(cli, name, body, err));
out:
    json_decref(body);
    return rc;
}

/* --- csr, merge ----------------------------------------------------------------------
 */

/* The request of an operation in PEM. */
static int request_pem(const json_t *operation, struct kv_buf *out, struct kv_err *err)
{
    const char *text = kv_json_text(operation, "csr");
    struct kv_buf der;
    kv_buf_init(&der, REQUEST_MAX);
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem = NULL;
    int rc = bio != NULL ? 0 : KV_E_NOMEM;
    if (rc == 0 &&
        (text[0] == '\0' || kv_b64_decode(KV_B64_STD, text, strlen(text), &der) != 0 ||
         PEM_write_bio(bio, PEM_STRING_X509_REQ, "", der.data, (long)der.len) <= 0))
        rc = kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                        "the API's operation has no certificate request");
    if (rc == 0) {
        long len = BIO_get_mem_data(bio, &pem);
        rc = kv_buf_append(out, pem, (size_t)len);
    }
    ERR_clear_error();
    BIO_free(bio);
    kv_buf_free(&der);
    return rc;
}

int kv_cert_csr_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *name = NULL;
    json_t *operation = NULL;
    struct kv_buf text;
    kv_buf_init(&text, 2 * (size_t)REQUEST_MAX);
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(call(cli, "GET", name, "pending", NULL, &operation, err));
    if (cli->invocation.as_json) {
        KV_TRY(kv_cli_print_json(operation, err));
    } else {
        KV_TRY(request_pem(operation, &text, err));
        KV_TRY(kv_io_write(kv_cli_flag(cli, "out"), text.data, text.len, err));
    }
out:
    kv_buf_free(&text);
    json_decref(operation);
    return rc;
}

static int merge_body(const struct kv_cli *cli, json_t *body, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "file");
    json_t *x5c = NULL;
    struct kv_buf bytes;
    if (file == NULL)
        return kv_cli_bad(err, "--file is needed: the certificate that was issued, and "
                               "its chain");
    kv_buf_init(&bytes, CHAIN_FILE_MAX);
    int rc = 0;
    KV_TRY(kv_io_read(file, &bytes, err));
    KV_TRY(kv_chain_load(&bytes, &x5c, err));
    if (json_object_set_new(body, "x5c", x5c) != 0)
        rc = KV_E_NOMEM;
    if (rc == 0)
        rc = kv_attributes_read(cli, body, err);
out:
    kv_buf_free(&bytes);
    return rc;
}

int kv_cert_merge_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *name = NULL;
    json_t *body = json_object();
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(merge_body(cli, body, err));
    KV_TRY(call(cli, "POST", name, "pending/merge", body, &bundle, err));
    KV_TRY(kv_noun_print(cli, bundle, err));
out:
    json_decref(bundle);
    json_decref(body);
    return rc;
}

/* --- operation
 * ------------------------------------------------------------------------ */

static int change_operation(struct kv_cli *cli, const char *action, const char *name,
                            json_t **operation, struct kv_err *err)
{
    json_t *body = NULL;
    int rc = 0;
    if (strcmp(action, "show") == 0)
        return call(cli, "GET", name, "pending", NULL, operation, err);
    if (strcmp(action, "delete") == 0)
        return call(cli, "DELETE", name, "pending", NULL, operation, err);
    if (strcmp(action, "cancel") != 0)
        return kv_cli_bad(err, "expected: cert operation show, cancel or delete NAME");
    body = json_pack("{s:b}", "cancellation_requested", 1);
    rc = call(cli, "PATCH", name, "pending", body, operation, err);
    json_decref(body);
    return rc;
}

int kv_cert_operation_run(struct kv_cli *cli, struct kv_err *err)
{
    struct kv_invocation *invocation = &cli->invocation;
    const char *action = invocation->args[0];
    const char *name = NULL;
    json_t *operation = NULL;
    int rc = 0;
    invocation->args[0] = invocation->args[1];
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(change_operation(cli, action, name, &operation, err));
    if (invocation->as_json)
        KV_TRY(kv_cli_print_json(operation, err));
    else
        say_operation(operation, name);
out:
    json_decref(operation);
    return rc;
}
