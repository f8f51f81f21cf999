/*
 * The keyring's questions: may this Unix peer use this key, what is this certificate,
 * what is there. The keyring keeps the answer until the vault's epoch rises or the
 * lease ends. Loop thread only.
 */
#ifndef KV_LIFECYCLE_SERVICE_GRANTS_H
#define KV_LIFECYCLE_SERVICE_GRANTS_H

#include "lifecycle/service/task.h"

/* Answer one question (kv_keyring_question_fn; `arg` is the struct kv_service). */
void kv_grants_question(void *arg, uint32_t id, uint16_t verb, struct kv_bytes payload);

/* DER certificates of a certificate's document: its member "chain" is an array of
 * standard base64, leaf first. `msg` borrows from `out`. KV_E_STATE (cert.pending) when
 * the array is empty, KV_E_INTEGRITY for anything else. */
int kv_grants_read_chain(const json_t *doc, struct kv_buf *out,
                         struct kv_msg_certs *msg, struct kv_err *err) KV_MUST_CHECK;

#endif
