/*
 * Does the time of RSA1_5 and TLS unpadding depend on the padding?
 *
 * usage: unpad_timing [ROUNDS]
 *
 * Each round picks a kind of block at random and times one call on it, so that drift
 * hits all kinds alike; blocks are copied to one place first, so that caches do, too.
 * For every kind it prints the mean of the fastest 90 % and Welch's t against
 * well-padded blocks; a second set of these shows the noise. |t| below 4.5 is the
 * usual "no difference seen" of dudect. The program reports and never fails: a busy
 * machine is no defect.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/rand.h>

#include "store/keyring/rsa_unpad.h"

#define K 256
#define N_BLOCKS 64

enum {
    GOOD,
    CONTROL,
    SHORT_MESSAGE,
    FIRST_BYTE,
    BLOCK_TYPE,
    EARLY_ZERO,
    NO_ZERO,
    N_KINDS
};

static const char *const kind_names[N_KINDS] = {
    [GOOD] = "good, 48 bytes",
    [CONTROL] = "the same again",
    [SHORT_MESSAGE] = "good, empty message",
    [FIRST_BYTE] = "first byte",
    [BLOCK_TYPE] = "block type",
    [EARLY_ZERO] = "early zero",
    [NO_ZERO] = "no separator",
};

struct samples {
    double *ns;
    size_t n;
};

static uint8_t blocks[N_KINDS][N_BLOCKS][K];

static void make_blocks(void)
{
    for (size_t kind = 0; kind < N_KINDS; kind++)
        for (size_t i = 0; i < N_BLOCKS; i++) {
            uint8_t *em = blocks[kind][i];
            if (RAND_bytes(em, K) != 1)
                abort();
            for (size_t j = 0; j < K; j++)
                em[j] = em[j] != 0 ? em[j] : 1;
            em[0] = kind == FIRST_BYTE ? 1 : 0;
            em[1] = kind == BLOCK_TYPE ? 1 : 2;
            if (kind == SHORT_MESSAGE)
                em[K - 1] = 0;
            else if (kind == EARLY_ZERO)
                em[4] = 0;
            else if (kind != NO_ZERO)
                em[K - 49] = 0;
        }
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double time_implicit(const uint8_t *block, const uint8_t *kdk)
{
    uint8_t em[K];
    size_t len = 0;
    memcpy(em, block, K);
    double before = now_ns();
    if (kv_rsa_unpad_implicit(em, K, kdk, &len) != 0)
        abort();
    return now_ns() - before;
}

static double time_tls(const uint8_t *block, const uint8_t *kdk)
{
    uint8_t premaster[KV_TLS_PREMASTER_LEN];
    uint8_t em[K];
    memcpy(em, block, K);
    memcpy(premaster, kdk, KV_RSA_KDK_LEN);
    double before = now_ns();
    kv_rsa_unpad_tls(em, K, 0x0303, 0, premaster);
    return now_ns() - before;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void moments(struct samples *of, double *mean, double *variance_of_mean)
{
    qsort(of->ns, of->n, sizeof(double), compare);
    size_t n = of->n * 9 / 10;
    double sum = 0;
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += of->ns[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (of->ns[i] - *mean) * (of->ns[i] - *mean);
    *variance_of_mean = squares / (double)(n - 1) / (double)n;
}

static void report(const char *title, struct samples *samples)
{
    double mean[N_KINDS];
    double variance[N_KINDS];
    printf("%s\n%-22s %10s %10s %8s\n", title, "block", "samples", "mean ns", "t");
    for (size_t kind = 0; kind < N_KINDS; kind++) {
        moments(&samples[kind], &mean[kind], &variance[kind]);
        double t = (mean[kind] - mean[GOOD]) / sqrt(variance[kind] + variance[GOOD]);
        printf("%-22s %10zu %10.1f %8.2f\n", kind_names[kind], samples[kind].n,
               mean[kind], kind == GOOD ? 0.0 : t);
    }
}

static void measure(const char *title, size_t rounds,
                    double (*timed)(const uint8_t *block, const uint8_t *kdk))
{
    struct samples samples[N_KINDS];
    uint8_t draw[2 + KV_RSA_KDK_LEN];
    for (size_t kind = 0; kind < N_KINDS; kind++) {
        samples[kind].n = 0;
        samples[kind].ns = calloc(rounds, sizeof(double));
        if (samples[kind].ns == NULL)
            abort();
    }
    for (size_t i = 0; i < rounds; i++) {
        if (RAND_bytes(draw, sizeof(draw)) != 1)
            abort();
        struct samples *to = &samples[draw[0] % N_KINDS];
        to->ns[to->n++] =
            timed(blocks[draw[0] % N_KINDS][draw[1] % N_BLOCKS], draw + 2);
    }
    report(title, samples);
    for (size_t kind = 0; kind < N_KINDS; kind++)
        free(samples[kind].ns);
}

int main(int argc, char **argv)
{
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 60000;
    if (rounds < 1000 || rounds > 10000000 || kv_keys_init(NULL) != 0) {
        fprintf(stderr, "usage: unpad_timing [ROUNDS from 1000 to 10000000]\n");
        return 2;
    }
    make_blocks();
    measure("implicit rejection", (size_t)rounds, time_implicit);
    measure("TLS premaster secret", (size_t)rounds, time_tls);
    kv_keys_fini();
    return 0;
}
