/*
 * Polling with growing pauses. Our own API has done what it was asked to when it
 * replies, and the first look finds it; other servers of the contract have only begun.
 */
#include "lifecycle/cli/wait.h"

#include <time.h>

#include "lifecycle/cli/rest.h"

#define LAST_MS 2000
#define LIMIT_MS 120000

void kv_wait_pause(long *pause_ms)
{
    struct timespec wait = {.tv_sec = *pause_ms / 1000,
                            .tv_nsec = *pause_ms % 1000 * 1000000};
    while (nanosleep(&wait, &wait) != 0) {
        /* a signal: sleep on for the rest */
    }
    *pause_ms = *pause_ms * 2 < LAST_MS ? *pause_ms * 2 : LAST_MS;
}

int kv_wait_there(struct kv_cli *cli, const char *path, struct kv_err *err)
{
    long pause_ms = KV_WAIT_FIRST_MS;
    for (long waited_ms = 0; waited_ms < LIMIT_MS; waited_ms += pause_ms) {
        struct kv_err failure = KV_ERR_INIT;
        int rc = kv_rest_call(cli, "GET", path, NULL, NULL, &failure);
        if (rc == 0 || rc == KV_E_DENIED)
            return 0;
        if (rc != KV_E_NOT_FOUND) {
            *err = failure;
            return rc;
        }
        kv_wait_pause(&pause_ms);
    }
    (void)kv_err_set(err, KV_E_TIMEOUT, "cli.timeout",
                     "the API has begun, but is not done after two minutes");
    kv_err_hint(err, "--no-wait returns as soon as it has begun");
    return KV_E_TIMEOUT;
}
