/*
 * What keyvault doctor collects: one line per finding, and whether any is a failure.
 */
#ifndef KV_LIFECYCLE_CLI_DOCTOR_H
#define KV_LIFECYCLE_CLI_DOCTOR_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

enum kv_finding { KV_FINDING_OK, KV_FINDING_WARN, KV_FINDING_FAIL };

struct kv_doctor {
    bool as_json;
    json_t *findings; /* with as_json */
    unsigned n_failed;
    /* what one check learned for the next */
    char socket[512]; /* of the keys */
    bool has_socket_uid;
    uid_t socket_uid; /* who listens there */
};

/* Report one finding. `check` is a word ("daemon"); `cure` is a command or what to
 * change, NULL for none. */
void kv_doctor_say(struct kv_doctor *doctor, enum kv_finding finding, const char *check,
                   const char *cure, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Look at the openssl.cnf that programs of this shell use: does it activate default,
 * then keyvault; is the module there; do socket and server-uid fit. */
void kv_doctor_openssl_cnf(struct kv_doctor *doctor);

#endif
