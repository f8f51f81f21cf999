/*
 * STORE loader of the scheme "keyvault".
 *
 * One loader context walks a short plan, made of the URI, of what the caller expects
 * (OSSL_STORE_expect) and of what it searches (OSSL_STORE_find):
 *
 *   KEY -> CERTIFICATES (leaf first) -> done     one name
 *   LIST page by page                            a collection: NAME objects, or where
 *                                                something is expected or searched, the
 *                                                keys and certificates themselves
 *
 * Each LOAD hands over one object. There is no EXPORT_OBJECT: with one, libcrypto 3.0
 * would turn a vault key into a public key of the default provider.
 */
#include "provider/pkey.h"

#include <openssl/core_object.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <string.h>

#include "provider/search.h"
#include "store/core/str.h"

#define LISTED_MAX 1000000 /* names of one listing */

enum step { STEP_START, STEP_KEY, STEP_CERTS, STEP_LIST, STEP_DONE };

struct loader {
    struct kv_prov *prov;
    struct kv_uri uri;
    int expect; /* OSSL_STORE_INFO_*, 0 = anything */
    struct kv_search search;
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
    uint64_t n_listed;
};

/* A LOAD either hands over an object, or goes on to the next candidate, or ends. */
enum outcome { OUTCOME_NEXT, OUTCOME_EMITTED, OUTCOME_FAILED };

struct sink {
    OSSL_CALLBACK *object_cb;
    void *arg;
};

static bool wants_key(const struct loader *loader)
{
    return (loader->expect == 0 || loader->expect == OSSL_STORE_INFO_PKEY ||
            loader->expect == OSSL_STORE_INFO_PUBKEY) &&
           kv_search_fits_keys(&loader->search);
}

static bool wants_cert(const struct loader *loader)
{
    return loader->expect == 0 || loader->expect == OSSL_STORE_INFO_CERT;
}

/* Whether a collection gives names: what is in it is neither expected nor searched. */
static bool wants_names(const struct loader *loader)
{
    return loader->expect == OSSL_STORE_INFO_NAME ||
           (loader->expect == 0 && loader->search.by == KV_SEARCH_ALL);
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
    return loader;
}

static void drop_certs(struct loader *loader)
{
    for (unsigned i = 0; i < loader->n_certs; i++)
        OPENSSL_free(loader->cert[i]);
    loader->n_certs = 0;
    loader->next_cert = 0;
    loader->has_certs = false;
}

static int store_close(void *vloader)
{
    struct loader *loader = vloader;
    drop_certs(loader);
    kv_search_fini(&loader->search);
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
        OSSL_PARAM_utf8_string(OSSL_STORE_PARAM_PROPERTIES, NULL, 0),
        KV_SEARCH_SETTABLE, OSSL_PARAM_END};
    (void)provctx;
    return settable;
}

static int store_set_params(void *vloader, const OSSL_PARAM params[])
{
    struct loader *loader = vloader;
    const OSSL_PARAM *p = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_EXPECT);
    return (p == NULL || OSSL_PARAM_get_int(p, &loader->expect)) &&
           kv_search_set(loader->prov, &loader->search, params);
}

/* End, and report what failed about the key, certificate or list that was asked for. */
static enum outcome fail(struct loader *loader, const struct kv_uri *about,
                         enum kv_uri_collection collection, const struct kv_err *err)
{
    char text[KV_URI_MAX + 1];
    struct kv_uri uri = *about;
    uri.collection = collection;
    loader->step = STEP_DONE;
    if (err->code != 0 && kv_uri_format(&uri, text, sizeof(text)) == 0)
        kv_reason_raise_about(&loader->prov->core, err, text);
    else if (err->code != 0)
        kv_reason_raise_err(&loader->prov->core, err);
    return OUTCOME_FAILED;
}

static enum outcome refuse(struct loader *loader, enum kv_reason reason,
                           const char *what, const char *instead)
{
    loader->step = STEP_DONE;
    kv_reason_raise(&loader->prov->core, reason, "keyvault: %s; %s%s", what, instead,
                    loader->uri.name);
    return OUTCOME_FAILED;
}

/* --- one name --- */

