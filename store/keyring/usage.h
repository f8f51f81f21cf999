/*
 * What was done with a key, counted: operations, failures, how long they took.
 *
 * Each key slot (keys.h) has counters of its own, on cache lines of its own, written by
 * its thread alone; whoever asks adds them up, so that a count may be one behind what
 * has just been answered. Counted, also through a new state of the same key: see
 * kv_ring_load.
 */
#ifndef KV_STORE_KEYRING_USAGE_H
#define KV_STORE_KEYRING_USAGE_H

#include "store/keyring/role.h"

struct kv_usage;

/* Begin to count; `since_s` is told with the numbers. NULL when memory is short. */
struct kv_usage *kv_usage_new(int64_t since_s);
struct kv_usage *kv_usage_ref(struct kv_usage *usage);
void kv_usage_unref(struct kv_usage *usage); /* NULL does nothing */

/* One operation went well and took `took_us` microseconds; one failed; a signature took
 * a prepared nonce. By the thread that has the slot. `usage` NULL does nothing, nor
 * does a slot's first count when memory is short. */
void kv_usage_note(struct kv_usage *usage, unsigned slot, enum kv_use use,
                   int64_t took_us);
void kv_usage_note_error(struct kv_usage *usage, unsigned slot);
void kv_usage_note_prepared(struct kv_usage *usage, unsigned slot);

int64_t kv_usage_since_s(const struct kv_usage *usage);

/* Add up all slots. Any thread. */
void kv_usage_sum(const struct kv_usage *usage, struct kv_usage_counts *out);

/* The bucket of kv_usage_counts that a time belongs to. */
unsigned kv_usage_bucket(int64_t took_us);

#endif
