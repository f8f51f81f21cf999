/*
 * Keys, secrets and certificates as the command line sees them: what the verbs that
 * all three have need to know of each. One row per noun; a verb reads the row of the
 * running command.
 */
#ifndef KV_LIFECYCLE_CLI_NOUN_H
#define KV_LIFECYCLE_CLI_NOUN_H

#include "lifecycle/cli/cli.h"

struct kv_noun {
    const char *noun;       /* of the command: "cert" */
    const char *kind;       /* for a sentence: "certificate" */
    const char *collection; /* of the API: "certificates" */
    const char *deleted;    /* where the deleted ones are: "deletedcertificates" */
    /* Print the fields of a bundle for a person. */
    int (*print)(const json_t *bundle, struct kv_err *err);
};

/* The row of the running command. Only for commands of these nouns. */
const struct kv_noun *kv_noun_of(const struct kv_cli *cli);

/* Print a bundle: as it is with --json, else its fields. */
int kv_noun_print(const struct kv_cli *cli, const json_t *bundle,
                  struct kv_err *err) KV_MUST_CHECK;

#endif
