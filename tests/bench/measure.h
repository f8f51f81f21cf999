/*
 * What the benchmark programs share: clocks, samples of latency, and the processor time
 * of other processes. One line of "name value" pairs is every program's output.
 */
#ifndef KV_TESTS_BENCH_MEASURE_H
#define KV_TESTS_BENCH_MEASURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KV_BENCH_PIDS_MAX 32

uint64_t kv_bench_now_ns(void);

/* Latencies in nanoseconds, up to what one run can make. */
struct kv_bench_samples {
    uint32_t *ns;
    size_t n;
};

/* Allocate; false without memory. */
bool kv_bench_samples_init(struct kv_bench_samples *samples);
void kv_bench_samples_free(struct kv_bench_samples *samples);

/* Note one; false when there is no room left, which ends the run. */
bool kv_bench_samples_add(struct kv_bench_samples *samples, uint64_t ns);

/* Print "p50_us V p99_us V p999_us V max_us V " of at least one sample; sorts them. */
void kv_bench_samples_print(struct kv_bench_samples *samples);

/* The processes whose processor time counts. */
struct kv_bench_pids {
    pid_t pid[KV_BENCH_PIDS_MAX];
    size_t n;
};

/* Add the process of option text `pid`; false when it is none or too many. */
bool kv_bench_pids_add(struct kv_bench_pids *pids, const char *pid);

/* Processor time of all their threads since they began, in nanoseconds. */
uint64_t kv_bench_pids_cpu_ns(const struct kv_bench_pids *pids);

/* Processor time of this process, in nanoseconds. */
uint64_t kv_bench_own_cpu_ns(void);

#endif
