/*
 * keyvaultd --dev DIR: a whole vault in one directory, for trying out and for tests.
 *
 * Every role runs on the starting uid; the keyring initialises DIR at its first start
 * and opens it afterwards. Once both roles serve, the facts that clients need (port,
 * token, installation id) are gathered and written as openssl.cnf and env. The chosen
 * port is kept for restarts of the service, so that env stays true.
 */
#include "lifecycle/supervisor/setup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "lifecycle/supervisor/probe.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define DEV_LISTEN "127.0.0.1:8443"
#define DEV_DOMAIN "vault.localhost"
#define LONGEST_SOCKET "/private/keyring.sock"

static int check_dir_text(const char *dir, struct kv_err *err)
{
    for (const char *c = dir; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return kv_err_set(err, KV_E_INVALID, "supervisor.bad-directory",
                              "the name of the directory has a control byte");
    }
    size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path);
    if (strlen(dir) + sizeof(LONGEST_SOCKET) > room) {
        (void)kv_err_set(err, KV_E_TOO_BIG, "supervisor.path-too-long",
                         "%s: a socket address has room for %zu bytes", dir,
                         room - sizeof(LONGEST_SOCKET));
        kv_err_hint(err, "use a directory with a shorter path");
        return KV_E_TOO_BIG;
    }
    return 0;
}

static int open_dir(struct kv_setup *setup, struct kv_err *err)
{
    int rc = 0;
    char *real = NULL;
    if (setup->dev_dir[0] == '\0') {
        rc = kv_err_set(err, KV_E_INVALID, "supervisor.bad-directory",
                        "--dev wants a directory");
        goto out;
    }
    KV_TRY(kv_setup_dir(setup->dev_dir, 0711, err));
    real = realpath(setup->dev_dir, NULL);
    if (real == NULL) {
        rc = kv_err_errno(err, errno, "supervisor.bad-directory", setup->dev_dir);
        goto out;
    }
    KV_TRY(check_dir_text(real, err));
    KV_TRY(kv_str_copy(setup->state_dir, sizeof(setup->state_dir), real));
    KV_TRY(kv_str_copy(setup->run_dir, sizeof(setup->run_dir), real));
    KV_TRY(kv_str_copy(setup->facts.dir, sizeof(setup->facts.dir), real));
out:
    free(real);
    return rc;
}

/* DIR/keyvault.conf counts when it is there and no other file is named. */
static int load_file(struct kv_setup *setup, struct kv_err *err)
{
    char path[PATH_MAX];
    if (setup->config_file != NULL)
        return kv_config_load(setup->config_file, &setup->config, err);
    int rc = kv_path_join(path, setup->state_dir, "keyvault.conf", err);
    if (rc == 0 && access(path, F_OK) == 0)
        rc = kv_config_load(path, &setup->config, err);
    return rc;
}

static int load_config(struct kv_setup *setup, struct kv_err *err)
{
    struct kv_config *config = &setup->config;
    kv_config_init(config);
    int rc = load_file(setup, err);
    if (rc == 0 && config->listen[0] == '\0')
        rc = kv_str_copy(config->listen, sizeof(config->listen), DEV_LISTEN);
    if (rc == 0 && config->domain[0] == '\0')
        rc = kv_str_copy(config->domain, sizeof(config->domain), DEV_DOMAIN);
    return rc;
}

/* A file in DIR as an option's value. */
static void set_file(struct kv_args *args, const char *option, const char *dir,
                     const char *name)
{
    char path[PATH_MAX];
    if (kv_path_join(path, dir, name, NULL) != 0)
        args->failed = true;
    else
        kv_args_set(args, option, path);
}

int kv_dev_open(struct kv_setup *setup, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(open_dir(setup, err));
    KV_TRY(kv_setup_lock(setup, setup->state_dir, err));
    KV_TRY(load_config(setup, err));
    KV_TRY(kv_paths_find(&setup->paths, err));
    setup->keyring_user.uid = geteuid();
    setup->service_user.uid = geteuid();
    /* --dev never refuses to start for want of locked memory: the keyring warns. */
    setup->config.allow_swap = true;
    kv_setup_children(setup);

    struct kv_args *keyring = &setup->supervisor.children[0].args;
    kv_args_add(keyring, "--init");
    set_file(keyring, "--recovery-out", setup->state_dir, "recovery.key");
    struct kv_args *service = &setup->supervisor.children[1].args;
    kv_args_add(service, "--dev");
    kv_args_set(service, "--api-mode", "0600");
    set_file(service, "--token-out", setup->state_dir, "token");
    set_file(service, "--ca-out", setup->state_dir, "ca.pem");
    set_file(service, "--port-out", setup->state_dir, "port");
    setup->facts.server_uid = geteuid();
    setup->facts.program_dir = setup->paths.cli_dir;
    setup->facts.module = setup->paths.module;
out:
    return rc;
}

