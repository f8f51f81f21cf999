/*
 * The thread of a backup, and its questions to the loop.
 *
 *   thread   copy? ──► encrypt ──► key? rows? ──► proved ──► ends
 *             │  ▲                   │    ▲
 *   loop      store                 keyring
 *
 * The thread writes straight-line code and waits for each answer; the loop never waits.
 * Everything that both touch is guarded by one mutex.
 */
#include "lifecycle/backup/backups.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lifecycle/backup/opened.h"
#include "lifecycle/backup/room.h"
#include "lifecycle/service/keyring.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define PREFIX "backup-"
#define SUFFIX ".tmp"
#define UNFETCHED_MS 60000 /* nobody came for it: it gives way */

/* Verb 0 asks the store for a copy at `path`. */
struct question {
    bool is_asked; /* the loop has not taken it yet */
    bool is_answered;
    uint16_t verb;
    const struct kv_buf *payload;
    const char *path;
    struct kv_buf *reply;
    int rc;
    struct kv_err err;
};

struct kv_backups {
    struct kv_service *service;
    uv_thread_t thread;
    uv_async_t async;
    bool has_thread;         /* loop: started, its handle is not closed */
    bool must_drop;          /* loop: forget it when it has ended */
    uint64_t touched_ms;     /* loop: somebody asked about it */
    uint64_t uploaded;       /* loop */
    struct kv_opened opened; /* loop */
    char file[PATH_MAX]; /* the backup itself; these three do not change while the */
    char copy[PATH_MAX]; /* thread runs */
    char proof[PATH_MAX];
    uint8_t id[KV_ID_LEN];

    uv_mutex_t mutex; /* guards the rest */
    uv_cond_t answered;
    bool is_cancelled;
    bool is_over; /* the thread is about to end */
    struct question question;
    struct kv_backup_view view;
};

/* --- files -------------------------------------------------------------------------
 */

/* Also what SQLite keeps beside a copy: -journal, -wal, -shm. */
static bool is_left_over(const char *name)
{
    return kv_str_has_prefix(name, PREFIX) && strstr(name, SUFFIX) != NULL;
}

static void remove_left_overs(const char *dir)
{
    char path[PATH_MAX];
    DIR *handle = dir != NULL ? opendir(dir) : NULL;
    if (handle == NULL)
        return;
    for (const struct dirent *entry = readdir(handle); entry != NULL;
         entry = readdir(handle)) {
        int n = snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (is_left_over(entry->d_name) && n > 0 && (size_t)n < sizeof(path))
            (void)unlink(path); /* tried again at the next start */
    }
    (void)closedir(handle); /* read only */
}

static void remove_files(const struct kv_backups *backups)
{
    (void)unlink(backups->file); /* those that are not there need no removal */
    (void)unlink(backups->copy);
    (void)unlink(backups->proof);
}

/* A new id and the names of its files. */
static int begin_files(struct kv_backups *backups, struct kv_err *err)
{
    const struct kv_service *service = backups->service;
    char id[2 * KV_ID_LEN + 1];
    int rc = kv_rand_fill(service->rand, backups->id, KV_ID_LEN);
    if (rc != 0)
        return rc;
    if (service->db_dir == NULL)
        return kv_err_set(err, KV_E_UNSUPPORTED, "store.no-snapshot",
                          "a store in memory has no file to copy");
    kv_hex_encode(id, backups->id, KV_ID_LEN);
    struct {
        char *path;
        const char *what;
    } files[] = {
        {backups->file, ""}, {backups->copy, "-copy"}, {backups->proof, "-proof"}};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        int n = snprintf(files[i].path, PATH_MAX, "%s/" PREFIX "%s%s" SUFFIX,
                         service->db_dir, id, files[i].what);
        if (n < 0 || n >= PATH_MAX)
            return KV_E_TOO_BIG;
    }
    backups->view = (struct kv_backup_view){.phase = ""};
    memcpy(backups->view.id, id, sizeof(id));
    backups->uploaded = 0;
    return 0;
}

/* --- on the thread -------------------------------------------------------------------
 */

