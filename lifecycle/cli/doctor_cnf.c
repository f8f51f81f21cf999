/*
 * The effective openssl.cnf, read as libcrypto reads it (with what it includes) but
 * without acting on it.
 *
 * The order counts: with keyvault before default, TLS fails on curves; with default
 * not activated at all, everything fails as soon as another provider is activated.
 */
#include <ctype.h>
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/cli/doctor.h"
#include "store/core/str.h"

#define CHECK "openssl.cnf"
#define DEFAULT_KEYS_SOCKET "/run/keyvault/keys.sock"

struct kv_cnf {
    CONF *conf;
    char path[512];
    long bad_line;
    int at_default; /* position in the list of providers, -1 absent */
    int at_keyvault;
    const char *list_section;
    const char *keyvault_section;
    const char *default_section;
    const char *property_section; /* of default_properties */
};

static const char *value_of(const struct kv_cnf *cnf, const char *section,
                            const char *name)
{
    const char *value =
        section != NULL ? NCONF_get_string(cnf->conf, section, name) : NULL;
    ERR_clear_error();
    return value;
}

/* --- reading ---------------------------------------------------------------------- */

static void find_path(struct kv_cnf *cnf)
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

/* The module may be activated under any name. */
static bool is_keyvault(const struct kv_cnf *cnf, const CONF_VALUE *provider)
{
    static const char file[] = "keyvault.so";
    const char *module = value_of(cnf, provider->value, "module");
    const size_t len = module != NULL ? strlen(module) : 0;
    return strcmp(provider->name, "keyvault") == 0 ||
           (len >= strlen(file) && strcmp(module + len - strlen(file), file) == 0);
}

static void find_providers(struct kv_cnf *cnf)
{
    const char *init = NCONF_get_string(cnf->conf, NULL, "openssl_conf");
    cnf->at_default = -1;
    cnf->at_keyvault = -1;
    cnf->list_section = value_of(cnf, init, "providers");
    cnf->property_section = value_of(cnf, init, "alg_section");
    STACK_OF(CONF_VALUE) *values = cnf->list_section != NULL
                                       ? NCONF_get_section(cnf->conf, cnf->list_section)
                                       : NULL;
    ERR_clear_error();
    for (int i = 0; i < sk_CONF_VALUE_num(values); i++) {
        const CONF_VALUE *value = sk_CONF_VALUE_value(values, i);
        if (strcmp(value->name, "default") == 0) {
            cnf->at_default = i;
            cnf->default_section = value->value;
        } else if (cnf->at_keyvault < 0 && is_keyvault(cnf, value)) {
            cnf->at_keyvault = i;
            cnf->keyvault_section = value->value;
        }
    }
}

/* What a program would connect to: the variable wins over the file. */
static void find_socket(struct kv_doctor *doctor)
{
    const struct kv_cnf *cnf = doctor->cnf;
    const char *socket = getenv("KEYVAULT_KEYS_SOCKET");
    if (socket == NULL || socket[0] == '\0')
        socket = value_of(cnf, cnf->keyvault_section, "socket");
    if (socket == NULL)
        socket = DEFAULT_KEYS_SOCKET;
    kv_str_cut(doctor->socket, sizeof(doctor->socket), socket, strlen(socket));
}

void kv_doctor_cnf_load(struct kv_doctor *doctor)
{
    struct kv_cnf *cnf = calloc(1, sizeof(*cnf));
    KV_ASSERT(cnf != NULL);
    doctor->cnf = cnf;
    find_path(cnf);
    cnf->conf = NCONF_new(NULL);
    if (cnf->conf != NULL && NCONF_load(cnf->conf, cnf->path, &cnf->bad_line) == 1) {
        find_providers(cnf);
    } else {
        NCONF_free(cnf->conf);
        cnf->conf = NULL;
    }
    ERR_clear_error();
    find_socket(doctor);
}

void kv_doctor_cnf_free(struct kv_doctor *doctor)
{
    if (doctor->cnf != NULL)
        NCONF_free(doctor->cnf->conf);
    free(doctor->cnf);
    doctor->cnf = NULL;
}

