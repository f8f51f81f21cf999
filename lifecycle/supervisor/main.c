/*
 * keyvaultd(8): starts the roles where there is no systemd, and --dev.
 *
 * Reads options and configuration, prepares directories, and hands over to the loop
 * in supervise.c. This process holds no key and parses nothing that a client sent.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/supervisor/setup.h"

static const char usage_text[] =
    "usage: keyvaultd --dev DIR [--listen HOST:PORT] [--config FILE]\n"
    "       keyvaultd [--config FILE] [--listen HOST:PORT]\n"
    "       keyvaultd -t [--config FILE]\n"
    "\n"
    "  --dev DIR           run a whole vault in DIR, for trying out\n"
    "  --listen HOST:PORT  where HTTPS listens; port 0 picks a free one\n"
    "  --config FILE       instead of " KV_PATH_CONFIG " (or DIR/keyvault.conf)\n"
    "  -t                  check the configuration and exit\n"
    "  --help, --version\n";

enum { OPT_DEV = 256, OPT_LISTEN, OPT_CONFIG, OPT_HELP, OPT_VERSION };

static void print_error(const struct kv_err *err)
{
    (void)fprintf(stderr, "keyvaultd: %s: %s\n", err->id[0] != '\0' ? err->id : "error",
                  err->message[0] != '\0' ? err->message : kv_code_text(err->code));
    if (err->hint[0] != '\0')
        (void)fprintf(stderr, "hint: %s\n", err->hint);
}

static int usage_error(const char *message)
{
    struct kv_err err = KV_ERR_INIT;
    (void)kv_err_set(&err, KV_E_INVALID, "supervisor.usage", "%s", message);
    print_error(&err);
    (void)fputs(usage_text, stderr);
    return 2;
}

/* -1: go on; otherwise the exit status. */
static int read_options(int argc, char **argv, struct kv_setup *setup, bool *is_check)
{
    static const struct option options[] = {
        {"dev", required_argument, NULL, OPT_DEV},
        {"listen", required_argument, NULL, OPT_LISTEN},
        {"config", required_argument, NULL, OPT_CONFIG},
        {"help", no_argument, NULL, OPT_HELP},
        {"version", no_argument, NULL, OPT_VERSION},
        {0},
    };
    int c = 0;
    opterr = 0; /* the message below is enough */
    while ((c = getopt_long(argc, argv, "th", options, NULL)) != -1) {
        switch (c) {
        case OPT_DEV:
            setup->dev_dir = optarg;
            break;
        case OPT_LISTEN:
            setup->listen = optarg;
            break;
        case OPT_CONFIG:
            setup->config_file = optarg;
            break;
        case 't':
            *is_check = true;
            break;
        case 'h':
        case OPT_HELP:
            (void)fputs(usage_text, stdout);
            return 0;
        case OPT_VERSION:
            (void)puts("keyvaultd " KV_VERSION);
            return 0;
        default:
            return usage_error("unknown or incomplete option");
        }
    }
    if (optind < argc)
        return usage_error("arguments are not expected");
    if (setup->listen != NULL && !kv_config_listen_is_valid(setup->listen))
        return usage_error("--listen wants HOST:PORT with a port of 0 to 65535");
    return -1;
}

static int check_config(const struct kv_setup *setup)
{
    char path[PATH_MAX];
    const char *file = setup->config_file != NULL ? setup->config_file : KV_PATH_CONFIG;
    struct kv_err err = KV_ERR_INIT;
    struct kv_config config;
    if (setup->config_file == NULL && setup->dev_dir != NULL &&
        kv_path_join(path, setup->dev_dir, "keyvault.conf", &err) == 0)
        file = path;
    if (err.code != 0 || kv_config_load(file, &config, &err) != 0) {
        print_error(&err);
        return 1;
    }
    (void)printf("keyvaultd: %s: the configuration is good\n", file);
    return 0;
}

static enum kv_log_format format_of(const struct kv_config *config)
{
    if (strcmp(config->log_format, "text") == 0)
        return KV_LOG_TEXT;
    if (strcmp(config->log_format, "json") == 0)
        return KV_LOG_JSON;
    if (strcmp(config->log_format, "journald") == 0)
        return KV_LOG_JOURNALD;
    return kv_log_format_auto(STDERR_FILENO);
}

static int run(struct kv_setup *setup)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_supervisor *supervisor = &setup->supervisor;
    *supervisor = (struct kv_supervisor){
        .clock = kv_clock_system(),
        .on_ready = setup->dev_dir != NULL ? kv_dev_on_ready : kv_real_on_ready,
        .arg = setup,
        .signal_fd = -1,
    };
    int rc = 0;
    KV_TRY(setup->dev_dir != NULL ? kv_dev_open(setup, &err)
                                  : kv_real_open(setup, &err));
    KV_TRY(kv_log_open(&supervisor->log, format_of(&setup->config),
                       setup->config.log_level, STDERR_FILENO, "keyvaultd",
                       supervisor->clock));
    KV_TRY(kv_supervise_open(supervisor, &err));
    KV_TRY(kv_supervise_run(supervisor, &err));
out:
    if (rc != 0) {
        (void)kv_err_set(&err, rc, "supervisor.failed", "%s", kv_code_text(rc));
        print_error(&err);
    }
    kv_supervise_close(supervisor);
    kv_log_close(supervisor->log);
    if (setup->lock_fd >= 0)
        (void)close(setup->lock_fd);
    return rc == 0 ? 0 : 1;
}

/* Descriptors 0 to 2 exist, so that no socket or file of ours becomes one of them. */
static bool fill_standard_descriptors(void)
{
    int fd = 0;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd < 3);
    if (fd >= 3)
        (void)close(fd);
    return fd >= 0;
}

int main(int argc, char **argv)
{
    static struct kv_setup setup = {.lock_fd = -1};
    bool is_check = false;
    if (!fill_standard_descriptors())
        return 1;
    int status = read_options(argc, argv, &setup, &is_check);
    if (status >= 0)
        return status;
    return is_check ? check_config(&setup) : run(&setup);
}
