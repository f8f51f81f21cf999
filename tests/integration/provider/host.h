/*
 * What the host programs of this folder share: a program that uses OpenSSL as servers
 * do, knows nothing of keyvault, and checks every signature with the public key.
 * OPENSSL_CONF activates default and keyvault.
 */
#ifndef KV_TESTS_INTEGRATION_PROVIDER_HOST_H
#define KV_TESTS_INTEGRATION_PROVIDER_HOST_H

#include <openssl/evp.h>
#include <stdatomic.h>
#include <sys/types.h>

#define HOST_MAX_KEYS 8
#define HOST_TIME_LIMIT_S 60

struct host_key {
    EVP_PKEY *pkey;
    EVP_PKEY *public_key; /* of the default provider */
};

extern struct host_key host_keys[HOST_MAX_KEYS];
extern int host_n_keys;
extern _Atomic int host_n_failed;

/* Say what went wrong and print the error queue; counts; returns -1. */
int host_fail(const char *what);

/* Load a key by URI or from a PEM file; NULL on failure, errors on the queue. */
EVP_PKEY *host_load(const char *name);

/* Load all that is named into host_keys. 0, or -1 after host_fail. A deadlock of the
 * process is a failure: it is ended by SIGALRM after HOST_TIME_LIMIT_S. */
int host_load_all(int argc, char **argv);
void host_free_all(void);

/* Sign with a fresh context, as libssl does. 1 or 0, errors on the queue. */
int host_sign_raw(EVP_PKEY *pkey, unsigned char *sig, size_t *len, const void *tbs,
                  size_t tbs_len);

/* Verify with the public key. 0 or -1. */
int host_verify(int k, const unsigned char *sig, size_t len, const void *tbs,
                size_t tbs_len);

/* Sign a message that contains `number`, verify, and look that the error queue stayed
 * empty. 0, or -1 after host_fail. */
int host_sign(int k, unsigned number);

/* Signing must fail, with exactly one entry on the error queue, whose data contain
 * `what` and `cure` (NULL: whatever). 0, or -1 after host_fail. */
int host_sign_refused(int k, const char *what, const char *cure);

/* Sign with every key, `n` times. */
int host_sign_all(unsigned n);

/* Run in a child process, which ends by _exit. Returns its process id. */
pid_t host_fork(int (*run)(void *arg), void *arg);

/* Wait for a child; 0 when its `run` returned 0 and nothing failed in it. */
int host_wait(pid_t pid);

/* How many descriptors are open. */
int host_n_fds(void);

/* Resident memory in KiB. */
long host_memory_kib(void);

/* `n`, or more of it with KEYVAULT_TEST_FULL=1. */
int host_rounds(int n);

/* Run the case that argv[1] names with the rest of argv: the body of every main(). */
struct host_case {
    const char *name;
    int (*run)(void); /* keys are loaded; 0 or -1 */
};
int host_main(int argc, char **argv, const struct host_case *cases, size_t n_cases);

#endif