/* --- cures ------------------------------------------------------------------------ */

/* Whether a text can stand in a sed command in a shell as it is. */
static bool is_plain(const char *text)
{
    for (const char *c = text; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr("_./@:+-", *c) == NULL)
            return false;
    return text[0] != '\0';
}

/* Whether the file itself, not one that it includes, has "[section]" and in it, unless
 * `name` is NULL, "name = ". Both at the beginning of a line, where sed finds them. */
static bool has_line(const struct kv_cnf *cnf, const char *section, const char *name)
{
    char line[1024];
    bool is_inside = false;
    bool is_found = false;
    FILE *file = fopen(cnf->path, "re");
    if (file == NULL)
        return false;
    while (!is_found && fgets(line, sizeof(line), file) != NULL) {
        const size_t len = strlen(name != NULL ? name : section);
        if (line[0] == '[')
            is_inside = strncmp(line + 1, section, strlen(section)) == 0 &&
                        line[1 + strlen(section)] == ']';
        is_found = is_inside && (name == NULL || (strncmp(line, name, len) == 0 &&
                                                  strchr(" =", line[len]) != NULL));
    }
    (void)fclose(file);
    return is_found;
}

/* How "name = value" gets into a section. */
static void cure_set(const struct kv_cnf *cnf, const char *section, const char *name,
                     const char *value, char out[KV_CURE_MAX])
{
    const bool is_easy = is_plain(cnf->path) && is_plain(section) && is_plain(value);
    if (is_easy && has_line(cnf, section, name))
        (void)snprintf(out, KV_CURE_MAX,
                       "sed -i '/^\\[%s\\]/,/^\\[/ s|^%s *=.*|%s = %s|' %s", section,
                       name, name, value, cnf->path);
    else if (is_easy && has_line(cnf, section, NULL))
        (void)snprintf(out, KV_CURE_MAX, "sed -i '/^\\[%s\\]/a %s = %s' %s", section,
                       name, value, cnf->path);
    else
        (void)snprintf(out, KV_CURE_MAX, "write '%s = %s' into [%s] of %s", name, value,
                       section, cnf->path);
}

/* How a line of a section is dropped. */
static void cure_drop(const struct kv_cnf *cnf, const char *section, const char *name,
                      char out[KV_CURE_MAX])
{
    if (is_plain(cnf->path) && is_plain(section) && has_line(cnf, section, name))
        (void)snprintf(out, KV_CURE_MAX, "sed -i '/^\\[%s\\]/,/^\\[/ {/^%s *=/d}' %s",
                       section, name, cnf->path);
    else
        (void)snprintf(out, KV_CURE_MAX, "take '%s' out of [%s] of %s", name, section,
                       cnf->path);
}

/* How keyvault comes behind default in the list. */
static void cure_order(const struct kv_cnf *cnf, char out[KV_CURE_MAX])
{
    const char *list = cnf->list_section;
    if (is_plain(cnf->path) && is_plain(list) && is_plain(cnf->keyvault_section) &&
        has_line(cnf, list, "default") && has_line(cnf, list, "keyvault"))
        (void)snprintf(out, KV_CURE_MAX,
                       "sed -i -e '/^\\[%s\\]/,/^\\[/ {/^keyvault *=/d}' -e "
                       "'/^\\[%s\\]/,/^\\[/ {/^default *=/a keyvault = %s' -e '}' %s",
                       list, list, cnf->keyvault_section, cnf->path);
    else
        (void)snprintf(out, KV_CURE_MAX,
                       "write 'default' above 'keyvault' in [%s] of %s", list,
                       cnf->path);
}

