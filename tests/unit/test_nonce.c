/*
 * Prepared nonces: who gets them, when they go, and that none signs twice. Time is a
 * clock of the test's own; only the thread that prepares them is waited for.
 */
#define OPENSSL_SUPPRESS_DEPRECATED /* the stand-in for libcrypto's generator */

#include "store/keyring/nonce_internal.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/keyring/key_internal.h"
#include "tests/support/signed_once.h"

enum { WAIT_TRIES = 20000, WAIT_US = 1000, N_SLOTS = 2 };

static struct {
    atomic_int_least64_t monotonic_us;
    atomic_int_least64_t wall_us;
    atomic_int_least64_t boot_us;
} now = {.monotonic_us = 1000000, .wall_us = 1700000000000000, .boot_us = 5000000};

static void read_now(void *ctx, struct kv_clock_reading *out)
{
    (void)ctx;
    *out = (struct kv_clock_reading){.monotonic_us = now.monotonic_us,
                                     .wall_us = now.wall_us,
                                     .boot_us = now.boot_us};
}

static const struct kv_clock test_clock = {.read = read_now};

static void advance(int64_t us)
{
    now.monotonic_us += us;
    now.wall_us += us;
    now.boot_us += us;
}

static void start(unsigned n_slots)
{
    const struct kv_nonces_config config = {
        .clock = &test_clock, .rand = kv_rand_system(), .n_slots = n_slots};
    cr_assert_eq(kv_nonces_start(&config, NULL), 0);
}

static void setup(void)
{
    cr_assert_eq(kv_keys_init(NULL), 0);
    start(N_SLOTS);
}

static void teardown(void)
{
    kv_nonces_stop();
    kv_keys_fini();
}

TestSuite(nonce, .timeout = 100, .init = setup, .fini = teardown);

struct signature {
    uint8_t bytes[KV_ECDSA_DER_MAX];
    size_t len;
};

static struct kv_key *make_key(uint8_t curve)
{
    struct kv_key *key = NULL;
    cr_assert_eq(kv_key_generate(KV_KTY_EC, curve, 0, &key, NULL), 0);
    return key;
}

/* Sign as the keyring does, and check the signature. */
static struct signature sign_in(struct kv_key *key, unsigned slot)
{
    struct kv_buf out;
    bool is_valid = false;
    struct signature sig = {.len = 0};
    static atomic_uint n_digests;
    uint8_t digest[32] = {0};
    const unsigned n = atomic_fetch_add(&n_digests, 1);
    memcpy(digest, &n, sizeof(n));
    struct kv_msg_sign msg = {
        .sig = KV_SIG_ECDSA, .md = KV_MD_SHA256, .input = {digest, sizeof(digest)}};
    kv_buf_init_secret(&out, 1000);
    cr_assert_eq(kv_key_sign(key, slot, &msg, &out, NULL), 0);
    cr_assert_eq(kv_key_verify(key, slot, &msg, (struct kv_bytes){out.data, out.len},
                               &is_valid, NULL),
                 0);
    cr_assert(is_valid);
    memcpy(sig.bytes, out.data, out.len);
    sig.len = out.len;
    kv_buf_free(&out);
    return sig;
}

/* Wait until the thread has prepared that many. */
static void await(const struct kv_key *key, unsigned n)
{
    for (int i = 0; i < WAIT_TRIES && kv_nonce_count(key) < n; i++)
        usleep(WAIT_US);
    cr_assert_geq(kv_nonce_count(key), n);
}

static void heat_up(struct kv_key *key, unsigned slot)
{
    for (int i = 0; i < 3; i++) /* a context, a first time, and it is hot */
        (void)sign_in(key, slot);
    await(key, 2);
}

/* The nonces that lie ready, by their r. */
struct ready {
    unsigned n;
    uint8_t r[KV_NONCE_KEYS * KV_NONCE_PER_KEY][KV_SIGNED_R_LEN];
};

static void look(const struct kv_key *key, struct ready *ready)
{
    const unsigned len = ((unsigned)EVP_PKEY_get_bits(key->pkey) + 7) / 8;
    struct kv_nonce_place *place =
        &kv_nonce_places()[atomic_load(&key->nonce_id) % KV_NONCE_KEYS];
    ready->n = 0;
    for (unsigned i = 0; i < KV_NONCE_PER_KEY; i++) {
        const struct kv_nonce_record *record = &place->record[i];
        if (atomic_load(&record->state) == KV_NONCE_READY)
            memcpy(ready->r[ready->n++], record->nonce.r + len - KV_SIGNED_R_LEN,
                   KV_SIGNED_R_LEN);
    }
}

