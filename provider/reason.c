/*
 * Our codes as OpenSSL reasons. The data string of each entry carries the precise
 * sentence and the hint of struct kv_err, so that `openssl` and server logs show
 * what to do and not only that something failed.
 */
#include "provider/reason.h"

#include <openssl/bio.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "store/core/uri.h"

static const OSSL_ITEM reasons[] = {
    {KV_REASON_UNREACHABLE, "the key daemon cannot be reached"},
    {KV_REASON_TIMEOUT, "the key daemon did not answer in time"},
    {KV_REASON_WRONG_SERVER, "the key socket belongs to an unexpected user"},
    {KV_REASON_PROTOCOL, "the key daemon sent a malformed reply"},
    {KV_REASON_SEALED, "vault is sealed"},
    {KV_REASON_DENIED, "no grant to use the key"},
    {KV_REASON_NOT_FOUND, "no such key or certificate"},
    {KV_REASON_NOT_USABLE, "not usable in its present state"},
    {KV_REASON_KEY_MISMATCH, "the vault's key is not the one that was loaded"},
    {KV_REASON_BAD_URI, "malformed keyvault URI"},
    {KV_REASON_BAD_KEY_FILE, "malformed KEYVAULT KEY URI file"},
    {KV_REASON_BAD_PARAMETER, "parameter out of range"},
    {KV_REASON_UNSUPPORTED, "not offered for vault keys"},
    {KV_REASON_NO_GENERATION, "keys are made by the vault, not through OpenSSL"},
    {KV_REASON_NOT_EXPORTABLE, "the private key stays in the vault"},
    {KV_REASON_PUBLIC_KEY_ONLY, "this is a public key"},
    {KV_REASON_BUFFER_TOO_SMALL, "output buffer too small"},
    {KV_REASON_OPERATION_FAILED, "operation failed"},
    {KV_REASON_INTERNAL, "internal error"},
    {KV_REASON_LOST, "the key daemon closed the connection"},
    {KV_REASON_VERSION, "module and key daemon are of different versions"},
    {KV_REASON_BAD_SETTING, "a setting of the module is not usable"},
    {KV_REASON_NO_SERVICE, "the service that gives grants does not answer"},
    {KV_REASON_BUSY, "the key daemon has too much to do"},
    {KV_REASON_REVOKED, "the grant to use the key was revoked"},
    {KV_REASON_NO_SUCH_OPERATION, "the key's operations do not include this one"},
    {KV_REASON_DELETED, "the key was deleted"},
    {KV_REASON_DISABLED, "the key is disabled"},
    {KV_REASON_EXPIRED, "the key or its certificate has expired"},
    {KV_REASON_NOT_YET_VALID, "the key or its certificate is not valid yet"},
    {KV_REASON_PENDING, "the key's certificate has not been issued yet"},
    {KV_REASON_NOT_IN_VAULT, "the private key is not in the vault"},
    {0, NULL},
};

static enum kv_reason from_code(int code)
{
    switch ((enum kv_code)code) {
    case KV_E_INVALID:
    case KV_E_TOO_BIG:
        return KV_REASON_BAD_PARAMETER;
    case KV_E_NOT_FOUND:
        return KV_REASON_NOT_FOUND;
    case KV_E_DENIED:
        return KV_REASON_DENIED;
    case KV_E_SEALED:
        return KV_REASON_SEALED;
    case KV_E_UNAVAILABLE:
    case KV_E_IO:
        return KV_REASON_UNREACHABLE;
    case KV_E_BUSY:
        return KV_REASON_BUSY;
    case KV_E_TIMEOUT:
        return KV_REASON_TIMEOUT;
    case KV_E_UNSUPPORTED:
        return KV_REASON_UNSUPPORTED;
    case KV_E_STATE:
        return KV_REASON_NOT_USABLE;
    case KV_OK:
    case KV_E_NOMEM:
    case KV_E_INTERNAL:
        return KV_REASON_INTERNAL;
    case KV_E_CONFLICT:
    case KV_E_EXISTS:
    case KV_E_INTEGRITY:
    case KV_E_FULL:
    case KV_E_CRYPTO:
    case KV_E_UNKNOWN:
        return KV_REASON_OPERATION_FAILED;
    }
    return KV_REASON_OPERATION_FAILED;
}

