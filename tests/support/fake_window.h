/*
 * The fake keyring's end of a window (struct kv_window), and what can be wrong with
 * one.
 */
#ifndef KV_TESTS_SUPPORT_FAKE_WINDOW_H
#define KV_TESTS_SUPPORT_FAKE_WINDOW_H

#include "tests/support/fake_keyring.h"

struct fake_window;

/* Put the whole reply to a request into `out`. */
typedef void (*fake_answer_fn)(void *arg, const struct kv_frame *request,
                               struct kv_buf *out);

/* Answer WINDOW on the socket `fd` as the mode wants it, and serve what comes by the
 * window on a thread. NULL when the mode makes none. */
struct fake_window *fake_window_open(int fd, const struct kv_frame *request,
                                     const _Atomic int *mode, fake_answer_fn answer,
                                     void *arg);

/* Say that no answer will come, and end the thread. NULL is fine. */
void fake_window_close(struct fake_window *window);

#endif
