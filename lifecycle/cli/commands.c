/*
 * The table of commands: the only place that says what there is.
 */
#include "lifecycle/cli/attributes.h"
#include "lifecycle/cli/cli.h"
#include "lifecycle/cli/policy.h"

static const struct kv_flag none[] = {{0}};

static const struct kv_flag vault_create[] = {
    {"sku", "standard|premium", "premium: keys in hardware, where there is some"},
    {"retention-days", "N", "how long what is deleted can be recovered: 7 to 90 (90)"},
    {"purge-protection", NULL, "let nobody purge before that time; cannot be undone"},
    {"access-policies", "FILE|-", "go by these (a JSON array), not by roles"},
    {"roles", NULL, "go by role assignments"},
    {"tenant", "UUID", "whose tokens are taken (the installation's)"},
    {"subscription", "UUID", "what it belongs to (the installation's own)"},
    KV_TAG_FLAGS,
    {0},
};

static const struct kv_flag vault_update[] = {
    {"sku", "standard|premium", "premium: keys in hardware, where there is some"},
    {"purge-protection", NULL, "let nobody purge before its time; cannot be undone"},
    {"access-policies", "FILE|-", "go by these (a JSON array), not by roles"},
    {"roles", NULL, "go by role assignments"},
    KV_TAG_FLAGS,
    {"no-tags", NULL, "remove all tags"},
    {0},
};

/* --- flags that several nouns have --- */

static const struct kv_flag show[] = {
    {"deleted", NULL, "one that is deleted and not yet purged"},
    {0},
};

static const struct kv_flag no_wait[] = {
    {"no-wait", NULL, "return as soon as it has begun"},
    {0},
};

static const struct kv_flag backup[] = {
    {"out", "FILE", "write to a file of mode 0600 instead of standard output"},
    {0},
};

static const struct kv_flag purge[] = {
    {"yes", NULL, "do not ask"},
    {0},
};

/* --- key --- */

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

static const struct kv_flag key_update[] = {
    KV_CHANGE_FLAGS,
    KV_DATE_FLAGS,
    {"ops", "A,B", "permitted operations, as in the API's key_ops"},
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
    {"file", "FILE|-", "what goes in"},
    {"out", "FILE", "write raw bytes; else base64url to standard output"},
    {0},
};

static const struct kv_flag key_random[] = {
    {"bytes", "N", "how many, 1 to 128 (32)"},
    {"out", "FILE", "write raw bytes; else base64url to standard output"},
    {0},
};

static const struct kv_flag key_decrypt[] = {
    {"alg", "ALG", "RSA-OAEP-256 (default), RSA-OAEP or RSA1_5"},
    {"file", "FILE|-", "raw bytes to bring back"},
    {"value", "BASE64URL", "the same as it was printed"},
    {"out", "FILE", "write to a file of mode 0600 instead of standard output"},
    {0},
};

/* --- secret --- */

static const struct kv_flag secret_set[] = {
    {"file", "FILE|-", "the value; without it a terminal asks"},
    {"value", "V", "the value; ps and the shell's history show it"},
    {"encoding", "utf-8|base64", "base64 stores any bytes"},
    {"content-type", "TEXT", "what the value is, up to 255 characters"},
    KV_ATTRIBUTE_FLAGS,
    {0},
};

static const struct kv_flag secret_update[] = {
    KV_CHANGE_FLAGS,
    KV_DATE_FLAGS,
    {"content-type", "TEXT", "what the value is, up to 255 characters"},
    {0},
};

static const struct kv_flag secret_get[] = {
    {"out", "FILE", "write to a file of mode 0600 instead of standard output"},
    {0},
};

static const struct kv_flag key_rotation[] = {
    {"rotate-after", "DURATION", "make a new version so long after the last one"},
    {"rotate-before-expiry", "DURATION",
     "make a new version so long before it expires"},
    {"notify-before-expiry", "DURATION", "give notice so long before it expires"},
    {"expires-in", "DURATION", "how long a new version is good for"},
    {0},
};

