/*
 * keyvault.conf through libconfuse, behind a scan of our own.
 *
 * The parser recurses once per block and keeps the whole file in memory, so a scan
 * looks first: size, NUL and control bytes, depth of braces outside strings and
 * comments. Values are checked by callbacks while the parser stands on their line;
 * that is how an error about a value can name the line.
 */
#include "lifecycle/supervisor/config.h"

#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/core/buf.h"
#include "store/core/str.h"

/* libconfuse's callbacks carry no argument of ours. */
static _Thread_local struct {
    const char *file;
    struct kv_err *err;
} current;

void kv_config_init(struct kv_config *out)
{
    *out = (struct kv_config){.log_level = KV_LOG_INFO,
                              .keyring_user = "keyvault-keys",
                              .service_user = "keyvault",
                              .prepared_nonces = "auto",
                              .log_format = "auto"};
}

/* --- the scan ----------------------------------------------------------------- */

enum scan_state { SCAN_PLAIN, SCAN_QUOTE, SCAN_LINE_COMMENT, SCAN_BLOCK_COMMENT };

struct scan {
    enum scan_state state;
    char quote;
    unsigned line;
    unsigned depth;
};

/* The state behind the byte at text[*i]; moves *i over a second byte it belongs to. */
static void scan_plain(struct scan *scan, const char *text, size_t len, size_t *i)
{
    char c = text[*i];
    char next = '\0';
    if (*i + 1 < len)
        next = text[*i + 1];
    if (c == '"' || c == '\'') {
        scan->state = SCAN_QUOTE;
        scan->quote = c;
    } else if (c == '#' || (c == '/' && next == '/')) {
        scan->state = SCAN_LINE_COMMENT;
    } else if (c == '/' && next == '*') {
        scan->state = SCAN_BLOCK_COMMENT;
        (*i)++;
    } else if (c == '{') {
        scan->depth++;
    } else if (c == '}' && scan->depth > 0) {
        scan->depth--;
    }
}

static void scan_byte(struct scan *scan, const char *text, size_t len, size_t *i)
{
    char c = text[*i];
    if (c == '\n')
        scan->line++;
    switch (scan->state) {
    case SCAN_PLAIN:
        scan_plain(scan, text, len, i);
        break;
    case SCAN_QUOTE:
        if (c == '\\' && *i + 1 < len && text[*i + 1] != '\n')
            (*i)++;
        else if (c == scan->quote)
            scan->state = SCAN_PLAIN;
        break;
    case SCAN_LINE_COMMENT:
        if (c == '\n')
            scan->state = SCAN_PLAIN;
        break;
    case SCAN_BLOCK_COMMENT:
        if (c == '*' && *i + 1 < len && text[*i + 1] == '/') {
            scan->state = SCAN_PLAIN;
            (*i)++;
        }
        break;
    }
}

static int check_end(const struct scan *scan, const char *file, struct kv_err *err)
{
    if (scan->state == SCAN_QUOTE)
        return kv_err_set(err, KV_E_INVALID, "config.unfinished",
                          "%s:%u: the file ends inside a string; expected %c", file,
                          scan->line, scan->quote);
    if (scan->state == SCAN_BLOCK_COMMENT)
        return kv_err_set(err, KV_E_INVALID, "config.unfinished",
                          "%s:%u: the file ends inside a comment; expected */", file,
                          scan->line);
    if (scan->depth > 0)
        return kv_err_set(err, KV_E_INVALID, "config.unfinished",
                          "%s:%u: the file ends inside a block; expected }", file,
                          scan->line);
    return 0;
}

static int check_bytes(const char *text, size_t len, const char *file,
                       struct kv_err *err)
{
    if (len > KV_CONFIG_MAX_BYTES)
        return kv_err_set(err, KV_E_TOO_BIG, "config.too-big",
                          "%s has more than %d bytes", file, KV_CONFIG_MAX_BYTES);
    struct scan scan = {.state = SCAN_PLAIN, .line = 1};
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f)
            return kv_err_set(err, KV_E_INVALID, "config.bad-byte",
                              "%s:%u: control byte 0x%02x; expected text", file,
                              scan.line, c);
        scan_byte(&scan, text, len, &i);
        if (scan.depth > KV_CONFIG_MAX_DEPTH)
            return kv_err_set(
                err, KV_E_INVALID, "config.too-deep",
                "%s:%u: more than %d blocks inside each other; expected }", file,
                scan.line, KV_CONFIG_MAX_DEPTH);
    }
    return check_end(&scan, file, err);
}

