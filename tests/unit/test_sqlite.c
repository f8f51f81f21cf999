/*
 * What only the SQLite back end can get wrong: settings, refusals at the door,
 * damage, a full disk, a disk that fails to sync, and plans that scan.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/db/sqlite/internal.h"
#include "store/db/sqlite/schema.h"
#include "store/keyring/role.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/store_box.h"

TestSuite(sqlite, .timeout = 20);

static void path_of(const struct box *box, char out[128], const char *name)
{
    (void)snprintf(out, 128, "%s/%s", box->dir, name);
}

/* Run SQL on the closed store's file, as an operator with the shell would. */
static void edit(const struct box *box, const char *sql)
{
    char path[128];
    sqlite3 *db = NULL;
    path_of(box, path, KV_SQLITE_FILE);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    char *message = NULL;
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &message), SQLITE_OK, "%s", message);
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

static int put_secret(struct box *box, const char *name, uint32_t version)
{
    struct kv_mutation change = box_put(KV_KIND_SECRET, name, version, 0);
    return box_apply(box, &change, 1);
}

static void must_refuse(struct box *box, int code, const char *id)
{
    cr_expect_eq(box_reopen(box), code, "%s: %d %s", id, box->err.code,
                 box->err.message);
    cr_expect_str_eq(box->err.id, id);
    cr_assert_null(box->store);
}

Test(sqlite, settings_are_on_in_every_connection)
{
    static const struct {
        const char *name;
        int64_t value;
    } want[] = {
        {"page_size", 4096},
        {"synchronous", 2},
        {"foreign_keys", 1},
        {"trusted_schema", 0},
        {"cell_size_check", 1},
        {"mmap_size", 0},
        {"secure_delete", 1},
        {"wal_autocheckpoint", 0},
        {"application_id", KV_SQLITE_APPLICATION_ID},
        {"user_version", KV_STORE_SCHEMA},
        {"busy_timeout", 5000},
    };
    static const int flags[][2] = {
        {SQLITE_DBCONFIG_DEFENSIVE, 1},
        {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
        {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
        {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
        {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
    };
    struct box box;
    box_init(&box, BOX_SQLITE);
    struct kv_sqlite *store = (struct kv_sqlite *)box.store;
    cr_assert_eq(store->n_readers, 2);
    /* The threads are idle, so their connections may be looked at from here. */
    for (int i = 0; i < 3; i++) {
        struct kv_sqlite_conn *conn = i == 2 ? &store->writer : &store->reader[i].conn;
        enum kv_sqlite_mode mode = conn->mode;
        char text[64];
        conn->mode = KV_SQLITE_SETUP;
        for (size_t k = 0; k < sizeof(want) / sizeof(want[0]); k++) {
            int64_t value = -1;
            (void)snprintf(text, sizeof(text), "PRAGMA %s", want[k].name);
            cr_assert_eq(kv_conn_i64(conn, text, &value), SQLITE_OK);
            cr_expect_eq(value, want[k].value, "%s = %lld", text, (long long)value);
        }
        cr_assert_eq(kv_conn_text(conn, "PRAGMA journal_mode", text, sizeof(text)),
                     SQLITE_OK);
        cr_expect_str_eq(text, "wal");
        for (size_t k = 0; k < sizeof(flags) / sizeof(flags[0]); k++) {
            int value = -1;
            (void)sqlite3_db_config(conn->db, flags[k][0], -1, &value);
            cr_expect_eq(value, flags[k][1], "flag %d", flags[k][0]);
        }
        conn->mode = mode;
    }
    int64_t strict = 0;
    store->writer.mode = KV_SQLITE_SETUP;
    cr_assert_eq(kv_conn_i64(&store->writer,
                             "SELECT COUNT(*) FROM pragma_table_list"
                             " WHERE name IN ('obj', 'op', 'tally') AND strict",
                             &strict),
                 SQLITE_OK);
    cr_expect_eq(strict, 3);
    store->writer.mode = KV_SQLITE_WRITE;
    box_fini(&box);
}

Test(sqlite, authorizer_denies_what_the_store_does_not_do)
{
    static const char *const denied[] = {
        "DROP TABLE obj",
        "CREATE TABLE x (a)",
        "ATTACH '/tmp/x.db' AS x",
        "PRAGMA writable_schema = ON",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA synchronous = OFF",
        "SELECT load_extension('x')",
        "SELECT randomblob(1000000000)",
        "DELETE FROM sqlite_master",
        "VACUUM",
    };
    struct box box;
    box_init(&box, BOX_SQLITE);
    struct kv_sqlite *store = (struct kv_sqlite *)box.store;
    for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]); i++) {
        cr_expect_neq(kv_conn_exec(&store->writer, denied[i]), SQLITE_OK, "%s",
                      denied[i]);
        cr_expect_neq(kv_conn_exec(&store->reader[0].conn, denied[i]), SQLITE_OK, "%s",
                      denied[i]);
    }
    cr_expect_neq(kv_conn_exec(&store->reader[0].conn, "DELETE FROM obj"), SQLITE_OK);
    box_fini(&box);
}

Test(sqlite, files_are_private)
{
    struct box box;
    (void)umask(0);
    box_init(&box, BOX_SQLITE);
    cr_assert_eq(put_secret(&box, "a", 1), 0);
    static const char *const names[] = {"keyvault.db", "keyvault.db-wal",
                                        "keyvault.db-shm", "keyvault.lock"};
    for (int i = 0; i < 4; i++) {
        char path[128];
        struct stat info;
        path_of(&box, path, names[i]);
        cr_assert_eq(stat(path, &info), 0, "%s", path);
        cr_expect_eq(info.st_mode & 07777, 0600, "%s", path);
    }
    box_fini(&box);
}

Test(sqlite, no_query_scans_the_table)
{
    struct box box;
    box_init(&box, BOX_SQLITE);
    cr_assert_eq(put_secret(&box, "a", 1), 0);
    box_close(&box);
    char path[128];
    sqlite3 *db = NULL;
    path_of(&box, path, KV_SQLITE_FILE);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    for (int sql = 0; sql < KV_SQL_N; sql++) {
        char text[2048];
        sqlite3_stmt *stmt = NULL;
        if (sql == KV_SQL_COUNT) /* the full check counts for real */
            continue;
        (void)snprintf(text, sizeof(text), "EXPLAIN QUERY PLAN %s",
                       kv_sql_text((enum kv_sql)sql));
        cr_assert_eq(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK, "%s",
                     text);
        bool is_due_used = false;
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(stmt, 3);
            cr_expect_null(strstr(step, "SCAN"), "%s: %s", text, step);
            cr_expect_null(strstr(step, "TEMP B-TREE"), "%s: %s", text, step);
            is_due_used |= strstr(step, "obj_due") != NULL;
        }
        cr_expect_eq(is_due_used, sql == KV_SQL_LIST_DUE);
        (void)sqlite3_finalize(stmt);
    }
    (void)sqlite3_close(db);
    box_fini(&box);
}

