/*
 * The issuer `Self` as a state machine of two steps:
 *
 *   (empty) --SIGN {"role":"self","tbs"}--> "signing" --ISSUED {"chain"}--> done
 *
 * The body is built again from the saved life and serial when the first effect is
 * repeated after a crash, so both runs ask for the very same signature.
 */
#include "plugins/self/self.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "plugins/self/tbs.h"
#include "store/core/b64.h"
#include "store/core/str.h"

#define KV_SELF_TEXT_MAX 131072

struct answer {
    char *state;
    char *effect;
    struct keyvault_bytes effect_bytes;
};

static int answer(struct keyvault_step_out *out, enum keyvault_effect_kind kind,
                  json_t *state, json_t *effect)
{
    struct answer *a = calloc(1, sizeof(*a));
    int rc = -1;

    if (a == NULL)
        goto out;
    a->state = json_dumps(state, JSON_COMPACT);
    a->effect = json_dumps(effect, JSON_COMPACT);
    if (a->state == NULL || a->effect == NULL)
        goto out;
    a->effect_bytes = (struct keyvault_bytes){a->effect, strlen(a->effect)};
    *out = (struct keyvault_step_out){.state = {a->state, strlen(a->state)},
                                      .effect_kind = kind,
                                      .n_effects = 1,
                                      .effects = &a->effect_bytes,
                                      .opaque = a};
    a = NULL;
    rc = 0;
out:
    if (a != NULL) {
        free(a->state);
        free(a->effect);
        free(a);
    }
    json_decref(state);
    json_decref(effect);
    return rc;
}

static int failed(struct keyvault_step_out *out, const char *error_class,
                  const struct kv_err *err)
{
    return answer(out, KEYVAULT_EFFECT_FAILED, json_object(),
                  json_pack("{s:s, s:s, s:s}", "class", error_class, "id", err->id,
                            "message", err->message));
}

static json_t *parse(const struct keyvault_bytes *bytes)
{
    return json_loadb(bytes->data, bytes->len, JSON_REJECT_DUPLICATES, NULL);
}

static int64_t policy_number(const json_t *policy, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(json_object_get(policy, "x509_props"), name);

    return json_is_integer(value) ? (int64_t)json_integer_value(value) : otherwise;
}

/* A new order: decide life and serial, which are then part of the state. */
static int begin(const struct keyvault_step_in *in, struct kv_self_life *life,
                 uint8_t serial[16], struct kv_err *err)
{
    json_t *policy = parse(&in->policy);
    int64_t months = policy_number(policy, "validity_months", 12);
    int64_t hours = policy_number(policy, "validity_hours", 0);

    json_decref(policy);
    memcpy(serial, in->random, 16);
    return kv_self_life(in->now_s, months, hours, life, err);
}

static int restore(const json_t *state, struct kv_self_life *life, uint8_t serial[16])
{
    json_int_t from = 0;
    json_int_t to = 0;
    const char *hex = NULL;

    if (json_unpack((json_t *)(uintptr_t)state, "{s:I, s:I, s:s}", "not_before_s",
                    &from, "not_after_s", &to, "serial", &hex) != 0)
        return KV_E_INVALID;
    *life = (struct kv_self_life){.not_before_s = from, .not_after_s = to};
    return kv_hex_decode(serial, 16, hex);
}

static int ask_signature(const struct keyvault_step_in *in, const json_t *state,
                         struct keyvault_step_out *out)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_self_life life = {0};
    uint8_t serial[16] = {0};
    char hex[33];
    struct kv_buf tbs;
    struct kv_buf text;

    kv_buf_init(&tbs, KV_SELF_TEXT_MAX);
    kv_buf_init(&text, KV_SELF_TEXT_MAX);
    int rc = restore(state, &life, serial);
    if (rc != 0)
        rc = begin(in, &life, serial, &err);
    if (rc == 0)
        rc = kv_self_tbs((const uint8_t *)in->csr.data, in->csr.len, &life, serial,
                         &tbs, &err);
    if (rc == 0)
        rc = kv_b64_encode(KV_B64_STD, tbs.data, tbs.len, &text);
    kv_hex_encode(hex, serial, sizeof(serial));
    if (rc != 0 && err.code == 0)
        rc = -1;
    else if (rc != 0)
        rc = failed(out, "input", &err);
    else
        rc = answer(out, KEYVAULT_EFFECT_SIGN,
                    json_pack("{s:s, s:I, s:I, s:s}", "step", "signing", "not_before_s",
                              (json_int_t)life.not_before_s, "not_after_s",
                              (json_int_t)life.not_after_s, "serial", hex),
                    json_pack("{s:s, s:s%}", "role", "self", "tbs",
                              (const char *)text.data, text.len));
    kv_buf_free(&text);
    kv_buf_free(&tbs);
    return rc;
}

static int deliver(const json_t *events, const json_t *state,
                   struct keyvault_step_out *out)
{
    const json_t *der = json_object_get(json_array_get(events, 0), "der");
    struct kv_err err = KV_ERR_INIT;

    if (!json_is_string(der)) {
        (void)kv_err_set(&err, KV_E_CRYPTO, "self.not-signed",
                         "the certificate's own key did not sign it");
        return failed(out, "transient", &err);
    }
    return answer(out, KEYVAULT_EFFECT_ISSUED, json_deep_copy(state),
                  json_pack("{s:[s]}", "chain", json_string_value(der)));
}

static int step(const struct keyvault_step_in *in, struct keyvault_step_out *out)
{
    struct kv_err err = KV_ERR_INIT;

    if (in->purpose == KEYVAULT_PURPOSE_PROBE ||
        in->purpose == KEYVAULT_PURPOSE_ACCOUNT)
        return answer(out, KEYVAULT_EFFECT_ISSUED, json_object(),
                      json_pack("{s:[]}", "chain"));
    if (in->purpose != KEYVAULT_PURPOSE_ISSUE) {
        (void)kv_err_set(&err, KV_E_UNSUPPORTED, "self.no-such-purpose",
                         "the issuer Self only issues");
        return failed(out, "input", &err);
    }
    json_t *state = parse(&in->state);
    json_t *events = parse(&in->events);
    int rc = json_is_array(events) && json_array_size(events) > 0 && state != NULL
                 ? deliver(events, state, out)
                 : ask_signature(in, state, out);
    json_decref(state);
    json_decref(events);
    return rc;
}

static void release(struct keyvault_step_out *out)
{
    struct answer *a = out->opaque;

    if (a == NULL)
        return;
    free(a->state);
    free(a->effect);
    free(a);
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
