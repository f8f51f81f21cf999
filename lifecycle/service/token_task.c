/*
 * The --dev administrator's token: kept while the file that holds it fits the stored
 * hash, made anew when it does not.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lifecycle/auth/token.h"
#include "lifecycle/service/boot.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define ROW_NAME "dev-token"

struct token {
    struct kv_task task;
    const struct kv_boot_config *config;
    uint8_t hash[KV_TOKEN_HASH_LEN];
    kv_boot_cb cb;
    void *arg;
};

int kv_file_replace(const char *path, const void *data, size_t len, unsigned mode,
                    struct kv_err *err)
{
    char beside[4096];
    int n = snprintf(beside, sizeof(beside), "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof(beside))
        return kv_err_set(err, KV_E_TOO_BIG, "service.file-failed",
                          "the path %s is too long", path);
    (void)unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    bool is_written = fd >= 0 && write(fd, data, len) == (ssize_t)len &&
                      fchmod(fd, mode) == 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0 && close(fd) != 0 && is_written) {
        is_written = false;
        error = errno;
    }
    if (is_written && rename(beside, path) == 0)
        return 0;
    if (is_written)
        error = errno;
    (void)unlink(beside);
    return kv_err_errno(err, error, "service.file-failed", path);
}

static void end(struct kv_task *task, int rc, const struct kv_err *err)
{
    struct token *token = (struct token *)task;
    kv_boot_cb cb = token->cb;
    void *arg = token->arg;
    struct kv_err copy = err != NULL ? *err : KV_ERR_INIT;
    if (rc == 0) {
        memcpy(task->service->token_sha256, token->hash, sizeof(token->hash));
        task->service->has_token = true;
    }
    kv_task_fini(task);
    free(token);
    cb(arg, rc, rc != 0 ? &copy : NULL);
}

static void done(struct kv_task *task)
{
    end(task, 0, NULL);
}

static bool is_current(const json_t *doc, const uint8_t hash[KV_TOKEN_HASH_LEN])
{
    char hex[2 * KV_TOKEN_HASH_LEN + 1];
    const char *stored = json_string_value(json_object_get(doc, "sha256"));
    kv_hex_encode(hex, hash, KV_TOKEN_HASH_LEN);
    return stored != NULL && strlen(stored) == sizeof(hex) - 1 &&
           kv_equal_ct(stored, hex, sizeof(hex) - 1);
}

/* The file is written first: a token that only the store knew would be lost. */
static void make(struct kv_task *task)
{
    struct token *token = (struct token *)task;
    struct kv_err err = KV_ERR_INIT;
    struct kv_row row = task->object.row;
    char text[KV_TOKEN_TEXT_LEN + 2];
    char hex[2 * KV_TOKEN_HASH_LEN + 1];
    int rc = 0;
    KV_TRY(kv_token_make(task->service->rand, text, token->hash));
    text[KV_TOKEN_TEXT_LEN] = '\n';
    KV_TRY(kv_file_replace(token->config->token_path, text, KV_TOKEN_TEXT_LEN + 1, 0600,
                           &err));
    kv_hex_encode(hex, token->hash, sizeof(token->hash));
    uint64_t expect = row.row_version;
    row.updated_s = kv_now_s(task->service->clock);
    if (expect == 0)
        row.created_s = row.updated_s;
    row.flags = KV_ROW_ENABLED;
    kv_task_put_doc(task, &row, expect, json_pack("{s:s}", "sha256", hex));
out:
    kv_wipe(text, sizeof(text));
    if (rc != 0)
        kv_task_fail(task, rc, &err);
    else
        kv_task_commit(task, done);
}

static void found(struct kv_task *task)
{
    struct token *token = (struct token *)task;
    if (kv_token_hash(token->config->token, token->hash) == 0 &&
        is_current(task->object.doc, token->hash))
        done(task);
    else
        make(task);
}

int kv_token_start(struct kv_service *service, const struct kv_boot_config *config,
                   kv_boot_cb cb, void *arg)
{
    struct token *token = calloc(1, sizeof(*token));
    if (token == NULL)
        return KV_E_NOMEM;
    kv_task_init(&token->task, service, &service->system, end);
    token->config = config;
    token->cb = cb;
    token->arg = arg;
    kv_task_find(&token->task, KV_KIND_SYSTEM, ROW_NAME, NULL, found);
    return 0;
}
