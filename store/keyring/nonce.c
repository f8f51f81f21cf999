/*
 * The places of keys, their rings, and the thread that fills them (nonce_internal.h has
 * the picture).
 *
 * The thread looks after the rings each REST_US while there are any, and steps aside
 * after each nonce: a scheduler that has just seen a thread of low priority wake may
 * let it run before one that was handed a reply. So signers do not wake it either, but
 * when a key becomes hot. On a busy machine it does not get to run; then rings are
 * empty and signatures cost what they always did.
 */
#include "store/keyring/nonce.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>

#include "store/core/secret.h"
#include "store/keyring/key_internal.h"
#include "store/keyring/nonce_internal.h"
#include "store/keyring/usage.h"

#define HOT_US 1000000 /* two signatures within this time make a key hot */
#define LIFE_US (KV_NONCE_LIFE_MS * (int64_t)1000)
#define RATE_US 1000000
#define REST_US 2000
#define JUMP_US 500 /* less is how the clocks are read */
#define SPREAD_MAX_US 5000
#define NICE 19
#define STACK_BYTES ((size_t)256 * 1024)

static struct {
    struct kv_nonces_config config;
    unsigned per_slot; /* records of a ring */
    struct kv_secret memory;
    struct kv_nonce_place *_Atomic places; /* in `memory`; NULL: switched off */
    struct kv_nonce_maker *maker;
    atomic_uint_least64_t n_ids;
    pthread_t thread;
    pthread_barrier_t started;
    sem_t wake;
    atomic_bool is_asleep;
    atomic_bool is_stopping;
} nonces;

_Static_assert(sizeof(struct kv_nonce_place) * KV_NONCE_KEYS <= (size_t)1 << 20,
               "what kv_secret_init gives at most");

struct kv_nonce_place *kv_nonce_places(void)
{
    return atomic_load_explicit(&nonces.places, memory_order_acquire);
}

static void wake(void)
{
    if (atomic_load(&nonces.is_asleep) && atomic_exchange(&nonces.is_asleep, false))
        (void)sem_post(&nonces.wake); /* counts to one at most: it cannot fail */
}

static bool move(atomic_uint *state, unsigned from, unsigned to)
{
    return atomic_compare_exchange_strong(state, &from, to);
}

/* Wipe a record that is TAKEN by the caller. */
static void clear(struct kv_nonce_record *record)
{
    record->id = 0;
    kv_wipe(&record->nonce, sizeof(record->nonce));
    atomic_store(&record->state, KV_NONCE_EMPTY);
}

static void drop(struct kv_nonce_record *record)
{
    if (move(&record->state, KV_NONCE_READY, KV_NONCE_TAKEN))
        clear(record);
}

static int64_t distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

/* Whether what was made at `made` may be used at `now`. */
static bool is_fresh(const struct kv_clock_reading *made,
                     const struct kv_clock_reading *now)
{
    const int64_t age_us = now->monotonic_us + now->spread_us - made->monotonic_us;
    const int64_t room_us = JUMP_US + made->spread_us + now->spread_us;
    const int64_t wall_us =
        distance(now->wall_us - now->monotonic_us, made->wall_us - made->monotonic_us);
    const int64_t boot_us =
        distance(now->boot_us - now->monotonic_us, made->boot_us - made->monotonic_us);
    return age_us >= 0 && age_us < LIFE_US && made->spread_us <= SPREAD_MAX_US &&
           now->spread_us <= SPREAD_MAX_US && wall_us <= room_us && boot_us <= room_us;
}

static struct kv_nonce_record *ring_of(struct kv_nonce_place *place, unsigned slot)
{
    return &place->record[(size_t)slot * nonces.per_slot];
}

/* A place dies: what was made for it is dropped now, the private key when the thread
 * comes by. */
