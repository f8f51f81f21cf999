/*
 * Device authorization over HTTP (RFC 8628): a device gets its codes, and a page where
 * a user signs in for it.
 *
 * The page is plain HTML without scripts. It names the application that asks, takes
 * name and secret of a user in the same form as the code, and sets no cookie, so that
 * nobody can make a browser agree to anything by itself.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/api/authority.h"
#include "lifecycle/api/internal.h"
#include "lifecycle/service/identity.h"
#include "store/core/secret.h"
#include "store/core/str.h"

#define PAGE_MAX 8192
#define CODE_TEXT_MAX 32

/* --- codes -------------------------------------------------------------------------
 */

static void answer_codes(struct kv_service *service, struct kv_http_request *request,
                         const char *tenant, const char *device, const char *user)
{
    char base[600];
    char page[700];
    char message[900];
    kv_authority_base(service, tenant, kv_http_header(request, "host"), base,
                      sizeof(base));
    (void)snprintf(page, sizeof(page), "%s/oauth2/deviceauth", base);
    (void)snprintf(message, sizeof(message),
                   "To sign in, use a web browser to open the page %s and enter the "
                   "code %s to authenticate.",
                   page, user);
    kv_call_answer(service, request, 200,
                   json_pack("{s:s,s:s,s:s,s:s+++,s:i,s:i,s:s}", "device_code", device,
                             "user_code", user, "verification_uri", page,
                             "verification_uri_complete", page, "?user_code=", user, "",
                             "expires_in", KV_DEVICE_LIFETIME_S, "interval",
                             KV_DEVICE_INTERVAL_S, "message", message));
}

void kv_device_start(struct kv_service *service, struct kv_http_request *request,
                     const char *tenant)
{
    struct kv_device_request wanted;
    struct kv_signin_form form;
    struct kv_oauth_error error = {0, NULL, 0, NULL};
    char device[KV_TOKEN_TEXT_LEN + 1] = "";
    char user[KV_USER_CODE_LEN + 1] = "";
    size_t len = 0;
    uint8_t *body = kv_http_body(request, &len);
    const char *source = kv_http_peer(request)->address;
    memset(&wanted, 0, sizeof(wanted));
    if (kv_signin_form_read(&form, kv_http_header(request, "content-type"), body, len,
                            false, &error)) {
        const struct kv_app *app =
            kv_apps_by_client(service->identity->apps, form.client_id);
        if (app == NULL || !kv_str_equal_nocase(app->tenant, tenant))
            kv_oauth_unknown_client(&error);
        else if (!kv_signin_audience(service, &form, true, wanted.audience))
            kv_oauth_foreign_scope(&error);
        else
            memcpy(wanted.client_id, app->client_id, sizeof(wanted.client_id));
    }
    kv_signin_form_free(&form);
    kv_str_cut(wanted.tenant, sizeof(wanted.tenant), tenant, strlen(tenant));
    kv_str_cut(wanted.source, sizeof(wanted.source), source, strlen(source));
    if (error.status == 0 &&
        kv_device_codes_add(service->identity->devices, service->rand, &wanted,
                            kv_monotonic_ms(service->clock), device, user) != 0)
        error = (struct kv_oauth_error){429, "temporarily_unavailable", 90055,
                                        "Too many devices wait for a sign-in."};
    if (error.status != 0)
        kv_oauth_answer(service, request, &error);
    else
        answer_codes(service, request, tenant, device, user);
    kv_wipe(device, sizeof(device));
}

/* --- the page ----------------------------------------------------------------------
 */

static void answer_page(struct kv_http_request *request, int status, const char *text,
                        const char *form)
{
    struct kv_buf page;
    kv_buf_init(&page, PAGE_MAX);
    (void)kv_buf_appendf(&page,
                         "<!DOCTYPE html>\n<html lang=\"en\"><head>"
                         "<meta charset=\"utf-8\">"
                         "<meta name=\"viewport\" content=\"width=device-width\">"
                         "<title>Sign in</title></head>\n"
                         "<body><h1>Sign in</h1>\n<p>%s</p>\n%s</body></html>\n",
                         text, form);
    struct kv_http_reply reply = {.status = status,
                                  .content_type = "text/html; charset=utf-8",
                                  .body = page.data,
                                  .body_len = page.len};
    int rc = kv_http_reply_header(request, "Content-Security-Policy",
                                  "default-src 'none'; form-action 'self'; "
                                  "frame-ancestors 'none'; base-uri 'none'");
    if (rc == 0)
        rc = kv_http_reply_header(request, "Referrer-Policy", "no-referrer");
    if (rc != 0 || kv_buf_status(&page) != 0)
        reply = (struct kv_http_reply){.status = 500};
    kv_http_reply(request, &reply);
    kv_buf_free(&page);
}

