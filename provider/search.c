/*
 * Searching is comparing here: the daemon lists names only, so the loader fetches the
 * candidates and asks this file about each. Names compare as OpenSSL compares them
 * (canonical form: case and runs of spaces do not count).
 */
#include "provider/search.h"

#include <openssl/store.h>
#include <string.h>

#include "store/core/str.h"

void kv_search_fini(struct kv_search *search)
{
    X509_NAME_free(search->name);
    BN_free(search->serial);
    *search = (struct kv_search){.by = KV_SEARCH_ALL};
}

static bool refuse(const struct kv_prov *prov, const char *why)
{
    kv_reason_raise(&prov->core, KV_REASON_BAD_PARAMETER, "keyvault: %s", why);
    return false;
}

static X509_NAME *decode_name(const struct kv_prov *prov, const OSSL_PARAM *p)
{
    const unsigned char *at = p->data;
    if (p->data_type != OSSL_PARAM_OCTET_STRING || p->data == NULL)
        return NULL;
    kv_reason_mark(&prov->core);
    X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)p->data_size);
    kv_reason_drop(&prov->core);
    if (name != NULL && at != (const unsigned char *)p->data + p->data_size) {
        X509_NAME_free(name);
        return NULL;
    }
    return name;
}

static bool set_subject(const struct kv_prov *prov, struct kv_search *search,
                        const OSSL_PARAM *subject)
{
    search->by = KV_SEARCH_SUBJECT;
    search->name = decode_name(prov, subject);
    return search->name != NULL || refuse(prov, "the subject is not a name in DER");
}

static bool set_issuer_serial(const struct kv_prov *prov, struct kv_search *search,
                              const OSSL_PARAM *issuer, const OSSL_PARAM *serial)
{
    if (issuer == NULL || serial == NULL)
        return refuse(prov, "a search by issuer needs the serial number, and vice "
                            "versa");
    search->by = KV_SEARCH_ISSUER_SERIAL;
    search->name = decode_name(prov, issuer);
    return (search->name != NULL && OSSL_PARAM_get_BN(serial, &search->serial)) ||
           refuse(prov, "the issuer is not a name in DER, or the serial number is "
                        "none");
}

/* The digest by its name, or by the length of the fingerprint. */
static uint8_t digest_of(struct kv_prov *prov, const OSSL_PARAM *digest, size_t len)
{
    static const uint8_t usual[] = {KV_MD_SHA1, KV_MD_SHA224, KV_MD_SHA256,
                                    KV_MD_SHA384, KV_MD_SHA512};
    if (digest != NULL && digest->data != NULL)
        return kv_prov_md_by_name(prov, digest->data);
    for (size_t i = 0; i < sizeof(usual); i++) {
        if (kv_md_len(usual[i]) == len)
            return usual[i];
    }
    return KV_MD_NONE;
}

static bool set_fingerprint(struct kv_prov *prov, struct kv_search *search,
                            const OSSL_PARAM *fingerprint, const OSSL_PARAM *digest)
{
    uint8_t md = digest_of(prov, digest, fingerprint->data_size);
    if (md == KV_MD_NONE || fingerprint->data_type != OSSL_PARAM_OCTET_STRING ||
        fingerprint->data == NULL || fingerprint->data_size != kv_md_len(md))
        return refuse(prov, "the fingerprint is not a SHA-1, SHA-2 or SHA-3 digest, or "
                            "not as long as its digest");
    search->by = KV_SEARCH_FINGERPRINT;
    search->md = kv_prov_md(prov, md);
    memcpy(search->fingerprint, fingerprint->data, fingerprint->data_size);
    search->fingerprint_len = fingerprint->data_size;
    return search->md != NULL;
}

static bool set_alias(const struct kv_prov *prov, struct kv_search *search,
                      const OSSL_PARAM *alias)
{
    const char *text = NULL;
    search->by = KV_SEARCH_ALIAS;
    return (OSSL_PARAM_get_utf8_string_ptr(alias, &text) && text != NULL &&
            kv_name_is_valid(text, strlen(text)) &&
            kv_str_copy(search->alias, sizeof(search->alias), text) == 0) ||
           refuse(prov, "an alias is the name in the vault: 1 to 127 letters, digits "
                        "and hyphens");
}

