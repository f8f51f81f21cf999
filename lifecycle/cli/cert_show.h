/*
 * One certificate for a person (fields) or for a program (PEM).
 */
#ifndef KV_LIFECYCLE_CLI_CERT_SHOW_H
#define KV_LIFECYCLE_CLI_CERT_SHOW_H

#include "lifecycle/cli/cli.h"

/* Print the fields of a certificate bundle. cli.bad-reply when it holds none. */
int kv_cert_print(const json_t *bundle, struct kv_err *err) KV_MUST_CHECK;

/* Print the certificate and its chain in PEM, leaf first, to --out or standard output.
 * Nothing but certificates is ever written. */
int kv_cert_print_pem(struct kv_cli *cli, const json_t *bundle,
                      struct kv_err *err) KV_MUST_CHECK;

#endif
