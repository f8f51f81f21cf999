/* lifecycle/cli/chain.c: certificates in files of any form. */
#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <string.h>

#include "lifecycle/cli/chain.h"
#include "tests/support/chain_maker.h"

TestSuite(cli_chain, .timeout = 20);

static struct chain_made ca;
static struct chain_made leaf;

static void setup(void)
{
    ca = chain_make(&(struct chain_maker){.type = "P-256", .subject = "ca"}, NULL);
    leaf = chain_make(&(struct chain_maker){.type = "P-256", .subject = "leaf"}, &ca);
}

static void teardown(void)
{
    chain_made_free(&leaf);
    chain_made_free(&ca);
}

/* A file of this content; the BIO is taken. */
static struct kv_buf file_of(BIO *bio)
{
    struct kv_buf file;
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    kv_buf_init(&file, 65536);
    cr_assert_eq(kv_buf_append(&file, data, (size_t)len), 0);
    BIO_free(bio);
    return file;
}

static PKCS7 *make_bag(void)
{
    PKCS7 *bag = PKCS7_new();
    cr_assert_eq(PKCS7_set_type(bag, NID_pkcs7_signed), 1);
    cr_assert_eq(PKCS7_content_new(bag, NID_pkcs7_data), 1);
    cr_assert_eq(PKCS7_add_certificate(bag, leaf.cert), 1);
    cr_assert_eq(PKCS7_add_certificate(bag, ca.cert), 1);
    return bag;
}

/* The file has these certificates, in this order. */
static void expect_chain(struct kv_buf file, size_t n)
{
    const struct chain_made *made[] = {&leaf, &ca};
    struct kv_err err = KV_ERR_INIT;
    json_t *x5c = NULL;
    cr_assert_eq(kv_chain_load(&file, &x5c, &err), 0, "%s", err.message);
    cr_assert_eq(json_array_size(x5c), n);
    for (size_t i = 0; i < n; i++) {
        char text[8192];
        int len =
            EVP_EncodeBlock((unsigned char *)text, made[i]->der, (int)made[i]->der_len);
        cr_expect_eq((size_t)len, strlen(json_string_value(json_array_get(x5c, i))));
        cr_expect_str_eq(json_string_value(json_array_get(x5c, i)), text);
    }
    json_decref(x5c);
    kv_buf_free(&file);
}

Test(cli_chain, pem_with_text_and_other_blocks_between, .init = setup, .fini = teardown)
{
    BIO *bio = BIO_new(BIO_s_mem());
    BIO_puts(bio, "subject=leaf\n");
    PEM_write_bio_X509(bio, leaf.cert);
    PEM_write_bio_PUBKEY(bio, leaf.key);
    PEM_write_bio_X509(bio, ca.cert);
    expect_chain(file_of(bio), 2);
}

Test(cli_chain, der_of_one_certificate, .init = setup, .fini = teardown)
{
    BIO *bio = BIO_new(BIO_s_mem());
    BIO_write(bio, leaf.der, (int)leaf.der_len);
    expect_chain(file_of(bio), 1);
}

Test(cli_chain, pkcs7_in_pem_and_der, .init = setup, .fini = teardown)
{
    PKCS7 *bag = make_bag();
    BIO *pem = BIO_new(BIO_s_mem());
    BIO *der = BIO_new(BIO_s_mem());
    PEM_write_bio_PKCS7(pem, bag);
    i2d_PKCS7_bio(der, bag);
    PKCS7_free(bag);
    expect_chain(file_of(pem), 2);
    expect_chain(file_of(der), 2);
}

Test(cli_chain, refuses_what_holds_no_certificate, .init = setup, .fini = teardown)
{
    static const char *const texts[] = {
        "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct kv_err err = KV_ERR_INIT;
        json_t *x5c = NULL;
        BIO *bio = BIO_new(BIO_s_mem());
        BIO_puts(bio, texts[i]);
        struct kv_buf file = file_of(bio);
        cr_expect_eq(kv_chain_load(&file, &x5c, &err), KV_E_INVALID, "%s", texts[i]);
        cr_expect_str_eq(err.id, "pem.no-certificate", "%s", texts[i]);
        kv_buf_free(&file);
    }
}
