/*
 * Errors that an operator can act on.
 *
 * Every fallible function returns 0 or one negative KV_E_* code. Where a person
 * must understand the failure, the last parameter is a struct kv_err on the
 * caller's stack; it may be NULL. The first precise error wins: a second
 * kv_err_set on a filled object changes nothing, outer layers use
 * kv_err_context to say what they were doing. No allocation, any thread.
 */
#ifndef KV_STORE_CORE_ERR_H
#define KV_STORE_CORE_ERR_H

#include <stdint.h>

#define KV_MUST_CHECK __attribute__((warn_unused_result))

enum kv_code {
    KV_OK = 0,
    KV_E_NOMEM = -1,
    KV_E_INVALID = -2,      /* input is malformed or out of range */
    KV_E_TOO_BIG = -3,      /* input is longer than its ceiling */
    KV_E_NOT_FOUND = -4,    /* the named thing does not exist */
    KV_E_DENIED = -5,       /* caller may not do this */
    KV_E_CONFLICT = -6,     /* row version or state changed meanwhile */
    KV_E_EXISTS = -7,       /* the name is taken */
    KV_E_INTEGRITY = -8,    /* authentication of stored or sent bytes failed */
    KV_E_SEALED = -9,       /* the vault is sealed */
    KV_E_UNAVAILABLE = -10, /* peer or daemon cannot be reached */
    KV_E_TIMEOUT = -11,
    KV_E_IO = -12,          /* a system call failed; errno text is in the message */
    KV_E_FULL = -13,        /* no space left, quota or count reached */
    KV_E_UNSUPPORTED = -14, /* valid, but not offered here */
    KV_E_CRYPTO = -15,      /* a cryptographic operation failed; says no more */
    KV_E_STATE = -16,       /* not allowed in the present state (disabled, expired) */
    KV_E_UNKNOWN = -17,     /* outcome unknown: ask again with the same op-id */
    KV_E_BUSY = -18,        /* try again shortly */
    KV_E_INTERNAL = -19,    /* a bug; never caused by input */
};

enum kv_retry { KV_RETRY_NEVER, KV_RETRY_LATER, KV_RETRY_AT };

#define KV_ERR_ID_MAX 48
#define KV_ERR_TEXT_MAX 384
#define KV_ERR_MAX_CAUSES 4

struct kv_err_cause {
    char id[KV_ERR_ID_MAX];
    char message[KV_ERR_TEXT_MAX];
};

struct kv_err {
    int code;               /* enum kv_code; 0 while nothing failed */
    char id[KV_ERR_ID_MAX]; /* stable, listed in docs/errors.md: "uri.bad-name" */
    char message[KV_ERR_TEXT_MAX]; /* one sentence, UTF-8, names the thing involved */
    char hint[KV_ERR_TEXT_MAX];    /* what to do; may be empty */
    enum kv_retry retry;
    int64_t retry_at_s; /* Unix seconds, only with KV_RETRY_AT */
    unsigned n_causes;
    struct kv_err_cause causes[KV_ERR_MAX_CAUSES];
};

/* Empty initialiser for a struct kv_err on the stack. */
#define KV_ERR_INIT ((struct kv_err){.code = 0})

/* Record a failure unless one is recorded already. `err` may be NULL; `id` is a
 * literal from docs/errors.md. Returns `code`, so that callers write
 * `return kv_err_set(err, KV_E_INVALID, "uri.bad-name", "...", ...)`. */
int kv_err_set(struct kv_err *err, int code, const char *id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Add what the operator can do; the first hint wins. */
void kv_err_hint(struct kv_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Put "what we were doing: " in front of the message of a recorded failure. */
void kv_err_context(struct kv_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Append a cause (at most KV_ERR_MAX_CAUSES, later ones are dropped). */
void kv_err_cause_add(struct kv_err *err, const char *id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Record KV_E_IO with the text of `errno_value`; KV_E_FULL for ENOSPC and EDQUOT. */
int kv_err_errno(struct kv_err *err, int errno_value, const char *id, const char *what);

/* Short English text of a code, for logs. Never NULL. */
const char *kv_code_text(int code);

/* The stable name of a code on the wire and in JSON: "not-found". Never NULL. */
const char *kv_code_name(int code);

/* End the process with file and line when `expr` is false; stays on in release
 * builds. States what only a bug can break, never what input can. */
#define KV_ASSERT(expr) ((expr) ? (void)0 : kv_assert_failed(#expr, __FILE__, __LINE__))
void kv_assert_failed(const char *expr, const char *file, int line)
    __attribute__((noreturn));

/* Evaluate a call that returns a kv_code; on failure keep it in `rc` and leave
 * for the function's single `out:` label. */
#define KV_TRY(expr)                                                                   \
    do {                                                                               \
        rc = (expr);                                                                   \
        if (rc != 0)                                                                   \
            goto out;                                                                  \
    } while (0)

#endif
