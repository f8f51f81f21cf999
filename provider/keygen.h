/*
 * Key generation. Keys of the vault are made with keyvault(1), so a program that
 * generates a key here is refused and told so; with one exception, the temporary keys
 * of TLS.
 *
 * Where keyvault stands in front of the default provider, or is the default property,
 * libssl takes its EC keys from us, and would have no elliptic curves at all if we
 * offered none: no P-256 in TLS 1.3, no TLS 1.2 with EC certificates ("no shared
 * cipher"). So we offer groups, under names that only libssl knows; a key made for such
 * a name is an ordinary key of the default provider inside our wrapping, lives as long
 * as the handshake and can do ECDH, nothing else. Where the default provider stands
 * first, libssl discards our groups.
 */
#ifndef KV_PROVIDER_KEYGEN_H
#define KV_PROVIDER_KEYGEN_H

#include "provider/pkey.h"

/* OSSL_FUNC_PROVIDER_GET_CAPABILITIES: the groups of TLS. */
int kv_keygen_capabilities(void *provctx, const char *capability, OSSL_CALLBACK *cb,
                           void *arg);

/* OSSL_FUNC_keymgmt_gen_*: of types that have no temporary keys, and of EC. */
void *kv_keygen_refuse_init(void *provctx, int selection, const OSSL_PARAM params[]);
void *kv_keygen_ec_init(void *provctx, int selection, const OSSL_PARAM params[]);
int kv_keygen_set_template(void *genctx, void *key);
int kv_keygen_set_params(void *genctx, const OSSL_PARAM params[]);
const OSSL_PARAM *kv_keygen_settable(void *genctx, void *provctx);
void *kv_keygen_run(void *genctx, OSSL_CALLBACK *on_progress, void *arg);
void kv_keygen_cleanup(void *genctx);

#endif
