/*
 * keyvault audit verify | show.
 *
 * The log of a running service is checked by the service, with its keyring. A directory
 * is checked here, with the audit key that keyvault-keyring tells through a pipe; no
 * keyring may run on that state then. What is shown is read from the directory.
 */
#include "lifecycle/audit/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lifecycle/audit/files.h"
#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/cli/table.h"
#include "lifecycle/supervisor/paths.h"
#include "store/core/clock.h"
#include "store/core/secret.h"
#include "store/core/str.h"

/* --- the key of a state directory
 * ------------------------------------------------------ */

struct audit_key {
    uint8_t key[KV_AUDIT_KEY_LEN];
    struct kv_audit_mark anchor;
};

#define TOLD_LEN (KV_AUDIT_KEY_LEN + 16 + KV_AUDIT_MAC_LEN)

/* In the child, as root: the keyring reads only what is its own user's. */
static bool become_owner(const char *state)
{
    char path[PATH_MAX];
    struct stat st;
    if (geteuid() != 0)
        return true;
    return kv_path_join(path, state, "keyring", NULL) == 0 && lstat(path, &st) == 0 &&
           S_ISDIR(st.st_mode) && setgroups(0, NULL) == 0 && setgid(st.st_gid) == 0 &&
           setuid(st.st_uid) == 0;
}

/* In the child: become the keyring, which writes to `fd`. */
static void become_keyring(const char *program, const char *state, int fd)
{
    char number[16];
    char real[PATH_MAX]; /* the owner may not pass through the log's directory */
    char *args[] = {(char *)(uintptr_t)program,
                    "--dir",
                    real,
                    "--audit-key-fd",
                    number,
                    "--allow-swap",
                    "--log",
                    "text",
                    NULL};
    (void)snprintf(number, sizeof(number), "%d", fd);
    if (realpath(state, real) != NULL && become_owner(real))
        (void)execv(program, args);
    _exit(127);
}

static size_t read_all(int fd, uint8_t *out, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, out + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    return len;
}

static int ask_keyring(const char *state, struct audit_key *out, struct kv_err *err)
{
    struct kv_paths *paths = calloc(1, sizeof(*paths));
    uint8_t told[TOLD_LEN];
    struct kv_wire wire;
    int fds[2] = {-1, -1};
    int status = 0;
    int rc = paths != NULL ? 0 : KV_E_NOMEM;
    KV_TRY(rc);
    KV_TRY(kv_paths_find(paths, err));
    if (pipe(fds) != 0) {
        rc = kv_err_errno(err, errno, "cli.failed", "pipe");
        goto out;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(fds[0]);
        become_keyring(paths->keyring, state, fds[1]);
    }
    (void)close(fds[1]);
    size_t len = pid > 0 ? read_all(fds[0], told, sizeof(told)) : 0;
    if (pid > 0)
        (void)waitpid(pid, &status, 0);
    (void)close(fds[0]);
    if (len != sizeof(told) || status != 0) {
        rc = kv_err_set(err, KV_E_DENIED, "cli.no-audit-key",
                        "the keyring of %s does not tell the key of its audit log",
                        state);
        kv_err_hint(err, "run it as the keyring's user or root, and with the daemon "
                         "stopped; --state names the state directory");
        goto out;
    }
    kv_wire_init(&wire, told, sizeof(told));
    kv_wire_raw(&wire, out->key, KV_AUDIT_KEY_LEN);
    out->anchor.segment = kv_wire_u64(&wire);
    out->anchor.seq = kv_wire_u64(&wire);
    kv_wire_raw(&wire, out->anchor.mac, KV_AUDIT_MAC_LEN);
    rc = kv_wire_end(&wire);
out:
    kv_wipe(told, sizeof(told));
    free(paths);
    return rc;
}

/* --- verify
 * --------------------------------------------------------------------------- */

static json_t *report_json(const char *dir, const struct kv_audit_report *report,
                           const struct kv_audit_mark *anchor)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < report->n_findings && i < KV_AUDIT_FINDINGS_MAX; i++) {
        const struct kv_audit_finding *finding = &report->findings[i];
        (void)json_array_append_new(
            findings,
            json_pack("{s:s,s:I,s:s,s:s}", "file", finding->file, "line",
                      (json_int_t)finding->line, "what",
                      kv_audit_damage_name(finding->damage), "text", finding->text));
    }
    return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:o}", "directory", dir, "segments",
                     (json_int_t)report->n_segments, "records",
                     (json_int_t)report->n_records, "lastSeq",
                     (json_int_t)report->last.seq, "sealedSeq", (json_int_t)anchor->seq,
                     "nFindings", (json_int_t)report->n_findings, "findings", findings);
}

