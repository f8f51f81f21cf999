/*
 * What the service answered. It is believed about names, policies and public
 * certificates; about a key only the sealed row counts: the reply to OPEN and INFO is
 * made from the row's own body, and the rights shown are what the rules would allow.
 */
#include <string.h>

#include "store/keyring/rules.h"
#include "store/keyring/serve.h"

void kv_ask_put(struct kv_buf *out, const struct kv_ask *ask)
{
    if (ask->role_verb == KV_ROLE_LIST)
        kv_role_list_put(out, &ask->list);
    else
        kv_role_grant_put(out, &ask->grant);
}

bool kv_ask_equal(const struct kv_ask *a, const struct kv_ask *b)
{
    const struct kv_role_grant *x = &a->grant;
    const struct kv_role_grant *y = &b->grant;
    return a->role_verb == KV_ROLE_GRANT && b->role_verb == KV_ROLE_GRANT &&
           x->uid == y->uid && x->gid == y->gid && x->is_info == y->is_info &&
           x->has_version == y->has_version && x->ops == y->ops &&
           memcmp(x->version, y->version, KV_ID_LEN) == 0 &&
           strcmp(x->uri, y->uri) == 0;
}

static int bad_answer(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INTERNAL, "channel.bad-answer",
                      "the service answered with a malformed payload");
}

/* The version that was asked for: 1, 0 for the newest one, KV_E_INVALID. */
static int asked_version(const struct kv_ask *ask, uint8_t version[KV_ID_LEN])
{
    struct kv_uri uri;
    if (ask->grant.has_version) {
        memcpy(version, ask->grant.version, KV_ID_LEN);
        return 1;
    }
    if (kv_uri_parse(ask->grant.uri, strlen(ask->grant.uri), &uri, NULL) != 0)
        return KV_E_INVALID;
    memcpy(version, uri.version, KV_ID_LEN);
    return uri.has_version ? 1 : 0;
}

/* Whether the refused right is one that the peer had. */
static bool is_revocation(struct kv_ring *ring, const struct kv_ask *ask,
                          const struct kv_msg_error *msg)
{
    uint8_t version[KV_ID_LEN];
    return ask->role_verb == KV_ROLE_GRANT && !ask->grant.is_info &&
           strcmp(msg->id, "grant.denied") == 0 && asked_version(ask, version) == 1 &&
           kv_ring_had_grant(ring, ask->grant.uid, version);
}

/* The service's refusal in its own words. */
static int take_refusal(struct kv_ring *ring, const struct kv_ask *ask,
                        const struct kv_frame *answer, struct kv_err *err)
{
    struct kv_msg_error msg;
    if (kv_msg_error_get(answer->payload, &msg) != 0 || msg.id[0] == '\0')
        return kv_err_set(err, answer->status, "grant.refused",
                          "the service refused without a reason");
    if (is_revocation(ring, ask, &msg))
        (void)kv_err_set(err, answer->status, "grant.revoked", "%s any more",
                         msg.message);
    else
        (void)kv_err_set(err, answer->status, msg.id, "%s", msg.message);
    if (msg.hint[0] != '\0')
        kv_err_hint(err, "%s", msg.hint);
    return answer->status;
}

static int wrong_key(struct kv_err *err)
{
    return kv_err_set(err, KV_E_INTEGRITY, "grant.wrong-key",
                      "the service answered with another key than was asked for");
}

/* Whether the granted version is the one asked for, where one was. */
static bool is_asked_version(const struct kv_ask *ask, const struct kv_ident *ident)
{
    uint8_t version[KV_ID_LEN];
    const int rc = asked_version(ask, version);
    return rc == 0 || (rc == 1 && memcmp(version, ident->version, KV_ID_LEN) == 0);
}