/* Put a question to the loop and wait for the answer. */
static int wait_for(struct kv_backups *backups, const struct question *question,
                    struct kv_err *err)
{
    uv_mutex_lock(&backups->mutex);
    backups->question = *question;
    backups->question.is_asked = true;
    if (backups->is_cancelled)
        backups->question.is_answered = true;
    else
        (void)uv_async_send(&backups->async); /* fails only on a closed handle */
    while (!backups->question.is_answered)
        uv_cond_wait(&backups->answered, &backups->mutex);
    int rc = backups->is_cancelled ? KV_E_UNAVAILABLE : backups->question.rc;
    if (rc != 0 && err != NULL && backups->question.err.code != 0)
        *err = backups->question.err;
    if (backups->is_cancelled)
        (void)kv_err_set(err, rc, "backup.cancelled", "the backup was ended");
    uv_mutex_unlock(&backups->mutex);
    return rc;
}

static int ask_keyring(void *arg, uint16_t verb, const struct kv_buf *payload,
                       struct kv_buf *reply, struct kv_err *err)
{
    const struct question question = {.verb = verb, .payload = payload, .reply = reply};
    return wait_for(arg, &question, err);
}

static int on_progress(void *arg, uint64_t done, uint64_t total)
{
    struct kv_backups *backups = arg;
    uv_mutex_lock(&backups->mutex);
    backups->view.done = done;
    backups->view.total = total;
    int rc = backups->is_cancelled ? KV_E_UNAVAILABLE : 0;
    uv_mutex_unlock(&backups->mutex);
    return rc;
}

static void begin_phase(struct kv_backups *backups, const char *phase)
{
    uv_mutex_lock(&backups->mutex);
    backups->view.phase = phase;
    backups->view.done = 0;
    backups->view.total = 0;
    uv_mutex_unlock(&backups->mutex);
}

static int count_copy(const char *path, struct kv_copy_counts *counts, uint64_t *len,
                      struct kv_err *err)
{
    struct stat info;
    struct kv_copy *copy = NULL;
    int rc = kv_copy_open(&copy, path, err);
    if (rc == 0)
        rc = kv_copy_count(copy, counts, err);
    kv_copy_close(copy);
    if (rc == 0 && stat(path, &info) != 0)
        rc = kv_err_errno(err, errno, "backup.unreadable", path);
    if (rc == 0)
        *len = (uint64_t)info.st_size;
    return rc;
}

static int get_file_key(struct kv_backups *backups, struct kv_buf *reply,
                        struct kv_role_backup_key *out, struct kv_err *err)
{
    struct kv_buf nothing;
    kv_buf_init(&nothing, 1);
    int rc = ask_keyring(backups, KV_ROLE_BACKUP_NEW, &nothing, reply, err);
    if (rc == 0)
        rc = kv_role_backup_key_get((struct kv_bytes){reply->data, reply->len}, out);
    return rc;
}

static int encrypt(struct kv_backups *backups, struct kv_err *err)
{
    int rc = 0;
    struct kv_role_backup_key key;
    struct kv_copy_counts counts;
    struct kv_buf reply;
    struct kv_backup_header header = {.created_s = kv_now_s(backups->service->clock),
                                      .schema = KV_STORE_SCHEMA};
    kv_buf_init_secret(&reply, KV_BACKUP_HEADER_MAX);
    KV_TRY(count_copy(backups->copy, &counts, &header.body_len, err));
    KV_TRY(get_file_key(backups, &reply, &key, err));
    memcpy(header.installation, backups->service->installation, KV_ID_LEN);
    memcpy(header.id, backups->id, KV_ID_LEN);
    header.wrapped = key.wrapped;
    header.slots = key.slots;
    uv_mutex_lock(&backups->mutex);
    backups->view.opens_elsewhere = key.opens_elsewhere != 0;
    uv_mutex_unlock(&backups->mutex);
    const struct kv_backup_job job = {.from = backups->copy,
                                      .to = backups->file,
                                      .file_key = key.key,
                                      .progress = on_progress,
                                      .arg = backups};
    rc = kv_backup_write(&job, &header, &counts, err);
out:
    kv_wipe(&key, sizeof(key));
    kv_buf_free(&reply);
    return rc;
}

