/*
 * Policies: what is accepted has a document that reads back as itself and a request
 * that libcrypto reads; what is refused says why.
 */
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509.h>

#include "lifecycle/certs/csr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* An Ed25519 public key (RFC 8410 §10.1). */
static const uint8_t spki[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70,
                               0x03, 0x21, 0x00, 0x19, 0xbf, 0x44, 0x09, 0x69, 0x84,
                               0xcd, 0xfe, 0x85, 0x41, 0xba, 0xc1, 0x67, 0xdc, 0x3b,
                               0x96, 0xc8, 0x50, 0x86, 0xaa, 0x30, 0xb6, 0xb6, 0xcb,
                               0x0c, 0x5c, 0x38, 0xad, 0x70, 0x31, 0x66, 0xe1};

static void check_request(const struct kv_policy *policy)
{
    struct kv_buf info;
    kv_buf_init(&info, KV_CSR_MAX);
    int rc = kv_csr_info(policy, (struct kv_bytes){spki, sizeof(spki)}, &info, NULL);
    KV_ASSERT(rc == 0 || rc == KV_E_TOO_BIG);
    const uint8_t *at = info.data;
    X509_REQ_INFO *read = NULL;
    if (rc == 0)
        read = (X509_REQ_INFO *)ASN1_item_d2i(NULL, &at, (long)info.len,
                                              ASN1_ITEM_rptr(X509_REQ_INFO));
    KV_ASSERT(rc != 0 || (read != NULL && at == info.data + info.len));
    ASN1_item_free((ASN1_VALUE *)read, ASN1_ITEM_rptr(X509_REQ_INFO));
    kv_buf_free(&info);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kv_policy policy;
    struct kv_policy again;
    struct kv_err err = KV_ERR_INIT;
    json_t *given = json_loadb((const char *)data, len, 0, NULL);
    if (given == NULL)
        return 0;
    int rc = kv_policy_read(given, &policy, &err);
    KV_ASSERT(ERR_peek_error() == 0);
    if (rc == 0) {
        KV_ASSERT(err.code == 0);
        rc = kv_policy_read(policy.doc, &again, NULL);
        KV_ASSERT(rc == 0 && json_equal(policy.doc, again.doc) == 1);
        kv_policy_free(&again);
        check_request(&policy);
        kv_policy_free(&policy);
    } else {
        KV_ASSERT(rc == KV_E_INVALID || rc == KV_E_UNSUPPORTED);
        KV_ASSERT(err.code == rc && strncmp(err.id, "policy.", 7) == 0);
    }
    json_decref(given);
    return 0;
}
