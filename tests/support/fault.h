/*
 * Make one allocation fail. Programs that link this have malloc, calloc, realloc and
 * strdup of all their own objects routed through a counter (the linker's --wrap), and
 * on request libcrypto's allocations, too.
 *
 *   for (long n = 1; fault_round(n); n++)
 *       ... one attempt: succeeds or fails, never leaks or crashes ...
 *
 * One thread only.
 */
#ifndef KV_TESTS_SUPPORT_FAULT_H
#define KV_TESTS_SUPPORT_FAULT_H

#include <stdbool.h>

/* Count libcrypto's allocations as well, or not. False when that cannot be had. */
bool fault_use_libcrypto(bool on);

/* Arm: the n-th allocation from now fails, once. 0 disarms. */
void fault_arm(long n);

/* Between these two calls allocations count for nothing: they are the test's own. */
void fault_pause(bool is_paused);

/* Whether the armed allocation was reached, and failed. */
bool fault_was_hit(void);

/* For loops over n = 1, 2, ...: false (and disarmed) once the round before ran without
 * reaching its allocation; else arms round n. */
bool fault_round(long n);

#endif
