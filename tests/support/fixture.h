/*
 * Files of tests/fixtures, read whole into a buffer. Test code only: anything that
 * fails ends the test.
 */
#ifndef KV_TESTS_SUPPORT_FIXTURE_H
#define KV_TESTS_SUPPORT_FIXTURE_H

#include "store/core/buf.h"
#include "store/core/wire.h"

/* Start `buf` (at most 1 MiB) and fill it with the file `name`, a path below
 * tests/fixtures. The caller frees the buffer. */
void fixture_read(const char *name, struct kv_buf *buf);

/* View a buffer's content. */
struct kv_bytes fixture_bytes(const struct kv_buf *buf);

#endif
