/*
 * What service and keyring say to each other, on keyring.sock in the private run
 * directory (the keyring binds it and accepts only the service's uid).
 *
 * Same frames as protocol.h, at most KV_FRAME_MAX_ROLE. Either side may ask; ids of
 * the two directions are separate. The keyring does not trust the service: it
 * enforces what is inside the sealed body (operations, enabled, validity,
 * exportable) whatever a request says, UNSEAL refuses the kind KEY, SEAL cannot
 * make a key body, and UPDATE never turns exportable from false into true.
 *
 * A key of row version 0 is one that no stored row has yet: an order for a certificate
 * makes it (GENERATE, IMPORT), keeps the sealed bytes, signs its request (SIGN_TBS),
 * and when the certificate is there turns it into row version 1 (UPDATE). Until then it
 * can be described (INFO) and nothing else: uses, exports and grants are refused with
 * key.pending.
 *
 * REUSE seals the key of a stored version for a pending one of the same certificate
 * (policies with reuse_key). No other way leads from one version's key to another's: an
 * object never gets the key of a different name, vault or of no certificate.
 *
 * A sealed row is   ver u8 = 1 | alg u8 = 1 | term u32 | nonce 12 | ct | tag 16
 * (AES-256-GCM), its AAD is the row's identity below behind a format label and the
 * installation id (store/keyring/seal.h).
 */
#ifndef KV_STORE_KEYRING_ROLE_H
#define KV_STORE_KEYRING_ROLE_H

#include "store/core/clock.h"
#include "store/keyring/protocol.h"

#define KV_BATCH_MAX 64    /* rows of one SEAL, UNSEAL or KEY_INFO */
#define KV_BODY_MAX 262144 /* plaintext of one sealed row */
#define KV_ROW_MAX (KV_BODY_MAX + 64)
#define KV_APP_MAX 65536 /* service's own bytes inside a key row */
#define KV_IMPORT_MAX 262144
#define KV_PASSWORD_MAX 1024
#define KV_LEASE_MS 600000

