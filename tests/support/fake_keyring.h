/*
 * A keyring for tests of the provider: speaks the key channel over a Unix socket with
 * software keys made at start, and misbehaves on request.
 *
 * Keys: rsa (2048), p256, p384, p521, p256k, ed25519, web (P-256). Certificates of the
 * same names, self-signed, except web: leaf and issuer. Vault "" and "default" both
 * mean the one vault. A version is the first 16 bytes of SHA-256 of the name, so that
 * a restart with the same state directory serves the same keys, and one without
 * serves other keys under the same versions.
 */
#ifndef KV_TESTS_SUPPORT_FAKE_KEYRING_H
#define KV_TESTS_SUPPORT_FAKE_KEYRING_H

#include <openssl/evp.h>
#include <stdatomic.h>

#include "store/keyring/protocol.h"

enum fake_mode {
    FAKE_GOOD,
    FAKE_HANG_HELLO, /* accept, never answer */
    FAKE_HANG,       /* answer HELLO and INFO only */
    FAKE_CLOSE,      /* close instead of answering OPEN and what follows it */
    FAKE_CLOSE_ONCE, /* the same for one request, then good */
    FAKE_TRUNCATE,   /* half a reply, then close */
    FAKE_OVERSIZE,   /* a length beyond the ceiling */
    FAKE_WRONG_ID,   /* a reply to another request */
    FAKE_DRIP,       /* one byte every 100 ms */
    FAKE_SLOW,       /* good, but each reply after 50 ms */
    FAKE_SEALED,
    FAKE_DENIED,
    FAKE_NO_SERVICE, /* OPEN and INFO cannot be answered, SIGN can */
    FAKE_SWAPPED,    /* OPEN describes another public key than INFO */
    /* frames */
    FAKE_SHORT_LENGTH,
    FAKE_WRONG_VERB,
    FAKE_NO_FLAG,
    FAKE_POSITIVE_STATUS,
    FAKE_TRAILING, /* a byte behind the reply */
    FAKE_ENDLESS,  /* replies without end */
    FAKE_HUGE,     /* the largest frame there may be */
    FAKE_EARLY,    /* a reply before its request */
    /* refusals */
    FAKE_UNKNOWN_STATUS,
    FAKE_BAD_REFUSAL,
    FAKE_LOUD_REFUSAL, /* control characters */
    /* payloads */
    FAKE_OTHER_VERSION,
    FAKE_BAD_HELLO,
    FAKE_GARBAGE,
    FAKE_NO_SIG,
    FAKE_LONG_SIG,
    FAKE_SHORT_SIG,
    FAKE_OTHER_SIG, /* well-formed, of something else */
    FAKE_BAD_KEY,
    FAKE_BAD_CERTS,
    FAKE_NO_CERTS,
    FAKE_SAME_PAGE, /* a list without end */
    FAKE_N_MODES,
};

struct fake_counts {
    _Atomic unsigned connections;
    _Atomic unsigned requests; /* all but HELLO */
    _Atomic unsigned opens;
    _Atomic unsigned infos;
    _Atomic unsigned signs;
};

struct fake_keyring;

/* Make or load keys (state_dir may be NULL: make, keep nowhere), listen on `path` and
 * on the abstract twin, serve on threads. NULL with a message on stderr on failure. */
struct fake_keyring *fake_keyring_start(const char *path, const char *state_dir,
                                        enum fake_mode mode);
void fake_keyring_set_mode(struct fake_keyring *keyring, enum fake_mode mode);

/* Make the key that a URI names now, outside any time limit of a request. */
void fake_keyring_prepare(struct fake_keyring *keyring, const char *uri);

/* The private key itself that a URI names; the caller frees it. NULL if there is none.
 */
EVP_PKEY *fake_keyring_software(struct fake_keyring *keyring, const char *uri);

struct fake_counts *fake_keyring_counts(struct fake_keyring *keyring);

/* "@keyvault/<installation id>/keys". */
const char *fake_keyring_twin(const struct fake_keyring *keyring);

/* Close every connection and the listeners; wait for the threads. */
void fake_keyring_stop(struct fake_keyring *keyring);

/* "good", "hang", ...; -1 for an unknown name. */
int fake_mode_by_name(const char *name);

#endif
