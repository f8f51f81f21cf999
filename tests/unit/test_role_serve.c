#include <criterion/criterion.h>
#include <openssl/x509.h>
#include <string.h>

#include "store/keyring/role_serve.h"
#include "tests/support/room.h"

TestSuite(role_serve, .timeout = 20);

static struct kv_room room;
static struct kv_buf row;
static struct kv_buf in;
static struct kv_buf out;
static struct kv_err err;
static struct kv_ident ident;
static struct kv_key_attrs attrs;

static void setup(void)
{
    kv_room_init(&room);
    kv_buf_init(&row, KV_ROW_MAX);
    kv_buf_init(&in, KV_FRAME_MAX_ROLE);
    kv_buf_init_secret(&out, KV_FRAME_MAX_ROLE);
    ident = kv_room_ident("web", 1);
    attrs = kv_room_attrs(KV_OP_SIGN | KV_OP_VERIFY);
    attrs.app = (struct kv_bytes){(const uint8_t *)"{\"a\":1}", 7};
    kv_room_key(&room, &ident, &attrs, &row);
}

static void teardown(void)
{
    kv_buf_free(&row);
    kv_buf_free(&in);
    kv_buf_free(&out);
    kv_room_fini(&room);
}

static struct kv_bytes bytes_of(const struct kv_buf *buf)
{
    return (struct kv_bytes){buf->data, buf->len};
}

static int serve(uint16_t verb)
{
    kv_buf_reset(&out);
    err = KV_ERR_INIT;
    return kv_room_serve(&room, verb, &in, &out, &err);
}

static int32_t rows_status(uint16_t verb, const struct kv_ident *of,
                           struct kv_bytes body)
{
    static struct kv_role_rows rows;
    rows = (struct kv_role_rows){.n = 1, .row = {{.ident = *of, .body = body}}};
    kv_buf_reset(&in);
    kv_role_rows_put(&in, &rows);
    cr_assert_eq(serve(verb), 0);
    cr_assert_eq(kv_role_rows_get(bytes_of(&out), &rows), 0);
    cr_assert_eq(rows.n, 1);
    if (rows.row[0].status != 0)
        cr_assert_eq(rows.row[0].body.len, 0);
    return rows.row[0].status;
}

Test(role_serve, unseal_never_opens_a_key, .init = setup, .fini = teardown)
{
    cr_assert_eq(rows_status(KV_ROLE_UNSEAL, &ident, bytes_of(&row)), KV_E_DENIED);
    struct kv_ident lie = ident;
    lie.kind = KV_KIND_SECRET;
    cr_assert_eq(rows_status(KV_ROLE_UNSEAL, &lie, bytes_of(&row)), KV_E_INTEGRITY);
    lie.kind = KV_KIND_VAULT_KEY;
    cr_assert_eq(rows_status(KV_ROLE_UNSEAL, &lie, bytes_of(&row)), KV_E_DENIED);
}

Test(role_serve, seal_never_makes_a_key, .init = setup, .fini = teardown)
{
    const struct kv_bytes body = {(const uint8_t *)"body", 4};
    cr_assert_eq(rows_status(KV_ROLE_SEAL, &ident, body), KV_E_DENIED);
    struct kv_ident other = ident;
    other.kind = KV_KIND_VAULT_KEY;
    cr_assert_eq(rows_status(KV_ROLE_SEAL, &other, body), KV_E_DENIED);
    other.kind = KV_KIND_SECRET;
    cr_assert_eq(rows_status(KV_ROLE_SEAL, &other, body), 0);
}

