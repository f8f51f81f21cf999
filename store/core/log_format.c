/*
 * Records as text, JSON and journal datagrams.
 *
 * Values come from outside: control characters (C0, DEL, C1, and the Unicode marks
 * that turn writing direction or break lines) are escaped, malformed UTF-8 becomes
 * U+FFFD, so that neither a terminal nor a log reader can be steered by a value.
 * The journal's fields are named KEYVAULT_*: no value can pose as a trusted field.
 */
#include "store/core/log_format.h"

#include "store/core/str.h"
#include "store/core/wire.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define REPLACEMENT "\xEF\xBF\xBD"

static const char *level_text(enum kv_log_level level)
{
    switch (level) {
    case KV_LOG_ERROR:
        return "error";
    case KV_LOG_WARN:
        return "warn";
    case KV_LOG_INFO:
        return "info";
    case KV_LOG_DEBUG:
        return "debug";
    }
    return "error";
}

/* The syslog severity, RFC 5424 §6.2.1. */
static int level_priority(enum kv_log_level level)
{
    switch (level) {
    case KV_LOG_ERROR:
        return 3;
    case KV_LOG_WARN:
        return 4;
    case KV_LOG_INFO:
        return 6;
    case KV_LOG_DEBUG:
        return 7;
    }
    return 3;
}

/* The code point of a well-formed character of `n` bytes. */
static uint32_t code_point(const char *text, size_t n)
{
    static const uint8_t lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t value = (uint8_t)text[0] & lead_bits[n];
    for (size_t i = 1; i < n; i++)
        value = value << 6 | ((uint8_t)text[i] & 0x3FU);
    return value;
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0x200E || c == 0x200F ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

/* Append text between double quotes; the escapes are JSON's. All of them are below
 * U+10000, so no surrogate pair is needed. */
static void put_quoted(struct kv_buf *out, const char *text, size_t text_max)
{
    size_t len = strnlen(text, text_max + 1);
    bool is_cut = len > text_max;
    if (is_cut)
        len = text_max;
    (void)kv_buf_append(out, "\"", 1);
    for (size_t at = 0; at < len;) {
        size_t n = kv_utf8_char_len(text + at, len - at);
        uint32_t c = n == 0 ? 0xFFFD : code_point(text + at, n);
        if (n == 0 && is_cut && len - at < 4 && ((uint8_t)text[at] & 0xC0U) == 0xC0U)
            break; /* the cut went through this character */
        if (n == 0)
            (void)kv_buf_append_str(out, REPLACEMENT);
        else if (c == '"' || c == '\\')
            (void)kv_buf_appendf(out, "\\%c", (int)c);
        else if (c == '\n')
            (void)kv_buf_append_str(out, "\\n");
        else if (is_control(c))
            (void)kv_buf_appendf(out, "\\u%04x", c);
        else
            (void)kv_buf_append(out, text + at, n);
        at += n == 0 ? 1 : n;
    }
    if (is_cut)
        (void)kv_buf_append_str(out, "...");
    (void)kv_buf_append(out, "\"", 1);
}

/* 2026-11-24T10:50:00Z */
static void put_time(struct kv_buf *out, int64_t time_s)
{
    time_t when = (time_t)time_s;
    struct tm tm;
    char text[64];
    if (gmtime_r(&when, &tm) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
        (void)kv_buf_append_str(out, text);
    else
        (void)kv_buf_appendf(out, "@%" PRId64, time_s);
}

static void put_value(struct kv_buf *out, const struct kv_log_field *field,
                      size_t text_max)
{
    if (field->text != NULL)
        put_quoted(out, field->text, text_max);
    else
        (void)kv_buf_appendf(out, "%" PRId64, field->number);
}

/* event name="value" number=1 */
static void put_sentence(struct kv_buf *out, const struct kv_log_record *record)
{
    (void)kv_buf_append_str(out, record->event);
    for (size_t i = 0; i < record->n_fields; i++) {
        (void)kv_buf_appendf(out, " %s=", record->fields[i].name);
        put_value(out, &record->fields[i], record->text_max);
    }
}

static void format_text(const struct kv_log_record *record, struct kv_buf *out)
{
    put_time(out, record->time_s);
    (void)kv_buf_appendf(out, " %-5s %s ", level_text(record->level), record->program);
    put_sentence(out, record);
    (void)kv_buf_append(out, "\n", 1);
}

static void format_json(const struct kv_log_record *record, struct kv_buf *out)
{
    (void)kv_buf_append_str(out, "{\"time\":\"");
    put_time(out, record->time_s);
    (void)kv_buf_appendf(out,
                         "\",\"level\":\"%s\",\"program\":", level_text(record->level));
    put_quoted(out, record->program, record->text_max);
    (void)kv_buf_append_str(out, ",\"event\":");
    put_quoted(out, record->event, record->text_max);
    for (size_t i = 0; i < record->n_fields; i++) {
        (void)kv_buf_append(out, ",", 1);
        put_quoted(out, record->fields[i].name, record->text_max);
        (void)kv_buf_append(out, ":", 1);
        put_value(out, &record->fields[i], record->text_max);
    }
    (void)kv_buf_append_str(out, "}\n");
}

/* NAME=value\n, or NAME\n, length (64 bits, little-endian), value\n where the value
 * has bytes that the first form cannot carry. */
static void put_journal(struct kv_buf *out, const char *value, size_t len)
{
    if (memchr(value, '\n', len) == NULL) {
        (void)kv_buf_append(out, "=", 1);
    } else {
        (void)kv_buf_append(out, "\n", 1);
        kv_wire_put_u64(out, len);
    }
    (void)kv_buf_append(out, value, len);
    (void)kv_buf_append(out, "\n", 1);
}

static void put_journal_field(struct kv_buf *out, const struct kv_log_field *field,
                              size_t text_max)
{
    (void)kv_buf_append_str(out, "KEYVAULT_");
    for (const char *p = field->name; *p != '\0'; p++) {
        char c = *p;
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        (void)kv_buf_append(out, &c, 1);
    }
    if (field->text != NULL)
        put_journal(out, field->text, strnlen(field->text, text_max));
    else
        (void)kv_buf_appendf(out, "=%" PRId64 "\n", field->number);
}

static void format_journal(const struct kv_log_record *record, struct kv_buf *out)
{
    (void)kv_buf_appendf(out, "PRIORITY=%d\n", level_priority(record->level));
    (void)kv_buf_append_str(out, "SYSLOG_IDENTIFIER");
    put_journal(out, record->program, strlen(record->program));
    (void)kv_buf_append_str(out, "KEYVAULT_EVENT");
    put_journal(out, record->event, strlen(record->event));
    for (size_t i = 0; i < record->n_fields; i++)
        put_journal_field(out, &record->fields[i], record->text_max);
    /* The sentence has escaped every line feed. */
    (void)kv_buf_append_str(out, "MESSAGE=");
    put_sentence(out, record);
    (void)kv_buf_append(out, "\n", 1);
}

int kv_log_format(enum kv_log_format format, const struct kv_log_record *record,
                  struct kv_buf *out)
{
    switch (format) {
    case KV_LOG_TEXT:
        format_text(record, out);
        break;
    case KV_LOG_JSON:
        format_json(record, out);
        break;
    case KV_LOG_JOURNALD:
        format_journal(record, out);
        break;
    }
    return kv_buf_status(out);
}
