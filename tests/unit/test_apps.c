/*
 * Applications in memory and as documents.
 */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "lifecycle/auth/apps.h"
#include "tests/support/fixture.h"

TestSuite(apps, .timeout = 60);

#define TENANT "11111111-2222-4333-8444-555555555555"

static struct kv_apps *apps;

static void open_apps(void)
{
    cr_assert_eq(kv_apps_new(&apps), 0);
}

static struct kv_app make(const char *name)
{
    struct kv_app app;
    cr_assert_eq(kv_app_make(name, TENANT, 1800000000, kv_rand_system(), &app), 0);
    return app;
}

static void add(const char *name, char client_id[37])
{
    struct kv_app app = make(name);
    memcpy(client_id, app.client_id, sizeof(app.client_id));
    cr_assert_eq(kv_apps_put(apps, &app), 0);
}

Test(apps, ids_are_random_uuids)
{
    struct kv_app a = make("a");
    struct kv_app b = make("a");
    cr_assert_eq(strlen(a.client_id), 36);
    cr_assert_eq(a.client_id[14], '4');
    cr_assert_not_null(strchr("89ab", a.client_id[19]));
    cr_assert_str_neq(a.client_id, a.object_id);
    cr_assert_str_neq(a.client_id, b.client_id);
    cr_assert_str_eq(a.tenant, TENANT);
    cr_assert_eq(a.generation, 1);
    struct kv_app none;
    cr_assert_neq(kv_app_make("a", TENANT "x", 0, kv_rand_system(), &none), 0);
}

Test(apps, they_are_found_by_name_and_by_client_id)
{
    char first[37];
    char second[37];
    char third[37];
    open_apps();
    add("First", first);
    add("second", second);
    cr_assert_eq(kv_apps_count(apps), 2);
    cr_assert_str_eq(kv_apps_find(apps, "fIRST")->name, "First");
    cr_assert_str_eq(kv_apps_find(apps, second)->name, "second");
    cr_assert_str_eq(kv_apps_by_client(apps, first)->name, "First");
    cr_assert_null(kv_apps_by_client(apps, "first"), "a name is no id");
    cr_assert_eq(kv_apps_by_object(apps, kv_apps_at(apps, 0)->object_id),
                 kv_apps_at(apps, 0));
    cr_assert_null(kv_apps_by_object(apps, first), "nor a client id an object id");
    cr_assert_null(kv_apps_find(apps, "third"));
    add("FIRST", third);
    cr_assert_eq(kv_apps_count(apps), 2, "put replaces");
    cr_assert_null(kv_apps_by_client(apps, first));
    kv_apps_remove(apps, "first");
    kv_apps_remove(apps, "absent");
    cr_assert_eq(kv_apps_count(apps), 1);
    cr_assert_str_eq(kv_apps_at(apps, 0)->name, "second");
    cr_assert_null(kv_apps_at(apps, 1));
    kv_apps_free(apps);
}

Test(apps, many_of_them)
{
    char id[37];
    char name[16];
    open_apps();
    for (int i = 0; i < 200; i++) {
        (void)snprintf(name, sizeof(name), "app-%d", i);
        add(name, id);
    }
    cr_assert_eq(kv_apps_count(apps), 200);
    for (int i = 0; i < 200; i += 2) {
        (void)snprintf(name, sizeof(name), "APP-%d", i);
        kv_apps_remove(apps, name);
    }
    cr_assert_eq(kv_apps_count(apps), 100);
    cr_assert_null(kv_apps_find(apps, "app-100"));
    cr_assert_not_null(kv_apps_find(apps, "app-101"));
    kv_apps_free(apps);
}

Test(apps, a_secret_is_known_by_its_hash)
{
    char text[KV_TOKEN_TEXT_LEN + 1];
    char next[KV_TOKEN_TEXT_LEN + 1];
    struct kv_app app = make("a");
    cr_assert_not(kv_app_secret_matches(&app, ""));
    cr_assert_eq(kv_app_renew_secret(&app, kv_rand_system(), text), 0);
    cr_assert_eq(app.generation, 2, "what was got before ends");
    cr_assert(kv_app_secret_matches(&app, text));
    cr_assert_eq(kv_app_renew_secret(&app, kv_rand_system(), next), 0);
    cr_assert_not(kv_app_secret_matches(&app, text));
    cr_assert(kv_app_secret_matches(&app, next));
    next[0] ^= 1;
    cr_assert_not(kv_app_secret_matches(&app, next));
    json_t *doc = kv_app_doc(&app);
    char *dump = json_dumps(doc, 0);
    next[0] ^= 1;
    cr_assert_null(strstr(dump, next), "the document has no secret");
    free(dump);
    json_decref(doc);
    struct kv_app without = make("b");
    memset(without.secret_sha256, 0, sizeof(without.secret_sha256));
    cr_assert_not(kv_app_secret_matches(&without, text), "one that has none");
}

