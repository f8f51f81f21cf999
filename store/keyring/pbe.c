/*
 * Bounded password-based decryption: judge the algorithm identifier first, then let
 * libcrypto do the work.
 *
 * Served are the two PKCS#12 ciphers that old files use (3DES, RC2) and PBES2 with
 * PBKDF2 or scrypt and AES or 3DES. What is not in the tables is refused by name.
 */
#include "store/keyring/pbe.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pkcs12.h>

#include "store/keyring/key_internal.h"

#define SCRYPT_MEMORY_MAX (32 * 1024 * 1024) /* 128 * N * r bytes */
#define SCRYPT_PARALLEL_MAX 16
#define SCRYPT_PER_ITERATION 2 /* blocks of 128 bytes that cost as much as one */

static const int pkcs12_ciphers[] = {
    NID_pbe_WithSHA1And3_Key_TripleDES_CBC,
    NID_pbe_WithSHA1And2_Key_TripleDES_CBC,
    NID_pbe_WithSHA1And128BitRC2_CBC,
    NID_pbe_WithSHA1And40BitRC2_CBC,
};

static const int pbes2_ciphers[] = {
    NID_aes_128_cbc,
    NID_aes_192_cbc,
    NID_aes_256_cbc,
    NID_des_ede3_cbc,
};

static bool is_in(const int *table, size_t n, int nid)
{
    for (size_t i = 0; i < n; i++)
        if (table[i] == nid)
            return true;
    return false;
}

static int unsupported(const X509_ALGOR *algorithm, struct kv_err *err)
{
    char name[80] = "";
    const ASN1_OBJECT *oid = NULL;
    X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
    if (oid == NULL || OBJ_obj2txt(name, sizeof(name), oid, 0) <= 0)
        name[0] = '\0';
    return kv_err_set(err, KV_E_UNSUPPORTED, "key.import-unsupported",
                      "encryption with \"%s\" is not served", name);
}

static int malformed(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "key.import-bad-der",
                      "the parameters of the encryption are malformed");
}

static int nid_of(const X509_ALGOR *algorithm)
{
    const ASN1_OBJECT *oid = NULL;
    X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
    return OBJ_obj2nid(oid);
}

int kv_pbe_spend(struct kv_pbe *pbe, const ASN1_INTEGER *iterations, struct kv_err *err)
{
    uint64_t n = 0;
    if (iterations == NULL || ASN1_INTEGER_get_uint64(&n, iterations) != 1 || n == 0 ||
        n > pbe->budget) {
        ERR_clear_error();
        return kv_err_set(err, KV_E_INVALID, "key.import-work-factor",
                          "the file asks for too many or no iterations; at most %d are "
                          "done for all its parts together",
                          KV_PBE_BUDGET);
    }
    pbe->budget -= n;
    return 0;
}

static int check_pkcs12(struct kv_pbe *pbe, const X509_ALGOR *algorithm,
                        struct kv_err *err)
{
    PBEPARAM *param =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBEPARAM), algorithm->parameter);
    int rc = param != NULL ? kv_pbe_spend(pbe, param->iter, err) : malformed(err);
    PBEPARAM_free(param);
    return rc;
}

static int check_pbkdf2(struct kv_pbe *pbe, const X509_ALGOR *function,
                        struct kv_err *err)
{
    PBKDF2PARAM *param =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBKDF2PARAM), function->parameter);
    int rc = param != NULL ? kv_pbe_spend(pbe, param->iter, err) : malformed(err);
    PBKDF2PARAM_free(param);
    return rc;
}

/* RFC 7914 §2: N a power of two; memory is 128 * N * r, work that times p. */
static int check_scrypt(struct kv_pbe *pbe, const X509_ALGOR *function,
                        struct kv_err *err)
{
    uint64_t n = 0;
    uint64_t r = 0;
    uint64_t p = 0;
    SCRYPT_PARAMS *param =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(SCRYPT_PARAMS), function->parameter);
    bool is_read = param != NULL &&
                   ASN1_INTEGER_get_uint64(&n, param->costParameter) == 1 &&
                   ASN1_INTEGER_get_uint64(&r, param->blockSize) == 1 &&
                   ASN1_INTEGER_get_uint64(&p, param->parallelizationParameter) == 1;
    SCRYPT_PARAMS_free(param);
    if (!is_read)
        return malformed(err);
    if (n < 2 || n > SCRYPT_MEMORY_MAX / 128 || r == 0 ||
        r > SCRYPT_MEMORY_MAX / 128 / n || p == 0 || p > SCRYPT_PARALLEL_MAX)
        return kv_err_set(err, KV_E_INVALID, "key.import-work-factor",
                          "the file asks for scrypt beyond 32 MiB or 16 lanes");
    uint64_t cost = n * r * p / SCRYPT_PER_ITERATION + 1;
    if (cost > pbe->budget)
        return kv_err_set(err, KV_E_INVALID, "key.import-work-factor",
                          "the parts of the file together ask for too much scrypt");
    pbe->budget -= cost;
    return 0;
}

static int check_pbes2(struct kv_pbe *pbe, const X509_ALGOR *algorithm,
                       struct kv_err *err)
{
    int rc = 0;
    PBE2PARAM *param =
        ASN1_TYPE_unpack_sequence(ASN1_ITEM_rptr(PBE2PARAM), algorithm->parameter);
    if (param == NULL)
        return malformed(err);
    if (!is_in(pbes2_ciphers, sizeof(pbes2_ciphers) / sizeof(pbes2_ciphers[0]),
               nid_of(param->encryption)))
        rc = unsupported(param->encryption, err);
    else if (nid_of(param->keyfunc) == NID_id_pbkdf2)
        rc = check_pbkdf2(pbe, param->keyfunc, err);
    else if (nid_of(param->keyfunc) == NID_id_scrypt)
        rc = check_scrypt(pbe, param->keyfunc, err);
    else
        rc = unsupported(param->keyfunc, err);
    PBE2PARAM_free(param);
    return rc;
}

int kv_pbe_decrypt(struct kv_pbe *pbe, const X509_ALGOR *algorithm,
                   const ASN1_OCTET_STRING *in, struct kv_buf *out, struct kv_err *err)
{
    int rc = 0;
    int nid = nid_of(algorithm);
    if (nid == NID_pbes2)
        rc = check_pbes2(pbe, algorithm, err);
    else if (is_in(pkcs12_ciphers, sizeof(pkcs12_ciphers) / sizeof(pkcs12_ciphers[0]),
                   nid))
        rc = check_pkcs12(pbe, algorithm, err);
    else
        rc = unsupported(algorithm, err);
    if (rc != 0) {
        ERR_clear_error();
        return rc;
    }
    uint8_t *plain = NULL;
    int plain_len = 0;
    const char *password = (const char *)pbe->password.data;
    if (PKCS12_pbe_crypt_ex(algorithm, password, (int)pbe->password.len,
                            ASN1_STRING_get0_data(in), ASN1_STRING_length(in), &plain,
                            &plain_len, 0, kv_keys_libctx(), NULL) != NULL)
        rc = kv_buf_append(out, plain, (size_t)plain_len);
    else
        rc = kv_err_set(err, KV_E_INVALID, "key.import-bad-password",
                        "the password does not open the file, or it is damaged");
    if (rc == KV_E_TOO_BIG)
        rc = kv_err_set(err, rc, "key.import-too-big",
                        "what the file holds encrypted is too big for a key");
    OPENSSL_clear_free(plain, plain_len > 0 ? (size_t)plain_len : 0);
    ERR_clear_error();
    return rc;
}
