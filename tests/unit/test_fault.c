/*
 * Every allocation made to fail in turn: each attempt succeeds, or fails with its
 * out-parameters untouched, and libcrypto's error queue is empty behind it. That
 * nothing leaks is what the sanitizer build says.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/err.h>

#include "store/core/b64.h"
#include "store/core/keyref.h"
#include "store/core/log.h"
#include "store/keyring/key_internal.h"
#include "store/keyring/role.h"
#include "store/keyring/seal.h"
#include "tests/support/fault.h"
#include "tests/support/fixture.h"

TestSuite(fault, .timeout = 20);

Test(fault, buffers_keep_their_content)
{
    long n = 1;
    for (; fault_round(n); n++) {
        struct kv_buf buf;
        kv_buf_init_secret(&buf, 100000);
        size_t n_good = 0;
        for (size_t i = 0; i < 4; i++)
            n_good += kv_buf_append(&buf, "0123456789", 10) == 0;
        size_t before = buf.len;
        bool is_grown = kv_buf_extend(&buf, 5000) != NULL;
        int rc = kv_buf_appendf(&buf, "%08000d", 1);
        cr_expect_eq(before, n_good * 10);
        cr_expect_eq(buf.len, before + (is_grown ? 5000 : 0) + (rc == 0 ? 8000 : 0));
        cr_expect_eq(kv_buf_status(&buf), fault_was_hit() ? KV_E_NOMEM : 0);
        cr_expect_eq(kv_buf_cstr(&buf) == NULL, fault_was_hit());
        kv_buf_free(&buf);
    }
    cr_expect_geq(n, 4, "%ld", n);
}

Test(fault, codecs_of_text_say_no_memory)
{
    struct kv_keyref ref = {.key_type = "EC"};
    cr_assert_eq(kv_uri_parse("keyvault:web", 12, &ref.uri, NULL), 0);
    long n = 1;
    for (; fault_round(n); n++) {
        struct kv_buf text;
        struct kv_buf bytes;
        kv_buf_init(&text, 10000);
        kv_buf_init(&bytes, 10000);
        int rc = kv_keyref_encode(&ref, &bytes, NULL);
        if (rc == 0)
            rc = kv_b64_encode(KV_B64_STD, bytes.data, bytes.len, &text);
        size_t len = bytes.len;
        if (rc == 0)
            rc = kv_b64_decode(KV_B64_STD, (const char *)text.data, text.len, &bytes);
        cr_expect_eq(rc, fault_was_hit() ? KV_E_NOMEM : 0);
        if (rc == 0)
            cr_expect_eq(bytes.len, 2 * len);
        kv_buf_free(&text);
        kv_buf_free(&bytes);
    }
    cr_expect_geq(n, 4, "%ld", n);
}

Test(fault, frames_are_whole_or_failed)
{
    static const uint8_t row[20000];
    struct kv_role_key_made made = {
        .row = {row, sizeof(row)},
        .info = {.kty = KV_KTY_EC, .curve = KV_CURVE_P256, .bits = 256}};
    long n = 1;
    for (; fault_round(n); n++) {
        struct kv_buf out;
        struct kv_frame frame = {.id = 7, .verb = KV_ROLE_KEY_GENERATE};
        size_t frame_len = 0;
        struct kv_role_key_made read;
        kv_buf_init_secret(&out, KV_FRAME_MAX_ROLE);
        size_t begin = kv_frame_begin(&out, &frame);
        kv_role_key_made_put(&out, &made);
        kv_frame_end(&out, begin);
        cr_expect_eq(kv_buf_status(&out), fault_was_hit() ? KV_E_NOMEM : 0);
        if (kv_buf_status(&out) == 0) {
            cr_expect_eq(kv_frame_decode(out.data, out.len, KV_FRAME_MAX_ROLE, &frame,
                                         &frame_len),
                         1);
            cr_expect_eq(kv_role_key_made_get(frame.payload, &read), 0);
        }
        kv_buf_free(&out);
    }
    cr_expect_geq(n, 3, "%ld", n);
}

Test(fault, a_log_loses_records_only)
{
    FILE *sink = tmpfile();
    long n = 1;
    for (; fault_round(n); n++) {
        struct kv_log *log = NULL;
        int rc = kv_log_open(&log, KV_LOG_JSON, KV_LOG_INFO, fileno(sink), "test",
                             kv_clock_system());
        if (rc == 0)
            kv_log(log, KV_LOG_INFO, "test.event", KV_S("text", "value"));
        cr_expect_eq(rc != 0, log == NULL);
        kv_log_close(log);
    }
    cr_expect_geq(n, 3, "%ld", n);
    fclose(sink);
}

/* Wrap a new vault key, open it, seal and open a row; 0 or the first failure. */
static int seal_once(const struct kv_secret *root)
{
    static const uint8_t id[KV_ID_LEN];
    static const uint8_t body[300];
    const struct kv_ident ident = {.kind = KV_KIND_SECRET, .name = "s", .term = 1};
    struct kv_role_vault_key msg = {.term = 1};
    struct kv_seal *seal = NULL;
    struct kv_secret key = {0};
    struct kv_secret again = {0};
    struct kv_buf wrapped;
    struct kv_buf row;
    struct kv_buf plain;
    kv_buf_init(&wrapped, 200);
    kv_buf_init(&row, KV_ROW_MAX);
    kv_buf_init_secret(&plain, KV_BODY_MAX);
    int rc = kv_seal_new(&seal, id, root, kv_rand_system());
    if (rc == 0)
        rc = kv_seal_vault_key_new(seal, id, 1, &key, &wrapped);
    msg.wrapped = (struct kv_bytes){wrapped.data, wrapped.len};
    if (rc == 0)
        rc = kv_seal_vault_key_open(seal, &msg, &again, NULL);
    if (rc == 0)
        rc = kv_seal_row(seal, &again, &ident, (struct kv_bytes){body, sizeof(body)},
                         &row);
    if (rc == 0)
        rc = kv_seal_row_open(seal, &key, &ident, (struct kv_bytes){row.data, row.len},
                              &plain, NULL);
    cr_expect_eq(plain.len, rc == 0 ? sizeof(body) : 0);
    cr_expect_eq(ERR_peek_error(), 0);
    kv_seal_free(seal);
    kv_secret_free(&key);
    kv_secret_free(&again);
    kv_buf_free(&wrapped);
    kv_buf_free(&row);
    kv_buf_free(&plain);
    return rc;
}

