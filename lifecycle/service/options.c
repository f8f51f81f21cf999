/*
 * Command line of keyvault-service: long options only, each once, values checked here
 * so that main.c starts with what it can use.
 */
#include "lifecycle/service/options.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/audit/audit.h"
#include "store/core/str.h"

const char kv_service_usage[] =
    "usage: keyvault-service --dir DIR --run DIR [options]\n"
    "\n"
    "  --dir DIR            state directory; the store is in DIR/db\n"
    "  --run DIR            api.sock; the keyring is at DIR/private/keyring.sock\n"
    "  --keyring-uid UID    user that the keyring must run as (default: own)\n"
    "  --admin-uid UID      Unix peer that administers without a role\n"
    "                       (default with --dev: own; otherwise nobody)\n"
    "  --dev                for trying out: every local user may use keys\n"
    "  --listen HOST:PORT   HTTPS; numeric host, port 0 picks one\n"
    "  --api-mode OCTAL     mode of api.sock (default 0660)\n"
    "  --token-out FILE     with --dev: where the administrator's token is kept\n"
    "  --ca-out FILE        where to write the CA of the API's own certificate\n"
    "  --port-out FILE      where to write the port of HTTPS\n"
    "  --domain NAME        vault hosts are VAULT.NAME (default vault.localhost)\n"
    "  --oidc-issuer SETTINGS\n"
    "                       name=N,issuer=URL[,audience=A][,tenant=T][,ca-file=F]\n"
    "                       [,at-jwt=on]: accept its tokens; up to 8 of them\n"
    "  --audit-dir DIR      the audit log (default: audit in the state directory)\n"
    "  --audit-bytes N      size at which a new file of it begins (default 268435456)\n"
    "  --audit-keep N       as much as so many files hold is kept (default 90)\n"
    "  --no-audit           record nothing\n"
    "  --quota C,U,W,O      create, use, write, other calls in 10 seconds of one\n"
    "                       caller and vault, 0: no limit; or off (default with\n"
    "                       --dev; otherwise 20,4000,300,4000)\n"
    "  --log FORMAT         auto, text, json or journald (default auto)\n"
    "  --log-level LEVEL    error, warn, info or debug (default info)\n"
    "  --ready-fd N         write \"ready\\n\" there once requests are served\n"
    "  --help, --version\n";

enum {
    OPT_DIR = 1,
    OPT_RUN,
    OPT_KEYRING_UID,
    OPT_ADMIN_UID,
    OPT_DEV,
    OPT_LISTEN,
    OPT_API_MODE,
    OPT_TOKEN_OUT,
    OPT_CA_OUT,
    OPT_PORT_OUT,
    OPT_DOMAIN,
    OPT_OIDC_ISSUER,
    OPT_AUDIT_DIR,
    OPT_AUDIT_BYTES,
    OPT_AUDIT_KEEP,
    OPT_NO_AUDIT,
    OPT_QUOTA,
    OPT_LOG,
    OPT_LOG_LEVEL,
    OPT_READY_FD,
    OPT_HELP,
    OPT_VERSION,
};

static const struct option long_options[] = {
    {"dir", required_argument, NULL, OPT_DIR},
    {"run", required_argument, NULL, OPT_RUN},
    {"keyring-uid", required_argument, NULL, OPT_KEYRING_UID},
    {"admin-uid", required_argument, NULL, OPT_ADMIN_UID},
    {"dev", no_argument, NULL, OPT_DEV},
    {"listen", required_argument, NULL, OPT_LISTEN},
    {"api-mode", required_argument, NULL, OPT_API_MODE},
    {"token-out", required_argument, NULL, OPT_TOKEN_OUT},
    {"ca-out", required_argument, NULL, OPT_CA_OUT},
    {"port-out", required_argument, NULL, OPT_PORT_OUT},
    {"domain", required_argument, NULL, OPT_DOMAIN},
    {"oidc-issuer", required_argument, NULL, OPT_OIDC_ISSUER},
    {"audit-dir", required_argument, NULL, OPT_AUDIT_DIR},
    {"audit-bytes", required_argument, NULL, OPT_AUDIT_BYTES},
    {"audit-keep", required_argument, NULL, OPT_AUDIT_KEEP},
    {"no-audit", no_argument, NULL, OPT_NO_AUDIT},
    {"quota", required_argument, NULL, OPT_QUOTA},
    {"log", required_argument, NULL, OPT_LOG},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"ready-fd", required_argument, NULL, OPT_READY_FD},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static int bad(struct kv_err *err, const char *text)
{
    kv_err_set(err, KV_E_INVALID, "service.usage", "%s", text);
    kv_err_hint(err, "see keyvault-service --help");
    return KV_E_INVALID;
}

