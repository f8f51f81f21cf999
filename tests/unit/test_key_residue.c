/*
 * What keys leave in the memory of the process once they are gone: nothing. libcrypto
 * parses and writes with buffers of its own, which it frees as they are; a copy that
 * is planted must be found.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>

#include "store/core/secret.h"
#include "store/keyring/key_internal.h"
#include "tests/support/fixture.h"

static void setup(void)
{
    cr_assert_eq(kv_keys_init(NULL), 0);
}

TestSuite(key_residue, .timeout = 20, .init = setup, .fini = kv_keys_fini);

enum { MARK = 24, CHUNK = 65536, MASK = 0x5a };

/* The first prime of the key, big-endian and as libcrypto's words, never unmasked. */
static uint8_t masked[2][MARK];

static size_t count_in(const uint8_t *data, size_t len, size_t which)
{
    size_t n_found = 0;
    for (size_t at = 0; at + MARK <= len; at++) {
        size_t i = 0;
        while (i < MARK && (data[at + i] ^ MASK) == masked[which][i])
            i++;
        n_found += i == MARK;
    }
    return n_found;
}

static size_t scan_range(int mem, unsigned long from, unsigned long to)
{
    static uint8_t chunk[CHUNK + MARK];
    size_t n_found = 0;
    for (unsigned long at = from; at < to; at += CHUNK) {
        size_t want = to - at < sizeof(chunk) ? to - at : sizeof(chunk);
        ssize_t n = pread(mem, chunk, want, (off_t)at);
        for (size_t which = 0; n > 0 && which < 2; which++)
            n_found += count_in(chunk, (size_t)n, which);
        kv_wipe(chunk, sizeof(chunk)); /* or it would be found itself */
    }
    return n_found;
}

/* Copies of the mark in all writable memory of this process. */
static size_t scan(void)
{
    char line[512];
    size_t n_found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    cr_assert(maps != NULL && mem >= 0);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from = 0;
        unsigned long to = 0;
        char access[8] = "";
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) == 3 && access[0] == 'r' &&
            access[1] == 'w' && to - from < (256UL << 20))
            n_found += scan_range(mem, from, to);
    }
    close(mem);
    fclose(maps);
    return n_found;
}

static void learn_mark(const struct kv_key *key)
{
    uint8_t bytes[128];
    BIGNUM *p = NULL;
    cr_assert_eq(EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_RSA_FACTOR1, &p), 1);
    cr_assert_eq(BN_bn2binpad(p, bytes, sizeof(bytes)), (int)sizeof(bytes));
    for (size_t i = 0; i < MARK; i++) {
        masked[0][i] = bytes[40 + i] ^ MASK;
        masked[1][i] = bytes[sizeof(bytes) - 1 - 40 - i] ^ MASK;
    }
    kv_wipe(bytes, sizeof(bytes));
    BN_clear_free(p);
}

static const struct {
    const char *file;
    uint8_t import;
} files[] = {
    {"keys/aes.pfx", KV_IMPORT_PFX},        {"keys/legacy-rc2.pfx", KV_IMPORT_PFX},
    {"keys/plain-all.pfx", KV_IMPORT_PFX},  {"keys/rsa2048.p8.der", KV_IMPORT_DER},
    {"keys/rsa2048.p1.der", KV_IMPORT_DER}, {"keys/rsa2048.pem", KV_IMPORT_PEM},
};

static void import_use_and_drop(size_t row, bool learn)
{
    struct kv_buf file;
    struct kv_buf out;
    struct kv_key *key = NULL;
    static const uint8_t password[] = "secret";
    static const uint8_t digest[32];
    fixture_read(files[row].file, &file);
    struct kv_role_key_new request = {.import = files[row].import,
                                      .password = {password, 6},
                                      .material = fixture_bytes(&file)};
    cr_assert_eq(kv_key_import(&request, &key, NULL, NULL), 0);
    if (learn)
        learn_mark(key);
    kv_buf_init_secret(&out, 100000);
    struct kv_msg_sign sign = {
        .sig = KV_SIG_PKCS1, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    cr_expect_eq(kv_key_sign(key, 0, &sign, &out, NULL), 0);
    cr_expect_eq(kv_key_to_pkcs8(key, &out), 0);
    for (uint8_t format = KV_EXPORT_PFX; format <= KV_EXPORT_PEM; format++) {
        struct kv_role_export export = {.format = format, .password = {password, 6}};
        cr_expect_eq(kv_key_export(key, &export, &out, NULL), 0);
    }
    kv_buf_free(&out);
    cr_expect_gt(scan(), 0, "%s: the key lives", files[row].file);
    kv_key_unref(key);
    kv_wipe(file.data, file.cap); /* some of them hold the key as it is */
    kv_buf_free(&file);
}

Test(key_residue, keys_that_are_gone_leave_nothing)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        import_use_and_drop(i, true);
        cr_expect_eq(scan(), 0, "%s: %zu copies", files[i].file, scan());
    }
    uint8_t *planted = malloc(MARK);
    for (size_t i = 0; i < MARK; i++)
        planted[i] = masked[0][i] ^ MASK;
    cr_expect_eq(scan(), 1, "a planted copy is found");
    kv_wipe(planted, MARK);
    free(planted);
}