static bool wants_this_key(const struct loader *loader, const struct kv_pkey *key)
{
    uint8_t *spki = NULL;
    size_t len = 0;
    if (loader->search.by != KV_SEARCH_FINGERPRINT)
        return true;
    if (kv_pkey_spki_dup(key, &spki, &len) != 0)
        return false;
    bool is_wanted = kv_search_wants_key(&loader->search, spki, len);
    OPENSSL_free(spki);
    return is_wanted;
}

/* Emit a key if it is wanted. Returns 0 or the failure. */
static int load_key(struct loader *loader, const struct kv_uri *uri,
                    const struct sink *sink, enum outcome *outcome, struct kv_err *err)
{
    struct kv_pkey *key = NULL;
    bool is_private = loader->expect != OSSL_STORE_INFO_PUBKEY;
    int rc = kv_pkey_from_uri(loader->prov, uri, is_private, &key, err);
    if (rc != 0)
        return rc;
    loader->n_found++;
    if (!wants_this_key(loader, key)) {
        kv_pkey_unref(key);
        return 0;
    }
    *outcome = kv_pkey_take_emit(key, sink->object_cb, sink->arg) ? OUTCOME_EMITTED
                                                                  : OUTCOME_FAILED;
    return 0;
}

/* libcrypto would refuse it as well, but not say whose it is. */
static bool is_certificate(const struct loader *loader, struct kv_bytes der)
{
    const unsigned char *at = der.data;
    kv_reason_mark(&loader->prov->core);
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);
    kv_reason_drop(&loader->prov->core);
    bool is_whole = cert != NULL && at == der.data + der.len;
    X509_free(cert);
    return is_whole;
}

static int on_certs(void *arg, struct kv_bytes payload, struct kv_err *err)
{
    struct loader *loader = arg;
    struct kv_msg_certs msg;
    if (kv_msg_certs_get(payload, &msg) != 0 || msg.n == 0)
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon sent no usable certificate");
    for (unsigned i = 0; i < msg.n; i++) {
        if (!is_certificate(loader, msg.der[i]))
            return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                              "the key daemon sent a certificate that is none");
        loader->cert[i] = OPENSSL_memdup(msg.der[i].data, msg.der[i].len);
        if (loader->cert[i] == NULL)
            return kv_err_set(err, KV_E_NOMEM, "client.no-memory", "out of memory");
        loader->cert_len[i] = msg.der[i].len;
        loader->n_certs = i + 1;
    }
    return 0;
}

static int fetch_certs(struct loader *loader, const struct kv_uri *uri,
                       struct kv_err *err)
{
    struct kv_msg_uri msg = {.ops = 0};
    struct kv_uri named = *uri;
    named.collection = KV_URI_CERTIFICATES;
    int rc = kv_uri_format(&named, msg.uri, sizeof(msg.uri));
    if (rc != 0)
        return kv_err_set(err, rc, "client.too-big", "the URI is too long");
    drop_certs(loader);
    loader->has_certs = true;
    const struct kv_client_call call = {
        .verb = KV_VERB_CERT, .msg = &msg, .on_reply = on_certs, .arg = loader};
    return kv_client_call(loader->prov->client, &call, err);
}

/* Emit certificate `i` of those that were fetched, if it is wanted. */
static enum outcome emit_cert(struct loader *loader, unsigned i,
                              const struct sink *sink)
{
    int type = OSSL_OBJECT_CERT;
    loader->n_found++;
    if (!kv_search_wants_cert(loader->prov, &loader->search, loader->cert[i],
                              loader->cert_len[i]))
        return OUTCOME_NEXT;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, loader->cert[i],
                                          loader->cert_len[i]),
        OSSL_PARAM_construct_end(),
    };
    return sink->object_cb(params, sink->arg) ? OUTCOME_EMITTED : OUTCOME_FAILED;
}

/* A short URI may name a key, a certificate or both: one of them is enough. */
static bool is_forgivable(const struct loader *loader, int rc)
{
    return rc == KV_E_NOT_FOUND && loader->uri.collection == KV_URI_ANY &&
           loader->expect == 0;
}