Test(role_serve, batch_answers_each_row_for_itself, .init = setup, .fini = teardown)
{
    static struct kv_role_rows rows;
    static struct kv_role_rows sealed;
    struct kv_buf kept;
    kv_buf_init(&kept, KV_FRAME_MAX_ROLE);
    rows.n = KV_BATCH_MAX;
    for (uint16_t i = 0; i < rows.n; i++) {
        rows.row[i].ident = kv_room_ident("s", (uint8_t)(i + 1));
        rows.row[i].ident.kind = i == 3 ? KV_KIND_KEY : KV_KIND_SECRET;
        rows.row[i].body = (struct kv_bytes){(const uint8_t *)"abcdef", i % 6u + 1};
    }
    kv_role_rows_put(&in, &rows);
    cr_assert_eq(serve(KV_ROLE_SEAL), 0);
    cr_assert_eq(kv_buf_append(&kept, out.data, out.len), 0);
    cr_assert_eq(kv_role_rows_get(bytes_of(&kept), &sealed), 0);
    for (uint16_t i = 0; i < sealed.n; i++) {
        cr_assert_eq(sealed.row[i].status, i == 3 ? KV_E_DENIED : 0);
        sealed.row[i].status = 0;
    }
    sealed.row[5].ident.row_version = 9;
    kv_buf_reset(&in);
    kv_role_rows_put(&in, &sealed);
    cr_assert_eq(serve(KV_ROLE_UNSEAL), 0);
    cr_assert_eq(kv_role_rows_get(bytes_of(&out), &sealed), 0);
    for (uint16_t i = 0; i < sealed.n; i++) {
        const int32_t want = i == 3 ? KV_E_DENIED : i == 5 ? KV_E_INTEGRITY : 0;
        cr_assert_eq(sealed.row[i].status, want, "row %u", i);
        if (want == 0) {
            cr_assert_eq(sealed.row[i].body.len, i % 6u + 1);
            cr_assert_eq(memcmp(sealed.row[i].body.data, "abcdef", i % 6u + 1), 0);
        }
    }
    kv_buf_free(&kept);
}

static int update(const struct kv_ident *to, const struct kv_key_attrs *with)
{
    const struct kv_role_key_update msg = {
        .old_ident = ident, .old_row = bytes_of(&row), .ident = *to, .attrs = *with};
    kv_buf_reset(&in);
    kv_role_key_update_put(&in, &msg);
    return serve(KV_ROLE_KEY_UPDATE);
}