static int prove(struct kv_backups *backups, struct kv_backup_proof *proof,
                 struct kv_err *err)
{
    const struct kv_backup_keyring keyring = {.ask = ask_keyring, .arg = backups};
    const struct kv_backup_job job = {.from = backups->file,
                                      .to = backups->proof,
                                      .progress = on_progress,
                                      .arg = backups};
    int rc = kv_backup_prove(&job, &keyring, proof, err);
    (void)unlink(backups->proof); /* also removed at the next start */
    return rc;
}

static int make(struct kv_backups *backups, struct kv_backup_proof *proof,
                struct kv_err *err)
{
    int rc = 0;
    const struct question copy = {.path = backups->copy};
    if (!backups->view.is_upload) { /* set before the thread began */
        begin_phase(backups, "copying");
        KV_TRY(wait_for(backups, &copy, err));
        begin_phase(backups, "encrypting");
        rc = encrypt(backups, err);
        (void)unlink(backups->copy); /* also removed at the next start */
        KV_TRY(rc);
    }
    begin_phase(backups, "proving");
    rc = prove(backups, proof, err);
out:
    return rc;
}

static void thread_main(void *arg)
{
    struct kv_backups *backups = arg;
    struct kv_err err = KV_ERR_INIT;
    struct kv_backup_proof proof;
    int rc = make(backups, &proof, &err);
    if (rc != 0)
        (void)kv_err_set(&err, rc, "backup.failed", "the backup failed: %s",
                         kv_code_text(rc));
    uv_mutex_lock(&backups->mutex);
    backups->view.state = rc == 0 ? KV_BACKUP_PROVED : KV_BACKUP_FAILED;
    backups->view.err = err;
    if (rc == 0)
        backups->view.proof = proof;
    backups->is_over = true;
    (void)uv_async_send(&backups->async); /* fails only on a closed handle */
    uv_mutex_unlock(&backups->mutex);
}

/* --- on the loop -------------------------------------------------------------------
 */

static void answer(struct kv_backups *backups, int rc, struct kv_bytes payload,
                   const struct kv_err *err)
{
    uv_mutex_lock(&backups->mutex);
    struct question *question = &backups->question;
    if (rc == 0 && question->reply != NULL)
        rc = kv_buf_append(question->reply, payload.data, payload.len);
    question->rc = rc;
    if (err != NULL)
        question->err = *err;
    question->is_answered = true;
    uv_cond_signal(&backups->answered);
    uv_mutex_unlock(&backups->mutex);
}

static void on_keyring(void *arg, int rc, struct kv_bytes payload,
                       const struct kv_err *err)
{
    answer(arg, rc, payload, err);
}

static void on_copied(void *arg, int rc, size_t failed_index, const struct kv_err *err)
{
    (void)failed_index;
    answer(arg, rc, (struct kv_bytes){NULL, 0}, err);
}

static void on_closed(uv_handle_t *handle)
{
    struct kv_backups *backups = handle->data;
    struct kv_log *log = backups->service->log;
    const struct kv_backup_view *view = &backups->view;
    if (view->state == KV_BACKUP_FAILED || backups->must_drop)
        remove_files(backups);
    if (view->state == KV_BACKUP_FAILED)
        kv_log_err(log, KV_LOG_ERROR, "backup.failed", &view->err);
    else
        kv_log(log, KV_LOG_INFO, "backup.proved", KV_S("id", view->id),
               KV_I("rows", view->proof.counts.n_rows),
               KV_I("bytes", view->proof.file_bytes),
               KV_I("erased", view->proof.n_erased));
    if (backups->must_drop)
        backups->view.id[0] = '\0';
    backups->touched_ms = uv_now(backups->service->loop);
    backups->has_thread = false; /* not before: the next one needs the handle */
    backups->service->n_running--;
}

