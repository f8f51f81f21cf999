/*
 * Failures as the contract names them: status, code, inner code.
 *
 * A stable error id decides first (the keyring's refusals), then the KV_E_* code. The
 * body carries our id and hint too: clients of the contract ignore them, the command
 * line prints them.
 */
#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/str.h"

static const struct by_id {
    const char *id;
    struct kv_http_error error;
} by_id[] = {
    {"seal.blob-damaged", {400, "BadParameter", NULL}},
    {"key.disabled", {403, "Forbidden", "KeyDisabled"}},
    {"key.expired", {403, "Forbidden", "KeyExpired"}},
    {"key.not-yet-valid", {403, "Forbidden", "KeyNotYetValid"}},
    {"key.op-not-permitted", {403, "Forbidden", "KeyOperationForbidden"}},
    {"key.decrypt-failed", {400, "BadParameter", NULL}},
    {"api.secret-disabled", {403, "Forbidden", "SecretDisabled"}},
    {"api.secret-expired", {403, "Forbidden", "SecretExpired"}},
    {"api.forbidden", {403, "Forbidden", "ForbiddenByRbac"}},
    {"api.denied-by-policy", {403, "Forbidden", "AccessDenied"}},
    {"api.managed", {403, "Forbidden", NULL}},
    {"api.deleted", {409, "Conflict", "ObjectIsDeletedButRecoverable"}},
    {"cert.in-progress", {409, "Forbidden", NULL}},
    {"api.no-contacts", {404, "ContactsNotFound", NULL}},
    {"vault.bad-name", {400, "VaultNameNotValid", NULL}},
    {"vault.exists", {409, "VaultAlreadyExists", NULL}},
    {"vault.deleted", {409, "ConflictError", NULL}},
    {"vault.not-deleted", {404, "DeletedVaultNotFound", NULL}},
    {"vault.not-found", {404, "VaultNotFound", NULL}},
    {"api.no-issuer", {404, "CertificateIssuerNotFound", NULL}},
    {"cert.no-operation", {404, "PendingCertificateNotFound", NULL}},
    {"api.no-route", {404, "NotFound", NULL}},
    {"api.no-method", {405, "MethodNotAllowed", NULL}},
    {"api.bad-content-type", {415, "UnsupportedMediaType", NULL}},
    {"api.unauthorized", {401, "Unauthorized", NULL}},
    {"api.not-offered", {400, "NotSupported", NULL}},
};

static const struct by_code {
    int rc;
    struct kv_http_error error;
} by_code[] = {
    {KV_E_INVALID, {400, "BadParameter", NULL}},
    {KV_E_TOO_BIG, {400, "BadParameter", NULL}},
    {KV_E_NOT_FOUND, {404, "NotFound", NULL}},
    {KV_E_DENIED, {403, "Forbidden", NULL}},
    {KV_E_STATE, {403, "Forbidden", NULL}},
    {KV_E_CONFLICT, {409, "Conflict", NULL}},
    {KV_E_EXISTS, {409, "Conflict", NULL}},
    {KV_E_UNSUPPORTED, {400, "NotSupported", NULL}},
    {KV_E_SEALED, {503, "ServiceUnavailable", NULL}},
    {KV_E_UNAVAILABLE, {503, "ServiceUnavailable", NULL}},
    {KV_E_TIMEOUT, {503, "ServiceUnavailable", NULL}},
    {KV_E_FULL, {503, "ServiceUnavailable", NULL}},
    {KV_E_BUSY, {429, "Throttled", NULL}},
};

static const char *not_found_code(const char *collection)
{
    if (collection == NULL)
        return "NotFound";
    if (strcmp(collection, "keys") == 0)
        return "KeyNotFound";
    if (strcmp(collection, "secrets") == 0)
        return "SecretNotFound";
    return "CertificateNotFound";
}

void kv_error_map(int rc, const char *id, const char *collection,
                  struct kv_http_error *out)
{
    *out = (struct kv_http_error){500, "InternalServerError", NULL};
    for (size_t i = 0; id != NULL && i < sizeof(by_id) / sizeof(by_id[0]); i++) {
        if (strcmp(id, by_id[i].id) == 0) {
            *out = by_id[i].error;
            return;
        }
    }
    for (size_t i = 0; i < sizeof(by_code) / sizeof(by_code[0]); i++)
        if (by_code[i].rc == rc)
            *out = by_code[i].error;
    if (rc == KV_E_NOT_FOUND)
        out->code = not_found_code(collection);
}

/* Messages may name users and files of the system, which need not be UTF-8: such bytes
 * become question marks. NULL for no text. */
static json_t *text_json(const char *text)
{
    char out[KV_ERR_TEXT_MAX];
    size_t n = 0;
    if (text == NULL || text[0] == '\0')
        return NULL;
    size_t left = strlen(text);
    while (left > 0) {
        size_t len = kv_utf8_char_len(text, left);
        size_t taken = len > 0 ? len : 1;
        if (n + taken > sizeof(out))
            break;
        memcpy(out + n, len > 0 ? text : "?", taken);
        n += taken;
        text += taken;
        left -= taken;
    }
    return json_stringn(out, n);
}

json_t *kv_error_body(const struct kv_http_error *error, const char *message,
                      const char *id, const char *hint)
{
    json_t *inner =
        error->inner != NULL ? json_pack("{s:s}", "code", error->inner) : NULL;
    return json_pack("{s:{s:s,s:o,s:o*,s:o*,s:o*}}", "error", "code", error->code,
                     "message", text_json(message), "innererror", inner, "id",
                     text_json(id), "hint", text_json(hint));
}

const char *kv_error_code_of_status(int status)
{
    switch (status) {
    case 404:
        return "NotFound";
    case 405:
        return "MethodNotAllowed";
    case 408:
        return "RequestTimeout";
    case 413:
        return "RequestEntityTooLarge";
    case 429:
        return "Throttled";
    case 431:
        return "RequestHeaderFieldsTooLarge";
    case 501:
        return "NotImplemented";
    case 503:
        return "ServiceUnavailable";
    case 505:
        return "HttpVersionNotSupported";
    default:
        return status >= 500 ? "InternalServerError" : "BadParameter";
    }
}
