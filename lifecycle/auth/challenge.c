/*
 * The challenge of a 401. Clients take the tenant from the path of `authorization`
 * and compare `resource` with the host that they talk to, so its spelling is exact:
 * quoted values, comma and space between pairs, nothing behind the tenant.
 *
 * Most clients compare the host alone and take `resource` before `scope`. Those of
 * Python and Go compare host and port, and Python's takes `scope` first: it has the
 * port.
 */
#include "lifecycle/auth/challenge.h"

#include <stdio.h>
#include <string.h>

#include "store/core/str.h"

int kv_authority_format(const struct kv_challenge *challenge, char *out,
                        size_t out_size)
{
    const char *local = strcmp(challenge->domain, "vault.localhost") == 0
                            ? "localhost"
                            : challenge->domain;
    int n = snprintf(out, out_size, "https://%s:%u/%s", local, challenge->port,
                     challenge->tenant);
    return n > 0 && (size_t)n < out_size ? 0 : KV_E_TOO_BIG;
}

int kv_resource_format(const struct kv_challenge *challenge, char *out, size_t out_size)
{
    int n = snprintf(out, out_size, "https://%s", challenge->domain);
    return n > 0 && (size_t)n < out_size ? 0 : KV_E_TOO_BIG;
}

int kv_challenge_format(const struct kv_challenge *challenge, char *out,
                        size_t out_size)
{
    char authority[300];
    int rc = kv_authority_format(challenge, authority, sizeof(authority));
    if (rc != 0)
        return rc;
    int n =
        snprintf(out, out_size, "Bearer authorization=\"%s\", resource=\"https://%s\"",
                 authority, challenge->domain);
    if (n > 0 && (size_t)n < out_size && challenge->port != 443)
        n += snprintf(out + n, out_size - (size_t)n,
                      ", scope=\"https://%s:%u/.default\"", challenge->domain,
                      challenge->port);
    return n > 0 && (size_t)n < out_size ? 0 : KV_E_TOO_BIG;
}
