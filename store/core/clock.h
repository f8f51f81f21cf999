/*
 * Time and chance as arguments: production code gets the system's, tests inject
 * their own and never sleep. Objects are const tables, shareable across threads.
 */
#ifndef KV_STORE_CORE_CLOCK_H
#define KV_STORE_CORE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"

#define KV_TIME_NONE INT64_MIN /* an absent time stamp */

/* All clocks of a machine at about one moment: they were read within `spread_us`, from
 * `monotonic_us` on. */
struct kv_clock_reading {
    int64_t monotonic_us;
    int64_t wall_us; /* Unix time, UTC */
    int64_t boot_us; /* as the monotonic one, and goes on while the machine sleeps */
    int64_t spread_us;
};

struct kv_clock {
    int64_t (*now_s)(void *ctx);        /* Unix seconds, UTC */
    int64_t (*monotonic_us)(void *ctx); /* microseconds, never goes back */
    void (*read)(void *ctx, struct kv_clock_reading *out);
    void *ctx;
};

struct kv_rand {
    int (*fill)(void *ctx, void *out, size_t len); /* 0 or KV_E_CRYPTO */
    void *ctx;
};

/* The system's wall and monotonic clock. */
const struct kv_clock *kv_clock_system(void);

/* libcrypto's private generator (RAND_priv_bytes). */
const struct kv_rand *kv_rand_system(void);

#define KV_TIME_TEXT_MAX 40

/* "2026-11-24 08:15:00 UTC"; "(no time)" for KV_TIME_NONE and years that have no four
 * digits. */
void kv_time_format(int64_t time_s, char out[KV_TIME_TEXT_MAX]);

/* The kernel's own (getrandom(2)), with no state in this process: a copied machine or a
 * forked process gets other bytes. Slower. */
const struct kv_rand *kv_rand_kernel(void);

/* A clock that stands still until a test moves it. */
struct kv_clock_manual {
    struct kv_clock clock;
    int64_t now_s;
    int64_t monotonic_ms;
    int64_t slept_ms; /* how far the boot clock is ahead of the monotonic one */
};
void kv_clock_manual_init(struct kv_clock_manual *manual, int64_t now_s);
void kv_clock_manual_advance(struct kv_clock_manual *manual, int64_t seconds);

int64_t kv_now_s(const struct kv_clock *clock);
int64_t kv_monotonic_ms(const struct kv_clock *clock);
int64_t kv_monotonic_us(const struct kv_clock *clock);
void kv_clock_read(const struct kv_clock *clock, struct kv_clock_reading *out);
int kv_rand_fill(const struct kv_rand *rand, void *out, size_t len) KV_MUST_CHECK;

#endif