/* keyvaultd --dev writes an openssl.cnf beside its socket. */
static void cure_absent(const struct kv_doctor *doctor, char out[KV_CURE_MAX])
{
    const char *end = strrchr(doctor->socket, '/');
    const int len = end != NULL ? (int)(end - doctor->socket) : 0;
    char path[sizeof(doctor->socket) + 16];
    (void)snprintf(path, sizeof(path), "%.*s/openssl.cnf", len, doctor->socket);
    FILE *file = len > 0 ? fopen(path, "re") : NULL;
    if (file != NULL && is_plain(path))
        (void)snprintf(out, KV_CURE_MAX, "export OPENSSL_CONF=%s", path);
    else
        (void)snprintf(out, KV_CURE_MAX,
                       "add the block of keyvault-provider(7) to %s, or set "
                       "OPENSSL_CONF",
                       doctor->cnf->path);
    if (file != NULL)
        (void)fclose(file);
}

/* --- checks ----------------------------------------------------------------------- */

/* libcrypto activates a provider when the setting is there, whatever its value. */
static bool is_activated(const struct kv_cnf *cnf, const char *section)
{
    return value_of(cnf, section, "activate") != NULL;
}

static bool check_keyvault(struct kv_doctor *doctor)
{
    const struct kv_cnf *cnf = doctor->cnf;
    char cure[KV_CURE_MAX];
    if (cnf->at_keyvault >= 0 && is_activated(cnf, cnf->keyvault_section))
        return true;
    if (cnf->at_keyvault >= 0)
        cure_set(cnf, cnf->keyvault_section, "activate", "1", cure);
    else
        cure_absent(doctor, cure);
    kv_doctor_say(doctor, KV_FINDING_FAIL, CHECK, cure,
                  "%s does not activate the keyvault provider", cnf->path);
    return false;
}

static void check_order(struct kv_doctor *doctor)
{
    const struct kv_cnf *cnf = doctor->cnf;
    char cure[KV_CURE_MAX];
    if (cnf->at_default < 0) {
        (void)snprintf(cure, sizeof(cure),
                       "write 'default = default_sect' first in [%s] of %s, and "
                       "'activate = 1' in [default_sect]",
                       cnf->list_section, cnf->path);
        kv_doctor_say(doctor, KV_FINDING_FAIL, CHECK, cure,
                      "%s activates keyvault but does not list default: nothing else "
                      "works",
                      cnf->path);
    } else if (!is_activated(cnf, cnf->default_section)) {
        cure_set(cnf, cnf->default_section, "activate", "1", cure);
        kv_doctor_say(doctor, KV_FINDING_FAIL, CHECK, cure,
                      "%s activates keyvault but not default: nothing else works",
                      cnf->path);
    } else if (cnf->at_keyvault < cnf->at_default) {
        cure_order(cnf, cure);
        kv_doctor_say(doctor, KV_FINDING_FAIL, CHECK, cure,
                      "%s lists keyvault before default: TLS fails on curves",
                      cnf->path);
    } else {
        kv_doctor_say(doctor, KV_FINDING_OK, CHECK, NULL,
                      "%s activates default, then keyvault", cnf->path);
    }
}

static void check_properties(struct kv_doctor *doctor)
{
    const struct kv_cnf *cnf = doctor->cnf;
    const char *name = "default_properties";
    const char *value = value_of(cnf, cnf->property_section, name);
    char cure[KV_CURE_MAX];
    if (value == NULL || strstr(value, "keyvault") == NULL)
        return;
    cure_drop(cnf, cnf->property_section, name, cure);
    kv_doctor_say(doctor, KV_FINDING_FAIL, "properties", cure,
                  "%s prefers keyvault in default_properties (%s): TLS fails on curves",
                  cnf->path, value);
}

/* Where libcrypto looks for the module. */
static void module_path(const struct kv_cnf *cnf, char *out, size_t out_size)
{
    const char *module = value_of(cnf, cnf->keyvault_section, "module");
    const char *dir = getenv("OPENSSL_MODULES");
    if (dir == NULL || dir[0] == '\0')
        dir = OPENSSL_info(OPENSSL_INFO_MODULES_DIR);
    if (module == NULL)
        module = "keyvault.so";
    if (module[0] == '/')
        kv_str_cut(out, out_size, module, strlen(module));
    else
        (void)snprintf(out, out_size, "%s/%s", dir, module);
}

