/*
 * What the files behind keys.h share: the inside of a kv_key, the private library
 * context with what was fetched from it, and the steps of import.
 */
#ifndef KV_STORE_KEYRING_KEY_INTERNAL_H
#define KV_STORE_KEYRING_KEY_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "store/keyring/keys.h"

#define KV_KEY_OPS 4 /* cached contexts per slot, replaced in turn */
#define KV_RSA_MAX_BYTES 512
#define KV_KEY_D_HASH_LEN 32

/* What a cached context does; with its parameters it makes the tag of kv_key_op. */
enum kv_key_op_kind {
    KV_KEY_OP_SIGN = 1,
    KV_KEY_OP_VERIFY = 2,
    KV_KEY_OP_ENCRYPT = 3,
    KV_KEY_OP_DECRYPT = 4,
    KV_KEY_OP_RAW = 5, /* RSA without padding, for rsa_unpad.c only */
    KV_KEY_OP_DERIVE = 6,
};

/* One context, ready for one operation with fixed parameters. */
struct kv_key_op {
    uint64_t tag;       /* 0: empty */
    EVP_PKEY_CTX *pctx; /* all but EdDSA */
    EVP_MD_CTX *mctx;   /* EdDSA */
};

struct kv_key_slot {
    struct kv_key_op op[KV_KEY_OPS];
    unsigned next;     /* which entry is replaced next */
    int64_t signed_us; /* the last ECDSA signature without a prepared nonce; 0: none */
};

struct kv_key {
    atomic_uint n_refs;
    atomic_uint_least64_t nonce_id; /* of its prepared nonces, 0: none (nonce.c) */
    atomic_bool is_retired;         /* gets no more of them */
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
    struct kv_usage *usage; /* NULL: not counted */
    EVP_PKEY *pkey;
    struct kv_buf spki;
    uint8_t d_hash[KV_KEY_D_HASH_LEN]; /* RSA: SHA-256 of d, for implicit rejection */
    struct kv_key_slot *slot[KV_KEY_SLOTS]; /* each used by one thread at a time */
};

/* The private library context and what kv_keys_init fetched; NULL for md NONE and
 * unknown values. */
OSSL_LIB_CTX *kv_keys_libctx(void);
const EVP_MD *kv_keys_md(uint8_t md);
EVP_MAC *kv_keys_hmac(void);

/* OpenSSL's group name and size in bits of a curve; NULL and 0 when unknown. */
const char *kv_key_group_name(uint8_t curve);
uint16_t kv_key_curve_bits(uint8_t curve);

/* Make a kv_key from `pkey`, which it owns from now on, also on failure. Refuses
 * types, curves and sizes that the vault does not serve (key.import-*). Does not
 * check that the parts fit together: kv_key_check does. */
int kv_key_take(EVP_PKEY *pkey, struct kv_key **out, struct kv_err *err) KV_MUST_CHECK;

/* Refuse a key of foreign origin whose parts do not fit together. */
int kv_key_check(const struct kv_key *key, struct kv_err *err) KV_MUST_CHECK;

/* The cached context with this tag; NULL when there is none. */
struct kv_key_op *kv_key_op_find(struct kv_key *key, unsigned slot, uint64_t tag);

/* Put `op` into the slot (taken, also on failure) and return where it lives; NULL
 * when memory is short. */
struct kv_key_op *kv_key_op_put(struct kv_key *key, unsigned slot, struct kv_key_op op);

/* Plain DER of any private key form. Whole input or key.import-bad-der. The result
 * is taken by kv_key_take, but not yet checked. */
int kv_key_read_der(struct kv_bytes der, struct kv_bytes password, struct kv_key **out,
                    struct kv_err *err) KV_MUST_CHECK;
int kv_key_read_pem(struct kv_bytes pem, struct kv_bytes password, struct kv_key **out,
                    struct kv_key_certs *certs, struct kv_err *err) KV_MUST_CHECK;
int kv_key_read_pfx(struct kv_bytes pfx, struct kv_bytes password, struct kv_key **out,
                    struct kv_key_certs *certs, struct kv_err *err) KV_MUST_CHECK;
int kv_key_read_jwk(const struct kv_role_key_new *request, struct kv_key **out,
                    struct kv_err *err) KV_MUST_CHECK;

/* Parse one whole certificate in the private context; NULL when it is malformed or
 * longer than KV_CERT_DER_MAX. The caller frees. */
X509 *kv_key_read_cert(struct kv_bytes der);

/* Append one certificate; refuses malformed ones and more than KV_CHAIN_MAX. */
int kv_key_certs_add(struct kv_key_certs *certs, struct kv_bytes der,
                     struct kv_err *err) KV_MUST_CHECK;

/* Whether the certificate carries this very public key; false if it is no
 * certificate. */
bool kv_key_fits_cert(const struct kv_key *key, struct kv_bytes cert_der);

#endif
