/*
 * store_scale: what reading costs in a store of many certificates, and writing them.
 *
 *   store_scale DIR N
 *
 * Fills DIR (made new) with N certificates of 1 KB, a head and a version each, in
 * transactions of 32, opens the store again and measures. Prints one line: n,
 * write_rows_per_s, open_us, first_due_us (the next 64 that are due, right after
 * opening), due_us, page_us (25 names somewhere in the list), get_us (one by name),
 * bytes_per_row, rss_kib; the times are medians.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/db/sqlite/sqlite.h"
#include "store/keyring/role.h"
#include "tests/bench/measure.h"

#define PAIRS_PER_BATCH (KV_STORE_BATCH_MAX / 2)
#define IN_FLIGHT 8
#define BODY_LEN 1000
#define ROUNDS 200
#define PAGE 25

static uv_loop_t loop;
static struct kv_store *store;

static void must(bool is_good, const char *what)
{
    if (is_good)
        return;
    (void)fprintf(stderr, "store_scale: %s\n", what);
    exit(1);
}

static void open_store(const char *dir)
{
    struct kv_err err = KV_ERR_INIT;
    struct kv_store_config config = {
        .loop = &loop, .dir = dir, .clock = kv_clock_system()};
    must(kv_sqlite_open(&store, &config, &err) == 0, err.message);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void close_store(void)
{
    bool is_closed = false;
    store->ops->close(store, on_closed, &is_closed);
    while (!is_closed)
        (void)uv_run(&loop, UV_RUN_ONCE);
}

/* --- writing -----------------------------------------------------------------------
 */

struct writing {
    uint32_t next;
    uint32_t n;
    unsigned n_in_flight;
};

/* Names in no order, as people choose them: the low bits come first. */
static void name_of(uint32_t number, char out[KV_NAME_MAX + 1])
{
    (void)snprintf(out, KV_NAME_MAX + 1, "cert-%08x", number * 2654435761U);
}

static void on_written(void *arg, int rc, size_t failed_index, const struct kv_err *err)
{
    struct writing *writing = arg;
    (void)failed_index;
    must(rc == 0, err->message);
    writing->n_in_flight--;
}

static void write_batch(struct writing *writing)
{
    static uint8_t body[BODY_LEN];
    static struct kv_mutation changes[KV_STORE_BATCH_MAX];
    uint8_t op_id[KV_ID_LEN] = {1};
    size_t n = 0;
    memcpy(op_id + 4, &writing->next, sizeof(writing->next));
    for (; n < 2 * PAIRS_PER_BATCH && writing->next < writing->n; writing->next++) {
        for (unsigned i = 0; i < 2; i++) {
            struct kv_row *row = &changes[n].row;
            changes[n] = (struct kv_mutation){.kind = KV_MUTATION_PUT};
            row->row_version = 1;
            row->term = i == 0 ? 0 : 1;
            row->flags = KV_ROW_ENABLED;
            row->key.vault[0] = 1;
            row->key.kind = KV_KIND_CERTIFICATE;
            name_of(writing->next, row->key.name);
            row->created_s = row->updated_s = writing->next;
            row->nbf_s = row->exp_s = KV_TIME_NONE;
            row->next_at_s = i == 0 ? 1000000 + writing->next : KV_TIME_NONE;
            memcpy(i == 0 ? row->current : row->key.version, &writing->next,
                   sizeof(writing->next));
            (i == 0 ? row->current : row->key.version)[KV_ID_LEN - 1] = 1;
            row->sealed = i == 0 ? NULL : body;
            row->sealed_len = i == 0 ? 0 : sizeof(body);
            n++;
        }
    }
    writing->n_in_flight++;
    must(store->ops->apply(store, op_id, changes, n, on_written, writing) == 0,
         "a batch cannot start");
}

