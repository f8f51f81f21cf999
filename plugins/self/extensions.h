/*
 * Which of the extensions that a request asks for a self-signed certificate gets.
 */
#ifndef KV_PLUGINS_SELF_EXTENSIONS_H
#define KV_PLUGINS_SELF_EXTENSIONS_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "store/core/err.h"

#define KV_SELF_EXTENSIONS_MAX 32

/* Add to `cert`, whose subject and public key are set, the extensions of `req` as the
 * head of extensions.c says, and a subjectKeyIdentifier. KV_E_INVALID (self.bad-csr)
 * when one cannot be read, is there twice, or wants a CA. libcrypto's error queue is
 * the caller's to clear. */
int kv_self_extensions(X509_REQ *req, X509 *cert, struct kv_err *err) KV_MUST_CHECK;

#endif
