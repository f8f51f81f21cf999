/*
 * 25 bytes are 200 bits are 40 base32 digits: 22 of key, 3 of SHA-256 over a label
 * and the key, so that a typing mistake is told from a wrong key.
 */
#include "store/keyring/recovery.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

#include "store/core/secret.h"

#define CHECK_LEN 3
#define RAW_LEN (KV_RECOVERY_LEN + CHECK_LEN)
#define DIGITS 40
#define GROUP 5

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static int checksum(const uint8_t key[KV_RECOVERY_LEN], uint8_t out[CHECK_LEN])
{
    static const char label[] = "keyvault recovery 1";
    uint8_t input[sizeof(label) - 1 + KV_RECOVERY_LEN];
    uint8_t digest[EVP_MAX_MD_SIZE];
    memcpy(input, label, sizeof(label) - 1);
    memcpy(input + sizeof(label) - 1, key, KV_RECOVERY_LEN);
    const int ok = EVP_Digest(input, sizeof(input), digest, NULL, EVP_sha256(), NULL);
    kv_wipe(input, sizeof(input));
    ERR_clear_error();
    memcpy(out, digest, CHECK_LEN);
    return ok == 1 ? 0 : KV_E_CRYPTO;
}

int kv_recovery_format(const uint8_t key[KV_RECOVERY_LEN], struct kv_buf *out)
{
    uint8_t raw[RAW_LEN];
    char text[KV_RECOVERY_TEXT_LEN];
    memcpy(raw, key, KV_RECOVERY_LEN);
    int rc = checksum(key, raw + KV_RECOVERY_LEN);
    size_t at = 0;
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        unsigned value = 0;
        for (unsigned bit = digit * 5; bit < digit * 5 + 5; bit++)
            value = value << 1 | ((unsigned)(raw[bit / 8] >> (7 - bit % 8)) & 1u);
        if (digit > 0 && digit % GROUP == 0)
            text[at++] = '-';
        text[at++] = alphabet[value];
    }
    if (rc == 0)
        rc = kv_buf_append(out, text, at);
    kv_wipe(raw, sizeof(raw));
    kv_wipe(text, sizeof(text));
    return rc;
}

/* The value of a digit, -1 for none; what looks alike is read alike. */
static int digit_value(char c)
{
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    const char *at = c != '\0' ? strchr(alphabet, c) : NULL;
    return at != NULL ? (int)(at - alphabet) : -1;
}

static int read_digits(const char *text, size_t len, uint8_t raw[RAW_LEN])
{
    unsigned n = 0;
    memset(raw, 0, RAW_LEN);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '-' || text[i] == ' ' || text[i] == '\n' || text[i] == '\r')
            continue;
        const int value = digit_value(text[i]);
        if (value < 0 || n == DIGITS)
            return KV_E_INVALID;
        for (unsigned k = 0; k < 5; k++) {
            const unsigned bit = n * 5 + k;
            const unsigned one = ((unsigned)value >> (4 - k)) & 1u;
            raw[bit / 8] = (uint8_t)(raw[bit / 8] | one << (7 - bit % 8));
        }
        n++;
    }
    return n == DIGITS ? 0 : KV_E_INVALID;
}

int kv_recovery_parse(const char *text, size_t len, uint8_t key[KV_RECOVERY_LEN],
                      struct kv_err *err)
{
    uint8_t raw[RAW_LEN];
    uint8_t check[CHECK_LEN];
    int rc = read_digits(text, len, raw);
    if (rc != 0) {
        (void)kv_err_set(err, rc, "recovery.bad-form",
                         "a recovery key has 8 groups of 5 letters and digits");
        goto out;
    }
    KV_TRY(checksum(raw, check));
    if (!kv_equal_ct(check, raw + KV_RECOVERY_LEN, CHECK_LEN)) {
        rc = kv_err_set(err, KV_E_INVALID, "recovery.bad-checksum",
                        "the recovery key has a typing mistake");
        goto out;
    }
    memcpy(key, raw, KV_RECOVERY_LEN);
out:
    kv_wipe(raw, sizeof(raw));
    return rc;
}
