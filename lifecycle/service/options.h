/*
 * The command line of keyvault-service. Strings borrow from argv. Pure.
 */
#ifndef KV_LIFECYCLE_SERVICE_OPTIONS_H
#define KV_LIFECYCLE_SERVICE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lifecycle/auth/quota.h"
#include "store/core/err.h"
#include "store/core/log.h"

#define KV_SERVICE_ISSUERS_MAX 8

struct kv_service_options {
    const char *dir; /* state: the store is in DIR/db */
    const char *run; /* api.sock, private/keyring.sock */
    uid_t keyring_uid;
    uid_t admin_uid; /* (uid_t)-1: none */
    bool is_dev;
    char host[64]; /* numeric; "": no HTTPS */
    uint16_t port;
    mode_t api_mode;
    const char *token_out;
    const char *ca_out;
    const char *port_out;
    const char *domain;
    const char *oidc_issuers[KV_SERVICE_ISSUERS_MAX]; /* kv_oidc_read */
    size_t n_oidc_issuers;
    struct kv_quota_limits quota;
    bool has_quota;
    const char *audit_dir; /* NULL: DIR/audit */
    bool is_audit_off;     /* nothing is recorded */
    uint64_t audit_bytes;  /* of one segment */
    unsigned audit_keep;   /* segments */
    enum kv_log_format log_format;
    enum kv_log_level log_level;
    int ready_fd; /* -1: none */
    bool is_help;
    bool is_version;
};

extern const char kv_service_usage[];

/* Read argv; service.usage names the bad option. */
int kv_service_options_read(struct kv_service_options *out, int argc, char **argv,
                            struct kv_err *err) KV_MUST_CHECK;

/* Split "HOST:PORT" or "[HOST]:PORT"; the host must be numeric. */
int kv_listen_parse(const char *text, char host[64], uint16_t *port,
                    struct kv_err *err) KV_MUST_CHECK;

#endif
