/* Loading key files: what is asked of the daemon, what is refused, and what a daemon
 * that does not answer costs. The clock can be set forward. */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provider/client.h"
#include "store/core/clock.h"
#include "tests/support/evp_check.h"

TestSuite(evp_load, .timeout = 60, .init = evp_check_open, .fini = evp_check_close);

static int64_t advanced_ms;
int64_t __real_kv_monotonic_ms(const struct kv_clock *clock);
int64_t __wrap_kv_monotonic_ms(const struct kv_clock *clock);
int64_t __wrap_kv_monotonic_ms(const struct kv_clock *clock)
{
    return __real_kv_monotonic_ms(clock) + advanced_ms;
}

static int64_t real_ms(void)
{
    return __real_kv_monotonic_ms(kv_clock_system());
}

/* --- a key file and its key --- */

static size_t pinned(const char *name, EVP_PKEY *key, char *pem, size_t size)
{
    struct kv_keyref ref;
    evp_check_keyref(name, key, &ref);
    return evp_check_pem(&ref, pem, size);
}

static EVP_PKEY *load(const char *pem)
{
    return provider_fixture_pem(&evp_fixture, pem, strlen(pem));
}

Test(evp_load, a_pinned_file_is_compared_by_one_question)
{
    for (size_t i = 0; i < EVP_CHECK_N_NAMES; i++) {
        const char *name = evp_check_names[i];
        char pem[4096];
        unsigned char sig[600];
        size_t len = sizeof(sig);
        EVP_PKEY *file = evp_check_software(name);
        (void)pinned(name, file, pem, sizeof(pem));
        const unsigned before = evp_check_frames();
        EVP_PKEY *key = load(pem);
        cr_assert_not_null(key, "%s", name);
        evp_check_clean("loading a key file");
        cr_expect_eq(evp_check_frames() - before, 1u, "%s", name);
        cr_expect_eq(EVP_PKEY_eq(key, file), 1, "%s", name);
        cr_expect_eq(provider_fixture_sign(key, sig, &len), 1, "%s", name);
        cr_expect_eq(provider_fixture_verify(file, sig, len), 1, "%s", name);
        EVP_PKEY_free(key);
        EVP_PKEY_free(file);
    }
}

Test(evp_load, another_public_key_is_refused_where_the_daemon_answers)
{
    char pem[4096];
    EVP_PKEY *file = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    EVP_PKEY *other = evp_check_software("web");
    (void)pinned("p256", file, pem, sizeof(pem));
    cr_expect_null(load(pem));
    evp_check_refused("a file with a foreign key", "not the one that was loaded",
                      "keyvault key uri-pem");
    (void)pinned("p256", other, pem, sizeof(pem));
    cr_expect_null(load(pem), "nor that of another key of the vault");
    evp_check_refused("a file with another key", "not the one that was loaded", "p256");
    (void)pinned("ed25519", other, pem, sizeof(pem));
    cr_expect_null(load(pem), "nor one of another type");
    evp_check_refused("a file with another type", "not the one that was loaded",
                      "ed25519");
    EVP_PKEY_free(other);
    EVP_PKEY_free(file);
}

Test(evp_load, a_file_that_contradicts_itself_asks_nobody)
{
    static const char *const types[] = {"RSA", "ED25519"};
    EVP_PKEY *file = evp_check_software("p256");
    const unsigned before = evp_check_frames();
    for (size_t i = 0; i < 2; i++) {
        char pem[4096];
        struct kv_keyref ref;
        evp_check_keyref("p256", file, &ref);
        (void)snprintf(ref.key_type, sizeof(ref.key_type), "%s", types[i]);
        (void)evp_check_pem(&ref, pem, sizeof(pem));
        cr_expect_null(load(pem), "%s", types[i]);
        evp_check_refused(types[i], "malformed KEYVAULT KEY URI file",
                          "but the key is EC");
    }
    cr_expect_eq(evp_check_frames(), before);
    EVP_PKEY_free(file);
}

