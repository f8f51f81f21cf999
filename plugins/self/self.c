/*
 * The issuer `Self` as a state machine of two steps:
 *
 *   (empty) --SIGN {"role":"self","tbs"}--> "signing" --ISSUED {"chain"}--> done
 *
 * The body is built again from the saved life and serial when the first effect is
 * repeated after a crash, so both runs ask for the very same signature.
 */
#include "plugins/self/self.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/self/tbs.h"
#include "store/core/b64.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define KV_SELF_CERT_MAX 16384 /* bytes of DER */

/* What a state says. */
struct order {
    bool is_begun;
    struct kv_self_life life;
    uint8_t serial[16];
};

struct answer {
    struct kv_buf state;
    struct kv_buf effect;
    struct keyvault_bytes effect_bytes;
};

static int append(const char *text, size_t len, void *buf)
{
    return kv_buf_append(buf, text, len);
}

/* json_dumps overlooks a failed allocation at a member's name and returns what is no
 * JSON; a buffer remembers it. */
static int dump(const json_t *json, struct kv_buf *out)
{
    kv_buf_init(out, KEYVAULT_STATE_MAX);
    return json != NULL && json_dump_callback(json, append, out, JSON_COMPACT) == 0
               ? kv_buf_status(out)
               : KV_E_NOMEM;
}

static struct keyvault_bytes bytes_of(const struct kv_buf *buf)
{
    return (struct keyvault_bytes){(const char *)buf->data, buf->len};
}

static void answer_free(struct answer *a)
{
    kv_buf_free(&a->state);
    kv_buf_free(&a->effect);
    free(a);
}

/* Takes `state` and `effect`, which may be NULL: out of memory. */
static int answer(struct keyvault_step_out *out, enum keyvault_effect_kind kind,
                  json_t *state, json_t *effect)
{
    struct answer *a = calloc(1, sizeof(*a));
    int rc = a != NULL ? 0 : KV_E_NOMEM;

    if (rc == 0)
        rc = dump(state, &a->state);
    if (rc == 0)
        rc = dump(effect, &a->effect);
    json_decref(state);
    json_decref(effect);
    if (rc != 0) {
        if (a != NULL)
            answer_free(a);
        return rc;
    }
    a->effect_bytes = bytes_of(&a->effect);
    *out = (struct keyvault_step_out){.state = bytes_of(&a->state),
                                      .effect_kind = kind,
                                      .n_effects = 1,
                                      .effects = &a->effect_bytes,
                                      .opaque = a};
    return 0;
}

/* Takes `state`. */
static int failed(struct keyvault_step_out *out, const char *error_class, json_t *state,
                  const struct kv_err *err)
{
    return answer(out, KEYVAULT_EFFECT_FAILED, state,
                  json_pack("{s:s, s:s, s:s}", "class", error_class, "id", err->id,
                            "message", err->message));
}

/* KV_E_INVALID when the bytes are no JSON; KV_E_NOMEM when memory ran out, which
 * jansson calls an invalid token in places, or does not notice. */
static int parse(const struct keyvault_bytes *bytes, json_t **out)
{
    json_error_t error = {.text = ""};
    size_t n_failures = kv_wiping_failures();

    *out = json_loadb(bytes->data, bytes->len, JSON_REJECT_DUPLICATES, &error);
    if (kv_wiping_failures() != n_failures) {
        json_decref(*out);
        *out = NULL;
        return KV_E_NOMEM;
    }
    if (*out != NULL)
        return 0;
    return error.text[0] == '\0' || json_error_code(&error) == json_error_out_of_memory
               ? KV_E_NOMEM
               : KV_E_INVALID;
}

/* An integer that may be absent or null: 0. */
static int read_number(const json_t *props, const char *name, int64_t *out)
{
    const json_t *value = json_object_get(props, name);

    *out = json_is_integer(value) ? (int64_t)json_integer_value(value) : 0;
    return value == NULL || json_is_null(value) || json_is_integer(value)
               ? 0
               : KV_E_INVALID;
}

static int read_policy(const struct keyvault_bytes *text, int64_t *months,
                       int64_t *hours, struct kv_err *err)
{
    json_t *policy = NULL;
    int rc = parse(text, &policy);
    const json_t *props = json_object_get(policy, "x509_props");

    if (rc == 0)
        rc = read_number(props, "validity_months", months);
    if (rc == 0)
        rc = read_number(props, "validity_hours", hours);
    if (rc == 0 && *months == 0 && *hours == 0)
        rc = KV_E_INVALID;
    json_decref(policy);
    if (rc == KV_E_INVALID)
        return kv_err_set(err, rc, "self.bad-policy",
                          "the policy does not say in x509_props for how many months "
                          "or hours the certificate is to be valid");
    return rc;
}

/* A new order: decide life and serial, which are then part of the state. */
static int begin(const struct keyvault_step_in *in, struct order *order,
                 struct kv_err *err)
{
    int64_t months = 0;
    int64_t hours = 0;
    int rc = read_policy(&in->policy, &months, &hours, err);

    memcpy(order->serial, in->random, sizeof(order->serial));
    return rc == 0 ? kv_self_life(in->now_s, months, hours, &order->life, err) : rc;
}

/* What the saved state says; an order has not begun without state or with "{}". */
static int restore(const struct keyvault_bytes *text, struct order *order,
                   struct kv_err *err)
{
    json_int_t from = 0;
    json_int_t to = 0;
    const char *step = NULL;
    const char *hex = NULL;
    json_t *state = NULL;
    int rc = text->len > 0 ? parse(text, &state) : 0;

