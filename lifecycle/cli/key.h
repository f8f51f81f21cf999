/*
 * A key for a person, and the parts of a request that several key commands have.
 */
#ifndef KV_LIFECYCLE_CLI_KEY_H
#define KV_LIFECYCLE_CLI_KEY_H

#include "lifecycle/cli/cli.h"

/* Print the fields of a key bundle. */
int kv_key_print(const json_t *bundle, struct kv_err *err) KV_MUST_CHECK;

/* Put --ops "sign,verify" into a request body, when it is given. cli.bad-flag. */
int kv_key_read_ops(const struct kv_cli *cli, json_t *body,
                    struct kv_err *err) KV_MUST_CHECK;

#endif
