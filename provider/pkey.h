/*
 * A key as OpenSSL sees it: the public part, and for a vault key the name under which
 * the daemon does the private part.
 *
 * A kv_pkey is reference-counted. A vault key never changes after it has been made
 * and may be shared by threads; a public key that an application builds step by step
 * (kv_pkey_new, import, set_params) belongs to one EVP_PKEY, as in OpenSSL itself.
 */
#ifndef KV_PROVIDER_PKEY_H
#define KV_PROVIDER_PKEY_H

#include "provider/provider.h"
#include "store/core/keyref.h"

enum kv_pkey_type { KV_PKEY_RSA, KV_PKEY_EC, KV_PKEY_ED25519, KV_PKEY_N_TYPES };

struct kv_pkey {
    _Atomic int refs;
    struct kv_prov *prov; /* borrowed: outlives every key */
    enum kv_pkey_type type;
    EVP_PKEY *pub;     /* in prov->libctx; NULL while nothing has been imported */
    bool is_private;   /* a vault key */
    bool is_tls;       /* parameters or keys of one TLS handshake: provider/keygen.h */
    bool is_temporary; /* of these, one whose private part stands in `pub` too */
    char *uri;         /* canonical, with version; vault keys only */
    uint8_t version[KV_ID_LEN];
    uint8_t *spki; /* DER; vault keys only */
    size_t spki_len;
    _Atomic uint64_t opened; /* struct kv_client_key */
};

/* An empty public key. NULL only for out of memory. */
struct kv_pkey *kv_pkey_new(struct kv_prov *prov, enum kv_pkey_type type);

struct kv_pkey *kv_pkey_ref(struct kv_pkey *key);
void kv_pkey_unref(struct kv_pkey *key);

/* The OpenSSL name of a type ("RSA"), and back; -1 if unknown. */
const char *kv_pkey_type_name(enum kv_pkey_type type);
int kv_pkey_type_by_name(const char *name);

/* Make a key from what a URI names; asks the daemon (INFO) for version and public
 * part. `is_private` false gives a public key. Returns 0 or the failure. */
int kv_pkey_from_uri(struct kv_prov *prov, const struct kv_uri *uri, bool is_private,
                     struct kv_pkey **out, struct kv_err *err) KV_MUST_CHECK;

/* The same from a key file. A pinned one needs no daemon, but one that answers must
 * have that key (KV_E_INTEGRITY, client.key-mismatch). */
int kv_pkey_from_keyref(struct kv_prov *prov, const struct kv_keyref *ref,
                        bool is_private, struct kv_pkey **out,
                        struct kv_err *err) KV_MUST_CHECK;

/* What STORE and DECODER hand to KEYMGMT's LOAD: a slot that holds a counted key. LOAD
 * takes the key out of it. */
struct kv_pkey_reference {
    struct kv_pkey *key;
};

/* Offer a key to the core as an object; takes the caller's count in any case. Returns
 * what the callback returned. */
int kv_pkey_take_emit(struct kv_pkey *key, OSSL_CALLBACK *object_cb, void *arg);

/* Copy what `selection` covers: a vault key with its private part is shared, all else
 * is a new public key or bare parameters. NULL when that is impossible. */
struct kv_pkey *kv_pkey_dup(struct kv_pkey *key, int selection);

/* The public part as DER SubjectPublicKeyInfo; free with OPENSSL_free. */
int kv_pkey_spki_dup(const struct kv_pkey *key, uint8_t **der, size_t *len);

/* Key or curve size in bits and largest output of its operation; 0 if unknown. */
int kv_pkey_bits(const struct kv_pkey *key);
size_t kv_pkey_max_size(const struct kv_pkey *key);

/* Perform SIGN, DECRYPT or DERIVE with a vault key: the request's version field is
 * set here. On success exactly the reply's bytes stand in `out`; a longer reply than
 * `out_size` is a failure. Failures are raised on the host's error queue. */
struct kv_pkey_op {
    enum kv_verb verb;
    void *msg;
    unsigned char *out;
    size_t out_size;
    size_t exact_len;  /* what another length is malformed against; 0: any that fits */
    bool is_der;       /* an ECDSA signature */
    bool may_be_empty; /* a plaintext of no bytes is a result */
    size_t out_len;    /* result */
};
bool kv_pkey_perform(struct kv_pkey *key, struct kv_pkey_op *op);

#endif
