/*
 * Telling who started us that we serve: systemd by $NOTIFY_SOCKET, the supervisor by
 * one byte on a descriptor.
 */
#ifndef KV_STORE_KEYRING_NOTIFY_H
#define KV_STORE_KEYRING_NOTIFY_H

#include "store/core/err.h"

/* Send `state` ("READY=1") if the environment names a notify socket. Before the
 * sandbox. KV_E_IO (notify.failed). */
int kv_notify(const char *state, struct kv_err *err) KV_MUST_CHECK;

#endif