/* --- values ------------------------------------------------------------------- */

bool kv_config_listen_is_valid(const char *text)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || strlen(text) >= KV_LISTEN_MAX)
        return false;
    int64_t port = 0;
    if (kv_str_to_i64(colon + 1, 0, 65535, &port) != 0)
        return false;
    size_t host_len = (size_t)(colon - text);
    bool is_bracketed = text[0] == '[' && text[host_len - 1] == ']';
    for (size_t i = 0; i < host_len; i++) {
        char c = text[i];
        if (isalnum((unsigned char)c) || c == '.' || c == '-')
            continue;
        if (!is_bracketed || strchr("[]:%", c) == NULL)
            return false;
    }
    return !is_bracketed || host_len > 2;
}

static bool domain_is_valid(const char *text)
{
    size_t label_len = 0;
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.') {
            if (label_len == 0 || text[i - 1] == '-')
                return false;
            label_len = 0;
        } else if ((text[i] == '-' && label_len > 0) ||
                   isalnum((unsigned char)text[i])) {
            label_len++;
        } else {
            return false;
        }
        if (label_len > 63)
            return false;
    }
    return label_len > 0 && text[len - 1] != '-' && len < 200;
}

static bool user_is_valid(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || len >= KV_USER_NAME_MAX || text[0] == '-')
        return false;
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)text[i]) && strchr("_-.", text[i]) == NULL)
            return false;
    }
    return true;
}

int kv_config_size(const char *text, int64_t *out)
{
    char digits[20];
    static const struct {
        char unit;
        int64_t bytes;
    } units[] = {
        {'K', 1024}, {'M', INT64_C(1) << 20}, {'G', INT64_C(1) << 30}, {'\0', 1}};
    const int64_t min = 65536;
    const int64_t max = (int64_t)1 << 40;
    int64_t number = 0;
    size_t n = strspn(text, "0123456789");
    kv_str_cut(digits, sizeof(digits), text, n);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (text[n] != units[i].unit || (text[n] != '\0' && text[n + 1] != '\0'))
            continue;
        if (kv_str_to_i64(digits, 1, max / units[i].bytes, &number) != 0 ||
            number * units[i].bytes < min)
            return KV_E_INVALID;
        *out = number * units[i].bytes;
        return 0;
    }
    return KV_E_INVALID;
}

static bool size_is_valid(const char *text)
{
    int64_t bytes = 0;
    return strlen(text) < sizeof(((struct kv_config *)0)->audit_size) &&
           kv_config_size(text, &bytes) == 0;
}

static bool keep_is_valid(const char *text)
{
    int64_t n = 0;
    return kv_str_to_i64(text, 2, 65536, &n) == 0;
}

static bool quota_is_valid(const char *text)
{
    int64_t n = 0;
    return kv_str_to_i64(text, 0, 1000000, &n) == 0;
}

static bool directory_is_valid(const char *text)
{
    return text[0] == '/' && strlen(text) < PATH_MAX - 64;
}

static const char *const levels[] = {"error", "warn", "info", "debug"};
static const char *const formats[] = {"auto", "text", "json", "journald"};

static const char *const switches[] = {"auto", "on", "off"};

static int index_of(const char *const *list, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], text) == 0)
            return (int)i;
    }
    return -1;
}

static bool level_is_valid(const char *text)
{
    return index_of(levels, 4, text) >= 0;
}

static bool format_is_valid(const char *text)
{
    return index_of(formats, 4, text) >= 0;
}

static bool switch_is_valid(const char *text)
{
    return index_of(switches, 3, text) >= 0;
}

/* A URL without what would end it in the service's option. */
static bool url_is_valid(const char *text)
{
    return strncmp(text, "https://", 8) == 0 && text[8] != '\0' && strlen(text) < 256 &&
           strpbrk(text, ", \t\"\\#@") == NULL;
}

static bool word_is_valid(const char *text)
{
    return text[0] != '\0' && strlen(text) < 256 && strpbrk(text, ",\"\\") == NULL;
}

static bool path_is_valid(const char *text)
{
    return text[0] == '/' && word_is_valid(text);
}

static bool tenant_is_valid(const char *text)
{
    return strlen(text) == 36 && text[strspn(text, "0123456789abcdefABCDEF-")] == '\0';
}