static void on_async(uv_async_t *async)
{
    struct kv_backups *backups = async->data;
    const struct kv_service *service = backups->service;
    uv_mutex_lock(&backups->mutex);
    const struct question question = backups->question;
    backups->question.is_asked = false;
    bool is_over = backups->is_over;
    uv_mutex_unlock(&backups->mutex);
    if (is_over) {
        (void)uv_thread_join(&backups->thread); /* it has ended */
        kv_opened_forget(&backups->opened, backups->service);
        uv_close((uv_handle_t *)async, on_closed);
        return;
    }
    if (!question.is_asked)
        return;
    int rc = 0;
    if (question.verb == KV_ROLE_VAULT_KEY_OPEN)
        rc = kv_opened_note(&backups->opened, question.payload);
    if (rc == 0)
        rc = question.path != NULL
                 ? service->store->ops->snapshot(service->store, question.path,
                                                 on_copied, backups)
                 : kv_keyring_call(service->keyring, question.verb, question.payload,
                                   on_keyring, backups);
    if (rc != 0)
        answer(backups, rc, (struct kv_bytes){NULL, 0}, NULL);
}

static int start(struct kv_backups *backups, struct kv_err *err)
{
    uv_mutex_lock(&backups->mutex);
    backups->view.state = KV_BACKUP_RUNNING;
    backups->is_cancelled = false;
    backups->is_over = false;
    backups->question = (struct question){.is_asked = false};
    uv_mutex_unlock(&backups->mutex);
    backups->must_drop = false;
    if (uv_async_init(backups->service->loop, &backups->async, on_async) != 0)
        return KV_E_NOMEM;
    backups->async.data = backups;
    backups->service->n_running++;
    backups->has_thread = true;
    if (uv_thread_create(&backups->thread, thread_main, backups) == 0)
        return 0;
    backups->view.state = KV_BACKUP_FAILED;
    (void)kv_err_set(&backups->view.err, KV_E_NOMEM, "backup.failed",
                     "no thread for a backup");
    uv_close((uv_handle_t *)&backups->async, on_closed);
    return kv_err_set(err, KV_E_NOMEM, "backup.failed", "no thread for a backup");
}

int kv_backups_new(struct kv_backups **out, struct kv_service *service)
{
    struct kv_backups *backups = calloc(1, sizeof(*backups));
    if (backups == NULL)
        return KV_E_NOMEM;
    backups->service = service;
    backups->view.phase = "";
    KV_ASSERT(uv_mutex_init(&backups->mutex) == 0);
    KV_ASSERT(uv_cond_init(&backups->answered) == 0);
    remove_left_overs(service->db_dir);
    *out = backups;
    return 0;
}

void kv_backups_free(struct kv_backups *backups)
{
    if (backups == NULL)
        return;
    KV_ASSERT(!backups->has_thread);
    if (backups->view.id[0] != '\0')
        remove_files(backups);
    uv_cond_destroy(&backups->answered);
    uv_mutex_destroy(&backups->mutex);
    free(backups);
}

void kv_backups_stop(struct kv_backups *backups)
{
    if (backups == NULL)
        return;
    uv_mutex_lock(&backups->mutex);
    backups->is_cancelled = true;
    uv_mutex_unlock(&backups->mutex);
}

/* Make room for another one: nothing runs, and nobody is fetching. */
static int make_room(struct kv_backups *backups, struct kv_err *err)
{
    uint64_t idle_ms = uv_now(backups->service->loop) - backups->touched_ms;
    bool is_free = backups->view.id[0] == '\0' ||
                   backups->view.state == KV_BACKUP_FAILED || idle_ms > UNFETCHED_MS;
    if (backups->has_thread || !is_free) {
        kv_err_hint(err, "wait for it, or try again in a minute");
        return kv_err_set(err, KV_E_BUSY, "backup.busy", "another backup is under way");
    }
    if (backups->view.id[0] != '\0')
        remove_files(backups);
    backups->touched_ms = uv_now(backups->service->loop);
    return begin_files(backups, err);
}

int kv_backups_create(struct kv_backups *backups, struct kv_err *err)
{
    const char *dir = backups->service->db_dir;
    int rc = dir != NULL ? kv_backup_check_room(dir, err) : 0;
    if (rc == 0)
        rc = make_room(backups, err);
    return rc != 0 ? rc : start(backups, err);
}

static int find(struct kv_backups *backups, const char *id, struct kv_err *err)
{
    if (backups->view.id[0] != '\0' &&
        (id == NULL || strcmp(id, backups->view.id) == 0)) {
        backups->touched_ms = uv_now(backups->service->loop);
        return 0;
    }
    return kv_err_set(err, KV_E_NOT_FOUND, "backup.not-found",
                      "there is no backup under way with this id");
}

