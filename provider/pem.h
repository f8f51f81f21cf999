/*
 * One PEM block of a stream, read in bounded memory: a file that a host gives us may be
 * anything, and of any size. Any thread.
 */
#ifndef KV_PROVIDER_PEM_H
#define KV_PROVIDER_PEM_H

#include <openssl/bio.h>

#include "store/core/buf.h"

/* Read up to the end of the next block, no further. Returns 1 with the content of a
 * KEYVAULT KEY URI block appended to `der`; 0 for a block with another label or for the
 * end of the stream; or why a block with our label cannot be used: KV_E_INVALID
 * (keyref.malformed), KV_E_TOO_BIG (keyref.too-big) or KV_E_NOMEM (keyref.no-memory).
 * Nothing of other blocks is kept. Puts nothing on the error queue. */
int kv_pem_read(BIO *bio, struct kv_buf *der, struct kv_err *err) KV_MUST_CHECK;

#endif
