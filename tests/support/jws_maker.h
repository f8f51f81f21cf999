/*
 * Tokens and keys as an issuer, or a forger, would make them.
 */
#ifndef KV_TESTS_SUPPORT_JWS_MAKER_H
#define KV_TESTS_SUPPORT_JWS_MAKER_H

#include "lifecycle/auth/jose.h"

/* A key: "RSA" (2048 bits), "RSA1024", "P-256", "P-384", "P-521", "P-256K", "Ed25519".
 * The same one each time that it is asked for; freed at exit. */
EVP_PKEY *jws_maker_key(const char *type);
/* Another one. */
EVP_PKEY *jws_maker_other_key(const char *type);

/* Its public part as a JWK with this kid (NULL: none). */
json_t *jws_maker_jwk(EVP_PKEY *key, const char *kid);

/* A compact JWS over these texts, signed as `alg` says; freed with free(). */
char *jws_maker_sign(EVP_PKEY *key, const char *alg, const char *header,
                     const char *payload);

/* Base64url of text; freed with free(). */
char *jws_maker_b64(const char *text, size_t len);

#endif
