/*
 * keyvault-restore: what `keyvault restore` runs.
 *
 *   options -> hardening -> restore (restore.h) -> what to start
 *
 * A program of its own, because it holds for a moment what no role holds together:
 * the root key and the store. It has no network and ends when it is done.
 */
#include <getopt.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lifecycle/backup/restore.h"
#include "store/core/secret.h"
#include "store/keyring/sandbox.h"

static const char usage_text[] =
    "usage: keyvault restore FILE DIR --keyfile F | --recovery-file F\n"
    "\n"
    "  --keyfile F         open the backup with the keyfile of its day\n"
    "  --recovery-file F   open it with the recovery key in this file; the restored\n"
    "                      directory gets a new keyfile\n"
    "  --keyring-user U    as root: who gets DIR/keyring (keyvault-keys)\n"
    "  --service-user U    as root: who gets DIR/db (keyvault)\n"
    "  --json              print the result as JSON\n";

enum {
    OPT_KEYFILE = 1,
    OPT_RECOVERY,
    OPT_KEYRING_USER,
    OPT_SERVICE_USER,
    OPT_JSON,
    OPT_HELP
};

struct arguments {
    struct kv_restore restore;
    const char *keyring_user;
    const char *service_user;
    bool as_json;
    bool is_help;
};

static void print_error(const struct kv_err *err)
{
    (void)fprintf(stderr, "keyvault: %s: %s\n", err->id, err->message);
    if (err->hint[0] != '\0')
        (void)fprintf(stderr, "hint: %s\n", err->hint);
}

static int usage(struct kv_err *err, const char *text)
{
    (void)kv_err_set(err, KV_E_INVALID, "cli.usage", "%s", text);
    kv_err_hint(err, "see keyvault restore --help");
    return KV_E_INVALID;
}

static int read_options(int argc, char **argv, struct arguments *out,
                        struct kv_err *err)
{
    static const struct option options[] = {
        {"keyfile", required_argument, NULL, OPT_KEYFILE},
        {"recovery-file", required_argument, NULL, OPT_RECOVERY},
        {"keyring-user", required_argument, NULL, OPT_KEYRING_USER},
        {"service-user", required_argument, NULL, OPT_SERVICE_USER},
        {"json", no_argument, NULL, OPT_JSON},
        {"help", no_argument, NULL, OPT_HELP},
        {0},
    };
    int c = 0;
    opterr = 0; /* the message below is enough */
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case OPT_KEYFILE:
            out->restore.keyfile = optarg;
            break;
        case OPT_RECOVERY:
            out->restore.recovery = optarg;
            break;
        case OPT_KEYRING_USER:
            out->keyring_user = optarg;
            break;
        case OPT_SERVICE_USER:
            out->service_user = optarg;
            break;
        case OPT_JSON:
            out->as_json = true;
            break;
        case OPT_HELP:
            out->is_help = true;
            return 0;
        default:
            return usage(err, "unknown or incomplete option");
        }
    }
    if (argc - optind != 2)
        return usage(err, "restore wants the backup FILE and an empty directory DIR");
    if ((out->restore.keyfile == NULL) == (out->restore.recovery == NULL))
        return usage(err, "restore wants either --keyfile or --recovery-file");
    out->restore.file = argv[optind];
    out->restore.dir = argv[optind + 1];
    return 0;
}

/* Who gets a role's directory: as root the named user, or the usual one if there is
 * one; anybody else keeps it. */
static int find_user(const char *wanted, const char *usual, uid_t *uid, gid_t *gid,
                     struct kv_err *err)
{
    *uid = (uid_t)-1;
    *gid = (gid_t)-1;
    if (geteuid() != 0)
        return 0;
    const struct passwd *user = getpwnam(wanted != NULL ? wanted : usual);
    if (user == NULL && wanted != NULL)
        return kv_err_set(err, KV_E_NOT_FOUND, "restore.no-user",
                          "there is no user '%s'", wanted);
    if (user != NULL) {
        *uid = user->pw_uid;
        *gid = user->pw_gid;
    }
    return 0;
}