/* What a text option accepts. */
static const struct rule {
    const char *path;
    bool (*is_valid)(const char *text); /* NULL: the name is known, but not offered */
    const char *expected;
} rules[] = {
    {"api|listen", kv_config_listen_is_valid,
     "HOST:PORT with a port of 0 to 65535, for example \"0.0.0.0:8443\""},
    {"api|domain", domain_is_valid, "a DNS name, for example \"vault.example.com\""},
    {"api|certificate", NULL,
     "another certificate for the API is not offered; its own is renewed by itself"},
    {"keyring|user", user_is_valid, "a user name, for example \"keyvault-keys\""},
    {"keyring|prepared-nonces", switch_is_valid, "auto, on or off"},
    {"service|user", user_is_valid, "a user name, for example \"keyvault\""},
    {"oidc-issuer|issuer", url_is_valid, "an address that begins with https://"},
    {"oidc-issuer|audience", word_is_valid, "a text without commas"},
    {"oidc-issuer|tenant", tenant_is_valid, "a UUID"},
    {"oidc-issuer|ca-file", path_is_valid, "an absolute path"},
    {"audit|directory", directory_is_valid,
     "an absolute path, for example \"/var/lib/keyvault/audit\""},
    {"audit|segment-size", size_is_valid, "64K to 1024G, for example 256M"},
    {"audit|keep", keep_is_valid, "2 to 65536 segments"},
    {"quota|create", quota_is_valid, "0 (no limit) to 1000000 in 10 seconds"},
    {"quota|use", quota_is_valid, "0 (no limit) to 1000000 in 10 seconds"},
    {"quota|write", quota_is_valid, "0 (no limit) to 1000000 in 10 seconds"},
    {"quota|other", quota_is_valid, "0 (no limit) to 1000000 in 10 seconds"},
    {"log|level", level_is_valid, "error, warn, info or debug"},
    {"log|format", format_is_valid, "auto, text, json or journald"},
};
#define N_RULES (sizeof(rules) / sizeof(rules[0]))

static void record(const cfg_t *cfg, const char *id, const char *message,
                   const char *expected)
{
    (void)kv_err_set(current.err, KV_E_INVALID, id, "%s:%d: %s%s%s", current.file,
                     cfg->line, message, expected[0] != '\0' ? "; expected " : "",
                     expected);
}

static int check_value(cfg_t *cfg, cfg_opt_t *opt)
{
    const char *value = cfg_opt_getnstr(opt, cfg_opt_size(opt) - 1);
    for (size_t i = 0; i < N_RULES; i++) {
        const char *bar = strchr(rules[i].path, '|');
        size_t section_len = (size_t)(bar - rules[i].path);
        if (strncmp(rules[i].path, cfg->name, section_len) != 0 ||
            cfg->name[section_len] != '\0' || strcmp(bar + 1, opt->name) != 0)
            continue;
        if (value != NULL && rules[i].is_valid == NULL) {
            record(cfg, "config.not-offered", rules[i].expected, "");
            return -1;
        }
        if (value != NULL && rules[i].is_valid(value))
            return 0;
        char message[160];
        char shown[64];
        kv_str_cut(shown, sizeof(shown), value != NULL ? value : "",
                   value != NULL ? strlen(value) : 0);
        (void)snprintf(message, sizeof(message), "%s is \"%s\"", opt->name, shown);
        record(cfg, "config.bad-value", message, rules[i].expected);
        return -1;
    }
    return 0;
}

/* --- libconfuse --------------------------------------------------------------- */

/* "listen, domain or certificate": what the section at hand may hold. */
static void list_options(const cfg_t *cfg, char *out, size_t out_size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; cfg->opts[i].name != NULL && used < out_size; i++) {
        const char *between = i == 0                          ? ""
                              : cfg->opts[i + 1].name != NULL ? ", "
                                                              : " or ";
        int n =
            snprintf(out + used, out_size - used, "%s%s", between, cfg->opts[i].name);
        used += n > 0 ? (size_t)n : 0;
    }
}

__attribute__((format(printf, 2, 0))) static void
on_error(cfg_t *cfg, const char *format, va_list list)
{
    char message[256];
    char expected[160] = "";
    (void)vsnprintf(message, sizeof(message), format, list);
    if (strstr(message, "no such option") != NULL)
        list_options(cfg, expected, sizeof(expected));
    else if (strstr(message, "invalid boolean") != NULL)
        (void)snprintf(expected, sizeof(expected), "on or off");
    record(cfg, "config.syntax", message, expected);
}

static void take(const cfg_t *root, const char *path, char *out, size_t out_size)
{
    const char *value = cfg_getstr((cfg_t *)(uintptr_t)root, path);
    if (value != NULL && kv_str_copy(out, out_size, value) != 0)
        out[0] = '\0'; /* its rule bounds the length: does not happen */
}

