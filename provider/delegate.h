/*
 * Public-key operations with a key of ours, done locally by the default provider in
 * our own library context and never by the daemon: verify, recover, encrypt. One
 * object is one running operation of one thread.
 */
#ifndef KV_PROVIDER_DELEGATE_H
#define KV_PROVIDER_DELEGATE_H

#include "provider/pkey.h"

struct kv_delegate;

enum kv_delegate_op {
    KV_DELEGATE_VERIFY,
    KV_DELEGATE_VERIFY_RECOVER,
    KV_DELEGATE_ENCRYPT,
    KV_DELEGATE_DIGEST_VERIFY,
};

/* Start an operation; `md_name` (may be NULL) counts for DIGEST_VERIFY only. NULL on
 * failure, with the default provider's reason on the queue. */
struct kv_delegate *kv_delegate_new(const struct kv_pkey *key, enum kv_delegate_op op,
                                    const char *md_name, const OSSL_PARAM params[]);
struct kv_delegate *kv_delegate_dup(const struct kv_delegate *delegate);
void kv_delegate_free(struct kv_delegate *delegate);

/* As the EVP function of that name returns. */
int kv_delegate_set_params(struct kv_delegate *delegate, const OSSL_PARAM params[]);
int kv_delegate_get_params(struct kv_delegate *delegate, OSSL_PARAM params[]);
int kv_delegate_verify(struct kv_delegate *delegate, const unsigned char *sig,
                       size_t sig_len, const unsigned char *tbs, size_t tbs_len);
int kv_delegate_verify_recover(struct kv_delegate *delegate, unsigned char *out,
                               size_t *out_len, const unsigned char *sig,
                               size_t sig_len);
int kv_delegate_encrypt(struct kv_delegate *delegate, unsigned char *out,
                        size_t *out_len, const unsigned char *in, size_t in_len);
int kv_delegate_update(struct kv_delegate *delegate, const unsigned char *data,
                       size_t len);
int kv_delegate_final(struct kv_delegate *delegate, const unsigned char *sig,
                      size_t sig_len);
int kv_delegate_digest_verify(struct kv_delegate *delegate, const unsigned char *sig,
                              size_t sig_len, const unsigned char *tbs, size_t tbs_len);

#endif