static X509 *certificate(const char *file)
{
    struct kv_buf text;
    X509 *out = NULL;
    struct kv_err err = KV_ERR_INIT;
    fixture_read(file, &text);
    cr_assert_eq(kv_app_read_certificate(text.data, text.len, &out, &err), 0, "%s",
                 err.message);
    kv_buf_free(&text);
    return out;
}

Test(apps, documents_come_back_as_they_were)
{
    char secret[KV_TOKEN_TEXT_LEN + 1];
    for (int i = 0; i < 4; i++) {
        struct kv_app app = make("Name");
        struct kv_app read;
        struct kv_app copy;
        if (i & 1)
            cr_assert_eq(kv_app_renew_secret(&app, kv_rand_system(), secret), 0);
        if (i & 2)
            app.certificate = certificate("keys/prime256v1-cert.pem");
        json_t *doc = kv_app_doc(&app);
        cr_assert_not_null(doc);
        cr_assert_eq(kv_app_read(doc, "Name", &read), 0);
        cr_assert_str_eq(read.client_id, app.client_id);
        cr_assert_str_eq(read.object_id, app.object_id);
        cr_assert_str_eq(read.tenant, TENANT);
        cr_assert_eq(read.generation, app.generation);
        cr_assert_eq(read.created_s, app.created_s);
        cr_assert_eq(read.has_secret, (i & 1) != 0);
        cr_assert_arr_eq(read.secret_sha256, app.secret_sha256, 32);
        cr_assert_eq(read.certificate != NULL, (i & 2) != 0);
        if (read.certificate != NULL)
            cr_assert_eq(X509_cmp(read.certificate, app.certificate), 0);
        cr_assert_eq(kv_app_dup(&read, &copy), 0);
        kv_app_free(&read);
        json_t *again = kv_app_doc(&copy);
        cr_assert(json_equal(again, doc));
        json_decref(again);
        json_decref(doc);
        kv_app_free(&copy);
        kv_app_free(&app);
    }
}

Test(apps, documents_that_are_not_whole_are_refused)
{
    static const char *const members[] = {"clientId", "objectId", "tenantId",
                                          "generation"};
    static const char *const wrong[] = {"clientId", "secretSha256", "certificate",
                                        "generation"};
    struct kv_app read;
    for (size_t i = 0; i < 4; i++) {
        struct kv_app app = make("n");
        json_t *doc = kv_app_doc(&app);
        json_object_del(doc, members[i]);
        cr_assert_eq(kv_app_read(doc, "n", &read), KV_E_INTEGRITY, "%s", members[i]);
        json_decref(doc);
        doc = kv_app_doc(&app);
        json_object_set_new(doc, wrong[i],
                            json_string("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"));
        cr_assert_eq(kv_app_read(doc, "n", &read), KV_E_INTEGRITY, "%s", wrong[i]);
        json_decref(doc);
    }
}

Test(apps, certificates_that_may_not_sign_are_refused)
{
    X509 *out = NULL;
    struct kv_err err = KV_ERR_INIT;
    struct kv_buf text;
    static const char *const texts[] = {"", "x", "-----BEGIN CERTIFICATE-----\n",
                                        "0\x82\x01\x01"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        cr_assert_eq(kv_app_read_certificate(texts[i], strlen(texts[i]), &out, &err),
                     KV_E_INVALID);
        cr_assert_str_eq(err.id, "app.bad-certificate");
        cr_assert_null(out);
    }
    fixture_read("keys/prime256v1.pem", &text);
    cr_assert_eq(kv_app_read_certificate(text.data, text.len, &out, &err), KV_E_INVALID,
                 "a key is no certificate");
    kv_buf_free(&text);
    X509 *good = certificate("keys/prime256v1-cert.pem");
    uint8_t *der = NULL;
    int len = i2d_X509(good, &der);
    cr_assert_eq(kv_app_read_certificate(der, (size_t)len, &out, NULL), 0, "DER");
    X509_free(out);
    uint8_t *longer = OPENSSL_zalloc((size_t)len + 1);
    memcpy(longer, der, (size_t)len);
    cr_assert_eq(kv_app_read_certificate(longer, (size_t)len + 1, &out, NULL),
                 KV_E_INVALID, "bytes behind it");
    OPENSSL_free(longer);
    OPENSSL_free(der);
    X509_free(good);
}
