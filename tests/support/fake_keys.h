/*
 * Software keys and certificates of the fake keyring. Loaded once, read-only after.
 */
#ifndef KV_TESTS_SUPPORT_FAKE_KEYS_H
#define KV_TESTS_SUPPORT_FAKE_KEYS_H

#include <openssl/evp.h>
#include <stdbool.h>

#include "store/keyring/protocol.h"

#define FAKE_N_KEYS 9

struct fake_key {
    const char *name;
    uint8_t kty;
    uint8_t curve;
    const char *group; /* of EC, else NULL */
    const char *desc;
    unsigned rsa_bits; /* of RSA, else 0 */
    bool is_optional;  /* exists only where its file lies in the state directory */
    bool is_absent;
    EVP_PKEY *pkey;
    uint8_t version[KV_ID_LEN];
    uint8_t *spki;
    size_t spki_len;
    unsigned n_certs;
    uint8_t *cert[2];
    size_t cert_len[2];
};

/* Fill in names and versions; with a state directory also make all keys there, or
 * read them if they are there already. 0 on success. */
int fake_keys_load(const char *state_dir, struct fake_key keys[FAKE_N_KEYS]);

/* Make a key that has not been made yet; callers exclude each other. 0 on success. */
int fake_key_make(struct fake_key *key, const char *state_dir);
void fake_keys_free(struct fake_key keys[FAKE_N_KEYS]);

/* Operations: append the result to `out`; 0 or a KV_E_* code. */
int fake_key_sign(const struct fake_key *key, const struct kv_msg_sign *msg,
                  struct kv_buf *out);
int fake_key_decrypt(const struct fake_key *key, const struct kv_msg_decrypt *msg,
                     struct kv_buf *out);
int fake_key_derive(const struct fake_key *key, const struct kv_msg_derive *msg,
                    struct kv_buf *out);

#endif