static bool was_ready(const struct ready *ready, const struct signature *sig)
{
    uint8_t r[KV_SIGNED_R_LEN];
    cr_assert(kv_signed_r(r, sig->bytes, sig->len));
    for (unsigned i = 0; i < ready->n; i++) {
        if (memcmp(ready->r[i], r, sizeof(r)) == 0)
            return true;
    }
    return false;
}

Test(nonce, a_key_that_signs_often_gets_them_and_uses_them)
{
    struct ready ready;
    for (uint8_t curve = KV_CURVE_P256; curve <= KV_CURVE_P256K; curve++) {
        struct kv_key *key = make_key(curve);
        heat_up(key, 0);
        look(key, &ready);
        const struct signature sig = sign_in(key, 0);
        cr_expect(was_ready(&ready, &sig), "curve %u", curve);
        kv_key_unref(key);
    }
    cr_expect_eq(ERR_peek_error(), 0);
}

Test(nonce, a_key_that_signs_now_and_then_gets_none)
{
    struct kv_key *key = make_key(KV_CURVE_P256);
    for (int i = 0; i < 10; i++) {
        (void)sign_in(key, 0);
        advance(1000000);
    }
    cr_expect_eq(atomic_load(&key->nonce_id), 0);
    cr_expect_eq(kv_nonce_count(key), 0);
    kv_key_unref(key);
}

Test(nonce, no_key_has_more_than_its_share)
{
    const unsigned n_slots[] = {1, 2, 3, 62, 64};
    for (size_t i = 0; i < sizeof(n_slots) / sizeof(n_slots[0]); i++) {
        kv_nonces_stop();
        start(n_slots[i]);
        struct kv_key *key = make_key(KV_CURVE_P256);
        for (int turn = 0; turn < 70; turn++) {
            for (unsigned slot = 0; slot < n_slots[i]; slot++)
                (void)sign_in(key, slot);
        }
        await(key, KV_NONCE_PER_KEY / n_slots[i] * n_slots[i]);
        cr_expect_leq(kv_nonce_count(key), KV_NONCE_PER_KEY);
        kv_key_unref(key);
    }
}

Test(nonce, what_is_prepared_follows_what_is_used)
{
    struct kv_key *key = make_key(KV_CURVE_P256);
    heat_up(key, 0);
    usleep(20000); /* more would be there by now */
    cr_expect_leq(kv_nonce_count(key), 4);
    for (int i = 0; i < 30; i++)
        (void)sign_in(key, 0);
    await(key, KV_NONCE_PER_KEY / N_SLOTS);
    kv_key_unref(key);
}

/* The rings go round many times. */
Test(nonce, none_signs_twice_in_many_rounds)
{
    struct ready ready;
    struct kv_signed_once once;
    unsigned n_prepared = 0;
    struct kv_key *key = make_key(KV_CURVE_P256);
    kv_signed_once_init(&once, 10000);
    heat_up(key, 0);
    for (unsigned i = 0; i < 4000; i++) {
        look(key, &ready);
        const struct signature sig = sign_in(key, i % N_SLOTS);
        n_prepared += was_ready(&ready, &sig);
        cr_assert(kv_signed_once_add(&once, sig.bytes, sig.len));
        if (i % 32 == 0 && i > 0)
            await(key, 4); /* however late the thread gets its turn */
    }
    cr_expect_gt(n_prepared, 4 * KV_NONCE_PER_KEY, "%u of them were prepared",
                 n_prepared);
    cr_expect_eq(kv_signed_once_duplicates(&once), 0);
    kv_signed_once_free(&once);
    kv_key_unref(key);
}

struct signer {
    struct kv_key *key;
    unsigned slot;
    unsigned n;
    struct kv_signed_once once;
};

static void *sign_many(void *arg)
{
    struct signer *signer = arg;
    for (unsigned i = 0; i < signer->n; i++) {
        const struct signature sig = sign_in(signer->key, signer->slot);
        cr_assert(kv_signed_once_add(&signer->once, sig.bytes, sig.len));
        if (i % 64 == 0)
            usleep(100);
    }
    return NULL;
}

