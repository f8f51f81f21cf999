/*
 * Backups of the running store: made, proved, fetched, and checked again.
 *
 * One at a time, on a thread of its own that asks keyring and store through the loop.
 * Files lie beside the store while they are worked on and end in ".tmp"; what a crash
 * leaves is removed at the next start. Who asked fetches the proved file piece by piece
 * and keeps it where it wants: no path of a caller is ever opened here. Loop thread.
 */
#ifndef KV_LIFECYCLE_BACKUP_BACKUPS_H
#define KV_LIFECYCLE_BACKUP_BACKUPS_H

#include "lifecycle/backup/prove.h"
#include "lifecycle/service/service.h"

#define KV_BACKUP_PIECE_MAX 131072 /* bytes of one piece that goes up or down */

enum kv_backup_state {
    KV_BACKUP_EMPTY,   /* being uploaded */
    KV_BACKUP_RUNNING, /* being made or proved */
    KV_BACKUP_PROVED,
    KV_BACKUP_FAILED,
};

/* The one backup that is worked on, or was last. */
struct kv_backup_view {
    char id[2 * KV_ID_LEN + 1];
    bool is_upload; /* brought to be verified */
    enum kv_backup_state state;
    const char *phase; /* "copying", "encrypting", "proving" */
    uint64_t done;     /* bytes of the phase */
    uint64_t total;
    bool opens_elsewhere;         /* a slot needs nothing of this machine */
    struct kv_backup_proof proof; /* PROVED */
    struct kv_err err;            /* FAILED */
};

struct kv_backups;

/* Removes what an earlier run left. `service` outlives it. */
int kv_backups_new(struct kv_backups **out, struct kv_service *service) KV_MUST_CHECK;
void kv_backups_free(struct kv_backups *backups);

/* End what runs, soon; it counts among service->n_running until it has. */
void kv_backups_stop(struct kv_backups *backups);

/* Begin a backup; the view tells its id. KV_E_BUSY (backup.busy) while another is
 * under way or waits to be fetched. */
int kv_backups_create(struct kv_backups *backups, struct kv_err *err) KV_MUST_CHECK;

/* Begin an upload, add the piece that belongs at `offset` (the pieces come in order),
 * then prove it. KV_E_CONFLICT (backup.bad-offset), KV_E_NOT_FOUND (backup.not-found),
 * KV_E_BUSY. */
int kv_backups_upload(struct kv_backups *backups, struct kv_err *err) KV_MUST_CHECK;
int kv_backups_add(struct kv_backups *backups, const char *id, uint64_t offset,
                   struct kv_bytes piece, struct kv_err *err) KV_MUST_CHECK;
int kv_backups_verify(struct kv_backups *backups, const char *id,
                      struct kv_err *err) KV_MUST_CHECK;

/* The backup of this id (NULL: the last one), as it is now. KV_E_NOT_FOUND. */
int kv_backups_look(struct kv_backups *backups, const char *id,
                    struct kv_backup_view *out, struct kv_err *err) KV_MUST_CHECK;

/* Append the piece of a proved backup at `offset`, at most KV_BACKUP_PIECE_MAX bytes,
 * none at its end. */
int kv_backups_read(struct kv_backups *backups, const char *id, uint64_t offset,
                    struct kv_buf *out, struct kv_err *err) KV_MUST_CHECK;

/* Forget a backup and its file; one that runs is ended first. */
int kv_backups_drop(struct kv_backups *backups, const char *id,
                    struct kv_err *err) KV_MUST_CHECK;

#endif