int kv_listen_parse(const char *text, char host[64], uint16_t *port, struct kv_err *err)
{
    uint8_t address[16];
    int64_t number = 0;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || kv_str_to_i64(colon + 1, 0, UINT16_MAX, &number) != 0)
        return bad(err, "--listen wants HOST:PORT with a port of 0 to 65535");
    const char *begin = text;
    size_t len = (size_t)(colon - text);
    bool is_v6 = len >= 2 && begin[0] == '[' && begin[len - 1] == ']';
    if (is_v6) {
        begin++;
        len -= 2;
    }
    kv_str_cut(host, 64, begin, len);
    if (len >= 64 || inet_pton(is_v6 ? AF_INET6 : AF_INET, host, address) != 1)
        return bad(err, "--listen wants a numeric host: 127.0.0.1:8443 or [::1]:8443");
    *port = (uint16_t)number;
    return 0;
}

static int read_number(const char *text, int64_t max, int64_t *out, struct kv_err *err,
                       const char *complaint)
{
    return kv_str_to_i64(text, 0, max, out) == 0 ? 0 : bad(err, complaint);
}

static int read_mode(const char *text, mode_t *out, struct kv_err *err)
{
    mode_t mode = 0;
    size_t n = strspn(text, "01234567");
    if (n == 0 || n > 4 || text[n] != '\0')
        return bad(err, "--api-mode wants up to four octal digits");
    for (; *text != '\0'; text++)
        mode = mode * 8 + (mode_t)(*text - '0');
    if (mode > 0777)
        return bad(err, "--api-mode wants permission bits only");
    *out = mode;
    return 0;
}

static int read_word(const char *text, const char *const *words, int *out,
                     struct kv_err *err, const char *complaint)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return 0;
        }
    }
    return bad(err, complaint);
}

static int read_log(struct kv_service_options *out, const char *text,
                    struct kv_err *err)
{
    static const char *const words[] = {"text", "json", "journald", "auto", NULL};
    int i = 0;
    int rc =
        read_word(text, words, &i, err, "--log wants auto, text, json or journald");
    if (rc == 0)
        out->log_format =
            i == 3 ? kv_log_format_auto(STDERR_FILENO) : (enum kv_log_format)i;
    return rc;
}

static int read_level(struct kv_service_options *out, const char *text,
                      struct kv_err *err)
{
    static const char *const words[] = {"error", "warn", "info", "debug", NULL};
    int i = 0;
    int rc =
        read_word(text, words, &i, err, "--log-level wants error, warn, info or debug");
    if (rc == 0)
        out->log_level = (enum kv_log_level)i;
    return rc;
}

/* Options whose value is kept as it is. */
static bool take_text(struct kv_service_options *out, int option, const char *text)
{
    switch (option) {
    case OPT_DIR:
        out->dir = text;
        return true;
    case OPT_RUN:
        out->run = text;
        return true;
    case OPT_TOKEN_OUT:
        out->token_out = text;
        return true;
    case OPT_CA_OUT:
        out->ca_out = text;
        return true;
    case OPT_PORT_OUT:
        out->port_out = text;
        return true;
    case OPT_DOMAIN:
        out->domain = text;
        return true;
    case OPT_AUDIT_DIR:
        out->audit_dir = text;
        return true;
    default:
        return false;
    }
}

/* Options of the audit log; false: none of them. */
static bool take_audit(struct kv_service_options *out, int option, const char *text,
                       int *rc, struct kv_err *err)
{
    int64_t number = 0;
    switch (option) {
    case OPT_AUDIT_BYTES:
        *rc = kv_str_to_i64(text, 65536, INT64_MAX, &number);
        if (*rc != 0)
            *rc = bad(err, "--audit-bytes wants 65536 or more");
        out->audit_bytes = (uint64_t)number;
        return true;
    case OPT_AUDIT_KEEP:
        *rc = kv_str_to_i64(text, 2, 65536, &number);
        if (*rc != 0)
            *rc = bad(err, "--audit-keep wants 2 to 65536");
        out->audit_keep = (unsigned)number;
        return true;
    case OPT_NO_AUDIT:
        out->is_audit_off = true;
        return true;
    default:
        return false;
    }
}