Test(nonce, none_signs_twice_with_signers_at_once)
{
    enum { N_SIGNERS = 8, N_EACH = 1500 };
    struct signer signers[N_SIGNERS];
    pthread_t threads[N_SIGNERS];
    struct kv_signed_once all;
    kv_nonces_stop();
    start(N_SIGNERS);
    kv_signed_once_init(&all, (size_t)N_SIGNERS * N_EACH);
    struct kv_key *keys[2] = {make_key(KV_CURVE_P256), make_key(KV_CURVE_P256K)};
    for (unsigned i = 0; i < N_SIGNERS; i++) {
        signers[i] = (struct signer){.key = keys[i % 4 == 3], .slot = i, .n = N_EACH};
        kv_signed_once_init(&signers[i].once, N_EACH);
        cr_assert_eq(pthread_create(&threads[i], NULL, sign_many, &signers[i]), 0);
    }
    for (int i = 0; i < 200; i++) { /* time passes, and jumps, while they sign */
        advance(i % 20 == 0 ? 2500000 : 1000);
        now.wall_us += i % 7 == 0 ? -3600000000 : 0;
        now.boot_us += i % 11 == 0 ? 5000000 : 0;
        kv_nonces_sweep();
        usleep(1000);
    }
    for (unsigned i = 0; i < N_SIGNERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        kv_signed_once_join(&all, &signers[i].once);
        kv_signed_once_free(&signers[i].once);
    }
    cr_expect_eq(all.n, (size_t)N_SIGNERS * N_EACH);
    cr_expect_eq(kv_signed_once_duplicates(&all), 0);
    kv_signed_once_free(&all);
    kv_key_unref(keys[0]);
    kv_key_unref(keys[1]);
}

/* ---- the tests above can fail ---- */

Test(nonce, a_nonce_that_is_put_back_is_found_out)
{
    struct kv_signed_once once;
    struct kv_key *key = make_key(KV_CURVE_P256);
    kv_signed_once_init(&once, 10);
    heat_up(key, 0);
    struct kv_nonce_place *place =
        &kv_nonce_places()[atomic_load(&key->nonce_id) % KV_NONCE_KEYS];
    for (unsigned i = 0; i < 2; i++) {
        struct kv_nonce_reader *reader = &place->reader[0];
        while (atomic_load(&place->record[reader->at].state) != KV_NONCE_READY)
            reader->at = (reader->at + 1) % (KV_NONCE_PER_KEY / N_SLOTS);
        const unsigned at = reader->at;
        struct kv_nonce_record *record = &place->record[at];
        const struct kv_nonce kept = record->nonce;
        const uint64_t id = record->id;
        for (unsigned j = 0; j < 2; j++) {
            const struct signature sig = sign_in(key, 0);
            cr_assert(kv_signed_once_add(&once, sig.bytes, sig.len));
            atomic_store(&record->state, KV_NONCE_TAKEN); /* not for the thread */
            record->nonce = kept;
            record->id = id;
            reader->at = at;
            atomic_store(&record->state, KV_NONCE_READY);
        }
    }
    cr_expect_geq(kv_signed_once_duplicates(&once), 1);
    kv_signed_once_free(&once);
    kv_key_unref(key);
}

/* As nonce_make.c has it, but for the stand-in. */
static const RAND_METHOD *stand_in; /* NULL: none */
__attribute__((visibility("default"))) const RAND_METHOD *RAND_get_rand_method(void)
{
    return stand_in;
}

static int fill_still(unsigned char *out, int len)
{
    memset(out, 1, (size_t)len);
    return 1;
}

static int fill_still_too(void *ctx, void *out, size_t len)
{
    (void)ctx;
    return fill_still(out, (int)len) == 1 ? 0 : KV_E_CRYPTO;
}

Test(nonce, nonces_without_chance_are_found_out)
{
    RAND_METHOD still = {.bytes = fill_still, .pseudorand = fill_still};
    const struct kv_rand rand = {.fill = fill_still_too};
    const struct kv_nonces_config config = {
        .clock = &test_clock, .rand = &rand, .n_slots = N_SLOTS};
    struct kv_signed_once once;
    struct kv_key *key = make_key(KV_CURVE_P256);
    kv_signed_once_init(&once, 100);
    kv_nonces_stop();
    stand_in = &still;
    cr_assert_eq(kv_nonces_start(&config, NULL), 0);
    heat_up(key, 0);
    for (unsigned i = 0; i < 8; i++) {
        await(key, 2);
        const struct signature sig = sign_in(key, 0);
        cr_assert(kv_signed_once_add(&once, sig.bytes, sig.len));
    }
    cr_expect_gt(kv_signed_once_duplicates(&once), 0);
    kv_nonces_stop();
    stand_in = NULL;
    kv_signed_once_free(&once);
    kv_key_unref(key);
}

/* ---- when they go ---- */

