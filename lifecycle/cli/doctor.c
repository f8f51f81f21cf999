/*
 * keyvault doctor [--as USER] [URI]: looks at everything between a program and its
 * key, in the order in which it is used, one line for each finding.
 */
#include "lifecycle/cli/doctor.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/supervisor/probe.h"
#include "store/core/str.h"

#define DEFAULT_KEYS_SOCKET "/run/keyvault/keys.sock"

void kv_doctor_say(struct kv_doctor *doctor, enum kv_finding finding, const char *check,
                   const char *cure, const char *format, ...)
{
    static const char *const words[] = {
        [KV_FINDING_OK] = "ok", [KV_FINDING_WARN] = "warn", [KV_FINDING_FAIL] = "FAIL"};
    char text[1200];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    doctor->n_failed += finding == KV_FINDING_FAIL ? 1 : 0;
    if (doctor->as_json) {
        (void)json_array_append_new(
            doctor->findings, json_pack("{s:s,s:s,s:s,s:s*}", "result", words[finding],
                                        "check", check, "message", text, "cure", cure));
        return;
    }
    (void)printf("%-4s  %-11s  %s%s%s\n", words[finding], check, text,
                 cure != NULL ? "  -> " : "", cure != NULL ? cure : "");
}

static void check_daemon(struct kv_cli *cli, struct kv_doctor *doctor)
{
    struct kv_err err = KV_ERR_INIT;
    json_t *status = NULL;
    if (kv_rest_call(cli, "GET", "/keyvault/v1/status", NULL, &status, &err) != 0) {
        kv_doctor_say(doctor, KV_FINDING_FAIL, "daemon",
                      err.code == KV_E_DENIED ? "use a user that may administer"
                                              : "start keyvaultd, or set KEYVAULT_API",
                      "%s", err.message);
        return;
    }
    const char *state = kv_json_text(status, "state");
    if (strcmp(state, "ready") == 0)
        kv_doctor_say(doctor, KV_FINDING_OK, "daemon", NULL, "%s is ready (version %s)",
                      kv_rest_address(), kv_json_text(status, "version"));
    else
        kv_doctor_say(doctor, KV_FINDING_FAIL, "daemon",
                      strcmp(state, "sealed") == 0 ? "keyvault slot open"
                                                   : "look into the log of keyvaultd",
                      "%s is %s", kv_rest_address(), state);
    json_decref(status);
}

static void check_twin(struct kv_doctor *doctor, const struct kv_probe *probe)
{
    char hex[2 * KV_ID_LEN + 1];
    char name[64];
    struct kv_probe twin;
    struct kv_err err = KV_ERR_INIT;
    kv_hex_encode(hex, probe->hello.installation, KV_ID_LEN);
    (void)snprintf(name, sizeof(name), "@keyvault/%s/keys", hex);
    if (kv_probe_open(&twin, name, &err) != 0) {
        kv_doctor_say(doctor, KV_FINDING_WARN, "twin",
                      "needed only by programs in a chroot", "%s: %s", name,
                      err.message);
        return;
    }
    if (twin.server_uid != probe->server_uid)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "twin", "find out whose process it is",
                      "%s belongs to uid %u, the socket to uid %u", name,
                      (unsigned)twin.server_uid, (unsigned)probe->server_uid);
    else
        kv_doctor_say(doctor, KV_FINDING_OK, "twin", NULL, "%s", name);
    kv_probe_close(&twin);
}

