/*
 * The table of commands: the only place that says what there is.
 */
#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/object.h"
#include "lifecycle/cli/policy.h"

static const struct kv_flag none[] = {{0}};

static const struct kv_flag key_create[] = {
    {"type", "RSA|EC|Ed25519", "type of the key"},
    {"size", "BITS", "RSA: 2048, 3072 or 4096 (2048)"},
    {"curve", "CURVE", "EC: P-256, P-384, P-521 or P-256K (P-256)"},
    {"ops", "A,B", "permitted operations, as in the API's key_ops"},
    KV_ATTRIBUTE_FLAGS,
    {0},
};

static const struct kv_flag key_import[] = {
    {"file", "FILE|-", "the private key in PEM or DER"},
    {"password-file", "FILE", "its password, when it is encrypted"},
    {"ops", "A,B", "permitted operations, as in the API's key_ops"},
    KV_ATTRIBUTE_FLAGS,
    {0},
};

static const struct kv_flag key_uri_pem[] = {
    {"follow", NULL, "name no version: who loads it gets the newest"},
    {"out", "FILE", "write to a file instead of standard output"},
    {0},
};

static const struct kv_flag key_sign[] = {
    {"alg", "ALG",
     "RS256 .. PS512, ES256 .. ES512, ES256K, EdDSA (what suits the key)"},
    {"file", "FILE|-", "what to sign"},
    {"out", "FILE", "write the raw signature; else base64url to standard output"},
    {0},
};

static const struct kv_flag key_verify[] = {
    {"alg", "ALG", "as for sign"},
    {"file", "FILE|-", "what was signed"},
    {"signature", "FILE", "the raw signature"},
    {"value", "BASE64URL", "the signature as sign prints it"},
    {0},
};

static const struct kv_flag key_encrypt[] = {
    {"alg", "ALG", "RSA-OAEP-256 (default), RSA-OAEP or RSA1_5"},
    {"file", "FILE|-", "what to encrypt"},
    {"out", "FILE", "write raw bytes; else base64url to standard output"},
    {0},
};

static const struct kv_flag key_decrypt[] = {
    {"alg", "ALG", "RSA-OAEP-256 (default), RSA-OAEP or RSA1_5"},
    {"file", "FILE|-", "raw bytes to decrypt"},
    {"value", "BASE64URL", "the same as encrypt prints it"},
    {"out", "FILE", "write to a file of mode 0600 instead of standard output"},
    {0},
};

static const struct kv_flag secret_set[] = {
    {"file", "FILE|-", "the value; without it a terminal asks"},
    {"value", "V", "the value; ps and the shell's history show it"},
    {"encoding", "utf-8|base64", "base64 stores any bytes"},
    {"content-type", "TEXT", "what the value is, up to 255 characters"},
    KV_ATTRIBUTE_FLAGS,
    {0},
};

static const struct kv_flag secret_get[] = {
    {"out", "FILE", "write to a file of mode 0600 instead of standard output"},
    {0},
};

static const struct kv_flag cert_create[] = {
    KV_POLICY_FLAGS,
    {"no-wait", NULL, "return as soon as the operation has begun"},
    KV_ATTRIBUTE_FLAGS,
    {0},
};
_Static_assert(sizeof(cert_create) / sizeof(cert_create[0]) - 1 <= KV_CLI_FLAGS_MAX,
               "struct kv_invocation has room for every flag of the longest command");

static const struct kv_flag cert_import[] = {
    {"file", "FILE|-", "PFX, or PEM with the private key and certificates"},
    {"password-file", "FILE", "its password, when it has one"},
    {"exportable", NULL, "let the private key leave the vault"},
    KV_ATTRIBUTE_FLAGS,
    {0},
};

static const struct kv_flag cert_show[] = {
    {"pem", NULL, "print the certificate and its chain in PEM, leaf first"},
    {"out", "FILE", "with --pem: write to a file"},
    {0},
};

static const struct kv_flag access_flags[] = {
    {"role", "ROLE", "for example administrator, crypto-user, tls-server, reader"},
    {"scope", "SCOPE", "/, /VAULT, /VAULT/keys/NAME or keys/NAME (the vault)"},
    {0},
};

static const struct kv_flag doctor_flags[] = {
    {"as", "USER|UID", "look as this user: what may he read, load and sign with"},
    {0},
};

