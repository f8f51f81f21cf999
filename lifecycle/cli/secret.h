/*
 * A secret for a person, and the parts of a request that several secret commands have.
 */
#ifndef KV_LIFECYCLE_CLI_SECRET_H
#define KV_LIFECYCLE_CLI_SECRET_H

#include "lifecycle/cli/cli.h"

/* Print the fields of a secret bundle, never its value. */
int kv_secret_print(const json_t *bundle, struct kv_err *err) KV_MUST_CHECK;

/* Put --content-type into a request body, when it is given. cli.bad-flag. */
int kv_secret_read_type(const struct kv_cli *cli, json_t *body,
                        struct kv_err *err) KV_MUST_CHECK;

#endif
