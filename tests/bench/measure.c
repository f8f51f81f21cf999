#include "tests/bench/measure.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SAMPLES_MAX ((size_t)1 << 23)

static uint64_t read_clock_ns(clockid_t clock)
{
    struct timespec ts;
    (void)clock_gettime(clock, &ts); /* these clocks exist */
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

uint64_t kv_bench_now_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

uint64_t kv_bench_own_cpu_ns(void)
{
    return read_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

bool kv_bench_samples_init(struct kv_bench_samples *samples)
{
    *samples = (struct kv_bench_samples){.ns = calloc(SAMPLES_MAX, sizeof(uint32_t))};
    return samples->ns != NULL;
}

void kv_bench_samples_free(struct kv_bench_samples *samples)
{
    free(samples->ns);
    *samples = (struct kv_bench_samples){.ns = NULL};
}

bool kv_bench_samples_add(struct kv_bench_samples *samples, uint64_t ns)
{
    if (samples->n == SAMPLES_MAX)
        return false;
    samples->ns[samples->n++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
    return true;
}

static int compare(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void kv_bench_samples_print(struct kv_bench_samples *samples)
{
    const size_t n = samples->n;
    const uint32_t *ns = samples->ns;
    qsort(samples->ns, n, sizeof(*ns), compare);
    (void)printf("p50_us %.2f p99_us %.2f p999_us %.2f max_us %.2f ", ns[n / 2] / 1e3,
                 ns[n * 99 / 100] / 1e3, ns[n * 999 / 1000] / 1e3, ns[n - 1] / 1e3);
}

bool kv_bench_pids_add(struct kv_bench_pids *pids, const char *pid)
{
    const long number = strtol(pid, NULL, 10);
    if (number <= 0 || pids->n == KV_BENCH_PIDS_MAX)
        return false;
    pids->pid[pids->n++] = (pid_t)number;
    return true;
}

/* The first number of a thread's schedstat: nanoseconds on a processor. */
static uint64_t thread_ns(const char *task, const char *tid)
{
    char path[384];
    char line[256];
    uint64_t ns = 0;
    (void)snprintf(path, sizeof(path), "%s/%s/schedstat", task, tid);
    FILE *file = fopen(path, "r");
    if (file != NULL && fgets(line, sizeof(line), file) != NULL)
        ns = strtoull(line, NULL, 10);
    if (file != NULL)
        (void)fclose(file);
    return ns;
}

uint64_t kv_bench_pids_cpu_ns(const struct kv_bench_pids *pids)
{
    uint64_t total = 0;
    for (size_t i = 0; i < pids->n; i++) {
        char task[64];
        (void)snprintf(task, sizeof(task), "/proc/%d/task", (int)pids->pid[i]);
        DIR *dir = opendir(task);
        for (struct dirent *e = dir ? readdir(dir) : NULL; e != NULL; e = readdir(dir))
            total += e->d_name[0] == '.' ? 0 : thread_ns(task, e->d_name);
        if (dir != NULL)
            (void)closedir(dir);
    }
    return total;
}
