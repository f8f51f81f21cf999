#include <criterion/criterion.h>
#include <string.h>

#include "store/keyring/role_audit.h"
#include "tests/support/codec_check.h"

TestSuite(role, .timeout = 20);

#define AGAIN(name)                                                                    \
    KV_CODEC_AGAIN(name, struct kv_role_##name, kv_role_##name##_get,                  \
                   kv_role_##name##_put)
AGAIN(vault_key)
AGAIN(rows)
AGAIN(infos)
AGAIN(key_new)
AGAIN(key_made)
AGAIN(key_update)
AGAIN(tbs)
AGAIN(export)
AGAIN(blob_rows)
AGAIN(blob_open)
AGAIN(backup_key)
AGAIN(beat)
AGAIN(usage)
AGAIN(usage_ask)
AGAIN(grant)
AGAIN(granted)
AGAIN(list)
AGAIN(audit_mark)
AGAIN(audit_opened)
AGAIN(audit_sealed)
AGAIN(audit_range)
AGAIN(audit_keys)
AGAIN(audit_seals)
AGAIN(audit_checked)
AGAIN(audit_uses_ask)
AGAIN(audit_uses)

static int use_get(struct kv_bytes in, struct kv_role_use *msg)
{
    struct kv_wire wire;
    kv_wire_init(&wire, in.data, in.len);
    kv_role_use_read(&wire, msg);
    return kv_wire_end(&wire);
}
KV_CODEC_AGAIN(use, struct kv_role_use, use_get, kv_role_use_put)

#define CHECK(name, ...)                                                               \
    do {                                                                               \
        static const struct kv_role_##name msg = __VA_ARGS__;                          \
        kv_role_##name##_put(&out, &msg);                                              \
        cr_assert_eq(kv_buf_status(&out), 0);                                          \
        const struct kv_bytes bytes = {out.data, out.len};                             \
        const char *problem = kv_codec_check(bytes, again_##name);                     \
        cr_assert_null(problem, "%s: %s", #name, problem);                             \
        kv_buf_reset(&out);                                                            \
    } while (0)

#define BYTES(text)                                                                    \
    {                                                                                  \
        (const uint8_t *)(text), sizeof(text) - 1                                      \
    }
#define IDENT                                                                          \
    {                                                                                  \
        .vault = {1, 2}, .kind = KV_KIND_KEY, .name = "web", .version = {3, 4},        \
        .term = 5, .row_version = 6                                                    \
    }
#define BLOB                                                                           \
    {                                                                                  \
        .id = {1}, .vault = {2}, .subscription = "s", .kind = KV_KIND_SECRET,          \
        .name = "web", .n_rows = 5, .at = 3                                            \
    }
#define ATTRS                                                                          \
    {                                                                                  \
        .ops = KV_OP_SIGN, .is_enabled = 1, .is_exportable = 1, .nbf_s = KV_TIME_NONE, \
        .exp_s = 2000000000, .created_s = 1, .updated_s = 2, .app = BYTES("{}")        \
    }
#define INFO                                                                           \
    {                                                                                  \
        .kty = KV_KTY_RSA, .bits = 2048, .attrs = ATTRS, .spki = BYTES("spki")         \
    }

Test(role, messages_keep_the_rules_of_codecs)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX_ROLE);
    CHECK(vault_key, {.vault = {7}, .term = 1, .wrapped = BYTES("wrapped")});
    CHECK(backup_key, {.key = {1},
                       .wrapped = BYTES("wrapped"),
                       .slots = BYTES("slots"),
                       .opens_elsewhere = 1});
    CHECK(rows, {.n = 2,
                 .row = {{.ident = IDENT, .body = BYTES("body")},
                         {.ident = IDENT, .status = KV_E_INTEGRITY}}});
    CHECK(rows, {.n = 0});
    CHECK(infos,
          {.n = 2, .row = {{.status = 0, .info = INFO}, {.status = KV_E_SEALED}}});
    CHECK(key_new, {.ident = IDENT, .kty = KV_KTY_RSA, .bits = 2048, .attrs = ATTRS});
    CHECK(key_new, {.ident = IDENT,
                    .import = KV_IMPORT_PFX,
                    .attrs = ATTRS,
                    .password = BYTES("pw"),
                    .material = BYTES("pfx")});
    CHECK(key_made,
          {.row = BYTES("row"), .info = INFO, .n_certs = 1, .cert = {BYTES("leaf")}});
    CHECK(
        key_update,
        {.old_ident = IDENT, .old_row = BYTES("row"), .ident = IDENT, .attrs = ATTRS});
    CHECK(tbs, {.ident = IDENT,
                .row = BYTES("row"),
                .tbs = KV_TBS_CSR,
                .md = KV_MD_SHA256,
                .der = BYTES("der")});
    CHECK(export, {.ident = IDENT,
                   .row = BYTES("row"),
                   .format = KV_EXPORT_PEM,
                   .n_certs = 1,
                   .cert = {BYTES("leaf")}});
    CHECK(beat, {.vault = {1}, .epoch = 0x1122334455667788});
    CHECK(usage_ask, {.vault = {1}, .name = "web", .from = 7});
    CHECK(usage, {.n = 0});
    CHECK(usage, {.next = 9,
                  .n = 1,
                  .row = {{.name = "web",
                           .version = {2},
                           .kty = KV_KTY_EC,
                           .curve = KV_CURVE_P384,
                           .bits = 384,
                           .since_s = 1700000000,
                           .counts = {.uses = {1, 2, 3, 4, 5},
                                      .errors = 6,
                                      .prepared = UINT64_MAX,
                                      .bucket = {7, [23] = 8}}}}});
    CHECK(grant, {.uid = 33, .gid = 33, .pid = 1, .has_version = 1, .version = {1}});
    CHECK(grant, {.uid = 33, .is_info = 1, .uri = "keyvault:web", .ops = KV_OP_SIGN});
    CHECK(granted, {.ident = IDENT,
                    .ops = KV_OP_SIGN,
                    .lease_ms = KV_LEASE_MS,
                    .epoch = 9,
                    .uri = "keyvault://default/keys/web",
                    .row = BYTES("r")});
    CHECK(list, {.uid = 1, .gid = 2, .list = {.vault = "default", .after = "a"}});
    CHECK(blob_rows,
          {.blob = BLOB,
           .n = 2,
           .row = {{.ident = IDENT, .meta = BYTES("m"), .body = BYTES("row")},
                   {.ident = IDENT, .meta = BYTES("")}}});
    CHECK(blob_open, {.blob = BLOB, .vault = {7}, .term = 3, .chunk = BYTES("c")});
    CHECK(use, {.ident = IDENT, .row = BYTES("row"), .op = KV_OP_WRAP});
    kv_buf_free(&out);
}

#define MARK                                                                           \
    {                                                                                  \
        .segment = 1, .seq = 0x1122334455667788, .mac = { 9 }                          \
    }

Test(role, messages_of_the_audit_log_keep_the_rules_of_codecs)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX_ROLE);
    CHECK(audit_mark, {.mark = MARK});
    CHECK(audit_opened, {.key = {1}, .sealed = {.after = MARK, .seal = {2}}});
    CHECK(audit_sealed, {.sealed = {.after = MARK, .seal = {3}}});
    CHECK(audit_range, {.first = 7, .n = KV_AUDIT_BATCH_MAX});
    CHECK(audit_keys, {.last = MARK, .n = 2, .key = {{1}, {2}}});
    CHECK(audit_seals, {.n = 1,
                        .row = {{.kind = KV_AUDIT_SEAL_OPEN,
                                 .mark = MARK,
                                 .sealed = {.after = MARK, .seal = {4}}}}});
    CHECK(audit_checked, {.n = 2, .is_true = {1, 0}});
    CHECK(audit_uses_ask,
          {.from = 3,
           .n_done = 1,
           .done = {{.uid = 33, .version = {1}, .counts = {.n = {1, 2, 3}}}}});
    CHECK(audit_uses, {.next = 9,
                       .n = 1,
                       .row = {{.uid = 33,
                                .vault = {1},
                                .name = "web",
                                .version = {2},
                                .counts = {.n = {UINT32_MAX, 2, 3}}}}});
    kv_buf_free(&out);
}

