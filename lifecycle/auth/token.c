/*
 * Bearer tokens of the --dev administrator. A token has 256 random bits, so a plain
 * hash hides it and comparing hashes in constant time leaks nothing of use.
 */
#include "lifecycle/auth/token.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>
#include <strings.h>

#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

int kv_token_hash(const char *text, uint8_t hash[KV_TOKEN_HASH_LEN])
{
    if (strlen(text) != KV_TOKEN_TEXT_LEN)
        return KV_E_INVALID;
    size_t len = 0;
    int ok = EVP_Q_digest(NULL, "SHA256", NULL, text, KV_TOKEN_TEXT_LEN, hash, &len);
    ERR_clear_error();
    return ok == 1 ? 0 : KV_E_CRYPTO;
}

int kv_token_make(const struct kv_rand *rand, char text[KV_TOKEN_TEXT_LEN + 1],
                  uint8_t hash[KV_TOKEN_HASH_LEN])
{
    uint8_t raw[32];
    struct kv_buf encoded;
    kv_buf_init_secret(&encoded, KV_TOKEN_TEXT_LEN + 1);
    int rc = 0;
    KV_TRY(kv_rand_fill(rand, raw, sizeof(raw)));
    KV_TRY(kv_b64_encode(KV_B64_URL, raw, sizeof(raw), &encoded));
    memcpy(text, encoded.data, KV_TOKEN_TEXT_LEN);
    text[KV_TOKEN_TEXT_LEN] = '\0';
    KV_TRY(kv_token_hash(text, hash));
out:
    kv_wipe(raw, sizeof(raw));
    kv_buf_free(&encoded);
    return rc;
}

bool kv_token_matches(const char *authorization, const uint8_t hash[KV_TOKEN_HASH_LEN])
{
    uint8_t sent[KV_TOKEN_HASH_LEN];
    if (authorization == NULL || strncasecmp(authorization, "Bearer ", 7) != 0)
        return false;
    const char *text = authorization + 7;
    while (*text == ' ')
        text++;
    return kv_token_hash(text, sent) == 0 && kv_equal_ct(sent, hash, sizeof(sent));
}