static int verify_directory(const struct kv_cli *cli, const char *dir, json_t **out,
                            struct kv_err *err)
{
    char state[PATH_MAX];
    struct audit_key key;
    struct kv_audit_keys keys;
    const char *flag = kv_cli_flag(cli, "state");
    struct kv_audit_report *report = calloc(1, sizeof(*report));
    int rc = report != NULL ? 0 : KV_E_NOMEM;
    KV_TRY(rc);
    if (flag != NULL)
        rc = kv_str_copy(state, sizeof(state), flag);
    else
        rc = kv_path_join(state, dir, "..", err);
    KV_TRY(rc);
    KV_TRY(ask_keyring(state, &key, err));
    kv_audit_keys_of(&keys, key.key);
    KV_TRY(kv_audit_verify_dir(dir, &keys, &key.anchor, NULL, report, err));
    *out = report_json(dir, report, &key.anchor);
    if (*out == NULL)
        rc = KV_E_NOMEM;
out:
    kv_wipe(&key, sizeof(key));
    free(report);
    return rc;
}

static void print_report(const json_t *report)
{
    size_t i = 0;
    json_t *finding = NULL;
    json_array_foreach(json_object_get(report, "findings"), i, finding)
    {
        const char *file = kv_json_text(finding, "file");
        long long line = json_integer_value(json_object_get(finding, "line"));
        if (line > 0)
            (void)printf("%s:%lld: ", file, line);
        else if (file[0] != '\0')
            (void)printf("%s: ", file);
        (void)printf("%s: %s\n", kv_json_text(finding, "what"),
                     kv_json_text(finding, "text"));
    }
    (void)printf(
        "%s: %lld records in %lld files, the last is %lld; sealed up to %lld\n",
        kv_json_text(report, "directory"),
        json_integer_value(json_object_get(report, "records")),
        json_integer_value(json_object_get(report, "segments")),
        json_integer_value(json_object_get(report, "lastSeq")),
        json_integer_value(json_object_get(report, "sealedSeq")));
}

int kv_audit_verify_run(struct kv_cli *cli, struct kv_err *err)
{
    json_t *report = NULL;
    int rc = 0;
    if (cli->invocation.n_args > 0)
        KV_TRY(verify_directory(cli, cli->invocation.args[0], &report, err));
    else
        KV_TRY(
            kv_rest_call(cli, "GET", "/keyvault/v1/audit/verify", NULL, &report, err));
    if (cli->invocation.as_json)
        KV_TRY(kv_cli_print_json(report, err));
    else
        print_report(report);
    long long n = json_integer_value(json_object_get(report, "nFindings"));
    if (n > 0)
        rc = kv_err_set(err, KV_E_INTEGRITY, "cli.audit-damaged",
                        "the audit log is damaged (%lld findings)", n);
out:
    json_decref(report);
    return rc;
}

/* --- show
 * ------------------------------------------------------------------------------ */

struct filter {
    int64_t since_us;
    const char *principal;
};

/* "10m", "2h", "3d", or a time "2026-11-24T22:00:00Z". */
static int read_since(const char *text, int64_t *out, struct kv_err *err)
{
    struct tm tm;
    char digits[16];
    int64_t n = 0;
    memset(&tm, 0, sizeof(tm));
    size_t n_digits = strspn(text, "0123456789");
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    kv_str_cut(digits, sizeof(digits), text, n_digits);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (text[n_digits] != units[i].unit || text[n_digits + 1] != '\0' ||
            kv_str_to_i64(digits, 0, 1000000, &n) != 0)
            continue;
        *out = (kv_now_s(kv_clock_system()) - n * units[i].seconds) * 1000000;
        return 0;
    }
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (end == NULL || *end != '\0')
        return kv_cli_bad(err, "--since wants 10m, 2h, 3d or 2026-11-24T22:00:00Z");
    *out = (int64_t)timegm(&tm) * 1000000;
    return 0;
}

static bool is_wanted(const json_t *record, const struct filter *filter)
{
    return json_integer_value(json_object_get(record, "t")) >= filter->since_us &&
           (filter->principal == NULL ||
            strcmp(kv_json_text(record, "principal"), filter->principal) == 0);
}

/* A result has no principal of its own: it follows its request. */
static bool is_result_of(const json_t *record, const char *id)
{
    return strcmp(kv_json_text(record, "type"), "res") == 0 &&
           strcmp(kv_json_text(record, "id"), id) == 0;
}

