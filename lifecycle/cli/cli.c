/*
 * What every command needs: checked arguments and flags, JSON on standard output.
 */
#include "lifecycle/cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "store/core/str.h"
#include "store/core/uri.h"

int kv_cli_bad(struct kv_err *err, const char *format, ...)
{
    char text[KV_ERR_TEXT_MAX];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    return kv_err_set(err, KV_E_INVALID, "cli.bad-flag", "%s", text);
}

int kv_cli_name(const struct kv_cli *cli, const char **name, struct kv_err *err)
{
    const char *text = cli->invocation.args[0];
    if (!kv_name_is_valid(text, strlen(text)))
        return kv_cli_bad(err,
                          "'%s' is no object name: 1 to 127 letters, digits and "
                          "hyphens",
                          text);
    *name = text;
    return 0;
}

int kv_cli_version(const struct kv_cli *cli, const char **version, struct kv_err *err)
{
    const char *text = cli->invocation.version != NULL ? cli->invocation.version : "";
    uint8_t bytes[KV_ID_LEN];
    if (cli->invocation.version != NULL && (strlen(text) != KV_VERSION_TEXT_LEN ||
                                            kv_hex_decode(bytes, KV_ID_LEN, text) != 0))
        return kv_cli_bad(err, "--version wants 32 hexadecimal digits, not '%s'", text);
    *version = text;
    return 0;
}

int kv_cli_number(const struct kv_cli *cli, const char *flag, int64_t min, int64_t max,
                  int64_t *out, struct kv_err *err)
{
    const char *text = kv_cli_flag(cli, flag);
    if (text != NULL && kv_str_to_i64(text, min, max, out) != 0)
        return kv_cli_bad(err, "--%s wants a number of %lld to %lld, not '%s'", flag,
                          (long long)min, (long long)max, text);
    return 0;
}

int kv_cli_list(const struct kv_cli *cli, const char *flag, json_t **out,
                struct kv_err *err)
{
    const char *text = kv_cli_flag(cli, flag);
    *out = NULL;
    if (text == NULL)
        return 0;
    json_t *list = json_array();
    bool is_good = text[0] != '\0';
    while (is_good && *text != '\0') {
        size_t len = strcspn(text, ",");
        is_good = len > 0 && json_array_append_new(list, json_stringn(text, len)) == 0;
        text += len + (text[len] == ',' ? 1 : 0);
    }
    if (is_good) {
        *out = list;
        return 0;
    }
    json_decref(list);
    return kv_cli_bad(err, "--%s wants values separated by commas", flag);
}

int kv_cli_print_json(const json_t *json, struct kv_err *err)
{
    size_t layout = isatty(STDOUT_FILENO) == 1 ? JSON_INDENT(2) : JSON_COMPACT;
    if (json == NULL)
        return 0;
    if (json_dumpf(json, stdout, layout | JSON_ENCODE_ANY) != 0 ||
        fputc('\n', stdout) == EOF)
        return kv_err_errno(err, errno, "cli.output", "standard output");
    return 0;
}

int kv_cli_flush(struct kv_err *err)
{
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        return kv_err_errno(err, errno != 0 ? errno : EIO, "cli.output",
                            "standard output");
    return 0;
}
