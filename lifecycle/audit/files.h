/*
 * Files of the audit log: audit-NNNNNNNNNN.log, one for each segment. Blocking.
 */
#ifndef KV_LIFECYCLE_AUDIT_FILES_H
#define KV_LIFECYCLE_AUDIT_FILES_H

#include <stdint.h>

#include "lifecycle/audit/verify.h"

#define KV_AUDIT_SEGMENTS_MAX 65536

/* "audit-0000000007.log" */
void kv_audit_file_name(uint64_t segment, char out[KV_AUDIT_FILE_MAX]);

/* Numbers of the segments in a directory, ascending; the caller frees `*out`.
 * KV_E_NOT_FOUND (audit.no-directory), KV_E_IO (audit.unreadable), KV_E_TOO_BIG. */
int kv_audit_files_list(int dir_fd, uint64_t **out, size_t *n,
                        struct kv_err *err) KV_MUST_CHECK;

/* Open the directory for reading. */
int kv_audit_dir_open(const char *dir, int *out, struct kv_err *err) KV_MUST_CHECK;

/* Feed at most `n_bytes` of a segment to a verifier, from begin to end. */
int kv_audit_file_verify(int dir_fd, uint64_t segment, uint64_t n_bytes,
                         struct kv_audit_verifier *verifier,
                         struct kv_err *err) KV_MUST_CHECK;

#endif
