/*
 * What keys, secrets and certificates have in common on the command line: lists,
 * versions, and the fields of one object for a person to read.
 */
#ifndef KV_LIFECYCLE_CLI_OBJECT_H
#define KV_LIFECYCLE_CLI_OBJECT_H

#include "lifecycle/cli/cli.h"

/* "keyvault NOUN list" and "... versions NAME" of a collection ("keys"). */
int kv_object_list(struct kv_cli *cli, const char *collection,
                   struct kv_err *err) KV_MUST_CHECK;
int kv_object_versions(struct kv_cli *cli, const char *collection,
                       struct kv_err *err) KV_MUST_CHECK;

/* GET the object that NAME and --version name. */
int kv_object_get(struct kv_cli *cli, const char *collection, json_t **out,
                  struct kv_err *err) KV_MUST_CHECK;

/* The id of a bundle or list item: "id", "kid" or the kid of its "key"; "" if none. */
const char *kv_object_id(const json_t *object);

/* Print "name value" lines: what kv_object_print_common prints for every kind. */
void kv_object_print_field(const char *name, const char *value);
void kv_object_print_common(const json_t *object);

/* Read --tags "a=b,c=d", --expires and --not-before (Unix seconds or
 * YYYY-MM-DD[THH:MM:SS]Z, UTC) and --disabled into a request body. */
int kv_object_read_attributes(const struct kv_cli *cli, json_t *body,
                              struct kv_err *err) KV_MUST_CHECK;

/* A text member, "" when absent; borrowed. */
const char *kv_json_text(const json_t *object, const char *member);

/* The flags that kv_object_read_attributes reads, for command tables. */
#define KV_ATTRIBUTE_FLAGS                                                             \
    {"tags", "A=B,C=D", "tags of the new version"},                                    \
        {"expires", "TIME", "when it expires: YYYY-MM-DD, or Unix seconds"},           \
        {"not-before", "TIME", "when it begins to be valid"},                          \
    {                                                                                  \
        "disabled", NULL, "make it disabled"                                           \
    }

#endif
