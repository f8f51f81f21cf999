/*
 * Soft keys: every private-key operation of the vault, on libcrypto.
 *
 * A kv_key is one live key: EVP_PKEY plus one cached context per thread slot. It is
 * reference-counted (atomic); operations may run on several threads at once as long
 * as each passes its own `slot` (0 to KV_KEY_SLOTS - 1), so that nothing is fetched
 * or allocated per operation. All of it uses the private library context of
 * kv_keys_init, never the process's configuration. Private bytes exist only in
 * secret buffers and inside the EVP_PKEY. One error text for every failed decrypt.
 */
#ifndef KV_STORE_KEYRING_KEYS_H
#define KV_STORE_KEYRING_KEYS_H

#include "store/core/buf.h"
#include "store/core/err.h"
#include "store/keyring/protocol.h"
#include "store/keyring/role.h"

#define KV_KEY_SLOTS 65 /* one per channel thread, the last for the pool's lock */

/* Load providers (default, legacy for old PFX) into a private library context and
 * fetch what operations need. Call once, before threads and before the sandbox. */
int kv_keys_init(struct kv_err *err) KV_MUST_CHECK;
void kv_keys_fini(void);

struct kv_key;

/* Make a key. RSA: `bits` 2048, 3072 or 4096, e = 65537. EC and OKP: `curve`. */
int kv_key_generate(uint8_t kty, uint8_t curve, uint16_t bits, struct kv_key **out,
                    struct kv_err *err) KV_MUST_CHECK;

struct kv_key_certs {
    unsigned n;
    struct kv_buf der[KV_CHAIN_MAX]; /* leaf that matches the key first */
};

/* Read a key in any enum kv_import form; ids key.import-*. Everything is checked
 * before use: sizes, at most 10^6 iterations in sum, at most 64 bags, at most 256
 * KiB, modulus of 2048, 3072 or 4096 bits with e odd in 3..2^32, p q n d consistent,
 * points on their curve, private matches public. `certs` (may be NULL) receives the
 * certificates of PEM and PFX; the caller frees with kv_key_certs_free. */
int kv_key_import(const struct kv_role_key_new *request, struct kv_key **out,
                  struct kv_key_certs *certs, struct kv_err *err) KV_MUST_CHECK;
void kv_key_certs_free(struct kv_key_certs *certs);

/* Private key as plain PKCS#8 DER for sealing, into a secret buffer; and back. */
int kv_key_to_pkcs8(const struct kv_key *key, struct kv_buf *out) KV_MUST_CHECK;
int kv_key_from_pkcs8(struct kv_bytes der, struct kv_key **out,
                      struct kv_err *err) KV_MUST_CHECK;

struct kv_key *kv_key_ref(struct kv_key *key);
void kv_key_unref(struct kv_key *key);

/* Count what is done with the key from now on; `usage` is taken, and may be shared with
 * other states of the same key. Before the key is shared. */
struct kv_usage;
void kv_key_set_usage(struct kv_key *key, struct kv_usage *usage);
struct kv_usage *kv_key_usage(const struct kv_key *key); /* borrowed, may be NULL */

uint8_t kv_key_kty(const struct kv_key *key);
uint8_t kv_key_curve(const struct kv_key *key);
uint16_t kv_key_bits(const struct kv_key *key);
struct kv_bytes kv_key_spki(const struct kv_key *key); /* DER, lives with the key */

/* Whether this operation should leave the loop for the pool: RSA above 2048 bits. */
bool kv_key_is_slow(const struct kv_key *key);

/* Operations append to `out` (a secret buffer for decrypt and derive). The caller
 * has checked permissions. Errors: KV_E_INVALID for parameters that do not fit the
 * key (key.bad-digest, key.bad-scheme, ...), KV_E_CRYPTO (key.decrypt-failed) for any
 * failure of decryption. Scheme rules and encodings: protocol.h. */
int kv_key_sign(struct kv_key *key, unsigned slot, const struct kv_msg_sign *msg,
                struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;
int kv_key_verify(struct kv_key *key, unsigned slot, const struct kv_msg_sign *msg,
                  struct kv_bytes signature, bool *is_valid,
                  struct kv_err *err) KV_MUST_CHECK;
int kv_key_encrypt(struct kv_key *key, unsigned slot, const struct kv_msg_decrypt *msg,
                   struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;
int kv_key_decrypt(struct kv_key *key, unsigned slot, const struct kv_msg_decrypt *msg,
                   struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;
int kv_key_derive(struct kv_key *key, unsigned slot, const struct kv_msg_derive *msg,
                  struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* Sign a CSR or self-issued certificate body that carries this very key; refuses
 * every other DER (key.tbs-*). Appends the whole signed object in DER. */
int kv_key_sign_tbs(struct kv_key *key, const struct kv_role_tbs *msg,
                    struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* Build PFX (AES-256-CBC, PBKDF2-HMAC-SHA256, HMAC-SHA256 MAC; an empty password is
 * allowed: that is what Azure serves) or PEM (PKCS#8, leaf, chain) into a secret
 * buffer. The caller has checked that the row says exportable. */
int kv_key_export(struct kv_key *key, const struct kv_role_export *msg,
                  struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

#endif
