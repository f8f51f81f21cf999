/*
 * STORE loader of the scheme "keyvault".
 *
 * One loader context walks a short plan, made of the URI and of what the caller
 * expects (OSSL_STORE_expect):
 *
 *   KEY -> CERTIFICATES (leaf first) -> done          one name
 *   LIST page by page: NAME objects, or each key      a collection
 *
 * Each LOAD hands over one object. There is no EXPORT_OBJECT: with one, libcrypto 3.0
 * would turn a vault key into a public key of the default provider.
 */
#include "provider/pkey.h"

#include <openssl/core_object.h>
#include <openssl/store.h>
#include <string.h>

#include "store/core/str.h"

enum step { STEP_KEY, STEP_CERTS, STEP_LIST, STEP_DONE };

struct loader {
    struct kv_prov *prov;
    struct kv_uri uri;
    int expect; /* OSSL_STORE_INFO_*, 0 = anything */
    enum step step;
    unsigned n_found;
    /* certificates of one name, copied out of the reply */
    bool has_certs;
    unsigned n_certs;
    unsigned next_cert;
    uint8_t *cert[KV_CHAIN_MAX];
    size_t cert_len[KV_CHAIN_MAX];
    /* a page of a listing */
    struct kv_msg_list_reply *page;
    unsigned next_entry;
    struct kv_msg_list list;
};

static bool wants(const struct loader *loader, int type)
{
    if (loader->expect == 0 || loader->expect == type)
        return true;
    return type == OSSL_STORE_INFO_PKEY && loader->expect == OSSL_STORE_INFO_PUBKEY;
}

/* Report what failed, about the key, certificate or list that was asked for. */
static void report(const struct loader *loader, enum kv_uri_collection collection,
                   const struct kv_err *err)
{
    char text[KV_URI_MAX + 1];
    struct kv_uri uri = loader->uri;
    uri.collection = collection;
    if (kv_uri_format(&uri, text, sizeof(text)) == 0)
        kv_reason_raise_about(&loader->prov->core, err, text);
    else
        kv_reason_raise_err(&loader->prov->core, err);
}

static void *store_open(void *provctx, const char *text)
{
    struct kv_prov *prov = provctx;
    struct kv_err err = KV_ERR_INIT;
    struct kv_uri uri;
    if (kv_uri_parse(text, strlen(text), &uri, &err) != 0) {
        kv_reason_raise_err(&prov->core, &err);
        return NULL;
    }
    struct loader *loader = OPENSSL_zalloc(sizeof(*loader));
    if (loader == NULL)
        return NULL;
    loader->prov = prov;
    loader->uri = uri;
    if (uri.name[0] == '\0')
        loader->step = STEP_LIST;
    else
        loader->step = uri.collection == KV_URI_CERTIFICATES ? STEP_CERTS : STEP_KEY;
    memcpy(loader->list.vault, uri.vault, sizeof(loader->list.vault));
    loader->list.collection =
        uri.collection == KV_URI_CERTIFICATES ? KV_URI_CERTIFICATES : KV_URI_KEYS;
    return loader;
}

static int store_close(void *vloader)
{
    struct loader *loader = vloader;
    for (unsigned i = 0; i < loader->n_certs; i++)
        OPENSSL_free(loader->cert[i]);
    OPENSSL_free(loader->page);
    OPENSSL_free(loader);
    return 1;
}

static int store_eof(void *vloader)
{
    const struct loader *loader = vloader;
    return loader->step == STEP_DONE;
}

static const OSSL_PARAM *store_settable(void *provctx)
{
    static const OSSL_PARAM settable[] = {
        OSSL_PARAM_int(OSSL_STORE_PARAM_EXPECT, NULL),
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_PROPERTIES, NULL, 0), OSSL_PARAM_END};
    (void)provctx;
    return settable;
}

static int store_set_params(void *vloader, const OSSL_PARAM params[])
{
    struct loader *loader = vloader;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);
    return p == NULL || OSSL_PARAM_get_int(p, &loader->expect);
}

static int load_key(struct loader *loader, const struct kv_uri *uri,
                    OSSL_CALLBACK *object_cb, void *arg, struct kv_err *err)
{
    struct kv_pkey *key = NULL;
    bool is_private = loader->expect != OSSL_STORE_INFO_PUBKEY;
    int rc = kv_pkey_from_uri(loader->prov, uri, is_private, &key, err);
    if (rc != 0)
        return rc;
    loader->n_found++;
    return kv_pkey_take_emit(key, object_cb, arg) ? 0 : KV_E_INTERNAL;
}

