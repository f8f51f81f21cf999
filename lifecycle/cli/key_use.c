/*
 * keyvault key sign | verify | encrypt | decrypt | wrap | unwrap.
 *
 * What is signed is hashed here; the vault sees the digest, as the contract wants it
 * (Ed25519 signs the message itself). Results go to --out as raw bytes, or as one line
 * of base64url to standard output; a decrypted text is always raw.
 */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "store/core/b64.h"
#include "store/core/str.h"

#define INPUT_MAX 67108864 /* hashed here */
#define MESSAGE_MAX 32768  /* sent whole */

static const struct scheme {
    const char *alg;
    const char *md; /* NULL: the message itself */
} schemes[] = {
    {"RS256", "SHA256"}, {"RS384", "SHA384"},  {"RS512", "SHA512"}, {"PS256", "SHA256"},
    {"PS384", "SHA384"}, {"PS512", "SHA512"},  {"ES256", "SHA256"}, {"ES384", "SHA384"},
    {"ES512", "SHA512"}, {"ES256K", "SHA256"}, {"EdDSA", NULL},
};

static const struct scheme *scheme_find(const char *alg)
{
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (kv_str_equal_nocase(schemes[i].alg, alg))
            return &schemes[i];
    }
    return NULL;
}

/* What suits the key when --alg is not given. */
static const char *default_alg(const json_t *jwk)
{
    static const struct {
        const char *crv;
        const char *alg;
    } by_curve[] = {{"P-256", "ES256"},
                    {"P-384", "ES384"},
                    {"P-521", "ES512"},
                    {"P-256K", "ES256K"},
                    {"Ed25519", "EdDSA"}};
    const char *crv = kv_json_text(jwk, "crv");
    for (size_t i = 0; i < sizeof(by_curve) / sizeof(by_curve[0]); i++) {
        if (strcmp(crv, by_curve[i].crv) == 0)
            return by_curve[i].alg;
    }
    return "RS256";
}

static int choose_scheme(struct kv_cli *cli, const struct scheme **out,
                         struct kv_err *err)
{
    const char *alg = kv_cli_flag(cli, "alg");
    json_t *bundle = NULL;
    if (alg == NULL) {
        int rc = kv_object_get(cli, "keys", &bundle, err);
        if (rc != 0)
            return rc;
        alg = default_alg(json_object_get(bundle, "key"));
    }
    *out = scheme_find(alg);
    json_decref(bundle);
    return *out != NULL ? 0
                        : kv_cli_bad(err,
                                     "--alg is RS256, RS384, RS512, PS256, PS384, "
                                     "PS512, ES256, ES384, ES512, ES256K or EdDSA, "
                                     "not '%s'",
                                     alg);
}

/* The bytes of --file, or their digest. */
static int read_input(const struct kv_cli *cli, const struct scheme *scheme,
                      struct kv_buf *out, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, "file");
    struct kv_buf bytes;
    kv_buf_init_secret(&bytes, scheme->md != NULL ? INPUT_MAX : MESSAGE_MAX);
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t len = 0;
    int rc = 0;
    if (file == NULL) {
        rc = kv_cli_bad(err, "--file is needed: what to sign, - for standard input");
        goto out;
    }
    KV_TRY(kv_io_read(file, &bytes, err));
    if (scheme->md == NULL) {
        KV_TRY(kv_buf_append(out, bytes.data, bytes.len));
        goto out;
    }
    const void *data = bytes.len > 0 ? (const void *)bytes.data : "";
    if (EVP_Q_digest(NULL, scheme->md, NULL, data, bytes.len, digest, &len) != 1)
        rc = KV_E_CRYPTO;
    else
        rc = kv_buf_append(out, digest, len);
out:
    ERR_clear_error();
    kv_buf_free(&bytes);
    return rc;
}

static int set_b64url(json_t *body, const char *member, const struct kv_buf *bytes)
{
    struct kv_buf text;
    kv_buf_init_secret(&text, 4 * (size_t)MESSAGE_MAX);
    int rc = kv_b64_encode(KV_B64_URL, bytes->data, bytes->len, &text);
    const char *data = text.len > 0 ? (const char *)text.data : "";
    if (rc == 0 && json_object_set_new(body, member, json_stringn(data, text.len)) != 0)
        rc = KV_E_NOMEM;
    kv_buf_free(&text);
    return rc;
}

/* POST to an operation of the key that NAME and --version name. */
static int post(struct kv_cli *cli, const char *operation, const json_t *body,
                json_t **reply, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = NULL;
    const char *version = NULL;
    int rc = 0;
    KV_TRY(kv_cli_name(cli, &name, err));
    KV_TRY(kv_cli_version(cli, &version, err));
    int n = snprintf(path, sizeof(path), "/keys/%s/%s/%s", name, version, operation);
    if (n < 0 || (size_t)n >= sizeof(path))
        return KV_E_TOO_BIG;
    KV_TRY(kv_rest_call(cli, "POST", path, body, reply, err));
out:
    return rc;
}

/* Print the reply's value: JSON, raw bytes to --out or, if `is_raw`, to standard
 * output, else base64url. */
static int print_value(struct kv_cli *cli, const json_t *reply, bool is_raw,
                       struct kv_err *err)
{
    const char *text = kv_json_text(reply, "value");
    const char *file = kv_cli_flag(cli, "out");
    struct kv_buf bytes;
    kv_buf_init_secret(&bytes, 4 * (size_t)MESSAGE_MAX);
    int rc = 0;
    if (cli->invocation.as_json) {
        rc = kv_cli_print_json(reply, err);
    } else if (file == NULL && !is_raw) {
        (void)puts(text);
    } else if (kv_b64_decode(KV_B64_URL, text, strlen(text), &bytes) != 0) {
        rc = kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                        "the API's answer has no value in base64url");
    } else {
        rc = kv_io_write(file, bytes.data, bytes.len, err);
    }
    kv_buf_free(&bytes);
    return rc;
}