static int put_key(struct kv_ring *ring, const struct kv_role_granted *granted,
                   const struct kv_live *live, struct kv_buf *out)
{
    static const struct kv_msg_key empty;
    struct kv_msg_key msg = empty;
    memcpy(msg.version, live->ident.version, KV_ID_LEN);
    msg.kty = kv_key_kty(live->key);
    msg.curve = kv_key_curve(live->key);
    msg.bits = kv_key_bits(live->key);
    msg.ops = kv_rules_ops_now(&live->attrs, granted->ops, kv_ring_now_s(ring));
    msg.spki = kv_key_spki(live->key);
    memcpy(msg.uri, granted->uri, sizeof(msg.uri));
    kv_msg_key_put(out, &msg);
    return kv_buf_status(out);
}

/* OPEN promises what can be used now: say why when nothing can, or not all that was
 * wanted. */
static int check_open(struct kv_ring *ring, const struct kv_ask *ask,
                      const struct kv_role_granted *granted, const struct kv_live *live,
                      struct kv_err *err)
{
    const int64_t now_s = kv_ring_now_s(ring);
    const uint32_t ops = kv_rules_ops_now(&live->attrs, granted->ops, now_s);
    const uint32_t missing = ask->grant.ops & ~ops;
    if (missing == 0 && ops != 0)
        return 0;
    const uint32_t first = missing != 0 ? missing & (0u - missing) : KV_OP_SIGN;
    const int rc = kv_rules_check(live, granted->ops, first, now_s, err);
    if (rc != 0)
        return rc;
    return kv_err_set(err, KV_E_DENIED, "grant.denied",
                      "the caller's roles for key %s allow nothing", live->ident.name);
}

/* The public part, no right. */
static int answer_info(struct kv_ring *ring, const struct kv_role_granted *granted,
                       struct kv_buf *out, struct kv_err *err)
{
    struct kv_live live = {.key = NULL};
    int rc = kv_ring_load(ring, &granted->ident, granted->row, &live, err);
    if (rc == 0)
        rc = put_key(ring, granted, &live, out);
    kv_live_release(&live);
    return rc;
}

static int answer_grant(struct kv_ring *ring, uint16_t verb, const struct kv_ask *ask,
                        const struct kv_frame *answer, struct kv_buf *out,
                        struct kv_err *err)
{
    int rc = 0;
    struct kv_role_granted granted;
    struct kv_live live = {.key = NULL};
    if (kv_role_granted_get(answer->payload, &granted) != 0)
        return bad_answer(err);
    if (!is_asked_version(ask, &granted.ident))
        return wrong_key(err);
    if (ask->grant.is_info)
        return answer_info(ring, &granted, out, err);
    KV_TRY(kv_ring_grant(ring, ask->grant.uid, &granted, &live, err));
    rc = KV_SERVE_AGAIN;
    if (verb == KV_VERB_OPEN)
        rc = check_open(ring, ask, &granted, &live, err);
    if (rc == 0)
        rc = put_key(ring, &granted, &live, out);
out:
    kv_live_release(&live);
    return rc;
}

/* Certificates and names pass through once their form is checked. */
static int answer_relay(const struct kv_ask *ask, const struct kv_frame *answer,
                        struct kv_buf *out, struct kv_err *err)
{
    bool is_good = false;
    if (ask->role_verb == KV_ROLE_CERT) {
        struct kv_msg_certs certs;
        is_good = kv_msg_certs_get(answer->payload, &certs) == 0;
    } else {
        struct kv_msg_list_reply list;
        is_good = kv_msg_list_reply_get(answer->payload, &list) == 0;
    }
    if (!is_good)
        return bad_answer(err);
    if (answer->payload.len > KV_FRAME_MAX - KV_FRAME_HEADER_LEN)
        return kv_err_set(err, KV_E_TOO_BIG, "channel.reply-too-big",
                          "the certificate chain does not fit into one frame");
    kv_wire_put_raw(out, answer->payload.data, answer->payload.len);
    return kv_buf_status(out);
}

int kv_serve_answer(struct kv_ring *ring, uint16_t verb, const struct kv_ask *ask,
                    const struct kv_frame *answer, struct kv_buf *out,
                    struct kv_err *err)
{
    if (answer->status != 0)
        return take_refusal(ring, ask, answer, err);
    if (ask->role_verb == KV_ROLE_GRANT)
        return answer_grant(ring, verb, ask, answer, out, err);
    return answer_relay(ask, answer, out, err);
}
