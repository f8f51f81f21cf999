/*
 * A list of questions, each with the list of frames that wait for its answer. After a
 * policy change many frames ask the same at once: the service hears it once.
 */
#include "store/keyring/asks.h"

#include <stdlib.h>
#include <string.h>

#define UIDS                                                                           \
    64 /* whose refusals are counted; a uid that takes another's place begins          \
        * anew */

struct question {
    struct question *next;
    uint32_t id;
    bool is_sent;
    int64_t deadline_ms;
    struct kv_work *waiting; /* the first one's `ask` is the question */
};

struct kv_asks {
    struct kv_ring *ring;
    unsigned max;
    unsigned n;
    uint32_t last_id;
    struct question *first;
    int64_t second; /* in which these were counted */
    struct {
        uid_t uid;
        unsigned n;
    } refused[UIDS];
};

struct kv_asks *kv_asks_new(struct kv_ring *ring, unsigned max)
{
    struct kv_asks *asks = calloc(1, sizeof(*asks));
    if (asks != NULL)
        *asks = (struct kv_asks){.ring = ring, .max = max};
    return asks;
}

void kv_asks_free(struct kv_asks *asks)
{
    if (asks == NULL)
        return;
    KV_ASSERT(asks->first == NULL);
    free(asks);
}

static void go_home(struct kv_work *work)
{
    work->next = NULL;
    kv_queue_push(work->home, work);
}

static bool is_tiresome(const struct kv_asks *asks, uid_t uid)
{
    return asks->refused[uid % UIDS].uid == uid &&
           asks->refused[uid % UIDS].n >= KV_ASKS_REFUSED_MAX;
}

static void note_refusal(struct kv_asks *asks, uid_t uid, int32_t status)
{
    if (status != KV_E_DENIED && status != KV_E_NOT_FOUND && status != KV_E_INVALID)
        return;
    if (asks->refused[uid % UIDS].uid != uid)
        asks->refused[uid % UIDS].n = 0;
    asks->refused[uid % UIDS].uid = uid;
    asks->refused[uid % UIDS].n++;
}

void kv_asks_add(struct kv_asks *asks, struct kv_work *work, int64_t deadline_ms)
{
    struct question *question = NULL;
    work->next = NULL;
    if (is_tiresome(asks, work->peer.uid)) {
        work->rc =
            kv_err_set(&work->err, KV_E_BUSY, "channel.many-refusals",
                       "too many requests of uid %u were refused", work->peer.uid);
        go_home(work);
        return;
    }
    for (struct question *q = asks->first; q != NULL && question == NULL; q = q->next) {
        if (kv_ask_equal(&q->waiting->ask, &work->ask))
            question = q;
    }
    if (asks->n >= asks->max)
        goto busy;
    if (question == NULL) {
        question = calloc(1, sizeof(*question));
        if (question == NULL)
            goto busy;
        question->id = ++asks->last_id;
        question->deadline_ms = deadline_ms;
        question->next = asks->first;
        asks->first = question;
        question->waiting = work;
    } else { /* the first stays first: its `ask` is the question */
        work->next = question->waiting->next;
        question->waiting->next = work;
    }
    asks->n++;
    return;
busy:
    work->rc = kv_err_set(&work->err, KV_E_BUSY, "channel.busy",
                          "too many operations are waiting");
    go_home(work);
}

void kv_asks_send(struct kv_asks *asks, struct kv_buf *out)
{
    for (struct question *q = asks->first; q != NULL; q = q->next) {
        if (q->is_sent)
            continue;
        const struct kv_frame frame = {.id = q->id, .verb = q->waiting->ask.role_verb};
        const size_t begin = kv_frame_begin(out, &frame);
        kv_ask_put(out, &q->waiting->ask);
        kv_frame_end(out, begin);
        q->is_sent = true;
    }
}

void kv_asks_unsend(struct kv_asks *asks)
{
    for (struct question *q = asks->first; q != NULL; q = q->next)
        q->is_sent = false;
}

static void finish(struct kv_asks *asks, struct question *question,
                   const struct kv_frame *answer)
{
    struct kv_work *work = question->waiting;
    if (answer != NULL)
        note_refusal(asks, work->peer.uid, answer->status);
    while (work != NULL) {
        struct kv_work *next = work->next;
        asks->n--;
        if (answer != NULL) {
            work->rc = kv_serve_answer(asks->ring, work->frame.verb, &work->ask, answer,
                                       &work->out, &work->err);
        } else {
            work->rc = kv_err_set(&work->err, KV_E_UNAVAILABLE, "channel.no-service",
                                  "the service does not answer");
            kv_err_hint(&work->err, "check that keyvault-service runs");
        }
        go_home(work);
        work = next;
    }
    free(question);
}

bool kv_asks_answer(struct kv_asks *asks, const struct kv_frame *answer)
{
    for (struct question **link = &asks->first; *link != NULL; link = &(*link)->next) {
        struct question *question = *link;
        if (question->id != answer->id || !question->is_sent)
            continue;
        if (question->waiting->ask.role_verb != answer->verb)
            return false;
        *link = question->next;
        finish(asks, question, answer);
        return true;
    }
    return false;
}

void kv_asks_expire(struct kv_asks *asks, int64_t now_ms)
{
    struct question **link = &asks->first;
    if (now_ms / 1000 != asks->second) {
        memset(asks->refused, 0, sizeof(asks->refused));
        asks->second = now_ms / 1000;
    }
    while (*link != NULL) {
        struct question *question = *link;
        if (now_ms < question->deadline_ms) {
            link = &question->next;
            continue;
        }
        *link = question->next;
        finish(asks, question, NULL);
    }
}

bool kv_asks_is_empty(const struct kv_asks *asks)
{
    return asks->first == NULL;
}
