/*
 * An issuer that answers what a test writes, in place of lifecycle/certs/issuer.c:
 * policies find it as `Fake`, and the real one as `Self`. One thread only.
 */
#ifndef KV_TESTS_SUPPORT_FAKE_ISSUER_H
#define KV_TESTS_SUPPORT_FAKE_ISSUER_H

#include <stddef.h>

#include "plugins/keyvault_issuer.h"

/* For `struct keyvault_bytes` made of a literal. */
#define FAKE_TEXT(literal)                                                             \
    {                                                                                  \
        (literal), sizeof(literal) - 1                                                 \
    }

struct fake_answer {
    struct keyvault_bytes state;
    uint32_t kind;
    uint32_t n_effects;
    const struct keyvault_bytes *effects;
    int rc; /* of step() */
};

struct fake_issuer {
    const struct fake_answer *answers; /* one for each step; the last one repeats */
    size_t n_answers;
    /* what it saw */
    unsigned n_steps;
    unsigned n_answered; /* steps with rc 0 */
    unsigned n_released;
    int64_t now_s; /* of the last step, as those below */
    char state[KEYVAULT_STATE_MAX + 1];
    char events[2 * KEYVAULT_STATE_MAX + 1];
    char key_id[64];
};
extern struct fake_issuer fake_issuer;

/* Forget what it saw, and answer so from now on. */
void fake_issuer_set(const struct fake_answer *answers, size_t n);

#endif