    if (rc != 0 || state == NULL ||
        (json_is_object(state) && json_object_size(state) == 0))
        goto out;
    order->is_begun = true;
    if (json_unpack(state, "{s:s, s:I, s:I, s:s !}", "step", &step, "not_before_s",
                    &from, "not_after_s", &to, "serial", &hex) != 0 ||
        strcmp(step, "signing") != 0 || strlen(hex) != 2 * sizeof(order->serial) ||
        kv_hex_decode(order->serial, sizeof(order->serial), hex) != 0)
        rc = KV_E_INVALID;
    order->life = (struct kv_self_life){.not_before_s = from, .not_after_s = to};
    if (rc == 0 && !kv_self_life_is_sound(&order->life))
        rc = KV_E_INVALID;
out:
    json_decref(state);
    return rc != KV_E_INVALID ? rc
                              : kv_err_set(err, rc, "self.bad-state",
                                           "the saved state of the order is not of "
                                           "this issuer");
}

static json_t *state_of(const struct order *order)
{
    char hex[2 * sizeof(order->serial) + 1];

    kv_hex_encode(hex, order->serial, sizeof(order->serial));
    return json_pack("{s:s, s:I, s:I, s:s}", "step", "signing", "not_before_s",
                     (json_int_t)order->life.not_before_s, "not_after_s",
                     (json_int_t)order->life.not_after_s, "serial", hex);
}

static int ask_signature(const struct keyvault_step_in *in, const struct order *order,
                         struct keyvault_step_out *out, struct kv_err *err)
{
    struct kv_buf tbs;
    struct kv_buf text;
    int rc = 0;

    kv_buf_init(&tbs, KV_SELF_TBS_MAX);
    kv_buf_init(&text, kv_b64_encoded_len(KV_B64_STD, KV_SELF_TBS_MAX));
    KV_TRY(kv_self_tbs((const uint8_t *)in->csr.data, in->csr.len, &order->life,
                       order->serial, &tbs, err));
    KV_TRY(kv_b64_encode(KV_B64_STD, tbs.data, tbs.len, &text));
    rc = answer(out, KEYVAULT_EFFECT_SIGN, state_of(order),
                json_pack("{s:s, s:s%}", "role", "self", "tbs", (const char *)text.data,
                          text.len));
out:
    kv_buf_free(&text);
    kv_buf_free(&tbs);
    return rc;
}

/* Whether the text is base64 of as many bytes as a certificate may have. */
static int check_der(const json_t *text)
{
    struct kv_buf der;
    int rc = KV_E_INVALID;

    kv_buf_init(&der, KV_SELF_CERT_MAX);
    if (json_is_string(text) && json_string_length(text) > 0)
        rc = kv_b64_decode(KV_B64_STD, json_string_value(text),
                           json_string_length(text), &der);
    kv_buf_free(&der);
    return rc;
}

static int deliver(const json_t *events, const struct order *order,
                   struct keyvault_step_out *out)
{
    const json_t *der = json_object_get(json_array_get(events, 0), "der");
    struct kv_err err = KV_ERR_INIT;
    int rc = json_array_size(events) == 1 ? check_der(der) : KV_E_INVALID;

    if (rc == KV_E_NOMEM)
        return -1;
    if (rc == 0)
        return answer(out, KEYVAULT_EFFECT_ISSUED, state_of(order),
                      json_pack("{s:[s]}", "chain", json_string_value(der)));
    (void)kv_err_set(&err, KV_E_CRYPTO, "self.not-signed",
                     "the certificate's own key did not sign it");
    /* The state stays: the next attempt asks for the very same signature. */
    return failed(out, "transient", state_of(order), &err);
}

static int issue(const struct keyvault_step_in *in, struct keyvault_step_out *out)
{
    struct kv_err err = KV_ERR_INIT;
    struct order order = {.is_begun = false};
    json_t *events = NULL;
    int rc = 0;

    KV_TRY(restore(&in->state, &order, &err));
    if (!order.is_begun)
        KV_TRY(begin(in, &order, &err));
    else if (in->events.len > 0)
        rc = parse(&in->events, &events);
    if (rc == KV_E_NOMEM)
        goto out;
    if (rc != 0 ||
        (events != NULL && (!json_is_array(events) || json_array_size(events) > 0)))
        rc = deliver(events, &order, out);
    else
        rc = ask_signature(in, &order, out, &err);
out:
    json_decref(events);
    return err.code != 0 ? failed(out, "input", json_object(), &err) : rc;
}

static int step(const struct keyvault_step_in *in, struct keyvault_step_out *out)
{
    struct kv_err err = KV_ERR_INIT;
    int rc = 0;

    *out = (struct keyvault_step_out){.n_effects = 0};
    if (in->purpose == KEYVAULT_PURPOSE_ISSUE) {
        rc = issue(in, out);
    } else if (in->purpose == KEYVAULT_PURPOSE_PROBE ||
               in->purpose == KEYVAULT_PURPOSE_ACCOUNT) {
        rc = answer(out, KEYVAULT_EFFECT_ISSUED, json_object(),
                    json_pack("{s:[]}", "chain"));
    } else {
        (void)kv_err_set(&err, KV_E_UNSUPPORTED, "self.no-such-purpose",
                         "the issuer Self only issues");
        rc = failed(out, "input", json_object(), &err);
    }
    return rc == 0 ? 0 : -1;
}

static void release(struct keyvault_step_out *out)
{
    if (out->opaque == NULL)
        return;
    answer_free(out->opaque);
    *out = (struct keyvault_step_out){0};
}

const struct keyvault_issuer *kv_self_issuer(void)
{
    static const struct keyvault_issuer issuer = {
        .abi = KEYVAULT_ISSUER_ABI,
        .type = "Self",
        .about = "self-signed: the certificate's own key signs it",
        .step = step,
        .release = release,
    };
    return &issuer;
}
