/*
 * Vault keys and rows.
 *
 *   row  ver u8 = 1 | alg u8 = 1 | term u32 | nonce 12 | ciphertext | tag 16
 *   AAD  "keyvault row 1" | installation 16 | identity as kv_ident_put writes it
 *
 *   chunk of a blob  nonce 12 | ciphertext | tag 16; its AAD is the caller's (blob.c)
 *
 *   wrapped vault key  WRAP-PAD(key 32 | vault 16 | term u32) under the wrap key
 *
 * The wrap key is bound to the installation by HKDF's info, so that blobs of another
 * installation never open even under the same root key.
 */
#include "store/keyring/seal.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "store/keyring/audit_keys.h"

#define ROW_VERSION 1
#define ROW_ALG_AES_256_GCM 1
#define NONCE_LEN 12
#define ROW_FRONT_LEN (KV_ROW_HEADER_LEN - NONCE_LEN) /* before the nonce */
#define AAD_MAX 512

static const char wrap_label[] = "keyvault wrap 1";
static const char backup_label[] = "keyvault backup 1";
static const char blob_root_label[] = "keyvault blobs 1";
static const char row_label[] = "keyvault row 1";
static const char blob_label[] = "keyvault blob 1";

struct kv_seal {
    uint8_t installation[KV_ID_LEN];
    struct kv_secret wrap_key;
    struct kv_secret blob_key;
    struct kv_secret audit_key;
    struct kv_secret backup_key;
    struct kv_buf slots;
    EVP_CIPHER *gcm;
    const struct kv_rand *rand;
};

/* A key of this installation from its root key. */
static int derive(const struct kv_secret *root, const uint8_t installation[KV_ID_LEN],
                  const char *label, struct kv_secret *key)
{
    uint8_t info[32 + KV_ID_LEN];
    const size_t len = strlen(label);
    KV_ASSERT(len <= 32);
    memcpy(info, label, len); /* NOLINT(bugprone-not-null-terminated-result): bytes */
    memcpy(info + len, installation, KV_ID_LEN);
    const int rc = kv_secret_init(key, 32);
    if (rc != 0)
        return rc;
    return kv_hkdf((struct kv_bytes){root->data, root->len}, (struct kv_bytes){NULL, 0},
                   (struct kv_bytes){info, len + KV_ID_LEN}, key->data, key->len);
}

int kv_seal_new(struct kv_seal **out, const uint8_t installation[KV_ID_LEN],
                const struct kv_secret *root, const struct kv_rand *rand)
{
    KV_ASSERT(root->len == KV_ROOT_LEN);
    int rc = KV_E_NOMEM;
    struct kv_seal *seal = calloc(1, sizeof(*seal));
    if (seal == NULL)
        goto out;
    memcpy(seal->installation, installation, KV_ID_LEN);
    seal->rand = rand;
    kv_buf_init(&seal->slots, KV_BACKUP_SLOTS_MAX);
    KV_TRY(derive(root, installation, wrap_label, &seal->wrap_key));
    KV_TRY(derive(root, installation, blob_root_label, &seal->blob_key));
    KV_TRY(kv_secret_init(&seal->audit_key, KV_AUDIT_KEY_LEN));
    KV_TRY(kv_audit_key((struct kv_bytes){root->data, root->len}, installation,
                        seal->audit_key.data));
    KV_TRY(derive(root, installation, backup_label, &seal->backup_key));
    seal->gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", "provider=default");
    rc = seal->gcm != NULL ? 0 : KV_E_CRYPTO;
out:
    if (rc == 0)
        *out = seal;
    else
        kv_seal_free(seal);
    ERR_clear_error();
    return rc;
}

void kv_seal_free(struct kv_seal *seal)
{
    if (seal == NULL)
        return;
    kv_secret_free(&seal->wrap_key);
    kv_secret_free(&seal->blob_key);
    kv_secret_free(&seal->audit_key);
    kv_secret_free(&seal->backup_key);
    kv_buf_free(&seal->slots);
    EVP_CIPHER_free(seal->gcm);
    free(seal);
}

int kv_seal_set_slots(struct kv_seal *seal, struct kv_bytes slots)
{
    kv_buf_reset(&seal->slots);
    return kv_buf_append(&seal->slots, slots.data, slots.len);
}

