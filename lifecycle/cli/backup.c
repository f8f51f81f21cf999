/*
 * keyvault backup create | list | verify, and keyvault restore.
 *
 * The service makes and proves a backup; its bytes come over api.sock piece by piece
 * and are written here, with the rights of who asked: beside the name at first, synced,
 * and under the name only when they are what was proved. A restore needs no service:
 * keyvault-restore does it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "lifecycle/supervisor/paths.h"
#include "store/core/b64.h"
#include "store/core/str.h"

#define BACKUPS_PATH "/keyvault/v1/backups"
#define PIECE_BYTES 131072
#define POLL_NS 100000000L
#define DIGEST_LEN 32

/* One backup between file and service. */
struct transfer {
    struct kv_cli *cli;
    const char *file;
    char id[64];
    char tmp[PATH_MAX];
    int fd;
    uint64_t done;
    uint64_t total;
    int percent; /* shown last */
    bool is_placed;
    bool is_refused; /* the service has said that it does not list it */
    EVP_MD_CTX *digest;
};

/* --- progress ------------------------------------------------------------------------
 */

static void say(struct transfer *transfer, const char *phase, uint64_t done,
                uint64_t total)
{
    int percent = total > 0 ? (int)(done * 100 / total) : 0;
    if (transfer->cli->invocation.as_json || !isatty(STDERR_FILENO)) {
        /* One line for each tenth: a log is not a terminal. */
        if (transfer->cli->invocation.as_json && percent / 10 != transfer->percent / 10)
            (void)fprintf(stderr,
                          "{\"phase\":\"%s\",\"percent\":%d,\"doneBytes\":%llu,"
                          "\"totalBytes\":%llu}\n",
                          phase, percent, (unsigned long long)done,
                          (unsigned long long)total);
    } else {
        (void)fprintf(stderr, "\r%-10s %3d %%  %llu of %llu bytes\033[K", phase,
                      percent, (unsigned long long)done, (unsigned long long)total);
    }
    transfer->percent = percent;
}

static void say_end(const struct transfer *transfer)
{
    if (!transfer->cli->invocation.as_json && isatty(STDERR_FILENO))
        (void)fputs("\r\033[K", stderr);
}

/* --- calls
 * ----------------------------------------------------------------------------
 */

static int path_of(const struct transfer *transfer, const char *behind,
                   char out[KV_REST_PATH_MAX])
{
    int n = snprintf(out, KV_REST_PATH_MAX, BACKUPS_PATH "/%s%s", transfer->id, behind);
    return n > 0 && n < KV_REST_PATH_MAX ? 0 : KV_E_TOO_BIG;
}

static int call(struct transfer *transfer, const char *method, const char *behind,
                const json_t *body, json_t **reply, struct kv_err *err)
{
    char path[KV_REST_PATH_MAX];
    int rc = path_of(transfer, behind, path);
    return rc != 0 ? rc : kv_rest_call(transfer->cli, method, path, body, reply, err);
}

static int begin(struct transfer *transfer, const char *path, struct kv_err *err)
{
    json_t *reply = NULL;
    int rc = kv_rest_call(transfer->cli, "POST", path, NULL, &reply, err);
    if (rc == 0)
        rc = kv_str_copy(transfer->id, sizeof(transfer->id), kv_json_text(reply, "id"));
    json_decref(reply);
    return rc;
}

/* Forget it there; whatever made us give up is the better message. */
static void forget(struct transfer *transfer)
{
    struct kv_err ignored = KV_ERR_INIT;
    if (transfer->id[0] != '\0' &&
        call(transfer, "DELETE", "", NULL, NULL, &ignored) != 0)
        return; /* the service forgets it by itself */
}

static uint64_t number(const json_t *object, const char *member)
{
    json_int_t value = json_integer_value(json_object_get(object, member));
    return value > 0 ? (uint64_t)value : 0;
}