static void kill_place(struct kv_nonce_place *place)
{
    if (!move(&place->state, KV_NONCE_LIVE, KV_NONCE_DYING))
        return;
    for (unsigned i = 0; i < KV_NONCE_PER_KEY; i++)
        drop(&place->record[i]);
    wake();
}

/* Offer a record that the caller has in hand. */
static void offer(struct kv_nonce_record *record, struct kv_nonce_place *place)
{
    atomic_store(&record->state, KV_NONCE_READY);
    if (atomic_load(&place->state) != KV_NONCE_LIVE)
        drop(record); /* whoever killed the place may have come by just before */
}

/* ---- the thread ---- */

/* Room for one more nonce of this slot; NULL when it has as many as it wants. */
static struct kv_nonce_record *find_room(struct kv_nonce_place *place, unsigned slot)
{
    unsigned n_ready = 0;
    struct kv_nonce_record *room = NULL;
    struct kv_nonce_reader *reader = &place->reader[slot];
    struct kv_nonce_record *ring = ring_of(place, slot);
    const unsigned wanted = atomic_load_explicit(&reader->wanted, memory_order_relaxed);
    for (unsigned i = 0; i < nonces.per_slot; i++) {
        const unsigned at = (reader->fill_at + i) % nonces.per_slot;
        const unsigned state = atomic_load(&ring[at].state);
        if (state == KV_NONCE_EMPTY && room == NULL)
            room = &ring[at];
        n_ready += state == KV_NONCE_READY;
    }
    return n_ready < wanted ? room : NULL;
}

/* Put one nonce into the ring; false when it needs none. */
static bool fill_one(struct kv_nonce_place *place, uint64_t id, unsigned slot)
{
    struct kv_nonce nonce;
    struct kv_clock_reading made;
    struct kv_nonce_record *record = find_room(place, slot);
    if (record == NULL)
        return false;
    kv_clock_read(nonces.config.clock, &made);
    if (kv_nonce_make(nonces.maker, place->curve, place->d, &nonce) != 0)
        return false;
    KV_ASSERT(move(&record->state, KV_NONCE_EMPTY, KV_NONCE_FILLING));
    record->id = id;
    record->made = made;
    record->nonce = nonce;
    offer(record, place);
    kv_wipe(&nonce, sizeof(nonce));
    const unsigned at = (unsigned)(record - ring_of(place, slot));
    place->reader[slot].fill_at = (at + 1) % nonces.per_slot;
    (void)sched_yield(); /* never fails */
    return true;
}

static void free_place(struct kv_nonce_place *place)
{
    kv_wipe(place->d, sizeof(place->d));
    atomic_store(&place->id, 0);
    atomic_store(&place->state, KV_NONCE_FREE);
}

static bool fill_place(struct kv_nonce_place *place, int64_t now_us)
{
    bool has_filled = false;
    const unsigned state = atomic_load(&place->state);
    if (state == KV_NONCE_DYING)
        free_place(place);
    if (state != KV_NONCE_LIVE)
        return false;
    const uint64_t id = atomic_load(&place->id);
    for (unsigned slot = 0; slot < nonces.config.n_slots; slot++) {
        const int64_t used_us =
            atomic_load_explicit(&place->reader[slot].used_us, memory_order_relaxed);
        if (used_us != 0 && now_us - used_us < LIFE_US)
            has_filled |= fill_one(place, id, slot);
    }
    return has_filled;
}

/* One nonce for each ring that has room; false when there was nothing to do. `is_hot`
 * tells whether there are keys at all. */
static bool fill_all(struct kv_nonce_place *places, bool *is_hot)
{
    bool has_filled = false;
    struct kv_clock_reading now;
    *is_hot = false;
    kv_clock_read(nonces.config.clock, &now);
    for (unsigned i = 0; i < KV_NONCE_KEYS && !atomic_load(&nonces.is_stopping); i++) {
        has_filled |= fill_place(&places[i], now.monotonic_us);
        *is_hot |= atomic_load(&places[i].state) == KV_NONCE_LIVE;
    }
    return has_filled;
}