enum kv_role_verb {
    /* service asks, keyring answers */
    KV_ROLE_HELLO = 256,          /* kv_msg_hello, kv_msg_hello_reply */
    KV_ROLE_VAULT_KEY_NEW = 257,  /* kv_role_vault_key (no wrapped) -> with wrapped */
    KV_ROLE_VAULT_KEY_OPEN = 258, /* kv_role_vault_key -> empty */
    KV_ROLE_SEAL = 259,           /* kv_role_rows (bodies) -> kv_role_rows (sealed) */
    KV_ROLE_UNSEAL = 260,         /* kv_role_rows (sealed) -> kv_role_rows (bodies) */
    KV_ROLE_KEY_GENERATE = 261,   /* kv_role_key_new -> kv_role_key_made */
    KV_ROLE_KEY_IMPORT = 262,     /* kv_role_key_new -> kv_role_key_made */
    KV_ROLE_KEY_UPDATE = 263,     /* kv_role_key_update -> kv_role_key_made */
    KV_ROLE_KEY_INFO = 264,       /* kv_role_rows -> kv_role_infos */
    KV_ROLE_KEY_SIGN = 265,       /* kv_role_use, kv_msg_sign -> signature */
    KV_ROLE_KEY_VERIFY = 266,     /* kv_role_use, kv_msg_sign, bytes -> u8 1 or 0 */
    KV_ROLE_KEY_ENCRYPT = 267,    /* kv_role_use, kv_msg_decrypt -> ciphertext */
    KV_ROLE_KEY_DECRYPT = 268,    /* kv_role_use, kv_msg_decrypt -> plaintext */
    KV_ROLE_KEY_SIGN_TBS = 269,   /* kv_role_tbs -> DER of the whole signed object */
    KV_ROLE_KEY_EXPORT = 270,     /* kv_role_export -> PFX or PEM bytes */
    KV_ROLE_BEAT = 271,           /* kv_role_beat -> empty; each second and vault */
    KV_ROLE_USAGE = 272,          /* kv_role_usage_ask -> kv_role_usage */
    KV_ROLE_VAULT_FORGET = 273,   /* kv_role_vault_key (term 0, no wrapped) -> empty:
                                     all terms, live keys and grants of a vault */
    KV_ROLE_KEY_REUSE = 274,      /* kv_role_key_update -> kv_role_key_made */
    KV_ROLE_BACKUP_NEW = 276,     /* empty -> kv_role_backup_key */
    KV_ROLE_BACKUP_OPEN = 277,    /* wrapped bytes -> file key, 32 bytes */
    KV_ROLE_KEY_PROVE = 278,      /* kv_role_rows (keys) -> u16 n, u32 status of each */
    KV_ROLE_BLOB_SEAL = 280,      /* kv_role_blob_rows (stored) -> one chunk */
    KV_ROLE_BLOB_OPEN = 281,      /* kv_role_blob_open -> kv_role_blob_rows (stored) */
    /* the audit log, role_audit.h */
    KV_ROLE_AUDIT_OPEN = 282,  /* kv_role_audit_mark -> kv_role_audit_opened */
    KV_ROLE_AUDIT_SEAL = 283,  /* kv_role_audit_mark -> kv_role_audit_sealed */
    KV_ROLE_AUDIT_KEYS = 284,  /* kv_role_audit_range -> kv_role_audit_keys */
    KV_ROLE_AUDIT_CHECK = 285, /* kv_role_audit_seals -> kv_role_audit_checked */
    KV_ROLE_AUDIT_USES = 286,  /* kv_role_audit_uses_ask -> kv_role_audit_uses */
    /* keyring asks, service answers */
    KV_ROLE_GRANT = 288, /* kv_role_grant -> kv_role_granted */
    KV_ROLE_CERT = 289,  /* kv_role_grant -> kv_msg_certs */
    KV_ROLE_LIST = 290,  /* kv_role_list -> kv_msg_list_reply */
};

enum kv_kind {
    KV_KIND_KEY = 1,
    KV_KIND_SECRET = 2,
    KV_KIND_CERTIFICATE = 3, /* chain and attributes of one version */
    KV_KIND_POLICY = 4,      /* certificate policy */
    KV_KIND_OPERATION = 5,   /* pending certificate operation */
    KV_KIND_ISSUER = 6,
    KV_KIND_CONTACTS = 7,
    KV_KIND_ASSIGNMENT = 8, /* who may do what */
    KV_KIND_VAULT = 9,
    KV_KIND_SYSTEM = 10,    /* the API's own TLS key, token hashes */
    KV_KIND_VAULT_KEY = 11, /* a wrapped vault key: not sealed by itself */
    KV_KIND_APP = 12,       /* an application that may sign in */
    KV_KIND_ROTATION = 13,  /* rotation policy of a key */
    KV_KIND_LAST = KV_KIND_ROTATION,
};

/* What a sealed row is; every field is authenticated. */
struct kv_ident {
    uint8_t vault[KV_ID_LEN];
    uint8_t kind;               /* enum kv_kind */
    char name[KV_NAME_MAX + 1]; /* folded to lower case */
    uint8_t version[KV_ID_LEN]; /* zeros where the kind has no versions */
    uint32_t term;              /* of the vault key */
    uint64_t row_version;       /* counts rewrites from 1; 0: of no stored row yet */
};

/* What may be told of a key. Times are Unix seconds or KV_TIME_NONE. */
struct kv_key_attrs {
    uint32_t ops; /* key_ops */
    uint8_t is_enabled;
    uint8_t is_exportable;
    uint8_t is_managed; /* belongs to the certificate of the same name */
    int64_t nbf_s;
    int64_t exp_s;
    int64_t created_s;
    int64_t updated_s;
    struct kv_bytes app; /* service's own, opaque here: tags as JSON */
};

