/*
 * Whether there is room for a backup beside the store: a copy and its encrypted file
 * are there at once. Blocks for two system calls.
 */
#ifndef KV_LIFECYCLE_BACKUP_ROOM_H
#define KV_LIFECYCLE_BACKUP_ROOM_H

#include "store/core/err.h"

#define KV_BACKUP_SPARE (64ull << 20) /* bytes left to the store and the audit log */

/* The store is in `dir`. KV_E_FULL (backup.no-room) says how much is missing. */
int kv_backup_check_room(const char *dir, struct kv_err *err) KV_MUST_CHECK;

#endif
