/*
 * Copies of secret numbers in the memory of the test itself. What is looked for is kept
 * masked, so that it is not found in here.
 */
#ifndef KV_TESTS_SUPPORT_RESIDUE_H
#define KV_TESTS_SUPPORT_RESIDUE_H

#include <stddef.h>
#include <stdint.h>

#define KV_RESIDUE_MARK 24 /* bytes that are compared */

/* Forget what was learnt before. */
void kv_residue_reset(void);

/* Look for this number from now on: KV_RESIDUE_MARK bytes from `at` on, big-endian as
 * given, and from the other end as libcrypto's words have them. The caller wipes. Dies
 * when it is too short or there are too many. */
void kv_residue_learn(const uint8_t *number, size_t len, size_t at);

/* How many copies there are in all writable memory. */
size_t kv_residue_count(void);

/* A block that holds a copy, to see that it is found; wiped and freed by the other. */
uint8_t *kv_residue_plant(void);
void kv_residue_pull(uint8_t *planted);

#endif