struct kv_key_info {
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
    struct kv_key_attrs attrs;
    struct kv_bytes spki; /* DER */
};

struct kv_role_vault_key {
    uint8_t vault[KV_ID_LEN];
    uint32_t term;
    struct kv_bytes wrapped; /* AES-256-WRAP-PAD under the root's wrap key */
};

struct kv_role_row {
    struct kv_ident ident;
    int32_t status;       /* replies: 0 or KV_E_* of this row alone */
    struct kv_bytes body; /* plaintext or sealed row, by verb */
};
struct kv_role_rows {
    uint16_t n;
    struct kv_role_row row[KV_BATCH_MAX];
};

struct kv_role_infos {
    uint16_t n;
    struct {
        int32_t status;
        struct kv_key_info info;
    } row[KV_BATCH_MAX];
};

enum kv_import {
    KV_IMPORT_NONE = 0, /* GENERATE */
    KV_IMPORT_DER = 1,  /* PKCS#8 (plain or encrypted), PKCS#1, SEC 1 */
    KV_IMPORT_PEM = 2,  /* the same in PEM; certificates in it come back too */
    KV_IMPORT_PFX = 3,  /* PKCS#12; certificates in it come back too */
    KV_IMPORT_RSA = 4,  /* wire bytes n e d p q dp dq qi, big-endian */
    KV_IMPORT_EC = 5,   /* wire bytes x y d, big-endian, curve from the request */
    KV_IMPORT_OKP = 6,  /* wire bytes x d, 32 bytes each */
};

struct kv_role_key_new {
    struct kv_ident ident;
    uint8_t kty;
    uint8_t curve;
    uint16_t bits; /* RSA */
    struct kv_key_attrs attrs;
    uint8_t import; /* enum kv_import */
    struct kv_bytes password;
    struct kv_bytes material;
};

struct kv_role_key_made {
    struct kv_bytes row; /* sealed */
    struct kv_key_info info;
    uint16_t n_certs; /* KV_IMPORT_PEM and PFX: DER in the order of the file, */
    struct kv_bytes cert[KV_CHAIN_MAX]; /* the one that matches the key first */
};

struct kv_role_key_update {
    struct kv_ident old_ident;
    struct kv_bytes old_row;
    struct kv_ident ident; /* same vault, kind, name, version; newer row version.
                              REUSE: another version, row version 0 */
    struct kv_key_attrs attrs;
};

/* In front of KEY_SIGN, VERIFY, ENCRYPT, DECRYPT: the row and the operation whose
 * bit must be in key_ops (wrapKey is ENCRYPT with KV_OP_WRAP, and so on). The
 * message's own version field is ignored. */
struct kv_role_use {
    struct kv_ident ident;
    struct kv_bytes row;
    uint32_t op;
};

/* Sign a CertificationRequestInfo or a self-issued TBSCertificate: the keyring
 * parses it and signs only when its subject public key is the row's own. The
 * signature algorithm inside must fit the key. Needs no key_ops bit and no validity:
 * proof of possession is not a use of the key, and a certificate is renewed after its
 * key's dates as well as before. A stored key that is disabled signs no request either
 * (key.disabled); for one of row version 0 the attribute speaks of its later life. */
enum kv_tbs { KV_TBS_CSR = 1, KV_TBS_SELF_SIGNED = 2 };
struct kv_role_tbs {
    struct kv_ident ident;
    struct kv_bytes row;
    uint8_t tbs; /* enum kv_tbs */
    uint8_t md;  /* enum kv_md, NONE for Ed25519 */
    uint8_t is_pss;
    struct kv_bytes der;
};

enum kv_export { KV_EXPORT_PFX = 1, KV_EXPORT_PEM = 2 };
struct kv_role_export {
    struct kv_ident ident;
    struct kv_bytes row;
    uint8_t format; /* enum kv_export */
    struct kv_bytes password;
    uint16_t n_certs;
    struct kv_bytes cert[KV_CHAIN_MAX];
};