/* Sleep until somebody wakes, for a short while if there are keys. EINTR counts as
 * well: the caller looks, and sleeps again. */
static void rest(bool is_hot)
{
    struct timespec until;
    if (!is_hot) {
        (void)sem_wait(&nonces.wake);
        return;
    }
    KV_ASSERT(clock_gettime(CLOCK_MONOTONIC, &until) == 0);
    until.tv_nsec += REST_US * 1000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)sem_clockwait(&nonces.wake, CLOCK_MONOTONIC, &until);
}

static void *filler_main(void *arg)
{
    bool is_hot = false;
    struct kv_nonce_place *places = arg;
    const struct sched_param none = {.sched_priority = 0};
    /* It runs when nobody else wants to. A refusal would only cost fairness. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    (void)sched_setscheduler(0, SCHED_IDLE, &none);
    (void)pthread_barrier_wait(&nonces.started); /* one of them gets a mark */
    while (!atomic_load(&nonces.is_stopping)) {
        if (fill_all(places, &is_hot))
            continue;
        /* Said first, looked at after: whoever changes something in between wakes. */
        atomic_store(&nonces.is_asleep, true);
        if (!fill_all(places, &is_hot) && !atomic_load(&nonces.is_stopping))
            rest(is_hot);
        atomic_store(&nonces.is_asleep, false);
    }
    OPENSSL_thread_stop();
    return NULL;
}

static int start_thread(struct kv_nonce_place *places)
{
    pthread_attr_t attr;
    KV_ASSERT(sem_init(&nonces.wake, 0, 0) == 0);
    KV_ASSERT(pthread_barrier_init(&nonces.started, NULL, 2) == 0);
    KV_ASSERT(pthread_attr_init(&attr) == 0);
    KV_ASSERT(pthread_attr_setstacksize(&attr, STACK_BYTES) == 0);
    const int failed = pthread_create(&nonces.thread, &attr, filler_main, places);
    (void)pthread_attr_destroy(&attr);
    if (failed == 0)
        (void)pthread_barrier_wait(&nonces.started); /* it has its priority */
    return failed == 0 ? 0 : KV_E_NOMEM;
}

int kv_nonces_start(const struct kv_nonces_config *config, struct kv_err *err)
{
    int rc = 0;
    KV_ASSERT(config->n_slots > 0 && config->n_slots <= KV_NONCE_PER_KEY);
    KV_ASSERT(kv_nonce_places() == NULL);
    nonces.config = *config;
    nonces.per_slot = KV_NONCE_PER_KEY / config->n_slots;
    atomic_store(&nonces.is_stopping, false);
    KV_TRY(
        kv_secret_init(&nonces.memory, sizeof(struct kv_nonce_place) * KV_NONCE_KEYS));
    if (!nonces.memory.is_locked) {
        rc = kv_err_set(err, KV_E_DENIED, "nonces.no-mlock",
                        "memory for prepared nonces cannot be locked");
        kv_err_hint(err, "raise LimitMEMLOCK");
        goto out;
    }
    KV_TRY(kv_nonce_maker_new(&nonces.maker, config->rand));
    struct kv_nonce_place *places = (void *)nonces.memory.data;
    KV_TRY(start_thread(places));
    atomic_store(&nonces.places, places);
out:
    if (rc != 0) {
        kv_nonce_maker_free(nonces.maker);
        nonces.maker = NULL;
        kv_secret_free(&nonces.memory);
    }
    return rc;
}

void kv_nonces_stop(void)
{
    if (kv_nonce_places() == NULL)
        return;
    atomic_store(&nonces.is_stopping, true);
    KV_ASSERT(sem_post(&nonces.wake) == 0);
    KV_ASSERT(pthread_join(nonces.thread, NULL) == 0);
    atomic_store(&nonces.places, NULL);
    kv_nonce_maker_free(nonces.maker);
    nonces.maker = NULL;
    kv_secret_free(&nonces.memory);
    (void)pthread_barrier_destroy(&nonces.started);
    (void)sem_destroy(&nonces.wake);
}