int kv_backups_upload(struct kv_backups *backups, struct kv_err *err)
{
    int rc = make_room(backups, err);
    if (rc == 0)
        backups->view.is_upload = true;
    return rc;
}

static int write_piece(const struct kv_backups *backups, struct kv_bytes piece,
                       struct kv_err *err)
{
    int flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW;
    if (backups->uploaded == 0)
        flags |= O_CREAT | O_EXCL;
    int fd = open(backups->file, flags, 0600);
    if (fd < 0)
        return kv_err_errno(err, errno, "backup.not-written", backups->file);
    ssize_t n = pwrite(fd, piece.data, piece.len, (off_t)backups->uploaded);
    int rc = 0;
    if (n != (ssize_t)piece.len)
        rc = kv_err_errno(err, n < 0 ? errno : ENOSPC, "backup.not-written",
                          backups->file);
    if (close(fd) != 0 && rc == 0)
        rc = kv_err_errno(err, errno, "backup.not-written", backups->file);
    return rc;
}

int kv_backups_add(struct kv_backups *backups, const char *id, uint64_t offset,
                   struct kv_bytes piece, struct kv_err *err)
{
    int rc = find(backups, id, err);
    if (rc != 0)
        return rc;
    if (backups->view.state != KV_BACKUP_EMPTY || !backups->view.is_upload ||
        offset != backups->uploaded || piece.len == 0 ||
        piece.len > KV_BACKUP_PIECE_MAX)
        return kv_err_set(err, KV_E_INVALID, "backup.bad-offset",
                          "the piece does not belong behind those that are there");
    rc = write_piece(backups, piece, err);
    if (rc == 0)
        backups->uploaded += piece.len;
    return rc;
}

int kv_backups_verify(struct kv_backups *backups, const char *id, struct kv_err *err)
{
    int rc = find(backups, id, err);
    if (rc != 0)
        return rc;
    if (backups->view.state != KV_BACKUP_EMPTY || backups->uploaded == 0)
        return kv_err_set(err, KV_E_INVALID, "backup.bad-offset",
                          "there is nothing uploaded to be verified");
    return start(backups, err);
}

int kv_backups_look(struct kv_backups *backups, const char *id,
                    struct kv_backup_view *out, struct kv_err *err)
{
    int rc = find(backups, id, err);
    if (rc != 0)
        return rc;
    uv_mutex_lock(&backups->mutex);
    *out = backups->view;
    uv_mutex_unlock(&backups->mutex);
    if (backups->has_thread) /* it is over when the loop has said so */
        out->state = KV_BACKUP_RUNNING;
    return 0;
}

int kv_backups_read(struct kv_backups *backups, const char *id, uint64_t offset,
                    struct kv_buf *out, struct kv_err *err)
{
    int rc = find(backups, id, err);
    if (rc != 0)
        return rc;
    if (backups->has_thread || backups->view.state != KV_BACKUP_PROVED ||
        backups->view.is_upload || offset > INT64_MAX)
        return kv_err_set(err, KV_E_NOT_FOUND, "backup.not-found",
                          "this backup has nothing to be fetched");
    uint8_t *piece = kv_buf_extend(out, KV_BACKUP_PIECE_MAX);
    if (piece == NULL)
        return KV_E_NOMEM;
    int fd = open(backups->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd >= 0 ? pread(fd, piece, KV_BACKUP_PIECE_MAX, (off_t)offset) : -1;
    if (n < 0)
        rc = kv_err_errno(err, errno, "backup.unreadable", backups->file);
    if (fd >= 0)
        (void)close(fd); /* opened for reading */
    kv_buf_truncate(out, n > 0 ? (size_t)n : 0);
    return rc;
}

int kv_backups_drop(struct kv_backups *backups, const char *id, struct kv_err *err)
{
    int rc = find(backups, id, err);
    if (rc != 0)
        return rc;
    if (backups->has_thread) {
        backups->must_drop = true;
        kv_backups_stop(backups);
        return 0;
    }
    remove_files(backups);
    backups->view.id[0] = '\0';
    return 0;
}
