/*
 * The command line, by getopt_long. Every mistake is answered with what was wrong;
 * the process then ends with status 2.
 */
#include "store/keyring/options.h"

#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "store/core/str.h"
#include "store/keyring/channel.h"

enum option_id {
    OPT_DIR = 1,
    OPT_RUN,
    OPT_SERVICE_UID,
    OPT_INIT,
    OPT_INIT_ONLY,
    OPT_RECOVERY_OUT,
    OPT_ALLOW_SWAP,
    OPT_LOG,
    OPT_PREPARED_NONCES,
    OPT_THREADS,
    OPT_READY_FD,
    OPT_AUDIT_KEY_FD,
    OPT_HELP,
    OPT_VERSION,
};

const char kv_options_usage[] =
    "usage: keyvault-keyring --dir DIR --run DIR --service-uid N [options]\n"
    "\n"
    "The key process of keyvault: holds the root key and the private keys, serves\n"
    "RUN/keys.sock to clients and RUN/private/keyring.sock to keyvault-service.\n"
    "\n"
    "  --dir DIR            state directory; its own files are in DIR/keyring (0700)\n"
    "  --run DIR            run directory, must exist\n"
    "  --service-uid N      the uid that keyvault-service runs as\n"
    "  --init               make an installation if DIR has none, then serve\n"
    "  --init-only          make an installation if DIR has none, then end\n"
    "  --recovery-out FILE  where the recovery key of a new installation is written\n"
    "                       (once, mode 0600; the file must not exist)\n"
    "  --allow-swap         serve although memory cannot be locked\n"
    "  --log FORMAT         text, json, journald or auto (default)\n"
    "  --prepared-nonces V  auto (default), on or off: prepare ECDSA signatures in "
    "spare\n"
    "                       time; auto: only where no hypervisor copies the machine\n"
    "  --threads N          loop threads; default: one for each CPU\n"
    "  --ready-fd N         write one byte there when clients may connect\n"
    "  --audit-key-fd N     write the audit log's key and last mark to this pipe and "
    "end;\n"
    "                       for `keyvault audit verify DIR`, while no keyring runs\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 stopped by a signal or done, 1 failed, 2 usage,\n"
    "3 the root key could not be opened (keyfile or slots).\n";

