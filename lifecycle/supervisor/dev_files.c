/*
 * Text for two readers with different quoting: OpenSSL's configuration (a backslash
 * before anything that is no plain path character) and the shell (single quotes).
 */
#include "lifecycle/supervisor/dev_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/core/secret.h"
#include "store/core/str.h"

static void put_cnf_value(struct kv_buf *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool is_plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                        (*c >= '0' && *c <= '9') || strchr("/._-+@:,", *c) != NULL ||
                        ((unsigned char)*c & 0x80) != 0;
        if (!is_plain)
            (void)kv_buf_append_str(out, "\\");
        (void)kv_buf_append(out, c, 1);
    }
}

static void put_cnf(struct kv_buf *out, const char *name, const char *dir,
                    const char *file)
{
    (void)kv_buf_append_str(out, name);
    (void)kv_buf_append_str(out, " = ");
    put_cnf_value(out, dir);
    put_cnf_value(out, file);
    (void)kv_buf_append_str(out, "\n");
}

int kv_dev_openssl_cnf(const struct kv_dev_facts *facts, struct kv_buf *out)
{
    char id[2 * KV_ID_LEN + 1];
    kv_hex_encode(id, facts->installation, KV_ID_LEN);
    (void)kv_buf_append_str(out,
                            "# Written by keyvaultd --dev; see keyvault-provider(7).\n"
                            "# The order matters: default first, then keyvault.\n"
                            "openssl_conf = openssl_init\n"
                            "nodejs_conf = openssl_init\n"
                            "\n"
                            "[openssl_init]\n"
                            "providers = provider_sect\n"
                            "\n"
                            "[provider_sect]\n"
                            "default = default_sect\n"
                            "keyvault = keyvault_sect\n"
                            "\n"
                            "[default_sect]\n"
                            "activate = 1\n"
                            "\n"
                            "[keyvault_sect]\n");
    put_cnf(out, "module", facts->module, "");
    (void)kv_buf_append_str(out, "activate = 1\n");
    put_cnf(out, "socket", facts->dir, "/keys.sock");
    (void)kv_buf_appendf(out, "abstract-socket = @keyvault/%s/keys\n", id);
    (void)kv_buf_appendf(out, "server-uid = %u\n", (unsigned)facts->server_uid);
    (void)kv_buf_append_str(out, "\n"
                                 "# What openssl req and x509 look for.\n"
                                 "[req]\n"
                                 "distinguished_name = req_distinguished_name\n"
                                 "x509_extensions = v3_ca\n"
                                 "string_mask = utf8only\n"
                                 "\n"
                                 "[req_distinguished_name]\n"
                                 "commonName = Common Name\n"
                                 "\n"
                                 "[v3_ca]\n"
                                 "subjectKeyIdentifier = hash\n"
                                 "authorityKeyIdentifier = keyid:always,issuer\n"
                                 "basicConstraints = critical,CA:true\n");
    return kv_buf_status(out);
}

static void put_quoted(struct kv_buf *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\'')
            (void)kv_buf_append_str(out, "'\\''");
        else
            (void)kv_buf_append(out, c, 1);
    }
}

static void put_export(struct kv_buf *out, const char *name, const char *value,
                       const char *more)
{
    (void)kv_buf_append_str(out, "export ");
    (void)kv_buf_append_str(out, name);
    (void)kv_buf_append_str(out, "='");
    put_quoted(out, value);
    put_quoted(out, more);
    (void)kv_buf_append_str(out, "'\n");
}

int kv_dev_env(const struct kv_dev_facts *facts, struct kv_buf *out)
{
    char port[16];
    (void)snprintf(port, sizeof(port), "%u", facts->port);
    (void)kv_buf_append_str(out,
                            "# Written by keyvaultd --dev: read it with `. env`.\n");
    (void)kv_buf_append_str(out, "export KEYVAULT_API='unix:");
    put_quoted(out, facts->dir);
    (void)kv_buf_append_str(out, "/api.sock'\n");
    put_export(out, "KEYVAULT_KEYS_SOCKET", facts->dir, "/keys.sock");
    put_export(out, "OPENSSL_CONF", facts->dir, "/openssl.cnf");
    put_export(out, "KEYVAULT_TOKEN", facts->token, "");
    put_export(out, "KEYVAULT_URL", "https://default.vault.localhost:", port);
    put_export(out, "KEYVAULT_AUTHORITY", "https://localhost:", port);
    put_export(out, "KEYVAULT_TENANT", facts->tenant, "");
    put_export(out, "KEYVAULT_CA", facts->dir, "/ca.pem");
    (void)kv_buf_append_str(out, "case \":$PATH:\" in\n*:'");
    put_quoted(out, facts->program_dir);
    (void)kv_buf_append_str(out, "':*) ;;\n*) export PATH='");
    put_quoted(out, facts->program_dir);
    (void)kv_buf_append_str(out, "'\":$PATH\" ;;\nesac\n");
    return kv_buf_status(out);
}

static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int kv_file_write(const char *path, mode_t mode, const void *data, size_t len,
                  struct kv_err *err)
{
    char part[PATH_MAX];
    int n = snprintf(part, sizeof(part), "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof(part))
        return kv_err_set(err, KV_E_IO, "file.not-written", "%s: the path is too long",
                          path);
    int rc = 0;
    int fd = -1;
    (void)unlink(part); /* of an earlier life that ended in between */
    fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fchmod(fd, mode) != 0 || write_all(fd, data, len) != 0 ||
        fsync(fd) != 0 || rename(part, path) != 0)
        rc = kv_err_errno(err, errno, "file.not-written", path);
    if (fd >= 0)
        (void)close(fd);
    if (rc != 0)
        (void)unlink(part);
    return rc;
}

int kv_file_read_line(const char *path, char *out, size_t out_size, struct kv_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kv_err_errno(err, errno, "file.not-read", path);
    ssize_t n = read(fd, out, out_size);
    int failed = errno;
    (void)close(fd);
    if (n < 0)
        return kv_err_errno(err, failed, "file.not-read", path);
    if ((size_t)n >= out_size)
        return kv_err_set(err, KV_E_TOO_BIG, "file.too-big",
                          "%s is longer than %zu bytes", path, out_size - 1);
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r'))
        n--;
    out[n] = '\0';
    return 0;
}