Test(evp_load, public_keys_of_no_use_are_refused)
{
    static const char *const types[] = {"X25519", "ED448", "RSA-PSS"};
    const unsigned before = evp_check_frames();
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char pem[4096];
        struct kv_keyref ref;
        EVP_PKEY *file = NULL;
        if (strcmp(types[i], "RSA-PSS") == 0) {
            EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, types[i], NULL);
            cr_assert_eq(EVP_PKEY_keygen_init(ctx), 1);
            cr_assert_eq(EVP_PKEY_generate(ctx, &file), 1);
            EVP_PKEY_CTX_free(ctx);
        } else {
            file = EVP_PKEY_Q_keygen(NULL, NULL, types[i]);
        }
        cr_assert_not_null(file);
        evp_check_keyref("p256", file, &ref);
        (void)evp_check_pem(&ref, pem, sizeof(pem));
        cr_expect_null(load(pem), "%s", types[i]);
        evp_check_refused(types[i], NULL, "not a usable RSA, EC or Ed25519 key");
        EVP_PKEY_free(file);
    }
    cr_expect_eq(evp_check_frames(), before);
}

Test(evp_load, a_following_file_takes_the_newest_version)
{
    char pem[4096];
    struct kv_keyref ref;
    EVP_PKEY *file = evp_check_software("ed25519");
    evp_check_keyref("ed25519", NULL, &ref);
    (void)snprintf(ref.key_type, sizeof(ref.key_type), "ED25519");
    (void)evp_check_pem(&ref, pem, sizeof(pem));
    const unsigned before = evp_check_frames();
    EVP_PKEY *key = load(pem);
    cr_assert_not_null(key);
    evp_check_clean("loading a key file");
    cr_expect_eq(evp_check_frames() - before, 1u);
    cr_expect_eq(EVP_PKEY_eq(key, file), 1);
    EVP_PKEY_free(key);
    EVP_PKEY_free(file);
}

Test(evp_load, only_the_public_part_asks_nobody)
{
    char pem[4096];
    EVP_PKEY *file = evp_check_software("p384");
    (void)pinned("p384", file, pem, sizeof(pem));
    const unsigned before = evp_check_frames();
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key =
        PEM_read_bio_PUBKEY_ex(bio, NULL, NULL, NULL, evp_fixture.libctx, NULL);
    if (key != NULL) { /* libcrypto 3.0 takes only PUBLIC KEY blocks here */
        cr_expect_eq(EVP_PKEY_eq(key, file), 1);
        EVP_PKEY_free(key);
    }
    cr_expect_eq(evp_check_frames(), before);
    ERR_clear_error();
    BIO_free(bio);
    EVP_PKEY_free(file);
}

Test(evp_load, an_unknown_version_loads_and_says_so_when_used)
{
    char pem[4096];
    unsigned char sig[600];
    size_t len = sizeof(sig);
    struct kv_keyref ref;
    EVP_PKEY *file = evp_check_software("p256");
    evp_check_keyref("p256", file, &ref);
    ref.uri.version[0] ^= 1;
    (void)evp_check_pem(&ref, pem, sizeof(pem));
    EVP_PKEY *key = load(pem);
    cr_assert_not_null(key, "only a difference refuses a load");
    evp_check_clean("loading a key file");
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 0);
    evp_check_refused("a signature", "no such key", "p256");
    EVP_PKEY_free(key);
    EVP_PKEY_free(file);
}

/* --- a daemon that does not answer --- */

/* The fixture waits 500 ms to connect: a timeout for each of fifty loads would take 25
 * s. */
#define N_LOADS 50
#define MOST_MS 10000

/* Load `n` times; returns how long it took. */
static int64_t load_many(const char *pem, unsigned n, const char *what)
{
    const int64_t from_ms = real_ms();
    for (unsigned i = 0; i < n; i++) {
        EVP_PKEY *key = load(pem);
        cr_expect_not_null(key, "%s", what);
        evp_check_clean(what);
        EVP_PKEY_free(key);
    }
    return real_ms() - from_ms;
}

