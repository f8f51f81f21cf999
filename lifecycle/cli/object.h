/*
 * Reading keys, secrets and certificates on the command line: lists, versions, and the
 * fields of one object for a person.
 */
#ifndef KV_LIFECYCLE_CLI_OBJECT_H
#define KV_LIFECYCLE_CLI_OBJECT_H

#include "lifecycle/cli/cli.h"

/* GET the object that NAME and --version name from a collection ("keys"). */
int kv_object_get(struct kv_cli *cli, const char *collection, json_t **out,
                  struct kv_err *err) KV_MUST_CHECK;

/* The same from the collection of the running command's noun; with --deleted from
 * those that are deleted. */
int kv_object_get_shown(struct kv_cli *cli, json_t **out,
                        struct kv_err *err) KV_MUST_CHECK;

/* The id of a bundle or list item: "id", "kid" or the kid of its "key"; "" if none. */
const char *kv_object_id(const json_t *object);

/* Print "name value" lines: what kv_object_print_common prints for every kind. */
void kv_object_print_field(const char *name, const char *value);
void kv_object_print_common(const json_t *object);
/* The same for a time (Unix seconds; nothing for 0), and for the member "tags". */
void kv_object_print_time(const char *name, long long seconds);
void kv_object_print_tags(const json_t *object);

/* A text member, "" when absent; borrowed. */
const char *kv_json_text(const json_t *object, const char *member);
/* A number member, 0 when absent. */
long long kv_json_number(const json_t *object, const char *member);

#endif
