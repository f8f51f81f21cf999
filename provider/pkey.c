/*
 * Keys: made from a URI or a key file, shared, copied, used.
 *
 * The public part lives as an ordinary EVP_PKEY of the default provider in our own
 * library context. Everything public (parameters, export, comparison, verification)
 * is answered from it, so that it is exactly what a key file would give.
 */
#include "provider/pkey.h"

#include <openssl/core_object.h>
#include <openssl/x509.h>
#include <string.h>

#include "store/core/str.h"

static const char *const type_names[KV_PKEY_N_TYPES] = {
    [KV_PKEY_RSA] = "RSA",
    [KV_PKEY_EC] = "EC",
    [KV_PKEY_ED25519] = "ED25519",
};

const char *kv_pkey_type_name(enum kv_pkey_type type)
{
    return type_names[type];
}

int kv_pkey_type_by_name(const char *name)
{
    for (int i = 0; i < KV_PKEY_N_TYPES; i++) {
        if (strcmp(type_names[i], name) == 0)
            return i;
    }
    return -1;
}

struct kv_pkey *kv_pkey_new(struct kv_prov *prov, enum kv_pkey_type type)
{
    struct kv_pkey *key = OPENSSL_zalloc(sizeof(*key));
    if (key == NULL)
        return NULL;
    atomic_init(&key->refs, 1);
    key->prov = prov;
    key->type = type;
    kv_prov_hold(prov);
    return key;
}

struct kv_pkey *kv_pkey_ref(struct kv_pkey *key)
{
    (void)atomic_fetch_add_explicit(&key->refs, 1, memory_order_relaxed);
    return key;
}

void kv_pkey_unref(struct kv_pkey *key)
{
    if (key == NULL ||
        atomic_fetch_sub_explicit(&key->refs, 1, memory_order_acq_rel) != 1)
        return;
    EVP_PKEY_free(key->pub);
    OPENSSL_free(key->uri);
    OPENSSL_free(key->spki);
    kv_prov_release(key->prov);
    OPENSSL_free(key);
}

static int no_memory(struct kv_err *err)
{
    return kv_err_set(err, KV_E_NOMEM, "client.no-memory", "out of memory");
}

static int bad_public_key(const char *uri, struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "client.bad-public-key",
                      "the public key of %s is not a usable RSA, EC or Ed25519 key",
                      uri);
}

/* Parse a SubjectPublicKeyInfo in our library context and find its type. */
static int parse_spki(struct kv_prov *prov, struct kv_bytes spki, const char *uri,
                      EVP_PKEY **pub, enum kv_pkey_type *type, struct kv_err *err)
{
    const unsigned char *at = spki.data;
    kv_reason_mark(&prov->core);
    EVP_PKEY *parsed = d2i_PUBKEY_ex(NULL, &at, (long)spki.len, prov->libctx, NULL);
    kv_reason_drop(&prov->core);
    if (parsed == NULL || at != spki.data + spki.len) {
        EVP_PKEY_free(parsed);
        return bad_public_key(uri, err);
    }
    for (int i = 0; i < KV_PKEY_N_TYPES; i++) {
        if (EVP_PKEY_is_a(parsed, type_names[i])) {
            *type = (enum kv_pkey_type)i;
            *pub = parsed;
            return 0;
        }
    }
    EVP_PKEY_free(parsed);
    return bad_public_key(uri, err);
}

/* What makes a vault key; all borrowed. */
struct parts {
    const char *uri;
    const uint8_t *version;
    struct kv_bytes spki;
    bool is_private;
};

static int make(struct kv_prov *prov, const struct parts *parts, struct kv_pkey **out,
                struct kv_err *err)
{
    EVP_PKEY *pub = NULL;
    enum kv_pkey_type type = KV_PKEY_RSA;
    int rc = parse_spki(prov, parts->spki, parts->uri, &pub, &type, err);
    if (rc != 0)
        return rc;
    struct kv_pkey *key = kv_pkey_new(prov, type);
    if (key == NULL) {
        EVP_PKEY_free(pub);
        return no_memory(err);
    }
    key->pub = pub;
    if (parts->is_private) {
        key->is_private = true;
        memcpy(key->version, parts->version, KV_ID_LEN);
        key->uri = OPENSSL_strdup(parts->uri);
        key->spki = OPENSSL_memdup(parts->spki.data, parts->spki.len);
        key->spki_len = parts->spki.len;
        if (key->uri == NULL || key->spki == NULL) {
            kv_pkey_unref(key);
            return no_memory(err);
        }
    }
    *out = key;
    return 0;
}

/* Where the reply of INFO goes. */
struct info {
    struct kv_prov *prov;
    bool is_private;
    const struct kv_uri *asked;
    struct kv_pkey *key;
};

