/*
 * A service in a box: a loop, a store in memory, one vault, and a keyring in the same
 * process (fake_link.h). Nothing happens but inside the calls that wait, so that a test
 * reads straight down. The clock stands still at CHAIN_MAKER_NOW_S.
 */
#ifndef KV_TESTS_SUPPORT_SERVICE_BOX_H
#define KV_TESTS_SUPPORT_SERVICE_BOX_H

#include "lifecycle/service/task.h"
#include "tests/support/fake_link.h"

struct service_box {
    uv_loop_t loop;
    struct kv_room room;
    struct kv_keyring link;
    struct kv_service service;
    struct kv_vault *vault; /* "default"; its id is the room's */
    /* what the last call that was waited for brought */
    bool is_done;
    int rc;
    struct kv_err err;
    uint64_t n_rows;
};

void service_box_init(struct service_box *box);

/* Asserts that no operation, handle or memory of the loop is left. */
void service_box_fini(struct service_box *box);

/* The callback of what is waited for; `arg` is the box. */
void service_box_done(void *arg, int rc, const struct kv_err *err);

/* Run the loop until service_box_done was called, once. `rc` is what the starting call
 * returned: not 0 means that nothing is waited for. The code of the call. */
int service_box_wait(struct service_box *box, int rc);

/* Let everything happen that can happen now, timers that are due included. */
void service_box_settle(struct service_box *box);

/* Read an object as the service does: unsealed and compared with its columns. Version
 * NULL: the current one. KV_E_*; the caller frees `out` (row_version 0: absent). */
int service_box_find(struct service_box *box, uint8_t kind, const char *name,
                     const uint8_t *version, struct kv_object *out);

/* The head of a name; row_version 0: absent. */
struct kv_row service_box_head(struct service_box *box, uint8_t kind, const char *name);

/* How many versions a name has; how many rows the store has. */
size_t service_box_versions(struct service_box *box, uint8_t kind, const char *name);
uint64_t service_box_rows(struct service_box *box);

/* Write a row with this document (taken) over what is there; asserts that it works.
 * NULL: a row without body. */
void service_box_put(struct service_box *box, const struct kv_row *row, json_t *doc);

#endif