Test(fault, sealing_fails_as_a_whole, .timeout = 90)
{
    struct kv_secret root;
    cr_assert_eq(kv_secret_init(&root, KV_ROOT_LEN), 0);
    for (int libcrypto = 0; libcrypto < 2; libcrypto++) {
        cr_assert(fault_use_libcrypto(libcrypto == 1));
        cr_assert_eq(seal_once(&root), 0);
        long n = 1;
        for (; fault_round(n); n++)
            if (seal_once(&root) != 0)
                cr_expect(fault_was_hit(), "%ld", n);
        cr_expect_geq(n, 5, "%ld", n);
    }
    kv_secret_free(&root);
}

static const struct {
    const char *file;
    uint8_t import;
    const char *password;
    long step; /* between allocations of libcrypto: there are thousands */
} keys_of[] = {
    {"keys/prime256v1.sec1.der", KV_IMPORT_DER, "", 7},
    {"keys/ed25519.pem", KV_IMPORT_PEM, "", 7},
    {"keys/root-leaf-key.pem", KV_IMPORT_PEM, "", 29},
    {"keys/enc-des3.pem", KV_IMPORT_PEM, "secret", 71},
    {"keys/legacy-3des.pfx", KV_IMPORT_PFX, "secret", 499},
};

static int import_once(size_t row, struct kv_bytes material, struct kv_key **key,
                       struct kv_err *err)
{
    struct kv_key_certs certs = {.n = 0};
    const char *password = keys_of[row].password;
    struct kv_role_key_new request = {
        .import = keys_of[row].import,
        .password = {(const uint8_t *)password, strlen(password)},
        .material = material};
    int rc = kv_key_import(&request, key, &certs, err);
    if (rc != 0)
        cr_expect_eq(certs.n, 0);
    kv_key_certs_free(&certs);
    return rc;
}

