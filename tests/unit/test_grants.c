/*
 * The keyring's questions: who may use which key, and what a peer without a role can
 * learn (nothing).
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle/auth/policies.h"
#include "lifecycle/service/assignments.h"
#include "lifecycle/service/grants.h"
#include "store/core/str.h"
#include "tests/support/desk.h"

static struct desk desk;

#define PEER ((uid_t)3999999999U) /* "unix:#3999999999" */

static void setup(void)
{
    desk_init(&desk);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/k/create", "{\"kty\":\"EC\"}", NULL),
                 200);
}

static void teardown(void)
{
    desk_fini(&desk);
}

TestSuite(grants, .timeout = 60, .init = setup, .fini = teardown);

static void give(const char *role, const char *scope)
{
    struct kv_assignment assignment = {.id = "1"};
    (void)snprintf(assignment.principal, sizeof(assignment.principal), "unix:#%u",
                   (unsigned)PEER);
    (void)snprintf(assignment.role, sizeof(assignment.role), "%s", role);
    (void)snprintf(assignment.scope, sizeof(assignment.scope), "%s", scope);
    cr_assert_eq(kv_assignments_add(desk.service.assignments, &assignment, NULL), 0);
}

static void take_away(void)
{
    kv_assignments_remove(desk.service.assignments, "1");
}

/* Ask and wait; the answer's code. */
static int ask(uint16_t verb, const struct kv_role_grant *grant)
{
    struct kv_buf payload;
    unsigned before = desk.link.n_answers;
    kv_buf_init(&payload, KV_FRAME_MAX);
    kv_role_grant_put(&payload, grant);
    kv_grants_question(&desk.service, 1, verb,
                       (struct kv_bytes){payload.data, payload.len});
    kv_buf_free(&payload);
    desk_wait(&desk, &desk.link.n_answers, before + 1);
    desk_settle(&desk);
    cr_assert_eq(desk.link.n_answers, before + 1, "exactly one answer");
    return desk.link.answer_rc;
}

static struct kv_role_grant about(const char *uri, uint32_t ops)
{
    struct kv_role_grant grant = {.uid = PEER, .ops = ops};
    (void)snprintf(grant.uri, sizeof(grant.uri), "%s", uri);
    return grant;
}

static int ask_uri(const char *uri, uint32_t ops)
{
    const struct kv_role_grant grant = about(uri, ops);
    return ask(KV_ROLE_GRANT, &grant);
}

static struct kv_role_granted granted(void)
{
    struct kv_role_granted out;
    cr_assert_eq(
        kv_role_granted_get(
            (struct kv_bytes){desk.link.answer.data, desk.link.answer.len}, &out),
        0);
    return out;
}

#define ZEROS "00000000000000000000000000000000"
#define ONES "11111111111111111111111111111111"

Test(grants, without_a_role_every_name_is_denied_alike)
{
    static const char *const uris[] = {"keyvault:keys/k", "keyvault:keys/absent",
                                       "keyvault:k", "keyvault:keys/k/" ZEROS,
                                       "keyvault:keys/k/" ONES};
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        cr_assert_eq(ask_uri(uris[i], 0), KV_E_DENIED, "%s", uris[i]);
        cr_assert_str_eq(desk.link.answer_err.id, "grant.denied");
        cr_assert_not_null(
            strstr(desk.link.answer_err.hint, "keyvault access grant unix:#"));
        const struct kv_role_grant cert = about(uris[i], 0);
        cr_assert_eq(ask(KV_ROLE_CERT, &cert), KV_E_DENIED, "%s", uris[i]);
    }
}

