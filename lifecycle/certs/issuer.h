/*
 * Issuers by name. Thread-safe: the tables are constant.
 */
#ifndef KV_LIFECYCLE_CERTS_ISSUER_H
#define KV_LIFECYCLE_CERTS_ISSUER_H

#include "plugins/keyvault_issuer.h"

/* The issuer that a policy names, in any case; NULL when there is none. `Unknown`, who
 * signs outside, has no table. */
const struct keyvault_issuer *kv_issuer_find(const char *name);

#endif
