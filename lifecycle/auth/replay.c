/*
 * Used assertions in a table with chains that are as long as they must be: an entry is
 * dropped when its assertion has expired, and only then.
 */
#include "lifecycle/auth/replay.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lifecycle/auth/jwt.h"
#include "store/core/buf.h"
#include "store/core/str.h"

struct place {
    uint8_t id[32];
    char client[40];
    char source[64];
    int64_t until_s; /* 0: free */
    unsigned n_uses;
};

struct kv_replay {
    struct place places[KV_REPLAY_PLACES];
};

int kv_replay_new(struct kv_replay **out)
{
    *out = calloc(1, sizeof(**out));
    return *out != NULL ? 0 : KV_E_NOMEM;
}

void kv_replay_free(struct kv_replay *replay)
{
    free(replay);
}

static int hash_id(const char *client, const char *jti, uint8_t id[32])
{
    struct kv_buf text;
    size_t len = 0;
    int rc = 0;
    kv_buf_init(&text, KV_JOSE_TOKEN_MAX + 64);
    KV_TRY(kv_buf_append_str(&text, client));
    KV_TRY(kv_buf_append(&text, "\n", 1));
    KV_TRY(kv_buf_append_str(&text, jti));
    if (EVP_Q_digest(NULL, "SHA256", NULL, text.data, text.len, id, &len) != 1)
        rc = KV_E_CRYPTO;
out:
    kv_buf_free(&text);
    ERR_clear_error();
    return rc;
}

int kv_replay_use(struct kv_replay *replay, const char *client, const char *jti,
                  const char *source, int64_t exp_s, int64_t now_s, struct kv_err *err)
{
    uint8_t id[32];
    struct place *place = NULL;
    unsigned n_own = 0;
    int rc = hash_id(client, jti, id);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < KV_REPLAY_PLACES; i++) {
        struct place *at = &replay->places[i];
        bool is_over = at->until_s < now_s;
        if (!is_over && memcmp(at->id, id, sizeof(id)) == 0) {
            if (strcmp(at->source, source) == 0 && at->n_uses < KV_REPLAY_USES_MAX) {
                at->n_uses++;
                return 0;
            }
            return kv_err_set(err, KV_E_DENIED, "jwt.replayed",
                              "the assertion has been used already");
        }
        n_own += !is_over && strcmp(at->client, client) == 0;
        if (is_over && place == NULL)
            place = at;
    }
    if (place == NULL || n_own >= KV_REPLAY_SHARE)
        return kv_err_set(err, KV_E_BUSY, "jwt.many-assertions",
                          "too many assertions are in use at present");
    memcpy(place->id, id, sizeof(id));
    kv_str_cut(place->client, sizeof(place->client), client, strlen(client));
    kv_str_cut(place->source, sizeof(place->source), source, strlen(source));
    place->until_s = exp_s + KV_JWT_SKEW_S;
    place->n_uses = 1;
    return 0;
}
