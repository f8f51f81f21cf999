/*
 * Finding role executables and the provider module.
 *
 * A build tree must never start the programs of an installed version, so what stands
 * beside /proc/self/exe comes first. The installed layout has keyvaultd in sbin and
 * the roles in libexec: there nothing stands beside it and the compiled-in places
 * count.
 */
#include "lifecycle/supervisor/paths.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int kv_path_join(char out[PATH_MAX], const char *dir, const char *name,
                 struct kv_err *err)
{
    char joined[PATH_MAX];
    int n = snprintf(joined, sizeof(joined), "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(joined))
        return kv_err_set(err, KV_E_TOO_BIG, "supervisor.path-too-long",
                          "the path of %s is longer than the system allows", name);
    memcpy(out, joined, (size_t)n + 1);
    return 0;
}

static int own_dir(char out[PATH_MAX], struct kv_err *err)
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n < 0)
        return kv_err_errno(err, errno, "supervisor.no-self", "/proc/self/exe");
    out[n] = '\0';
    char *slash = strrchr(out, '/');
    if (slash != NULL)
        *slash = '\0';
    return 0;
}

/* Look for `name` beside the program and then in `dir`. */
static int find(char out[PATH_MAX], const struct kv_paths *paths, const char *dir,
                const char *name, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(kv_path_join(out, paths->self_dir, name, err));
    if (access(out, F_OK) != 0)
        KV_TRY(kv_path_join(out, dir, name, err));
out:
    return rc;
}

static int find_program(char out[PATH_MAX], const struct kv_paths *paths,
                        const char *name, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(find(out, paths, KV_LIBEXECDIR, name, err));
    if (access(out, X_OK) != 0) {
        rc = kv_err_set(err, KV_E_NOT_FOUND, "supervisor.missing-program",
                        "%s is neither in %s nor in %s", name, paths->self_dir,
                        KV_LIBEXECDIR);
        kv_err_hint(err, "install keyvault completely, or build it: meson compile -C "
                         "build");
    }
out:
    return rc;
}

int kv_paths_find(struct kv_paths *out, struct kv_err *err)
{
    int rc = 0;
    KV_TRY(own_dir(out->self_dir, err));
    KV_TRY(find_program(out->keyring, out, "keyvault-keyring", err));
    KV_TRY(find_program(out->service, out, "keyvault-service", err));
    KV_TRY(find(out->module, out, KV_MODULESDIR, "keyvault.so", err));
    KV_TRY(find(out->cli_dir, out, KV_BINDIR, "keyvault", err));
    *strrchr(out->cli_dir, '/') = '\0';
out:
    return rc;
}

int kv_paths_program(char out[PATH_MAX], const char *name, struct kv_err *err)
{
    struct kv_paths paths;
    int rc = own_dir(paths.self_dir, err);
    return rc != 0 ? rc : find_program(out, &paths, name, err);
}