/* What is counted of a key. An operation that went well is in `uses` and in one bucket:
 * bucket 0 took less than 1 µs in the keyring, its waiting included, bucket i from
 * 2^(i-1) to less than 2^i, the last one that or longer. */
enum kv_use {
    KV_USE_SIGN,
    KV_USE_VERIFY,
    KV_USE_ENCRYPT, /* and wrap */
    KV_USE_DECRYPT, /* and unwrap, and TLS key exchange */
    KV_USE_DERIVE,
    KV_USES_N,
};
#define KV_USAGE_BUCKETS 24
struct kv_usage_counts {
    uint64_t uses[KV_USES_N];
    uint64_t errors;   /* failed, or refused for what the key is */
    uint64_t prepared; /* signatures with a prepared nonce */
    uint64_t bucket[KV_USAGE_BUCKETS];
};

/* The live keys of a vault, of one name or ("") all; `from` is 0, then what `next` was.
 * A page may be empty; `next` is 0 after the last one. */
struct kv_role_usage_ask {
    uint8_t vault[KV_ID_LEN];
    char name[KV_NAME_MAX + 1]; /* folded */
    uint32_t from;
};
struct kv_role_usage_row {
    char name[KV_NAME_MAX + 1];
    uint8_t version[KV_ID_LEN];
    uint8_t kty;
    uint8_t curve;
    uint16_t bits;
    int64_t since_s; /* Unix time from which on it was counted */
    struct kv_usage_counts counts;
};
struct kv_role_usage {
    uint32_t next;
    uint16_t n;
    struct kv_role_usage_row row[KV_BATCH_MAX];
};

struct kv_role_beat {
    uint8_t vault[KV_ID_LEN];
    uint64_t epoch; /* grants of an older epoch are asked for again */
};

struct kv_role_grant {
    uint32_t uid;
    uint32_t gid;
    uint32_t pid;        /* for the record only: may be reused */
    uint8_t is_info;     /* public part only */
    uint8_t has_version; /* 1: by version id, 0: by uri */
    uint8_t version[KV_ID_LEN];
    char uri[KV_URI_MAX + 1];
    uint32_t ops;
};

struct kv_role_granted {
    struct kv_ident ident;
    uint32_t ops;      /* what the peer may do, before the key's own limits */
    uint32_t lease_ms; /* at most KV_LEASE_MS counts */
    uint64_t epoch;
    char uri[KV_URI_MAX + 1]; /* canonical, with version */
    struct kv_bytes row;
};

struct kv_role_list {
    uint32_t uid;
    uint32_t gid;
    struct kv_msg_list list;
};

/* Backup blobs (lifecycle/service/blob.h). A blob holds the rows of one name in chunks;
 * each chunk is encrypted under the installation's blob key and bound to everything
 * below: so no chunk can be left out, added, moved or taken from another blob. Inside,
 * the bodies of the rows are plain; neither verb lets one out. SEAL takes rows as they
 * are stored; OPEN returns them sealed for `vault`, which may be another one than they
 * came from, with the vault's present term. Only the kinds of a key, a secret, or a
 * certificate with its key, secret and policy go in, all of the blob's name. A key
 * whose version is live already comes back with a newer row version than that, so that
 * it can be used at once. Whatever is not one of ours is KV_E_INTEGRITY
 * (seal.blob-damaged). */
#define KV_BLOB_ROWS_MAX 1536 /* three kinds of 500 versions and a head, and more */
#define KV_BLOB_META_MAX 512
#define KV_BLOB_CHUNK_MAX 4128768 /* fits into a frame between roles */

#define KV_BLOB_DAMAGED_TEXT                                                           \
    "the backup blob is damaged, or not one that this vault made of such an object"

