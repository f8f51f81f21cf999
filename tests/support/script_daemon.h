/*
 * A key daemon that answers each connection with the same bytes, whatever it is asked:
 * a frame for each request, then whatever follows, then the end of the stream. It takes
 * 16 connections until script_daemon_hang_up(). It needs no thread: connect() accepts
 * and send() answers, for which programs link with --wrap (script_daemon_dep).
 */
#ifndef KV_TESTS_SUPPORT_SCRIPT_DAEMON_H
#define KV_TESTS_SUPPORT_SCRIPT_DAEMON_H

#include <stddef.h>
#include <stdint.h>

/* Listen; returns the path of the socket. Aborts on failure. */
const char *script_daemon_start(void);

/* What to answer from now on, at most 100,000 bytes; borrowed. */
void script_daemon_answer(const uint8_t *data, size_t len);

/* Close the daemon's ends; returns how many connections there were since the last time.
 */
unsigned script_daemon_hang_up(void);

#endif