/* --- cert --- */

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

static const struct kv_flag cert_renew[] = {
    {"no-wait", NULL, "return as soon as the operation has begun"},
    KV_TAG_FLAGS,
    {"disabled", NULL, "make it disabled"},
    {0},
};

static const struct kv_flag cert_csr[] = {
    {"out", "FILE", "write to a file instead of standard output"},
    {0},
};

static const struct kv_flag cert_merge[] = {
    {"file", "FILE|-", "what the CA issued: PEM, DER or PKCS #7, with its chain"},
    KV_TAG_FLAGS,
    {"disabled", NULL, "make it disabled"},
    {0},
};

static const struct kv_flag cert_export[] = {
    {"format", "pem|pfx", "PEM: key, certificate, chain; or PKCS #12"},
    {"out", "FILE", "write to a file of mode 0600 instead of standard output"},
    {"password-file", "FILE", "encrypt with the password in this file"},
    {0},
};

static const struct kv_flag cert_list[] = {
    {"pending", NULL, "with those that have not been issued yet"},
    {0},
};

static const struct kv_flag cert_show[] = {
    {"pem", NULL, "print the certificate and its chain in PEM, leaf first"},
    {"out", "FILE", "with --pem: write to a file"},
    {"deleted", NULL, "one that is deleted and not yet purged"},
    {0},
};

static const struct kv_flag cert_update[] = {
    KV_CHANGE_FLAGS,
    {0},
};

static const struct kv_flag cert_policy[] = {
    KV_POLICY_FLAGS,
    {0},
};

/* --- the others --- */

static const struct kv_flag contact_add[] = {
    {"name", "TEXT", "the person's name"},
    {"phone", "TEXT", "a telephone number"},
    {0},
};

#define ISSUER_FLAGS                                                                   \
    {"type", "TYPE", "DigiCert, GlobalSign, ACME, LocalCA, Exec or Test"},             \
        {"account", "ID", "the account with the CA"},                                  \
        {"password-file", "FILE", "its password; it is never shown again"},            \
        {"organization", "ID", "the organisation with the CA"},                        \
        {"admin", "EMAIL...", "who administers it; may be given again"},               \
    {                                                                                  \
        "disabled", NULL, "let no policy use it"                                       \
    }

static const struct kv_flag issuer_create[] = {
    ISSUER_FLAGS,
    {0},
};

static const struct kv_flag issuer_update[] = {
    ISSUER_FLAGS,
    {"enabled", NULL, "let policies use it"},
    {0},
};

static const struct kv_flag init_flags[] = {
    {"ticket", "FILE|-", "redeem this one"},
    {"principal", "PRINCIPAL", "with --ticket: who becomes administrator (the caller)"},
    {0},
};

static const struct kv_flag app_create[] = {
    {"role", "ROLE", "a role for it, for example secrets-user"},
    {"scope", "SCOPE", "where: /, /VAULT, /VAULT/keys/NAME or keys/NAME (the vault)"},
    {"certificate", "FILE", "its certificate in PEM, instead of a secret"},
    {"tenant", "UUID", "the tenant that its tokens are of (the installation's)"},
    {"public", NULL, "it runs on its users' devices and keeps no secret"},
    {0},
};

static const struct kv_flag principal_create[] = {
    {"role", "ROLE", "a role for the user, for example secrets-user"},
    {"scope", "SCOPE", "where: /, /VAULT, /VAULT/keys/NAME or keys/NAME (the vault)"},
    {"tenant", "UUID", "the user's tenant (the installation's)"},
    {0},
};

static const struct kv_flag access_policy[] = {
    {"keys", "A,B", "permissions for keys: all, or get, list, sign, ..."},
    {"secrets", "A,B", "permissions for secrets: all, or get, list, set, ..."},
    {"certificates", "A,B", "permissions for certificates: all, or get, import, ..."},
    {"application", "CLIENT-ID", "only when the user comes through this application"},
    {"tenant", "UUID", "whose directory the principal is in (the principal's own)"},
    {0},
};

