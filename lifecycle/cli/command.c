/*
 * Reading a command line against the table in commands.c, and printing the table.
 *
 * Flags may stand anywhere; `--flag value` and `--flag=value` are the same; what
 * follows `--` is no flag. A flag is never guessed from its beginning, because scripts
 * that do so break when another flag is added; a wrong one is answered with the
 * nearest right one.
 */
#include "lifecycle/cli/command.h"

#include <stdarg.h>
#include <string.h>

#include "store/core/str.h"

const struct kv_flag kv_global_flags[] = {
    {"vault", "NAME", "the vault (default: $KEYVAULT_VAULT, or the default vault)"},
    {"version", "V", "one version of the object, 32 hexadecimal digits"},
    {"json", NULL, "print the answer of the API; lists as one array"},
    {"help", NULL, "explain the command"},
    {0},
};

__attribute__((format(printf, 3, 4))) static int
usage(struct kv_err *err, const struct kv_invocation *at, const char *format, ...)
{
    char text[KV_ERR_TEXT_MAX];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    (void)kv_err_set(err, KV_E_INVALID, "cli.usage", "%s", text);
    if (at->command != NULL)
        kv_err_hint(err, "keyvault %s%s%s --help", at->command->noun,
                    at->command->verb != NULL ? " " : "",
                    at->command->verb != NULL ? at->command->verb : "");
    else if (at->noun != NULL)
        kv_err_hint(err, "keyvault %s --help", at->noun);
    else
        kv_err_hint(err, "keyvault --help");
    return KV_E_INVALID;
}

/* --- finding ------------------------------------------------------------------- */

static bool is_noun(const char *word)
{
    for (const struct kv_command *c = kv_commands; c->noun != NULL; c++) {
        if (strcmp(c->noun, word) == 0)
            return true;
    }
    return false;
}

static const struct kv_command *find_command(const char *noun, const char *verb)
{
    for (const struct kv_command *c = kv_commands; c->noun != NULL; c++) {
        bool has_verb = verb != NULL && c->verb != NULL && strcmp(c->verb, verb) == 0;
        if (strcmp(c->noun, noun) == 0 &&
            (has_verb || (verb == NULL && c->verb == NULL)))
            return c;
    }
    return NULL;
}

/* Index of a flag in a table, -1 when it has none. `len` bytes of `name` count. */
static int find_flag(const struct kv_flag *flags, const char *name, size_t len)
{
    for (int i = 0; flags != NULL && flags[i].name != NULL; i++) {
        if (strlen(flags[i].name) == len && strncmp(flags[i].name, name, len) == 0)
            return i;
    }
    return -1;
}

/* Edit distance of two short words, for suggestions. */
static size_t distance(const char *a, const char *b)
{
    size_t row[40];
    size_t a_len = strlen(a);
    size_t b_len = strlen(b);
    if (a_len >= 40 || b_len >= 40)
        return 40;
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1] ? 1 : 0);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[b_len];
}

static const char *nearest_flag(const struct kv_flag *flags, const char *name,
                                const char *best)
{
    for (size_t i = 0; flags != NULL && flags[i].name != NULL; i++) {
        size_t d = distance(flags[i].name, name);
        if (d <= 2 && (best == NULL || d < distance(best, name)))
            best = flags[i].name;
    }
    return best;
}

/* --- parsing ------------------------------------------------------------------- */

struct words {
    int argc;
    char **argv;
    int at;
};

/* Where the value of a global flag goes. */
static const char **global_value(struct kv_invocation *out, int i)
{
    return strcmp(kv_global_flags[i].name, "vault") == 0 ? &out->vault : &out->version;
}

static int set_switch(struct kv_invocation *out, int i, struct kv_err *err)
{
    if (strcmp(kv_global_flags[i].name, "help") == 0) {
        out->wants_help = true;
        return 0;
    }
    if (out->as_json)
        return usage(err, out, "--json is given twice");
    out->as_json = true;
    return 0;
}

static bool may_repeat(const struct kv_flag *flag)
{
    const size_t len = flag->value != NULL ? strlen(flag->value) : 0;
    return len > 3 && strcmp(flag->value + len - 3, "...") == 0;
}