static void check_module(struct kv_doctor *doctor)
{
    char path[1024];
    struct kv_err err = KV_ERR_INIT;
    module_path(doctor->cnf, path, sizeof(path));
    if (kv_doctor_try_load(doctor, path, &err) == 0)
        kv_doctor_say(doctor, KV_FINDING_OK, "module", NULL, "%s loads", path);
    else
        kv_doctor_say(doctor, KV_FINDING_FAIL, "module",
                      "install keyvault, or correct 'module' in openssl.cnf",
                      "%s does not load for %s: %s", path, doctor->user, err.message);
}

static void check_socket(struct kv_doctor *doctor)
{
    const struct kv_cnf *cnf = doctor->cnf;
    const char *socket = value_of(cnf, cnf->keyvault_section, "socket");
    const char *variable = getenv("KEYVAULT_KEYS_SOCKET");
    if (socket == NULL)
        socket = DEFAULT_KEYS_SOCKET;
    if (variable == NULL || variable[0] == '\0' || strcmp(variable, socket) == 0)
        return;
    kv_doctor_say(doctor, KV_FINDING_WARN, "socket", "unset KEYVAULT_KEYS_SOCKET",
                  "KEYVAULT_KEYS_SOCKET names %s; a program without that variable uses "
                  "%s, as %s says",
                  variable, socket, cnf->path);
}

static void check_uid(struct kv_doctor *doctor)
{
    const struct kv_cnf *cnf = doctor->cnf;
    const char *text = value_of(cnf, cnf->keyvault_section, "server-uid");
    const uid_t uid = doctor->socket_uid;
    int64_t expected = -1;
    char cure[KV_CURE_MAX];
    char number[16];
    if (!doctor->has_socket_uid)
        return;
    (void)snprintf(number, sizeof(number), "%u", (unsigned)uid);
    cure_set(cnf, cnf->keyvault_section, "server-uid", number, cure);
    if (text == NULL && (uid == 0 || uid == doctor->uid))
        kv_doctor_say(doctor, KV_FINDING_OK, "server-uid", NULL,
                      "not set: %s trusts uid %s, which listens", doctor->user, number);
    else if (text == NULL)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "server-uid", cure,
                      "not set: %s trusts only root and itself, but uid %s listens",
                      doctor->user, number);
    else if (kv_str_to_i64(text, 0, UINT32_MAX - 1, &expected) != 0 ||
             (uid_t)expected != uid)
        kv_doctor_say(doctor, KV_FINDING_FAIL, "server-uid", cure,
                      "%s expects uid %s, but uid %s listens", cnf->path, text, number);
    else
        kv_doctor_say(doctor, KV_FINDING_OK, "server-uid", NULL, "%s", text);
}

/* A program that cannot read the file goes on without it, and without us. */
static bool check_readable(struct kv_doctor *doctor)
{
    const struct kv_cnf *cnf = doctor->cnf;
    char cure[KV_CURE_MAX];
    bool is_readable = true;
    if (cnf->conf == NULL) {
        kv_doctor_say(doctor, KV_FINDING_FAIL, CHECK, "correct or restore it",
                      "%s cannot be read (line %ld)", cnf->path,
                      cnf->bad_line > 0 ? cnf->bad_line : 0);
        return false;
    }
    if (kv_doctor_become(doctor, NULL) != 0)
        return true; /* we cannot know */
    FILE *file = fopen(cnf->path, "re");
    is_readable = file != NULL;
    if (file != NULL)
        (void)fclose(file);
    kv_doctor_return(doctor);
    (void)snprintf(cure, sizeof(cure), "chmod a+r %s", cnf->path);
    if (!is_readable)
        kv_doctor_say(doctor, KV_FINDING_FAIL, CHECK, cure, "%s cannot be read by %s",
                      cnf->path, doctor->user);
    return is_readable;
}

void kv_doctor_cnf_check(struct kv_doctor *doctor)
{
    if (!check_readable(doctor) || !check_keyvault(doctor))
        return;
    check_order(doctor);
    check_properties(doctor);
    check_module(doctor);
    check_socket(doctor);
    check_uid(doctor);
}