static const char policy_notes[] =
    "The flags make a certificate policy; --policy reads one in JSON and the flags\n"
    "replace its members. It waits until the certificate is issued.";
static const char grant_notes[] =
    "PRINCIPAL is unix:USER, unixgroup:GROUP, app:ID, user:ID or mtls:SPKI-SHA256.";
static const char policy_show_notes[] =
    "  cert policy show NAME   the policy of a certificate, in JSON\n"
    "  cert policy default     a policy to start from";
static const char doctor_notes[] =
    "Looks at the daemon, the clock, the disk, the sockets and the effective\n"
    "openssl.cnf; with a URI or key file also at the key and its certificate, and\n"
    "whether this user (or --as USER) may sign. One line each: ok, warn or FAIL, and\n"
    "behind an arrow what cures it. Exit code 1 when a check fails.";

#define ROW(noun, verb, args, summary, flags, notes, run)                              \
    {                                                                                  \
        noun, verb, args, summary, flags, notes, run                                   \
    }

const struct kv_command kv_commands[] = {
    ROW("key", "create", "NAME", "Make a key in the vault", key_create, NULL,
        kv_key_create_run),
    ROW("key", "import", "NAME", "Put an existing private key into the vault",
        key_import, NULL, kv_key_import_run),
    ROW("key", "list", "", "List the keys", none, NULL, kv_key_list_run),
    ROW("key", "show", "NAME", "Show a key's public part and attributes", none, NULL,
        kv_key_show_run),
    ROW("key", "versions", "NAME", "List the versions of a key", none, NULL,
        kv_key_versions_run),
    ROW("key", "usage", "[NAME]", "Show what was done with keys in use", none, NULL,
        kv_key_usage_run),
    ROW("key", "uri-pem", "NAME", "Print the file that servers load as private key",
        key_uri_pem, NULL, kv_key_uri_pem_run),
    ROW("key", "sign", "NAME", "Sign a file", key_sign, NULL, kv_key_sign_run),
    ROW("key", "verify", "NAME", "Check a signature", key_verify, NULL,
        kv_key_verify_run),
    ROW("key", "encrypt", "NAME", "Encrypt a short text with an RSA key", key_encrypt,
        NULL, kv_key_encrypt_run),
    ROW("key", "decrypt", "NAME", "Decrypt with an RSA key", key_decrypt, NULL,
        kv_key_decrypt_run),
    ROW("secret", "set", "NAME", "Store a secret", secret_set, NULL, kv_secret_set_run),
    ROW("secret", "get", "NAME", "Print a secret's value", secret_get, NULL,
        kv_secret_get_run),
    ROW("secret", "list", "", "List the secrets", none, NULL, kv_secret_list_run),
    ROW("secret", "show", "NAME", "Show a secret's attributes", none, NULL,
        kv_secret_show_run),
    ROW("secret", "versions", "NAME", "List the versions of a secret", none, NULL,
        kv_secret_versions_run),
    ROW("cert", "create", "NAME", "Have a certificate issued", cert_create,
        policy_notes, kv_cert_create_run),
    ROW("cert", "import", "NAME", "Put a certificate and its key into the vault",
        cert_import, NULL, kv_cert_import_run),
    ROW("cert", "list", "", "List the certificates", none, NULL, kv_cert_list_run),
    ROW("cert", "show", "NAME", "Show a certificate", cert_show, NULL,
        kv_cert_show_run),
    ROW("cert", "versions", "NAME", "List the versions of a certificate", none, NULL,
        kv_cert_versions_run),
    ROW("cert", "policy", "show|default [NAME]", "Show a certificate policy", none,
        policy_show_notes, kv_cert_policy_run),
    ROW("access", "grant", "PRINCIPAL", "Give a role to somebody", access_flags,
        grant_notes, kv_access_grant_run),
    ROW("access", "list", "", "List who has which role", none, NULL,
        kv_access_list_run),
    ROW("access", "revoke", "PRINCIPAL", "Take a role from somebody", access_flags,
        grant_notes, kv_access_revoke_run),
    ROW("status", NULL, "", "Show the state of the service and its vaults", none, NULL,
        kv_status_run),
    ROW("doctor", NULL, "[URI|FILE]", "Find out why something does not work",
        doctor_flags, doctor_notes, kv_doctor_run),
    ROW("completion", NULL, "SHELL", "Print completions for bash, zsh or fish", none,
        NULL, kv_completion_run),
    {0},
};
