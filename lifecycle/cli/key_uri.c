/*
 * keyvault key uri-pem: the file that web servers load instead of a private key.
 *
 * Pinned by default: the file names one version and carries its public key, so that a
 * server starts without asking and refuses another key's signature. With --follow it
 * names the key alone, and whoever loads it gets the newest version of that moment.
 */
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/pem.h"
#include "lifecycle/cli/rest.h"
#include "store/core/keyref.h"
#include "store/core/str.h"

/* The key type in a reference is the name that OpenSSL's decoders have for it. */
static const char *type_of(const json_t *jwk)
{
    const char *kty = kv_json_text(jwk, "kty");
    if (strcmp(kty, "OKP") == 0)
        return "ED25519";
    return kv_str_has_prefix(kty, "EC") ? "EC" : "RSA";
}

static int pin(struct kv_keyref *ref, const json_t *jwk, struct kv_err *err)
{
    struct kv_buf spki;
    kv_buf_init(&spki, sizeof(ref->spki));
    const char *version = kv_rest_id_version(kv_json_text(jwk, "kid"));
    int rc = 0;
    KV_TRY(kv_pem_jwk_spki(jwk, &spki, err));
    memcpy(ref->spki, spki.data, spki.len);
    ref->spki_len = spki.len;
    if (kv_hex_decode(ref->uri.version, KV_ID_LEN, version) != 0) {
        rc = kv_err_set(err, KV_E_INVALID, "cli.bad-reply",
                        "the API names no version of the key");
        goto out;
    }
    ref->uri.has_version = true;
out:
    kv_buf_free(&spki);
    return rc;
}

static int fill(struct kv_cli *cli, struct kv_keyref *ref, bool is_following,
                struct kv_err *err)
{
    json_t *bundle = NULL;
    int rc = 0;
    KV_TRY(kv_object_get(cli, "keys", &bundle, err));
    const json_t *jwk = json_object_get(bundle, "key");
    KV_TRY(kv_rest_vault_name(cli, ref->uri.vault, sizeof(ref->uri.vault), err));
    kv_rest_id_name(kv_json_text(jwk, "kid"), ref->uri.name, sizeof(ref->uri.name));
    KV_TRY(kv_str_copy(ref->key_type, sizeof(ref->key_type), type_of(jwk)));
    if (!is_following)
        rc = pin(ref, jwk, err);
out:
    json_decref(bundle);
    return rc;
}

int kv_key_uri_pem_run(struct kv_cli *cli, struct kv_err *err)
{
    struct kv_keyref ref = {.uri.collection = KV_URI_KEYS};
    struct kv_buf text;
    bool is_following = kv_cli_flag(cli, "follow") != NULL;
    if (is_following && cli->invocation.version != NULL)
        return kv_cli_bad(err, "--follow and --version exclude each other");
    kv_buf_init(&text, 8192);
    int rc = fill(cli, &ref, is_following, err);
    if (rc == 0)
        rc = kv_keyref_encode_pem(&ref, &text, err);
    if (rc == 0)
        rc = kv_io_write(kv_cli_flag(cli, "out"), text.data, text.len, err);
    kv_buf_free(&text);
    return rc;
}
