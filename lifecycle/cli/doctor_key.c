/*
 * The key itself, and the right of the user.
 *
 * Whoever administers is told of each thing apart. Others hear what the key daemon
 * tells a program: one reason, the first that stands in the way.
 */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/cli/doctor.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/pem.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/supervisor/probe.h"
#include "store/core/b64.h"
#include "store/core/clock.h"
#include "store/core/str.h"

#define SOON_S (INT64_C(14) * 86400)
#define KEY_FILE_MAX 65536

/* --- its name --------------------------------------------------------------------- */

/* Find the block of a key file, which may hold certificates too. */
static int read_key_file(const char *path, struct kv_keyref *ref, struct kv_err *err)
{
    BIO *in = BIO_new_file(path, "r");
    int rc = KV_E_NOT_FOUND;
    char *label = NULL;
    char *header = NULL;
    unsigned char *data = NULL;
    long len = 0;
    while (rc == KV_E_NOT_FOUND && in != NULL &&
           PEM_read_bio(in, &label, &header, &data, &len) == 1) {
        if (strcmp(label, KV_KEYREF_PEM_LABEL) == 0)
            rc = kv_keyref_decode(data, (size_t)len, ref, err);
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_free(data);
    }
    BIO_free(in);
    ERR_clear_error();
    if (rc == KV_E_NOT_FOUND)
        (void)kv_err_set(err, rc, "cli.no-file", "%s has no %s", path,
                         KV_KEYREF_PEM_LABEL);
    return rc;
}

bool kv_doctor_key_name(struct kv_doctor *doctor)
{
    struct kv_err err = KV_ERR_INIT;
    const char *asked = doctor->asked;
    struct kv_uri *uri = &doctor->ref.uri;
    const bool is_uri = kv_str_has_prefix(asked, "keyvault:");
    int rc = is_uri ? kv_uri_parse(asked, strlen(asked), uri, &err)
                    : read_key_file(asked, &doctor->ref, &err);
    if (rc == 0 && uri->name[0] == '\0')
        rc = kv_err_set(&err, KV_E_INVALID, "grant.no-name", "%s names a list", asked);
    if (rc != 0) {
        kv_doctor_say(doctor, KV_FINDING_FAIL, "uri",
                      err.hint[0] != '\0' ? err.hint : "write keyvault:///keys/NAME",
                      "%s", err.message);
        uri->name[0] = '\0';
        return false;
    }
    uri->collection = KV_URI_KEYS;
    if (doctor->cli->invocation.vault == NULL && uri->vault[0] != '\0')
        doctor->cli->invocation.vault = uri->vault;
    return true;
}

/* --- what the vault says of it ------------------------------------------------------
 */

struct key {
    json_t *bundle; /* the version that is named */
    json_t *cert;   /* of the same version; NULL: none, or not to be seen */
    const json_t *jwk;
    const json_t *attributes;
    const char *name;
    const char *version; /* 32 digits */
    bool is_managed;
    int64_t now_s;
};

/* How a new version is made: a certificate renews its key with it. */
static void cure_new(const struct key *key, char out[KV_CURE_MAX])
{
    char option[64];
    const char *kty = kv_json_text(key->jwk, "kty");
    const json_t *policy = json_object_get(key->cert, "policy");
    const char *issuer = kv_json_text(json_object_get(policy, "issuer"), "name");
    if (key->is_managed && (issuer[0] == '\0' || strcmp(issuer, "Unknown") == 0)) {
        (void)snprintf(out, KV_CURE_MAX,
                       "keyvault cert import %s --file FILE, with a new certificate "
                       "and its key",
                       key->name);
        return;
    }
    if (key->is_managed) {
        (void)snprintf(out, KV_CURE_MAX,
                       "keyvault cert policy show %s > %s.json && keyvault cert create "
                       "%s --policy %s.json",
                       key->name, key->name, key->name, key->name);
        return;
    }
    if (kv_str_has_prefix(kty, "EC"))
        (void)snprintf(option, sizeof(option), "EC --curve %s",
                       kv_json_text(key->jwk, "crv"));
    else
        (void)snprintf(option, sizeof(option), "%s",
                       kv_str_has_prefix(kty, "RSA") ? "RSA" : "Ed25519");
    (void)snprintf(out, KV_CURE_MAX, "keyvault key create %s --type %s", key->name,
                   option);
}