static int read_file(int dir_fd, uint64_t segment, const struct filter *filter,
                     json_t *ids, json_t *out, struct kv_err *err)
{
    char name[KV_AUDIT_FILE_MAX];
    char line[KV_AUDIT_LINE_MAX + 2];
    kv_audit_file_name(segment, name);
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (file == NULL)
        return kv_err_errno(err, errno, "audit.unreadable", name);
    while (fgets(line, sizeof(line), file) != NULL) {
        json_t *record = json_loads(line, 0, NULL);
        const char *id = kv_json_text(record, "id");
        if (record == NULL)
            continue; /* `verify` tells what is wrong */
        bool is_result = json_object_get(ids, id) != NULL && is_result_of(record, id);
        if (is_result)
            (void)json_object_del(ids, id);
        else if (is_wanted(record, filter) && id[0] != '\0')
            (void)json_object_set_new(ids, id, json_true());
        if (is_result || is_wanted(record, filter))
            (void)json_array_append(out, record);
        json_decref(record);
    }
    (void)fclose(file); /* only read */
    return 0;
}

static int read_log(const char *dir, const struct filter *filter, json_t *out,
                    struct kv_err *err)
{
    int dir_fd = -1;
    uint64_t *segments = NULL;
    size_t n = 0;
    int rc = 0;
    json_t *ids = json_object();
    KV_TRY(kv_audit_dir_open(dir, &dir_fd, err));
    KV_TRY(kv_audit_files_list(dir_fd, &segments, &n, err));
    for (size_t i = 0; i < n; i++)
        KV_TRY(read_file(dir_fd, segments[i], filter, ids, out, err));
out:
    free(segments);
    if (dir_fd >= 0)
        (void)close(dir_fd);
    json_decref(ids);
    return rc;
}

static void add_object(struct kv_table *table, const json_t *record)
{
    char text[256];
    const char *collection = kv_json_text(record, "object");
    const char *name = kv_json_text(record, "name");
    (void)snprintf(text, sizeof(text), "%s%s%s", collection,
                   collection[0] != '\0' && name[0] != '\0' ? "/" : "", name);
    kv_table_add(table, text);
}

static void add_result(struct kv_table *table, const json_t *record)
{
    char text[128];
    long long status = json_integer_value(json_object_get(record, "status"));
    const char *error = kv_json_text(record, "error");
    if (status != 0)
        (void)snprintf(text, sizeof(text), "%lld%s%s", status,
                       error[0] != '\0' ? " " : "", error);
    else
        (void)snprintf(text, sizeof(text), "%s", kv_json_text(record, "decision"));
    kv_table_add(table, text);
}

static int print_records(const json_t *records)
{
    static const char *const headings[] = {"SEQ",       "TIME",   "TYPE",  "PRINCIPAL",
                                           "OPERATION", "OBJECT", "RESULT"};
    struct kv_table *table = kv_table_new(7, headings);
    if (table == NULL)
        return KV_E_NOMEM;
    size_t i = 0;
    json_t *record = NULL;
    json_array_foreach((json_t *)(uintptr_t)records, i, record)
    {
        char seq[24];
        (void)snprintf(seq, sizeof(seq), "%lld",
                       json_integer_value(json_object_get(record, "seq")));
        kv_table_add(table, seq);
        kv_table_add_time(table,
                          json_integer_value(json_object_get(record, "t")) / 1000000);
        kv_table_add(table, kv_json_text(record, "type"));
        kv_table_add(table, kv_json_text(record, "principal"));
        kv_table_add(table, kv_json_text(record, "op"));
        add_object(table, record);
        add_result(table, record);
    }
    const int rc = kv_table_print(table, stdout);
    kv_table_free(table);
    return rc;
}

int kv_audit_show_run(struct kv_cli *cli, struct kv_err *err)
{
    struct filter filter = {.principal = kv_cli_flag(cli, "principal")};
    const char *since = kv_cli_flag(cli, "since");
    const char *dir = cli->invocation.n_args > 0 ? cli->invocation.args[0] : NULL;
    json_t *state = NULL;
    json_t *records = json_array();
    int rc = 0;
    if (since != NULL)
        KV_TRY(read_since(since, &filter.since_us, err));
    if (dir == NULL) {
        KV_TRY(kv_rest_call(cli, "GET", "/keyvault/v1/audit", NULL, &state, err));
        dir = kv_json_text(state, "directory");
    }
    KV_TRY(read_log(dir, &filter, records, err));
    rc = cli->invocation.as_json ? kv_cli_print_json(records, err)
                                 : print_records(records);
out:
    json_decref(records);
    json_decref(state);
    return rc;
}