/* The value of the flag at hand: behind its '=' or the next word. */
static int take_value(struct words *words, const char *equals,
                      const struct kv_flag *flag, struct kv_invocation *out,
                      const char **value, struct kv_err *err)
{
    if (*value != NULL && !may_repeat(flag))
        return usage(err, out, "--%s is given twice", flag->name);
    if (*value != NULL && out->n_more == KV_CLI_MORE_MAX)
        return usage(err, out, "--%s is given too often", flag->name);
    if (*value != NULL) {
        struct kv_flag_more *more = &out->more[out->n_more++];
        more->flag = flag;
        value = &more->value;
    }
    if (equals != NULL) {
        *value = equals + 1;
        return 0;
    }
    if (words->at + 1 >= words->argc)
        return usage(err, out, "--%s wants a value", flag->name);
    *value = words->argv[++words->at];
    return 0;
}

static int unknown_flag(struct kv_invocation *out, const char *name, struct kv_err *err)
{
    const struct kv_flag *own = out->command != NULL ? out->command->flags : NULL;
    const char *best = nearest_flag(kv_global_flags, name, NULL);
    best = nearest_flag(own, name, best);
    (void)kv_err_set(err, KV_E_INVALID, "cli.usage", "there is no flag --%s", name);
    if (best != NULL)
        kv_err_hint(err, "did you mean --%s?", best);
    return usage(err, out, "there is no such flag");
}

static int parse_flag(struct words *words, struct kv_invocation *out,
                      struct kv_err *err)
{
    const char *name = words->argv[words->at] + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct kv_flag *table = out->command != NULL ? out->command->flags : NULL;
    const char **value = NULL;
    int i = find_flag(table, name, len);
    if (table != NULL && i >= 0) {
        value = &out->flags[i];
    } else {
        table = kv_global_flags;
        i = find_flag(table, name, len);
        if (i < 0)
            return unknown_flag(out, name, err);
        value = table[i].value != NULL ? global_value(out, i) : NULL;
    }
    if (table[i].value != NULL && value != NULL)
        return take_value(words, equals, &table[i], out, value, err);
    if (equals != NULL)
        return usage(err, out, "--%s takes no value", table[i].name);
    if (value == NULL)
        return set_switch(out, i, err);
    if (*value != NULL)
        return usage(err, out, "--%s is given twice", table[i].name);
    *value = "";
    return 0;
}

/* A word that is no flag: noun, verb or argument, in this order. */
static int parse_word(struct kv_invocation *out, const char *word, struct kv_err *err)
{
    if (out->command != NULL) {
        if (out->n_args == KV_CLI_ARGS_MAX)
            return usage(err, out, "'%s' is one argument too many", word);
        out->args[out->n_args++] = word;
        return 0;
    }
    if (out->noun == NULL) {
        if (strcmp(word, "help") == 0) {
            out->wants_help = true;
            return 0;
        }
        if (!is_noun(word))
            return usage(err, out, "there is no command '%s'", word);
        out->noun = word;
        out->command = find_command(word, NULL);
        return 0;
    }
    out->command = find_command(out->noun, word);
    if (out->command == NULL)
        return usage(err, out, "there is no such verb: '%s'", word);
    return 0;
}

/* How many arguments a command takes: words of `args`, those without [] needed. */
static void count_args(const char *args, size_t *n_min, size_t *n_max)
{
    *n_min = 0;
    *n_max = 0;
    bool in_word = false;
    for (const char *c = args; *c != '\0'; c++) {
        if (*c != ' ' && !in_word) {
            (*n_max)++;
            *n_min += *c != '[' ? 1 : 0;
        }
        in_word = *c != ' ';
    }
}

static int check_complete(struct kv_invocation *out, struct kv_err *err)
{
    if (out->wants_help || out->wants_version)
        return 0;
    if (out->command == NULL && out->noun == NULL)
        return usage(err, out, "a command is expected");
    if (out->command == NULL)
        return usage(err, out, "'%s' wants a verb behind it", out->noun);
    size_t n_min = 0;
    size_t n_max = 0;
    count_args(out->command->args, &n_min, &n_max);
    if (out->n_args < n_min)
        return usage(err, out, "expected: %s", out->command->args);
    if (out->n_args > n_max)
        return usage(err, out, "'%s' is one argument too many", out->args[n_max]);
    return 0;
}

