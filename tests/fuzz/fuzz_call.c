/*
 * A request from its beginning to its end: connect, HELLO, OPEN where a key is used,
 * the request, one more attempt if the connection broke; against a daemon that sends
 * any bytes. The first byte chooses the request. A call ends, with one reply accepted
 * or with an error that says why; a key whose public part is another is never used.
 */
#include <string.h>
#include <unistd.h>

#include "provider/client.h"
#include "tests/support/script_daemon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const uint8_t version[KV_ID_LEN] = "version version";
static const uint8_t spki[] = "a public key";
static const char uri[] = "keyvault:///keys/web/76657273696f6e2076657273696f6e00";

static unsigned n_replies;

static int on_reply(void *arg, struct kv_bytes payload, struct kv_err *err)
{
    (void)arg;
    n_replies++;
    KV_ASSERT(payload.len <= KV_FRAME_MAX - KV_FRAME_HEADER_LEN);
    if (payload.len > 0 && payload.data[0] == 0xff)
        return kv_err_set(err, KV_E_INVALID, "client.bad-reply", "not that");
    return 0;
}

/* Fill the request that `choice` stands for. */
static void choose(uint8_t choice, struct kv_client_call *call,
                   const struct kv_client_key *key)
{
    static struct kv_msg_uri named;
    static const struct kv_msg_list list = {.collection = KV_URI_KEYS};
    static const struct kv_msg_sign sign = {
        .sig = KV_SIG_EDDSA, .input = {.data = spki, .len = sizeof(spki)}};
    static const struct kv_msg_decrypt decrypt = {
        .enc = KV_ENC_RSA1_5, .input = {.data = spki, .len = sizeof(spki)}};
    static const struct kv_msg_derive derive = {
        .peer_spki = {.data = spki, .len = sizeof(spki)}};
    static const struct {
        enum kv_verb verb;
        const void *msg;
        bool is_use;
    } rows[] = {{KV_VERB_INFO, &named, false},     {KV_VERB_CERT, &named, false},
                {KV_VERB_LIST, &list, false},      {KV_VERB_SIGN, &sign, true},
                {KV_VERB_DECRYPT, &decrypt, true}, {KV_VERB_DERIVE, &derive, true}};
    const size_t i = choice % (sizeof(rows) / sizeof(rows[0]));
    (void)memcpy(named.uri, uri, sizeof(uri));
    call->verb = rows[i].verb;
    call->msg = rows[i].msg;
    call->key = rows[i].is_use ? key : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *address;
    struct kv_client *client = NULL;
    struct kv_err err = KV_ERR_INIT;
    _Atomic uint64_t opened = 0;
    struct kv_client_key key = {
        .uri = uri, .spki = {.data = spki, .len = sizeof(spki)}, .opened = &opened};
    struct kv_client_call call = {.on_reply = on_reply, .limit_ms = 1000};
    if (len == 0 || len > 100000)
        return 0;
    if (address == NULL)
        address = script_daemon_start();
    struct kv_client_config config = {.server_uid = (int64_t)getuid(),
                                      .connect_timeout_ms = 1000,
                                      .reply_timeout_ms = 1000};
    (void)strcpy(config.socket, address);
    KV_ASSERT(kv_client_new(&config, &client) == 0);
    (void)memcpy(key.version, version, KV_ID_LEN);
    choose(data[0], &call, &key);
    script_daemon_answer(data + 1, len - 1);
    n_replies = 0;
    const int rc = kv_client_call(client, &call, &err);
    if (rc == 0) {
        KV_ASSERT(n_replies == 1 && err.code == 0);
    } else {
        KV_ASSERT(err.code == rc && err.id[0] != '\0' && err.message[0] != '\0');
        KV_ASSERT(n_replies <= 2);
    }
    const int check = kv_client_check(client, &key, NULL);
    KV_ASSERT(check == 0 || check == KV_E_INTEGRITY);
    kv_client_free(client);
    KV_ASSERT(script_daemon_hang_up() <= 4);
    return 0;
}
