/*
 * A certificate policy from command-line flags, in the JSON form of the REST API.
 */
#ifndef KV_LIFECYCLE_CLI_POLICY_H
#define KV_LIFECYCLE_CLI_POLICY_H

#include "lifecycle/cli/cli.h"

/* Build the policy of the flags below, on top of --policy FILE when given, else of
 * `base` (may be NULL; borrowed and not changed). The JSON is the caller's.
 * cli.bad-flag, or cli.bad-json for a file that is no policy. */
int kv_policy_from_flags(const struct kv_cli *cli, const json_t *base, json_t **out,
                         struct kv_err *err) KV_MUST_CHECK;

/* The policy that flags start from: what `cert policy default` prints. NULL: no
 * memory. */
json_t *kv_policy_default(void);

#define KV_POLICY_FLAGS                                                                \
    {"subject", "CN=...", "distinguished name"}, {"dns", "A,B", "DNS names"},          \
        {"ip", "A,B", "IP addresses"}, {"email", "A,B", "e-mail addresses"},           \
        {"issuer", "NAME", "who signs: Self, Unknown or a configured issuer"},         \
        {"key-type", "RSA|EC|Ed25519", "type of the key (RSA)"},                       \
        {"size", "BITS", "RSA: 2048, 3072 or 4096 (2048)"},                            \
        {"curve", "CURVE", "EC: P-256, P-384 or P-521 (P-256)"},                       \
        {"validity-months", "N", "how long it is valid (12)"},                         \
        {"validity-hours", "N", "the same in hours"},                                  \
        {"renew-percent", "N", "renew when this share of its life is over (80)"},      \
        {"renew-days", "N", "renew this many days before it expires"},                 \
        {"exportable", NULL, "let the private key leave the vault"},                   \
    {                                                                                  \
        "policy", "FILE|-", "start from this policy in JSON"                           \
    }

#endif
