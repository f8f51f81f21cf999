/*
 * keyvault init: the first administrator, by a ticket that works once.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/io.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/rest.h"
#include "store/core/clock.h"

#define TICKET_PATH "/keyvault/v1/ticket"

static int redeem(struct kv_cli *cli, const char *file, struct kv_err *err)
{
    struct kv_buf text;
    json_t *body = NULL;
    json_t *reply = NULL;
    int rc = 0;
    kv_buf_init_secret(&text, 256);
    KV_TRY(kv_io_read_line(file, &text, err));
    const char *ticket = kv_buf_cstr(&text);
    body = json_pack("{s:s,s:s*}", "ticket", ticket != NULL ? ticket : "", "principal",
                     kv_cli_flag(cli, "principal"));
    if (body == NULL) {
        rc = kv_cli_bad(err, "the ticket is no UTF-8 text");
        goto out;
    }
    KV_TRY(kv_rest_call(cli, "POST", TICKET_PATH "/redeem", body, &reply, err));
    if (cli->invocation.as_json)
        rc = kv_cli_print_json(reply, err);
    else
        (void)printf("administrator of the installation: %s\n",
                     kv_json_text(reply, "principal"));
out:
    json_decref(body);
    json_decref(reply);
    kv_buf_free(&text);
    return rc;
}

static int print_ticket(struct kv_cli *cli, const json_t *reply, struct kv_err *err)
{
    char until[KV_TIME_TEXT_MAX];
    if (cli->invocation.as_json)
        return kv_cli_print_json(reply, err);
    kv_time_format(json_integer_value(json_object_get(reply, "expires")), until);
    kv_object_print_field("ticket", kv_json_text(reply, "ticket"));
    kv_object_print_field("valid until", until);
    (void)puts("The first administrator redeems it once:\n"
               "  keyvault init --ticket FILE|- [--principal PRINCIPAL]");
    return 0;
}

int kv_init_run(struct kv_cli *cli, struct kv_err *err)
{
    struct kv_err local = KV_ERR_INIT;
    json_t *reply = NULL;
    const char *file = kv_cli_flag(cli, "ticket");
    if (file != NULL)
        return redeem(cli, file, err);
    if (kv_cli_flag(cli, "principal") != NULL)
        return kv_cli_bad(err, "--principal needs --ticket");
    int rc = kv_rest_call(cli, "POST", TICKET_PATH, NULL, &reply, &local);
    if (rc == 0) {
        rc = print_ticket(cli, reply, err);
    } else if (strcmp(local.id, "init.done") == 0) {
        rc = 0; /* running it again changes nothing */
        if (!cli->invocation.as_json)
            (void)puts("initialised: there is an administrator");
    } else {
        *err = local;
    }
    json_decref(reply);
    return rc;
}