/* Percent on a terminal, on one line. */
static int on_progress(void *arg, uint64_t done, uint64_t total)
{
    int *last = arg;
    int percent = total > 0 ? (int)(done * 100 / total) : 100;
    if (percent != *last)
        (void)fprintf(stderr, "\rrestoring %3d %%%s", percent,
                      percent == 100 ? "\n" : "");
    *last = percent;
    return 0;
}

static void print_result(const struct arguments *arguments,
                         const struct kv_backup_proof *proof)
{
    const char *dir = arguments->restore.dir;
    if (arguments->as_json) {
        char real[PATH_MAX];
        bool is_plain = realpath(dir, real) != NULL;
        for (const char *c = real; is_plain && *c != '\0'; c++)
            is_plain = *c != '"' && *c != '\\' && (unsigned char)*c >= 0x20;
        (void)printf("{\"directory\":\"%s\",\"rows\":%llu,\"keys\":%llu,"
                     "\"keyTypes\":%llu,\"created\":%lld}\n",
                     is_plain ? real : "", (unsigned long long)proof->counts.n_rows,
                     (unsigned long long)proof->n_keys,
                     (unsigned long long)proof->n_types,
                     (long long)proof->header.created_s);
        return;
    }
    (void)printf("restored: %llu rows, %llu keys, one of each of %llu kinds signed\n",
                 (unsigned long long)proof->counts.n_rows,
                 (unsigned long long)proof->n_keys, (unsigned long long)proof->n_types);
    if (arguments->restore.recovery != NULL)
        (void)printf("a new keyfile is in %s/keyring; the old one opens nothing here, "
                     "the recovery key stays\n",
                     dir);
    if (geteuid() == 0 && strcmp(dir, "/var/lib/keyvault") == 0)
        (void)printf("start it: keyvaultd (or its systemd units)\n");
    else
        (void)printf("start it: keyvaultd --dev %s; for real, restore as root into "
                     "/var/lib/keyvault and start keyvaultd\n",
                     dir);
}

static int run(int argc, char **argv, struct kv_err *err)
{
    struct arguments arguments = {0};
    struct kv_backup_proof proof;
    struct kv_err ignored = KV_ERR_INIT;
    int percent = -1;
    int rc = 0;
    KV_TRY(read_options(argc, argv, &arguments, err));
    if (arguments.is_help)
        return fputs(usage_text, stdout) < 0 ? KV_E_IO : 0;
    struct kv_restore *restore = &arguments.restore;
    KV_TRY(find_user(arguments.keyring_user, "keyvault-keys", &restore->keyring_uid,
                     &restore->keyring_gid, err));
    KV_TRY(find_user(arguments.service_user, "keyvault", &restore->service_uid,
                     &restore->service_gid, err));
    KV_TRY(kv_sandbox_harden(err));
    if (kv_sandbox_lock_memory(&ignored) != 0)
        (void)fprintf(stderr, "keyvault: warning: memory is not locked: the root key "
                              "could reach swap while this runs\n");
    if (isatty(STDERR_FILENO) && !arguments.as_json) {
        restore->progress = on_progress;
        restore->arg = &percent;
    }
    KV_TRY(kv_restore_run(restore, &proof, err));
    print_result(&arguments, &proof);
    if (fflush(stdout) != 0)
        rc =
            kv_err_set(err, KV_E_IO, "cli.output", "standard output cannot be written");
out:
    return rc;
}

int main(int argc, char **argv)
{
    struct kv_err err = KV_ERR_INIT;
    (void)umask(077); /* returns the old one, no failure */
    if (kv_wiping_install() != 0) {
        (void)fputs("keyvault: cli.failed: libcrypto cannot be set up\n", stderr);
        return 1;
    }
    int rc = run(argc, argv, &err);
    if (rc == 0)
        return 0;
    (void)kv_err_set(&err, rc, "cli.failed", "%s", kv_code_text(rc));
    print_error(&err);
    if (strcmp(err.id, "cli.usage") == 0)
        return 2;
    return rc == KV_E_NOT_FOUND ? 3 : rc == KV_E_DENIED ? 4 : 1;
}
