/*
 * An SQLite file layer that fails on demand: the n-th write finds the disk full, the
 * n-th sync fails, or the power goes and what was not synced is gone.
 *
 * It becomes the process's default layer, so the store under test needs no hook. It
 * passes everything to the real layer and remembers, for each file, the sectors
 * written since the last sync as they were before.
 */
#ifndef KV_TESTS_SUPPORT_FAULT_VFS_H
#define KV_TESTS_SUPPORT_FAULT_VFS_H

#include <stdbool.h>
#include <stdint.h>

/* Put the layer under every database that is opened from now on. */
void fault_vfs_install(void);

/* Make the n-th write or sync from now on (1 = the next, 0 = none) fail with an
 * SQLite result code, once. */
void fault_vfs_fail_write(unsigned n, int sqlite_rc);
void fault_vfs_fail_sync(unsigned n, int sqlite_rc);

/* Let the disk claim a sync that it does not do: the negative control. */
void fault_vfs_lie_about_sync(bool lies);

/* At the n-th write or sync from now on undo what is not synced, all of it or a
 * random half of its 512-byte sectors, and leave with _exit(`status`). */
void fault_vfs_power_off(unsigned n, unsigned seed, int status);

/* Writes and syncs so far. */
unsigned fault_vfs_operations(void);

#endif
