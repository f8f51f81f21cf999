/*
 * Connection caps: in all, and for each uid. Only uids with a connection have an
 * entry, so the table can never be full before the total is.
 */
#include "store/keyring/channel_internal.h"

static unsigned find(const struct kv_caps *caps, uid_t uid)
{
    unsigned i = 0;
    while (i < caps->n_uids && caps->by_uid[i].uid != uid)
        i++;
    return i;
}

bool kv_caps_enter(struct kv_caps *caps, uid_t uid)
{
    KV_ASSERT(pthread_mutex_lock(&caps->lock) == 0);
    const unsigned i = find(caps, uid);
    const unsigned of_uid = i < caps->n_uids ? caps->by_uid[i].n : 0;
    const bool has_room =
        caps->n < KV_CHANNEL_CONNS_MAX && of_uid < KV_CHANNEL_CONNS_PER_UID;
    if (has_room) {
        caps->n++;
        caps->by_uid[i].uid = uid;
        caps->by_uid[i].n = of_uid + 1;
        if (i == caps->n_uids)
            caps->n_uids++;
    }
    KV_ASSERT(pthread_mutex_unlock(&caps->lock) == 0);
    return has_room;
}

void kv_caps_leave(struct kv_caps *caps, uid_t uid)
{
    KV_ASSERT(pthread_mutex_lock(&caps->lock) == 0);
    const unsigned i = find(caps, uid);
    KV_ASSERT(i < caps->n_uids && caps->n > 0);
    caps->n--;
    if (--caps->by_uid[i].n == 0)
        caps->by_uid[i] = caps->by_uid[--caps->n_uids];
    KV_ASSERT(pthread_mutex_unlock(&caps->lock) == 0);
}
