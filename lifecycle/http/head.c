/*
 * The checks on a complete head, after llhttp accepted it.
 *
 * llhttp knows the grammar; this file knows what this server is willing to serve.
 * Everything that decides where a request ends or which vault it is for (lengths,
 * codings, Host) must be there once and in its plain form, whatever a more generous
 * server would read into it.
 */
#include "lifecycle/http/parse.h"

#include <string.h>
#include <strings.h>

/* Headers that clients may send more than once; the first counts. */
static const char *const LISTS[] = {
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "baggage",
    "cache-control",
    "connection",
    "cookie",
    "forwarded",
    "if-match",
    "if-none-match",
    "pragma",
    "te",
    "trailer",
    "tracestate",
    "via",
    "x-forwarded-for",
};

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

static int refuse(struct kv_http_parser *parser, int status, const char *reason)
{
    parser->bad_reason = reason;
    return status;
}

/* Cut names, values, path and query out of the head buffer. Each is followed by a
 * delimiter (colon, CR, space) whose byte becomes the NUL. */
static void cut_strings(struct kv_http_parser *parser)
{
    char *head = (char *)parser->head.data;
    for (size_t i = 0; i < parser->n_fields; i++) {
        char *name = head + parser->name_at[i];
        for (size_t k = 0; k < parser->name_len[i]; k++)
            if (name[k] >= 'A' && name[k] <= 'Z')
                name[k] = (char)(name[k] - 'A' + 'a');
        name[parser->name_len[i]] = '\0';
        char *value = head + parser->value_at[i];
        size_t n = parser->value_len[i];
        while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
            n--;
        if (n > 0)
            value[n] = '\0';
        parser->fields[i] = (struct kv_http_field){name, n > 0 ? value : ""};
    }
    char *target = head + parser->target_at;
    target[parser->target_len] = '\0';
    char *mark = strchr(target, '?');
    parser->query = "";
    if (mark != NULL) {
        *mark = '\0';
        parser->query = mark + 1;
    }
    parser->path = target;
}

const char *kv_http_parser_header(const struct kv_http_parser *parser, const char *name)
{
    for (size_t i = 0; i < parser->n_fields; i++)
        if (strcmp(parser->fields[i].name, name) == 0)
            return parser->fields[i].value;
    return NULL;
}

static int check_method(struct kv_http_parser *parser)
{
    switch ((llhttp_method_t)llhttp_get_method(&parser->llhttp)) {
    case HTTP_GET:
    case HTTP_HEAD:
    case HTTP_POST:
    case HTTP_PUT:
    case HTTP_PATCH:
    case HTTP_DELETE:
    case HTTP_OPTIONS:
        return 0;
    default:
        return refuse(parser, 405, "method");
    }
}

static int check_target(struct kv_http_parser *parser)
{
    const char *target = (const char *)parser->head.data + parser->target_at;
    if (parser->target_len == 0 || target[0] != '/')
        return refuse(parser, 400, "target is not a path");
    for (size_t i = 0; i < parser->target_len; i++)
        if (target[i] <= ' ' || target[i] >= 0x7f || target[i] == '#')
            return refuse(parser, 400, "bad byte in the target");
    return 0;
}

static bool is_list(const char *name)
{
    for (size_t i = 0; i < N_OF(LISTS); i++)
        if (strcmp(name, LISTS[i]) == 0)
            return true;
    return false;
}

static int check_duplicates(struct kv_http_parser *parser)
{
    for (size_t i = 1; i < parser->n_fields; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(parser->fields[i].name, parser->fields[k].name) == 0 &&
                !is_list(parser->fields[i].name))
                return refuse(parser, 400, "header came twice");
    return 0;
}

static int check_host(struct kv_http_parser *parser, bool is_1_1)
{
    const char *host = kv_http_parser_header(parser, "host");
    if (host == NULL)
        return is_1_1 ? refuse(parser, 400, "no Host") : 0;
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]";
    size_t n = strspn(host, allowed);
    if (n == 0 || host[n] != '\0' || n > 255 + sizeof(":65535"))
        return refuse(parser, 400, "bad Host");
    return 0;
}

/* How the body is delimited: by one plain Content-Length, by chunked, or absent. */
static int check_body(struct kv_http_parser *parser, bool is_1_1)
{
    const char *coding = kv_http_parser_header(parser, "transfer-encoding");
    const char *length = kv_http_parser_header(parser, "content-length");
    parser->is_long = parser->limits.is_long != NULL &&
                      parser->limits.is_long(parser->method, parser->path);
    if (parser->is_long)
        kv_buf_init_secret(&parser->body, parser->limits.long_body_max_bytes);
    if (coding != NULL) {
        if (length != NULL)
            return refuse(parser, 400, "both Content-Length and Transfer-Encoding");
        if (!is_1_1 || strcasecmp(coding, "chunked") != 0)
            return refuse(parser, 400, "transfer coding");
        parser->is_chunked = true;
        parser->has_body = true;
        return 0;
    }
    if (length == NULL)
        return 0;
    size_t n = strspn(length, "0123456789");
    if (n == 0 || length[n] != '\0')
        return refuse(parser, 400, "Content-Length is not a number");
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(length[i] - '0'), &value))
            return refuse(parser, 400, "Content-Length out of range");
    }
    if (value > parser->body.max_len)
        return refuse(parser, 413, "body too long");
    parser->body_announced = value;
    parser->has_body = value > 0;
    return 0;
}

static int check_expect(struct kv_http_parser *parser, bool is_1_1)
{
    const char *expect = kv_http_parser_header(parser, "expect");
    if (expect == NULL || !is_1_1)
        return 0;
    if (strcasecmp(expect, "100-continue") != 0)
        return refuse(parser, 417, "expectation");
    parser->wants_continue = parser->has_body;
    return 0;
}

int kv_http_parser_check_head(struct kv_http_parser *parser)
{
    int major = llhttp_get_http_major(&parser->llhttp);
    int minor = llhttp_get_http_minor(&parser->llhttp);
    if (major != 1 || minor > 1)
        return refuse(parser, 505, "HTTP version");
    bool is_1_1 = minor == 1;
    int status = check_method(parser);
    if (status == 0)
        status = check_target(parser);
    if (status != 0)
        return status;
    parser->method =
        llhttp_method_name((llhttp_method_t)llhttp_get_method(&parser->llhttp));
    cut_strings(parser);
    status = check_duplicates(parser);
    if (status == 0)
        status = check_host(parser, is_1_1);
    if (status == 0 && kv_http_parser_header(parser, "upgrade") != NULL)
        status = refuse(parser, 400, "upgrade");
    if (status == 0)
        status = check_body(parser, is_1_1);
    if (status == 0)
        status = check_expect(parser, is_1_1);
    if (!is_1_1)
        parser->is_keep_alive = false;
    return status;
}