static int on_info(void *arg, struct kv_bytes payload, struct kv_err *err)
{
    struct info *info = arg;
    struct kv_msg_key msg;
    struct kv_uri found;
    if (kv_msg_key_get(payload, &msg) != 0 ||
        kv_uri_parse(msg.uri, strlen(msg.uri), &found, NULL) != 0 ||
        !found.has_version || memcmp(found.version, msg.version, KV_ID_LEN) != 0 ||
        !kv_str_equal_nocase(found.name, info->asked->name) ||
        (info->asked->has_version &&
         memcmp(info->asked->version, msg.version, KV_ID_LEN) != 0))
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon described another key than the one named");
    const struct parts parts = {.uri = msg.uri,
                                .version = msg.version,
                                .spki = msg.spki,
                                .is_private = info->is_private};
    int rc = make(info->prov, &parts, &info->key, NULL);
    if (rc == KV_E_INVALID)
        return kv_err_set(err, rc, "client.bad-reply",
                          "the key daemon sent no usable public key");
    return rc == 0 ? 0 : no_memory(err);
}

int kv_pkey_from_uri(struct kv_prov *prov, const struct kv_uri *uri, bool is_private,
                     struct kv_pkey **out, struct kv_err *err)
{
    struct info info = {.prov = prov, .is_private = is_private, .asked = uri};
    struct kv_msg_uri msg = {.ops = 0};
    struct kv_uri named = *uri;
    if (named.collection == KV_URI_ANY)
        named.collection = KV_URI_KEYS;
    int rc = kv_uri_format(&named, msg.uri, sizeof(msg.uri));
    if (rc != 0)
        return kv_err_set(err, rc, "client.too-big", "the key's URI is too long");
    const struct kv_client_call call = {
        .verb = KV_VERB_INFO, .msg = &msg, .on_reply = on_info, .arg = &info};
    rc = kv_client_call(prov->client, &call, err);
    if (rc != 0)
        return rc;
    *out = info.key;
    return 0;
}

static struct kv_client_key guard_of(struct kv_pkey *key)
{
    struct kv_client_key guard = {.uri = key->uri,
                                  .spki = {.data = key->spki, .len = key->spki_len},
                                  .opened = &key->opened};
    memcpy(guard.version, key->version, KV_ID_LEN);
    return guard;
}

static int make_pinned(struct kv_prov *prov, const struct kv_keyref *ref,
                       bool is_private, struct kv_pkey **out, struct kv_err *err)
{
    char uri[KV_URI_MAX + 1];
    struct kv_uri named = ref->uri;
    named.collection = KV_URI_KEYS;
    int rc = kv_uri_format(&named, uri, sizeof(uri));
    if (rc != 0)
        return rc;
    const struct parts parts = {.uri = uri,
                                .version = ref->uri.version,
                                .spki = {.data = ref->spki, .len = ref->spki_len},
                                .is_private = is_private};
    return make(prov, &parts, out, err);
}

static int check_type(const struct kv_keyref *ref, const struct kv_pkey *key,
                      struct kv_err *err)
{
    const char *found = kv_pkey_type_name(key->type);
    if (ref->key_type[0] == '\0' || strcmp(ref->key_type, found) == 0)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "keyref.bad-type",
                      "the key file says %s, but the key is %s", ref->key_type, found);
}

/* A pinned file says everything. Whether it says the truth is asked now if there is
 * somebody to ask, and in any case before the key is used. */
int kv_pkey_from_keyref(struct kv_prov *prov, const struct kv_keyref *ref,
                        bool is_private, struct kv_pkey **out, struct kv_err *err)
{
    struct kv_pkey *key = NULL;
    bool is_pinned = kv_keyref_is_pinned(ref);
    int rc = 0;
    if (is_pinned)
        KV_TRY(make_pinned(prov, ref, is_private, &key, err));
    else
        KV_TRY(kv_pkey_from_uri(prov, &ref->uri, is_private, &key, err));
    if (key == NULL)
        return KV_E_INTERNAL; /* cannot be: both have made one */
    KV_TRY(check_type(ref, key, err));
    if (is_pinned && is_private) {
        const struct kv_client_key guard = guard_of(key);
        KV_TRY(kv_client_check(prov->client, &guard, err));
    }
    *out = key;
    key = NULL;
out:
    kv_pkey_unref(key);
    return rc;
}

int kv_pkey_take_emit(struct kv_pkey *key, OSSL_CALLBACK *object_cb, void *arg)
{
    int type = OSSL_OBJECT_PKEY;
    struct kv_pkey_reference reference = {.key = key};
    char *type_name = (char *)(uintptr_t)kv_pkey_type_name(key->type);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, type_name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &reference,
                                          sizeof(reference)),
        OSSL_PARAM_construct_end(),
    };
    int ok = object_cb(params, arg);
    kv_pkey_unref(reference.key); /* still there unless LOAD took it */
    return ok;
}