static void check_enabled(struct kv_doctor *doctor, const struct key *key)
{
    char cure[KV_CURE_MAX];
    if (!json_is_false(json_object_get(key->attributes, "enabled"))) {
        kv_doctor_say(doctor, KV_FINDING_OK, "enabled", NULL, "yes");
        return;
    }
    (void)snprintf(cure, sizeof(cure), "keyvault %s update %s --version %s --enabled",
                   key->is_managed ? "cert" : "key", key->name, key->version);
    kv_doctor_say(doctor, KV_FINDING_FAIL, "enabled", cure,
                  "version %s of '%s' is disabled", key->version, key->name);
}

static void check_dates(struct kv_doctor *doctor, const struct key *key)
{
    const json_t *nbf = json_object_get(key->attributes, "nbf");
    const json_t *exp = json_object_get(key->attributes, "exp");
    const char *kind = key->is_managed ? "certificate" : "key";
    char begin[KV_TIME_TEXT_MAX];
    char end[KV_TIME_TEXT_MAX];
    char cure[KV_CURE_MAX];
    cure_new(key, cure);
    kv_time_format(json_integer_value(nbf), begin);
    kv_time_format(json_integer_value(exp), end);
    if (json_is_integer(nbf) && key->now_s < json_integer_value(nbf))
        kv_doctor_say(doctor, KV_FINDING_FAIL, "dates", "wait, or correct the clock",
                      "%s '%s' is not valid before %s", kind, key->name, begin);
    else if (!json_is_integer(exp))
        kv_doctor_say(doctor, KV_FINDING_OK, "dates", NULL, "it does not expire");
    else if (key->now_s >= json_integer_value(exp))
        kv_doctor_say(doctor, KV_FINDING_FAIL, "dates", cure, "%s '%s' expired on %s",
                      kind, key->name, end);
    else if (key->now_s + SOON_S >= json_integer_value(exp))
        kv_doctor_say(doctor, KV_FINDING_WARN, "dates", cure, "%s '%s' expires on %s",
                      kind, key->name, end);
    else
        kv_doctor_say(doctor, KV_FINDING_OK, "dates", NULL, "valid until %s", end);
}

static void check_operations(struct kv_doctor *doctor, const struct key *key)
{
    char text[160] = "";
    char cure[KV_CURE_MAX];
    bool may_sign = false;
    size_t i = 0;
    const json_t *op = NULL;
    json_array_foreach(json_object_get(key->jwk, "key_ops"), i, op)
    {
        const size_t len = strlen(text);
        const char *name = json_string_value(op);
        may_sign = may_sign || (name != NULL && strcmp(name, "sign") == 0);
        (void)snprintf(text + len, sizeof(text) - len, "%s%s", i > 0 ? ", " : "",
                       name != NULL ? name : "?");
    }
    if (may_sign) {
        kv_doctor_say(doctor, KV_FINDING_OK, "operations", NULL, "%s", text);
        return;
    }
    cure_new(key, cure);
    const size_t len = strlen(cure);
    if (!key->is_managed)
        (void)snprintf(cure + len, sizeof(cure) - len, " --ops sign,verify");
    kv_doctor_say(doctor, KV_FINDING_FAIL, "operations", cure,
                  "the operations of '%s' (%s) do not include sign", key->name,
                  text[0] != '\0' ? text : "none");
}

static bool has_spki(const json_t *jwk, const void *spki, size_t len)
{
    struct kv_buf own;
    kv_buf_init(&own, KV_KEYREF_SPKI_MAX);
    const bool is_same = kv_pem_jwk_spki(jwk, &own, NULL) == 0 && own.len == len &&
                         memcmp(own.data, spki, len) == 0;
    kv_buf_free(&own);
    return is_same;
}

/* A key file is compared with what the vault holds under its version. */
static void check_key_file(struct kv_doctor *doctor, const struct key *key)
{
    const struct kv_keyref *ref = &doctor->ref;
    char cure[KV_CURE_MAX];
    if (ref->spki_len == 0)
        return;
    (void)snprintf(cure, sizeof(cure), "keyvault key uri-pem %s --out %s", key->name,
                   doctor->asked);
    if (has_spki(key->jwk, ref->spki, ref->spki_len))
        kv_doctor_say(doctor, KV_FINDING_OK, "key file", NULL, "%s holds this key",
                      doctor->asked);
    else
        kv_doctor_say(doctor, KV_FINDING_FAIL, "key file", cure,
                      "%s holds another public key than the vault", doctor->asked);
}