Test(grants, a_role_gives_what_it_may_and_no_more)
{
    give("tls-server", "/default/keys/k");
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), 0);
    struct kv_role_granted first = granted();
    cr_assert_eq(first.ops, (uint32_t)KV_OP_SIGN | KV_OP_TLS_UNPAD);
    cr_assert_eq(first.lease_ms, KV_LEASE_MS);
    cr_assert_eq(first.epoch, desk.vault->epoch);
    cr_assert_str_eq(first.ident.name, "k");
    cr_assert_gt(first.row.len, 0);
    cr_assert(kv_str_has_prefix(first.uri, "keyvault://default/keys/k/"), "%s",
              first.uri);
    cr_assert_eq(ask_uri("keyvault:keys/k", KV_OP_SIGN), 0);
    cr_assert_eq(ask_uri("keyvault:keys/k", KV_OP_DECRYPT), KV_E_DENIED);
    cr_assert_eq(ask_uri("keyvault:keys/other", 0), KV_E_DENIED);
    take_away();
    give("reader", "/");
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), KV_E_DENIED, "reading is no use");
    struct kv_role_grant info = about("keyvault:keys/k", 0);
    info.is_info = 1;
    cr_assert_eq(ask(KV_ROLE_GRANT, &info), 0);
    cr_assert_eq(granted().ops, 0);
}

/* The vault goes by these permissions of the peer. */
static void go_by_policy(const char *permission)
{
    struct kv_principal peer = {.kind = KV_PRINCIPAL_UNIX};
    (void)snprintf(peer.id, sizeof(peer.id), "unix:#%u", (unsigned)PEER);
    cr_assert_eq(kv_principal_set_oid(&peer, desk.service.installation), 0);
    json_t *array = json_pack("[{s:s,s:s,s:{s:[s]}}]", "tenantId", desk.service.tenant,
                              "objectId", peer.oid, "permissions", "keys", permission);
    kv_access_policies_free(desk.vault->policies);
    cr_assert_eq(kv_access_policies_parse(array, &desk.vault->policies, NULL), 0);
    json_decref(array);
    desk.vault->uses_policies = true;
}

Test(grants, in_a_vault_of_access_policies_they_decide_and_roles_do_not)
{
    give("administrator", "/");
    go_by_policy("get");
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), KV_E_DENIED);
    cr_assert_not_null(
        strstr(desk.link.answer_err.hint, "keyvault access policy set unix:#"), "%s",
        desk.link.answer_err.hint);
    struct kv_role_grant info = about("keyvault:keys/k", 0);
    info.is_info = 1;
    cr_assert_eq(ask(KV_ROLE_GRANT, &info), 0);
    go_by_policy("sign");
    cr_assert_eq(ask_uri("keyvault:keys/k", KV_OP_SIGN), 0);
    cr_assert_eq(granted().ops, (uint32_t)KV_OP_SIGN);
    go_by_policy("decrypt");
    cr_assert_eq(ask_uri("keyvault:keys/k", KV_OP_SIGN), KV_E_DENIED);
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), 0);
    cr_assert_eq(granted().ops, (uint32_t)KV_OP_DECRYPT | KV_OP_TLS_UNPAD,
                 "who may decrypt may end the RSA key exchange of TLS");
    kv_access_policies_free(desk.vault->policies);
    desk.vault->policies = NULL;
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), KV_E_DENIED);
}

Test(grants, root_reads_public_parts_and_signs_with_nothing)
{
    struct kv_role_grant grant = about("keyvault:keys/k", 0);
    grant.uid = 0;
    cr_assert_eq(ask(KV_ROLE_GRANT, &grant), KV_E_DENIED);
    grant.is_info = 1;
    cr_assert_eq(ask(KV_ROLE_GRANT, &grant), 0);
    cr_assert_eq(granted().ops, 0);
}

Test(grants, in_dev_every_local_user_may_use_every_key)
{
    desk.service.is_dev = true;
    cr_assert_eq(ask_uri("keyvault:keys/k", KV_OP_SIGN), 0);
    cr_assert_eq(ask_uri("keyvault:keys/absent", 0), KV_E_NOT_FOUND);
}

Test(grants, by_version_id_the_right_is_that_of_its_name)
{
    give("tls-server", "/default/keys/k");
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), 0);
    struct kv_role_grant grant = {.uid = PEER, .has_version = 1};
    struct kv_role_granted first = granted();
    memcpy(grant.version, first.ident.version, KV_ID_LEN);
    cr_assert_eq(ask(KV_ROLE_GRANT, &grant), 0);
    cr_assert_arr_eq(granted().ident.version, first.ident.version, KV_ID_LEN);
    take_away();
    cr_assert_eq(ask(KV_ROLE_GRANT, &grant), KV_E_DENIED);
    grant.version[0] ^= 1;
    cr_assert_eq(ask(KV_ROLE_GRANT, &grant), KV_E_NOT_FOUND);
}