struct kv_bytes kv_seal_slots(const struct kv_seal *seal)
{
    return (struct kv_bytes){seal->slots.data, seal->slots.len};
}

int kv_seal_backup_key_new(const struct kv_seal *seal, uint8_t *key,
                           struct kv_buf *wrapped)
{
    int rc = kv_rand_fill(seal->rand, key, KV_BACKUP_KEY_LEN);
    if (rc == 0)
        rc = kv_key_wrap(seal->backup_key.data,
                         (struct kv_bytes){key, KV_BACKUP_KEY_LEN}, wrapped);
    return rc;
}

int kv_seal_backup_key_open(const struct kv_seal *seal, struct kv_bytes wrapped,
                            uint8_t *key, struct kv_err *err)
{
    struct kv_buf plain;
    kv_buf_init_secret(&plain, 256);
    int rc = kv_key_unwrap(seal->backup_key.data, wrapped, &plain);
    if (rc == 0 && plain.len != KV_BACKUP_KEY_LEN)
        rc = KV_E_INTEGRITY;
    if (rc == 0)
        memcpy(key, plain.data, KV_BACKUP_KEY_LEN);
    else if (rc == KV_E_INTEGRITY)
        (void)kv_err_set(err, rc, "backup.wrong-key",
                         "the backup was made by another installation or is altered");
    kv_buf_free(&plain);
    return rc;
}

const uint8_t *kv_seal_installation(const struct kv_seal *seal)
{
    return seal->installation;
}

const uint8_t *kv_seal_audit_key(const struct kv_seal *seal)
{
    return seal->audit_key.data;
}

int kv_seal_vault_key_wrap(const struct kv_seal *seal, const uint8_t vault[KV_ID_LEN],
                           uint32_t term, const struct kv_secret *vault_key,
                           struct kv_buf *wrapped)
{
    int rc = 0;
    struct kv_buf plain;
    kv_buf_init_secret(&plain, 64);
    kv_wire_put_raw(&plain, vault_key->data, vault_key->len);
    kv_wire_put_raw(&plain, vault, KV_ID_LEN);
    kv_wire_put_u32(&plain, term);
    KV_TRY(kv_buf_status(&plain));
    KV_TRY(kv_key_wrap(seal->wrap_key.data, (struct kv_bytes){plain.data, plain.len},
                       wrapped));
out:
    kv_buf_free(&plain);
    return rc;
}

int kv_seal_vault_key_new(const struct kv_seal *seal, const uint8_t vault[KV_ID_LEN],
                          uint32_t term, struct kv_secret *vault_key,
                          struct kv_buf *wrapped)
{
    int rc = 0;
    struct kv_secret key = {0};
    KV_TRY(kv_secret_init(&key, KV_VAULT_KEY_LEN));
    KV_TRY(kv_rand_fill(seal->rand, key.data, key.len));
    KV_TRY(kv_seal_vault_key_wrap(seal, vault, term, &key, wrapped));
    *vault_key = key;
    key = (struct kv_secret){0};
out:
    kv_secret_free(&key);
    return rc;
}

int kv_seal_vault_key_open(const struct kv_seal *seal,
                           const struct kv_role_vault_key *msg,
                           struct kv_secret *vault_key, struct kv_err *err)
{
    int rc = 0;
    struct kv_secret key = {0};
    uint8_t vault[KV_ID_LEN];
    struct kv_wire wire;
    struct kv_buf plain;
    kv_buf_init_secret(&plain, 256);
    KV_TRY(kv_secret_init(&key, KV_VAULT_KEY_LEN));
    rc = kv_key_unwrap(seal->wrap_key.data, msg->wrapped, &plain);
    if (rc == 0) {
        kv_wire_init(&wire, plain.data, plain.len);
        kv_wire_raw(&wire, key.data, key.len);
        kv_wire_raw(&wire, vault, KV_ID_LEN);
        const uint32_t term = kv_wire_u32(&wire);
        if (kv_wire_end(&wire) != 0 || term != msg->term ||
            memcmp(vault, msg->vault, KV_ID_LEN) != 0)
            rc = KV_E_INTEGRITY;
    }
    if (rc == KV_E_INTEGRITY)
        (void)kv_err_set(err, rc, "seal.vault-key-damaged",
                         "a vault key does not open under this root key");
    KV_TRY(rc);
    *vault_key = key;
    key = (struct kv_secret){0};
out:
    kv_buf_free(&plain);
    kv_secret_free(&key);
    return rc;
}

