/*
 * One conversion each way, by libcrypto's own structure.
 */
#include "lifecycle/auth/ecdsa.h"

#include <openssl/ecdsa.h>
#include <openssl/err.h>

int kv_ecdsa_to_der(const uint8_t *raw, size_t half_len, struct kv_buf *out)
{
    uint8_t *der = NULL;
    int rc = KV_E_NOMEM;
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)half_len, NULL);
    BIGNUM *s = BN_bin2bn(raw + half_len, (int)half_len, NULL);
    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1)
        goto out;
    r = NULL; /* both belong to sig now */
    s = NULL;
    int len = i2d_ECDSA_SIG(sig, &der);
    if (len > 0)
        rc = kv_buf_append(out, der, (size_t)len);
out:
    OPENSSL_free(der);
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(sig);
    return rc;
}

int kv_ecdsa_from_der(struct kv_bytes der, size_t half_len, struct kv_buf *out)
{
    const uint8_t *at = der.data;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)der.len);
    uint8_t *raw = sig != NULL ? kv_buf_extend(out, 2 * half_len) : NULL;
    int rc = KV_E_INTERNAL;
    if (raw != NULL &&
        BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int)half_len) == (int)half_len &&
        BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + half_len, (int)half_len) ==
            (int)half_len)
        rc = 0;
    ECDSA_SIG_free(sig);
    ERR_clear_error();
    return rc;
}
