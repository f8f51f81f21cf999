/*
 * Failures as the contract names them: status, code, inner code.
 *
 * A stable error id decides first (the keyring's refusals), then the KV_E_* code. The
 * body carries our id and hint too: clients of the contract ignore them, the command
 * line prints them.
 */
#include <string.h>

#include "lifecycle/api/internal.h"

static const struct by_id {
    const char *id;
    struct kv_http_error error;
} by_id[] = {
    {"key.disabled", {403, "Forbidden", "KeyDisabled"}},
    {"key.expired", {403, "Forbidden", "KeyExpired"}},
    {"key.not-yet-valid", {403, "Forbidden", "KeyNotYetValid"}},
    {"key.op-not-permitted", {403, "Forbidden", "KeyOperationForbidden"}},
    {"key.decrypt-failed", {400, "BadParameter", NULL}},
    {"api.secret-disabled", {403, "Forbidden", "SecretDisabled"}},
    {"api.forbidden", {403, "Forbidden", "ForbiddenByRbac"}},
    {"api.managed", {403, "Forbidden", NULL}},
    {"api.deleted", {409, "Conflict", "ObjectIsDeletedButRecoverable"}},
    {"api.no-route", {404, "NotFound", NULL}},
    {"api.no-method", {405, "MethodNotAllowed", NULL}},
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

json_t *kv_error_body(const struct kv_http_error *error, const char *message,
                      const char *id, const char *hint)
{
    json_t *inner =
        error->inner != NULL ? json_pack("{s:s}", "code", error->inner) : NULL;
    return json_pack("{s:{s:s,s:s,s:o*,s:s*,s:s*}}", "error", "code", error->code,
                     "message", message, "innererror", inner, "id",
                     id != NULL && id[0] != '\0' ? id : NULL, "hint",
                     hint != NULL && hint[0] != '\0' ? hint : NULL);
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
