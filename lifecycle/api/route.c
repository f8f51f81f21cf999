/*
 * Path and method to route, without ever normalising the path: an empty segment is
 * how clients write "latest version" ("/keys/n//sign", "/secrets/n/").
 *
 * A pattern's {version} also matches a missing last segment, and any path may end in
 * one slash more. Of several matches the one with more literal segments wins, so
 * "/keys/n/versions" is a list and not a version.
 */
#include <stdio.h>
#include <string.h>

#include "lifecycle/api/internal.h"
#include "store/core/str.h"

#define SEGMENTS_MAX 6
#define SEGMENT_MAX (KV_NAME_MAX + 2)

struct path {
    size_t n;
    char segment[SEGMENTS_MAX][SEGMENT_MAX];
};

static const struct kv_route *const tables[] = {
    kv_routes_keys,         kv_routes_rotation, kv_routes_random,  kv_routes_secrets,
    kv_routes_certificates, kv_routes_contacts, kv_routes_issuers, kv_routes_deleted,
    kv_routes_backup,       kv_routes_admin,    kv_routes_apps,    kv_routes_vaults,
    kv_routes_access,       kv_routes_backups,  kv_routes_later,
};

/* Decode each segment; one that does not decode or fit becomes "%", which is neither
 * a literal nor a name. */
static bool split(const char *text, struct path *path)
{
    path->n = 0;
    if (*text != '/')
        return false;
    while (*text == '/') {
        text++;
        size_t len = strcspn(text, "/");
        if (path->n == SEGMENTS_MAX)
            return false;
        char *out = path->segment[path->n++];
        if (kv_percent_decode(text, len, out, SEGMENT_MAX) != 0)
            memcpy(out, "%", 2);
        text += len;
    }
    return true;
}

static bool is_param(const char *pattern, size_t len, const char *name)
{
    return len == strlen(name) && memcmp(pattern, name, len) == 0;
}

static bool is_literal(const char *pattern, size_t len, const char *segment)
{
    char text[64];
    kv_str_cut(text, sizeof(text), pattern, len);
    return kv_str_equal_nocase(text, segment);
}

/* Number of literal segments + 1, or 0 when the pattern does not match. */
static unsigned match_pattern(const char *pattern, const struct path *path,
                              struct kv_route_match *out)
{
    unsigned score = 1;
    size_t i = 0;
    out->name[0] = '\0';
    out->version[0] = '\0';
    while (*pattern == '/') {
        pattern++;
        size_t len = strcspn(pattern, "/");
        const char *segment = i < path->n ? path->segment[i] : NULL;
        if (is_param(pattern, len, "{version}")) {
            kv_str_cut(out->version, sizeof(out->version), segment ? segment : "",
                       segment ? strlen(segment) : 0);
        } else if (segment != NULL && is_param(pattern, len, "{name}")) {
            kv_str_cut(out->name, sizeof(out->name), segment, strlen(segment));
        } else if (segment != NULL && is_literal(pattern, len, segment)) {
            score++;
        } else {
            return 0;
        }
        pattern += len;
        i++;
    }
    bool is_end = i >= path->n || (i + 1 == path->n && path->segment[i][0] == '\0');
    return is_end ? score : 0;
}

static void add_method(struct kv_route_match *match, const char *method)
{
    size_t len = strlen(match->allow);
    if (strstr(match->allow, method) == NULL)
        (void)snprintf(match->allow + len, sizeof(match->allow) - len, "%s%s",
                       len > 0 ? ", " : "", method);
}

void kv_route_find(const char *method, const char *text, struct kv_route_match *match)
{
    struct path path;
    unsigned best = 0;
    memset(match, 0, sizeof(*match));
    if (!split(text, &path))
        return;
    for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++) {
        for (const struct kv_route *route = tables[t]; route->method != NULL; route++) {
            struct kv_route_match found;
            unsigned score = match_pattern(route->path, &path, &found);
            if (score == 0)
                continue;
            match->is_path_known = true;
            add_method(match, route->method);
            if (score <= best || strcmp(route->method, method) != 0)
                continue;
            best = score;
            match->route = route;
            memcpy(match->name, found.name, sizeof(match->name));
            memcpy(match->version, found.version, sizeof(match->version));
        }
    }
}

bool kv_route_names_object(const struct kv_route *route)
{
    return strstr(route->path, "{name}") != NULL &&
           strstr(route->path, "/issuers/") == NULL;
}

const char *kv_route_collection(const struct kv_route *route)
{
    static const char *const names[] = {"keys", "secrets", "certificates"};
    const char *first = route->path + 1;
    if (kv_str_has_prefix(first, "deleted"))
        first += strlen("deleted");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (kv_str_has_prefix(first, names[i]))
            return names[i];
    return NULL;
}
