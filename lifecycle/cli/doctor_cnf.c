/*
 * The effective openssl.cnf, read as libcrypto reads it but without acting on it.
 *
 * The order counts: with keyvault before default, TLS fails on curves; with default
 * not activated at all, everything fails as soon as another provider is activated.
 */
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/cli/doctor.h"
#include "store/core/str.h"

#define CHECK "openssl.cnf"

struct cnf {
    CONF *conf;
    char path[512];
    int at_default; /* position in the list of providers, -1 absent */
    int at_keyvault;
    const char *keyvault_section;
    const char *default_section;
};

static void find_path(struct cnf *cnf)
{
    const char *path = getenv("OPENSSL_CONF");
    if (path != NULL && path[0] != '\0') {
        kv_str_cut(cnf->path, sizeof(cnf->path), path, strlen(path));
        return;
    }
    const char *info = OPENSSL_info(OPENSSL_INFO_CONFIG_DIR);
    (void)snprintf(cnf->path, sizeof(cnf->path), "%s/openssl.cnf",
                   info != NULL ? info : "/usr/lib/ssl");
}

static const char *value_of(const struct cnf *cnf, const char *section,
                            const char *name)
{
    const char *value =
        section != NULL ? NCONF_get_string(cnf->conf, section, name) : NULL;
    ERR_clear_error();
    return value;
}

static void find_providers(struct cnf *cnf)
{
    cnf->at_default = -1;
    cnf->at_keyvault = -1;
    const char *init = NCONF_get_string(cnf->conf, NULL, "openssl_conf");
    const char *list = value_of(cnf, init, "providers");
    STACK_OF(CONF_VALUE) *values =
        list != NULL ? NCONF_get_section(cnf->conf, list) : NULL;
    ERR_clear_error();
    for (int i = 0; i < sk_CONF_VALUE_num(values); i++) {
        const CONF_VALUE *value = sk_CONF_VALUE_value(values, i);
        if (strcmp(value->name, "default") == 0) {
            cnf->at_default = i;
            cnf->default_section = value->value;
        } else if (strcmp(value->name, "keyvault") == 0) {
            cnf->at_keyvault = i;
            cnf->keyvault_section = value->value;
        }
    }
}

/* libcrypto activates a provider when the setting is there, whatever its value. */
static bool is_activated(const struct cnf *cnf, const char *section)
{
    return value_of(cnf, section, "activate") != NULL;
}

static bool check_order(struct kv_doctor *doctor, const struct cnf *cnf)
{
    if (cnf->at_keyvault < 0 || !is_activated(cnf, cnf->keyvault_section)) {
        kv_doctor_say(
            doctor, KV_FINDING_FAIL, CHECK,
            "export OPENSSL_CONF=DIR/openssl.cnf, or see keyvault-provider(7)",
            "%s does not activate the keyvault provider", cnf->path);
        return false;
    }
    if (cnf->at_default < 0 || !is_activated(cnf, cnf->default_section)) {
        kv_doctor_say(doctor, KV_FINDING_FAIL, CHECK,
                      "add 'default = default_sect' with 'activate = 1'",
                      "%s activates keyvault but not default: nothing else works",
                      cnf->path);
        return true;
    }
    if (cnf->at_keyvault < cnf->at_default)
        kv_doctor_say(doctor, KV_FINDING_FAIL, CHECK, "put default first",
                      "%s lists keyvault before default: TLS fails on curves",
                      cnf->path);
    else
        kv_doctor_say(doctor, KV_FINDING_OK, CHECK, NULL,
                      "%s activates default, then keyvault", cnf->path);
    return true;
}

static void check_module(struct kv_doctor *doctor, const struct cnf *cnf)
{
    const char *module = value_of(cnf, cnf->keyvault_section, "module");
    if (module == NULL)
        kv_doctor_say(doctor, KV_FINDING_WARN, "module", NULL,
                      "no module is named: OpenSSL looks for keyvault.so in its own "
                      "directory");
    else if (access(module, R_OK) == 0)
        kv_doctor_say(doctor, KV_FINDING_OK, "module", NULL, "%s", module);
    else
        kv_doctor_say(doctor, KV_FINDING_FAIL, "module",
                      "install keyvault, or correct 'module' in openssl.cnf",
                      "%s cannot be read", module);
}

static void check_socket(struct kv_doctor *doctor, const struct cnf *cnf)
{
    const char *socket = value_of(cnf, cnf->keyvault_section, "socket");
    const char *variable = getenv("KEYVAULT_KEYS_SOCKET");
    if (variable != NULL && variable[0] != '\0')
        return; /* it overrides the file, and is what was probed */
    if (socket == NULL || strcmp(socket, doctor->socket) == 0)
        kv_doctor_say(doctor, KV_FINDING_OK, "socket", NULL, "%s is what %s names",
                      doctor->socket, cnf->path);
    else
        kv_doctor_say(doctor, KV_FINDING_WARN, "socket",
                      "correct 'socket' in openssl.cnf, or set KEYVAULT_KEYS_SOCKET",
                      "%s names %s, this shell uses %s", cnf->path, socket,
                      doctor->socket);
}

static void check_uid(struct kv_doctor *doctor, const struct cnf *cnf)
{
    const char *text = value_of(cnf, cnf->keyvault_section, "server-uid");
    int64_t uid = -1;
    if (!doctor->has_socket_uid)
        return;
    if (text == NULL) {
        kv_doctor_say(doctor, KV_FINDING_WARN, "server-uid",
                      "add 'server-uid' to the keyvault section",
                      "not set: programs accept root and their own user only");
        return;
    }
    if (kv_str_to_i64(text, 0, UINT32_MAX - 1, &uid) != 0 ||
        (uid_t)uid != doctor->socket_uid)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "server-uid",
                      "correct 'server-uid' in openssl.cnf",
                      "%s expects uid %s, but uid %u listens", cnf->path, text,
                      (unsigned)doctor->socket_uid);
    else
        kv_doctor_say(doctor, KV_FINDING_OK, "server-uid", NULL, "%s", text);
}

void kv_doctor_openssl_cnf(struct kv_doctor *doctor)
{
    struct cnf cnf = {.conf = NCONF_new(NULL)};
    long line = 0;
    find_path(&cnf);
    if (cnf.conf == NULL || NCONF_load(cnf.conf, cnf.path, &line) != 1) {
        kv_doctor_say(doctor, KV_FINDING_FAIL, CHECK, "correct or restore it",
                      "%s cannot be read (line %ld)", cnf.path, line > 0 ? line : 0);
        ERR_clear_error();
        NCONF_free(cnf.conf);
        return;
    }
    find_providers(&cnf);
    if (check_order(doctor, &cnf)) {
        check_module(doctor, &cnf);
        check_socket(doctor, &cnf);
        check_uid(doctor, &cnf);
    }
    NCONF_free(cnf.conf);
}