/* Bare domain parameters: what EVP_PKEY_copy_parameters() asks for. */
static EVP_PKEY *dup_parameters(const struct kv_pkey *key)
{
    OSSL_PARAM *params = NULL;
    EVP_PKEY *copy = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(key->prov->libctx,
                                                   kv_pkey_type_name(key->type), NULL);
    if (ctx == NULL ||
        EVP_PKEY_todata(key->pub, EVP_PKEY_KEY_PARAMETERS, &params) <= 0 ||
        EVP_PKEY_fromdata_init(ctx) <= 0 ||
        EVP_PKEY_fromdata(ctx, &copy, EVP_PKEY_KEY_PARAMETERS, params) <= 0)
        copy = NULL;
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return copy;
}

struct kv_pkey *kv_pkey_dup(struct kv_pkey *key, int selection)
{
    if ((key->is_private || key->is_temporary) &&
        (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
        return kv_pkey_ref(key);
    struct kv_pkey *copy = kv_pkey_new(key->prov, key->type);
    if (copy == NULL || key->pub == NULL)
        return copy;
    kv_reason_mark(&key->prov->core);
    if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0)
        copy->pub = EVP_PKEY_dup(key->pub);
    else if (key->type == KV_PKEY_EC)
        copy->pub = dup_parameters(key);
    kv_reason_drop(&key->prov->core);
    if (copy->pub == NULL &&
        (key->type == KV_PKEY_EC || (selection & OSSL_KEYMGMT_SELECT_KEYPAIR) != 0)) {
        kv_pkey_unref(copy);
        return NULL;
    }
    return copy;
}

int kv_pkey_spki_dup(const struct kv_pkey *key, uint8_t **der, size_t *len)
{
    unsigned char *data = NULL;
    kv_reason_mark(&key->prov->core);
    int n = key->pub == NULL ? -1 : i2d_PUBKEY(key->pub, &data);
    kv_reason_drop(&key->prov->core);
    if (n <= 0)
        return KV_E_INVALID;
    *der = data;
    *len = (size_t)n;
    return 0;
}

int kv_pkey_bits(const struct kv_pkey *key)
{
    return key->pub == NULL ? 0 : EVP_PKEY_get_bits(key->pub);
}

size_t kv_pkey_max_size(const struct kv_pkey *key)
{
    int size = key->pub == NULL ? 0 : EVP_PKEY_get_size(key->pub);
    return size > 0 ? (size_t)size : 0;
}

/* The outermost shape only: length and tag. What is in it is for the verifier. */
static bool is_der_sequence(struct kv_bytes der)
{
    if (der.len < 2 || der.data[0] != (V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED))
        return false;
    if (der.data[1] < 0x80)
        return der.len == 2U + der.data[1];
    return der.data[1] == 0x81 && der.len >= 3 && der.len == 3U + der.data[2];
}

static int on_bytes(void *arg, struct kv_bytes payload, struct kv_err *err)
{
    struct kv_pkey_op *op = arg;
    if (op->exact_len != 0 && payload.len != op->exact_len)
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon's result has %zu bytes instead of %zu",
                          payload.len, op->exact_len);
    if (op->is_der && !is_der_sequence(payload))
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon's signature is not well-formed");
    if ((payload.len == 0 && !op->may_be_empty) || payload.len > op->out_size)
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon's result has %zu bytes, at most %zu fit",
                          payload.len, op->out_size);
    if (payload.len > 0)
        memcpy(op->out, payload.data, payload.len);
    op->out_len = payload.len;
    return 0;
}

static void set_version(struct kv_pkey_op *op, const uint8_t *version)
{
    if (op->verb == KV_VERB_SIGN)
        memcpy(((struct kv_msg_sign *)op->msg)->version, version, KV_ID_LEN);
    else if (op->verb == KV_VERB_DECRYPT)
        memcpy(((struct kv_msg_decrypt *)op->msg)->version, version, KV_ID_LEN);
    else
        memcpy(((struct kv_msg_derive *)op->msg)->version, version, KV_ID_LEN);
}

bool kv_pkey_perform(struct kv_pkey *key, struct kv_pkey_op *op)
{
    if (!key->is_private) {
        kv_reason_raise(&key->prov->core, KV_REASON_PUBLIC_KEY_ONLY,
                        "keyvault: the operation needs a vault key, this is only a "
                        "public key");
        return false;
    }
    const struct kv_client_key guard = guard_of(key);
    set_version(op, key->version);
    const struct kv_client_call call = {.verb = op->verb,
                                        .msg = op->msg,
                                        .key = &guard,
                                        .on_reply = on_bytes,
                                        .arg = op};
    struct kv_err err = KV_ERR_INIT;
    if (kv_client_call(key->prov->client, &call, &err) == 0)
        return true;
    kv_reason_raise_about(&key->prov->core, &err, key->uri);
    return false;
}
