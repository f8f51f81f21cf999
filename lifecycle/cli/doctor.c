/*
 * keyvault doctor [--as USER] [URI]: looks at everything between a program and its
 * key, in the order in which it is used, one line for each finding.
 */
#include "lifecycle/cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "lifecycle/supervisor/probe.h"
#include "store/core/str.h"

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
    for (char *c = text; *c != '\0'; c++) /* what others said must not drive a tty */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
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

/* How the daemon is started: keyvaultd --dev leaves its directory's files behind. */
static void cure_start(const struct kv_doctor *doctor, char out[KV_CURE_MAX])
{
    char path[sizeof(doctor->socket) + 16];
    const char *end = strrchr(doctor->socket, '/');
    const int len = end != NULL ? (int)(end - doctor->socket) : 0;
    (void)snprintf(path, sizeof(path), "%.*s/env", len, doctor->socket);
    if (len > 0 && access(path, F_OK) == 0)
        (void)snprintf(out, KV_CURE_MAX, "keyvaultd --dev %.*s", len, doctor->socket);
    else
        (void)snprintf(out, KV_CURE_MAX, "start keyvaultd");
}

static void check_state(struct kv_doctor *doctor)
{
    struct kv_err err = KV_ERR_INIT;
    json_t *status = NULL;
    char cure[KV_CURE_MAX];
    const int rc =
        kv_rest_call(doctor->cli, "GET", "/keyvault/v1/status", NULL, &status, &err);
    const char *state = kv_json_text(status, "state");
    cure_start(doctor, cure);
    if (rc == KV_E_DENIED)
        kv_doctor_say(doctor, KV_FINDING_WARN, "daemon", "run this as an administrator",
                      "not looked at: %s", err.message);
    else if (rc != 0)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "daemon", cure, "%s", err.message);
    else if (strcmp(state, "ready") == 0)
        kv_doctor_say(doctor, KV_FINDING_OK, "daemon", NULL, "%s is ready (version %s)",
                      kv_rest_address(), kv_json_text(status, "version"));
    else
        kv_doctor_say(doctor, KV_FINDING_FAIL, "daemon",
                      strcmp(state, "sealed") == 0 ? "keyvault slot open"
                                                   : "look into the log of keyvaultd",
                      "%s is %s", kv_rest_address(), state);
    json_decref(status);
}

/* What only an administrator is told; nothing for others. */
static void ask_service(struct kv_doctor *doctor)
{
    char path[KV_URI_MAX + 128] = "/keyvault/v1/doctor";
    char uri[KV_URI_MAX + 1];
    if (doctor->ref.uri.name[0] != '\0' &&
        kv_uri_format(&doctor->ref.uri, uri, sizeof(uri)) == 0)
        (void)snprintf(path, sizeof(path), "/keyvault/v1/doctor?uid=%u&uri=%s",
                       (unsigned)doctor->uid, uri);
    if (kv_rest_call(doctor->cli, "GET", path, NULL, &doctor->service, NULL) != 0)
        doctor->service = NULL;
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

/* As the user: the way to the socket may be closed to him. */
static int open_keys(const struct kv_doctor *doctor, struct kv_probe *probe,
                     struct kv_err *err)
{
    const bool is_him = kv_doctor_become(doctor, NULL) == 0;
    const int rc = kv_probe_open(probe, doctor->socket, err);
    if (is_him)
        kv_doctor_return(doctor);
    return rc;
}

static void say_closed(struct kv_doctor *doctor, const struct kv_err *err)
{
    struct kv_probe probe;
    char cure[KV_CURE_MAX];
    const char *end = strrchr(doctor->socket, '/');
    cure_start(doctor, cure);
    if (doctor->is_other && end != NULL &&
        kv_probe_open(&probe, doctor->socket, NULL) == 0) {
        kv_probe_close(&probe);
        (void)snprintf(cure, sizeof(cure), "chmod a+x %.*s",
                       (int)(end - doctor->socket), doctor->socket);
    }
    kv_doctor_say(doctor, KV_FINDING_FAIL, "keys", cure, "%s", err->message);
}

static void check_keys_socket(struct kv_doctor *doctor)
{
    struct kv_probe probe;
    struct kv_err err = KV_ERR_INIT;
    if (open_keys(doctor, &probe, &err) != 0) {
        say_closed(doctor, &err);
        return;
    }
    doctor->has_socket_uid = true;
    doctor->socket_uid = probe.server_uid;
    if (probe.hello.is_sealed)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "keys", "keyvault slot open",
                      "%s: the vault is sealed", doctor->socket);
    else if (!probe.hello.has_service)
        kv_doctor_say(doctor, KV_FINDING_WARN, "keys",
                      "look into the log of keyvault-service",
                      "%s answers, but without the service nobody gets a new grant",
                      doctor->socket);
    else
        kv_doctor_say(doctor, KV_FINDING_OK, "keys", NULL, "%s answers (uid %u)",
                      doctor->socket, (unsigned)probe.server_uid);
    check_twin(doctor, &probe);
    kv_probe_close(&probe);
}

static void check_all(struct kv_doctor *doctor)
{
    const bool has_key = doctor->asked != NULL && kv_doctor_key_name(doctor);
    kv_doctor_cnf_load(doctor);
    check_state(doctor);
    ask_service(doctor);
    kv_doctor_host_check(doctor);
    check_keys_socket(doctor);
    kv_doctor_cnf_check(doctor);
    if (has_key)
        kv_doctor_key_check(doctor);
}

int kv_doctor_run(struct kv_cli *cli, struct kv_err *err)
{
    struct kv_doctor doctor = {
        .cli = cli, .as_json = cli->invocation.as_json, .findings = json_array()};
    int rc = 0;
    if (cli->invocation.n_args > 0)
        doctor.asked = cli->invocation.args[0];
    KV_TRY(kv_doctor_set_user(&doctor, kv_cli_flag(cli, "as"), err));
    check_all(&doctor);
    if (doctor.as_json)
        KV_TRY(kv_cli_print_json(doctor.findings, err));
    if (doctor.n_failed > 0)
        rc = kv_err_set(err, KV_E_STATE, "cli.doctor", "%u of the checks failed",
                        doctor.n_failed);
out:
    kv_doctor_cnf_free(&doctor);
    json_decref(doctor.service);
    json_decref(doctor.findings);
    return rc;
}