Test(evp_load, a_daemon_that_does_not_answer_costs_one_timeout)
{
    static const struct {
        const char *name;
        enum fake_mode mode;
    } rows[] = {
        {"hangs at HELLO", FAKE_HANG_HELLO},
        {"half a reply", FAKE_TRUNCATE},
        {"too long", FAKE_OVERSIZE},
        {"another id", FAKE_WRONG_ID},
        {"drips", FAKE_DRIP},
        {"sealed", FAKE_SEALED},
        {"no service", FAKE_NO_SERVICE},
    };
    char pem[4096];
    EVP_PKEY *file = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    (void)pinned("p256", file, pem, sizeof(pem));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_keyring_set_mode(evp_fixture.keyring, rows[i].mode);
        advanced_ms += 3600000;
        cr_expect_lt(load_many(pem, N_LOADS, rows[i].name), MOST_MS, "%s",
                     rows[i].name);
    }
    fake_keyring_set_mode(evp_fixture.keyring, FAKE_GOOD);
    advanced_ms += KV_CLIENT_PAUSE_MS;
    cr_expect_null(load(pem), "a daemon that answers again is asked again");
    evp_check_refused("a file with a foreign key", "not the one that was loaded", NULL);
    EVP_PKEY_free(file);
}

Test(evp_load, after_silence_nobody_is_asked_for_five_seconds)
{
    char pem[4096];
    EVP_PKEY *file = evp_check_software("p256");
    (void)pinned("p256", file, pem, sizeof(pem));
    fake_keyring_set_mode(evp_fixture.keyring, FAKE_HANG_HELLO);
    (void)load_many(pem, 1, "silence");
    fake_keyring_set_mode(evp_fixture.keyring, FAKE_GOOD);
    const unsigned before = evp_check_frames();
    (void)load_many(pem, 3, "within five seconds");
    cr_expect_eq(evp_check_frames(), before);
    advanced_ms += KV_CLIENT_PAUSE_MS;
    (void)load_many(pem, 3, "later");
    cr_expect_eq(evp_check_frames() - before, 3u);
    EVP_PKEY_free(file);
}

Test(evp_load, a_daemon_that_is_down_costs_nothing)
{
    char pem[4096];
    unsigned char sig[600];
    size_t len = sizeof(sig);
    EVP_PKEY *file = evp_check_software("p256");
    (void)pinned("p256", file, pem, sizeof(pem));
    fake_keyring_stop(evp_fixture.keyring);
    evp_fixture.keyring = NULL;
    cr_expect_lt(load_many(pem, N_LOADS, "down"), MOST_MS);
    EVP_PKEY *key = load(pem);
    cr_expect_eq(provider_fixture_sign(key, sig, &len), 0);
    evp_check_refused("a signature", "cannot be reached", NULL);
    EVP_PKEY_free(key);
    EVP_PKEY_free(file);
}

struct loader {
    const char *pem;
    unsigned n;
    unsigned n_loaded;
};

static void *load_on_thread(void *arg)
{
    struct loader *loader = arg;
    for (unsigned i = 0; i < loader->n; i++) {
        EVP_PKEY *key = load(loader->pem);
        loader->n_loaded += key != NULL;
        EVP_PKEY_free(key);
    }
    return NULL;
}

#define N_THREADS 8