static const struct option long_options[] = {
    {"dir", required_argument, NULL, OPT_DIR},
    {"run", required_argument, NULL, OPT_RUN},
    {"service-uid", required_argument, NULL, OPT_SERVICE_UID},
    {"init", no_argument, NULL, OPT_INIT},
    {"init-only", no_argument, NULL, OPT_INIT_ONLY},
    {"recovery-out", required_argument, NULL, OPT_RECOVERY_OUT},
    {"allow-swap", no_argument, NULL, OPT_ALLOW_SWAP},
    {"log", required_argument, NULL, OPT_LOG},
    {"prepared-nonces", required_argument, NULL, OPT_PREPARED_NONCES},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"ready-fd", required_argument, NULL, OPT_READY_FD},
    {"audit-key-fd", required_argument, NULL, OPT_AUDIT_KEY_FD},
    {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static int bad_value(const char *option, struct kv_err *err)
{
    return kv_err_set(err, KV_E_INVALID, "options.bad-value",
                      "%s: the value is not one that this option takes", option);
}

static int parse_log(const char *text, enum kv_log_format *format, struct kv_err *err)
{
    if (strcmp(text, "auto") == 0)
        *format = kv_log_format_auto(STDERR_FILENO);
    else if (strcmp(text, "text") == 0)
        *format = KV_LOG_TEXT;
    else if (strcmp(text, "json") == 0)
        *format = KV_LOG_JSON;
    else if (strcmp(text, "journald") == 0)
        *format = KV_LOG_JOURNALD;
    else
        return bad_value("--log", err);
    return 0;
}

static int parse_switch(const char *option, const char *text, enum kv_switch *out,
                        struct kv_err *err)
{
    if (strcmp(text, "auto") == 0)
        *out = KV_SWITCH_AUTO;
    else if (strcmp(text, "on") == 0)
        *out = KV_SWITCH_ON;
    else if (strcmp(text, "off") == 0)
        *out = KV_SWITCH_OFF;
    else
        return bad_value(option, err);
    return 0;
}

static int parse_number(const char *option, const char *text, int64_t max, int64_t *out,
                        struct kv_err *err)
{
    if (kv_str_to_i64(text, 0, max, out) != 0)
        return bad_value(option, err);
    return 0;
}

static int take_number(struct kv_options *options, enum option_id id, const char *text,
                       struct kv_err *err)
{
    int64_t number = 0;
    int rc = 0;
    if (id == OPT_SERVICE_UID) {
        rc = parse_number("--service-uid", text, UINT32_MAX - 1, &number, err);
        options->service_uid = (uid_t)number;
        options->has_service_uid = true;
    } else if (id == OPT_THREADS) {
        rc = parse_number("--threads", text, KV_CHANNEL_THREADS_MAX, &number, err);
        options->n_threads = (unsigned)number;
    } else if (id == OPT_AUDIT_KEY_FD) {
        rc = parse_number("--audit-key-fd", text, 1023, &number, err);
        options->audit_key_fd = (int)number;
    } else {
        rc = parse_number("--ready-fd", text, 1023, &number, err);
        options->ready_fd = (int)number;
    }
    return rc;
}

static int take(struct kv_options *options, enum option_id id, const char *value,
                struct kv_err *err)
{
    switch (id) {
    case OPT_DIR:
        options->dir = value;
        break;
    case OPT_RUN:
        options->run = value;
        break;
    case OPT_RECOVERY_OUT:
        options->recovery_out = value;
        break;
    case OPT_INIT_ONLY:
        options->only_init = true;
        options->may_init = true;
        break;
    case OPT_INIT:
        options->may_init = true;
        break;
    case OPT_ALLOW_SWAP:
        options->may_swap = true;
        break;
    case OPT_HELP:
        options->is_help = true;
        break;
    case OPT_VERSION:
        options->is_version = true;
        break;
    case OPT_LOG:
        return parse_log(value, &options->log_format, err);
    case OPT_PREPARED_NONCES:
        return parse_switch("--prepared-nonces", value, &options->prepared_nonces, err);
    case OPT_SERVICE_UID:
    case OPT_THREADS:
    case OPT_READY_FD:
    case OPT_AUDIT_KEY_FD:
        return take_number(options, id, value, err);
    }
    return 0;
}

static int check_needed(const struct kv_options *options, struct kv_err *err)
{
    const bool has_all =
        options->dir != NULL && (options->only_init || options->audit_key_fd >= 0 ||
                                 (options->run != NULL && options->has_service_uid));
    if (options->is_help || options->is_version || has_all)
        return 0;
    return kv_err_set(err, KV_E_INVALID, "options.missing",
                      "--dir, --run and --service-uid are needed");
}

int kv_options_parse(struct kv_options *options, int argc, char **argv,
                     struct kv_err *err)
{
    *options = (struct kv_options){.log_format = kv_log_format_auto(STDERR_FILENO),
                                   .ready_fd = -1,
                                   .audit_key_fd = -1};
    optind = 0;
    opterr = 0;
    for (;;) {
        const int id = getopt_long(argc, argv, "", long_options, NULL);
        if (id == -1)
            break;
        if (id == '?')
            return kv_err_set(err, KV_E_INVALID, "options.unknown",
                              "%s: unknown, or its value is missing",
                              argv[optind > 1 ? optind - 1 : 1]);
        const int rc = take(options, (enum option_id)id, optarg, err);
        if (rc != 0)
            return rc;
    }
    if (optind < argc)
        return kv_err_set(err, KV_E_INVALID, "options.unknown", "%s: no such argument",
                          argv[optind]);
    return check_needed(options, err);
}