/* The certificate of the same version must carry the key. */
static void check_certificate(struct kv_doctor *doctor, const struct key *key)
{
    struct kv_buf der;
    unsigned char *spki = NULL;
    char cure[KV_CURE_MAX];
    const char *cer = kv_json_text(key->cert, "cer");
    if (!key->is_managed || key->cert == NULL)
        return;
    kv_buf_init(&der, KV_CERT_DER_MAX);
    cure_new(key, cure);
    const int rc = kv_b64_decode(KV_B64_STD, cer, strlen(cer), &der);
    const unsigned char *at = der.data;
    X509 *cert = rc == 0 ? d2i_X509(NULL, &at, (long)der.len) : NULL;
    const int len =
        cert != NULL ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki) : 0;
    if (len > 0 && has_spki(key->jwk, spki, (size_t)len))
        kv_doctor_say(doctor, KV_FINDING_OK, "certificate", NULL,
                      "certificate '%s' of this version carries the key", key->name);
    else
        kv_doctor_say(doctor, KV_FINDING_FAIL, "certificate", cure,
                      "certificate '%s' of this version carries another key",
                      key->name);
    ERR_clear_error();
    OPENSSL_free(spki);
    X509_free(cert);
    kv_buf_free(&der);
}

/* A version that is named goes on after a renewal, to the end of its certificate. */
static void check_newest(struct kv_doctor *doctor, const struct key *key)
{
    char path[KV_REST_PATH_MAX];
    json_t *newest = NULL;
    char cure[KV_CURE_MAX];
    if (!doctor->ref.uri.has_version ||
        kv_rest_object_path(path, "keys", key->name, "") != 0 ||
        kv_rest_call(doctor->cli, "GET", path, NULL, &newest, NULL) != 0)
        return;
    const char *version =
        kv_rest_id_version(kv_json_text(json_object_get(newest, "key"), "kid"));
    (void)snprintf(cure, sizeof(cure),
                   "write certificate and key file (keyvault key uri-pem %s) again, "
                   "then reload the program",
                   key->name);
    if (strcmp(version, key->version) != 0)
        kv_doctor_say(doctor, KV_FINDING_WARN, "version", cure,
                      "version %s is named, the newest is %s", key->version, version);
    json_decref(newest);
}

static void say_absent(struct kv_doctor *doctor, const struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    const char *name = doctor->ref.uri.name;
    json_t *deleted = NULL;
    char cure[KV_CURE_MAX];
    (void)snprintf(cure, sizeof(cure),
                   doctor->ref.uri.has_version ? "keyvault key versions %s"
                                               : "keyvault key create %s --type EC",
                   name);
    if (kv_rest_object_path(path, "deletedkeys", name, "") == 0 &&
        kv_rest_call(doctor->cli, "GET", path, NULL, &deleted, NULL) == 0)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "key",
                      "recover it, or load another key: keyvault key list",
                      "the key '%s' was deleted", name);
    else
        kv_doctor_say(doctor, KV_FINDING_FAIL, "key", cure, "%s", err->message);
    json_decref(deleted);
}

/* The version that is named, else the newest; false for none. */
static bool load(struct kv_doctor *doctor, struct key *key)
{
    struct kv_err err = KV_ERR_INIT;
    char path[KV_REST_PATH_MAX];
    char version[2 * KV_ID_LEN + 1] = "";
    const struct kv_uri *uri = &doctor->ref.uri;
    const json_t *time = json_object_get(doctor->service, "time");
    if (uri->has_version)
        kv_hex_encode(version, uri->version, KV_ID_LEN);
    int rc = kv_rest_object_path(path, "keys", uri->name, version);
    if (rc == 0)
        rc = kv_rest_call(doctor->cli, "GET", path, NULL, &key->bundle, &err);
    if (rc == KV_E_NOT_FOUND)
        say_absent(doctor, &err);
    if (rc != 0)
        return false;
    key->jwk = json_object_get(key->bundle, "key");
    key->attributes = json_object_get(key->bundle, "attributes");
    key->name = uri->name;
    key->version = kv_rest_id_version(kv_json_text(key->jwk, "kid"));
    key->is_managed = json_is_true(json_object_get(key->bundle, "managed"));
    key->now_s =
        json_is_integer(time) ? json_integer_value(time) : kv_now_s(kv_clock_system());
    if (key->is_managed &&
        (kv_rest_object_path(path, "certificates", key->name, key->version) != 0 ||
         kv_rest_call(doctor->cli, "GET", path, NULL, &key->cert, NULL) != 0))
        key->cert = NULL;
    kv_doctor_say(doctor, KV_FINDING_OK, "key", NULL, "%s key '%s', version %s",
                  kv_json_text(key->jwk, "kty"), key->name, key->version);
    return true;
}

