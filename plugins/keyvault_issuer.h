/*
 * keyvault_issuer.h: the one public header of certificate issuer plugins.
 *
 * An issuer is a pure state machine. It does no I/O, starts no thread and reads no
 * clock: keyvaultd calls step() with a purpose, the policy, the CSR, the issuer's own
 * saved state and the events that woke it; step() returns the new state and effects
 * (at most KEYVAULT_EFFECTS_MAX, all of one kind) that keyvaultd performs after it
 * has committed the state. So an order survives a crash at any point, and an issuer
 * is tested and fuzzed without a network.
 *
 * State, events and effects cross as UTF-8 JSON with a length, at most
 * KEYVAULT_STATE_MAX bytes each: no library type is part of this ABI. The caller owns
 * `in` for the length of the call; the plugin owns `out` until the caller hands it to
 * release(). Calls for one order never overlap; calls for different orders may come
 * from different threads.
 *
 * A shared object exports one symbol, keyvault_issuer_entry, which returns a
 * pointer to its constant struct keyvault_issuer.
 */
#ifndef KEYVAULT_ISSUER_H
#define KEYVAULT_ISSUER_H

#include <stddef.h>
#include <stdint.h>

#define KEYVAULT_ISSUER_ABI 1
#define KEYVAULT_STATE_MAX 65536
#define KEYVAULT_EFFECTS_MAX 128

enum keyvault_purpose {
    KEYVAULT_PURPOSE_ACCOUNT = 1, /* set up or change the issuer instance's account */
    KEYVAULT_PURPOSE_ISSUE = 2,
    KEYVAULT_PURPOSE_RENEWAL_INFO = 3,
    KEYVAULT_PURPOSE_REVOKE = 4,
    KEYVAULT_PURPOSE_PROBE = 5, /* is this configuration usable? changes nothing */
};

enum keyvault_effect_kind {
    KEYVAULT_EFFECT_HTTP = 1,    /* {"method","url","headers","body","buckets":[...]} */
    KEYVAULT_EFFECT_SIGN = 2,    /* {"role":"account"|"ca"|"order"|"self", ...} below */
    KEYVAULT_EFFECT_PUBLISH = 3, /* {"type","identifier","token","value"} */
    KEYVAULT_EFFECT_UNPUBLISH = 4,
    KEYVAULT_EFFECT_RUN = 5,    /* {"hook","args":[...],"stdin"} through the runner */
    KEYVAULT_EFFECT_WAIT = 6,   /* {"until_s": Unix seconds, "reason"} */
    KEYVAULT_EFFECT_ISSUED = 7, /* {"chain":["base64 DER leaf", ...]} */
    KEYVAULT_EFFECT_FAILED = 8, /* {"class","id","message","retry_at_s"} */
};
/* SIGN effects. "role" never names a key: keyvaultd maps it to keys that belong to
 * this issuer instance or this order.
 *   {"role":"self","tbs":"base64 DER TBSCertificate"}: the order's own key signs a
 *       self-issued certificate; the event carries {"der":"base64 certificate"}.
 *   {"role":"account","alg":"ES256","input":"base64 bytes"}: event {"signature"}.
 *   {"role":"ca","tbs":"base64 DER"}: the instance's CA key; event {"der"}.
 * FAILED classes: "input", "policy", "rate-limit" (with retry_at_s), "transient", "ca".
 */

struct keyvault_bytes {
    const char *data; /* not NUL-terminated */
    size_t len;
};

struct keyvault_step_in {
    uint32_t abi;                  /* KEYVAULT_ISSUER_ABI of the caller */
    uint32_t purpose;              /* enum keyvault_purpose */
    int64_t now_s;                 /* Unix seconds: the only clock a plugin sees */
    uint8_t random[32];            /* the only chance a plugin sees; fresh per step */
    struct keyvault_bytes key_id;  /* idempotency key of the order, UTF-8 */
    struct keyvault_bytes policy;  /* JSON, Azure certificate policy */
    struct keyvault_bytes csr;     /* DER PKCS#10 */
    struct keyvault_bytes config;  /* JSON, this issuer instance's settings */
    struct keyvault_bytes account; /* JSON, ACCOUNT state; read-only to orders */
    struct keyvault_bytes state;   /* JSON as the last step returned it; empty first */
    struct keyvault_bytes events;  /* JSON array: one result per effect, in order */
};

struct keyvault_step_out {
    struct keyvault_bytes state;
    uint32_t effect_kind; /* enum keyvault_effect_kind */
    uint32_t n_effects;
    const struct keyvault_bytes *effects; /* one JSON object each */
    void *opaque;                         /* the plugin's own, for release() */
};

struct keyvault_issuer {
    uint32_t abi;      /* KEYVAULT_ISSUER_ABI */
    const char *type;  /* "Self", "ACME": what `--type` names; [A-Za-z0-9-]{1,32} */
    const char *about; /* one line for listings */

    /* Returns 0 and fills `out`, or -1 when not even a FAILED effect can be made
     * (out of memory): the caller then tries again later with the same input. */
    int (*step)(const struct keyvault_step_in *in, struct keyvault_step_out *out);

    /* Take back what step() put into `out`. */
    void (*release)(struct keyvault_step_out *out);
};

/* The single exported symbol of a plugin's shared object. */
typedef const struct keyvault_issuer *(*keyvault_issuer_entry_fn)(void);

#endif