Test(nonce, an_old_one_is_not_used)
{
    struct ready ready;
    struct kv_key *key = make_key(KV_CURVE_P256);
    heat_up(key, 0);
    look(key, &ready);
    advance(1999999);
    struct signature sig = sign_in(key, 0);
    cr_expect(was_ready(&ready, &sig), "young enough");
    await(key, 1);
    look(key, &ready);
    advance(2000000);
    sig = sign_in(key, 0);
    cr_expect_not(was_ready(&ready, &sig), "too old");
    kv_key_unref(key);
}

static void jump(int64_t wall_us, int64_t boot_us, bool is_used)
{
    struct ready ready;
    struct kv_key *key = make_key(KV_CURVE_P256);
    heat_up(key, 0);
    look(key, &ready);
    now.wall_us += wall_us;
    now.boot_us += boot_us;
    const struct signature sig = sign_in(key, 0);
    cr_expect_eq(was_ready(&ready, &sig), is_used, "%lld %lld", (long long)wall_us,
                 (long long)boot_us);
    await(key, 1); /* those made after the jump are good */
    kv_key_unref(key);
}

Test(nonce, none_is_used_after_a_jump_of_a_clock)
{
    jump(0, 0, true);
    jump(100, -100, true); /* how clocks are read */
    jump(1000, 0, false);
    jump(-1000, 0, false);
    jump(3600000000, 0, false);
    jump(-3600000000, 0, false);
    jump(0, 1000, false); /* the machine slept */
    jump(0, 3600000000, false);
}

Test(nonce, a_monotonic_clock_that_went_back_makes_them_useless)
{
    struct ready ready;
    struct kv_key *key = make_key(KV_CURVE_P256);
    heat_up(key, 0);
    look(key, &ready);
    advance(-500000);
    const struct signature sig = sign_in(key, 0);
    cr_expect_not(was_ready(&ready, &sig));
    kv_key_unref(key);
}

/* All bytes of what was made for keys. */
static bool is_all_wiped(void)
{
    static const struct kv_nonce zero;
    static const uint8_t no_d[KV_SCALAR_MAX_LEN];
    for (unsigned i = 0; i < KV_NONCE_KEYS; i++) {
        const struct kv_nonce_place *place = &kv_nonce_places()[i];
        for (unsigned j = 0; j < KV_NONCE_PER_KEY; j++) {
            if (memcmp(&place->record[j].nonce, &zero, sizeof(zero)) != 0)
                return false;
        }
        if (memcmp(place->d, no_d, sizeof(no_d)) != 0)
            return false;
    }
    return true;
}

static void await_wiped(void)
{
    for (int i = 0; i < WAIT_TRIES && !is_all_wiped(); i++)
        usleep(WAIT_US);
    cr_expect(is_all_wiped());
}

Test(nonce, a_sweep_wipes_what_is_old)
{
    struct kv_key *key = make_key(KV_CURVE_P256);
    heat_up(key, 0);
    cr_expect_not(is_all_wiped());
    kv_nonces_sweep();
    cr_expect_gt(kv_nonce_count(key), 0, "nothing is old yet");
    advance(2000000);
    kv_nonces_sweep();
    cr_expect_eq(kv_nonce_count(key), 0);
    await_wiped();
    heat_up(key, 0); /* and it can begin anew */
    kv_key_unref(key);
    await_wiped();
}

Test(nonce, a_sweep_after_a_jump_wipes_everything)
{
    struct kv_key *key = make_key(KV_CURVE_P256);
    heat_up(key, 0);
    struct ready ready;
    look(key, &ready);
    now.wall_us += 1000000;
    kv_nonces_sweep();
    for (int i = 0; i < 20; i++) {
        const struct signature sig = sign_in(key, 0);
        cr_expect_not(was_ready(&ready, &sig));
    }
    kv_key_unref(key);
}

Test(nonce, a_key_that_left_has_none_and_gets_none)
{
    struct ready ready;
    struct kv_key *key = make_key(KV_CURVE_P256);
    heat_up(key, 0);
    look(key, &ready);
    kv_nonce_retire(key);
    cr_expect_eq(kv_nonce_count(key), 0);
    await_wiped();
    for (int i = 0; i < 20; i++) { /* who holds it may still sign with it */
        const struct signature sig = sign_in(key, 0);
        cr_expect_not(was_ready(&ready, &sig));
    }
    cr_expect_eq(atomic_load(&key->nonce_id), 0);
    kv_key_unref(key);
}