Test(sqlite, keeps_rows_across_a_restart)
{
    struct box box;
    uint8_t op_id[KV_ID_LEN];
    box_id(op_id, 7);
    box_init(&box, BOX_SQLITE);
    struct kv_mutation change = box_put(KV_KIND_SECRET, "Kept", 1, 0);
    cr_assert_eq(box_apply_as(&box, op_id, &change, 1), 0);
    box_close(&box);
    cr_assert_eq(box_reopen(&box), 0, "%s", box.err.message);
    struct kv_row_key key = box_key(KV_KIND_SECRET, "kept", 1);
    cr_assert_eq(box_get(&box, &key), 0);
    cr_expect_str_eq(box.row[0].key.name, "Kept");
    cr_expect_eq(box_op_status(&box, op_id), 0);
    cr_assert_eq(box_stats(&box), 0);
    cr_expect_eq(box.stats.n_rows, 1);
    cr_expect_gt(box.stats.bytes_on_disk, 4096);
    box_fini(&box);
}

Test(sqlite, migrates_every_earlier_schema)
{
    for (int from = 0; from < KV_STORE_SCHEMA; from++) {
        struct box box;
        struct kv_sqlite_conn conn = {.mode = KV_SQLITE_SETUP};
        char path[128];
        box_init(&box, BOX_SQLITE);
        box_close(&box);
        path_of(&box, path, KV_SQLITE_FILE);
        cr_assert_eq(unlink(path), 0);
        int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
        cr_assert_geq(fd, 0);
        (void)close(fd);
        cr_assert_eq(kv_conn_open(&conn, path, NULL), 0);
        cr_assert_eq(kv_conn_configure(&conn, true, true, NULL), 0);
        cr_assert_eq(kv_schema_migrate(&conn, from, NULL, NULL), 0);
        kv_conn_close(&conn);
        cr_assert_eq(box_reopen(&box), 0, "from %d: %s", from, box.err.message);
        cr_expect_eq(box_check(&box), 0);
        box_fini(&box);
    }
}

