/*
 * Preparing a nonce takes no lock that signatures take. libcrypto looks up its method
 * of random numbers under a lock of the whole process; that look-up is replaced.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* another method, to see that nobody asks it */

#include <criterion/criterion.h>
#include <openssl/rand.h>
#include <string.h>

#include "store/keyring/key_internal.h"
#include "store/keyring/nonce_make.h"

static unsigned n_asked;

static int refuse(unsigned char *out, int len)
{
    (void)out;
    (void)len;
    n_asked++;
    return 0;
}

Test(nonce_alone, no_method_of_random_numbers_is_looked_up, .timeout = 60)
{
    uint8_t d[KV_SCALAR_MAX_LEN];
    struct kv_nonce nonce;
    struct kv_nonce_maker *maker = NULL;
    RAND_METHOD other = {.bytes = refuse, .pseudorand = refuse};
    memset(d, 1, sizeof(d));
    d[0] = 0; /* less than every order */
    cr_assert_eq(kv_keys_init(NULL), 0);
    cr_assert_eq(kv_nonce_maker_new(&maker, kv_rand_kernel()), 0);
    cr_assert_eq(RAND_set_rand_method(&other), 1);
    for (uint8_t curve = KV_CURVE_P256; curve <= KV_CURVE_P256K; curve++)
        cr_expect_eq(kv_nonce_make(maker, curve, d, &nonce), 0, "curve %u", curve);
    cr_expect_eq(n_asked, 0);
    cr_assert_eq(RAND_set_rand_method(NULL), 1);
    kv_nonce_maker_free(maker);
    kv_keys_fini();
}
