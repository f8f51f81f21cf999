/*
 * The rows: the only place where a verb that all nouns share learns their differences.
 */
#include "lifecycle/cli/noun.h"

#include <string.h>

#include "lifecycle/cli/cert_show.h"
#include "lifecycle/cli/key.h"
#include "lifecycle/cli/secret.h"

static const struct kv_noun nouns[] = {
    {"key", "key", "keys", "deletedkeys", kv_key_print},
    {"secret", "secret", "secrets", "deletedsecrets", kv_secret_print},
    {"cert", "certificate", "certificates", "deletedcertificates", kv_cert_print},
};

const struct kv_noun *kv_noun_of(const struct kv_cli *cli)
{
    const char *noun = cli->invocation.command->noun;
    size_t i = 0;
    while (strcmp(nouns[i].noun, noun) != 0) {
        i++;
        KV_ASSERT(i < sizeof(nouns) / sizeof(nouns[0]));
    }
    return &nouns[i];
}

int kv_noun_print(const struct kv_cli *cli, const json_t *bundle, struct kv_err *err)
{
    return cli->invocation.as_json ? kv_cli_print_json(bundle, err)
                                   : kv_noun_of(cli)->print(bundle, err);
}
