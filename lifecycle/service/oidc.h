/*
 * The OIDC issuers of keyvault.conf: their keys are fetched before they are needed, and
 * when a token names one that is not known. Loop thread.
 */
#ifndef KV_LIFECYCLE_SERVICE_OIDC_H
#define KV_LIFECYCLE_SERVICE_OIDC_H

#include "lifecycle/auth/oidc.h"
#include "lifecycle/service/service.h"

struct kv_oidc;

/* From the texts of the configuration (kv_oidc_read). Files with roots are read here:
 * auth.bad-issuer when one cannot be. */
int kv_oidc_new(struct kv_oidc **out, struct kv_service *service,
                const char *const *texts, size_t n, struct kv_err *err) KV_MUST_CHECK;
/* Begin to fetch; stop: end what runs, call back who waits, close what the loop has. */
void kv_oidc_start(struct kv_oidc *oidc);
void kv_oidc_stop(struct kv_oidc *oidc);
/* After the loop has ended. */
void kv_oidc_free(struct kv_oidc *oidc);

/* The issuer that a token's `iss` names; NULL: none of ours. `oidc` may be NULL. */
const struct kv_oidc_issuer *kv_oidc_find(const struct kv_oidc *oidc, const char *iss);

/* Whether fetching its keys now may bring one that is not known: one is on its way, or
 * the last one is a minute ago. */
bool kv_oidc_can_help(const struct kv_oidc *oidc, const struct kv_oidc_issuer *issuer);

/* Fetch if nobody does already, then call back, once. KV_E_NOMEM, KV_E_STATE. */
int kv_oidc_wait(struct kv_oidc *oidc, const struct kv_oidc_issuer *issuer,
                 void (*cb)(void *arg), void *arg) KV_MUST_CHECK;

#endif