static int on_certs(void *arg, struct kv_bytes payload, struct kv_err *err)
{
    struct loader *loader = arg;
    struct kv_msg_certs msg;
    if (kv_msg_certs_get(payload, &msg) != 0 || msg.n == 0)
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon sent no usable certificate");
    for (unsigned i = 0; i < msg.n; i++) {
        loader->cert[i] = OPENSSL_memdup(msg.der[i].data, msg.der[i].len);
        if (loader->cert[i] == NULL)
            return kv_err_set(err, KV_E_NOMEM, "client.no-memory", "out of memory");
        loader->cert_len[i] = msg.der[i].len;
        loader->n_certs = i + 1;
    }
    return 0;
}

static int fetch_certs(struct loader *loader, struct kv_err *err)
{
    struct kv_msg_uri msg = {.ops = 0};
    struct kv_uri named = loader->uri;
    named.collection = KV_URI_CERTIFICATES;
    int rc = kv_uri_format(&named, msg.uri, sizeof(msg.uri));
    if (rc != 0)
        return kv_err_set(err, rc, "client.too-big", "the URI is too long");
    const struct kv_client_call call = {
        .verb = KV_VERB_CERT, .msg = &msg, .on_reply = on_certs, .arg = loader};
    return kv_client_call(loader->prov->client, &call, err);
}

static int emit_cert(struct loader *loader, OSSL_CALLBACK *object_cb, void *arg)
{
    int type = OSSL_OBJECT_CERT;
    unsigned i = loader->next_cert++;
    if (loader->next_cert >= loader->n_certs)
        loader->step = STEP_DONE;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, loader->cert[i],
                                          loader->cert_len[i]),
        OSSL_PARAM_construct_end(),
    };
    loader->n_found++;
    return object_cb(params, arg);
}

/* A short URI may name a key, a certificate or both: one of them is enough. */
static bool is_forgivable(const struct loader *loader, int rc)
{
    return rc == KV_E_NOT_FOUND && loader->uri.collection == KV_URI_ANY &&
           loader->expect == 0;
}

static int step_certs(struct loader *loader, OSSL_CALLBACK *object_cb, void *arg)
{
    struct kv_err err = KV_ERR_INIT;
    if (!wants(loader, OSSL_STORE_INFO_CERT)) {
        loader->step = STEP_DONE;
        if (loader->uri.collection == KV_URI_CERTIFICATES)
            kv_reason_raise(&loader->prov->core, KV_REASON_NOT_FOUND,
                            "keyvault: certificates/%s names a certificate, but a key "
                            "is expected; name keys/%s",
                            loader->uri.name, loader->uri.name);
        return 0;
    }
    if (!loader->has_certs) {
        loader->has_certs = true;
        int rc = fetch_certs(loader, &err);
        if (rc != 0) {
            loader->step = STEP_DONE;
            if (!is_forgivable(loader, rc) || loader->n_found == 0)
                report(loader, KV_URI_CERTIFICATES, &err);
            return 0;
        }
    }
    return emit_cert(loader, object_cb, arg);
}

static int step_key(struct loader *loader, OSSL_CALLBACK *object_cb, void *arg)
{
    struct kv_err err = KV_ERR_INIT;
    bool has_both = loader->uri.collection == KV_URI_ANY;
    loader->step = has_both ? STEP_CERTS : STEP_DONE;
    if (!wants(loader, OSSL_STORE_INFO_PKEY)) {
        if (has_both)
            return step_certs(loader, object_cb, arg);
        kv_reason_raise(&loader->prov->core, KV_REASON_NOT_FOUND,
                        "keyvault: keys/%s names a key, but a certificate is expected; "
                        "name certificates/%s",
                        loader->uri.name, loader->uri.name);
        return 0;
    }
    int rc = load_key(loader, &loader->uri, object_cb, arg, &err);
    if (rc == 0) {
        if (!wants(loader, OSSL_STORE_INFO_CERT))
            loader->step = STEP_DONE;
        return 1;
    }
    if (is_forgivable(loader, rc))
        return step_certs(loader, object_cb, arg);
    loader->step = STEP_DONE;
    if (err.code != 0)
        report(loader, KV_URI_KEYS, &err);
    return 0;
}

static int on_list(void *arg, struct kv_bytes payload, struct kv_err *err)
{
    struct loader *loader = arg;
    if (kv_msg_list_reply_get(payload, loader->page) != 0)
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon sent a malformed list");
    return 0;
}

