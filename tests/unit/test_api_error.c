/*
 * The contract's table of failures, row by row.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "lifecycle/api/internal.h"

TestSuite(api_error, .timeout = 20);

static const struct {
    int rc;
    const char *id;
    const char *collection;
    int status;
    const char *code;
    const char *inner;
} rows[] = {
    /* ids decide first */
    {KV_E_STATE, "key.disabled", "keys", 403, "Forbidden", "KeyDisabled"},
    {KV_E_STATE, "key.expired", "keys", 403, "Forbidden", "KeyExpired"},
    {KV_E_STATE, "key.not-yet-valid", "keys", 403, "Forbidden", "KeyNotYetValid"},
    {KV_E_DENIED, "key.op-not-permitted", "keys", 403, "Forbidden",
     "KeyOperationForbidden"},
    {KV_E_CRYPTO, "key.decrypt-failed", "keys", 400, "BadParameter", NULL},
    {KV_E_STATE, "api.secret-disabled", "secrets", 403, "Forbidden", "SecretDisabled"},
    {KV_E_DENIED, "api.forbidden", "keys", 403, "Forbidden", "ForbiddenByRbac"},
    {KV_E_DENIED, "api.managed", "keys", 403, "Forbidden", NULL},
    {KV_E_EXISTS, "api.deleted", "keys", 409, "Conflict",
     "ObjectIsDeletedButRecoverable"},
    {KV_E_NOT_FOUND, "api.no-route", NULL, 404, "NotFound", NULL},
    {KV_E_INVALID, "api.no-method", NULL, 405, "MethodNotAllowed", NULL},
    {KV_E_INVALID, "api.bad-content-type", "keys", 415, "UnsupportedMediaType", NULL},
    {KV_E_DENIED, "api.unauthorized", NULL, 401, "Unauthorized", NULL},
    {KV_E_UNSUPPORTED, "api.not-offered", "certificates", 400, "NotSupported", NULL},
    /* then the code */
    {KV_E_INVALID, "api.bad-field", "keys", 400, "BadParameter", NULL},
    {KV_E_INVALID, NULL, NULL, 400, "BadParameter", NULL},
    {KV_E_TOO_BIG, NULL, NULL, 400, "BadParameter", NULL},
    {KV_E_NOT_FOUND, "object.not-found", "keys", 404, "KeyNotFound", NULL},
    {KV_E_NOT_FOUND, "object.not-found", "secrets", 404, "SecretNotFound", NULL},
    {KV_E_NOT_FOUND, "object.not-found", "certificates", 404, "CertificateNotFound",
     NULL},
    {KV_E_NOT_FOUND, "access.not-found", NULL, 404, "NotFound", NULL},
    {KV_E_DENIED, NULL, NULL, 403, "Forbidden", NULL},
    {KV_E_STATE, NULL, NULL, 403, "Forbidden", NULL},
    {KV_E_CONFLICT, "object.conflict", "keys", 409, "Conflict", NULL},
    {KV_E_EXISTS, NULL, NULL, 409, "Conflict", NULL},
    {KV_E_UNSUPPORTED, "key.unsupported", "keys", 400, "NotSupported", NULL},
    {KV_E_SEALED, "keyring.sealed", "keys", 503, "ServiceUnavailable", NULL},
    {KV_E_UNAVAILABLE, "keyring.unreachable", "keys", 503, "ServiceUnavailable", NULL},
    {KV_E_TIMEOUT, "keyring.timeout", "keys", 503, "ServiceUnavailable", NULL},
    {KV_E_FULL, "access.full", NULL, 503, "ServiceUnavailable", NULL},
    {KV_E_BUSY, NULL, NULL, 429, "Throttled", NULL},
    /* what is nobody's fault but ours */
    {KV_E_INTEGRITY, "object.index-mismatch", "keys", 500, "InternalServerError", NULL},
    {KV_E_NOMEM, NULL, NULL, 500, "InternalServerError", NULL},
    {KV_E_IO, NULL, NULL, 500, "InternalServerError", NULL},
    {KV_E_CRYPTO, NULL, "keys", 500, "InternalServerError", NULL},
    {KV_E_INTERNAL, NULL, NULL, 500, "InternalServerError", NULL},
    {-9999, "no.such-id", "keys", 500, "InternalServerError", NULL},
};

Test(api_error, each_failure_has_its_status_code_and_inner_code)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct kv_http_error error;
        const char *id = rows[i].id != NULL ? rows[i].id : "(none)";
        kv_error_map(rows[i].rc, rows[i].id, rows[i].collection, &error);
        cr_assert_eq(error.status, rows[i].status, "%d %s: %d", rows[i].rc, id,
                     error.status);
        cr_assert_str_eq(error.code, rows[i].code, "%d %s", rows[i].rc, id);
        cr_assert_eq(error.inner == NULL, rows[i].inner == NULL, "%s", id);
        if (rows[i].inner != NULL)
            cr_assert_str_eq(error.inner, rows[i].inner, "%s", id);
    }
}

static char *body_text(const struct kv_http_error *error, const char *message,
                       const char *id, const char *hint)
{
    json_t *json = kv_error_body(error, message, id, hint);
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    return text;
}

Test(api_error, the_body_has_what_there_is_and_no_more)
{
    struct kv_http_error plain = {400, "BadParameter", NULL};
    struct kv_http_error inner = {403, "Forbidden", "KeyDisabled"};
    char *text = body_text(&plain, "m \"\n\xc3\xa4", NULL, NULL);
    cr_assert_str_eq(text, "{\"error\":{\"code\":\"BadParameter\","
                           "\"message\":\"m \\\"\\n\xc3\xa4\"}}");
    free(text);
    text = body_text(&plain, "m", "", "");
    cr_assert_str_eq(text, "{\"error\":{\"code\":\"BadParameter\",\"message\":\"m\"}}",
                     "an empty id or hint is none");
    free(text);
    text = body_text(&inner, "m", "key.disabled", "enable it");
    cr_assert_str_eq(text, "{\"error\":{\"code\":\"Forbidden\",\"hint\":\"enable it\","
                           "\"id\":\"key.disabled\",\"innererror\":"
                           "{\"code\":\"KeyDisabled\"},\"message\":\"m\"}}");
    free(text);
}

Test(api_error, a_message_that_is_no_text_does_not_cost_the_reply)
{
    struct kv_http_error plain = {403, "Forbidden", NULL};
    char *text = body_text(&plain, "caller: unix:\xff\xfe.", "api.\xff", "h\x80");
    cr_assert_not_null(text, "a body all the same");
    cr_assert_not_null(strstr(text, "\"code\":\"Forbidden\""));
    cr_assert_not_null(strstr(text, "caller: unix:??."), "%s", text);
    free(text);
}

Test(api_error, statuses_of_the_http_server_have_codes)
{
    static const struct {
        int status;
        const char *code;
    } statuses[] = {
        {400, "BadParameter"},
        {404, "NotFound"},
        {405, "MethodNotAllowed"},
        {408, "RequestTimeout"},
        {413, "RequestEntityTooLarge"},
        {417, "BadParameter"},
        {429, "Throttled"},
        {431, "RequestHeaderFieldsTooLarge"},
        {500, "InternalServerError"},
        {501, "NotImplemented"},
        {502, "InternalServerError"},
        {503, "ServiceUnavailable"},
        {505, "HttpVersionNotSupported"},
    };
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        cr_assert_str_eq(kv_error_code_of_status(statuses[i].status), statuses[i].code,
                         "%d", statuses[i].status);
}