static double fill(uint32_t n)
{
    struct writing writing = {.n = n};
    const uint64_t start = kv_bench_now_ns();
    while (writing.next < n || writing.n_in_flight > 0) {
        while (writing.next < n && writing.n_in_flight < IN_FLIGHT)
            write_batch(&writing);
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    return 2.0 * n * 1e9 / (double)(kv_bench_now_ns() - start);
}

/* --- reading ------------------------------------------------------------------------
 */

struct reading {
    bool is_over;
    size_t n_rows;
};

static void on_rows(void *arg, int rc, const struct kv_row *rows, size_t n_rows,
                    bool has_more, const struct kv_err *err)
{
    struct reading *reading = arg;
    (void)rows;
    (void)has_more;
    must(rc == 0, err->message);
    reading->is_over = true;
    reading->n_rows = n_rows;
}

static double finish(struct reading *reading, int rc, uint64_t start, size_t n_wanted)
{
    must(rc == 0, "a read cannot start");
    while (!reading->is_over)
        (void)uv_run(&loop, UV_RUN_ONCE);
    must(reading->n_rows == n_wanted, "a read brought another number of rows");
    return (double)(kv_bench_now_ns() - start) / 1e3;
}

static double read_due(uint32_t n)
{
    struct reading reading = {.is_over = false};
    const struct kv_list_query query = {
        .what = KV_LIST_DUE, .due_s = INT64_MAX, .limit = KV_STORE_LIST_MAX};
    const uint64_t start = kv_bench_now_ns();
    const int rc = store->ops->list(store, &query, on_rows, &reading);
    return finish(&reading, rc, start, n < KV_STORE_LIST_MAX ? n : KV_STORE_LIST_MAX);
}

static double read_page(uint32_t at)
{
    struct reading reading = {.is_over = false};
    struct kv_list_query query = {
        .what = KV_LIST_CURRENT, .kind = KV_KIND_CERTIFICATE, .limit = PAGE};
    query.vault[0] = 1;
    (void)snprintf(query.after_name, sizeof(query.after_name), "cert-%08x",
                   at % 0xf0000000U);
    const uint64_t start = kv_bench_now_ns();
    const int rc = store->ops->list(store, &query, on_rows, &reading);
    return finish(&reading, rc, start, PAGE);
}

static double read_one(uint32_t number)
{
    struct reading reading = {.is_over = false};
    struct kv_row_key key = {.vault = {1}, .kind = KV_KIND_CERTIFICATE};
    name_of(number, key.name);
    const uint64_t start = kv_bench_now_ns();
    const int rc = store->ops->get_live(store, &key, on_rows, &reading);
    return finish(&reading, rc, start, 1);
}

static int by_value(const void *a, const void *b)
{
    const double left = *(const double *)a;
    const double right = *(const double *)b;
    return (left > right) - (left < right);
}

enum what { DUE, PAGE_OF_NAMES, ONE };

static double median(enum what what, uint32_t n)
{
    static double times[ROUNDS];
    for (uint32_t i = 0; i < ROUNDS; i++) {
        const uint32_t random = (i + 1) * 2246822519U;
        times[i] = what == DUE             ? read_due(n)
                   : what == PAGE_OF_NAMES ? read_page(random)
                                           : read_one(random % n);
    }
    qsort(times, ROUNDS, sizeof(times[0]), by_value);
    return times[ROUNDS / 2];
}

static void on_stats(void *arg, int rc, const struct kv_store_stats *stats,
                     const struct kv_err *err)
{
    must(rc == 0, err->message);
    *(struct kv_store_stats *)arg = *stats;
}

static double bytes_per_row(void)
{
    struct kv_store_stats stats = {.n_rows = 0};
    must(store->ops->stats(store, on_stats, &stats) == 0, "no statistics");
    while (stats.n_rows == 0)
        (void)uv_run(&loop, UV_RUN_ONCE);
    return (double)stats.bytes_on_disk / (double)stats.n_rows;
}

static long rss_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    must(file != NULL && fscanf(file, "%*d %ld", &pages) == 1, "no statm");
    (void)fclose(file);
    return pages * 4;
}

int main(int argc, char **argv)
{
    const uint32_t n = argc == 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
    if (n < KV_STORE_LIST_MAX)
        return 2;
    must(mkdir(argv[1], 0700) == 0, "DIR cannot be made");
    must(uv_loop_init(&loop) == 0, "no loop");
    open_store(argv[1]);
    const double write_rate = fill(n);
    close_store();
    const uint64_t start = kv_bench_now_ns();
    open_store(argv[1]);
    const double open_us = (double)(kv_bench_now_ns() - start) / 1e3;
    const double first_us = read_due(n);
    const double due_us = median(DUE, n);
    const double page_us = median(PAGE_OF_NAMES, n);
    const double get_us = median(ONE, n);
    (void)printf(
        "n %u write_rows_per_s %.0f open_us %.0f first_due_us %.0f due_us %.1f "
        "page_us %.1f get_us %.1f bytes_per_row %.0f rss_kib %ld\n",
        n, write_rate, open_us, first_us, due_us, page_us, get_us, bytes_per_row(),
        rss_kib());
    close_store();
    must(uv_loop_close(&loop) == 0, "the loop is not empty");
    return 0;
}
