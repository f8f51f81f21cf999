/*
 * The real key process in a directory of its own, a fake service behind it and one
 * client in front; for journeys (Criterion). The program is named by $KV_KEYRING.
 */
#ifndef KV_TESTS_SUPPORT_JOURNEY_H
#define KV_TESTS_SUPPORT_JOURNEY_H

#include <sys/types.h>

#include "tests/support/fake_service.h"

struct kv_journey {
    char dir[64];
    char keys_path[128];
    char role_path[128];
    pid_t daemon_pid;            /* 0: none runs */
    const char *prepared_nonces; /* the option; NULL: auto */
    struct kv_fake_service service;
    struct kv_channel_client client;
    struct kv_buf payload; /* of the next call */
};

extern struct kv_journey journey;
extern const uint8_t journey_digest[32]; /* what is signed */

/* Fixtures: a directory only; a directory with everything running and one P-256 key
 * "web" (version 01..01) that this uid may use. */
void journey_setup_dir(void);
void journey_setup(void);
void journey_teardown(void);

/* Start the keyring for this uid or another as service; 0 when it serves, else its
 * exit status. Stop it: exit status, or minus the signal that ended it. */
int journey_start(void);
int journey_start_as(const char *service_uid);
int journey_stop(int number);

/* A path below the directory. */
void journey_sub(char *out, size_t size, const char *name);

/* Make a key through the service; before kv_fake_service_run. */
void journey_make_key(const char *name, uint8_t kty, uint8_t curve, uint32_t ops);
void journey_restart_service(void);
void journey_connect_client(void);

/* Calls of the client with what stands in `payload`. */
int journey_call(uint16_t verb, struct kv_bytes *reply);
int journey_open_key(const char *uri, struct kv_msg_key *key);
void journey_put_sign(uint8_t version, uint8_t sig);
int journey_sign(struct kv_bytes *signature);

/* Whether the keyring's log contains the text. */
bool journey_log_has(const char *text);

#endif