static enum outcome step_certs(struct loader *loader, const struct sink *sink)
{
    struct kv_err err = KV_ERR_INIT;
    if (!loader->has_certs) {
        int rc = fetch_certs(loader, &loader->uri, &err);
        if (is_forgivable(loader, rc) && loader->n_found > 0) {
            loader->step = STEP_DONE;
            return OUTCOME_NEXT;
        }
        if (rc != 0)
            return fail(loader, &loader->uri, KV_URI_CERTIFICATES, &err);
    }
    unsigned i = loader->next_cert++;
    if (loader->next_cert >= loader->n_certs)
        loader->step = STEP_DONE;
    return emit_cert(loader, i, sink);
}

static enum outcome step_key(struct loader *loader, const struct sink *sink)
{
    struct kv_err err = KV_ERR_INIT;
    enum outcome outcome = OUTCOME_NEXT;
    bool has_certs = loader->uri.collection == KV_URI_ANY && wants_cert(loader);
    loader->step = has_certs ? STEP_CERTS : STEP_DONE;
    int rc = load_key(loader, &loader->uri, sink, &outcome, &err);
    if (rc != 0 && !is_forgivable(loader, rc))
        return fail(loader, &loader->uri, KV_URI_KEYS, &err);
    return outcome;
}

/* --- a collection --- */

/* Whether the page ends behind the one before, and the list is of a size to believe. */
static bool goes_on(struct loader *loader)
{
    const struct kv_msg_list_reply *page = loader->page;
    struct kv_uri last;
    loader->n_listed += page->n;
    if (page->n == 0 || page->has_more == 0)
        return true;
    const char *uri = page->entry[page->n - 1].uri;
    return loader->n_listed <= LISTED_MAX &&
           (kv_uri_parse(uri, strlen(uri), &last, NULL) != 0 ||
            strcmp(last.name, loader->list.after) != 0);
}

static int on_list(void *arg, struct kv_bytes payload, struct kv_err *err)
{
    struct loader *loader = arg;
    if (kv_msg_list_reply_get(payload, loader->page) != 0)
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon sent a malformed list");
    if (!goes_on(loader))
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply",
                          "the key daemon sent a list that does not end");
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
    bool has_certs = loader->uri.collection == KV_URI_ANY &&
                     loader->list.collection == KV_URI_KEYS &&
                     (wants_names(loader) || wants_cert(loader));
    if (!has_more && has_certs) {
        loader->list.collection = KV_URI_CERTIFICATES;
        loader->list.after[0] = '\0';
    } else if (!has_more) {
        loader->step = STEP_DONE;
    }
    OPENSSL_free(loader->page);
    loader->page = NULL;
}

static enum outcome emit_name(const struct kv_msg_list_entry *entry,
                              const struct kv_uri *uri, const struct sink *sink)
{
    int type = OSSL_OBJECT_NAME;
    char text[KV_URI_MAX + 1];
    if (kv_uri_format(uri, text, sizeof(text)) != 0)
        return OUTCOME_FAILED;
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &type),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA, text, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DESC,
                                         (char *)(uintptr_t)entry->desc, 0),
        OSSL_PARAM_construct_end(),
    };
    return sink->object_cb(params, sink->arg) ? OUTCOME_EMITTED : OUTCOME_FAILED;
}

/* An entry that was removed since it was listed, or that cannot be used at present, is
 * passed over; anything else would fail for each entry again. */
static bool is_passed_over(const struct loader *loader, int rc)
{
    return rc == KV_E_NOT_FOUND || (loader->search.by != KV_SEARCH_ALL &&
                                    (rc == KV_E_DENIED || rc == KV_E_STATE));
}

/* The object that an entry names; of a certificate the leaf alone. */
static enum outcome emit_object(struct loader *loader, const struct kv_uri *uri,
                                const struct sink *sink)
{
    struct kv_err err = KV_ERR_INIT;
    enum outcome outcome = OUTCOME_NEXT;
    int rc = 0;
    if (loader->list.collection == KV_URI_KEYS) {
        rc = load_key(loader, uri, sink, &outcome, &err);
    } else {
        rc = fetch_certs(loader, uri, &err);
        if (rc == 0)
            outcome = emit_cert(loader, 0, sink);
    }
    if (rc == 0 || is_passed_over(loader, rc))
        return outcome;
    return fail(loader, uri, loader->list.collection, &err);
}

