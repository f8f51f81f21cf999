/*
 * memscan: look for the private parts of a known key in the memory of processes.
 *
 *   memscan --save FILE KEY.pem...    write what to look for (mode 0600)
 *   memscan --patterns FILE PID...    scan; prints one line per process
 *
 * Patterns of a key: every private number (RSA d p q dp dq qi, EC and Ed25519 d) as
 * big-endian bytes, as little-endian bytes (libcrypto's BIGNUM words on a
 * little-endian machine) and in base64url (JWK); and every line of the PEM file that
 * overlaps a private number by 16 bytes or more. Exit status: 0 nothing found, 1
 * found, 2 usage or failure. A process that cannot be read is a failure, never "not
 * found".
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_PATTERNS 512
#define MAX_LEN 1024
#define CHUNK ((size_t)1 << 20)

struct pattern {
    char what[48];
    uint16_t len;
    uint8_t bytes[MAX_LEN];
};

static struct pattern patterns[MAX_PATTERNS];
static size_t n_patterns;

static int add(const char *what, const uint8_t *bytes, size_t len)
{
    struct pattern *p = &patterns[n_patterns];

    if (n_patterns == MAX_PATTERNS || len > MAX_LEN)
        return -1;
    if (len < 16)
        return 0; /* too short to be told from chance */
    (void)snprintf(p->what, sizeof(p->what), "%s", what);
    p->len = (uint16_t)len;
    memcpy(p->bytes, bytes, len);
    n_patterns++;
    return 0;
}

static size_t base64(char *out, const uint8_t *in, size_t len, int is_url)
{
    size_t n = (size_t)EVP_EncodeBlock((unsigned char *)out, in, (int)len);

    if (!is_url)
        return n;
    while (n > 0 && out[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
    return n;
}

/* The lines of a PEM body whose bytes overlap [at, at + len) of the DER by >= 16. */
static int add_pem_lines(const char *name, const uint8_t *der, size_t der_len,
                         const uint8_t *part, size_t len)
{
    const uint8_t *at = memmem(der, der_len, part, len);
    char what[96];
    char text[80];

    if (at == NULL)
        return 0;
    size_t from = (size_t)(at - der);
    for (size_t line = 0; line + 48 <= der_len; line += 48) {
        size_t lo = line > from ? line : from;
        size_t hi = line + 48 < from + len ? line + 48 : from + len;
        if (hi < lo + 16)
            continue;
        size_t n = base64(text, der + line, 48, 0);
        (void)snprintf(what, sizeof(what), "%s in PEM", name);
        if (add(what, (const uint8_t *)text, n) != 0)
            return -1;
    }
    return 0;
}

static int add_number(const char *name, const uint8_t *be, size_t len,
                      const uint8_t *der, size_t der_len)
{
    uint8_t le[MAX_LEN];
    char text[MAX_LEN * 2];
    char what[64];

    if (len > MAX_LEN / 2)
        return -1;
    for (size_t i = 0; i < len; i++)
        le[i] = be[len - 1 - i];
    size_t n = base64(text, be, len, 1);
    (void)snprintf(what, sizeof(what), "%s big-endian", name);
    if (add(what, be, len) != 0)
        return -1;
    (void)snprintf(what, sizeof(what), "%s little-endian", name);
    if (add(what, le, len) != 0)
        return -1;
    (void)snprintf(what, sizeof(what), "%s base64url", name);
    if (add(what, (const uint8_t *)text, n) != 0)
        return -1;
    return add_pem_lines(name, der, der_len, be, len);
}

static int add_bignums(EVP_PKEY *key, const uint8_t *der, size_t der_len)
{
    static const struct {
        const char *param;
        const char *name;
    } part[] = {
        {OSSL_PKEY_PARAM_RSA_D, "RSA d"},
        {OSSL_PKEY_PARAM_RSA_FACTOR1, "RSA p"},
        {OSSL_PKEY_PARAM_RSA_FACTOR2, "RSA q"},
        {OSSL_PKEY_PARAM_RSA_EXPONENT1, "RSA dp"},
        {OSSL_PKEY_PARAM_RSA_EXPONENT2, "RSA dq"},
        {OSSL_PKEY_PARAM_RSA_COEFFICIENT1, "RSA qi"},
        {OSSL_PKEY_PARAM_PRIV_KEY, "EC d"},
    };
    int n_added = 0;

    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        BIGNUM *bn = NULL;
        uint8_t be[MAX_LEN];
        if (EVP_PKEY_get_bn_param(key, part[i].param, &bn) != 1)
            continue;
        int len = BN_bn2bin(bn, be);
        BN_clear_free(bn);
        if (add_number(part[i].name, be, (size_t)len, der, der_len) != 0)
            return -1;
        n_added++;
    }
    return n_added;
}

static int add_key(const char *path)
{
    FILE *file = fopen(path, "r");
    EVP_PKEY *key = file ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;
    uint8_t *der = NULL;
    uint8_t raw[64];
    size_t raw_len = sizeof(raw);
    int rc = -1;

    if (file != NULL)
        (void)fclose(file);
    if (key == NULL) {
        (void)fprintf(stderr, "memscan: cannot read a private key from %s\n", path);
        return -1;
    }
    PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
    int der_len = p8 ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : -1;
    if (der_len > 0) {
        int n = add_bignums(key, der, (size_t)der_len);
        if (n == 0 && EVP_PKEY_get_raw_private_key(key, raw, &raw_len) == 1)
            n = add_number("Ed25519 d", raw, raw_len, der, (size_t)der_len) == 0;
        rc = n > 0 ? 0 : -1;
    }
    OPENSSL_clear_free(der, der_len > 0 ? (size_t)der_len : 0);
    PKCS8_PRIV_KEY_INFO_free(p8);
    EVP_PKEY_free(key);
    return rc;
}

static int save(const char *path, char **keys)
{
    for (; *keys != NULL; keys++)
        if (add_key(*keys) != 0)
            return 2;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t len = n_patterns * sizeof(patterns[0]);
    if (fd < 0 || write(fd, patterns, len) != (ssize_t)len || close(fd) != 0) {
        (void)fprintf(stderr, "memscan: %s: %s\n", path, strerror(errno));
        return 2;
    }
    (void)printf("memscan: %zu patterns\n", n_patterns);
    return 0;
}

static int load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, patterns, sizeof(patterns));

    if (fd >= 0)
        (void)close(fd);
    if (n <= 0 || (size_t)n % sizeof(patterns[0]) != 0) {
        (void)fprintf(stderr, "memscan: %s: not a pattern file\n", path);
        return -1;
    }
    n_patterns = (size_t)n / sizeof(patterns[0]);
    return 0;
}

