/*
 * The issuer `Self` with arbitrary input:
 *
 *   flags (8 bits), time (64), chance (128), then policy, state and events with 16-bit
 *   lengths in front, and the request: the rest. Little-endian.
 *
 * Bit 7 of the flags: the rest is not a request but the extensions (DER) that one asks
 * for, because no mutation keeps a signature. The other bits are the purpose.
 *
 * Each step answers with one effect, small enough, JSON, the same one twice. What it
 * wants signed is a certificate that is no CA; that state leads to the same body again,
 * and with a signature to the end.
 */
#include <jansson.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "plugins/self/self.h"
#include "plugins/self/tbs.h"
#include "store/core/b64.h"
#include "store/core/wire.h"

#define CSR_MAX 70000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct keyvault_bytes take(struct kv_wire *wire, size_t n)
{
    size_t len = n < wire->left ? n : wire->left;
    struct keyvault_bytes bytes = {(const char *)wire->at, len};

    wire->at += len;
    wire->left -= len;
    return bytes;
}

static void make_request(struct keyvault_bytes extensions, struct kv_buf *out)
{
    static const uint8_t seed[32] = {1};
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    X509_REQ *req = X509_REQ_new();
    uint8_t *der = NULL;

    KV_ASSERT(key != NULL && req != NULL && X509_REQ_set_pubkey(req, key) == 1);
    KV_ASSERT(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN",
                                         MBSTRING_UTF8, (const uint8_t *)"a", -1, -1,
                                         0) == 1);
    (void)X509_REQ_add1_attr_by_NID(req, NID_ext_req, V_ASN1_SEQUENCE,
                                    (const uint8_t *)extensions.data,
                                    (int)extensions.len);
    KV_ASSERT(X509_REQ_sign(req, key, NULL) > 0);
    int len = i2d_X509_REQ(req, &der);
    if (len > 0)
        (void)kv_buf_append(out, der, (size_t)len); /* longer ones are too long */
    OPENSSL_free(der);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    ERR_clear_error();
}

static void step(const struct keyvault_step_in *in, struct keyvault_step_out *out)
{
    KV_ASSERT(kv_self_issuer()->step(in, out) == 0 && out->n_effects == 1);
    KV_ASSERT(out->state.len <= KEYVAULT_STATE_MAX &&
              out->effects[0].len <= KEYVAULT_STATE_MAX);
    KV_ASSERT(ERR_peek_error() == 0);
}

static json_t *effect_of(const struct keyvault_step_out *out,
                         enum keyvault_effect_kind kind)
{
    KV_ASSERT(out->effect_kind == kind);
    json_t *effect = json_loadb(out->effects[0].data, out->effects[0].len,
                                JSON_REJECT_DUPLICATES, NULL);
    KV_ASSERT(json_is_object(effect));
    return effect;
}

