/* Reads test fixtures; KV_FIXTURES is their folder, set by the build. */
#include "tests/support/fixture.h"

#include <stdio.h>
#include <stdlib.h>

void fixture_read(const char *name, struct kv_buf *buf)
{
    char path[1024];
    char chunk[4096];
    size_t n = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", KV_FIXTURES, name); /* short names */
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        abort();
    }
    kv_buf_init_secret(buf, 1048576);
    while ((n = fread(chunk, 1, sizeof(chunk), file)) > 0)
        KV_ASSERT(kv_buf_append(buf, chunk, n) == 0);
    KV_ASSERT(ferror(file) == 0);
    (void)fclose(file); /* only read */
}

struct kv_bytes fixture_bytes(const struct kv_buf *buf)
{
    return (struct kv_bytes){.data = buf->data, .len = buf->len};
}