/* ---- signers ---- */

static bool is_lately_used(const struct kv_nonce_place *place, int64_t now_us)
{
    for (unsigned i = 0; i < nonces.config.n_slots; i++) {
        const int64_t used_us =
            atomic_load_explicit(&place->reader[i].used_us, memory_order_relaxed);
        if (used_us != 0 && now_us - used_us < LIFE_US)
            return true;
    }
    return false;
}

void kv_nonces_sweep(void)
{
    struct kv_clock_reading now;
    struct kv_nonce_place *places = kv_nonce_places();
    if (places == NULL)
        return;
    kv_clock_read(nonces.config.clock, &now);
    for (unsigned i = 0; i < KV_NONCE_KEYS; i++) {
        if (atomic_load(&places[i].state) != KV_NONCE_LIVE)
            continue;
        for (unsigned j = 0; j < KV_NONCE_PER_KEY; j++) {
            struct kv_nonce_record *record = &places[i].record[j];
            if (!move(&record->state, KV_NONCE_READY, KV_NONCE_TAKEN))
                continue;
            if (is_fresh(&record->made, &now))
                offer(record, &places[i]);
            else
                clear(record);
        }
        if (!is_lately_used(&places[i], now.monotonic_us))
            kill_place(&places[i]);
    }
}

/* The place of this id, NULL when it is another's by now. */
static struct kv_nonce_place *place_of(struct kv_nonce_place *places, uint64_t id)
{
    struct kv_nonce_place *place = &places[id % KV_NONCE_KEYS];
    const bool is_its = id != 0 && atomic_load(&place->state) == KV_NONCE_LIVE &&
                        atomic_load(&place->id) == id;
    return is_its ? place : NULL;
}

/* The private key as bytes. */
static bool copy_d(const struct kv_key *key, uint8_t *bytes)
{
    BIGNUM *d = NULL;
    const int len = (int)kv_nonce_order(nonces.maker, key->curve)->len;
    const bool ok =
        EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_PRIV_KEY, &d) == 1 &&
        BN_bn2binpad(d, bytes, len) == len;
    BN_clear_free(d);
    ERR_clear_error();
    return ok;
}

/* Note one use, and want twice as many ready as one second of the present rate takes.
 */
static void note_use(struct kv_nonce_reader *reader, int64_t now_us)
{
    const unsigned max = nonces.per_slot;
    unsigned wanted = atomic_load_explicit(&reader->wanted, memory_order_relaxed);
    reader->n_used++;
    if (now_us - reader->since_us >= RATE_US) {
        wanted = 0;
        reader->n_used = 1;
        reader->since_us = now_us;
    }
    if (wanted < 2 * reader->n_used)
        wanted = 2 * reader->n_used < max ? 2 * reader->n_used : max;
    atomic_store_explicit(&reader->wanted, wanted, memory_order_relaxed);
    atomic_store_explicit(&reader->used_us, now_us, memory_order_relaxed);
}

/* Find a place for a key that has become hot. Two threads may do so at once: the place
 * of one of them dies. */