/* All that keys do, with whichever allocation fails. Returns whether it went well. */
static bool use_once(struct kv_key *key)
{
    static const uint8_t input[32];
    struct kv_buf out;
    struct kv_buf pkcs8;
    bool is_valid = true;
    uint8_t kty = kv_key_kty(key);
    kv_buf_init(&out, 100000);
    kv_buf_init_secret(&pkcs8, 100000);
    struct kv_msg_sign sign = {.sig = kty == KV_KTY_EC    ? KV_SIG_ECDSA
                                      : kty == KV_KTY_RSA ? KV_SIG_PKCS1
                                                          : KV_SIG_EDDSA,
                               .md = kty == KV_KTY_OKP ? KV_MD_NONE : KV_MD_SHA256,
                               .input = {input, sizeof(input)}};
    struct kv_role_export export = {.format = KV_EXPORT_PEM};
    bool ok = kv_key_sign(key, 1, &sign, &out, NULL) == 0;
    ok = kv_key_verify(key, 1, &sign, (struct kv_bytes){out.data, out.len}, &is_valid,
                       NULL) == 0 &&
         ok && is_valid;
    if (out.len > 0)
        out.data[out.len - 1] ^= 1;
    int rc = kv_key_verify(key, 1, &sign, (struct kv_bytes){out.data, out.len},
                           &is_valid, NULL);
    cr_expect(rc != 0 || !is_valid, "no memory is no signature");
    ok = kv_key_to_pkcs8(key, &pkcs8) == 0 && ok;
    size_t before = pkcs8.len;
    rc = kv_key_export(key, &export, &pkcs8, NULL);
    cr_expect(rc == 0 || pkcs8.len == before);
    cr_expect_eq(ERR_peek_error(), 0);
    kv_buf_free(&pkcs8);
    kv_buf_free(&out);
    return ok && rc == 0;
}

static void import_under_faults(size_t row, long step)
{
    struct kv_buf file;
    fixture_read(keys_of[row].file, &file);
    long n = 1;
    for (; fault_round(n); n += step) {
        struct kv_key *key = NULL;
        struct kv_err err = KV_ERR_INIT;
        int rc = import_once(row, fixture_bytes(&file), &key, &err);
        cr_expect_eq(rc == 0, key != NULL, "%s at %ld", keys_of[row].file, n);
        cr_expect(rc == 0 || fault_was_hit());
        cr_expect(rc == 0 || rc == KV_E_NOMEM || err.code == rc);
        cr_expect_eq(ERR_peek_error(), 0, "%s at %ld", keys_of[row].file, n);
        if (key != NULL && !use_once(key))
            cr_expect(fault_was_hit(), "%s at %ld", keys_of[row].file, n);
        kv_key_unref(key);
    }
    cr_expect_geq(n, 5);
    kv_buf_free(&file);
}

Test(fault, keys_survive_our_allocations)
{
    cr_assert_eq(kv_keys_init(NULL), 0);
    for (size_t i = 0; i < sizeof(keys_of) / sizeof(keys_of[0]); i++)
        import_under_faults(i, 1);
    kv_keys_fini();
}

Test(fault, keys_survive_allocations_of_libcrypto, .timeout = 90)
{
    cr_assert_eq(kv_keys_init(NULL), 0);
    cr_assert(fault_use_libcrypto(true));
    for (size_t i = 0; i < sizeof(keys_of) / sizeof(keys_of[0]); i++)
        import_under_faults(i, keys_of[i].step);
    kv_keys_fini();
}