int kv_command_parse(int argc, char **argv, struct kv_invocation *out,
                     struct kv_err *err)
{
    *out = (struct kv_invocation){0};
    struct words words = {.argc = argc, .argv = argv, .at = 1};
    bool flags_ended = false;
    /* The object's version is a global flag; alone it asks for the program's. */
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        out->wants_version = true;
        return 0;
    }
    for (; words.at < argc; words.at++) {
        const char *word = argv[words.at];
        int rc = 0;
        if (!flags_ended && strcmp(word, "--") == 0)
            flags_ended = true;
        else if (!flags_ended && strcmp(word, "-h") == 0)
            out->wants_help = true;
        else if (!flags_ended && kv_str_has_prefix(word, "--"))
            rc = parse_flag(&words, out, err);
        else if (!flags_ended && word[0] == '-' && word[1] != '\0')
            rc = usage(err, out, "flags begin with two hyphens: %s", word);
        else
            rc = parse_word(out, word, err);
        if (rc != 0)
            return rc;
    }
    return check_complete(out, err);
}

const char *kv_invocation_flag(const struct kv_invocation *invocation, const char *name)
{
    int i = find_flag(invocation->command->flags, name, strlen(name));
    KV_ASSERT(i >= 0 && i < KV_CLI_FLAGS_MAX);
    return invocation->flags[i];
}

const char *kv_invocation_flag_at(const struct kv_invocation *invocation,
                                  const char *name, size_t i)
{
    if (i == 0)
        return kv_invocation_flag(invocation, name);
    for (size_t n = 0; n < invocation->n_more; n++) {
        const struct kv_flag_more *more = &invocation->more[n];
        if (strcmp(more->flag->name, name) == 0 && --i == 0)
            return more->value;
    }
    return NULL;
}

bool kv_invocation_takes(const struct kv_invocation *invocation, const char *name)
{
    return find_flag(invocation->command->flags, name, strlen(name)) >= 0;
}

/* --- help ---------------------------------------------------------------------- */

static void print_flags(const struct kv_flag *flags, FILE *out)
{
    for (size_t i = 0; flags != NULL && flags[i].name != NULL; i++) {
        char left[64];
        (void)snprintf(left, sizeof(left), "--%s%s%s", flags[i].name,
                       flags[i].value != NULL ? " " : "",
                       flags[i].value != NULL ? flags[i].value : "");
        if (strlen(left) > 25)
            (void)fprintf(out, "  %s\n  %-26s%s\n", left, "", flags[i].help);
        else
            (void)fprintf(out, "  %-26s%s\n", left, flags[i].help);
    }
}

static void help_command(const struct kv_command *command, FILE *out)
{
    bool has_flags = command->flags != NULL && command->flags[0].name != NULL;
    (void)fprintf(out, "usage: keyvault %s%s%s%s%s%s\n\n%s.\n", command->noun,
                  command->verb != NULL ? " " : "",
                  command->verb != NULL ? command->verb : "",
                  command->args[0] != '\0' ? " " : "", command->args,
                  has_flags ? " [--flags]" : "", command->summary);
    if (command->notes != NULL)
        (void)fprintf(out, "%s\n", command->notes);
    if (has_flags) {
        (void)fputs("\n", out);
        print_flags(command->flags, out);
    }
    (void)fputs("\nEverywhere:\n", out);
    print_flags(kv_global_flags, out);
}

static void help_list(const char *noun, FILE *out)
{
    (void)fputs("usage: keyvault NOUN VERB [NAME] [--flags]\n\n", out);
    for (const struct kv_command *c = kv_commands; c->noun != NULL; c++) {
        if (noun != NULL && strcmp(c->noun, noun) != 0)
            continue;
        char left[64];
        (void)snprintf(left, sizeof(left), "%s%s%s%s%s", c->noun,
                       c->verb != NULL ? " " : "", c->verb != NULL ? c->verb : "",
                       c->args[0] != '\0' ? " " : "", c->args);
        if (strlen(left) > 32)
            (void)fprintf(out, "  %s\n  %-34s%s\n", left, "", c->summary);
        else
            (void)fprintf(out, "  %-34s%s\n", left, c->summary);
    }
    (void)fputs("\nEverywhere:\n", out);
    print_flags(kv_global_flags, out);
    (void)fputs("\nkeyvault NOUN VERB --help explains one command; see also "
                "keyvault(1).\n",
                out);
}

void kv_command_help(const struct kv_invocation *invocation, FILE *out)
{
    if (invocation->command != NULL)
        help_command(invocation->command, out);
    else
        help_list(invocation->noun, out);
}