/* One issuer as the service's option wants it. */
static int take_issuer(cfg_t *section, char *out, size_t out_size)
{
    static const char *const names[] = {"issuer", "audience", "tenant", "ca-file"};
    const char *title = cfg_title(section);
    struct kv_buf text;
    kv_buf_init(&text, out_size - 1);
    if (cfg_getstr(section, "issuer") == NULL || !user_is_valid(title)) {
        record(section, "config.bad-issuer",
               "an oidc-issuer needs a name of letters and digits, and an issuer", "");
        return KV_E_INVALID;
    }
    (void)kv_buf_appendf(&text, "name=%s", title);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = cfg_getstr(section, names[i]);
        if (value != NULL)
            (void)kv_buf_appendf(&text, ",%s=%s", names[i], value);
    }
    if (cfg_getbool(section, "at-jwt") == cfg_true)
        (void)kv_buf_append_str(&text, ",at-jwt=on");
    const char *cstr = kv_buf_cstr(&text);
    int rc = cstr != NULL ? kv_str_copy(out, out_size, cstr) : KV_E_TOO_BIG;
    kv_buf_free(&text);
    return rc;
}

static int take_issuers(cfg_t *root, struct kv_config *out)
{
    unsigned n = cfg_size(root, "oidc-issuer");
    if (n > KV_CONFIG_ISSUERS_MAX) {
        record(root, "config.bad-issuer", "there are more than eight oidc-issuers", "");
        return KV_E_INVALID;
    }
    for (unsigned i = 0; i < n; i++) {
        int rc = take_issuer(cfg_getnsec(root, "oidc-issuer", i), out->oidc_issuers[i],
                             KV_CONFIG_ISSUER_MAX);
        if (rc != 0)
            return rc;
        out->n_oidc_issuers++;
    }
    return 0;
}

static void take_all(cfg_t *root, struct kv_config *out)
{
    take(root, "api|listen", out->listen, sizeof(out->listen));
    take(root, "api|domain", out->domain, sizeof(out->domain));
    take(root, "keyring|user", out->keyring_user, sizeof(out->keyring_user));
    take(root, "keyring|prepared-nonces", out->prepared_nonces,
         sizeof(out->prepared_nonces));
    take(root, "service|user", out->service_user, sizeof(out->service_user));
    out->is_audit_off = cfg_getbool(root, "audit|enabled") != cfg_true;
    take(root, "audit|directory", out->audit_dir, sizeof(out->audit_dir));
    take(root, "audit|segment-size", out->audit_size, sizeof(out->audit_size));
    take(root, "audit|keep", out->audit_keep, sizeof(out->audit_keep));
    take(root, "quota|create", out->quota[0], sizeof(out->quota[0]));
    take(root, "quota|use", out->quota[1], sizeof(out->quota[1]));
    take(root, "quota|write", out->quota[2], sizeof(out->quota[2]));
    take(root, "quota|other", out->quota[3], sizeof(out->quota[3]));
    take(root, "log|format", out->log_format, sizeof(out->log_format));
    out->allow_swap = cfg_getbool(root, "keyring|allow-swap") == cfg_true;
    const char *level = cfg_getstr(root, "log|level");
    if (level != NULL)
        out->log_level = (enum kv_log_level)index_of(levels, 4, level);
}

