/*
 * Our codes as OpenSSL reasons. The data string of each entry carries the precise
 * sentence and the hint of struct kv_err, so that `openssl` and server logs show
 * what to do and not only that something failed.
 */
#include "provider/reason.h"

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

static const OSSL_ITEM reasons[] = {
    {KV_REASON_UNREACHABLE, "the key daemon cannot be reached"},
    {KV_REASON_TIMEOUT, "the key daemon did not answer in time"},
    {KV_REASON_WRONG_SERVER, "the key socket belongs to an unexpected user"},
    {KV_REASON_PROTOCOL, "the key daemon sent a malformed reply"},
    {KV_REASON_SEALED, "vault is sealed"},
    {KV_REASON_DENIED, "denied"},
    {KV_REASON_NOT_FOUND, "no such key or certificate"},
    {KV_REASON_NOT_USABLE, "the key is disabled, expired or not yet valid"},
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
    case KV_E_BUSY:
        return KV_REASON_UNREACHABLE;
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

/* Ids that deserve a reason of their own, sharper than their code's. */
static const struct {
    const char *id;
    enum kv_reason reason;
} by_id[] = {
    {"client.wrong-server", KV_REASON_WRONG_SERVER},
    {"client.bad-reply", KV_REASON_PROTOCOL},
    {"client.key-mismatch", KV_REASON_KEY_MISMATCH},
};

static enum kv_reason from_err(const struct kv_err *err)
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
    if (err->hint[0] != '\0')
        kv_reason_raise(core, from_err(err), "keyvault: %s (%s)", err->message,
                        err->hint);
    else
        kv_reason_raise(core, from_err(err), "keyvault: %s", err->message);
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
