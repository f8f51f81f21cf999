#include "store/core/lock.h"

#include <errno.h>
#include <sys/file.h>
#include <time.h>

#define PAUSE_MS 20U

int kv_lock_file(int fd, unsigned wait_ms)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    for (unsigned waited_ms = 0;; waited_ms += PAUSE_MS) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return KV_E_IO;
        if (waited_ms >= wait_ms)
            return KV_E_BUSY;
        (void)nanosleep(&pause, NULL); /* cut short by a signal: tries earlier */
    }
}
