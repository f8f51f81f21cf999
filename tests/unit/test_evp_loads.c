/* Ten thousand loads: neither memory nor descriptors nor connections grow. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <malloc.h>
#include <openssl/err.h>
#include <openssl/store.h>
#include <sched.h>
#include <string.h>

#include "tests/support/evp_check.h"

/* On one CPU, so that one connection serves all. */
static void setup(void)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((unsigned)sched_getcpu(), &cpus);
    cr_assert_eq(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
    evp_check_open();
}

TestSuite(evp_loads, .timeout = 200, .init = setup, .fini = evp_check_close);

#define N_LOADS 10000
#define N_WARM 300 /* caches fill up */
#define MAX_GROWTH 32768

/* There under AddressSanitizer, whose allocator mallinfo2 does not know. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
    return __sanitizer_get_current_allocated_bytes != NULL
               ? __sanitizer_get_current_allocated_bytes()
               : mallinfo2().uordblks;
}

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    cr_assert_not_null(dir);
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n;
}

static char pem[2][4096];

static void load_pem(unsigned i)
{
    const char *text = pem[i % 2];
    EVP_PKEY *key = provider_fixture_pem(&evp_fixture, text, strlen(text));
    cr_assert_not_null(key);
    EVP_PKEY_free(key);
}

static void load_bad_pem(unsigned i)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "-----BEGIN KEYVAULT KEY URI-----\n%u", i);
    cr_assert_null(provider_fixture_pem(&evp_fixture, text, strlen(text)));
    ERR_clear_error();
}

static void load_uri(unsigned i)
{
    static const char *const uris[] = {"keyvault:///keys/p256", "keyvault:web",
                                       "keyvault:///certificates/web",
                                       "keyvault:///keys/none"};
    const char *uri = uris[i % 4];
    unsigned n = 0;
    OSSL_STORE_CTX *store =
        OSSL_STORE_open_ex(uri, evp_fixture.libctx, NULL, NULL, NULL, NULL, NULL, NULL);
    cr_assert_not_null(store);
    while (!OSSL_STORE_eof(store)) {
        OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        n += info != NULL;
        OSSL_STORE_INFO_free(info);
    }
    cr_assert_eq(n, i % 4 == 0 ? 1 : i % 4 == 1 ? 3 : i % 4 == 2 ? 2 : 0);
    (void)OSSL_STORE_close(store);
    ERR_clear_error();
}

static void load_and_sign(unsigned i)
{
    unsigned char sig[128];
    size_t len = sizeof(sig);
    const char *text = pem[i % 2];
    EVP_PKEY *key = provider_fixture_pem(&evp_fixture, text, strlen(text));
    cr_assert_not_null(key);
    cr_assert_eq(provider_fixture_sign(key, sig, &len), 1);
    EVP_PKEY_free(key);
}

static void load_beside_silence(unsigned i)
{
    if (i == 0)
        fake_keyring_set_mode(evp_fixture.keyring, FAKE_HANG_HELLO);
    load_pem(i);
}

static void repeat(void (*load)(unsigned i), unsigned n)
{
    for (unsigned i = 0; i < N_WARM; i++)
        load(i);
    const size_t bytes = allocated();
    const unsigned n_descriptors = descriptors();
    const unsigned n_connections =
        fake_keyring_counts(evp_fixture.keyring)->connections;
    for (unsigned i = 0; i < n; i++)
        load(i);
    cr_expect_lt(allocated(), bytes + MAX_GROWTH, "%zu bytes more",
                 allocated() - bytes);
    cr_expect_leq(descriptors(), n_descriptors);
    cr_expect_eq(fake_keyring_counts(evp_fixture.keyring)->connections, n_connections);
}

static void write_files(void)
{
    static const char *const names[2] = {"p256", "ed25519"};
    for (size_t i = 0; i < 2; i++) {
        struct kv_keyref ref;
        EVP_PKEY *file = evp_check_software(names[i]);
        evp_check_keyref(names[i], file, &ref);
        (void)evp_check_pem(&ref, pem[i], sizeof(pem[i]));
        EVP_PKEY_free(file);
    }
    fake_keyring_prepare(evp_fixture.keyring, "keyvault:///keys/web");
}

Test(evp_loads, ten_thousand_key_files)
{
    write_files();
    repeat(load_pem, N_LOADS);
}

Test(evp_loads, two_thousand_bad_key_files)
{
    repeat(load_bad_pem, 2000);
}

Test(evp_loads, ten_thousand_uris)
{
    write_files();
    repeat(load_uri, N_LOADS);
}

Test(evp_loads, two_thousand_keys_used_once)
{
    write_files();
    repeat(load_and_sign, 2000);
}

Test(evp_loads, a_thousand_beside_a_silent_daemon)
{
    write_files();
    repeat(load_beside_silence, 1000);
}