Test(sqlite, refuses_a_newer_schema_and_names_both)
{
    struct box box;
    box_init(&box, BOX_SQLITE);
    box_close(&box);
    edit(&box, "PRAGMA user_version = 57");
    must_refuse(&box, KV_E_UNSUPPORTED, "db.newer-schema");
    char known[16];
    (void)snprintf(known, sizeof(known), "to %d", KV_STORE_SCHEMA);
    cr_expect_not_null(strstr(box.err.message, "57"));
    cr_expect_not_null(strstr(box.err.message, known));
    char back[40];
    (void)snprintf(back, sizeof(back), "PRAGMA user_version = %d", KV_STORE_SCHEMA);
    edit(&box, back);
    cr_expect_eq(box_reopen(&box), 0, "a refused file is not touched");
    box_fini(&box);
}

Test(sqlite, refuses_files_of_others)
{
    struct box box;
    char path[128];
    box_init(&box, BOX_SQLITE);
    box_close(&box);
    edit(&box, "PRAGMA application_id = 5");
    must_refuse(&box, KV_E_UNSUPPORTED, "db.foreign-file");
    path_of(&box, path, KV_SQLITE_FILE);
    cr_assert_eq(unlink(path), 0);
    edit(&box, "CREATE TABLE theirs (a)");
    cr_assert_eq(chmod(path, 0600), 0);
    must_refuse(&box, KV_E_UNSUPPORTED, "db.foreign-file");
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    (void)fprintf(file, "this is not a database, and longer than its header: %0200d\n",
                  1);
    (void)fclose(file);
    must_refuse(&box, KV_E_INTEGRITY, "db.corrupt");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
    must_refuse(&box, KV_E_IO, "db.no-access");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    must_refuse(&box, KV_E_DENIED, "db.no-access");
    cr_assert_eq(unlink(path), 0);
    box_fini(&box);
}

Test(sqlite, refuses_an_edited_schema)
{
    static const char *const edits[] = {
        "CREATE TRIGGER t AFTER INSERT ON obj BEGIN DELETE FROM op; END",
        "CREATE VIEW v AS SELECT * FROM obj",
        "CREATE TABLE zz (a)",
        "DROP INDEX obj_due",
    };
    for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
        struct box box;
        box_init(&box, BOX_SQLITE);
        box_close(&box);
        edit(&box, edits[i]);
        must_refuse(&box, KV_E_INTEGRITY, "db.altered-schema");
        box_fini(&box);
    }
}

Test(sqlite, refuses_directories_that_others_can_enter)
{
    struct box box;
    box_init(&box, BOX_SQLITE);
    box_close(&box);
    cr_assert_eq(chmod(box.dir, 0750), 0);
    must_refuse(&box, KV_E_DENIED, "db.bad-mode");
    cr_expect_not_null(strstr(box.err.hint, "chmod 0700 "));
    cr_assert_eq(chmod(box.dir, 0700), 0);
    if (geteuid() == 0) {
        cr_assert_eq(chown(box.dir, 12345, (gid_t)-1), 0);
        must_refuse(&box, KV_E_DENIED, "db.bad-owner");
        cr_expect_not_null(strstr(box.err.hint, "chown 0 "));
        cr_assert_eq(chown(box.dir, 0, (gid_t)-1), 0);
    }
    char path[128];
    path_of(&box, path, KV_SQLITE_FILE);
    cr_assert_eq(chmod(path, 0644), 0);
    must_refuse(&box, KV_E_DENIED, "db.bad-mode");
    cr_assert_eq(chmod(path, 0600), 0);
    box.config.dir = "/nonexistent/kv";
    must_refuse(&box, KV_E_NOT_FOUND, "db.no-dir");
    box.config.dir = path;
    must_refuse(&box, KV_E_NOT_FOUND, "db.no-dir");
    box.config.dir = box.dir;
    cr_expect_eq(box_reopen(&box), 0);
    box_fini(&box);
}