Test(role_serve, update_rewrites_attributes_and_keeps_the_key, .init = setup,
     .fini = teardown)
{
    struct kv_ident to = ident;
    struct kv_role_key_made made;
    to.row_version = 2;
    attrs.is_enabled = 0;
    cr_assert_eq(update(&to, &attrs), 0);
    cr_assert_eq(kv_role_key_made_get(bytes_of(&out), &made), 0);
    cr_assert_eq(made.info.attrs.is_enabled, 0);
    cr_assert_eq(made.info.kty, KV_KTY_EC);
    struct kv_live live = {.key = NULL};
    struct kv_live old = {.key = NULL};
    cr_assert_eq(kv_ring_load(room.ring, &to, made.row, &live, NULL), 0);
    cr_assert_eq(kv_ring_load(room.ring, &ident, bytes_of(&row), &old, NULL), 0);
    const struct kv_bytes a = kv_key_spki(live.key);
    const struct kv_bytes b = kv_key_spki(old.key);
    cr_assert(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
    cr_assert_eq(live.attrs.is_enabled, 0);
    kv_live_release(&live);
    kv_live_release(&old);
}

Test(role_serve, update_refuses_every_forbidden_step, .init = setup, .fini = teardown)
{
    struct kv_ident to = ident;
    cr_assert_eq(update(&to, &attrs), KV_E_CONFLICT, "row version stays");
    to.row_version = 2;
    attrs.is_exportable = 1;
    cr_assert_eq(update(&to, &attrs), KV_E_DENIED, "becomes exportable");
    cr_assert_str_eq(err.id, "key.exportable");
    cr_assert_eq(out.len, 0);
    attrs.is_exportable = 0;
    to.name[0] = 'x';
    cr_assert_eq(update(&to, &attrs), KV_E_DENIED, "another name");
    cr_assert_str_eq(err.id, "key.other-identity");
    to = ident;
    to.row_version = 2;
    to.version[0] ^= 1;
    cr_assert_eq(update(&to, &attrs), KV_E_DENIED, "another version");
    to = ident;
    to.row_version = 2;
    to.vault[0] ^= 1;
    cr_assert_eq(update(&to, &attrs), KV_E_DENIED, "another vault");
    to = ident;
    to.row_version = 2;
    to.kind = KV_KIND_SECRET;
    cr_assert_eq(update(&to, &attrs), KV_E_DENIED, "another kind: the body would open");
    to.kind = KV_KIND_KEY;
    row.data[20] ^= 1;
    cr_assert_eq(update(&to, &attrs), KV_E_INTEGRITY, "damaged row");
}

static int reuse(const struct kv_ident *to)
{
    const struct kv_role_key_update msg = {
        .old_ident = ident, .old_row = bytes_of(&row), .ident = *to, .attrs = attrs};
    kv_buf_reset(&in);
    kv_role_key_update_put(&in, &msg);
    return serve(KV_ROLE_KEY_REUSE);
}

Test(role_serve, a_pending_version_takes_the_key_of_its_certificate_and_no_other,
     .init = setup, .fini = teardown)
{
    struct kv_role_key_made made;
    struct kv_live live = {.key = NULL};
    struct kv_live old = {.key = NULL};
    struct kv_ident to = kv_room_ident("web", 2);
    to.row_version = 0;
    cr_assert_eq(reuse(&to), KV_E_DENIED, "a key of its own");
    cr_assert_str_eq(err.id, "key.other-identity");
    attrs.is_managed = 1;
    cr_assert_eq(reuse(&to), KV_E_DENIED, "what the message says does not count");
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    cr_assert_eq(reuse(&to), 0, "%s", err.message);
    cr_assert_eq(kv_role_key_made_get(bytes_of(&out), &made), 0);
    cr_assert_eq(kv_ring_load(room.ring, &to, made.row, &live, NULL), 0);
    cr_assert_eq(kv_ring_load(room.ring, &ident, bytes_of(&row), &old, NULL), 0);
    const struct kv_bytes a = kv_key_spki(live.key);
    const struct kv_bytes b = kv_key_spki(old.key);
    cr_expect(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
    kv_live_release(&live);
    kv_live_release(&old);
    to.name[0] = 'x';
    cr_expect_eq(reuse(&to), KV_E_DENIED, "another name");
    cr_expect_eq(out.len, 0);
    to = kv_room_ident("web", 2);
    cr_expect_eq(reuse(&to), KV_E_DENIED, "not pending: it would count at once");
    to.row_version = 0;
    row.data[20] ^= 1;
    cr_expect_eq(reuse(&to), KV_E_INTEGRITY, "damaged row");
}

static int use(uint16_t verb, uint32_t op)
{
    static const uint8_t digest[32] = {1};
    const struct kv_role_use msg = {.ident = ident, .row = bytes_of(&row), .op = op};
    const struct kv_msg_sign sign = {
        .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    kv_buf_reset(&in);
    kv_role_use_put(&in, &msg);
    kv_msg_sign_put(&in, &sign);
    return serve(verb);
}

Test(role_serve, signs_and_verifies, .init = setup, .fini = teardown)
{
    struct kv_buf signature;
    kv_buf_init(&signature, 256);
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), 0);
    cr_assert_eq(kv_buf_append(&signature, out.data, out.len), 0);
    for (int i = 0; i < 2; i++) {
        (void)use(KV_ROLE_KEY_VERIFY, KV_OP_VERIFY);
        kv_wire_put_bytes(&in, signature.data, signature.len);
        cr_assert_eq(serve(KV_ROLE_KEY_VERIFY), 0);
        cr_assert_eq(out.len, 1);
        cr_assert_eq(out.data[0], i == 0 ? 1 : 0);
        signature.data[signature.len - 1] ^= 1;
    }
    kv_buf_free(&signature);
}

Test(role_serve, key_ops_of_the_body_decide, .init = setup, .fini = teardown)
{
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_VERIFY), KV_E_INVALID,
                 "op of another verb");
    attrs.ops = KV_OP_VERIFY;
    ident = kv_room_ident("verify-only", 2);
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), KV_E_DENIED);
    cr_assert_str_eq(err.id, "key.op-not-permitted");
    attrs.ops = KV_OP_SIGN;
    attrs.is_enabled = 0;
    ident = kv_room_ident("off", 3);
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), KV_E_STATE);
    cr_assert_str_eq(err.id, "key.disabled");
}