/* Fix the port for later starts of the service: "HOST:0" becomes "HOST:PORT". */
static void keep_port(struct kv_setup *setup)
{
    const char *listen = setup->listen != NULL ? setup->listen : setup->config.listen;
    const char *colon = strrchr(listen, ':');
    char fixed[KV_LISTEN_MAX + 8];
    (void)snprintf(fixed, sizeof(fixed), "%.*s:%u", (int)(colon - listen), listen,
                   setup->facts.port);
    kv_args_set(&setup->supervisor.children[1].args, "--listen", fixed);
}

static int gather(struct kv_setup *setup, struct kv_err *err)
{
    struct kv_dev_facts *facts = &setup->facts;
    struct kv_probe probe = {.fd = -1};
    char path[PATH_MAX];
    char text[16];
    int64_t port = 0;
    int rc = 0;
    KV_TRY(kv_path_join(path, setup->state_dir, "port", err));
    KV_TRY(kv_file_read_line(path, text, sizeof(text), err));
    if (kv_str_to_i64(text, 1, 65535, &port) != 0) {
        rc = kv_err_set(err, KV_E_INTERNAL, "supervisor.bad-report",
                        "the service reports the port '%s'", text);
        goto out;
    }
    facts->port = (unsigned)port;
    KV_TRY(kv_path_join(path, setup->state_dir, "token", err));
    KV_TRY(kv_file_read_line(path, facts->token, sizeof(facts->token), err));
    KV_TRY(kv_path_join(path, setup->run_dir, "keys.sock", err));
    KV_TRY(kv_probe_open(&probe, path, err));
    memcpy(facts->installation, probe.hello.installation, KV_ID_LEN);
    char hex[2 * KV_ID_LEN + 1];
    kv_hex_encode(hex, facts->installation, KV_ID_LEN);
    (void)snprintf(facts->tenant, sizeof(facts->tenant), "%.8s-%.4s-%.4s-%.4s-%.12s",
                   hex, hex + 8, hex + 12, hex + 16, hex + 20);
out:
    kv_probe_close(&probe);
    return rc;
}

static int write_file(const struct kv_setup *setup, const char *name, mode_t mode,
                      const struct kv_buf *text, struct kv_err *err)
{
    char path[PATH_MAX];
    int rc = kv_path_join(path, setup->state_dir, name, err);
    return rc != 0 ? rc : kv_file_write(path, mode, text->data, text->len, err);
}

static void say_ready(const struct kv_setup *setup)
{
    const char *dir = setup->state_dir;
    (void)fprintf(stderr,
                  "keyvaultd: warning: --dev is for trying out: every local user may "
                  "sign with the keys in %s, and one user runs every role\n",
                  dir);
    if (access(setup->paths.module, R_OK) != 0)
        (void)fprintf(stderr,
                      "keyvaultd: warning: %s is missing: OpenSSL programs will "
                      "not find the keys\n",
                      setup->paths.module);
    (void)printf("keyvaultd: API %s/api.sock and https://default.%s:%u\n"
                 "keyvaultd: recovery key in %s/recovery.key: keep a copy elsewhere\n"
                 "keyvaultd: use it from a shell: . %s/env\n"
                 "keyvaultd: ready\n",
                 dir, setup->config.domain, setup->facts.port, dir, dir);
    (void)fflush(stdout);
}

int kv_dev_on_ready(void *arg, struct kv_err *err)
{
    struct kv_setup *setup = arg;
    struct kv_buf cnf;
    struct kv_buf env;
    kv_buf_init(&cnf, 65536);
    kv_buf_init_secret(&env, 65536);
    int rc = 0;
    KV_TRY(gather(setup, err));
    keep_port(setup);
    KV_TRY(kv_dev_openssl_cnf(&setup->facts, &cnf));
    KV_TRY(kv_dev_env(&setup->facts, &env));
    KV_TRY(write_file(setup, "openssl.cnf", 0644, &cnf, err));
    KV_TRY(write_file(setup, "env", 0600, &env, err));
    say_ready(setup);
out:
    kv_wipe(setup->facts.token, sizeof(setup->facts.token));
    kv_buf_free(&env);
    kv_buf_free(&cnf);
    return rc;
}