struct scan {
    pid_t pid;
    int mem;
    uint8_t *buf;
    uint64_t n_bytes;
    unsigned n_found;
};

/* Patterns by their first four bytes, so that one pass looks for all of them. */
#define N_BUCKETS 65536
static uint16_t bucket[N_BUCKETS];     /* a pattern's number + 1, 0: none */
static uint16_t next_in[MAX_PATTERNS]; /* the next one of the bucket, as above */

static unsigned bucket_of(const uint8_t *bytes)
{
    uint32_t word = 0;
    memcpy(&word, bytes, sizeof(word));
    return (word * 2654435761U) >> 16;
}

static void index_patterns(void)
{
    for (size_t i = 0; i < n_patterns; i++) {
        unsigned b = bucket_of(patterns[i].bytes);
        next_in[i] = bucket[b];
        bucket[b] = (uint16_t)(i + 1);
    }
}

static void scan_chunk(struct scan *scan, uint64_t at, size_t len)
{
    for (size_t i = 0; i + sizeof(uint32_t) <= len; i++) {
        unsigned n = bucket[bucket_of(scan->buf + i)];
        for (; n != 0; n = next_in[n - 1]) {
            const struct pattern *p = &patterns[n - 1];
            if (p->len > len - i || memcmp(scan->buf + i, p->bytes, p->len) != 0)
                continue;
            (void)printf("memscan: pid %d: FOUND %s at 0x%" PRIx64 "\n", (int)scan->pid,
                         p->what, at + (uint64_t)i);
            scan->n_found++;
        }
    }
}

/* Read a mapping in overlapping chunks; an unreadable page ends it (vvar, guard). */
static void scan_mapping(struct scan *scan, uint64_t from, uint64_t to)
{
    for (uint64_t at = from; at < to; at += CHUNK) {
        uint64_t left = to - at;
        size_t want = left < CHUNK + MAX_LEN ? (size_t)left : CHUNK + MAX_LEN;
        ssize_t n = pread(scan->mem, scan->buf, want, (off_t)at);
        if (n <= 0)
            return;
        scan->n_bytes += (uint64_t)n;
        scan_chunk(scan, at, (size_t)n);
    }
}

static int scan_process(struct scan *scan)
{
    char path[64];
    char line[512];

    (void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)scan->pid);
    scan->mem = open(path, O_RDONLY | O_CLOEXEC);
    (void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)scan->pid);
    FILE *maps = fopen(path, "r");
    if (scan->mem < 0 || maps == NULL) {
        (void)fprintf(stderr, "memscan: pid %d: %s\n", (int)scan->pid, strerror(errno));
        if (scan->mem >= 0)
            (void)close(scan->mem);
        if (maps != NULL)
            (void)fclose(maps);
        return -1;
    }
    while (fgets(line, sizeof(line), maps) != NULL) {
        char *end = NULL;
        uint64_t from = strtoull(line, &end, 16);
        uint64_t to = *end == '-' ? strtoull(end + 1, &end, 16) : from;
        if (*end == ' ' && end[1] == 'r')
            scan_mapping(scan, from, to);
    }
    (void)fclose(maps);
    (void)close(scan->mem);
    return scan->n_bytes > 0 ? 0 : -1;
}

static int scan_all(char **pids)
{
    uint8_t *buf = malloc(CHUNK + MAX_LEN);
    int status = 0;

    index_patterns();
    if (buf == NULL || *pids == NULL)
        status = 2;
    for (; status != 2 && *pids != NULL; pids++) {
        char *end = NULL;
        struct scan scan = {.pid = (pid_t)strtol(*pids, &end, 10), .buf = buf};
        if (*end != '\0' || scan_process(&scan) != 0) {
            (void)fprintf(stderr, "memscan: cannot scan '%s'\n", *pids);
            status = 2;
            break;
        }
        (void)printf("memscan: pid %d: %s (%" PRIu64 " KiB, %zu patterns)\n",
                     (int)scan.pid, scan.n_found ? "FOUND" : "not found",
                     scan.n_bytes / 1024, n_patterns);
        if (scan.n_found)
            status = 1;
    }
    free(buf);
    return status;
}

int main(int argc, char **argv)
{
    if (argc >= 4 && strcmp(argv[1], "--save") == 0)
        return save(argv[2], argv + 3);
    if (argc >= 4 && strcmp(argv[1], "--patterns") == 0)
        return load(argv[2]) == 0 ? scan_all(argv + 3) : 2;
    (void)fprintf(stderr, "usage: memscan --save FILE KEY.pem...\n"
                          "       memscan --patterns FILE PID...\n");
    return 2;
}