static int crypt(uint16_t verb, uint32_t op, uint8_t enc, struct kv_bytes input)
{
    const struct kv_role_use msg = {.ident = ident, .row = bytes_of(&row), .op = op};
    const uint8_t md = enc == KV_ENC_OAEP ? KV_MD_SHA256 : KV_MD_NONE;
    const struct kv_msg_decrypt what = {
        .enc = enc, .md = md, .mgf1_md = md, .input = input};
    kv_buf_reset(&in);
    kv_role_use_put(&in, &msg);
    kv_msg_decrypt_put(&in, &what);
    return serve(verb);
}

Test(role_serve, encrypts_and_unwraps_as_key_ops_say, .init = setup, .fini = teardown)
{
    static const uint8_t text[32] = "a key to wrap";
    struct kv_role_key_made made;
    struct kv_buf sealed;
    kv_buf_init(&sealed, 1024);
    attrs.ops = KV_OP_WRAP | KV_OP_UNWRAP;
    ident = kv_room_ident("rsa", 6);
    const struct kv_role_key_new msg = {
        .ident = ident, .kty = KV_KTY_RSA, .bits = 2048, .attrs = attrs};
    kv_buf_reset(&in);
    kv_role_key_new_put(&in, &msg);
    cr_assert_eq(serve(KV_ROLE_KEY_GENERATE), 0);
    cr_assert_eq(kv_role_key_made_get(bytes_of(&out), &made), 0);
    kv_buf_reset(&row);
    cr_assert_eq(kv_buf_append(&row, made.row.data, made.row.len), 0);
    const struct kv_bytes plain = {text, sizeof(text)};
    for (uint8_t enc = KV_ENC_OAEP; enc <= KV_ENC_RSA1_5; enc++) {
        cr_assert_eq(crypt(KV_ROLE_KEY_ENCRYPT, KV_OP_ENCRYPT, enc, plain),
                     KV_E_DENIED);
        cr_assert_str_eq(err.id, "key.op-not-permitted");
        cr_assert_eq(crypt(KV_ROLE_KEY_ENCRYPT, KV_OP_UNWRAP, enc, plain), KV_E_INVALID,
                     "op of another verb");
        cr_assert_eq(crypt(KV_ROLE_KEY_ENCRYPT, KV_OP_WRAP, enc, plain), 0);
        kv_buf_reset(&sealed);
        cr_assert_eq(kv_buf_append(&sealed, out.data, out.len), 0);
        cr_assert_eq(crypt(KV_ROLE_KEY_DECRYPT, KV_OP_DECRYPT, enc, bytes_of(&sealed)),
                     KV_E_DENIED);
        cr_assert_eq(crypt(KV_ROLE_KEY_DECRYPT, KV_OP_UNWRAP, enc, bytes_of(&sealed)),
                     0);
        cr_assert_eq(out.len, sizeof(text));
        cr_assert_eq(memcmp(out.data, text, sizeof(text)), 0);
    }
    cr_assert_eq(
        crypt(KV_ROLE_KEY_DECRYPT, KV_OP_UNWRAP, KV_ENC_TLS, bytes_of(&sealed)),
        KV_E_INVALID, "key exchange of TLS is for keys.sock");
    cr_assert_str_eq(err.id, "role.bad-frame");
    kv_buf_free(&sealed);
}

static int export_as(uint8_t format)
{
    const struct kv_role_export msg = {
        .ident = ident, .row = bytes_of(&row), .format = format};
    kv_buf_reset(&in);
    kv_role_export_put(&in, &msg);
    return serve(KV_ROLE_KEY_EXPORT);
}

