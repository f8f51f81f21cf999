/*
 * The first administrator's ticket: works once, for a quarter of an hour, while there
 * is no administrator.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/service/assignments.h"
#include "store/db/memory.h"
#include "tests/support/desk.h"

static struct desk desk;

static void setup(void)
{
    desk_init(&desk);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(api_ticket, .timeout = 60, .init = setup, .fini = teardown);

#define PATH "/keyvault/v1/ticket"

/* A ticket, made by who runs the machine; from then on the tests' user is nobody. */
static void get_ticket(char out[64])
{
    desk.service.admin_uid = geteuid();
    json_t *json = desk_must(&desk, 200, "POST", PATH, NULL);
    (void)snprintf(out, 64, "%s", json_string_value(json_object_get(json, "ticket")));
    json_decref(json);
    desk.service.admin_uid = (uid_t)-1;
}

static const char *body_of(const char *ticket, const char *principal)
{
    static char body[256];
    (void)snprintf(body, sizeof(body), "{\"ticket\":\"%s\",\"principal\":\"%s\"}",
                   ticket, principal);
    return body;
}

static size_t n_assignments(void)
{
    size_t n = 0;
    (void)kv_assignments_all(desk.service.assignments, &n);
    return n;
}

Test(api_ticket, it_makes_one_administrator_and_works_once)
{
    char ticket[64];
    get_ticket(ticket);
    desk_fails(&desk, 403, "api.forbidden", "POST", PATH, NULL);
    json_t *json =
        desk_must(&desk, 200, "POST", PATH "/redeem", body_of(ticket, "unix:alice"));
    cr_assert_str_eq(json_string_value(json_object_get(json, "principal")),
                     "unix:alice");
    cr_assert_str_eq(json_string_value(json_object_get(json, "role")), "administrator");
    cr_assert_str_eq(json_string_value(json_object_get(json, "scope")), "/");
    json_decref(json);
    cr_assert_eq(n_assignments(), 1);
    desk_fails(&desk, 409, "init.done", "POST", PATH "/redeem",
               body_of(ticket, "unix:bob"));
    desk.service.admin_uid = geteuid();
    desk_fails(&desk, 409, "init.done", "POST", PATH, NULL);
}

Test(api_ticket, wrong_late_and_replaced_ones_are_refused)
{
    char first[64];
    char second[64];
    get_ticket(first);
    get_ticket(second);
    static const char *const wrong[] = {"", "x",
                                        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"};
    for (size_t i = 0; i < 3; i++) {
        desk_fails(&desk, 403, "init.bad-ticket", "POST", PATH "/redeem",
                   body_of(wrong[i], "unix:a"));
        desk_fails(&desk, 429, "init.wait", "POST", PATH "/redeem",
                   body_of(second, "unix:a"));
        kv_clock_manual_advance(&desk.room.clock, 2);
    }
    desk_fails(&desk, 403, "init.bad-ticket", "POST", PATH "/redeem",
               body_of(first, "unix:a"));
    kv_clock_manual_advance(&desk.room.clock, 900);
    desk_fails(&desk, 403, "init.bad-ticket", "POST", PATH "/redeem",
               body_of(second, "unix:a"));
    desk_fails(&desk, 400, "api.missing-field", "POST", PATH "/redeem", "{}");
    desk_fails(&desk, 400, "access.bad-principal", "POST", PATH "/redeem",
               body_of(second, "alice"));
    cr_assert_eq(n_assignments(), 0);
}

Test(api_ticket, without_one_there_is_nothing_to_redeem)
{
    desk.service.admin_uid = (uid_t)-1;
    desk_fails(&desk, 403, "init.bad-ticket", "POST", PATH "/redeem",
               body_of("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "unix:a"));
}

Test(api_ticket, of_two_at_once_one_is_first)
{
    char ticket[64];
    int clients[4];
    int n_done = 0;
    get_ticket(ticket);
    desk.link.is_held = true;
    for (int i = 0; i < 4; i++) {
        char principal[16];
        (void)snprintf(principal, sizeof(principal), "unix:u%d", i);
        clients[i] = desk_connect(&desk);
        desk_send(&desk, clients[i], "POST", PATH "/redeem",
                  body_of(ticket, principal));
    }
    desk_settle(&desk);
    fake_link_release(&desk.link);
    for (int i = 0; i < 4; i++) {
        struct desk_reply reply;
        int status = desk_read(&desk, clients[i], &reply);
        cr_assert(status == 200 || status == 409 || status == 403, "%d", status);
        n_done += status == 200;
        desk_reply_free(&reply);
        (void)close(clients[i]);
    }
    cr_assert_eq(n_done, 1);
    cr_assert_eq(n_assignments(), 1);
}

Test(api_ticket, what_was_not_stored_can_be_tried_again)
{
    char ticket[64];
    get_ticket(ticket);
    kv_memory_fail_apply(desk.service.store, 1, KV_E_IO, false);
    cr_assert_eq(
        desk_call(&desk, "POST", PATH "/redeem", body_of(ticket, "unix:a"), NULL), 500);
    cr_assert_eq(n_assignments(), 0);
    json_decref(
        desk_must(&desk, 200, "POST", PATH "/redeem", body_of(ticket, "unix:a")));
}