static int parse_text(const char *text, struct kv_config *out)
{
    static cfg_opt_t api[] = {CFG_STR("listen", NULL, CFGF_NONE),
                              CFG_STR("domain", NULL, CFGF_NONE),
                              CFG_STR("certificate", NULL, CFGF_NONE), CFG_END()};
    static cfg_opt_t keyring[] = {
        CFG_STR("user", NULL, CFGF_NONE), CFG_BOOL("allow-swap", cfg_false, CFGF_NONE),
        CFG_STR("prepared-nonces", NULL, CFGF_NONE), CFG_END()};
    static cfg_opt_t service[] = {CFG_STR("user", NULL, CFGF_NONE), CFG_END()};
    static cfg_opt_t audit[] = {CFG_STR("directory", NULL, CFGF_NONE),
                                CFG_STR("segment-size", NULL, CFGF_NONE),
                                CFG_STR("keep", NULL, CFGF_NONE),
                                CFG_BOOL("enabled", cfg_true, CFGF_NONE), CFG_END()};
    static cfg_opt_t quota[] = {CFG_STR("create", NULL, CFGF_NONE),
                                CFG_STR("use", NULL, CFGF_NONE),
                                CFG_STR("write", NULL, CFGF_NONE),
                                CFG_STR("other", NULL, CFGF_NONE), CFG_END()};
    static cfg_opt_t log[] = {CFG_STR("level", NULL, CFGF_NONE),
                              CFG_STR("format", NULL, CFGF_NONE), CFG_END()};
    static cfg_opt_t issuer[] = {
        CFG_STR("issuer", NULL, CFGF_NONE),       CFG_STR("audience", NULL, CFGF_NONE),
        CFG_STR("tenant", NULL, CFGF_NONE),       CFG_STR("ca-file", NULL, CFGF_NONE),
        CFG_BOOL("at-jwt", cfg_false, CFGF_NONE), CFG_END()};
    cfg_opt_t top[] = {
        CFG_SEC("api", api, CFGF_NONE),
        CFG_SEC("keyring", keyring, CFGF_NONE),
        CFG_SEC("service", service, CFGF_NONE),
        CFG_SEC("oidc-issuer", issuer, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
        CFG_SEC("audit", audit, CFGF_NONE),
        CFG_SEC("quota", quota, CFGF_NONE),
        CFG_SEC("log", log, CFGF_NONE),
        CFG_END()};
    cfg_t *root = cfg_init(top, CFGF_NONE);
    if (root == NULL)
        return KV_E_NOMEM;
    (void)cfg_set_error_function(root, on_error);
    for (size_t i = 0; i < N_RULES; i++)
        (void)cfg_set_validate_func(root, rules[i].path, check_value);
    int rc = cfg_parse_buf(root, text) == CFG_SUCCESS ? 0 : KV_E_INVALID;
    if (rc == 0)
        take_all(root, out);
    if (rc == 0)
        rc = take_issuers(root, out);
    (void)cfg_free(root);
    return rc;
}

int kv_config_parse(const char *text, size_t len, const char *file,
                    struct kv_config *out, struct kv_err *err)
{
    struct kv_config parsed;
    kv_config_init(&parsed);
    struct kv_err local = KV_ERR_INIT;
    struct kv_buf copy;
    kv_buf_init(&copy, KV_CONFIG_MAX_BYTES + 2);
    int rc = 0;
    KV_TRY(check_bytes(text, len, file, err));
    /* The lexer wants an end of line behind the last value. */
    (void)kv_buf_append(&copy, text, len);
    (void)kv_buf_append_str(&copy, "\n");
    const char *ended = kv_buf_cstr(&copy);
    if (ended == NULL) {
        rc = KV_E_NOMEM;
        goto out;
    }
    current.file = file;
    current.err = err != NULL ? err : &local;
    rc = parse_text(ended, &parsed);
    if (rc == KV_E_INVALID)
        (void)kv_err_set(current.err, rc, "config.syntax",
                         "%s: not a configuration; expected blocks of name = value",
                         file);
    if (rc == 0)
        *out = parsed;
out:
    kv_buf_free(&copy);
    return rc;
}

static int read_file(int fd, const char *file, struct kv_buf *out, struct kv_err *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0)
        return kv_err_errno(err, errno, "config.unreadable", file);
    if (!S_ISREG(info.st_mode))
        return kv_err_set(err, KV_E_IO, "config.unreadable", "%s is not a regular file",
                          file);
    char bytes[8192];
    for (;;) {
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n < 0)
            return kv_err_errno(err, errno, "config.unreadable", file);
        if (n == 0)
            return 0;
        int rc = kv_buf_append(out, bytes, (size_t)n);
        if (rc == KV_E_TOO_BIG)
            return kv_err_set(err, rc, "config.too-big", "%s has more than %d bytes",
                              file, KV_CONFIG_MAX_BYTES);
        if (rc != 0)
            return rc;
    }
}

int kv_config_load(const char *file, struct kv_config *out, struct kv_err *err)
{
    struct kv_buf text;
    kv_buf_init(&text, KV_CONFIG_MAX_BYTES);
    int rc = 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        rc = kv_err_set(err, KV_E_NOT_FOUND, "config.missing", "there is no %s", file);
        kv_err_hint(err, "write it (keyvault.conf(5)), or name another with --config");
        goto out;
    }
    if (fd < 0) {
        rc = kv_err_errno(err, errno, "config.unreadable", file);
        goto out;
    }
    KV_TRY(read_file(fd, file, &text, err));
    const char *bytes = text.len > 0 ? (const char *)text.data : "";
    rc = kv_config_parse(bytes, text.len, file, out, err);
out:
    if (fd >= 0)
        (void)close(fd);
    kv_buf_free(&text);
    return rc;
}