#define REFUSED(name, why, ...)                                                        \
    do {                                                                               \
        kv_buf_reset(&out);                                                            \
        static const struct kv_role_##name msg = __VA_ARGS__;                          \
        kv_role_##name##_put(&out, &msg);                                              \
        const struct kv_bytes bytes = {out.data, out.len};                             \
        cr_assert_eq(again_##name(bytes, &again), KV_E_INVALID, "%s", why);            \
    } while (0)

Test(role, refuses_values_out_of_range)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX_ROLE);
    struct kv_buf again;
    kv_buf_init(&again, KV_FRAME_MAX_ROLE);
    REFUSED(rows, "kind 0", {.n = 1});
    REFUSED(rows, "kind behind the last",
            {.n = 1, .row = {{.ident = {.kind = KV_KIND_LAST + 1}}}});
    REFUSED(rows, "positive status", {.n = 1, .row = {{.ident = IDENT, .status = 1}}});
    REFUSED(infos, "key without a type", {.n = 1});
    REFUSED(usage, "counts of no key", {.n = 1});
    REFUSED(key_new, "kty 4", {.ident = IDENT, .kty = 4, .attrs = ATTRS});
    REFUSED(key_new, "curve 6", {.ident = IDENT, .kty = 2, .curve = 6, .attrs = ATTRS});
    REFUSED(key_new, "import form 7",
            {.ident = IDENT, .attrs = ATTRS, .import = 7, .material = BYTES("x")});
    REFUSED(key_new, "import of nothing",
            {.ident = IDENT, .attrs = ATTRS, .import = KV_IMPORT_DER});
    REFUSED(key_new, "generate with material",
            {.ident = IDENT, .kty = 1, .bits = 2048, .material = BYTES("x")});
    REFUSED(key_new, "enabled is 2",
            {.ident = IDENT, .kty = 1, .bits = 2048, .attrs = {.is_enabled = 2}});
    REFUSED(key_new, "unknown operation",
            {.ident = IDENT, .kty = 1, .bits = 2048, .attrs = {.ops = 1 << 11}});
    REFUSED(blob_open, "no rows", {.blob = {.kind = 1, .name = "n"}});
    REFUSED(blob_open, "kind 4", {.blob = {.kind = 4, .name = "n", .n_rows = 1}});
    REFUSED(blob_open, "no name", {.blob = {.kind = 1, .n_rows = 1}});
    REFUSED(blob_open, "behind the end",
            {.blob = {.kind = 1, .name = "n", .n_rows = 1, .at = 1}});
    REFUSED(blob_open, "too many rows",
            {.blob = {.kind = 1, .name = "n", .n_rows = KV_BLOB_ROWS_MAX + 1}});
    REFUSED(blob_rows, "an empty chunk", {.blob = BLOB});
    REFUSED(blob_rows, "more rows than are left",
            {.blob = BLOB,
             .n = 3,
             .row = {{.ident = IDENT}, {.ident = IDENT}, {.ident = IDENT}}});
    REFUSED(tbs, "kind of body 0", {.ident = IDENT});
    REFUSED(tbs, "kind of body 3", {.ident = IDENT, .tbs = 3});
    REFUSED(export, "format 3", {.ident = IDENT, .format = 3});
    REFUSED(grant, "neither version nor uri", {.uid = 1});
    REFUSED(use, "no operation", {.ident = IDENT});
    REFUSED(use, "two operations", {.ident = IDENT, .op = KV_OP_SIGN | KV_OP_WRAP});
    REFUSED(audit_seals, "kind of seal 0", {.n = 1});
    REFUSED(audit_checked, "a seal that is truer than true", {.n = 1, .is_true = {2}});
    REFUSED(list, "bad vault name", {.list = {.vault = "a_b"}});
    kv_buf_free(&out);
    kv_buf_free(&again);
}

Test(role, refuses_more_rows_than_a_batch)
{
    struct kv_buf out;
    kv_buf_init(&out, KV_FRAME_MAX_ROLE);
    const struct kv_ident ident = IDENT;
    kv_wire_put_u16(&out, KV_BATCH_MAX + 1);
    for (int i = 0; i <= KV_BATCH_MAX; i++) {
        kv_ident_put(&out, &ident);
        kv_wire_put_u32(&out, 0);
        kv_wire_put_bytes(&out, NULL, 0);
    }
    static struct kv_role_rows rows;
    cr_assert_eq(kv_role_rows_get((struct kv_bytes){out.data, out.len}, &rows),
                 KV_E_INVALID);
    kv_buf_free(&out);
}
