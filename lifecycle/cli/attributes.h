/*
 * Attributes and tags of an object from command-line flags, as the REST API has them
 * in its requests.
 */
#ifndef KV_LIFECYCLE_CLI_ATTRIBUTES_H
#define KV_LIFECYCLE_CLI_ATTRIBUTES_H

#include "lifecycle/cli/cli.h"

/* Read those of the flags below that the command takes into a request body: members
 * `attributes` and `tags`, neither when no flag asks for it. cli.bad-flag. */
int kv_attributes_read(const struct kv_cli *cli, json_t *body,
                       struct kv_err *err) KV_MUST_CHECK;

/* A moment as flags have it: Unix seconds, YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ (UTC).
 * False when `text` is none. */
bool kv_attributes_time(const char *text, int64_t *seconds);

#define KV_TAG_FLAGS                                                                   \
    {"tag", "NAME=VALUE...", "a tag; may be given again"},                             \
    {                                                                                  \
        "tags", "A=B,C=D", "several tags at once"                                      \
    }
#define KV_DATE_FLAGS                                                                  \
    {"expires", "TIME", "when it expires: YYYY-MM-DD, or Unix seconds"},               \
    {                                                                                  \
        "not-before", "TIME", "when it begins to be valid"                             \
    }

/* For what makes an object. */
#define KV_ATTRIBUTE_FLAGS                                                             \
    KV_TAG_FLAGS, KV_DATE_FLAGS,                                                       \
    {                                                                                  \
        "disabled", NULL, "make it disabled"                                           \
    }

/* For what changes one; the tags that are given replace those it has. */
#define KV_CHANGE_FLAGS                                                                \
    {"enabled", NULL, "let it be used"}, {"disabled", NULL, "let it not be used"},     \
        KV_TAG_FLAGS,                                                                  \
    {                                                                                  \
        "no-tags", NULL, "remove all tags"                                             \
    }

#endif