struct kv_role_blob {
    uint8_t id[KV_ID_LEN];      /* random, of this blob alone */
    uint8_t vault[KV_ID_LEN];   /* where the rows are from */
    char subscription[37];      /* of that vault; "" when it has none */
    uint8_t kind;               /* KV_KIND_KEY, SECRET or CERTIFICATE */
    char name[KV_NAME_MAX + 1]; /* folded */
    uint32_t n_rows;            /* of the whole blob: 1 to KV_BLOB_ROWS_MAX */
    uint32_t at;                /* rows before this chunk */
};
struct kv_role_blob_row {
    struct kv_ident ident;
    struct kv_bytes meta; /* the service's own: columns of the row */
    struct kv_bytes body; /* sealed; empty in heads, which have none */
};
struct kv_role_blob_rows {
    struct kv_role_blob blob;
    uint16_t n;
    struct kv_role_blob_row row[KV_BATCH_MAX];
};
struct kv_role_blob_open {
    struct kv_role_blob blob;
    uint8_t vault[KV_ID_LEN]; /* to seal the rows for */
    uint32_t term;
    struct kv_bytes chunk;
};

/* The key of one backup file of the whole store (docs/adr/0012-backup-file.md): known
 * to the service while it writes or reads the file, wrapped for the keyring; and the
 * slots file, so that whoever has the secret of a slot can restore. */
#define KV_BACKUP_KEY_LEN 32
#define KV_BACKUP_WRAPPED_MAX 64
#define KV_BACKUP_SLOTS_MAX 16384
struct kv_role_backup_key {
    uint8_t key[KV_BACKUP_KEY_LEN];
    struct kv_bytes wrapped;
    struct kv_bytes slots;
    uint8_t opens_elsewhere; /* 1: a slot needs nothing of this machine */
};

/* Codecs: put appends a payload (failures stick to the buffer), get reads one whole
 * payload; KV_E_INVALID when anything is short, long, out of range or left over. */
#define KV_ROLE_CODEC(name)                                                            \
    void kv_role_##name##_put(struct kv_buf *out, const struct kv_role_##name *msg);   \
    int kv_role_##name##_get(struct kv_bytes payload, struct kv_role_##name *msg)      \
        KV_MUST_CHECK
KV_ROLE_CODEC(vault_key);
KV_ROLE_CODEC(rows);
KV_ROLE_CODEC(infos);
KV_ROLE_CODEC(key_new);
KV_ROLE_CODEC(key_made);
KV_ROLE_CODEC(key_update);
KV_ROLE_CODEC(tbs);
KV_ROLE_CODEC(export);
KV_ROLE_CODEC(blob_rows);
KV_ROLE_CODEC(blob_open);
KV_ROLE_CODEC(beat);
KV_ROLE_CODEC(backup_key);
KV_ROLE_CODEC(usage);
KV_ROLE_CODEC(usage_ask);
KV_ROLE_CODEC(grant);
KV_ROLE_CODEC(granted);
KV_ROLE_CODEC(list);

/* USE is followed by more fields in the same payload: they go through a reader. */
void kv_role_use_put(struct kv_buf *out, const struct kv_role_use *msg);
void kv_role_use_read(struct kv_wire *wire, struct kv_role_use *msg);

/* Also used in front of a blob, inside its chunks, and in their AAD. */
void kv_role_blob_put(struct kv_buf *out, const struct kv_role_blob *blob);
void kv_role_blob_read(struct kv_wire *wire, struct kv_role_blob *blob);
void kv_role_blob_row_put(struct kv_buf *out, const struct kv_role_blob_row *row);
void kv_role_blob_row_read(struct kv_wire *wire, struct kv_role_blob_row *row);

/* Also used inside sealed key bodies and AAD. */
void kv_ident_put(struct kv_buf *out, const struct kv_ident *ident);
void kv_ident_read(struct kv_wire *wire, struct kv_ident *ident);
void kv_key_attrs_put(struct kv_buf *out, const struct kv_key_attrs *attrs);
void kv_key_info_put(struct kv_buf *out, const struct kv_key_info *info);
void kv_key_attrs_read(struct kv_wire *wire, struct kv_key_attrs *attrs);

#endif
