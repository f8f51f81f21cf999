/*
 * uid -> "unix:USER" and "unixgroup:GROUP", looked up on the pool and cached.
 *
 * The cache has a fixed number of places; the oldest answer gives way. An answer is
 * trusted for a minute: group changes reach the vault within that time.
 */
#include "lifecycle/auth/principal.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_PLACES 64
#define KEEP_MS 60000
#define NSS_BUFFER 16384

struct place {
    bool is_used;
    uid_t uid;
    int64_t since_ms;
    struct kv_principal principal;
};

struct kv_principals {
    uv_loop_t *loop;
    const struct kv_clock *clock;
    struct place *places[N_PLACES];
};

struct lookup {
    uv_work_t work;
    struct kv_principals *principals;
    uid_t uid;
    struct kv_principal principal;
    kv_principal_cb cb;
    void *arg;
};

int kv_principals_new(struct kv_principals **out, uv_loop_t *loop,
                      const struct kv_clock *clock)
{
    struct kv_principals *principals = calloc(1, sizeof(*principals));
    if (principals == NULL)
        return KV_E_NOMEM;
    principals->loop = loop;
    principals->clock = clock;
    *out = principals;
    return 0;
}

void kv_principals_free(struct kv_principals *principals)
{
    for (size_t i = 0; principals != NULL && i < N_PLACES; i++)
        free(principals->places[i]);
    free(principals);
}

const struct kv_principal *kv_principals_find(struct kv_principals *principals,
                                              uid_t uid)
{
    int64_t now_ms = kv_monotonic_ms(principals->clock);
    for (size_t i = 0; i < N_PLACES; i++) {
        const struct place *place = principals->places[i];
        if (place != NULL && place->uid == uid && now_ms - place->since_ms < KEEP_MS)
            return &place->principal;
    }
    return NULL;
}

static void keep(struct kv_principals *principals, uid_t uid,
                 const struct kv_principal *principal)
{
    size_t best = 0;
    for (size_t i = 0; i < N_PLACES; i++) {
        const struct place *place = principals->places[i];
        if (place == NULL || place->uid == uid) {
            best = i;
            break;
        }
        if (place->since_ms < principals->places[best]->since_ms)
            best = i;
    }
    if (principals->places[best] == NULL)
        principals->places[best] = calloc(1, sizeof(struct place));
    struct place *place = principals->places[best];
    if (place == NULL)
        return;
    place->uid = uid;
    place->since_ms = kv_monotonic_ms(principals->clock);
    place->principal = *principal;
}

/* Name services may hold anything; what cannot be granted a role is no name here, and
 * reaches neither logs nor messages. */
static bool is_grantable(const char *id)
{
    char text[KV_PRINCIPAL_MAX];
    return kv_principal_parse(id, text, NULL) == 0;
}

static void add_group(struct kv_principal *out, gid_t gid, char *buffer)
{
    struct group group;
    struct group *found = NULL;
    if (out->n_groups == KV_GROUPS_MAX ||
        getgrgid_r(gid, &group, buffer, NSS_BUFFER, &found) != 0 || found == NULL)
        return;
    char *place = out->groups[out->n_groups];
    int n = snprintf(place, KV_PRINCIPAL_MAX, "unixgroup:%s", group.gr_name);
    if (n > 0 && n < KV_PRINCIPAL_MAX && is_grantable(place))
        out->n_groups++;
}

void kv_principal_lookup(uid_t uid, struct kv_principal *out)
{
    struct passwd entry;
    struct passwd *found = NULL;
    gid_t gids[KV_GROUPS_MAX];
    int n_gids = KV_GROUPS_MAX;
    char *buffer = malloc(NSS_BUFFER);
    memset(out, 0, sizeof(*out));
    out->kind = KV_PRINCIPAL_UNIX;
    (void)snprintf(out->id, sizeof(out->id), "unix:#%u", (unsigned)uid);
    if (buffer == NULL || getpwuid_r(uid, &entry, buffer, NSS_BUFFER, &found) != 0 ||
        found == NULL)
        goto out;
    char user[KV_PRINCIPAL_MAX];
    char id[KV_PRINCIPAL_MAX];
    int n = snprintf(user, sizeof(user), "%s", entry.pw_name);
    if (n <= 0 || (size_t)n >= sizeof(user))
        goto out;
    n = snprintf(id, sizeof(id), "unix:%s", user);
    if (n > 0 && (size_t)n < sizeof(id) && is_grantable(id))
        memcpy(out->id, id, sizeof(id));
    if (getgrouplist(user, entry.pw_gid, gids, &n_gids) < 0)
        n_gids = KV_GROUPS_MAX; /* more than we keep: the first ones count */
    for (int i = 0; i < n_gids && i < KV_GROUPS_MAX; i++)
        add_group(out, gids[i], buffer);
out:
    free(buffer);
}

static void on_work(uv_work_t *work)
{
    struct lookup *lookup = work->data;
    kv_principal_lookup(lookup->uid, &lookup->principal);
}

static void on_done(uv_work_t *work, int status)
{
    struct lookup *lookup = work->data;
    (void)status; /* lookups are never cancelled */
    keep(lookup->principals, lookup->uid, &lookup->principal);
    lookup->cb(lookup->arg, 0, &lookup->principal);
    free(lookup);
}

int kv_principals_resolve(struct kv_principals *principals, uid_t uid,
                          kv_principal_cb cb, void *arg)
{
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    if (lookup == NULL)
        return KV_E_NOMEM;
    lookup->work.data = lookup;
    lookup->principals = principals;
    lookup->uid = uid;
    lookup->cb = cb;
    lookup->arg = arg;
    if (uv_queue_work(principals->loop, &lookup->work, on_work, on_done) != 0) {
        free(lookup);
        return KV_E_NOMEM;
    }
    return 0;
}