/* Start a GCM context with everything but the body. */
static int gcm_begin(const uint8_t key[32], struct kv_bytes aad, const uint8_t *nonce,
                     EVP_CIPHER_CTX *ctx)
{
    int len = 0;
    if (EVP_CipherInit_ex2(ctx, NULL, key, nonce, -1, NULL) != 1 ||
        EVP_CipherUpdate(ctx, NULL, &len, aad.data, (int)aad.len) != 1)
        return KV_E_CRYPTO;
    return 0;
}

/* Write nonce 12 | ciphertext | tag 16 to `at`. */
static int gcm_seal(const struct kv_seal *seal, const uint8_t key[32],
                    struct kv_bytes aad, struct kv_bytes body, uint8_t *at)
{
    int rc = KV_E_CRYPTO;
    int len = 0;
    int tail = 0;
    uint8_t *text = at + NONCE_LEN;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL || EVP_EncryptInit_ex2(ctx, seal->gcm, NULL, NULL, NULL) != 1)
        goto out;
    KV_TRY(kv_rand_fill(seal->rand, at, NONCE_LEN));
    KV_TRY(gcm_begin(key, aad, at, ctx));
    rc = KV_E_CRYPTO;
    if (body.len > 0 &&
        EVP_EncryptUpdate(ctx, text, &len, body.data, (int)body.len) != 1)
        goto out;
    if (EVP_EncryptFinal_ex(ctx, text + len, &tail) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, KV_ROW_TAG_LEN,
                            text + body.len) == 1)
        rc = 0;
out:
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return rc;
}

/* Append what gcm_seal has written to `out`, which is what it was on failure. */
static int gcm_open(const struct kv_seal *seal, const uint8_t key[32],
                    struct kv_bytes aad, struct kv_bytes in, struct kv_buf *out)
{
    int rc = KV_E_CRYPTO;
    int len = 0;
    int tail = 0;
    uint8_t spare[1];
    const size_t start = out->len;
    const size_t body_len = in.len - NONCE_LEN - KV_ROW_TAG_LEN;
    const uint8_t *text = in.data + NONCE_LEN;
    uint8_t *body = body_len > 0 ? kv_buf_extend(out, body_len) : spare;
    if (body == NULL)
        return kv_buf_status(out);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx == NULL || EVP_DecryptInit_ex2(ctx, seal->gcm, NULL, NULL, NULL) != 1)
        goto out;
    KV_TRY(gcm_begin(key, aad, in.data, ctx));
    rc = KV_E_INTEGRITY;
    if (body_len > 0 && EVP_DecryptUpdate(ctx, body, &len, text, (int)body_len) != 1)
        goto out;
    if (EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, KV_ROW_TAG_LEN,
                            (void *)(text + body_len)) == 1 &&
        EVP_DecryptFinal_ex(ctx, body + len, &tail) == 1)
        rc = 0;
out:
    if (rc != 0) {
        kv_wipe(body, body_len);
        kv_buf_truncate(out, start);
    }
    EVP_CIPHER_CTX_free(ctx);
    ERR_clear_error();
    return rc;
}

/* --- rows --- */

static int row_aad(const struct kv_seal *seal, const struct kv_ident *ident,
                   struct kv_buf *aad)
{
    kv_buf_init(aad, AAD_MAX);
    kv_wire_put_raw(aad, row_label, sizeof(row_label) - 1);
    kv_wire_put_raw(aad, seal->installation, KV_ID_LEN);
    kv_ident_put(aad, ident);
    return kv_buf_status(aad);
}