static void check_keys_socket(struct kv_doctor *doctor)
{
    const char *socket = getenv("KEYVAULT_KEYS_SOCKET");
    struct kv_probe probe;
    struct kv_err err = KV_ERR_INIT;
    if (socket == NULL || socket[0] == '\0')
        socket = DEFAULT_KEYS_SOCKET;
    kv_str_cut(doctor->socket, sizeof(doctor->socket), socket, strlen(socket));
    if (kv_probe_open(&probe, socket, &err) != 0) {
        kv_doctor_say(doctor, KV_FINDING_FAIL, "keys",
                      "start keyvaultd, or set KEYVAULT_KEYS_SOCKET", "%s",
                      err.message);
        return;
    }
    doctor->has_socket_uid = true;
    doctor->socket_uid = probe.server_uid;
    if (probe.hello.is_sealed)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "keys", "keyvault slot open",
                      "%s: the vault is sealed", socket);
    else if (!probe.hello.has_service)
        kv_doctor_say(doctor, KV_FINDING_WARN, "keys", "start keyvault-service",
                      "%s answers, but without the service nobody gets a new grant",
                      socket);
    else
        kv_doctor_say(doctor, KV_FINDING_OK, "keys", NULL, "%s answers (uid %u)",
                      socket, (unsigned)probe.server_uid);
    check_twin(doctor, &probe);
    kv_probe_close(&probe);
}

/* The peer's uid is that of the moment of connect: become `user` for it. */
static int become(const char *user, struct kv_err *err)
{
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL)
        return kv_cli_bad(err, "--as: there is no user '%s'", user);
    if (seteuid(entry->pw_uid) != 0) {
        (void)kv_err_errno(err, errno, "cli.cannot-become", user);
        kv_err_hint(err, "--as works for root only");
        return KV_E_DENIED;
    }
    return 0;
}

/* Ask for a grant as `user` (NULL: as we are). */
static int ask_grant(const struct kv_doctor *doctor, const char *user, const char *uri,
                     struct kv_err *err)
{
    uid_t before = geteuid();
    struct kv_probe probe = {.fd = -1};
    int rc = user != NULL ? become(user, err) : 0;
    if (rc == 0)
        rc = kv_probe_open(&probe, doctor->socket, err);
    if (rc == 0)
        rc = kv_probe_ask(&probe, KV_VERB_OPEN, uri, KV_OP_SIGN, err);
    kv_probe_close(&probe);
    if (geteuid() != before && seteuid(before) != 0)
        abort(); /* root's own effective uid cannot be refused */
    return rc;
}

static void check_grant(struct kv_cli *cli, struct kv_doctor *doctor, const char *uri)
{
    const char *user = kv_cli_flag(cli, "as");
    const struct passwd *entry = getpwuid(geteuid());
    const char *who = user != NULL ? user : entry != NULL ? entry->pw_name : "USER";
    struct kv_err err = KV_ERR_INIT;
    char cure[KV_ERR_TEXT_MAX];
    if (ask_grant(doctor, user, uri, &err) == 0) {
        kv_doctor_say(doctor, KV_FINDING_OK, "grant", NULL, "%s may sign with %s", who,
                      uri);
        return;
    }
    if (err.code == KV_E_DENIED)
        (void)snprintf(cure, sizeof(cure),
                       "keyvault access grant unix:%s --role tls-server --scope "
                       "keys/NAME",
                       who);
    else
        kv_str_cut(cure, sizeof(cure), err.hint, strlen(err.hint));
    kv_doctor_say(doctor, KV_FINDING_FAIL, "grant", cure[0] != '\0' ? cure : NULL,
                  "%s: %s", uri, err.message);
}

int kv_doctor_run(struct kv_cli *cli, struct kv_err *err)
{
    struct kv_doctor doctor = {.as_json = cli->invocation.as_json,
                               .findings = json_array()};
    int rc = 0;
    if (kv_cli_flag(cli, "as") != NULL && cli->invocation.n_args == 0) {
        rc = kv_cli_bad(err, "--as asks about a key: name its URI too");
        goto out;
    }
    check_daemon(cli, &doctor);
    check_keys_socket(&doctor);
    kv_doctor_openssl_cnf(&doctor);
    if (cli->invocation.n_args > 0)
        check_grant(cli, &doctor, cli->invocation.args[0]);
    if (doctor.as_json)
        KV_TRY(kv_cli_print_json(doctor.findings, err));
    if (doctor.n_failed > 0)
        rc = kv_err_set(err, KV_E_STATE, "cli.doctor", "%u of the checks failed",
                        doctor.n_failed);
out:
    json_decref(doctor.findings);
    return rc;
}