Test(role_serve, export_needs_exportable, .init = setup, .fini = teardown)
{
    cr_assert_eq(export_as(KV_EXPORT_PEM), KV_E_DENIED);
    cr_assert_str_eq(err.id, "key.not-exportable");
    cr_assert_eq(out.len, 0);
    attrs.is_exportable = 1;
    ident = kv_room_ident("open", 4);
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    cr_assert_eq(export_as(KV_EXPORT_PEM), 0);
    cr_assert_not_null(memmem(out.data, out.len, "PRIVATE KEY", 11));
    attrs.is_enabled = 0;
    ident = kv_room_ident("open-off", 5);
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    cr_assert_eq(export_as(KV_EXPORT_PEM), KV_E_STATE);
}

/* CertificationRequestInfo of the key in `row`, whose SPKI INFO tells. */
static void put_request(struct kv_buf *der)
{
    static struct kv_role_rows rows;
    static struct kv_role_infos infos;
    unsigned char *body = NULL;
    rows = (struct kv_role_rows){.n = 1,
                                 .row = {{.ident = ident, .body = bytes_of(&row)}}};
    kv_buf_reset(&in);
    kv_role_rows_put(&in, &rows);
    cr_assert_eq(serve(KV_ROLE_KEY_INFO), 0);
    cr_assert_eq(kv_role_infos_get(bytes_of(&out), &infos), 0);
    cr_assert_eq(infos.row[0].status, 0);
    const unsigned char *at = infos.row[0].info.spki.data;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &at, (long)infos.row[0].info.spki.len);
    X509_REQ *request = X509_REQ_new();
    cr_assert_eq(X509_REQ_set_pubkey(request, pkey), 1);
    const int len = i2d_re_X509_REQ_tbs(request, &body);
    cr_assert_gt(len, 0);
    cr_assert_eq(kv_buf_append(der, body, (size_t)len), 0);
    OPENSSL_free(body);
    X509_REQ_free(request);
    EVP_PKEY_free(pkey);
}

static int sign_request(void)
{
    struct kv_buf der;
    kv_buf_init(&der, 4096);
    put_request(&der);
    const struct kv_role_tbs msg = {.ident = ident,
                                    .row = bytes_of(&row),
                                    .tbs = KV_TBS_CSR,
                                    .md = KV_MD_SHA256,
                                    .der = bytes_of(&der)};
    kv_buf_reset(&in);
    kv_role_tbs_put(&in, &msg);
    kv_buf_free(&der);
    return serve(KV_ROLE_KEY_SIGN_TBS);
}

static bool request_verifies(void)
{
    const unsigned char *at = out.data;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)out.len);
    const bool ok =
        request != NULL && X509_REQ_verify(request, X509_REQ_get0_pubkey(request)) == 1;
    X509_REQ_free(request);
    return ok;
}

/* The life of an order: made for no row, signs its request, becomes row version 1. */
Test(role_serve, key_of_an_order_signs_its_request_and_becomes_a_row, .init = setup,
     .fini = teardown)
{
    attrs.ops = KV_OP_SIGN | KV_OP_VERIFY;
    attrs.is_exportable = 1;
    attrs.is_enabled = 0; /* of its later life */
    attrs.exp_s = 1;
    ident = kv_room_ident("order", 9);
    ident.row_version = 0;
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    cr_assert_eq(sign_request(), 0, "%s", err.message);
    cr_assert(request_verifies());
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), KV_E_STATE);
    cr_assert_str_eq(err.id, "key.pending");
    cr_assert_eq(use(KV_ROLE_KEY_VERIFY, KV_OP_VERIFY), KV_E_INVALID, "no signature");
    cr_assert_eq(export_as(KV_EXPORT_PEM), KV_E_STATE);
    cr_assert_str_eq(err.id, "key.pending");
    cr_assert_eq(out.len, 0);

    struct kv_role_key_made made;
    struct kv_ident to = ident;
    attrs.is_enabled = 1;
    attrs.exp_s = KV_TIME_NONE;
    cr_assert_eq(update(&to, &attrs), KV_E_CONFLICT, "0 does not become 0");
    to.row_version = 1;
    cr_assert_eq(update(&to, &attrs), 0);
    cr_assert_eq(kv_role_key_made_get(bytes_of(&out), &made), 0);
    kv_buf_reset(&row);
    cr_assert_eq(kv_buf_append(&row, made.row.data, made.row.len), 0);
    ident = to;
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), 0);
    cr_assert_eq(export_as(KV_EXPORT_PEM), 0);
}

