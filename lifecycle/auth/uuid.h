/*
 * UUIDs as text (RFC 9562 §4). Pure.
 */
#ifndef KV_LIFECYCLE_AUTH_UUID_H
#define KV_LIFECYCLE_AUTH_UUID_H

#include <stdbool.h>
#include <stdint.h>

/* Write 16 bytes as a lower-case UUID and a NUL. */
void kv_uuid_format(const uint8_t id[16], char out[37]);

/* Whether text is a UUID, in either case. */
bool kv_uuid_is_valid(const char *text);

#endif
