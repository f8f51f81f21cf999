/*
 * The keyring's end of keyring.sock on a test's own loop: it serves, stalls, lies or
 * hangs up, as the test wants. One at a time: `peer`.
 */
#ifndef KV_TESTS_SUPPORT_LINK_PEER_H
#define KV_TESTS_SUPPORT_LINK_PEER_H

#include <uv.h>

#include "store/core/buf.h"
#include "store/keyring/role.h"

enum link_mood {
    SERVES,
    IS_SILENT,
    HANGS_UP,
    SENDS_GARBAGE,
    SENDS_OVERSIZE,
    ANSWERS_OTHER_ID,
    ANSWERS_OTHER_VERB,
    REFUSES,
    REFUSES_WITHOUT_WORDS,
    REFUSES_POSITIVELY,
    REFUSES_UNHEARD_OF,
    ANSWERS_TWICE,
};

struct link_peer {
    uv_loop_t loop;
    char dir[64];
    char path[96];
    uv_pipe_t listener;
    uv_pipe_t conn;
    bool has_conn;
    bool is_listening;
    uint8_t chunk[65536];
    struct kv_buf in;
    /* behaviour */
    bool is_sealed;
    bool refuses_vault_keys;
    enum link_mood mood; /* towards calls; greetings are always answered */
    /* seen */
    unsigned n_hellos;
    unsigned n_vault_keys;
    unsigned n_calls;
    unsigned n_answers; /* to our questions */
    int32_t answer_status;
};

extern struct link_peer peer;

/* A loop and a directory; nobody listens yet. */
void link_peer_init(void);
void link_peer_listen(void);
/* Close what is open, run the loop to its end, remove the directory. */
void link_peer_fini(void);

/* Close the connection. */
void link_peer_hang_up(void);

/* Ask the service something. */
void link_peer_ask(uint32_t id, uint16_t verb);

/* Run the loop until a counter has come this far. */
void link_peer_wait(const unsigned *counter, unsigned at_least);

#endif