/* What may stand in a page: the letters of a code. */
static void clean_code(const char *typed, char out[CODE_TEXT_MAX])
{
    size_t n = 0;
    for (; *typed != '\0' && n + 1 < CODE_TEXT_MAX; typed++)
        if ((*typed >= 'a' && *typed <= 'z') || (*typed >= 'A' && *typed <= 'Z') ||
            *typed == '-')
            out[n++] = *typed;
    out[n] = '\0';
}

static void show_form(struct kv_service *service, struct kv_http_request *request,
                      int status, const char *typed, const char *complaint)
{
    char code[CODE_TEXT_MAX];
    char text[512];
    char form[1024];
    clean_code(typed, code);
    const struct kv_device_request *wanted = kv_device_codes_find(
        service->identity->devices, code, kv_monotonic_ms(service->clock));
    const struct kv_app *app =
        wanted != NULL ? kv_apps_by_client(service->identity->apps, wanted->client_id)
                       : NULL;
    (void)snprintf(text, sizeof(text), "%s%s%s%s", complaint,
                   app != NULL ? "The application <b>" : "",
                   app != NULL ? app->name : "Enter the code that the device shows.",
                   app != NULL ? "</b> asks to act for you. Go on only if you have "
                                 "started it yourself."
                               : "");
    (void)snprintf(
        form, sizeof(form),
        "<form method=\"post\" autocomplete=\"off\">\n"
        "<p><label>Code <input name=\"user_code\" value=\"%s\" required></label></p>\n"
        "<p><label>User <input name=\"username\" required></label></p>\n"
        "<p><label>Secret <input name=\"password\" type=\"password\" required></label>"
        "</p>\n<p><button>Sign in</button></p></form>\n",
        code);
    answer_page(request, status, text, form);
}

struct page_form {
    char code[CODE_TEXT_MAX];
    char user[KV_NAME_MAX + 1];
    char secret[128];
};

/* False: the user is not one, or has another secret, or must wait. */
static bool sign_in(struct kv_service *service, struct kv_http_request *request,
                    const char *tenant, const struct page_form *form)
{
    struct kv_identity *identity = service->identity;
    const char *source = kv_http_peer(request)->address;
    const int64_t now_ms = kv_monotonic_ms(service->clock);
    const struct kv_app *user = kv_apps_find(identity->apps, form->user);
    if (kv_throttle_wait_ms(identity->throttle, form->user, source, now_ms) > 0) {
        show_form(service, request, 429, form->code,
                  "Wait a moment after a wrong secret. ");
        return false;
    }
    if (user == NULL || !user->is_user || !kv_str_equal_nocase(user->tenant, tenant) ||
        !kv_app_secret_matches(user, form->secret)) {
        kv_throttle_failed(identity->throttle, form->user, source, now_ms);
        kv_log(service->log, KV_LOG_WARN, "auth.signin-refused",
               KV_S("user", user != NULL ? user->name : ""), KV_S("peer", source));
        show_form(service, request, 401, form->code, "User or secret are wrong. ");
        return false;
    }
    kv_throttle_passed(identity->throttle, form->user, source);
    if (kv_device_codes_approve(identity->devices, form->code, user->object_id,
                                user->generation, now_ms))
        return true;
    show_form(service, request, 400, "", "The code is wrong or has expired. ");
    return false;
}

static void take_form(struct kv_service *service, struct kv_http_request *request,
                      const char *tenant)
{
    struct page_form form;
    struct kv_buf text;
    size_t len = 0;
    uint8_t *body = kv_http_body(request, &len);
    memset(&form, 0, sizeof(form));
    kv_buf_init_secret(&text, 4096);
    bool is_read =
        kv_signin_form_text(kv_http_header(request, "content-type"), body, len, &text);
    const char *cstr = is_read ? kv_buf_cstr(&text) : NULL;
    is_read = cstr != NULL &&
              kv_query_get(cstr, "user_code", form.code, sizeof(form.code)) == 1 &&
              kv_query_get(cstr, "username", form.user, sizeof(form.user)) == 1 &&
              kv_query_get(cstr, "password", form.secret, sizeof(form.secret)) == 1;
    if (!is_read) {
        show_form(service, request, 400, "", "A field is missing or too long. ");
    } else if (sign_in(service, request, tenant, &form)) {
        kv_log(service->log, KV_LOG_INFO, "auth.device-approved",
               KV_S("user", form.user), KV_S("peer", kv_http_peer(request)->address));
        answer_page(request, 200, "You have signed in. The device goes on by itself.",
                    "");
    }
    kv_wipe(&form, sizeof(form));
    kv_buf_free(&text);
}

void kv_device_page(struct kv_service *service, struct kv_http_request *request,
                    const char *tenant)
{
    char code[CODE_TEXT_MAX] = "";
    if (strcmp(kv_http_method(request), "POST") == 0) {
        take_form(service, request, tenant);
        return;
    }
    if (kv_query_get(kv_http_query(request), "user_code", code, sizeof(code)) != 1)
        code[0] = '\0';
    show_form(service, request, 200, code, "");
}
