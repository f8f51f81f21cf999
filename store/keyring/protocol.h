/*
 * The key channel: frames on keys.sock, and the types that every end shares.
 *
 *   0        4        8      10      12       16
 *   +--------+--------+-------+-------+--------+---------------+
 *   | length | id     | verb  | flags | status | payload ...   |   little-endian
 *   +--------+--------+-------+-------+--------+---------------+
 *
 * `length` counts everything behind itself (12 to max - 4). A request has flags 0
 * and status 0; its reply repeats id and verb, has KV_FRAME_REPLY set, and status
 * 0 or a KV_E_* code; a failed reply's payload is struct kv_msg_error. A client
 * may pipeline; replies may come in another order. A malformed frame closes the
 * connection after one reply with KV_E_INVALID. Fields follow store/core/wire.h.
 *
 * There is no verb that returns a private key and none for raw RSA. Messages are
 * read into structs whose kv_bytes borrow from the frame. Nothing here does I/O.
 */
#ifndef KV_STORE_KEYRING_PROTOCOL_H
#define KV_STORE_KEYRING_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/core/err.h"
#include "store/core/uri.h"
#include "store/core/wire.h"

#define KV_PROTOCOL_VERSION 1
#define KV_FRAME_HEADER_LEN 16
#define KV_FRAME_MAX 65536        /* whole frame on keys.sock */
#define KV_FRAME_MAX_ROLE 4194304 /* whole frame between roles */
#define KV_FRAME_REPLY 1          /* flag */

#define KV_SPKI_MAX 1024        /* DER SubjectPublicKeyInfo */
#define KV_SIGN_INPUT_MAX 32768 /* Ed25519 signs the message itself */
#define KV_CHAIN_MAX 10         /* certificates of one chain, leaf included */
#define KV_CERT_DER_MAX 16384
#define KV_LIST_MAX 64 /* entries of one LIST reply */

enum kv_verb {
    KV_VERB_HELLO = 1,
    KV_VERB_OPEN = 2, /* URI to key; asks for a grant */
    KV_VERB_INFO = 3, /* URI to public part; needs no right to use the key */
    KV_VERB_CERT = 4, /* URI to certificate chain */
    KV_VERB_LIST = 5,
    KV_VERB_SIGN = 6,
    KV_VERB_DECRYPT = 7,
    KV_VERB_DERIVE = 8,       /* ECDH */
    KV_VERB_ROLE_FIRST = 256, /* store/keyring/role.h */
};

enum kv_kty { KV_KTY_RSA = 1, KV_KTY_EC = 2, KV_KTY_OKP = 3 };

enum kv_curve {
    KV_CURVE_NONE = 0,
    KV_CURVE_P256 = 1,
    KV_CURVE_P384 = 2,
    KV_CURVE_P521 = 3,
    KV_CURVE_P256K = 4, /* secp256k1 */
    KV_CURVE_ED25519 = 5,
};

/* Permitted operations, as bits. The names are those of Azure's key_ops. */
enum kv_op {
    KV_OP_SIGN = 1 << 0,
    KV_OP_VERIFY = 1 << 1,
    KV_OP_ENCRYPT = 1 << 2,
    KV_OP_DECRYPT = 1 << 3,
    KV_OP_WRAP = 1 << 4,
    KV_OP_UNWRAP = 1 << 5,
    KV_OP_DERIVE = 1 << 6, /* deriveBits, our extension */
    KV_OP_IMPORT = 1 << 7,
    KV_OP_EXPORT = 1 << 8,
    KV_OP_CA_SIGN = 1 << 9,
    KV_OP_TLS_UNPAD = 1 << 10, /* in grants only: RSA key exchange of TLS 1.2 */
};

enum kv_md {
    KV_MD_NONE = 0,
    KV_MD_SHA1 = 1,
    KV_MD_SHA224 = 2,
    KV_MD_SHA256 = 3,
    KV_MD_SHA384 = 4,
    KV_MD_SHA512 = 5,
    KV_MD_SHA3_256 = 6,
    KV_MD_SHA3_384 = 7,
    KV_MD_SHA3_512 = 8,
};

