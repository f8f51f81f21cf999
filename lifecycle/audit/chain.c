/*
 * Lines and the chain through them. A line is read by what it must look like, byte for
 * byte, and not by a JSON parser: there is one way to write a record.
 */
#include "lifecycle/audit/chain.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/core/str.h"

#define LINE_HEAD "{\"v\":1,\"seq\":"
#define LINE_TAIL ",\"mac\":\""

struct kv_audit_chain {
    EVP_MAC_CTX *ctx; /* has the key */
    uint8_t mac[KV_AUDIT_MAC_LEN];
};

int kv_audit_chain_new(struct kv_audit_chain **out, const uint8_t key[KV_AUDIT_KEY_LEN],
                       const uint8_t mac[KV_AUDIT_MAC_LEN])
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    int rc = KV_E_CRYPTO;
    struct kv_audit_chain *chain = calloc(1, sizeof(*chain));
    if (chain == NULL)
        return KV_E_NOMEM;
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", "provider=default");
    chain->ctx = hmac != NULL ? EVP_MAC_CTX_new(hmac) : NULL;
    memcpy(chain->mac, mac, KV_AUDIT_MAC_LEN);
    if (chain->ctx != NULL &&
        EVP_MAC_init(chain->ctx, key, KV_AUDIT_KEY_LEN, params) == 1) {
        *out = chain;
        rc = 0;
    } else {
        kv_audit_chain_free(chain);
    }
    EVP_MAC_free(hmac);
    ERR_clear_error();
    return rc;
}

void kv_audit_chain_free(struct kv_audit_chain *chain)
{
    if (chain == NULL)
        return;
    EVP_MAC_CTX_free(chain->ctx);
    free(chain);
}

int kv_audit_chain_add(struct kv_audit_chain *chain, const void *body, size_t len)
{
    uint8_t length[4];
    size_t mac_len = 0;
    KV_ASSERT(len <= KV_AUDIT_BODY_MAX);
    for (unsigned i = 0; i < sizeof(length); i++)
        length[i] = (uint8_t)(len >> (8 * i));
    int is_good =
        EVP_MAC_init(chain->ctx, NULL, 0, NULL) == 1 &&
        EVP_MAC_update(chain->ctx, chain->mac, KV_AUDIT_MAC_LEN) == 1 &&
        EVP_MAC_update(chain->ctx, length, sizeof(length)) == 1 &&
        EVP_MAC_update(chain->ctx, body, len) == 1 &&
        EVP_MAC_final(chain->ctx, chain->mac, &mac_len, KV_AUDIT_MAC_LEN) == 1;
    ERR_clear_error();
    return is_good ? 0 : KV_E_CRYPTO;
}

const uint8_t *kv_audit_chain_mac(const struct kv_audit_chain *chain)
{
    return chain->mac;
}

void kv_audit_chain_set(struct kv_audit_chain *chain,
                        const uint8_t mac[KV_AUDIT_MAC_LEN])
{
    memcpy(chain->mac, mac, KV_AUDIT_MAC_LEN);
}

int kv_audit_line_put(const struct kv_audit_chain *chain, const void *body, size_t len,
                      struct kv_buf *out)
{
    char hex[2 * KV_AUDIT_MAC_LEN + 1];
    kv_hex_encode(hex, chain->mac, KV_AUDIT_MAC_LEN);
    (void)kv_buf_append(out, body, len); /* sticky: checked below */
    (void)kv_buf_append_str(out, LINE_TAIL);
    (void)kv_buf_append_str(out, hex);
    (void)kv_buf_append_str(out, "\"}\n");
    return kv_buf_status(out);
}

/* --- reading --------------------------------------------------------------------- */

struct reader {
    const char *at;
    const char *end;
};

static bool take_literal(struct reader *reader, const char *text)
{
    size_t len = strlen(text);
    if ((size_t)(reader->end - reader->at) < len || memcmp(reader->at, text, len) != 0)
        return false;
    reader->at += len;
    return true;
}

/* A decimal number without leading zeros. */
static bool take_number(struct reader *reader, uint64_t *out)
{
    char digits[21];
    int64_t number = 0;
    size_t n = 0;
    while (reader->at + n < reader->end && n < sizeof(digits) - 1 &&
           reader->at[n] >= '0' && reader->at[n] <= '9')
        n++;
    kv_str_cut(digits, sizeof(digits), reader->at, n);
    if (kv_str_to_i64(digits, 0, INT64_MAX, &number) != 0)
        return false;
    reader->at += n;
    *out = (uint64_t)number;
    return true;
}

static bool take_word(struct reader *reader, char *out, size_t out_size)
{
    size_t n = 0;
    while (reader->at + n < reader->end && reader->at[n] >= 'a' && reader->at[n] <= 'z')
        n++;
    if (n == 0 || n >= out_size)
        return false;
    kv_str_cut(out, out_size, reader->at, n);
    reader->at += n;
    return true;
}

static bool take_mac(struct reader *reader, uint8_t out[KV_AUDIT_MAC_LEN])
{
    if (reader->end - reader->at < (ptrdiff_t)2 * KV_AUDIT_MAC_LEN ||
        kv_hex_decode(out, KV_AUDIT_MAC_LEN, reader->at) != 0)
        return false;
    reader->at += (size_t)2 * KV_AUDIT_MAC_LEN;
    return true;
}

static bool is_printable(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || (unsigned char)line[i] > 0x7e)
            return false;
    return true;
}

int kv_audit_line_parse(const char *line, size_t len, struct kv_audit_line *out)
{
    uint64_t time_us = 0;
    memset(out, 0, sizeof(*out));
    if (len <= KV_AUDIT_TAIL_LEN || len >= KV_AUDIT_LINE_MAX ||
        !is_printable(line, len))
        return KV_E_INVALID;
    out->body_len = len - KV_AUDIT_TAIL_LEN;
    struct reader head = {line, line + out->body_len};
    struct reader tail = {line + out->body_len, line + len};
    bool is_good =
        take_literal(&head, LINE_HEAD) && take_number(&head, &out->seq) &&
        take_literal(&head, ",\"t\":") && take_number(&head, &time_us) &&
        take_literal(&head, ",\"type\":\"") &&
        take_word(&head, out->type, sizeof(out->type)) && take_literal(&head, "\"") &&
        (head.at == head.end || *head.at == ',') && take_literal(&tail, LINE_TAIL) &&
        take_mac(&tail, out->mac) && take_literal(&tail, "\"}");
    out->time_us = (int64_t)time_us;
    return is_good ? 0 : KV_E_INVALID;
}

/* Behind `"name":` as a member: a quote in text is escaped, so `,"` begins none. */
static bool find_member(const char *line, size_t body_len, const char *name,
                        struct reader *out)
{
    char key[40];
    const int n = snprintf(key, sizeof(key), ",\"%s\":", name);
    KV_ASSERT(n > 0 && (size_t)n < sizeof(key));
    const char *found = memmem(line, body_len, key, (size_t)n);
    if (found == NULL)
        return false;
    *out = (struct reader){found + n, line + body_len};
    return true;
}

bool kv_audit_line_u64(const char *line, size_t body_len, const char *name,
                       uint64_t *out)
{
    struct reader reader;
    return find_member(line, body_len, name, &reader) && take_number(&reader, out);
}

bool kv_audit_line_mac(const char *line, size_t body_len, const char *name,
                       uint8_t out[KV_AUDIT_MAC_LEN])
{
    struct reader reader;
    return find_member(line, body_len, name, &reader) && take_literal(&reader, "\"") &&
           take_mac(&reader, out) && take_literal(&reader, "\"");
}
