/*
 * Calls of the REST API for the commands: path and JSON in, JSON or an error out.
 * The first call opens the connection and, with --vault, finds that vault.
 */
#ifndef KV_LIFECYCLE_CLI_REST_H
#define KV_LIFECYCLE_CLI_REST_H

#include "lifecycle/cli/cli.h"

#define KV_API_DEFAULT_SOCKET "/run/keyvault/api.sock"
#define KV_REST_PATH_MAX 512

/* The address that this run talks to: $KEYVAULT_API or the default socket. */
const char *kv_rest_address(void);

/* Call `method` on `path` ("/keys/web", no query or one that begins with '?'); `body`
 * may be NULL. Any 2xx status is success; `*reply` (may be NULL when nobody looks) is
 * the parsed body, owned by the caller, or NULL for an empty one. A failure carries
 * the API's own id, message and hint:
 * KV_E_NOT_FOUND for 404, KV_E_DENIED for 401 and 403, KV_E_SEALED or KV_E_UNAVAILABLE
 * for 503, KV_E_CONFLICT for 409, KV_E_INVALID for other 4xx, KV_E_INTERNAL for 5xx. */
int kv_rest_call(struct kv_cli *cli, const char *method, const char *path,
                 const json_t *body, json_t **reply, struct kv_err *err) KV_MUST_CHECK;

/* Call and print: the body with --json, nothing otherwise. */
int kv_rest_print(struct kv_cli *cli, const char *path,
                  struct kv_err *err) KV_MUST_CHECK;

/* GET a list and follow its pages: `*items` is one array of all. */
int kv_rest_list(struct kv_cli *cli, const char *path, json_t **items,
                 struct kv_err *err) KV_MUST_CHECK;

/* Write a path from parts: "/keys/" name "/" version, without the last when "". */
int kv_rest_object_path(char out[KV_REST_PATH_MAX], const char *collection,
                        const char *name, const char *version) KV_MUST_CHECK;

/* The version at the end of an object id, or "". Borrowed from `id`. */
const char *kv_rest_id_version(const char *id);
/* The name in an object id ("https://host/keys/NAME[/VERSION]"). */
void kv_rest_id_name(const char *id, char *out, size_t out_size);

/* The vault that this run talks to: its name as the API spells it. Borrowed until the
 * next call. */
int kv_rest_vault_name(struct kv_cli *cli, char *out, size_t out_size,
                       struct kv_err *err) KV_MUST_CHECK;

#endif