/* Ask, and let a change happen while the row is being read. */
static void ask_during_a_change(const struct kv_role_grant *grant, void (*change)(void))
{
    struct kv_buf payload;
    unsigned before = desk.link.n_answers;
    kv_buf_init(&payload, KV_FRAME_MAX);
    kv_role_grant_put(&payload, grant);
    desk.link.is_held = true;
    kv_grants_question(&desk.service, 1, KV_ROLE_GRANT,
                       (struct kv_bytes){payload.data, payload.len});
    kv_buf_free(&payload);
    desk_settle(&desk);
    cr_assert_eq(desk.link.n_answers, before, "the row is still being read");
    change();
    kv_service_raise_epoch(&desk.service, desk.vault);
    fake_link_release(&desk.link);
    desk_settle(&desk);
    cr_assert_eq(desk.link.n_answers, before + 1);
}

static void nothing(void)
{
}

Test(grants, a_change_while_the_row_is_read_ends_the_grant)
{
    give("tls-server", "/default/keys/k");
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), 0);
    struct kv_role_granted first = granted();
    struct kv_role_grant by_version = {.uid = PEER, .has_version = 1};
    memcpy(by_version.version, first.ident.version, KV_ID_LEN);
    const struct kv_role_grant by_uri = about("keyvault:keys/k", 0);

    uint64_t before = desk.vault->epoch;
    ask_during_a_change(&by_version, nothing);
    cr_assert_eq(desk.link.answer_rc, 0);
    cr_assert_eq(granted().epoch, before, "the row may be older than the change");
    before = desk.vault->epoch;
    ask_during_a_change(&by_uri, take_away);
    cr_assert_eq(desk.link.answer_rc, 0, "it was right when it was decided");
    cr_assert_eq(granted().epoch, before, "and must not outlive the revocation");
}

Test(grants, zeros_are_no_version)
{
    struct kv_role_grant grant = {.uid = PEER, .has_version = 1};
    give("administrator", "/");
    cr_assert_eq(ask(KV_ROLE_GRANT, &grant), KV_E_NOT_FOUND, "and not some head");
    cr_assert_str_eq(desk.link.answer_err.id, "object.not-found");
    cr_assert_eq(ask_uri("keyvault:keys/k/" ZEROS, 0), KV_E_NOT_FOUND);
    cr_assert_eq(ask_uri("keyvault:keys/k/" ONES, 0), KV_E_NOT_FOUND);
    const struct kv_role_grant cert = about("keyvault:certificates/k/" ZEROS, 0);
    cr_assert_eq(ask(KV_ROLE_CERT, &cert), KV_E_NOT_FOUND);
}

Test(grants, uris_that_name_no_object_are_refused)
{
    static const struct {
        const char *uri;
        int rc;
    } uris[] = {
        {"keyvault:", KV_E_INVALID},
        {"keyvault://default/keys/", KV_E_INVALID},
        {"keyvault:keys/a_b", KV_E_INVALID},
        {"file:k", KV_E_INVALID},
        {"keyvault://other/keys/k", KV_E_NOT_FOUND},
    };
    give("administrator", "/");
    for (size_t i = 0; i < sizeof(uris) / sizeof(uris[0]); i++) {
        const struct kv_role_grant grant = about(uris[i].uri, 0);
        cr_assert_eq(ask(KV_ROLE_GRANT, &grant), uris[i].rc, "%s", uris[i].uri);
        cr_assert_eq(ask(KV_ROLE_CERT, &grant), uris[i].rc, "%s", uris[i].uri);
    }
}

Test(grants, malformed_questions_are_answered_too)
{
    static const uint16_t verbs[] = {KV_ROLE_GRANT, KV_ROLE_CERT, KV_ROLE_LIST, 9999};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        unsigned before = desk.link.n_answers;
        kv_grants_question(&desk.service, 1, verbs[i], (struct kv_bytes){NULL, 0});
        desk_wait(&desk, &desk.link.n_answers, before + 1);
        cr_assert_eq(desk.link.n_answers, before + 1);
        cr_assert_eq(desk.link.answer_rc,
                     verbs[i] == 9999 ? KV_E_UNSUPPORTED : KV_E_INVALID);
    }
}

