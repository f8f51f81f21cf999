/*
 * The commands: one table that parsing, --help, usage errors and shell completion all
 * read. A command is a noun and a verb ("key create") or a noun alone ("status").
 */
#ifndef KV_LIFECYCLE_CLI_COMMAND_H
#define KV_LIFECYCLE_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "store/core/err.h"

#define KV_CLI_FLAGS_MAX 24
#define KV_CLI_ARGS_MAX 4
#define KV_CLI_MORE_MAX 64

struct kv_cli;

struct kv_flag {
    const char *name;  /* without the two hyphens */
    const char *value; /* what stands behind it ("FILE", "RSA|EC"); NULL: a switch;
                          "K=V..." with three dots: the flag may be given again */
    const char *help;
};

struct kv_command {
    const char *noun;
    const char *verb; /* NULL: the noun alone */
    const char *args; /* "NAME", "[URI]", "" : one word each, [] for optional ones */
    const char *summary;
    const struct kv_flag *flags; /* ended by a row without name */
    const char *notes;           /* further lines of --help, or NULL */
    int (*run)(struct kv_cli *cli, struct kv_err *err);
};

/* Ended by a row without noun. */
extern const struct kv_command kv_commands[];

/* Flags that every command takes, ended likewise. */
extern const struct kv_flag kv_global_flags[];

/* A second or further value of a flag that may be given again. */
struct kv_flag_more {
    const struct kv_flag *flag;
    const char *value;
};

/* A parsed command line; borrows from argv. */
struct kv_invocation {
    const struct kv_command *command; /* NULL: only help or the version was asked for */
    const char *noun;                 /* of a help request for a noun */
    const char *args[KV_CLI_ARGS_MAX];
    size_t n_args;
    const char *flags[KV_CLI_FLAGS_MAX]; /* parallel to command->flags; "" = a switch */
    struct kv_flag_more more[KV_CLI_MORE_MAX];
    size_t n_more;
    const char *vault;
    const char *version;
    bool as_json;
    bool wants_help;
    bool wants_version;
};

/* Parse. Returns 0 or KV_E_INVALID (cli.usage), with the help to ask for as hint. */
int kv_command_parse(int argc, char **argv, struct kv_invocation *out,
                     struct kv_err *err) KV_MUST_CHECK;

/* The value of a flag of this command: NULL when not given, "" for a switch. The name
 * must stand in the command's table. */
const char *kv_invocation_flag(const struct kv_invocation *invocation,
                               const char *name);

/* The i-th value of a flag that may be given again; NULL: there are no more. */
const char *kv_invocation_flag_at(const struct kv_invocation *invocation,
                                  const char *name, size_t i);

/* Whether the command has this flag at all: for code that several commands share. */
bool kv_invocation_takes(const struct kv_invocation *invocation, const char *name);

/* Print the help that the invocation asks for: of everything, a noun or a command. */
void kv_command_help(const struct kv_invocation *invocation, FILE *out);

#endif
