/*
 * Caps: how many connections and waiting frames there may be, in all and for one uid.
 * Only uids that have something have an entry, so the table cannot be full before the
 * totals are. It is walked: on a machine with many uids that is some microseconds, and
 * only where a connection begins or a frame is put aside.
 */
#include <string.h>

#include "store/keyring/channel_internal.h"

#define FILES_OTHERWISE 128 /* loops, sockets, log, the service */
#define CONNS_LEAST 16

static const unsigned share[KV_CAPS_N] = {
    [KV_CAP_CONNS] = KV_CHANNEL_CONNS_PER_UID,
    [KV_CAP_WORKS] = KV_CHANNEL_WORKS_PER_UID,
};

void kv_caps_init(struct kv_caps *caps, uint64_t n_files)
{
    memset(caps, 0, sizeof(*caps));
    KV_ASSERT(pthread_mutex_init(&caps->lock, NULL) == 0);
    uint64_t n_conns = KV_CHANNEL_CONNS_MAX;
    if (n_files > 0 && n_files < KV_CHANNEL_CONNS_MAX + FILES_OTHERWISE)
        n_conns = n_files > FILES_OTHERWISE ? n_files - FILES_OTHERWISE : 0;
    caps->max[KV_CAP_CONNS] = n_conns > CONNS_LEAST ? (unsigned)n_conns : CONNS_LEAST;
    caps->max[KV_CAP_WORKS] = KV_CHANNEL_WORKS_MAX;
}

void kv_caps_fini(struct kv_caps *caps)
{
    (void)pthread_mutex_destroy(&caps->lock); /* nobody holds it any more */
}

static unsigned find(const struct kv_caps *caps, uid_t uid)
{
    unsigned i = 0;
    while (i < caps->n_uids && caps->by_uid[i].uid != uid)
        i++;
    return i;
}

bool kv_caps_enter(struct kv_caps *caps, enum kv_cap cap, uid_t uid)
{
    KV_ASSERT(pthread_mutex_lock(&caps->lock) == 0);
    const unsigned i = find(caps, uid);
    const bool is_new = i == caps->n_uids;
    const unsigned of_uid = is_new ? 0 : caps->by_uid[i].n[cap];
    const unsigned n_left = caps->max[cap] - caps->n[cap];
    const bool has_room = of_uid < n_left && of_uid < share[cap];
    if (has_room) {
        if (is_new) {
            memset(&caps->by_uid[i], 0, sizeof(caps->by_uid[i]));
            caps->by_uid[i].uid = uid;
            caps->n_uids++;
        }
        caps->n[cap]++;
        caps->by_uid[i].n[cap]++;
    }
    KV_ASSERT(pthread_mutex_unlock(&caps->lock) == 0);
    return has_room;
}

void kv_caps_leave(struct kv_caps *caps, enum kv_cap cap, uid_t uid)
{
    KV_ASSERT(pthread_mutex_lock(&caps->lock) == 0);
    const unsigned i = find(caps, uid);
    KV_ASSERT(i < caps->n_uids && caps->by_uid[i].n[cap] > 0);
    unsigned n_left = 0;
    caps->n[cap]--;
    caps->by_uid[i].n[cap]--;
    for (unsigned other = 0; other < KV_CAPS_N; other++)
        n_left += caps->by_uid[i].n[other];
    if (n_left == 0)
        caps->by_uid[i] = caps->by_uid[--caps->n_uids];
    KV_ASSERT(pthread_mutex_unlock(&caps->lock) == 0);
}