/* Ids that have a reason of their own, sharper than their code's. */
static const struct {
    const char *id;
    enum kv_reason reason;
} by_id[] = {
    {"client.wrong-server", KV_REASON_WRONG_SERVER},
    {"client.bad-reply", KV_REASON_PROTOCOL},
    {"client.key-mismatch", KV_REASON_KEY_MISMATCH},
    {"client.lost", KV_REASON_LOST},
    {"client.version", KV_REASON_VERSION},
    {"client.bad-setting", KV_REASON_BAD_SETTING},
    {"client.bad-address", KV_REASON_BAD_SETTING},
    {"channel.version", KV_REASON_VERSION},
    {"channel.no-service", KV_REASON_NO_SERVICE},
    {"service.starting", KV_REASON_NO_SERVICE},
    {"grant.revoked", KV_REASON_REVOKED},
    {"key.op-not-permitted", KV_REASON_NO_SUCH_OPERATION},
    {"key.deleted", KV_REASON_DELETED},
    {"key.disabled", KV_REASON_DISABLED},
    {"key.expired", KV_REASON_EXPIRED},
    {"key.not-yet-valid", KV_REASON_NOT_YET_VALID},
    {"key.pending", KV_REASON_PENDING},
    {"cert.pending", KV_REASON_PENDING},
};

enum kv_reason kv_reason_of(const struct kv_err *err)
{
    for (size_t i = 0; i < sizeof(by_id) / sizeof(by_id[0]); i++) {
        if (strcmp(err->id, by_id[i].id) == 0)
            return by_id[i].reason;
    }
    if (strncmp(err->id, "uri.", 4) == 0)
        return KV_REASON_BAD_URI;
    if (strncmp(err->id, "keyref.", 7) == 0)
        return KV_REASON_BAD_KEY_FILE;
    return from_code(err->code);
}

void kv_reason_raise(const struct kv_reason_core *core, enum kv_reason reason,
                     const char *format, ...)
{
    if (core->new_error == NULL || core->vset_error == NULL)
        return;
    core->new_error(core->handle);
    va_list args;
    va_start(args, format);
    core->vset_error(core->handle, (uint32_t)reason, format, args);
    va_end(args);
}

void kv_reason_raise_err(const struct kv_reason_core *core, const struct kv_err *err)
{
    bool has_hint = err->hint[0] != '\0';
    kv_reason_raise(core, kv_reason_of(err), "keyvault: %s: %s%s%s%s", err->id,
                    err->message, has_hint ? " (" : "", err->hint, has_hint ? ")" : "");
}

/* Whether the message of this id names its key by itself. */
static bool is_named(const char *id)
{
    static const char *const families[] = {"key.", "grant.", "object.", "cert."};
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strncmp(id, families[i], strlen(families[i])) == 0)
            return true;
    return false;
}

void kv_reason_raise_about(const struct kv_reason_core *core, const struct kv_err *err,
                           const char *uri)
{
    struct kv_uri named;
    char what[KV_NAME_MAX + 16] = "";
    if (!is_named(err->id) && kv_uri_parse(uri, strlen(uri), &named, NULL) == 0 &&
        named.name[0] != '\0')
        (void)BIO_snprintf(
            what, sizeof(what),
            "%s %s: ", named.collection == KV_URI_CERTIFICATES ? "certificate" : "key",
            named.name);
    kv_reason_raise(core, kv_reason_of(err),
                    "keyvault: %s: %s%s (%s%srun: keyvault doctor --as %lu %s)",
                    err->id, what, err->message, err->hint,
                    err->hint[0] != '\0' ? "; " : "", (unsigned long)geteuid(), uri);
}

void kv_reason_mark(const struct kv_reason_core *core)
{
    if (core->set_mark != NULL)
        (void)core->set_mark(core->handle);
}

void kv_reason_drop(const struct kv_reason_core *core)
{
    if (core->pop_to_mark != NULL)
        (void)core->pop_to_mark(core->handle);
}

const OSSL_ITEM *kv_reason_strings(void)
{
    return reasons;
}
