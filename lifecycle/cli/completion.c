/*
 * keyvault completion bash | zsh | fish: scripts made from the table of commands, so
 * that they cannot disagree with it.
 *
 * The three have the same shape: what stands before the cursor is "", a noun, or a
 * noun and a verb, and for each there is a list of words.
 */
#include <string.h>

#include "lifecycle/cli/cli.h"

static bool is_first_of_noun(const struct kv_command *command)
{
    return command == kv_commands || strcmp(command[-1].noun, command->noun) != 0;
}

static void print_nouns(void)
{
    for (const struct kv_command *c = kv_commands; c->noun != NULL; c++) {
        if (is_first_of_noun(c))
            (void)printf("%s ", c->noun);
    }
}

static void print_verbs(const char *noun)
{
    for (const struct kv_command *c = kv_commands; c->noun != NULL; c++) {
        if (strcmp(c->noun, noun) == 0 && c->verb != NULL)
            (void)printf("%s ", c->verb);
    }
}

/* "show|set NAME": words of its own that a command has behind the verb. */
static void print_choices(const struct kv_command *command)
{
    const size_t len = strcspn(command->args, " ");
    if (memchr(command->args, '|', len) == NULL || command->args[0] < 'a')
        return;
    for (size_t i = 0; i < len; i++)
        (void)putchar(command->args[i] == '|' ? ' ' : command->args[i]);
    (void)putchar(' ');
}

static void print_flags(const struct kv_command *command)
{
    print_choices(command);
    for (size_t i = 0; command->flags != NULL && command->flags[i].name != NULL; i++)
        (void)printf("--%s ", command->flags[i].name);
    for (size_t i = 0; kv_global_flags[i].name != NULL; i++)
        (void)printf("--%s ", kv_global_flags[i].name);
}

/* A `case` over "NOUN VERB" that sets $words; sh, bash and zsh read it. */
static void print_cases(void)
{
    (void)printf("  case \"$at\" in\n    '') words='");
    print_nouns();
    (void)printf("' ;;\n");
    for (const struct kv_command *c = kv_commands; c->noun != NULL; c++) {
        if (is_first_of_noun(c) && c->verb != NULL) {
            (void)printf("    '%s') words='", c->noun);
            print_verbs(c->noun);
            (void)printf("' ;;\n");
        }
        (void)printf("    '%s%s%s'*) words='", c->noun, c->verb != NULL ? " " : "",
                     c->verb != NULL ? c->verb : "");
        print_flags(c);
        (void)printf("' ;;\n");
    }
    (void)printf("  esac\n");
}

static void print_bash(void)
{
    (void)printf("# bash completion for keyvault; put it into\n"
                 "# /usr/share/bash-completion/completions/keyvault\n"
                 "_keyvault() {\n"
                 "  local at='' words='' i\n"
                 "  for ((i = 1; i < COMP_CWORD && i < 3; i++)); do\n"
                 "    at=\"${at:+$at }${COMP_WORDS[i]}\"\n"
                 "  done\n");
    print_cases();
    (void)printf(
        "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
        "  [ ${#COMPREPLY[@]} -gt 0 ] ||\n"
        "    COMPREPLY=($(compgen -f -- \"${COMP_WORDS[COMP_CWORD]}\"))\n"
        "}\n"
        "complete -F _keyvault keyvault\n");
}

static void print_zsh(void)
{
    (void)printf("#compdef keyvault\n"
                 "# zsh completion for keyvault; put it into a directory of $fpath as "
                 "_keyvault\n"
                 "_keyvault() {\n"
                 "  local at='' i\n"
                 "  for ((i = 2; i < CURRENT && i < 4; i++)); do\n"
                 "    at=\"${at:+$at }${words[i]}\"\n"
                 "  done\n"
                 "  _keyvault_words \"$at\"\n"
                 "  compadd -- ${=REPLY} || _files\n"
                 "}\n"
                 "_keyvault_words() {\n"
                 "  local at=\"$1\" words=''\n");
    print_cases();
    (void)printf("  REPLY=\"$words\"\n"
                 "}\n"
                 "_keyvault \"$@\"\n");
}

static void fish_text(const char *text)
{
    (void)putchar('\'');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'' || *c == '\\')
            (void)putchar('\\');
        (void)putchar(*c);
    }
    (void)putchar('\'');
}

static void fish_flags(const struct kv_flag *flags, const char *condition)
{
    for (size_t i = 0; flags != NULL && flags[i].name != NULL; i++) {
        (void)printf("complete -c keyvault %s -l %s%s -d ", condition, flags[i].name,
                     flags[i].value != NULL ? " -r" : "");
        fish_text(flags[i].help);
        (void)putchar('\n');
    }
}

static void print_fish(void)
{
    (void)printf("# fish completion for keyvault; put it into\n"
                 "# ~/.config/fish/completions/keyvault.fish\n"
                 "complete -c keyvault -n '__fish_use_subcommand' -f\n");
    for (const struct kv_command *c = kv_commands; c->noun != NULL; c++) {
        char condition[200];
        if (is_first_of_noun(c)) {
            (void)printf("complete -c keyvault -n '__fish_use_subcommand' -f -a %s\n",
                         c->noun);
        }
        if (c->verb == NULL) {
            (void)snprintf(condition, sizeof(condition),
                           "-n '__fish_seen_subcommand_from %s'", c->noun);
        } else {
            (void)printf("complete -c keyvault -n '__fish_seen_subcommand_from %s' -f "
                         "-a %s -d ",
                         c->noun, c->verb);
            fish_text(c->summary);
            (void)putchar('\n');
            (void)snprintf(condition, sizeof(condition),
                           "-n '__fish_seen_subcommand_from %s; and "
                           "__fish_seen_subcommand_from %s'",
                           c->noun, c->verb);
        }
        fish_flags(c->flags, condition);
    }
    fish_flags(kv_global_flags, "");
}

int kv_completion_run(struct kv_cli *cli, struct kv_err *err)
{
    const char *shell = cli->invocation.args[0];
    if (strcmp(shell, "bash") == 0)
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    else if (strcmp(shell, "fish") == 0)
        print_fish();
    else
        return kv_cli_bad(err, "the shell is bash, zsh or fish, not '%s'", shell);
    return 0;
}