Test(grants, before_it_is_ready_the_service_says_so)
{
    give("administrator", "/");
    desk.service.is_ready = false;
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), KV_E_UNAVAILABLE);
    cr_assert_str_eq(desk.link.answer_err.id, "service.starting");
    desk.service.is_ready = true;
    desk.service.is_stopping = true;
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), KV_E_UNAVAILABLE);
}

/* --- lists -------------------------------------------------------------------------
 */

static size_t ask_list(uid_t uid, const char *vault, struct kv_msg_list_reply *reply)
{
    unsigned before = desk.link.n_answers;
    struct kv_role_list msg = {.uid = uid, .list = {.collection = KV_URI_KEYS}};
    struct kv_buf payload;
    (void)snprintf(msg.list.vault, sizeof(msg.list.vault), "%s", vault);
    kv_buf_init(&payload, KV_FRAME_MAX);
    kv_role_list_put(&payload, &msg);
    kv_grants_question(&desk.service, 1, KV_ROLE_LIST,
                       (struct kv_bytes){payload.data, payload.len});
    kv_buf_free(&payload);
    desk_wait(&desk, &desk.link.n_answers, before + 1);
    if (desk.link.answer_rc != 0)
        return SIZE_MAX;
    cr_assert_eq(
        kv_msg_list_reply_get(
            (struct kv_bytes){desk.link.answer.data, desk.link.answer.len}, reply),
        0);
    return reply->n;
}

Test(grants, a_list_shows_what_the_peer_may_read)
{
    static struct kv_msg_list_reply reply;
    cr_assert_eq(
        desk_call(&desk, "POST", "/keys/rsa/create", "{\"kty\":\"RSA\"}", NULL), 200);
    cr_assert_eq(desk_call(&desk, "POST", "/keys/ed/create", "{\"kty\":\"OKP\"}", NULL),
                 200);
    cr_assert_eq(ask_list(PEER, "", &reply), 0);
    give("reader", "/default/keys/rsa");
    cr_assert_eq(ask_list(PEER, "default", &reply), 1);
    cr_assert_str_eq(reply.entry[0].uri, "keyvault://default/keys/rsa");
    cr_assert_str_eq(reply.entry[0].desc, "RSA 2048 key");
    take_away();
    give("reader", "/default");
    cr_assert_eq(ask_list(PEER, "", &reply), 3);
    cr_assert_str_eq(reply.entry[0].desc, "Ed25519 key");
    cr_assert_str_eq(reply.entry[1].desc, "EC P-256 key");
    cr_assert_eq(ask_list(0, "", &reply), 3, "root reads public parts");
    cr_assert_eq(ask_list(PEER, "absent", &reply), SIZE_MAX);
    cr_assert_eq(desk.link.answer_rc, KV_E_NOT_FOUND);
}

Test(grants, a_list_of_nothing_unseals_nothing)
{
    static struct kv_msg_list_reply reply;
    unsigned before = desk.link.n_calls;
    cr_expect_eq(ask_list(PEER, "", &reply), 0);
    give("secrets-user", "/");
    cr_expect_eq(ask_list(PEER, "", &reply), 0);
    take_away();
    give("reader", "/default/certificates/k");
    cr_expect_eq(ask_list(PEER, "", &reply), 0);
    cr_expect_eq(desk.link.n_calls, before, "the keyring was troubled for nothing");
    take_away();
    give("reader", "/default/keys/k");
    cr_expect_eq(ask_list(PEER, "", &reply), 1);
    cr_expect_gt(desk.link.n_calls, before);
}

/* --- chains ------------------------------------------------------------------------
 */

static struct kv_msg_certs certs;

static int read_chain(const char *text, struct kv_buf *der, struct kv_err *err)
{
    json_t *doc = json_loads(text, 0, NULL);
    cr_assert_not_null(doc, "%s", text);
    kv_buf_reset(der);
    *err = KV_ERR_INIT;
    const int rc = kv_grants_read_chain(doc, der, &certs, err);
    json_decref(doc);
    return rc;
}