static int take_option(struct kv_service_options *out, int option, const char *text,
                       struct kv_err *err)
{
    int64_t number = 0;
    int rc = 0;
    if (take_text(out, option, text) || take_audit(out, option, text, &rc, err))
        return rc;
    switch (option) {
    case OPT_KEYRING_UID:
        rc = read_number(text, UINT32_MAX - 1, &number, err,
                         "--keyring-uid wants a uid");
        out->keyring_uid = (uid_t)number;
        return rc;
    case OPT_ADMIN_UID:
        rc = read_number(text, UINT32_MAX - 1, &number, err, "--admin-uid wants a uid");
        out->admin_uid = (uid_t)number;
        return rc;
    case OPT_READY_FD:
        rc = read_number(text, 1023, &number, err, "--ready-fd wants a descriptor");
        out->ready_fd = (int)number;
        return rc;
    case OPT_DEV:
        out->is_dev = true;
        return 0;
    case OPT_QUOTA:
        out->has_quota = true;
        return kv_quota_limits_parse(text, &out->quota) == 0
                   ? 0
                   : bad(err, "--quota wants off or four numbers up to 1000000");
    case OPT_OIDC_ISSUER:
        if (out->n_oidc_issuers == KV_SERVICE_ISSUERS_MAX)
            return bad(err, "--oidc-issuer is taken eight times at most");
        out->oidc_issuers[out->n_oidc_issuers++] = text;
        return 0;
    case OPT_LISTEN:
        return kv_listen_parse(text, out->host, &out->port, err);
    case OPT_API_MODE:
        return read_mode(text, &out->api_mode, err);
    case OPT_LOG:
        return read_log(out, text, err);
    case OPT_LOG_LEVEL:
        return read_level(out, text, err);
    case OPT_HELP:
        out->is_help = true;
        return 0;
    case OPT_VERSION:
        out->is_version = true;
        return 0;
    default:
        return bad(err, "there is an option that is not known or lacks its value");
    }
}

static bool is_domain(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len < 190 && text[0] != '.' && text[0] != '-' &&
           text[len - 1] != '.' && text[len - 1] != '-' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") == len;
}

static int check(const struct kv_service_options *options, struct kv_err *err)
{
    if (options->is_help || options->is_version)
        return 0;
    if (options->dir == NULL || options->run == NULL)
        return bad(err, "--dir and --run are needed");
    if (!is_domain(options->domain))
        return bad(err, "--domain wants a host name in lower case");
    if (options->is_dev && options->token_out == NULL)
        return bad(err, "--dev needs --token-out");
    if (!options->is_dev && options->token_out != NULL)
        return bad(err, "--token-out needs --dev");
    return 0;
}

int kv_service_options_read(struct kv_service_options *out, int argc, char **argv,
                            struct kv_err *err)
{
    const uid_t nobody = (uid_t)-1;
    *out = (struct kv_service_options){.keyring_uid = geteuid(),
                                       .admin_uid = nobody,
                                       .api_mode = 0660,
                                       .domain = "vault.localhost",
                                       .audit_bytes = KV_AUDIT_SEGMENT_BYTES,
                                       .audit_keep = KV_AUDIT_KEEP,
                                       .log_format = kv_log_format_auto(STDERR_FILENO),
                                       .log_level = KV_LOG_INFO,
                                       .ready_fd = -1};
    int rc = 0;
    optind = 0; /* start anew: tests call this several times */
    opterr = 0;
    for (;;) {
        int option = getopt_long(argc, argv, "", long_options, NULL);
        if (option == -1)
            break;
        rc = take_option(out, option, optarg, err);
        if (rc != 0)
            return rc;
    }
    if (optind < argc)
        return bad(err, "there is an argument that is no option");
    if (!out->has_quota && !out->is_dev)
        out->quota = KV_QUOTA_DEFAULTS;
    if (out->is_dev && out->admin_uid == nobody)
        out->admin_uid = geteuid();
    return check(out, err);
}
