/*
 * Device authorization (RFC 8628): what a device shows until a user has signed in with
 * it elsewhere.
 *
 * A fixed number of places; each lives for ten minutes and is answered once. One source
 * has few of them at a time. Of the device code only the hash is kept. Pure; time is an
 * argument.
 */
#ifndef KV_LIFECYCLE_AUTH_DEVICE_CODES_H
#define KV_LIFECYCLE_AUTH_DEVICE_CODES_H

#include <stdbool.h>

#include "lifecycle/auth/token.h"

#define KV_DEVICE_PLACES 256
#define KV_DEVICE_PER_SOURCE 16
#define KV_DEVICE_LIFETIME_S 600
#define KV_DEVICE_INTERVAL_S 1
#define KV_USER_CODE_LEN 9 /* "BCDF-GHJK" */

/* What is asked for, and by whom. */
struct kv_device_request {
    char client_id[37];
    char tenant[37];
    char audience[256];
    char source[64];
    int64_t generation; /* of the user who signed in; 0: nobody yet */
};

struct kv_device_codes;

int kv_device_codes_new(struct kv_device_codes **out) KV_MUST_CHECK;
void kv_device_codes_free(struct kv_device_codes *codes);

/* Make both codes, with a NUL. KV_E_FULL: no place, or this source has its share. */
int kv_device_codes_add(struct kv_device_codes *codes, const struct kv_rand *rand,
                        const struct kv_device_request *request, int64_t now_ms,
                        char device[KV_TOKEN_TEXT_LEN + 1],
                        char user[KV_USER_CODE_LEN + 1]) KV_MUST_CHECK;

/* The request that a user code stands for and that nobody has answered; NULL: none.
 * Case and hyphens do not matter. Borrowed until the next call. */
const struct kv_device_request *kv_device_codes_find(struct kv_device_codes *codes,
                                                     const char *user, int64_t now_ms);

/* A user, by object id, has signed in for it with the secret of this generation. False:
 * it is not there any more. */
bool kv_device_codes_approve(struct kv_device_codes *codes, const char *user,
                             const char *oid, int64_t generation, int64_t now_ms);

enum kv_device_answer {
    KV_DEVICE_READY,   /* `out` and `oid` are filled; the codes are used up */
    KV_DEVICE_PENDING, /* nobody has signed in yet */
    KV_DEVICE_HASTY,   /* asked again before the interval was over */
    KV_DEVICE_GONE,    /* expired, used, or never there */
};

/* A device asks how its code stands. */
enum kv_device_answer kv_device_codes_poll(struct kv_device_codes *codes,
                                           const char *device, const char *client_id,
                                           int64_t now_ms,
                                           struct kv_device_request *out, char oid[37]);

#endif