static void check_object(struct kv_doctor *doctor)
{
    struct key key = {.bundle = NULL};
    if (load(doctor, &key)) {
        check_enabled(doctor, &key);
        check_dates(doctor, &key);
        check_operations(doctor, &key);
        check_key_file(doctor, &key);
        check_certificate(doctor, &key);
        check_newest(doctor, &key);
    }
    json_decref(key.cert);
    json_decref(key.bundle);
}

/* --- the right of the user -----------------------------------------------------------
 */

/* Ask for a grant as the user. */
static int ask_grant(const struct kv_doctor *doctor, const char *uri,
                     struct kv_err *err)
{
    struct kv_probe probe = {.fd = -1};
    int rc = kv_doctor_become(doctor, err);
    if (rc != 0)
        return rc;
    rc = kv_probe_open(&probe, doctor->socket, err);
    if (rc == 0)
        rc = kv_probe_ask(&probe, KV_VERB_OPEN, uri, KV_OP_SIGN, err);
    kv_probe_close(&probe);
    kv_doctor_return(doctor);
    return rc;
}

static void cure_grant(const struct kv_doctor *doctor, char out[KV_CURE_MAX])
{
    const bool has_name = doctor->user[0] < '0' || doctor->user[0] > '9';
    (void)snprintf(out, KV_CURE_MAX,
                   "keyvault access grant unix:%s%s --role tls-server --scope keys/%s",
                   has_name ? "" : "#", doctor->user, doctor->ref.uri.name);
}

/* Decided by the service, where we cannot take the user's identity. */
static void check_right(struct kv_doctor *doctor, const char *uri)
{
    const json_t *grant = json_object_get(doctor->service, "grant");
    char cure[KV_CURE_MAX];
    bool may_sign = false;
    size_t i = 0;
    const json_t *op = NULL;
    if (!json_is_object(grant)) {
        kv_doctor_say(doctor, KV_FINDING_WARN, "grant", "run this as root",
                      "not looked at: only root can act as %s", doctor->user);
        return;
    }
    json_array_foreach(json_object_get(grant, "operations"), i, op)
    {
        const char *name = json_string_value(op);
        may_sign = may_sign || (name != NULL && strcmp(name, "sign") == 0);
    }
    cure_grant(doctor, cure);
    if (may_sign)
        kv_doctor_say(doctor, KV_FINDING_OK, "grant", NULL,
                      "the roles of %s allow signing with %s",
                      kv_json_text(grant, "principal"), uri);
    else
        kv_doctor_say(doctor, KV_FINDING_FAIL, "grant", cure,
                      "the roles of %s do not allow signing with %s",
                      kv_json_text(grant, "principal"), uri);
}

/* Tried out on the key socket. */
static void check_grant(struct kv_doctor *doctor, const char *uri)
{
    struct kv_err err = KV_ERR_INIT;
    char cure[KV_CURE_MAX];
    const int rc = ask_grant(doctor, uri, &err);
    if (rc == 0) {
        kv_doctor_say(doctor, KV_FINDING_OK, "grant", NULL, "%s may sign with %s",
                      doctor->user, uri);
        return;
    }
    if (doctor->service != NULL && !kv_str_has_prefix(err.id, "grant.") &&
        (kv_str_has_prefix(err.id, "key.") || rc == KV_E_NOT_FOUND)) {
        check_right(doctor, uri); /* what the key lacks was said */
        return;
    }
    kv_str_cut(cure, sizeof(cure), err.hint, strlen(err.hint));
    if (strcmp(err.id, "grant.denied") == 0 || strcmp(err.id, "grant.revoked") == 0)
        cure_grant(doctor, cure);
    kv_doctor_say(doctor, KV_FINDING_FAIL, "grant", cure[0] != '\0' ? cure : NULL,
                  "%s may not sign: %s", doctor->user, err.message);
}

void kv_doctor_key_check(struct kv_doctor *doctor)
{
    char uri[KV_URI_MAX + 1];
    if (kv_uri_format(&doctor->ref.uri, uri, sizeof(uri)) != 0)
        return;
    kv_doctor_say(doctor, KV_FINDING_OK, "uri", NULL, "%s", uri);
    if (doctor->service != NULL)
        check_object(doctor);
    if (!doctor->has_socket_uid)
        return; /* said already */
    if (doctor->is_other && !doctor->may_become)
        check_right(doctor, uri);
    else
        check_grant(doctor, uri);
}