int kv_key_sign_run(struct kv_cli *cli, struct kv_err *err)
{
    const struct scheme *scheme = NULL;
    struct kv_buf input;
    kv_buf_init_secret(&input, MESSAGE_MAX);
    json_t *body = NULL;
    json_t *reply = NULL;
    int rc = 0;
    KV_TRY(choose_scheme(cli, &scheme, err));
    KV_TRY(read_input(cli, scheme, &input, err));
    body = json_pack("{s:s}", "alg", scheme->alg);
    KV_TRY(set_b64url(body, "value", &input));
    KV_TRY(post(cli, "sign", body, &reply, err));
    KV_TRY(print_value(cli, reply, false, err));
out:
    json_decref(reply);
    json_decref(body);
    kv_buf_free(&input);
    return rc;
}

/* The bytes that --value (base64url) or the file of `file_flag` give. */
static int read_value(const struct kv_cli *cli, const char *file_flag,
                      struct kv_buf *out, struct kv_err *err)
{
    const char *file = kv_cli_flag(cli, file_flag);
    const char *value = kv_cli_flag(cli, "value");
    if ((file == NULL) == (value == NULL))
        return kv_cli_bad(err, "either --%s or --value is needed", file_flag);
    if (file != NULL)
        return kv_io_read(file, out, err);
    if (kv_b64_decode(KV_B64_URL, value, strlen(value), out) != 0)
        return kv_cli_bad(err, "--value wants base64url without padding");
    return 0;
}

/* The body of a verification: algorithm, digest or message, signature. */
static int verify_body(struct kv_cli *cli, json_t **body, struct kv_err *err)
{
    const struct scheme *scheme = NULL;
    struct kv_buf input;
    struct kv_buf signature;
    kv_buf_init_secret(&input, MESSAGE_MAX);
    kv_buf_init_secret(&signature, 4096);
    int rc = 0;
    KV_TRY(read_value(cli, "signature", &signature, err));
    KV_TRY(choose_scheme(cli, &scheme, err));
    KV_TRY(read_input(cli, scheme, &input, err));
    *body = json_pack("{s:s}", "alg", scheme->alg);
    KV_TRY(set_b64url(*body, "digest", &input));
    KV_TRY(set_b64url(*body, "value", &signature));
out:
    kv_buf_free(&signature);
    kv_buf_free(&input);
    return rc;
}

static int print_verdict(const struct kv_cli *cli, const json_t *reply,
                         struct kv_err *err)
{
    bool is_good = json_is_true(json_object_get(reply, "value"));
    int rc = 0;
    if (cli->invocation.as_json)
        rc = kv_cli_print_json(reply, err);
    else if (is_good)
        (void)puts("good signature");
    if (rc == 0 && !is_good)
        rc = kv_err_set(err, KV_E_INTEGRITY, "cli.bad-signature",
                        "the signature does not belong to this text and key");
    return rc;
}

int kv_key_verify_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *body = NULL;
    json_t *reply = NULL;
    int rc = verify_body(cli, &body, err);
    if (rc == 0)
        rc = post(cli, "verify", body, &reply, err);
    if (rc == 0)
        rc = print_verdict(cli, reply, err);
    json_decref(reply);
    json_decref(body);
    return rc;
}

static int crypt_body(const struct kv_cli *cli, bool is_back, json_t **body,
                      struct kv_err *err)
{
    const char *alg = kv_cli_flag(cli, "alg");
    const char *file = kv_cli_flag(cli, "file");
    struct kv_buf input;
    kv_buf_init_secret(&input, 4096);
    int rc = 0;
    if (is_back)
        rc = read_value(cli, "file", &input, err);
    else if (file == NULL)
        rc = kv_cli_bad(err, "--file is needed: what goes in, - for standard input");
    else
        rc = kv_io_read(file, &input, err);
    if (rc == 0) {
        *body = json_pack("{s:s}", "alg", alg != NULL ? alg : "RSA-OAEP-256");
        rc = *body != NULL ? set_b64url(*body, "value", &input)
                           : kv_cli_bad(err, "--alg is no UTF-8 text");
    }
    kv_buf_free(&input);
    return rc;
}

/* `is_back`: the result is what once went in, raw. */
static int crypt(struct kv_cli *cli, const char *operation, bool is_back,
                 struct kv_err *err)
{
    json_t *body = NULL;
    json_t *reply = NULL;
    int rc = crypt_body(cli, is_back, &body, err);
    if (rc == 0)
        rc = post(cli, operation, body, &reply, err);
    if (rc == 0)
        rc = print_value(cli, reply, is_back, err);
    json_decref(reply);
    json_decref(body);
    return rc;
}

int kv_key_encrypt_run(struct kv_cli *cli, struct kv_err *err)
{
    return crypt(cli, "encrypt", false, err);
}

int kv_key_decrypt_run(struct kv_cli *cli, struct kv_err *err)
{
    return crypt(cli, "decrypt", true, err);
}

int kv_key_wrap_run(struct kv_cli *cli, struct kv_err *err)
{
    return crypt(cli, "wrapkey", false, err);
}

int kv_key_unwrap_run(struct kv_cli *cli, struct kv_err *err)
{
    return crypt(cli, "unwrapkey", true, err);
}
