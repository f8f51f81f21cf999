/*
 * Certificates in files: from what a CA hands out to the array that the API takes.
 */
#ifndef KV_LIFECYCLE_CLI_CHAIN_H
#define KV_LIFECYCLE_CLI_CHAIN_H

#include <jansson.h>

#include "store/core/buf.h"
#include "store/core/err.h"

/* Read all certificates of a file: PEM (certificates, or PKCS #7), or DER of one
 * certificate or of PKCS #7. `*x5c` is an array of standard base64 of DER in the order
 * of the file, the caller's. KV_E_INVALID (pem.no-certificate). */
int kv_chain_load(const struct kv_buf *file, json_t **x5c,
                  struct kv_err *err) KV_MUST_CHECK;

#endif
