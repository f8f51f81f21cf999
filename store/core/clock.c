/*
 * The system's clocks and libcrypto's generator behind the tables of clock.h, and
 * the clock that a test moves by hand.
 */
#include "store/core/clock.h"

#include <errno.h>
#include <limits.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define READ_TRIES 3
#define READ_SPREAD_US 20 /* more means that the thread was put aside in between */

static int64_t system_now_s(void *ctx)
{
    (void)ctx;
    struct timespec now;
    int rc = clock_gettime(CLOCK_REALTIME, &now);
    KV_ASSERT(rc == 0);
    return now.tv_sec;
}

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    int rc = clock_gettime(id, &now);
    KV_ASSERT(rc == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t system_monotonic_us(void *ctx)
{
    (void)ctx;
    return read_us(CLOCK_MONOTONIC);
}

static void system_read(void *ctx, struct kv_clock_reading *out)
{
    (void)ctx;
    for (int i = 0; i < READ_TRIES; i++) {
        out->monotonic_us = read_us(CLOCK_MONOTONIC);
        out->wall_us = read_us(CLOCK_REALTIME);
        out->boot_us = read_us(CLOCK_BOOTTIME);
        out->spread_us = read_us(CLOCK_MONOTONIC) - out->monotonic_us;
        if (out->spread_us <= READ_SPREAD_US)
            return;
    }
}

static int system_fill(void *ctx, void *out, size_t len)
{
    (void)ctx;
    uint8_t *to = out;
    while (len > 0) {
        int n = len > INT_MAX ? INT_MAX : (int)len;
        if (RAND_priv_bytes(to, n) != 1)
            return KV_E_CRYPTO;
        to += n;
        len -= (size_t)n;
    }
    return 0;
}

const struct kv_clock *kv_clock_system(void)
{
    static const struct kv_clock clock = {.now_s = system_now_s,
                                          .monotonic_us = system_monotonic_us,
                                          .read = system_read};
    return &clock;
}

const struct kv_rand *kv_rand_system(void)
{
    static const struct kv_rand rand = {.fill = system_fill};
    return &rand;
}

static int kernel_fill(void *ctx, void *out, size_t len)
{
    (void)ctx;
    uint8_t *to = out;
    while (len > 0) {
        const ssize_t n = getrandom(to, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return KV_E_CRYPTO;
        to += n;
        len -= (size_t)n;
    }
    return 0;
}

const struct kv_rand *kv_rand_kernel(void)
{
    static const struct kv_rand rand = {.fill = kernel_fill};
    return &rand;
}

static int64_t manual_now_s(void *ctx)
{
    const struct kv_clock_manual *manual = ctx;
    return manual->now_s;
}

static int64_t manual_monotonic_us(void *ctx)
{
    const struct kv_clock_manual *manual = ctx;
    return manual->monotonic_ms * 1000;
}

static void manual_read(void *ctx, struct kv_clock_reading *out)
{
    const struct kv_clock_manual *manual = ctx;
    *out = (struct kv_clock_reading){
        .monotonic_us = manual->monotonic_ms * 1000,
        .wall_us = manual->now_s * 1000000,
        .boot_us = (manual->monotonic_ms + manual->slept_ms) * 1000,
    };
}

void kv_clock_manual_init(struct kv_clock_manual *manual, int64_t now_s)
{
    *manual = (struct kv_clock_manual){
        .clock = {.now_s = manual_now_s,
                  .monotonic_us = manual_monotonic_us,
                  .read = manual_read,
                  .ctx = manual},
        .now_s = now_s,
    };
}

void kv_clock_manual_advance(struct kv_clock_manual *manual, int64_t seconds)
{
    manual->now_s += seconds;
    manual->monotonic_ms += seconds * 1000;
}

int64_t kv_now_s(const struct kv_clock *clock)
{
    return clock->now_s(clock->ctx);
}

int64_t kv_monotonic_ms(const struct kv_clock *clock)
{
    return kv_monotonic_us(clock) / 1000;
}

int64_t kv_monotonic_us(const struct kv_clock *clock)
{
    return clock->monotonic_us(clock->ctx);
}

void kv_clock_read(const struct kv_clock *clock, struct kv_clock_reading *out)
{
    clock->read(clock->ctx, out);
}

int kv_rand_fill(const struct kv_rand *rand, void *out, size_t len)
{
    return rand->fill(rand->ctx, out, len);
}

void kv_time_format(int64_t time_s, char out[KV_TIME_TEXT_MAX])
{
    const int64_t last_s = 253402300799; /* 9999-12-31 23:59:59 */
    const time_t when = (time_t)time_s;
    struct tm parts;
    if (time_s < 0 || time_s > last_s || gmtime_r(&when, &parts) == NULL ||
        strftime(out, KV_TIME_TEXT_MAX, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        memcpy(out, "(no time)", sizeof("(no time)"));
}
