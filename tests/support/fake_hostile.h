/*
 * What a hostile or broken keyring sends instead of its reply, one way per mode.
 */
#ifndef KV_TESTS_SUPPORT_FAKE_HOSTILE_H
#define KV_TESTS_SUPPORT_FAKE_HOSTILE_H

#include <stdatomic.h>

#include "store/keyring/protocol.h"
#include "tests/support/fake_keyring.h"

/* "good", "hang", ... */
const char *fake_mode_name(enum fake_mode mode);

/* Whether the mode has another reply than the good one for this verb. */
bool fake_hostile_applies(int mode, uint16_t verb);

struct fake_scene {
    _Atomic int *mode; /* where to write the next mode */
    int fd;
    const struct kv_frame *request;
    struct kv_buf *out; /* the good reply, one whole frame; may be changed */
};

/* Send it. Returns false when the connection should end. */
bool fake_hostile_reply(int mode, const struct fake_scene *scene);

/* Send all of it; false when the peer has gone. */
bool fake_send_all(int fd, const uint8_t *data, size_t len);

#endif