static int failed(const json_t *view, struct kv_err *err)
{
    const json_t *error = json_object_get(view, "error");
    (void)kv_err_set(err, KV_E_INTEGRITY, kv_json_text(error, "id"), "%s",
                     kv_json_text(error, "message"));
    if (kv_json_text(error, "hint")[0] != '\0')
        kv_err_hint(err, "%s", kv_json_text(error, "hint"));
    return KV_E_INTEGRITY;
}

/* Wait until the service has proved it; `view` is then the caller's. */
static int wait_for(struct transfer *transfer, json_t **view, struct kv_err *err)
{
    for (;;) {
        json_t *reply = NULL;
        const struct timespec pause = {0, POLL_NS};
        int rc = call(transfer, "GET", "", NULL, &reply, err);
        if (rc != 0)
            return rc;
        const char *state = kv_json_text(reply, "state");
        if (strcmp(state, "proved") == 0) {
            *view = reply;
            return 0;
        }
        if (strcmp(state, "running") != 0)
            rc = failed(reply, err);
        else
            say(transfer, kv_json_text(reply, "phase"), number(reply, "doneBytes"),
                number(reply, "totalBytes"));
        json_decref(reply);
        if (rc != 0)
            return rc;
        (void)nanosleep(&pause, NULL);
    }
}

/* --- fetching
 * -------------------------------------------------------------------------
 */

