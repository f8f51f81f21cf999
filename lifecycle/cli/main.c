/*
 * keyvault(1). Reads the command line, runs one command, turns its failure into text
 * on standard error and an exit code.
 *
 * libcrypto is told not to read a configuration: in a shell where OPENSSL_CONF
 * activates the keyvault provider this program must not become its own client. Its
 * allocators, and jansson's, wipe what they free, because keys and secrets pass.
 */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/http.h"
#include "store/core/secret.h"

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_NOT_FOUND = 3,
    EXIT_DENIED = 4,
    EXIT_UNREACHABLE = 5,
};

static enum exit_code exit_code_of(int rc, const struct kv_err *err)
{
    if (rc == 0)
        return EXIT_DONE;
    if (strcmp(err->id, "cli.usage") == 0 || strcmp(err->id, "cli.bad-flag") == 0)
        return EXIT_USAGE;
    switch (rc) {
    case KV_E_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case KV_E_DENIED:
        return EXIT_DENIED;
    case KV_E_SEALED:
    case KV_E_UNAVAILABLE:
    case KV_E_TIMEOUT:
        return EXIT_UNREACHABLE;
    default:
        return EXIT_FAILED;
    }
}

/* What a server said must not drive the terminal. */
static void disarm(char *text)
{
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
}

static void print_error(struct kv_err *err)
{
    disarm(err->id);
    disarm(err->message);
    disarm(err->hint);
    (void)fflush(stdout);
    (void)fprintf(stderr, "keyvault: %s: %s\n", err->id, err->message);
    if (err->hint[0] != '\0')
        (void)fprintf(stderr, "hint: %s\n", err->hint);
}

static int run(struct kv_cli *cli, int argc, char **argv, struct kv_err *err)
{
    struct kv_invocation *invocation = &cli->invocation;
    int rc = kv_command_parse(argc, argv, invocation, err);
    if (rc != 0)
        return rc;
    if (invocation->wants_version)
        (void)puts("keyvault " KV_VERSION);
    else if (invocation->wants_help)
        kv_command_help(invocation, stdout);
    else
        rc = invocation->command->run(cli, err);
    return rc != 0 ? rc : kv_cli_flush(err);
}

int main(int argc, char **argv)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_cli cli = {0};
    (void)setlocale(LC_CTYPE, "");
    (void)signal(SIGPIPE, SIG_IGN);
    json_set_alloc_funcs(kv_wiping_malloc, kv_wiping_free);
    if (kv_wiping_install() != 0) {
        (void)fputs("keyvault: cli.failed: libcrypto cannot be set up\n", stderr);
        return EXIT_FAILED;
    }
    int rc = run(&cli, argc, argv, &err);
    if (rc != 0) {
        (void)kv_err_set(&err, rc, "cli.failed", "%s", kv_code_text(rc));
        print_error(&err);
    }
    kv_client_close(cli.client);
    return (int)exit_code_of(rc, &err);
}
