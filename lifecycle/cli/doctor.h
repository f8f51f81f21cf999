/*
 * keyvault doctor: what stands between a program and its key. Each check reports
 * findings, one line each, with the command that cures what is wrong; what one check
 * learns serves the next. Internal to doctor*.c.
 */
#ifndef KV_LIFECYCLE_CLI_DOCTOR_H
#define KV_LIFECYCLE_CLI_DOCTOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "lifecycle/cli/cli.h"
#include "store/core/keyref.h"

enum kv_finding { KV_FINDING_OK, KV_FINDING_WARN, KV_FINDING_FAIL };

#define KV_CURE_MAX 1600

struct kv_cnf; /* doctor_cnf.c */

struct kv_doctor {
    struct kv_cli *cli;
    bool as_json;
    json_t *findings; /* with as_json */
    unsigned n_failed;

    /* for whom: --as, or who runs this */
    uid_t uid;
    gid_t gid;
    char user[64];        /* name, or the number where there is none */
    bool is_other;        /* not whom this process runs as */
    bool may_become;      /* root can act as anybody */
    const char *asked;    /* URI or key file of the command line; NULL: none */
    struct kv_keyref ref; /* what it names */

    json_t *service; /* the reply of /keyvault/v1/doctor; NULL: not for us */
    struct kv_cnf *cnf;
    char socket[512]; /* of the keys */
    bool has_socket_uid;
    uid_t socket_uid; /* who listens there */
};

/* Report one finding. `check` is a word ("daemon"); `cure` is a command or what to
 * change, NULL for none. */
void kv_doctor_say(struct kv_doctor *doctor, enum kv_finding finding, const char *check,
                   const char *cure, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* --- doctor_user.c -----------------------------------------------------------------
 */

/* Set uid, gid and user from --as (a name or a number; NULL: ourselves). cli.bad-flag
 * for a name that nobody has. */
int kv_doctor_set_user(struct kv_doctor *doctor, const char *as,
                       struct kv_err *err) KV_MUST_CHECK;

/* Take the user's identity for files and sockets, and give it back. cli.cannot-become
 * where we may not. */
int kv_doctor_become(const struct kv_doctor *doctor, struct kv_err *err) KV_MUST_CHECK;
void kv_doctor_return(const struct kv_doctor *doctor);

/* Whether the user (or we, where we cannot be him) can load a shared object, tried by
 * a child process: 0 or KV_E_IO with the loader's words as message (cli.failed). */
int kv_doctor_try_load(const struct kv_doctor *doctor, const char *module,
                       struct kv_err *err) KV_MUST_CHECK;

/* --- doctor_cnf.c ------------------------------------------------------------------
 */

/* Read the effective openssl.cnf; sets `socket` too. NULL cnf when it cannot be read:
 * the check says so. */
void kv_doctor_cnf_load(struct kv_doctor *doctor);
void kv_doctor_cnf_free(struct kv_doctor *doctor);

/* Does it activate default, then keyvault, and prefer neither; does the module load; do
 * socket and server-uid fit. */
void kv_doctor_cnf_check(struct kv_doctor *doctor);

/* --- doctor_host.c -----------------------------------------------------------------
 */

/* The clock of this machine, and the space that is left for the store. */
void kv_doctor_host_check(struct kv_doctor *doctor);

/* --- doctor_key.c ------------------------------------------------------------------
 */

/* Read `asked` into `ref`; false when it names no key, which is reported. */
bool kv_doctor_key_name(struct kv_doctor *doctor);

/* The key: is it there, enabled, within its dates, made for signing; its certificate;
 * and may the user use it. */
void kv_doctor_key_check(struct kv_doctor *doctor);

#endif
