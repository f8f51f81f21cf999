/*
 * Waiting for the API: operations that go on after their reply.
 */
#ifndef KV_LIFECYCLE_CLI_WAIT_H
#define KV_LIFECYCLE_CLI_WAIT_H

#include "lifecycle/cli/cli.h"

/* Begin a wait with this much; each pause doubles it up to two seconds. */
#define KV_WAIT_FIRST_MS 50

/* Sleep that long and set how long the next pause is. */
void kv_wait_pause(long *pause_ms);

/* GET `path` until it is there: 404 means "not yet". Whoever may not look is not made
 * to wait. KV_E_TIMEOUT (cli.timeout) after two minutes. */
int kv_wait_there(struct kv_cli *cli, const char *path,
                  struct kv_err *err) KV_MUST_CHECK;

#endif