/* One entry of the page, as the caller wants it. */
static enum outcome step_entry(struct loader *loader, const struct sink *sink)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_uri uri;
    const struct kv_msg_list_entry *entry = &loader->page->entry[loader->next_entry++];
    if (kv_uri_parse(entry->uri, strlen(entry->uri), &uri, &err) != 0)
        return fail(loader, &loader->uri, loader->list.collection, &err);
    enum outcome outcome = wants_names(loader) ? emit_name(entry, &uri, sink)
                                               : emit_object(loader, &uri, sink);
    if (loader->step == STEP_LIST)
        turn_page(loader, &uri);
    return outcome;
}

static enum outcome step_list(struct loader *loader, const struct sink *sink)
{
    struct kv_err err = KV_ERR_INIT;
    if (loader->page == NULL && next_page(loader, &err) != 0)
        return fail(loader, &loader->uri, loader->list.collection, &err);
    if (loader->next_entry < loader->page->n)
        return step_entry(loader, sink);
    turn_page(loader, NULL);
    return OUTCOME_NEXT;
}

/* --- the plan --- */

/* Where the URI has nothing of the expected type. Lists of revocation and parameters
 * are never here: a program that looks for them finds none, and that is no error. */
static enum outcome nothing(struct loader *loader)
{
    if (loader->expect == OSSL_STORE_INFO_CERT)
        return refuse(loader, KV_REASON_NOT_FOUND,
                      "the URI names a key, but a certificate is expected",
                      "name certificates/");
    if (loader->expect == OSSL_STORE_INFO_PKEY ||
        loader->expect == OSSL_STORE_INFO_PUBKEY)
        return refuse(loader, KV_REASON_NOT_FOUND,
                      "the URI names a certificate, but a key is expected",
                      "name keys/");
    loader->step = STEP_DONE;
    return OUTCOME_NEXT;
}

static enum outcome step_start(struct loader *loader)
{
    struct kv_uri *uri = &loader->uri;
    bool is_list = uri->name[0] == '\0' && loader->search.by != KV_SEARCH_ALIAS;
    bool is_name = is_list && wants_names(loader);
    bool has_key =
        uri->collection != KV_URI_CERTIFICATES && (is_name || wants_key(loader));
    bool has_certs = uri->collection != KV_URI_KEYS && (is_name || wants_cert(loader));
    if (!kv_search_fits_keys(&loader->search) && !has_certs)
        return refuse(loader, KV_REASON_UNSUPPORTED,
                      "keys have no subject, issuer or serial number",
                      "search by alias or fingerprint, or search certificates/");
    if (!has_key && !has_certs)
        return nothing(loader);
    if (loader->search.by == KV_SEARCH_ALIAS && uri->name[0] == '\0')
        memcpy(uri->name, loader->search.alias, sizeof(uri->name));
    if (is_list) {
        memcpy(loader->list.vault, uri->vault, sizeof(loader->list.vault));
        loader->list.collection = has_key ? KV_URI_KEYS : KV_URI_CERTIFICATES;
        loader->step = STEP_LIST;
    } else if (loader->search.by == KV_SEARCH_ALIAS &&
               !kv_str_equal_nocase(uri->name, loader->search.alias)) {
        loader->step = STEP_DONE; /* another name */
    } else {
        loader->step = has_key ? STEP_KEY : STEP_CERTS;
    }
    return OUTCOME_NEXT;
}

static enum outcome step(struct loader *loader, const struct sink *sink)
{
    switch (loader->step) {
    case STEP_START:
        return step_start(loader);
    case STEP_KEY:
        return step_key(loader, sink);
    case STEP_CERTS:
        return step_certs(loader, sink);
    case STEP_LIST:
        return step_list(loader, sink);
    case STEP_DONE:
        break;
    }
    return OUTCOME_FAILED;
}

static int store_load(void *vloader, OSSL_CALLBACK *object_cb, void *object_cbarg,
                      OSSL_PASSPHRASE_CALLBACK *pw_cb, void *pw_cbarg)
{
    struct loader *loader = vloader;
    const struct sink sink = {.object_cb = object_cb, .arg = object_cbarg};
    (void)pw_cb; /* no secret is ever asked for here */
    (void)pw_cbarg;
    enum outcome outcome = OUTCOME_NEXT;
    while (outcome == OUTCOME_NEXT && loader->step != STEP_DONE)
        outcome = step(loader, &sink);
    return outcome == OUTCOME_EMITTED;
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