Test(role_serve, imported_key_may_wait_for_its_row, .init = setup, .fini = teardown)
{
    struct kv_role_key_made made;
    struct kv_buf pem;
    kv_buf_init_secret(&pem, 4096);
    attrs.is_exportable = 1;
    ident = kv_room_ident("open", 4);
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    cr_assert_eq(export_as(KV_EXPORT_PEM), 0);
    cr_assert_eq(kv_buf_append(&pem, out.data, out.len), 0);
    ident = kv_room_ident("again", 5);
    ident.row_version = 0;
    const struct kv_role_key_new msg = {.ident = ident,
                                        .attrs = attrs,
                                        .import = KV_IMPORT_PEM,
                                        .material = bytes_of(&pem)};
    kv_buf_reset(&in);
    kv_role_key_new_put(&in, &msg);
    cr_assert_eq(serve(KV_ROLE_KEY_IMPORT), 0);
    cr_assert_eq(kv_role_key_made_get(bytes_of(&out), &made), 0);
    kv_buf_reset(&row);
    cr_assert_eq(kv_buf_append(&row, made.row.data, made.row.len), 0);
    cr_assert_eq(sign_request(), 0);
    cr_assert(request_verifies());
    struct kv_ident to = ident;
    to.row_version = 1;
    cr_assert_eq(update(&to, &attrs), 0);
    kv_buf_free(&pem);
}

Test(role_serve, stored_key_signs_requests_unless_it_is_disabled, .init = setup,
     .fini = teardown)
{
    attrs.ops = 0; /* proof of possession needs none */
    attrs.exp_s = 1;
    ident = kv_room_ident("late", 3);
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    cr_assert_eq(sign_request(), 0);
    cr_assert(request_verifies());
    attrs.is_enabled = 0;
    ident = kv_room_ident("off", 4);
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    cr_assert_eq(sign_request(), KV_E_STATE);
    cr_assert_str_eq(err.id, "key.disabled");
    cr_assert_eq(out.len, 0);
}

Test(role_serve, request_of_another_key_is_not_signed, .init = setup, .fini = teardown)
{
    struct kv_buf der;
    kv_buf_init(&der, 4096);
    put_request(&der);
    ident = kv_room_ident("other", 4);
    kv_buf_reset(&row);
    kv_room_key(&room, &ident, &attrs, &row);
    const struct kv_role_tbs msg = {.ident = ident,
                                    .row = bytes_of(&row),
                                    .tbs = KV_TBS_CSR,
                                    .md = KV_MD_SHA256,
                                    .der = bytes_of(&der)};
    kv_buf_reset(&in);
    kv_role_tbs_put(&in, &msg);
    cr_assert_eq(serve(KV_ROLE_KEY_SIGN_TBS), KV_E_DENIED);
    cr_assert_str_eq(err.id, "key.tbs-wrong-key");
    kv_buf_free(&der);
}

Test(role_serve, key_verbs_touch_no_other_kind, .init = setup, .fini = teardown)
{
    ident.kind = KV_KIND_SECRET;
    cr_assert_eq(use(KV_ROLE_KEY_SIGN, KV_OP_SIGN), KV_E_DENIED);
    cr_assert_str_eq(err.id, "seal.not-a-key");
    cr_assert_eq(export_as(KV_EXPORT_PEM), KV_E_DENIED);
    const struct kv_role_key_new msg = {
        .ident = ident, .kty = KV_KTY_EC, .curve = KV_CURVE_P256, .attrs = attrs};
    kv_buf_reset(&in);
    kv_role_key_new_put(&in, &msg);
    cr_assert_eq(serve(KV_ROLE_KEY_GENERATE), KV_E_DENIED);
}