static int open_tmp(struct transfer *transfer, struct kv_err *err)
{
    struct stat info;
    if (lstat(transfer->file, &info) == 0)
        return kv_err_set(err, KV_E_EXISTS, "backup.exists", "%s exists already",
                          transfer->file);
    int n = snprintf(transfer->tmp, sizeof(transfer->tmp), "%s.tmp-%ld", transfer->file,
                     (long)getpid());
    if (n < 0 || (size_t)n >= sizeof(transfer->tmp))
        return kv_cli_bad(err, "the name of the file is too long");
    transfer->fd =
        open(transfer->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return transfer->fd >= 0
               ? 0
               : kv_err_errno(err, errno, "backup.not-written", transfer->tmp);
}

static int write_piece(struct transfer *transfer, const struct kv_buf *piece,
                       struct kv_err *err)
{
    size_t done = 0;
    while (done < piece->len) {
        ssize_t n = write(transfer->fd, piece->data + done, piece->len - done);
        if (n < 0 && errno != EINTR)
            return kv_err_errno(err, errno, "backup.not-written", transfer->tmp);
        done += n > 0 ? (size_t)n : 0;
    }
    return EVP_DigestUpdate(transfer->digest, piece->data, piece->len) == 1
               ? 0
               : KV_E_CRYPTO;
}

static int fetch_piece(struct transfer *transfer, struct kv_err *err)
{
    char behind[64];
    json_t *reply = NULL;
    struct kv_buf piece;
    kv_buf_init(&piece, PIECE_BYTES);
    int rc = 0;
    (void)snprintf(behind, sizeof(behind), "/content?offset=%llu",
                   (unsigned long long)transfer->done);
    KV_TRY(call(transfer, "GET", behind, NULL, &reply, err));
    const char *text = kv_json_text(reply, "data");
    KV_TRY(kv_b64_decode(KV_B64_URL, text, strlen(text), &piece));
    if (piece.len == 0)
        KV_TRY(kv_err_set(err, KV_E_INTEGRITY, "backup.altered",
                          "the service sent less than it has proved"));
    KV_TRY(write_piece(transfer, &piece, err));
    transfer->done += piece.len;
    say(transfer, "storing", transfer->done, transfer->total);
out:
    kv_buf_free(&piece);
    json_decref(reply);
    return rc;
}

static int check_digest(struct transfer *transfer, const json_t *proof,
                        struct kv_err *err)
{
    uint8_t digest[DIGEST_LEN];
    char text[2 * DIGEST_LEN + 1];
    if (EVP_DigestFinal_ex(transfer->digest, digest, NULL) != 1)
        return KV_E_CRYPTO;
    kv_hex_encode(text, digest, sizeof(digest));
    return strcmp(text, kv_json_text(proof, "sha256")) == 0
               ? 0
               : kv_err_set(err, KV_E_INTEGRITY, "backup.altered",
                            "what was stored is not what was proved");
}

static int sync_dir_of(const char *file, struct kv_err *err)
{
    char dir[PATH_MAX] = ".";
    const char *slash = strrchr(file, '/');
    if (slash != NULL)
        kv_str_cut(dir, sizeof(dir), file, slash == file ? 1 : (size_t)(slash - file));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 && fsync(fd) == 0
                 ? 0
                 : kv_err_errno(err, errno, "backup.not-written", dir);
    if (fd >= 0)
        (void)close(fd); /* opened for reading */
    return rc;
}

/* NFS and FUSE know no RENAME_NOREPLACE: a link takes no other's name either. */
static int give_name(const struct transfer *transfer)
{
    if (renameat2(AT_FDCWD, transfer->tmp, AT_FDCWD, transfer->file,
                  RENAME_NOREPLACE) == 0)
        return 0;
    if ((errno != EINVAL && errno != ENOSYS) ||
        link(transfer->tmp, transfer->file) != 0)
        return -1;
    (void)unlink(transfer->tmp); /* a second name of the same file */
    return 0;
}

/* Give the synced file its name, which must be free. */
static int put_in_place(struct transfer *transfer, struct kv_err *err)
{
    int rc = 0;
    if (fsync(transfer->fd) != 0)
        return kv_err_errno(err, errno, "backup.not-written", transfer->tmp);
    if (give_name(transfer) != 0) {
        rc = errno == EEXIST
                 ? kv_err_set(err, KV_E_EXISTS, "backup.exists", "%s exists already",
                              transfer->file)
                 : kv_err_errno(err, errno, "backup.not-written", transfer->file);
        return rc;
    }
    transfer->tmp[0] = '\0';
    transfer->is_placed = true;
    return sync_dir_of(transfer->file, err);
}

static int fetch(struct transfer *transfer, const json_t *view, struct kv_err *err)
{
    const json_t *proof = json_object_get(view, "proof");
    int rc = 0;
    transfer->total = number(proof, "bytes");
    while (transfer->done < transfer->total)
        KV_TRY(fetch_piece(transfer, err));
    KV_TRY(check_digest(transfer, proof, err));
    rc = put_in_place(transfer, err);
out:
    return rc;
}

/* Have it listed, by its whole path. */
static int keep(struct transfer *transfer, json_t **record, struct kv_err *err)
{
    char real[PATH_MAX];
    const char *file = realpath(transfer->file, real) != NULL ? real : transfer->file;
    json_t *body = json_pack("{s:s}", "file", file);
    int rc = body != NULL ? call(transfer, "POST", "/keep", body, record, err)
                          : kv_cli_bad(err, "the name of the file is no UTF-8 text");
    json_decref(body);
    transfer->is_refused =
        body == NULL || (rc != 0 && strcmp(err->id, "cli.bad-reply") != 0 &&
                         (rc == KV_E_DENIED || rc == KV_E_CONFLICT || rc == KV_E_BUSY ||
                          rc == KV_E_INVALID || rc == KV_E_NOT_FOUND));
    return rc;
}

static void warn_if_lost_with_machine(const json_t *view)
{
    if (!json_is_true(json_object_get(view, "opensElsewhere")))
        (void)fputs("keyvault: warning: only the keyfile of this machine opens this "
                    "backup: keep a copy of it elsewhere, or the backup is worth "
                    "nothing when the machine is gone\n",
                    stderr);
}

static void print_proof(const json_t *record)
{
    char text[160];
    (void)snprintf(text, sizeof(text),
                   "%lld rows, %lld keys opened, one of each of %lld kinds signed",
                   (long long)number(record, "rows"), (long long)number(record, "keys"),
                   (long long)number(record, "keyTypes"));
    kv_object_print_field("proved", text);
    (void)snprintf(text, sizeof(text), "%lld", (long long)number(record, "bytes"));
    kv_object_print_field("bytes", text);
    kv_object_print_field("sha256", kv_json_text(record, "sha256"));
}

int kv_backup_create_run(struct kv_cli *cli, struct kv_err *err)
{
    struct transfer transfer = {.cli = cli, .fd = -1, .percent = -1};
    json_t *view = NULL;
    json_t *record = NULL;
    int rc = 0;
    transfer.file = cli->invocation.args[0];
    transfer.digest = EVP_MD_CTX_new();
    if (transfer.digest == NULL ||
        EVP_DigestInit_ex2(transfer.digest, EVP_sha256(), NULL) != 1)
        KV_TRY(KV_E_NOMEM);
    KV_TRY(open_tmp(&transfer, err));
    KV_TRY(begin(&transfer, BACKUPS_PATH, err));
    KV_TRY(wait_for(&transfer, &view, err));
    KV_TRY(fetch(&transfer, view, err));
    KV_TRY(keep(&transfer, &record, err));
    say_end(&transfer);
    warn_if_lost_with_machine(view);
    if (cli->invocation.as_json)
        rc = kv_cli_print_json(record, err);
    else {
        kv_object_print_field("backup", kv_json_text(record, "file"));
        print_proof(record);
    }
out:
    if (rc != 0) {
        say_end(&transfer);
        forget(&transfer);
        if (transfer.is_placed && transfer.is_refused)
            (void)unlink(transfer.file); /* no file looks good that is not listed */
        else if (transfer.is_placed)
            kv_err_hint(err, "%s is stored and was proved, but perhaps not listed",
                        transfer.file);
    }
    if (transfer.fd >= 0)
        (void)close(transfer.fd); /* synced before */
    if (transfer.tmp[0] != '\0' && transfer.fd >= 0)
        (void)unlink(transfer.tmp); /* the first error counts */
    EVP_MD_CTX_free(transfer.digest);
    json_decref(view);
    json_decref(record);
    return rc;
}

/* --- verify
 * ---------------------------------------------------------------------------
 */

static int send_piece(struct transfer *transfer, const uint8_t *data, size_t len,
                      struct kv_err *err)
{
    struct kv_buf text;
    json_t *body = NULL;
    kv_buf_init(&text, (size_t)2 * PIECE_BYTES);
    int rc = 0;
    KV_TRY(kv_b64_encode(KV_B64_URL, data, len, &text));
    body = json_pack("{s:I,s:s%}", "offset", (json_int_t)transfer->done, "data",
                     (const char *)text.data, text.len);
    if (body == NULL)
        KV_TRY(KV_E_NOMEM);
    KV_TRY(call(transfer, "PUT", "/content", body, NULL, err));
    transfer->done += len;
    say(transfer, "reading", transfer->done, transfer->total);
out:
    json_decref(body);
    kv_buf_free(&text);
    return rc;
}

static int send_all(struct transfer *transfer, struct kv_err *err)
{
    struct stat info = {.st_size = 0};
    uint8_t *piece = malloc(PIECE_BYTES);
    int rc = piece != NULL ? 0 : KV_E_NOMEM;
    transfer->fd = open(transfer->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (transfer->fd < 0 || fstat(transfer->fd, &info) != 0)
        KV_TRY(kv_err_errno(err, errno, "backup.unreadable", transfer->file));
    if (!S_ISREG(info.st_mode) || info.st_size == 0)
        KV_TRY(kv_err_set(err, KV_E_INTEGRITY, "backup.altered",
                          "%s is empty or no file", transfer->file));
    transfer->total = (uint64_t)info.st_size;
    KV_TRY(rc);
    KV_TRY(begin(transfer, BACKUPS_PATH "/uploads", err));
    for (;;) {
        ssize_t n = read(transfer->fd, piece, PIECE_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            KV_TRY(kv_err_errno(err, errno, "backup.unreadable", transfer->file));
        if (n == 0)
            break;
        KV_TRY(send_piece(transfer, piece, (size_t)n, err));
    }
out:
    free(piece);
    return rc;
}

int kv_backup_verify_run(struct kv_cli *cli, struct kv_err *err)
{
    struct transfer transfer = {.cli = cli, .fd = -1, .percent = -1};
    json_t *view = NULL;
    int rc = 0;
    transfer.file = cli->invocation.args[0];
    KV_TRY(send_all(&transfer, err));
    KV_TRY(call(&transfer, "POST", "/verify", NULL, NULL, err));
    KV_TRY(wait_for(&transfer, &view, err));
    say_end(&transfer);
    const json_t *proof = json_object_get(view, "proof");
    if (cli->invocation.as_json) {
        rc = kv_cli_print_json(proof, err);
    } else {
        kv_object_print_field("backup", transfer.file);
        print_proof(proof);
    }
out:
    if (rc != 0)
        say_end(&transfer);
    forget(&transfer);
    if (transfer.fd >= 0)
        (void)close(transfer.fd); /* opened for reading */
    json_decref(view);
    return rc;
}

/* --- list
 * -----------------------------------------------------------------------------
 */

static int print_list(const json_t *items)
{
    static const char *const headings[] = {"CREATED", "ROWS", "BYTES", "STATE", "FILE"};
    struct kv_table *table = kv_table_new(5, headings);
    size_t i = 0;
    json_t *item = NULL;
    if (table == NULL)
        return KV_E_NOMEM;
    json_array_foreach((json_t *)(uintptr_t)items, i, item)
    {
        char text[24];
        kv_table_add_time(table, (long long)number(item, "created"));
        (void)snprintf(text, sizeof(text), "%llu",
                       (unsigned long long)number(item, "rows"));
        kv_table_add(table, text);
        (void)snprintf(text, sizeof(text), "%llu",
                       (unsigned long long)number(item, "bytes"));
        kv_table_add(table, text);
        kv_table_add(table, kv_json_text(item, "state"));
        kv_table_add(table, kv_json_text(item, "file"));
    }
    int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

int kv_backup_list_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *items = NULL;
    int rc = kv_rest_list(cli, BACKUPS_PATH, &items, err);
    if (rc == 0)
        rc =
            cli->invocation.as_json ? kv_cli_print_json(items, err) : print_list(items);
    json_decref(items);
    return rc;
}

/* --- restore
 * ---------------------------------------------------------------------------
 */

int kv_restore_command_run(struct kv_cli *cli, struct kv_err *err)
{
    static const char *const flags[] = {"keyfile", "recovery-file", "keyring-user",
                                        "service-user"};
    char program[PATH_MAX];
    char names[4][32];
    const char *argv[16] = {"keyvault-restore"};
    size_t n = 1;
    for (size_t i = 0; i < 4; i++) {
        const char *value = kv_cli_flag(cli, flags[i]);
        if (value == NULL)
            continue;
        (void)snprintf(names[i], sizeof(names[i]), "--%s", flags[i]);
        argv[n++] = names[i];
        argv[n++] = value;
    }
    if (cli->invocation.as_json)
        argv[n++] = "--json";
    argv[n++] = "--";
    argv[n++] = cli->invocation.args[0];
    argv[n++] = cli->invocation.args[1];
    argv[n] = NULL;
    int rc = kv_paths_program(program, "keyvault-restore", err);
    if (rc != 0)
        return rc;
    (void)execv(program, (char *const *)(uintptr_t)argv);
    return kv_err_errno(err, errno, "restore.cannot-start", program);
}