int kv_seal_row(const struct kv_seal *seal, const struct kv_secret *vault_key,
                const struct kv_ident *ident, struct kv_bytes body, struct kv_buf *out)
{
    KV_ASSERT(vault_key->len == KV_VAULT_KEY_LEN);
    if (body.len > KV_BODY_MAX)
        return KV_E_TOO_BIG;
    struct kv_buf aad;
    const size_t start = out->len;
    int rc = row_aad(seal, ident, &aad);
    uint8_t *row = kv_buf_extend(out, KV_ROW_HEADER_LEN + body.len + KV_ROW_TAG_LEN);
    if (row == NULL && rc == 0)
        rc = kv_buf_status(out);
    if (rc == 0 && row != NULL) {
        row[0] = ROW_VERSION;
        row[1] = ROW_ALG_AES_256_GCM;
        for (unsigned i = 0; i < 4; i++)
            row[2 + i] = (uint8_t)(ident->term >> (8 * i));
        rc = gcm_seal(seal, vault_key->data, (struct kv_bytes){aad.data, aad.len}, body,
                      row + ROW_FRONT_LEN);
    }
    if (rc != 0)
        kv_buf_truncate(out, start);
    kv_buf_free(&aad);
    return rc;
}

static bool row_header_fits(const struct kv_ident *ident, struct kv_bytes row)
{
    if (row.len < KV_ROW_HEADER_LEN + KV_ROW_TAG_LEN || row.len > KV_ROW_MAX)
        return false;
    uint32_t term = 0;
    for (unsigned i = 0; i < 4; i++)
        term |= (uint32_t)row.data[2 + i] << (8 * i);
    return row.data[0] == ROW_VERSION && row.data[1] == ROW_ALG_AES_256_GCM &&
           term == ident->term;
}

int kv_seal_row_open(const struct kv_seal *seal, const struct kv_secret *vault_key,
                     const struct kv_ident *ident, struct kv_bytes row,
                     struct kv_buf *out, struct kv_err *err)
{
    KV_ASSERT(vault_key->len == KV_VAULT_KEY_LEN);
    struct kv_buf aad;
    int rc = row_aad(seal, ident, &aad);
    if (rc == 0 && !row_header_fits(ident, row))
        rc = KV_E_INTEGRITY;
    if (rc == 0)
        rc = gcm_open(
            seal, vault_key->data, (struct kv_bytes){aad.data, aad.len},
            (struct kv_bytes){row.data + ROW_FRONT_LEN, row.len - ROW_FRONT_LEN}, out);
    if (rc == KV_E_INTEGRITY)
        (void)kv_err_set(err, rc, "seal.row-damaged",
                         "the sealed row of '%s' does not authenticate", ident->name);
    kv_buf_free(&aad);
    return rc;
}

/* --- backup blobs --- */

static int blob_key(const struct kv_seal *seal, const uint8_t id[KV_ID_LEN],
                    struct kv_secret *key)
{
    const int rc = kv_secret_init(key, 32);
    if (rc != 0)
        return rc;
    return kv_hkdf(
        (struct kv_bytes){seal->blob_key.data, seal->blob_key.len},
        (struct kv_bytes){id, KV_ID_LEN},
        (struct kv_bytes){(const uint8_t *)blob_label, sizeof(blob_label) - 1},
        key->data, key->len);
}

int kv_seal_blob(const struct kv_seal *seal, const uint8_t id[KV_ID_LEN],
                 struct kv_bytes aad, struct kv_bytes body, struct kv_buf *out)
{
    struct kv_secret key = {0};
    const size_t start = out->len;
    int rc = blob_key(seal, id, &key);
    uint8_t *at = kv_buf_extend(out, NONCE_LEN + body.len + KV_ROW_TAG_LEN);
    if (at == NULL && rc == 0)
        rc = kv_buf_status(out);
    if (rc == 0)
        rc = gcm_seal(seal, key.data, aad, body, at);
    if (rc != 0)
        kv_buf_truncate(out, start);
    kv_secret_free(&key);
    return rc;
}

int kv_seal_blob_open(const struct kv_seal *seal, const uint8_t id[KV_ID_LEN],
                      struct kv_bytes aad, struct kv_bytes chunk, struct kv_buf *out,
                      struct kv_err *err)
{
    struct kv_secret key = {0};
    int rc = KV_E_INTEGRITY;
    if (chunk.len >= NONCE_LEN + KV_ROW_TAG_LEN && chunk.len <= KV_BLOB_CHUNK_MAX)
        rc = blob_key(seal, id, &key);
    if (rc == 0)
        rc = gcm_open(seal, key.data, aad, chunk, out);
    if (rc == KV_E_INTEGRITY)
        (void)kv_err_set(err, rc, "seal.blob-damaged", KV_BLOB_DAMAGED_TEXT);
    kv_secret_free(&key);
    return rc;
}