static void heat(struct kv_nonce_place *places, struct kv_key *key, unsigned slot,
                 int64_t now_us)
{
    unsigned at = 0;
    uint64_t old_id = atomic_load(&key->nonce_id);
    if (atomic_load(&key->is_retired) || place_of(places, old_id) != NULL)
        return;
    while (at < KV_NONCE_KEYS &&
           !move(&places[at].state, KV_NONCE_FREE, KV_NONCE_SETUP))
        at++;
    if (at == KV_NONCE_KEYS)
        return;
    struct kv_nonce_place *place = &places[at];
    if (!copy_d(key, place->d)) {
        kv_wipe(place->d, sizeof(place->d));
        atomic_store(&place->state, KV_NONCE_FREE);
        return;
    }
    const uint64_t id =
        (atomic_fetch_add(&nonces.n_ids, 1) + 1) * KV_NONCE_KEYS + (uint64_t)at;
    place->curve = key->curve;
    for (unsigned i = 0; i < KV_NONCE_PER_KEY; i++)
        atomic_store(&place->reader[i].used_us, 0);
    place->reader[slot].n_used = 0;
    place->reader[slot].since_us = now_us;
    note_use(&place->reader[slot], now_us);
    atomic_store(&place->id, id);
    atomic_store(&place->state, KV_NONCE_LIVE);
    if (!atomic_compare_exchange_strong(&key->nonce_id, &old_id, id) ||
        atomic_load(&key->is_retired))
        kill_place(place);
    wake();
}

/* Take the next nonce that may be used; false when there is none. */
static bool take(struct kv_nonce_place *place, uint64_t id, unsigned slot,
                 const struct kv_clock_reading *now, struct kv_nonce *out)
{
    bool is_good = false;
    struct kv_nonce_reader *reader = &place->reader[slot];
    struct kv_nonce_record *ring = ring_of(place, slot);
    for (unsigned i = 0; !is_good && i < nonces.per_slot; i++) {
        struct kv_nonce_record *record = &ring[reader->at];
        reader->at = (reader->at + 1) % nonces.per_slot;
        if (!move(&record->state, KV_NONCE_READY, KV_NONCE_TAKEN))
            continue;
        is_good = record->id == id && is_fresh(&record->made, now);
        if (is_good)
            *out = record->nonce;
        clear(record); /* before it is used */
    }
    return is_good;
}

bool kv_nonce_sign(struct kv_key *key, unsigned slot, struct kv_bytes digest,
                   uint8_t *sig, size_t *sig_len)
{
    struct kv_nonce nonce;
    struct kv_clock_reading now;
    struct kv_nonce_place *places = kv_nonce_places();
    if (places == NULL || slot >= nonces.config.n_slots || key->slot[slot] == NULL ||
        kv_nonce_order(nonces.maker, key->curve) == NULL)
        return false;
    kv_clock_read(nonces.config.clock, &now);
    const uint64_t id = atomic_load(&key->nonce_id);
    struct kv_nonce_place *place = place_of(places, id);
    if (place == NULL) {
        const int64_t last_us = key->slot[slot]->signed_us;
        if (last_us != 0 && now.monotonic_us - last_us < HOT_US)
            heat(places, key, slot, now.monotonic_us);
        key->slot[slot]->signed_us = now.monotonic_us;
        return false;
    }
    note_use(&place->reader[slot], now.monotonic_us);
    if (!take(place, id, slot, &now, &nonce))
        return false;
    const int rc = kv_nonce_finish(&nonce, kv_nonce_order(nonces.maker, key->curve),
                                   digest, sig, sig_len);
    kv_wipe(&nonce, sizeof(nonce));
    if (rc == 0)
        kv_usage_note_prepared(key->usage, slot);
    return rc == 0;
}

void kv_nonce_retire(struct kv_key *key)
{
    struct kv_nonce_place *places = kv_nonce_places();
    atomic_store(&key->is_retired, true);
    const uint64_t id = atomic_exchange(&key->nonce_id, 0);
    struct kv_nonce_place *place = places != NULL ? place_of(places, id) : NULL;
    if (place != NULL)
        kill_place(place);
}

unsigned kv_nonce_count(const struct kv_key *key)
{
    unsigned n = 0;
    const uint64_t id = atomic_load(&key->nonce_id);
    struct kv_nonce_place *places = kv_nonce_places();
    struct kv_nonce_place *place = places != NULL ? place_of(places, id) : NULL;
    for (unsigned i = 0; place != NULL && i < KV_NONCE_PER_KEY; i++)
        n += atomic_load(&place->record[i].state) == KV_NONCE_READY;
    return n;
}
