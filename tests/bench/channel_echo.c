/*
 * channel_echo: what the way to the keyring costs, without a key: HELLO and its answer,
 * again and again on one connection, by the provider's own client code.
 *
 *   channel_echo [--seconds S] [--cpu PID]... SOCKET
 *
 * Prints one line: rate (1/s), p50_us, p99_us, p999_us, max_us, cpu_us (own and the
 * named processes' processor time per echo). It stays on the CPU it began on, as the
 * provider's callers find a connection of theirs.
 */
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "provider/conn.h"
#include "store/core/str.h"
#include "tests/bench/measure.h"

static void stay_here(void)
{
    const int cpu = sched_getcpu();
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu < 0 ? 0U : (unsigned)cpu, &set);
    (void)sched_setaffinity(0, sizeof(set), &set); /* only better without moves */
}

static int echo_once(struct kv_conn *conn, const struct kv_conn_target *target)
{
    struct kv_frame reply;
    const size_t begin = kv_conn_begin(conn, KV_VERB_HELLO);
    kv_msg_hello_put(&conn->out,
                     &(struct kv_msg_hello){.version = KV_PROTOCOL_VERSION});
    kv_frame_end(&conn->out, begin);
    const int rc = kv_conn_exchange(conn, target, &reply, NULL);
    return rc == 0 ? reply.status : rc;
}

static int run(struct kv_conn *conn, const struct kv_conn_target *target,
               struct kv_bench_samples *samples, double seconds)
{
    const uint64_t until = kv_bench_now_ns() + (uint64_t)(seconds * 1e9);
    for (uint64_t at = kv_bench_now_ns(); at < until;) {
        if (echo_once(conn, target) != 0)
            return -1;
        const uint64_t end = kv_bench_now_ns();
        if (!kv_bench_samples_add(samples, end - at))
            break;
        at = end;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seconds", required_argument, NULL, 's'},
                                            {"cpu", required_argument, NULL, 'P'},
                                            {NULL, 0, NULL, 0}};
    struct kv_conn_target target = {.server_uid = KV_CONN_ANY_SAFE_UID,
                                    .connect_timeout_ms = 2000,
                                    .reply_timeout_ms = 5000,
                                    .deadline_ms = INT64_MAX};
    struct kv_bench_samples samples;
    struct kv_bench_pids pids = {.n = 0};
    struct kv_err err = KV_ERR_INIT;
    struct kv_conn conn;
    double seconds = 2;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 's')
            seconds = strtod(optarg, NULL);
        else if (o != 'P' || !kv_bench_pids_add(&pids, optarg))
            return 2;
    }
    if (optind != argc - 1 ||
        kv_str_copy(target.address, sizeof(target.address), argv[optind]) != 0 ||
        !kv_bench_samples_init(&samples))
        return 2;
    stay_here();
    kv_conn_init(&conn);
    if (kv_conn_open(&conn, &target, &err) != 0) {
        (void)fprintf(stderr, "channel_echo: %s\n", err.message);
        return 1;
    }
    const uint64_t start = kv_bench_now_ns();
    const uint64_t cpu = kv_bench_own_cpu_ns() + kv_bench_pids_cpu_ns(&pids);
    const int rc = run(&conn, &target, &samples, seconds);
    const double cpu_ns =
        (double)(kv_bench_own_cpu_ns() + kv_bench_pids_cpu_ns(&pids) - cpu);
    if (rc != 0 || samples.n == 0)
        return 1;
    const double n = (double)samples.n;
    (void)printf("rate %.1f ", n * 1e9 / (double)(kv_bench_now_ns() - start));
    kv_bench_samples_print(&samples);
    (void)printf("cpu_us %.2f\n", cpu_ns / 1e3 / n);
    kv_conn_close(&conn);
    kv_bench_samples_free(&samples);
    return 0;
}