Test(sqlite, a_second_daemon_is_told_who_has_the_lock)
{
    struct box box;
    box_init(&box, BOX_SQLITE);
    struct kv_store *second = NULL;
    struct kv_err err = KV_ERR_INIT;
    char pid[32];
    cr_expect_eq(kv_sqlite_open(&second, &box.config, &err), KV_E_BUSY);
    cr_expect_str_eq(err.id, "db.locked");
    (void)snprintf(pid, sizeof(pid), "process %d", getpid());
    cr_expect_not_null(strstr(err.message, pid), "%s", err.message);
    cr_expect_eq(put_secret(&box, "a", 1), 0, "the first goes on");
    box_fini(&box);
}

static void fill(struct box *box, uint32_t n)
{
    for (uint32_t i = 1; i <= n; i++)
        cr_assert_eq(put_secret(box, i % 2 ? "odd" : "even", i), 0);
}

Test(sqlite, finds_flipped_bytes)
{
    /* A flip in free space or in a sealed body is not SQLite's to find: the body is
     * authenticated by whoever sealed it. What is found must be an error, never a
     * crash, and structure must be found. */
    struct box box;
    char path[128];
    box_init(&box, BOX_SQLITE);
    fill(&box, 200);
    box_close(&box);
    path_of(&box, path, KV_SQLITE_FILE);
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    unsigned n_found = 0;
    for (off_t page = 0; page < info.st_size / 4096; page++) {
        uint8_t head[12];
        uint8_t bad[12];
        cr_assert_eq(pread(fd, head, 12, page * 4096), 12);
        memset(bad, 0xff, sizeof(bad));
        cr_assert_eq(pwrite(fd, bad, 12, page * 4096), 12);
        int rc = box_reopen(&box);
        if (rc == 0) {
            rc = box_check(&box);
            box_close(&box);
        } else {
            cr_assert_null(box.store);
        }
        n_found += rc == KV_E_INTEGRITY;
        cr_expect_eq(rc, KV_E_INTEGRITY, "page %ld: %d %s", (long)page, rc,
                     box.err.message);
        cr_assert_eq(pwrite(fd, head, 12, page * 4096), 12);
    }
    (void)close(fd);
    cr_expect_gt(n_found, 8);
    cr_expect_eq(box_reopen(&box), 0, "whole again");
    box_fini(&box);
}

Test(sqlite, finds_an_index_that_lies)
{
    struct box box;
    box_init(&box, BOX_SQLITE);
    fill(&box, 20);
    box_close(&box);
    edit(&box, "DELETE FROM obj WHERE id = 3");
    cr_assert_eq(box_reopen(&box), 0, "the structure is sound");
    cr_expect_eq(box_check(&box), KV_E_INTEGRITY, "but a row is missing");
    cr_expect_str_eq(box.err.id, "db.corrupt");
    box_fini(&box);
}

Test(sqlite, goes_on_after_a_full_disk)
{
    struct box box;
    fault_vfs_install();
    box_init(&box, BOX_SQLITE);
    unsigned n_full = 0;
    uint32_t version = 1;
    for (unsigned n = 1; n <= 24; n++, version++) {
        struct kv_row_key key = box_key(KV_KIND_SECRET, "s", version);
        fault_vfs_fail_write(n, SQLITE_FULL);
        int rc = put_secret(&box, "s", version);
        fault_vfs_fail_write(0, 0);
        cr_assert(rc == 0 || rc == KV_E_FULL, "%d %s", rc, box.err.message);
        n_full += rc == KV_E_FULL;
        if (rc == KV_E_FULL)
            cr_expect_str_eq(box.err.id, "db.disk-full");
        cr_expect_eq(box_get(&box, &key), rc == 0 ? 0 : KV_E_NOT_FOUND, "write %u", n);
        cr_expect_eq(put_secret(&box, "after", version), 0, "write %u", n);
    }
    cr_expect_gt(n_full, 2);
    cr_expect_eq(box_check(&box), 0, "%s", box.err.message);
    box_fini(&box);
}

struct fatal_note {
    unsigned n;
    struct kv_err err;
};