Test(nonce, stopping_wipes_and_keys_live_on)
{
    struct kv_key *key = make_key(KV_CURVE_P256);
    heat_up(key, 0);
    kv_nonces_stop();
    cr_expect_null(kv_nonce_places());
    cr_expect_eq(kv_nonce_count(key), 0);
    (void)sign_in(key, 0);
    kv_nonces_sweep(); /* does nothing */
    start(N_SLOTS);
    heat_up(key, 1);
    kv_key_unref(key);
}

Test(nonce, a_child_has_none)
{
    int status = -1;
    struct ready ready;
    struct kv_key *key = make_key(KV_CURVE_P256);
    heat_up(key, 0);
    look(key, &ready);
    const pid_t pid = fork();
    if (pid == 0) {
        const bool has_some = kv_nonce_count(key) > 0 || !is_all_wiped();
        const struct signature sig = sign_in(key, 0);
        _exit(has_some ? 1 : was_ready(&ready, &sig) ? 2 : 0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect_eq(status, 0);
    kv_key_unref(key);
}

/* ---- who gets them ---- */

Test(nonce, a_nonce_of_another_key_is_not_used)
{
    struct ready ready;
    struct kv_key *keys[2] = {make_key(KV_CURVE_P256), make_key(KV_CURVE_P256)};
    heat_up(keys[0], 0);
    heat_up(keys[1], 0);
    struct kv_nonce_place *places = kv_nonce_places();
    const uint64_t ids[2] = {keys[0]->nonce_id, keys[1]->nonce_id};
    cr_assert_neq(ids[0] % KV_NONCE_KEYS, ids[1] % KV_NONCE_KEYS);
    for (unsigned i = 0; i < KV_NONCE_PER_KEY; i++) {
        struct kv_nonce_record *record = &places[ids[0] % KV_NONCE_KEYS].record[i];
        if (atomic_load(&record->state) == KV_NONCE_READY)
            record->id = ids[1];
    }
    look(keys[0], &ready);
    const struct signature sig = sign_in(keys[0], 0); /* it is checked there */
    cr_expect_not(was_ready(&ready, &sig));
    kv_key_unref(keys[0]);
    kv_key_unref(keys[1]);
}

Test(nonce, threads_beyond_the_slots_sign_without)
{
    struct kv_key *key = make_key(KV_CURVE_P256);
    for (int i = 0; i < 10; i++)
        (void)sign_in(key, N_SLOTS);
    cr_expect_eq(atomic_load(&key->nonce_id), 0);
    kv_key_unref(key);
}

Test(nonce, ed25519_signs_as_ever)
{
    struct kv_buf out;
    struct kv_key *key = NULL;
    const struct kv_msg_sign msg = {.sig = KV_SIG_EDDSA,
                                    .input = {(const uint8_t *)"abc", 3}};
    cr_assert_eq(kv_key_generate(KV_KTY_OKP, KV_CURVE_ED25519, 0, &key, NULL), 0);
    kv_buf_init_secret(&out, 10000);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(kv_key_sign(key, 0, &msg, &out, NULL), 0);
    cr_expect_eq(atomic_load(&key->nonce_id), 0);
    kv_buf_free(&out);
    kv_key_unref(key);
}

Test(nonce, more_hot_keys_than_places_sign_as_well)
{
    struct kv_key *keys[KV_NONCE_KEYS + 2];
    unsigned n_places = 0;
    for (unsigned i = 0; i < KV_NONCE_KEYS + 2; i++) {
        keys[i] = make_key(KV_CURVE_P256);
        for (int j = 0; j < 4; j++)
            (void)sign_in(keys[i], 0);
        n_places += atomic_load(&keys[i]->nonce_id) != 0;
    }
    cr_expect_eq(n_places, KV_NONCE_KEYS);
    advance(2000000);
    kv_nonces_sweep(); /* those that no longer sign make room */
    await_wiped();
    heat_up(keys[KV_NONCE_KEYS + 1], 0);
    for (unsigned i = 0; i < KV_NONCE_KEYS + 2; i++)
        kv_key_unref(keys[i]);
}

Test(nonce, the_thread_runs_when_nobody_else_does)
{
    unsigned n_idle = 0;
    DIR *tasks = opendir("/proc/self/task");
    cr_assert_not_null(tasks);
    const struct dirent *task = NULL;
    while ((task = readdir(tasks)) != NULL)
        n_idle += sched_getscheduler(atoi(task->d_name)) == SCHED_IDLE;
    (void)closedir(tasks);
    cr_expect_eq(n_idle, 1);
    cr_expect_neq(sched_getscheduler(0), SCHED_IDLE);
}
