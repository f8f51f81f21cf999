/*
 * Where this process may read and write.
 */
#include "lifecycle/service/places.h"

#include <string.h>

#include "lifecycle/service/harden.h"
#include "store/core/str.h"

/* The directory of a file that is written, into `out`; NULL when there is none. */
static const char *dir_of(const char *path, char *out, size_t out_size)
{
    if (path == NULL)
        return NULL;
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return ".";
    if (slash == path)
        return "/";
    kv_str_cut(out, out_size, path, (size_t)(slash - path));
    return out;
}

int kv_places_restrict(const struct kv_service_options *options, const char *db_dir,
                       const char *audit_dir, struct kv_log *log, struct kv_err *err)
{
    char dirs[3][4096];
    const struct kv_allowed_path paths[] = {
        {"/usr", KV_ALLOW_READ},
        {"/lib", KV_ALLOW_READ},
        {"/lib64", KV_ALLOW_READ},
        {"/etc", KV_ALLOW_READ},
        {"/proc", KV_ALLOW_READ},
        {"/dev/urandom", KV_ALLOW_READ},
        {"/dev/null", KV_ALLOW_STORE},
        {"/run/systemd", KV_ALLOW_READ},
        {"/run/nscd", KV_ALLOW_READ},
        {db_dir, KV_ALLOW_STORE},
        {audit_dir, KV_ALLOW_STORE},
        {options->run, KV_ALLOW_WRITE},
        {dir_of(options->token_out, dirs[0], sizeof(dirs[0])), KV_ALLOW_WRITE},
        {dir_of(options->ca_out, dirs[1], sizeof(dirs[1])), KV_ALLOW_WRITE},
        {dir_of(options->port_out, dirs[2], sizeof(dirs[2])), KV_ALLOW_WRITE},
    };
    return kv_harden_paths(paths, sizeof(paths) / sizeof(paths[0]), log, err);
}
