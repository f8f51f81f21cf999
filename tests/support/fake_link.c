/*
 * The link to the keyring without a connection: see fake_link.h.
 */
#include "tests/support/fake_link.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

void (*fake_link_own)(bool is_own);

static void own(bool is_own)
{
    if (fake_link_own != NULL)
        fake_link_own(is_own);
}

struct fake_call {
    struct fake_call *next;
    uint16_t verb;
    int rc; /* why it fails; 0: it is served */
    struct kv_buf payload;
    kv_keyring_cb cb;
    void *arg;
};

static int serve(struct kv_keyring *link, const struct fake_call *call,
                 struct kv_buf *reply, struct kv_err *err)
{
    if (call->rc != 0)
        return kv_err_set(err, call->rc,
                          link->fail_id != NULL ? link->fail_id : "keyring.injected",
                          "a test wants this (%s)", kv_code_text(call->rc));
    if (link->is_sealed)
        return kv_err_set(err, KV_E_SEALED, "keyring.sealed", "the vault is sealed");
    if (link->is_unreachable)
        return kv_err_set(err, KV_E_UNAVAILABLE, "keyring.unreachable",
                          "the keyring cannot be reached at present");
    return kv_room_serve(link->room, call->verb, &call->payload, reply, err);
}

/* The reply alone on the heap, so that a sanitizer guards its end. */
static struct kv_bytes copy_of(const struct kv_buf *reply, bool is_spoilt)
{
    size_t len = is_spoilt ? reply->len / 2 : reply->len;
    uint8_t *copy = malloc(len > 0 ? len : 1);
    cr_assert_not_null(copy);
    if (len > 0)
        memcpy(copy, reply->data, len);
    return (struct kv_bytes){copy, len};
}

static void answer_first(struct kv_keyring *link)
{
    struct fake_call *call = link->first;
    struct kv_bytes payload = {NULL, 0};
    struct kv_buf reply;
    struct kv_err err = KV_ERR_INIT;
    own(true);
    link->first = call->next;
    kv_buf_init_secret(&reply, KV_FRAME_MAX_ROLE);
    int rc = serve(link, call, &reply, &err);
    if (rc == 0)
        payload = copy_of(&reply, link->spoil_verb == call->verb);
    else
        kv_err_set(&err, rc, "keyring.failed", "the keyring failed");
    kv_buf_free(&reply);
    own(false);
    call->cb(call->arg, rc, payload, rc != 0 ? &err : NULL);
    free((void *)payload.data);
    kv_buf_free(&call->payload);
    free(call);
}

static void on_idle(uv_idle_t *idle)
{
    struct kv_keyring *link = idle->data;
    if (link->first != NULL && !link->is_held)
        answer_first(link);
    if (link->first == NULL || link->is_held)
        (void)uv_idle_stop(idle);
}

static void add_call(struct kv_keyring *link, const struct fake_call *values,
                     const struct kv_buf *payload)
{
    struct fake_call *call = malloc(sizeof(*call));
    cr_assert_not_null(call);
    *call = *values;
    kv_buf_init_secret(&call->payload, KV_FRAME_MAX_ROLE);
    cr_assert_eq(kv_buf_append(&call->payload, payload->data, payload->len), 0);
    if (link->first == NULL)
        link->first = call;
    else
        link->last->next = call;
    link->last = call;
}

int kv_keyring_call(struct kv_keyring *link, uint16_t verb,
                    const struct kv_buf *payload, kv_keyring_cb cb, void *arg)
{
    if (kv_buf_status(payload) != 0)
        return kv_buf_status(payload);
    link->n_calls++;
    bool must_fail = link->fail_in > 0 && --link->fail_in == 0;
    if (link->fail_verb != 0 && link->fail_verb == verb) {
        link->fail_verb = 0;
        must_fail = true;
    }
    if (verb == KV_ROLE_BEAT)
        link->n_beats++;
    if (must_fail && link->fails_at_once)
        return link->fail_rc;
    own(true);
    add_call(link,
             &(struct fake_call){
                 .verb = verb,
                 .rc = must_fail ? link->fail_rc : 0,
                 .cb = cb,
                 .arg = arg,
             },
             payload);
    own(false);
    (void)uv_idle_start(&link->idle, on_idle); /* fails only without a callback */
    return 0;
}

bool kv_keyring_is_connected(const struct kv_keyring *link)
{
    return !link->is_unreachable && !link->is_sealed;
}

bool kv_keyring_is_sealed(const struct kv_keyring *link)
{
    return link->is_sealed;
}

int kv_keyring_add_vault_key(struct kv_keyring *link,
                             const struct kv_role_vault_key *key)
{
    return kv_ring_vault_key_open(link->room->ring, key, NULL);
}

void kv_keyring_remove_vault_keys(struct kv_keyring *link,
                                  const uint8_t vault[KV_ID_LEN])
{
    (void)vault;
    link->n_removed++;
}

bool kv_keyring_has_vault_key(const struct kv_keyring *link,
                              const uint8_t vault[KV_ID_LEN])
{
    (void)link;
    (void)vault;
    return true; /* no backup is proved over this link */
}

void kv_keyring_answer(struct kv_keyring *link, uint32_t id, uint16_t verb, int rc,
                       const struct kv_buf *payload, const struct kv_err *err)
{
    (void)id;
    (void)verb;
    own(true);
    link->n_answers++;
    link->answer_rc = rc;
    link->answer_err = err != NULL ? *err : KV_ERR_INIT;
    kv_buf_reset(&link->answer);
    if (rc == 0)
        cr_assert_eq(kv_buf_append(&link->answer, payload->data, payload->len), 0);
    own(false);
}

void fake_link_open(struct kv_keyring *link, uv_loop_t *loop, struct kv_room *room)
{
    static const uint8_t system[KV_ID_LEN];
    struct kv_buf wrapped;
    memset(link, 0, sizeof(*link));
    link->room = room;
    kv_buf_init_secret(&link->answer, KV_FRAME_MAX_ROLE);
    cr_assert_eq(uv_idle_init(loop, &link->idle), 0);
    link->idle.data = link;
    kv_buf_init(&wrapped, 256);
    cr_assert_eq(
        kv_ring_vault_key_new(room->ring, system, KV_ROOM_TERM, &wrapped, NULL), 0);
    kv_buf_free(&wrapped);
}

void fake_link_close(struct kv_keyring *link)
{
    cr_assert_null(link->first, "a call was never answered");
    kv_buf_free(&link->answer);
    uv_close((uv_handle_t *)&link->idle, NULL);
}

void fake_link_release(struct kv_keyring *link)
{
    link->is_held = false;
    (void)uv_idle_start(&link->idle, on_idle); /* fails only without a callback */
}

void fake_link_fail(struct kv_keyring *link, unsigned n, int rc)
{
    link->n_calls = 0;
    link->fail_in = n;
    link->fail_rc = rc;
}