enum kv_sig { KV_SIG_PKCS1 = 1, KV_SIG_PSS = 2, KV_SIG_ECDSA = 3, KV_SIG_EDDSA = 4 };
enum kv_enc { KV_ENC_OAEP = 1, KV_ENC_RSA1_5 = 2, KV_ENC_TLS = 3 };

struct kv_frame {
    uint32_t id;
    uint16_t verb;
    uint16_t flags;
    int32_t status;
    struct kv_bytes payload; /* borrowed from the input buffer */
};

/* Look for one whole frame at the front of `data`. Returns 1 and sets `frame` and
 * `frame_len` when there is one, 0 when more bytes are needed, KV_E_INVALID when
 * the length is out of range (`max_len` is KV_FRAME_MAX or KV_FRAME_MAX_ROLE). */
int kv_frame_decode(const uint8_t *data, size_t len, size_t max_len,
                    struct kv_frame *frame, size_t *frame_len) KV_MUST_CHECK;

/* Start a frame in `out`; append the payload; then kv_frame_end with what begin
 * returned, which fills in the length. Failures stick to the buffer. */
size_t kv_frame_begin(struct kv_buf *out, const struct kv_frame *frame);
void kv_frame_end(struct kv_buf *out, size_t begin);

/* A failed reply. */
struct kv_msg_error {
    char id[KV_ERR_ID_MAX];
    char message[KV_ERR_TEXT_MAX];
    char hint[KV_ERR_TEXT_MAX];
};

struct kv_msg_hello {
    uint16_t version;
    uint32_t cpu; /* sched_getcpu() of the client; the server's loop for that CPU */
};

struct kv_msg_hello_reply {
    uint16_t version;
    uint8_t is_sealed;   /* 1: no slot has opened the root key yet */
    uint8_t has_service; /* 0: new grants cannot be given at present */
    uint8_t installation[KV_ID_LEN];
};

/* OPEN, INFO and CERT ask with this. */
struct kv_msg_uri {
    char uri[KV_URI_MAX + 1];
    uint32_t ops; /* OPEN: wanted operations (enum kv_op), 0 = whatever is allowed */
};

/* Reply of OPEN and INFO. */
struct kv_msg_key {
    uint8_t version[KV_ID_LEN]; /* the handle of SIGN, DECRYPT, DERIVE */
    uint8_t kty;                /* enum kv_kty */
    uint8_t curve;              /* enum kv_curve */
    uint16_t bits;              /* RSA modulus or curve size */
    uint32_t ops;               /* operations this peer may use now */
    struct kv_bytes spki;       /* DER */
    char uri[KV_URI_MAX + 1];   /* canonical, with version */
};

/* Reply of CERT: DER, leaf first. A chain that does not fit into one frame is refused
 * with KV_E_TOO_BIG (channel.reply-too-big). */
struct kv_msg_certs {
    char uri[KV_URI_MAX + 1];
    uint16_t n;
    struct kv_bytes der[KV_CHAIN_MAX];
};

struct kv_msg_list {
    char vault[KV_VAULT_NAME_MAX + 1]; /* "" = default */
    uint8_t collection;                /* enum kv_uri_collection */
    char after[KV_NAME_MAX + 1];       /* keyset page: names behind this one */
};

struct kv_msg_list_reply {
    uint16_t n;
    uint8_t has_more;
    struct kv_msg_list_entry {
        char uri[KV_VAULT_NAME_MAX + KV_NAME_MAX + 64]; /* without version */
        char desc[96];                                  /* "RSA 2048 key" */
    } entry[KV_LIST_MAX];
};

/* PKCS1, PSS and ECDSA sign a digest of `md`'s length; EDDSA signs the message.
 * Reply payload: the signature as X.509 and TLS carry it (ECDSA: DER). */
struct kv_msg_sign {
    uint8_t version[KV_ID_LEN];
    uint8_t sig;       /* enum kv_sig */
    uint8_t md;        /* enum kv_md; NONE with EDDSA */
    uint8_t mgf1_md;   /* PSS only, else NONE */
    uint16_t salt_len; /* PSS only, bytes */
    struct kv_bytes input;
};

/* TLS: the reply is always 48 bytes (RFC 5246 §7.4.7.1). RSA1_5 never fails for bad
 * padding: implicit rejection. Reply payload: the plaintext. */