static void on_fatal(void *arg, const struct kv_err *err)
{
    struct fatal_note *note = arg;
    note->n++;
    note->err = *err;
}

Test(sqlite, stops_when_a_commit_is_in_doubt)
{
    struct box box;
    struct fatal_note note = {.n = 0};
    fault_vfs_install();
    box_init(&box, BOX_SQLITE);
    box_close(&box);
    box.config.on_fatal = on_fatal;
    box.config.on_fatal_arg = &note;
    cr_assert_eq(box_reopen(&box), 0);
    cr_assert_eq(put_secret(&box, "before", 1), 0);
    fault_vfs_fail_sync(1, SQLITE_IOERR_FSYNC);
    cr_expect_eq(put_secret(&box, "doubt", 1), KV_E_UNKNOWN);
    cr_expect_str_eq(box.err.id, "db.outcome-unknown");
    cr_expect_eq(note.n, 1, "told once, before the answer");
    cr_expect_str_eq(note.err.id, "db.outcome-unknown");
    cr_expect_eq(put_secret(&box, "later", 1), KV_E_UNAVAILABLE, "writes nothing more");
    cr_expect_eq(note.n, 1);
    box_close(&box);
    cr_assert_eq(box_reopen(&box), 0, "%s", box.err.message);
    struct kv_row_key key = box_key(KV_KIND_SECRET, "before", 1);
    cr_expect_eq(box_get(&box, &key), 0);
    key = box_key(KV_KIND_SECRET, "later", 1);
    cr_expect_eq(box_get(&box, &key), KV_E_NOT_FOUND);
    cr_expect_eq(box_check(&box), 0);
    box_fini(&box);
}

Test(sqlite, aborts_in_production)
{
    struct box box;
    int status = 0;
    fault_vfs_install();
    box_init(&box, BOX_SQLITE);
    box_close(&box);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        if (uv_loop_fork(&box.loop) != 0 || box_reopen(&box) != 0)
            _exit(1);
        fault_vfs_fail_sync(1, SQLITE_IOERR_FSYNC);
        (void)put_secret(&box, "doubt", 1);
        _exit(2);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status %d", status);
    cr_expect_eq(box_reopen(&box), 0, "the lock ended with the process");
    cr_expect_eq(put_secret(&box, "after", 1), 0);
    box_fini(&box);
}

Test(sqlite, empties_the_log)
{
    struct box box;
    char path[128];
    static uint8_t body[KV_STORE_SEALED_MAX];
    box_init(&box, BOX_SQLITE);
    path_of(&box, path, KV_SQLITE_FILE "-wal");
    struct stat info;
    for (uint32_t i = 1; i <= 40; i++) {
        struct kv_mutation change = box_put(KV_KIND_SECRET, "big", i, 0);
        change.row.sealed = body;
        change.row.sealed_len = sizeof(body);
        cr_assert_eq(box_apply(&box, &change, 1), 0);
    }
    cr_assert_eq(stat(path, &info), 0);
    cr_expect_lt(info.st_size, 30 * (off_t)sizeof(body), "copied while it grows");
    for (int i = 0; i < 100 && info.st_size > 0; i++) {
        (void)usleep(50000);
        cr_assert_eq(stat(path, &info), 0);
    }
    cr_expect_eq(info.st_size, 0, "emptied when idle");
    box_close(&box);
    cr_expect_eq(stat(path, &info), -1, "one file when closed");
    box_fini(&box);
}

Test(sqlite, prunes_old_operations)
{
    struct box box;
    box_init(&box, BOX_SQLITE);
    fill(&box, 10);
    kv_clock_manual_advance(&box.clock, KV_SQLITE_OP_KEEP_S + 61);
    cr_assert_eq(put_secret(&box, "new", 1), 0);
    box_close(&box);
    struct kv_sqlite_conn conn = {.mode = KV_SQLITE_SETUP};
    char path[128];
    int64_t n = 0;
    path_of(&box, path, KV_SQLITE_FILE);
    cr_assert_eq(kv_conn_open(&conn, path, NULL), 0);
    cr_assert_eq(kv_conn_i64(&conn, "SELECT COUNT(*) FROM op", &n), SQLITE_OK);
    kv_conn_close(&conn);
    cr_expect_eq(n, 1);
    box_fini(&box);
}
