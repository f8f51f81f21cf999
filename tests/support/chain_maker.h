/*
 * Certificates made on the spot. Test code only: what fails ends the test.
 */
#ifndef KV_TESTS_SUPPORT_CHAIN_MAKER_H
#define KV_TESTS_SUPPORT_CHAIN_MAKER_H

#include <openssl/x509.h>

#include "store/core/wire.h"

#define CHAIN_MAKER_NOW_S INT64_C(1750000000) /* 2025-06-15 */

struct chain_maker {
    const char *type;    /* "RSA", "ED25519", or a curve: "P-256" */
    const char *subject; /* the common name; NULL for an empty subject */
    const char *org;     /* organization behind it, or NULL */
    const char *sans;    /* extension text of openssl: "DNS:a,IP:127.0.0.1"; or NULL */
    bool has_sans_twice; /* the extension, which RFC 5280 §4.2 forbids */
    int64_t nbf_s;       /* 0: a day before CHAIN_MAKER_NOW_S */
    int64_t exp_s;       /* 0: 90 days behind it */
};

struct chain_made {
    EVP_PKEY *key;
    X509 *cert;
    uint8_t *der;
    size_t der_len;
    uint8_t *spki;
    size_t spki_len;
};

/* Make a key and its certificate, signed by `issuer` (NULL: by itself). */
struct chain_made chain_make(const struct chain_maker *maker,
                             const struct chain_made *issuer);
void chain_made_free(struct chain_made *made);

struct kv_bytes chain_made_der(const struct chain_made *made);
struct kv_bytes chain_made_spki(const struct chain_made *made);

/* A key with its certificate, and `issuer`'s in front of that (may be NULL), as one
 * file in `out`, which is initialised here. `password` may be NULL: none. */
void chain_made_pem(const struct chain_made *made, const struct chain_made *issuer,
                    struct kv_buf *out);
void chain_made_pfx(const struct chain_made *made, const struct chain_made *issuer,
                    const char *password, struct kv_buf *out);

/* A certificate request (PKCS#10). Extensions are openssl's text, "critical,CA:TRUE" or
 * "DER:0500"; the list ends with nid 0. */
struct csr_maker {
    const char *type;
    const char *subject; /* the common name; NULL for an empty subject */
    const struct csr_extension {
        int nid;
        const char *value;
    } * extensions; /* NULL: the request asks for none */
};

struct csr_made {
    EVP_PKEY *key;
    uint8_t *der;
    size_t der_len;
};

struct csr_made csr_make(const struct csr_maker *maker);
void csr_made_free(struct csr_made *made);

/* A new key alone; `type` as above. */
EVP_PKEY *chain_make_key(const char *type);

#endif