static const struct kv_flag access_check[] = {
    {"application", "CLIENT-ID", "the application through which the user comes"},
    {0},
};

static const struct kv_flag access_flags[] = {
    {"role", "ROLE", "for example administrator, crypto-user, tls-server, reader"},
    {"scope", "SCOPE", "/, /VAULT, /VAULT/keys/NAME or keys/NAME (the vault)"},
    {0},
};

static const struct kv_flag audit_show[] = {
    {"since", "TIME", "10m, 2h, 3d, or 2026-11-24T22:00:00Z"},
    {"principal", "PRINCIPAL", "what this one asked for, for example unix:alice"},
    {0},
};

static const struct kv_flag audit_verify[] = {
    {"state", "DIR",
     "with DIR: the state directory whose keyring knows the key (DIR/..)"},
    {0},
};

static const char audit_notes[] =
    "Without DIR the running service checks its log. With DIR the log there is "
    "checked,\n"
    "by the keyring of the state directory, while no daemon runs. Exit code 1 when it\n"
    "is damaged: flip, drop, reorder, truncate or splice, with file and line.";

static const struct kv_flag restore_flags[] = {
    {"keyfile", "FILE", "open it with the keyfile of the day of the backup"},
    {"recovery-file", "FILE", "open it with the recovery key that is in this file"},
    {"keyring-user", "USER", "as root: who gets DIR/keyring (keyvault-keys)"},
    {"service-user", "USER", "as root: who gets DIR/db (keyvault)"},
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
    "PRINCIPAL is unix:USER, unixgroup:GROUP, app:NAME, user:ID, group:ID or\n"
    "mtls:SPKI-SHA256. ROLE is an Azure role name, its short form or its id.";
static const char access_policy_notes[] =
    "  access policy set PRINCIPAL    its entry is what the flags say\n"
    "  access policy delete PRINCIPAL its entry goes\n"
    "  access policy list             all entries of the vault\n"
    "PRINCIPAL is app:NAME, user:ID, group:ID, unix:USER, mtls:SPKI-SHA256 or an "
    "object\n"
    "id. all is every permission but purge.";
static const char check_notes[] =
    "ACTION is COLLECTION/PERMISSION (secrets/get, keys/sign; beside an object the "
    "last\n"
    "part alone), an Azure data action (secrets/getSecret/action), or management:\n"
    "vaults/read, vaults/write, vaults/delete, vaults/recover, vaults/purge,\n"
    "roleAssignments/read, roleAssignments/write, apps/read, apps/write, backup, "
    "audit.\n"
    "OBJECT is a scope: /, /VAULT, /VAULT/keys/NAME or keys/NAME.\n"
    "Exit code 0: allowed; 4: denied.";
static const char init_notes[] =
    "Over api.sock. A ticket works once, for 15 minutes, while nobody administers the\n"
    "installation by a role; running it again afterwards changes nothing.";
static const char app_notes[] =
    "The secret is shown this once. A client signs in with tenant, client id and "
    "secret\n"
    "at the authority that the API names: in --dev KEYVAULT_AUTHORITY of DIR/env.";
static const char principal_notes[] =
    "The secret is shown this once. Users sign in on the page that an application "
    "shows\n"
    "with a code (app create --public); what they may do is granted to user:OBJECT-ID.";
static const char app_secret_notes[] =
    "The former secret and the tokens that were got with it end at once.";
static const char policy_verb_notes[] =
    "  cert policy show NAME   the policy of a certificate, in JSON\n"
    "  cert policy set NAME    change it: the flags replace its members, --policy "
    "FILE\n"
    "                          what the file names; new versions follow it\n"
    "  cert policy default     a policy to start from";
static const char rotate_notes[] =
    "The former version stays: what names it in full goes on with it.";
static const char rotation_notes[] =
    "  key rotation-policy show NAME   the policy of a key, in JSON\n"
    "  key rotation-policy set NAME    a new one; without --notify-before-expiry a "
    "notice\n"
    "                                  is given 30 days before\n"
    "DURATION counts days, weeks, months or years, as P90D, P6M, P1Y.";
static const char operation_notes[] =
    "  cert operation show NAME     how the newest order stands\n"
    "  cert operation cancel NAME   end it before its time\n"
    "  cert operation delete NAME   forget it";
static const char update_notes[] =
    "Without --version the current version. Tags that are given replace those it has.";
static const char delete_notes[] =
    "All versions together. They can be recovered until the vault purges them.";
static const char renew_notes[] =
    "A new version by the policy of the certificate; see cert policy.";
static const char merge_notes[] =
    "Ends an order of the issuer Unknown; its request is what cert csr prints.";
static const char export_notes[] =
    "Only certificates whose policy is exportable; others keep their key in the vault.";
static const char issuer_notes[] = "Issuers are kept for policies that name them. This "
                                   "version orders certificates of\n"
                                   "Self and Unknown alone.";
static const char vault_notes[] =
    "Tenant, subscription and retention are fixed from then on. Its host name is\n"
    "NAME.DOMAIN, as `keyvault vault show NAME` says.";
static const char vault_purge_notes[] =
    "Destroys the vault's key, then everything in the vault. There is no way back but\n"
    "a backup.";
static const char backup_create_notes[] =
    "The store goes on working. The backup is encrypted, and proved before FILE is\n"
    "there: read back, every key opened, one of each kind signed. FILE must not exist.";
static const char backup_verify_notes[] =
    "Proves a backup of this installation as create does; needs as much space again.";
static const char store_restore_notes[] =
    "DIR must be empty or not exist. With --recovery-file it gets a new keyfile. The\n"
    "result is proved before it counts; needs no daemon.";
static const char doctor_notes[] =
    "Looks at the daemon, the clock, the disk, the sockets and the effective\n"
    "openssl.cnf; with a URI or key file also at the key and its certificate, and\n"
    "whether this user (or --as USER) may sign. One line each: ok, warn or FAIL, and\n"
    "behind an arrow what cures it. Exit code 1 when a check fails.";

static const char backup_notes[] =
    "The file is encrypted: only the vault that made it can restore from it.";
static const char restore_notes[] =
    "All versions come back under their ids. The name must be free: delete and purge\n"
    "what has it. FILE may be - for standard input.";

#define ROW(noun, verb, args, summary, flags, notes, run)                              \
    {                                                                                  \
        noun, verb, args, summary, flags, notes, run                                   \
    }

/* The verbs that all three kinds of object have. */
#define SHARED(noun, kind, list_flags, show_flags, show_run, update_flags)             \
    ROW(noun, "list", "", "List the " kind "s", list_flags, NULL, kv_object_list_run), \
        ROW(noun, "show", "NAME", "Show a " kind, show_flags, NULL, show_run),         \
        ROW(noun, "versions", "NAME", "List the versions of a " kind, none, NULL,      \
            kv_object_versions_run),                                                   \
        ROW(noun, "update", "NAME", "Change what is said of a " kind, update_flags,    \
            update_notes, kv_update_run),                                              \
        ROW(noun, "delete", "NAME", "Delete a " kind, no_wait, delete_notes,           \
            kv_delete_run),                                                            \
        ROW(noun, "list-deleted", "", "List the deleted " kind "s", none, NULL,        \
            kv_list_deleted_run),                                                      \
        ROW(noun, "recover", "NAME", "Bring a deleted " kind " back", no_wait, NULL,   \
            kv_recover_run),                                                           \
        ROW(noun, "purge", "NAME", "Destroy a deleted " kind " for good", purge, NULL, \
            kv_purge_run),                                                             \
        ROW(noun, "backup", "NAME", "Write all versions of a " kind " to a file",      \
            backup, backup_notes, kv_backup_run),                                      \
        ROW(noun, "restore", "FILE", "Bring a " kind " back from such a file", none,   \
            restore_notes, kv_restore_run)

const struct kv_command kv_commands[] = {
    ROW("vault", "create", "NAME", "Make a vault", vault_create, vault_notes,
        kv_vault_create_run),
    ROW("vault", "list", "", "List the vaults", none, NULL, kv_vault_list_run),
    ROW("vault", "show", "NAME", "Show a vault's properties", none, NULL,
        kv_vault_show_run),
    ROW("vault", "update", "NAME", "Change a vault's properties", vault_update, NULL,
        kv_vault_update_run),
    ROW("vault", "delete", "NAME", "Delete a vault; it can be recovered", none, NULL,
        kv_vault_delete_run),
    ROW("vault", "list-deleted", "", "List deleted vaults", none, NULL,
        kv_vault_list_deleted_run),
    ROW("vault", "recover", "NAME", "Bring a deleted vault back", none, NULL,
        kv_vault_recover_run),
    ROW("vault", "purge", "NAME", "Destroy a deleted vault for good", none,
        vault_purge_notes, kv_vault_purge_run),
    ROW("key", "create", "NAME", "Make a key in the vault", key_create, NULL,
        kv_key_create_run),
    ROW("key", "import", "NAME", "Put an existing private key into the vault",
        key_import, NULL, kv_key_import_run),
    SHARED("key", "key", none, show, kv_object_show_run, key_update),
    ROW("key", "rotate", "NAME", "Make a new version like the present one", none,
        rotate_notes, kv_key_rotate_run),
    ROW("key", "rotation-policy", "show|set NAME", "When a key is rotated by itself",
        key_rotation, rotation_notes, kv_key_rotation_policy_run),
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
    ROW("key", "wrap", "NAME", "Wrap another key with an RSA key", key_encrypt, NULL,
        kv_key_wrap_run),
    ROW("key", "unwrap", "NAME", "Unwrap what was wrapped", key_decrypt, NULL,
        kv_key_unwrap_run),
    ROW("key", "random", "", "Print bytes of the vault's generator", key_random, NULL,
        kv_key_random_run),
    ROW("secret", "set", "NAME", "Store a secret", secret_set, NULL, kv_secret_set_run),
    ROW("secret", "get", "NAME", "Print a secret's value", secret_get, NULL,
        kv_secret_get_run),
    SHARED("secret", "secret", none, show, kv_object_show_run, secret_update),
    ROW("cert", "create", "NAME", "Have a certificate issued", cert_create,
        policy_notes, kv_cert_create_run),
    ROW("cert", "import", "NAME", "Put a certificate and its key into the vault",
        cert_import, NULL, kv_cert_import_run),
    ROW("cert", "renew", "NAME", "Have a new version issued", cert_renew, renew_notes,
        kv_cert_renew_run),
    ROW("cert", "csr", "NAME", "Print the certificate request of an order", cert_csr,
        NULL, kv_cert_csr_run),
    ROW("cert", "merge", "NAME", "Bring what a CA outside issued", cert_merge,
        merge_notes, kv_cert_merge_run),
    ROW("cert", "operation", "show|cancel|delete NAME", "Look at or end an order", none,
        operation_notes, kv_cert_operation_run),
    ROW("cert", "export", "NAME", "Write certificate and private key to a file",
        cert_export, export_notes, kv_cert_export_run),
    ROW("cert", "policy", "show|set|default [NAME]", "Show or change a policy",
        cert_policy, policy_verb_notes, kv_cert_policy_run),
    SHARED("cert", "certificate", cert_list, cert_show, kv_cert_show_run, cert_update),
    ROW("contact", "add", "EMAIL", "Add or change a contact of the vault", contact_add,
        NULL, kv_contact_add_run),
    ROW("contact", "list", "", "List who is told about certificates", none, NULL,
        kv_contact_list_run),
    ROW("contact", "remove", "EMAIL", "Remove a contact", none, NULL,
        kv_contact_remove_run),
    ROW("issuer", "create", "NAME", "Make an issuer known to the vault", issuer_create,
        issuer_notes, kv_issuer_create_run),
    ROW("issuer", "list", "", "List the issuers", none, NULL, kv_issuer_list_run),
    ROW("issuer", "show", "NAME", "Show an issuer", none, NULL, kv_issuer_show_run),
    ROW("issuer", "update", "NAME", "Change an issuer", issuer_update, NULL,
        kv_issuer_update_run),
    ROW("issuer", "delete", "NAME", "Delete an issuer", none, NULL,
        kv_issuer_delete_run),
    ROW("app", "create", "NAME", "Register an application that signs in by itself",
        app_create, app_notes, kv_app_create_run),
    ROW("app", "list", "", "List the applications", none, NULL, kv_app_list_run),
    ROW("app", "show", "NAME|ID", "Show an application", none, NULL, kv_app_show_run),
    ROW("app", "delete", "NAME|ID", "Delete an application and end its tokens", none,
        NULL, kv_app_delete_run),
    ROW("app", "secret", "rotate NAME|ID", "Give an application a new secret", none,
        app_secret_notes, kv_app_secret_run),
    ROW("access", "check", "PRINCIPAL ACTION OBJECT",
        "Tell whether somebody may do something, and why", access_check, check_notes,
        kv_access_check_run),
    ROW("principal", "create", "NAME", "Register a user", principal_create,
        principal_notes, kv_app_create_run),
    ROW("principal", "list", "", "List the users", none, NULL, kv_app_list_run),
    ROW("principal", "show", "NAME", "Show a user", none, NULL, kv_app_show_run),
    ROW("principal", "delete", "NAME", "Delete a user and end the user's tokens", none,
        NULL, kv_app_delete_run),
    ROW("principal", "secret", "rotate NAME", "Give a user a new secret", none,
        app_secret_notes, kv_app_secret_run),
    ROW("access", "grant", "PRINCIPAL", "Give a role to somebody", access_flags,
        grant_notes, kv_access_grant_run),
    ROW("access", "list", "", "List who has which role", none, NULL,
        kv_access_list_run),
    ROW("access", "policy", "set|delete|list [PRINCIPAL]",
        "Change the access policies of a vault that goes by them", access_policy,
        access_policy_notes, kv_access_policy_run),
    ROW("access", "revoke", "PRINCIPAL", "Take a role from somebody", access_flags,
        grant_notes, kv_access_revoke_run),
    ROW("init", NULL, "", "Make the ticket of the first administrator, or redeem it",
        init_flags, init_notes, kv_init_run),
    ROW("audit", "show", "[DIR]", "Show the audit log", audit_show, NULL,
        kv_audit_show_run),
    ROW("audit", "verify", "[DIR]", "Check that the audit log is whole", audit_verify,
        audit_notes, kv_audit_verify_run),
    ROW("backup", "create", "FILE", "Back up the whole store to a new file", none,
        backup_create_notes, kv_backup_create_run),
    ROW("backup", "list", "", "List the backups that were proved", none, NULL,
        kv_backup_list_run),
    ROW("backup", "verify", "FILE", "Prove a backup again", none, backup_verify_notes,
        kv_backup_verify_run),
    ROW("restore", NULL, "FILE DIR", "Restore a backup into an empty directory",
        restore_flags, store_restore_notes, kv_restore_command_run),
    ROW("status", NULL, "", "Show the state of the service and its vaults", none, NULL,
        kv_status_run),
    ROW("doctor", NULL, "[URI|FILE]", "Find out why something does not work",
        doctor_flags, doctor_notes, kv_doctor_run),
    ROW("completion", NULL, "SHELL", "Print completions for bash, zsh or fish", none,
        NULL, kv_completion_run),
    {0},
};