Test(grants, a_chain_is_read_leaf_first)
{
    struct kv_buf der;
    struct kv_err err;
    kv_buf_init(&der, 1024);
    cr_assert_eq(read_chain("{\"chain\":[\"bGVhZg==\",\"Y2E=\"]}", &der, &err), 0);
    cr_assert_eq(certs.n, 2);
    cr_expect_eq(certs.der[0].len, 4);
    cr_expect_eq(memcmp(certs.der[0].data, "leaf", 4), 0);
    cr_expect_eq(certs.der[1].len, 2);
    cr_expect_eq(memcmp(certs.der[1].data, "ca", 2), 0);
    kv_buf_free(&der);
}

Test(grants, a_certificate_that_is_not_there_yet_is_pending)
{
    struct kv_buf der;
    struct kv_err err;
    kv_buf_init(&der, 1024);
    cr_expect_eq(read_chain("{\"chain\":[],\"contentType\":\"x\"}", &der, &err),
                 KV_E_STATE);
    cr_expect_str_eq(err.id, "cert.pending");
    kv_buf_free(&der);
}

Test(grants, anything_else_is_a_damaged_row)
{
    static const char eleven[] =
        "{\"chain\":[\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\","
        "\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\",\"YQ==\"]}";
    static const char *const rows[] = {
        "{}",
        "{\"chain\":\"bGVhZg==\"}",
        "{\"chain\":[1]}",
        "{\"chain\":[\"!\"]}",
        "{\"chain\":[\"AQI\"]}",
        "{\"chain\":[\"-_-_\"]}",
        "{\"chain\":[null]}",
        eleven,
    };
    struct kv_buf der;
    struct kv_err err;
    kv_buf_init(&der, 1024);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        cr_expect_eq(read_chain(rows[i], &der, &err), KV_E_INTEGRITY, "%s", rows[i]);
        cr_expect_eq(err.code, 0);
    }
    kv_buf_free(&der);
}

static void delete_key(const char *name)
{
    struct kv_mutation mutation = {.kind = KV_MUTATION_PUT};
    struct kv_row_key key = {.kind = KV_KIND_KEY};
    struct kv_buf sealed;
    kv_buf_init(&sealed, KV_ROW_MAX);
    memcpy(key.vault, desk.vault->id, KV_ID_LEN);
    (void)snprintf(key.name, sizeof(key.name), "%s", name);
    cr_assert_eq(desk_get(&desk, &key, false, &mutation.row, &sealed), 0);
    mutation.expect = mutation.row.row_version++;
    mutation.row.flags |= KV_ROW_DELETED;
    desk_apply(&desk, &mutation, 1);
    kv_buf_free(&sealed);
}

Test(grants, a_deleted_key_is_said_to_be_so_only_to_who_may_use_it)
{
    give("tls-server", "/default/keys/k");
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), 0);
    const struct kv_role_granted before = granted();
    struct kv_role_grant by_version = {.uid = PEER, .has_version = 1};
    memcpy(by_version.version, before.ident.version, KV_ID_LEN);
    cr_assert_eq(ask(KV_ROLE_GRANT, &by_version), 0);
    char pinned[sizeof(before.uri)];
    (void)snprintf(pinned, sizeof(pinned), "%s", before.uri);
    delete_key("k");
    cr_assert_eq(ask(KV_ROLE_GRANT, &by_version), KV_E_NOT_FOUND,
                 "who asks by a version asks by the URI next");
    cr_assert_eq(ask_uri(pinned, 0), KV_E_NOT_FOUND);
    cr_expect_str_eq(desk.link.answer_err.id, "key.deleted");
    cr_expect_str_eq(desk.link.answer_err.message, "the key 'k' was deleted");
    cr_assert_eq(ask_uri("keyvault:keys/k", KV_OP_SIGN), KV_E_NOT_FOUND);
    cr_expect_str_eq(desk.link.answer_err.id, "key.deleted");
    take_away();
    cr_assert_eq(ask_uri("keyvault:keys/k", 0), KV_E_DENIED);
    cr_expect_str_eq(desk.link.answer_err.id, "grant.denied");
}
