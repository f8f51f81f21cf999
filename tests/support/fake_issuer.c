/*
 * An issuer that answers what a test writes: see fake_issuer.h.
 */
#include "tests/support/fake_issuer.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#include "lifecycle/certs/issuer.h"
#include "plugins/self/self.h"

struct fake_issuer fake_issuer;

static void keep(char *out, size_t size, struct keyvault_bytes bytes)
{
    cr_assert_lt(bytes.len, size);
    if (bytes.len > 0)
        memcpy(out, bytes.data, bytes.len);
    out[bytes.len] = '\0';
}

static int step(const struct keyvault_step_in *in, struct keyvault_step_out *out)
{
    struct fake_issuer *fake = &fake_issuer;
    cr_assert_gt(fake->n_answers, 0, "nobody expects a step");
    size_t i = fake->n_steps < fake->n_answers ? fake->n_steps : fake->n_answers - 1;
    const struct fake_answer *answer = &fake->answers[i];
    cr_assert_eq(in->abi, KEYVAULT_ISSUER_ABI);
    cr_assert_eq(in->purpose, KEYVAULT_PURPOSE_ISSUE);
    cr_assert_gt(in->csr.len, 0);
    json_t *policy = json_loadb(in->policy.data, in->policy.len, 0, NULL);
    cr_assert_not_null(json_object_get(policy, "x509_props"));
    json_decref(policy);
    keep(fake->state, sizeof(fake->state), in->state);
    keep(fake->events, sizeof(fake->events), in->events);
    keep(fake->key_id, sizeof(fake->key_id), in->key_id);
    fake->now_s = in->now_s;
    fake->n_steps++;
    if (answer->rc != 0)
        return answer->rc;
    fake->n_answered++;
    *out = (struct keyvault_step_out){.state = answer->state,
                                      .effect_kind = answer->kind,
                                      .n_effects = answer->n_effects,
                                      .effects = answer->effects,
                                      .opaque = fake};
    return 0;
}

static void release(struct keyvault_step_out *out)
{
    cr_assert_eq(out->opaque, &fake_issuer);
    fake_issuer.n_released++;
    cr_assert_eq(fake_issuer.n_released, fake_issuer.n_answered,
                 "each answer goes back once, before the next one");
}

const struct keyvault_issuer *kv_issuer_find(const char *name)
{
    static const struct keyvault_issuer fake = {.abi = KEYVAULT_ISSUER_ABI,
                                                .type = "Fake",
                                                .about = "does what a test wants",
                                                .step = step,
                                                .release = release};
    if (strcmp(name, "Fake") == 0)
        return &fake;
    return strcmp(name, "Self") == 0 ? kv_self_issuer() : NULL;
}

void fake_issuer_set(const struct fake_answer *answers, size_t n)
{
    memset(&fake_issuer, 0, sizeof(fake_issuer));
    fake_issuer.answers = answers;
    fake_issuer.n_answers = n;
}
