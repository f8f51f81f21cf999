/*
 * The issuer `Self`: a self-signed certificate from the order's CSR and policy.
 * Built in; the same struct a shared object would return. Any thread.
 */
#ifndef KV_PLUGINS_SELF_SELF_H
#define KV_PLUGINS_SELF_SELF_H

#include "plugins/keyvault_issuer.h"

/* The issuer's table, constant for the life of the process. */
const struct keyvault_issuer *kv_self_issuer(void);

#endif