bool kv_search_set(struct kv_prov *prov, struct kv_search *search,
                   const OSSL_PARAM params[])
{
    struct kv_search asked = {.by = KV_SEARCH_ALL};
    bool ok = true;
    const OSSL_PARAM *subject =
        OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_SUBJECT);
    const OSSL_PARAM *issuer = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_ISSUER);
    const OSSL_PARAM *serial = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_SERIAL);
    const OSSL_PARAM *fingerprint =
        OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_FINGERPRINT);
    const OSSL_PARAM *digest = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_DIGEST);
    const OSSL_PARAM *alias = OSSL_PARAM_locate_const(params, OSSL_STORE_PARAM_ALIAS);
    if (subject != NULL)
        ok = set_subject(prov, &asked, subject);
    else if (issuer != NULL || serial != NULL)
        ok = set_issuer_serial(prov, &asked, issuer, serial);
    else if (fingerprint != NULL)
        ok = set_fingerprint(prov, &asked, fingerprint, digest);
    else if (alias != NULL)
        ok = set_alias(prov, &asked, alias);
    else
        return true;
    if (!ok) {
        kv_search_fini(&asked);
        return false;
    }
    kv_search_fini(search);
    *search = asked;
    return true;
}

static bool is_fingerprint(const struct kv_search *search, const uint8_t *der,
                           size_t len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    return EVP_Digest(der, len, digest, NULL, search->md, NULL) == 1 &&
           memcmp(digest, search->fingerprint, search->fingerprint_len) == 0;
}

bool kv_search_wants_key(const struct kv_search *search, const uint8_t *spki,
                         size_t len)
{
    switch (search->by) {
    case KV_SEARCH_ALL:
    case KV_SEARCH_ALIAS:
        return true;
    case KV_SEARCH_FINGERPRINT:
        return is_fingerprint(search, spki, len);
    case KV_SEARCH_SUBJECT:
    case KV_SEARCH_ISSUER_SERIAL:
        return false;
    }
    return false;
}

bool kv_search_fits_keys(const struct kv_search *search)
{
    return search->by != KV_SEARCH_SUBJECT && search->by != KV_SEARCH_ISSUER_SERIAL;
}

static bool has_serial(const struct kv_search *search, const X509 *cert)
{
    BIGNUM *serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    bool is_same = serial != NULL && BN_cmp(serial, search->serial) == 0;
    BN_free(serial);
    return is_same;
}

static bool has_key(const struct kv_search *search, const X509 *cert)
{
    unsigned char *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);
    bool is_same = len > 0 && is_fingerprint(search, spki, (size_t)len);
    OPENSSL_free(spki);
    return is_same;
}

bool kv_search_wants_cert(struct kv_prov *prov, const struct kv_search *search,
                          const uint8_t *der, size_t len)
{
    const unsigned char *at = der;
    bool is_wanted = false;
    if (search->by == KV_SEARCH_ALL || search->by == KV_SEARCH_ALIAS)
        return true;
    kv_reason_mark(&prov->core);
    X509 *cert = X509_new_ex(prov->libctx, NULL);
    if (cert != NULL && d2i_X509(&cert, &at, (long)len) != NULL) {
        if (search->by == KV_SEARCH_SUBJECT)
            is_wanted = X509_NAME_cmp(X509_get_subject_name(cert), search->name) == 0;
        else if (search->by == KV_SEARCH_ISSUER_SERIAL)
            is_wanted = X509_NAME_cmp(X509_get_issuer_name(cert), search->name) == 0 &&
                        has_serial(search, cert);
        else
            is_wanted = is_fingerprint(search, der, len) || has_key(search, cert);
    }
    X509_free(cert);
    kv_reason_drop(&prov->core);
    return is_wanted;
}
