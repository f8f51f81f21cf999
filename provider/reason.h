/*
 * The edge between our error codes and the host's OpenSSL error queue. Nothing else
 * in this folder touches the queue. Any thread.
 */
#ifndef KV_PROVIDER_REASON_H
#define KV_PROVIDER_REASON_H

#include <openssl/core.h>
#include <openssl/core_dispatch.h>

#include "store/core/err.h"

/* The numbers are those that OpenSSL shows: they stay as they are, new ones come last.
 */
enum kv_reason {
    KV_REASON_UNREACHABLE = 1,
    KV_REASON_TIMEOUT,
    KV_REASON_WRONG_SERVER,
    KV_REASON_PROTOCOL,
    KV_REASON_SEALED,
    KV_REASON_DENIED,
    KV_REASON_NOT_FOUND,
    KV_REASON_NOT_USABLE,
    KV_REASON_KEY_MISMATCH,
    KV_REASON_BAD_URI,
    KV_REASON_BAD_KEY_FILE,
    KV_REASON_BAD_PARAMETER,
    KV_REASON_UNSUPPORTED,
    KV_REASON_NO_GENERATION,
    KV_REASON_NOT_EXPORTABLE,
    KV_REASON_PUBLIC_KEY_ONLY,
    KV_REASON_BUFFER_TOO_SMALL,
    KV_REASON_OPERATION_FAILED,
    KV_REASON_INTERNAL,
    KV_REASON_LOST,
    KV_REASON_VERSION,
    KV_REASON_BAD_SETTING,
    KV_REASON_NO_SERVICE,
    KV_REASON_BUSY,
    KV_REASON_REVOKED,
    KV_REASON_NO_SUCH_OPERATION,
    KV_REASON_DELETED,
    KV_REASON_DISABLED,
    KV_REASON_EXPIRED,
    KV_REASON_NOT_YET_VALID,
    KV_REASON_PENDING,
    KV_REASON_NOT_IN_VAULT,
};

/* The core's upcalls; all may be NULL (nothing is reported then). */
struct kv_reason_core {
    const OSSL_CORE_HANDLE *handle;
    OSSL_FUNC_core_new_error_fn *new_error;
    OSSL_FUNC_core_set_error_debug_fn *set_error_debug;
    OSSL_FUNC_core_vset_error_fn *vset_error;
    OSSL_FUNC_core_set_error_mark_fn *set_mark;
    OSSL_FUNC_core_pop_error_to_mark_fn *pop_to_mark;
};

/* Put one entry on the host's error queue. `format` names the thing and the cure. */
void kv_reason_raise(const struct kv_reason_core *core, enum kv_reason reason,
                     const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same from a filled struct kv_err: "keyvault: ID: message (hint)". */
void kv_reason_raise_err(const struct kv_reason_core *core, const struct kv_err *err);

/* The same about the key, certificate or collection that `uri` names. The message says
 * which one, and behind the hint stands `run: keyvault doctor --as UID URI`: what finds
 * out more, as the user that this process has. */
void kv_reason_raise_about(const struct kv_reason_core *core, const struct kv_err *err,
                           const char *uri);

/* The reason of a failure: by its id where that has one of its own, else by its code.
 */
enum kv_reason kv_reason_of(const struct kv_err *err);

/* Speculative work: what it puts on the queue between mark and drop is forgotten. */
void kv_reason_mark(const struct kv_reason_core *core);
void kv_reason_drop(const struct kv_reason_core *core);

/* The table for OSSL_FUNC_PROVIDER_GET_REASON_STRINGS. */
const OSSL_ITEM *kv_reason_strings(void);

#endif