struct kv_msg_decrypt {
    uint8_t version[KV_ID_LEN];
    uint8_t enc;                     /* enum kv_enc */
    uint8_t md;                      /* OAEP hash */
    uint8_t mgf1_md;                 /* OAEP MGF1 hash */
    uint16_t tls_client_version;     /* TLS only, e.g. 0x0303 */
    uint16_t tls_negotiated_version; /* TLS only, 0 = do not accept it instead */
    struct kv_bytes label;           /* OAEP only, may be empty */
    struct kv_bytes input;
};

/* Peer's public key as DER SubjectPublicKeyInfo. Reply payload: the shared secret,
 * big-endian x coordinate of the curve's length. */
struct kv_msg_derive {
    uint8_t version[KV_ID_LEN];
    struct kv_bytes peer_spki;
};

void kv_msg_error_put(struct kv_buf *out, const struct kv_err *err);
int kv_msg_error_get(struct kv_bytes payload, struct kv_msg_error *msg) KV_MUST_CHECK;
void kv_msg_hello_put(struct kv_buf *out, const struct kv_msg_hello *msg);
int kv_msg_hello_get(struct kv_bytes payload, struct kv_msg_hello *msg) KV_MUST_CHECK;
void kv_msg_hello_reply_put(struct kv_buf *out, const struct kv_msg_hello_reply *msg);
int kv_msg_hello_reply_get(struct kv_bytes payload,
                           struct kv_msg_hello_reply *msg) KV_MUST_CHECK;
void kv_msg_uri_put(struct kv_buf *out, const struct kv_msg_uri *msg);
int kv_msg_uri_get(struct kv_bytes payload, struct kv_msg_uri *msg) KV_MUST_CHECK;
void kv_msg_key_put(struct kv_buf *out, const struct kv_msg_key *msg);
int kv_msg_key_get(struct kv_bytes payload, struct kv_msg_key *msg) KV_MUST_CHECK;
void kv_msg_certs_put(struct kv_buf *out, const struct kv_msg_certs *msg);
int kv_msg_certs_get(struct kv_bytes payload, struct kv_msg_certs *msg) KV_MUST_CHECK;
void kv_msg_list_put(struct kv_buf *out, const struct kv_msg_list *msg);
int kv_msg_list_get(struct kv_bytes payload, struct kv_msg_list *msg) KV_MUST_CHECK;
void kv_msg_list_reply_put(struct kv_buf *out, const struct kv_msg_list_reply *msg);
int kv_msg_list_reply_get(struct kv_bytes payload,
                          struct kv_msg_list_reply *msg) KV_MUST_CHECK;
void kv_msg_sign_put(struct kv_buf *out, const struct kv_msg_sign *msg);
int kv_msg_sign_get(struct kv_bytes payload, struct kv_msg_sign *msg) KV_MUST_CHECK;
void kv_msg_decrypt_put(struct kv_buf *out, const struct kv_msg_decrypt *msg);
int kv_msg_decrypt_get(struct kv_bytes payload,
                       struct kv_msg_decrypt *msg) KV_MUST_CHECK;
void kv_msg_derive_put(struct kv_buf *out, const struct kv_msg_derive *msg);
int kv_msg_derive_get(struct kv_bytes payload, struct kv_msg_derive *msg) KV_MUST_CHECK;

/* For payloads in which more fields follow: the caller ends the reader. */
void kv_msg_sign_read(struct kv_wire *wire, struct kv_msg_sign *msg);
void kv_msg_decrypt_read(struct kv_wire *wire, struct kv_msg_decrypt *msg);

/* Digest length in bytes, 0 for NONE and unknown values. */
size_t kv_md_len(uint8_t md);

/* Names of JOSE and of OpenSSL, NULL for unknown values: "EC", "P-256", "SHA256". */
const char *kv_kty_name(uint8_t kty);
const char *kv_curve_name(uint8_t curve);
const char *kv_md_name(uint8_t md);

/* The name in key_ops of one enum kv_op bit: "sign", "wrapKey"; NULL for others. */
const char *kv_op_name(uint32_t op);

/* The values of such names; 0 and KV_CURVE_NONE for another text. */
uint8_t kv_kty_by_name(const char *name);
uint8_t kv_curve_by_name(const char *name);

#endif
