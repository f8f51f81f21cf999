/* The command line of keyvault-keyring. */
#ifndef KV_STORE_KEYRING_OPTIONS_H
#define KV_STORE_KEYRING_OPTIONS_H

#include <stdbool.h>
#include <sys/types.h>

#include "store/core/err.h"
#include "store/core/log.h"

enum kv_switch { KV_SWITCH_AUTO, KV_SWITCH_ON, KV_SWITCH_OFF };

struct kv_options {
    const char *dir;
    const char *run;
    uid_t service_uid;
    bool has_service_uid;
    bool may_init;
    bool only_init;
    const char *recovery_out;
    bool may_swap;
    enum kv_log_format log_format;
    enum kv_switch prepared_nonces;
    unsigned n_threads; /* 0: one per CPU */
    int ready_fd;       /* -1: none */
    int audit_key_fd;   /* -1: none; else write the audit key there, and end */
    bool is_help;
    bool is_version;
};

/* Read the command line; strings are borrowed from it. KV_E_INVALID (options.*). */
int kv_options_parse(struct kv_options *options, int argc, char **argv,
                     struct kv_err *err) KV_MUST_CHECK;

extern const char kv_options_usage[];

#endif