Test(role_serve, secret_sealed_as_a_key_by_a_swapped_kind_is_no_key, .init = setup,
     .fini = teardown)
{
    struct kv_ident secret = kv_room_ident("s", 7);
    secret.kind = KV_KIND_SECRET;
    static struct kv_role_rows rows;
    const struct kv_bytes body = {(const uint8_t *)"body", 4};
    cr_assert_eq(rows_status(KV_ROLE_SEAL, &secret, body), 0);
    cr_assert_eq(kv_role_rows_get(bytes_of(&out), &rows), 0);
    struct kv_live live = {.key = NULL};
    secret.kind = KV_KIND_KEY;
    cr_assert_eq(kv_ring_load(room.ring, &secret, rows.row[0].body, &live, NULL),
                 KV_E_INTEGRITY);
}

Test(role_serve, info_tells_the_public_part_of_each_key, .init = setup,
     .fini = teardown)
{
    static struct kv_role_rows rows;
    static struct kv_role_infos infos;
    rows.n = 2;
    rows.row[0].ident = ident;
    rows.row[0].body = bytes_of(&row);
    rows.row[1].ident = ident;
    rows.row[1].ident.row_version = 8;
    rows.row[1].body = bytes_of(&row);
    kv_role_rows_put(&in, &rows);
    cr_assert_eq(serve(KV_ROLE_KEY_INFO), 0);
    cr_assert_eq(kv_role_infos_get(bytes_of(&out), &infos), 0);
    cr_assert_eq(infos.row[0].status, 0);
    cr_assert_eq(infos.row[0].info.kty, KV_KTY_EC);
    cr_assert_eq(infos.row[0].info.attrs.ops, attrs.ops);
    cr_assert_eq(infos.row[0].info.attrs.app.len, 7);
    cr_assert_gt(infos.row[0].info.spki.len, 60);
    cr_assert_eq(infos.row[1].status, KV_E_INTEGRITY);
}

Test(role_serve, malformed_payloads_are_refused_for_every_verb, .init = setup,
     .fini = teardown)
{
    static const uint16_t verbs[] = {
        KV_ROLE_HELLO,       KV_ROLE_VAULT_KEY_NEW, KV_ROLE_VAULT_KEY_OPEN,
        KV_ROLE_SEAL,        KV_ROLE_UNSEAL,        KV_ROLE_KEY_GENERATE,
        KV_ROLE_KEY_IMPORT,  KV_ROLE_KEY_UPDATE,    KV_ROLE_KEY_INFO,
        KV_ROLE_KEY_SIGN,    KV_ROLE_KEY_VERIFY,    KV_ROLE_KEY_ENCRYPT,
        KV_ROLE_KEY_DECRYPT, KV_ROLE_KEY_SIGN_TBS,  KV_ROLE_KEY_EXPORT,
        KV_ROLE_BEAT,        KV_ROLE_USAGE,         KV_ROLE_KEY_REUSE,
        KV_ROLE_VAULT_FORGET};
    cr_assert_eq(kv_buf_append(&in, "\xff\xff\xff", 3), 0);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        cr_assert_eq(serve(verbs[i]), KV_E_INVALID, "verb %u", verbs[i]);
        cr_assert_str_eq(err.id, "role.bad-frame");
        cr_assert_eq(out.len, 0);
    }
    cr_assert_eq(serve(KV_ROLE_GRANT), KV_E_UNSUPPORTED);
    cr_assert_eq(serve(KV_VERB_SIGN), KV_E_UNSUPPORTED);
}

Test(role_serve, vault_key_is_made_and_opened_again, .init = setup, .fini = teardown)
{
    struct kv_role_vault_key msg = {.vault = {9}, .term = 1};
    struct kv_role_vault_key made;
    kv_role_vault_key_put(&in, &msg);
    cr_assert_eq(serve(KV_ROLE_VAULT_KEY_NEW), 0);
    cr_assert_eq(kv_role_vault_key_get(bytes_of(&out), &made), 0);
    kv_buf_reset(&in);
    kv_role_vault_key_put(&in, &made);
    cr_assert_eq(serve(KV_ROLE_VAULT_KEY_OPEN), 0);
    msg.term = 0;
    kv_buf_reset(&in);
    kv_role_vault_key_put(&in, &msg);
    cr_assert_eq(serve(KV_ROLE_VAULT_KEY_NEW), KV_E_INVALID);
}