static bool is_same(struct keyvault_bytes a, struct keyvault_bytes b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Put a body into a certificate with a signature of no bytes. */
static X509 *certificate(const struct kv_buf *tbs)
{
    static const uint8_t rest[] = {0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 1, 0};
    struct kv_buf der;
    size_t len = tbs->len + sizeof(rest);
    const uint8_t head[] = {0x30, 0x82, (uint8_t)(len >> 8), (uint8_t)len};

    kv_buf_init(&der, 65536);
    KV_ASSERT(kv_buf_append(&der, head, sizeof(head)) == 0 &&
              kv_buf_append(&der, tbs->data, tbs->len) == 0 &&
              kv_buf_append(&der, rest, sizeof(rest)) == 0);
    const uint8_t *at = der.data;
    X509 *cert = d2i_X509(NULL, &at, (long)der.len);
    KV_ASSERT(cert != NULL && at == der.data + der.len);
    kv_buf_free(&der);
    return cert;
}

static void check_body(const json_t *effect)
{
    struct kv_buf tbs;
    const char *text = json_string_value(json_object_get(effect, "tbs"));

    kv_buf_init(&tbs, KV_SELF_TBS_MAX);
    KV_ASSERT(text != NULL && kv_b64_decode(KV_B64_STD, text, strlen(text), &tbs) == 0);
    X509 *cert = certificate(&tbs);
    KV_ASSERT(X509_NAME_cmp(X509_get_subject_name(cert), X509_get_issuer_name(cert)) ==
              0);
    KV_ASSERT(X509_get0_serialNumber(cert)->type == V_ASN1_INTEGER);
    KV_ASSERT(X509_check_ca(cert) == 0);
    KV_ASSERT(X509_get_ext_by_NID(cert, NID_key_usage, -1) < 0 ||
              (X509_get_key_usage(cert) & X509v3_KU_KEY_CERT_SIGN) == 0);
    KV_ASSERT(X509_get_ext_count(cert) >= 1 && X509_get_ext_count(cert) <= 5);
    X509_free(cert);
    kv_buf_free(&tbs);
    ERR_clear_error();
}

/* Behind a step that wants a signature. */
static void go_on(struct keyvault_step_in in, const struct keyvault_step_out *first)
{
    static const char signature[] = "[{\"der\":\"MAA=\"}]";
    struct keyvault_step_out out;

    in.state = first->state;
    in.events = (struct keyvault_bytes){"[]", 2};
    in.now_s = -1;
    step(&in, &out);
    KV_ASSERT(is_same(out.state, first->state) &&
              is_same(out.effects[0], first->effects[0]));
    kv_self_issuer()->release(&out);
    in.events = (struct keyvault_bytes){signature, sizeof(signature) - 1};
    step(&in, &out);
    json_decref(effect_of(&out, KEYVAULT_EFFECT_ISSUED));
    kv_self_issuer()->release(&out);
}

static void check_step(const struct keyvault_step_in *in)
{
    struct keyvault_step_out out;
    struct keyvault_step_out again;
    json_t *effect = NULL;

    step(in, &out);
    step(in, &again);
    KV_ASSERT(out.effect_kind == again.effect_kind && is_same(out.state, again.state) &&
              is_same(out.effects[0], again.effects[0]));
    kv_self_issuer()->release(&again);
    if (out.effect_kind == KEYVAULT_EFFECT_SIGN) {
        effect = effect_of(&out, KEYVAULT_EFFECT_SIGN);
        check_body(effect);
        go_on(*in, &out);
    } else if (out.effect_kind == KEYVAULT_EFFECT_ISSUED) {
        effect = effect_of(&out, KEYVAULT_EFFECT_ISSUED);
        KV_ASSERT(json_is_array(json_object_get(effect, "chain")));
    } else {
        effect = effect_of(&out, KEYVAULT_EFFECT_FAILED);
        const char *id = json_string_value(json_object_get(effect, "id"));
        KV_ASSERT(id != NULL && strncmp(id, "self.", 5) == 0);
    }
    json_decref(effect);
    kv_self_issuer()->release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct keyvault_step_in in = {.abi = KEYVAULT_ISSUER_ABI};
    struct kv_wire wire;
    struct kv_buf request;

    kv_wire_init(&wire, data, len);
    uint8_t flags = kv_wire_u8(&wire);
    in.purpose = flags & 0x7f;
    in.now_s = kv_wire_i64(&wire);
    kv_wire_raw(&wire, in.random, 16);
    in.policy = take(&wire, kv_wire_u16(&wire));
    in.state = take(&wire, kv_wire_u16(&wire));
    in.events = take(&wire, kv_wire_u16(&wire));
    in.csr = take(&wire, wire.left);
    kv_buf_init(&request, CSR_MAX);
    if ((flags & 0x80) != 0) {
        make_request(in.csr, &request);
        in.csr = (struct keyvault_bytes){(const char *)request.data, request.len};
    }
    check_step(&in);
    kv_buf_free(&request);
    return 0;
}
