/*
 * The service's link to the keyring (lifecycle/service/keyring.h) without a connection:
 * calls are served by a room in the same process, one on each turn of the loop, and
 * fail as a test wants. Link this instead of the real one. Loop thread only.
 */
#ifndef KV_TESTS_SUPPORT_FAKE_LINK_H
#define KV_TESTS_SUPPORT_FAKE_LINK_H

#include "lifecycle/service/keyring.h"
#include "tests/support/room.h"

/* Called around what the keyring and this link do for themselves (fault_pause), when
 * set. */
extern void (*fake_link_own)(bool is_own);

struct fake_call; /* one that waits for its answer */

struct kv_keyring {
    /* knobs */
    bool is_held;        /* answers wait */
    bool is_unreachable; /* no connection: every call fails (keyring.unreachable) */
    bool is_sealed;      /* every call fails (keyring.sealed) */
    uint16_t
        fail_verb; /* the next call of this verb fails with fail_rc, once; 0: none */
    const char *fail_id; /* NULL: keyring.injected */
    unsigned fail_in;    /* the n-th call from now fails, once; 0: none */
    int fail_rc;
    bool fails_at_once; /* by the return of kv_keyring_call, not by its callback */
    uint16_t
        spoil_verb; /* answers to this verb are cut to half their length; 0: none */
    /* what the link saw */
    unsigned n_calls;
    unsigned n_beats;
    unsigned n_removed; /* vaults whose keys are remembered no longer */
    unsigned n_answers; /* to questions; the last of them: */
    int answer_rc;
    struct kv_err answer_err;
    struct kv_buf answer;
    /* private */
    struct kv_room *room;
    uv_idle_t idle; /* runs while calls may be answered */
    struct fake_call *first;
    struct fake_call *last;
};

/* A connected link over `room`, which knows the key of the system vault afterwards. */
void fake_link_open(struct kv_keyring *link, uv_loop_t *loop, struct kv_room *room);

/* Nobody may wait; the loop has to run once more. */
void fake_link_close(struct kv_keyring *link);

/* Answer again what was held back. */
void fake_link_release(struct kv_keyring *link);

/* Make the n-th call from now fail, once; counts calls from zero again. */
void fake_link_fail(struct kv_keyring *link, unsigned n, int rc);

#endif