/* Fetch the page behind the last entry seen. */
static int next_page(struct loader *loader, struct kv_err *err)
{
    if (loader->page == NULL)
        loader->page = OPENSSL_zalloc(sizeof(*loader->page));
    if (loader->page == NULL)
        return kv_err_set(err, KV_E_NOMEM, "client.no-memory", "out of memory");
    loader->next_entry = 0;
    const struct kv_client_call call = {
        .verb = KV_VERB_LIST, .msg = &loader->list, .on_reply = on_list, .arg = loader};
    return kv_client_call(loader->prov->client, &call, err);
}

/* When a page is used up: the next page, the next collection, or the end. */
static void turn_page(struct loader *loader, const struct kv_uri *last)
{
    if (loader->next_entry < loader->page->n)
        return;
    bool has_more =
        loader->page->has_more != 0 && last != NULL &&
        kv_str_copy(loader->list.after, sizeof(loader->list.after), last->name) == 0;
    if (!has_more && loader->uri.collection == KV_URI_ANY &&
        loader->list.collection == KV_URI_KEYS) {
        loader->list.collection = KV_URI_CERTIFICATES;
        loader->list.after[0] = '\0';
    } else if (!has_more) {
        loader->step = STEP_DONE;
    }
    OPENSSL_free(loader->page);
    loader->page = NULL;
}

static int emit_name(struct loader *loader, const char *uri, const char *desc,
                     OSSL_CALLBACK *object_cb, void *arg)
{
    int type = OSSL_OBJECT_NAME;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA, (char *)(uintptr_t)uri,
                                         0),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DESC,
                                         (char *)(uintptr_t)desc, 0),
        OSSL_PARAM_construct_end(),
    };
    loader->n_found++;
    return object_cb(params, arg);
}

/* One entry of the page, as the caller wants it. */
static int emit_entry(struct loader *loader, OSSL_CALLBACK *object_cb, void *arg)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_uri uri;
    const struct kv_msg_list_entry *entry = &loader->page->entry[loader->next_entry++];
    int ok = 0;
    if (kv_uri_parse(entry->uri, strlen(entry->uri), &uri, &err) != 0) {
        loader->step = STEP_DONE;
        kv_reason_raise_err(&loader->prov->core, &err);
        return 0;
    }
    if (loader->expect == 0 || loader->expect == OSSL_STORE_INFO_NAME) {
        ok = emit_name(loader, entry->uri, entry->desc, object_cb, arg);
    } else {
        int rc = load_key(loader, &uri, object_cb, arg, &err);
        ok = rc == 0;
        if (err.code != 0)
            kv_reason_raise_about(&loader->prov->core, &err, entry->uri);
    }
    turn_page(loader, &uri);
    return ok;
}

static int step_list(struct loader *loader, OSSL_CALLBACK *object_cb, void *arg)
{
    struct kv_err err = KV_ERR_INIT;
    bool is_key = loader->expect == OSSL_STORE_INFO_PKEY ||
                  loader->expect == OSSL_STORE_INFO_PUBKEY;
    while (loader->step == STEP_LIST) {
        if (loader->expect == OSSL_STORE_INFO_CERT ||
            (is_key && loader->list.collection == KV_URI_CERTIFICATES))
            break; /* certificates are listed by name, and loaded one by one */
        if (loader->page == NULL && next_page(loader, &err) != 0) {
            report(loader, loader->list.collection, &err);
            break;
        }
        if (loader->next_entry < loader->page->n)
            return emit_entry(loader, object_cb, arg);
        turn_page(loader, NULL);
    }
    loader->step = STEP_DONE;
    return 0;
}

static int store_load(void *vloader, OSSL_CALLBACK *object_cb, void *object_cbarg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct loader *loader = vloader;
    (void)pw_cb; /* no secret is ever asked for here */
    (void)pw_cbarg;
    switch (loader->step) {
    case STEP_KEY:
        return step_key(loader, object_cb, object_cbarg);
    case STEP_CERTS:
        return step_certs(loader, object_cb, object_cbarg);
    case STEP_LIST:
        return step_list(loader, object_cb, object_cbarg);
    case STEP_DONE:
        break;
    }
    return 0;
}

#define ROW(NAME, name, fn)                                                            \
    KV_DISPATCH(OSSL_FUNC_STORE_##NAME, OSSL_FUNC_store_##name, fn)
const OSSL_DISPATCH kv_store_functions[] = {
    ROW(OPEN, open, store_open),
    ROW(LOAD, load, store_load),
    ROW(EOF, eof, store_eof),
    ROW(CLOSE, close, store_close),
    ROW(SET_CTX_PARAMS, set_ctx_params, store_set_params),
    ROW(SETTABLE_CTX_PARAMS, settable_ctx_params, store_settable),
    KV_DISPATCH_END};