/* Returns how many loads went well. */
static unsigned load_on_threads(const char *pem, unsigned n)
{
    pthread_t threads[N_THREADS];
    struct loader loaders[N_THREADS];
    unsigned n_loaded = 0;
    for (size_t i = 0; i < N_THREADS; i++) {
        loaders[i] = (struct loader){.pem = pem, .n = n};
        cr_assert_eq(pthread_create(&threads[i], NULL, load_on_thread, &loaders[i]), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        n_loaded += loaders[i].n_loaded;
    }
    return n_loaded;
}

Test(evp_load, threads_load_and_compare_at_once)
{
    char good[4096];
    char bad[4096];
    EVP_PKEY *file = evp_check_software("p256");
    EVP_PKEY *other = evp_check_software("web");
    (void)pinned("p256", file, good, sizeof(good));
    (void)pinned("p256", other, bad, sizeof(bad));
    const unsigned before = evp_check_frames();
    cr_expect_eq(load_on_threads(good, N_LOADS), N_LOADS * N_THREADS);
    cr_expect_eq(load_on_threads(bad, N_LOADS), 0u);
    cr_expect_eq(evp_check_frames() - before, 2u * N_LOADS * N_THREADS);
    fake_keyring_set_mode(evp_fixture.keyring, FAKE_HANG_HELLO);
    const int64_t from_ms = real_ms();
    advanced_ms += 3600000;
    EVP_PKEY_free(other);
    EVP_PKEY_free(file);
    cr_expect_eq(load_on_threads(good, N_LOADS), N_LOADS * N_THREADS);
    cr_expect_lt(real_ms() - from_ms, MOST_MS, "silence costs each thread one");
}

/* Runs in a child; its exit status says what it saw. */
static int in_child(const char *good, const char *bad, int64_t most_ms)
{
    const pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        const int64_t from_ms = real_ms();
        EVP_PKEY *key = load(good);
        EVP_PKEY *refused = bad == NULL ? NULL : load(bad);
        const bool is_late = real_ms() - from_ms > most_ms;
        _exit(key == NULL ? 1 : refused != NULL ? 2 : is_late ? 3 : 0);
    }
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(evp_load, a_child_compares_and_knows_of_the_silence)
{
    char good[4096];
    char bad[4096];
    EVP_PKEY *file = evp_check_software("p256");
    EVP_PKEY *other = evp_check_software("web");
    (void)pinned("p256", file, good, sizeof(good));
    (void)pinned("p256", other, bad, sizeof(bad));
    (void)load_many(good, 1, "the parent");
    cr_expect_eq(in_child(good, bad, MOST_MS), 0);
    fake_keyring_set_mode(evp_fixture.keyring, FAKE_HANG_HELLO);
    advanced_ms += 3600000;
    (void)load_many(good, 1, "the parent, in silence");
    cr_expect_eq(in_child(bad, NULL, 450), 0, "the child does not wait again");
    EVP_PKEY_free(other);
    EVP_PKEY_free(file);
}

/* --- files as servers have them --- */

Test(evp_load, other_blocks_may_stand_in_front)
{
    static const char ec_parameters[] = "-----BEGIN EC PARAMETERS-----\n"
                                        "BggqhkjOPQMBBw==\n"
                                        "-----END EC PARAMETERS-----\n";
    static const char dh_parameters[] =
        "-----BEGIN DH PARAMETERS-----\n"
        "MEYCQQDaWDwW2YUiidDkr3VvTMqS3UvlM7gE+w/tlO+cikQD7VdGUNNpmdsp13Yn\n"
        "a6LT1BLiGPTdHghM9tgAPnxHdOgzAgEC\n"
        "-----END DH PARAMETERS-----\n";
    char certificate[4096] = "";
    char pem[4096];
    EVP_PKEY *file = evp_check_software("web");
    X509 *cert = evp_check_certificate("web", evp_fixture.libctx);
    BIO *out = BIO_new(BIO_s_mem());
    cr_assert_eq(PEM_write_bio_X509(out, cert), 1);
    cr_assert_gt(BIO_read(out, certificate, sizeof(certificate) - 1), 0);
    (void)pinned("web", file, pem, sizeof(pem));
    const char *const fronts[] = {"",
                                  "a line of text\n",
                                  "\n\r\n",
                                  certificate,
                                  ec_parameters,
                                  dh_parameters,
                                  "Bag Attributes\n    friendlyName: web\n"};
    for (size_t i = 0; i < sizeof(fronts) / sizeof(fronts[0]); i++) {
        char text[20000];
        (void)snprintf(text, sizeof(text), "%s%s%s%s", fronts[i], fronts[i], pem,
                       certificate);
        EVP_PKEY *key = load(text);
        cr_expect_not_null(key, "front %zu", i);
        evp_check_clean("loading a key behind other blocks");
        cr_expect_eq(EVP_PKEY_eq(key, file), 1, "front %zu", i);
        EVP_PKEY_free(key);
    }
    BIO_free(out);
    X509_free(cert);
    EVP_PKEY_free(file);
}

Test(evp_load, lines_may_end_as_on_other_systems)
{
    char pem[4096];
    char text[8192];
    size_t n = 0;
    EVP_PKEY *file = evp_check_software("rsa");
    const size_t len = pinned("rsa", file, pem, sizeof(pem));
    for (size_t i = 0; i < len; i++) {
        if (pem[i] == '\n')
            text[n++] = '\r';
        text[n++] = pem[i];
    }
    text[n] = '\0';
    EVP_PKEY *key = load(text);
    cr_expect_not_null(key);
    EVP_PKEY_free(key);
    text[n - 2] = '\0'; /* no end of the last line */
    key = load(text);
    cr_expect_not_null(key);
    evp_check_clean("loading a key file");
    EVP_PKEY_free(key);
    EVP_PKEY_free(file);
}
