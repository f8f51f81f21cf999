#include "tests/support/residue.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/core/secret.h"

enum { MARKS_MAX = 8, CHUNK = 65536, MASK = 0x5a };

static uint8_t masked[MARKS_MAX][KV_RESIDUE_MARK];
static size_t n_marks;

void kv_residue_reset(void)
{
    n_marks = 0;
}

void kv_residue_learn(const uint8_t *number, size_t len, size_t at)
{
    KV_ASSERT(at + KV_RESIDUE_MARK <= len && n_marks + 2 <= MARKS_MAX);
    for (size_t i = 0; i < KV_RESIDUE_MARK; i++) {
        masked[n_marks][i] = number[at + i] ^ MASK;
        masked[n_marks + 1][i] = number[at + KV_RESIDUE_MARK - 1 - i] ^ MASK;
    }
    n_marks += 2;
}

static size_t count_in(const uint8_t *data, size_t len, size_t which)
{
    size_t n_found = 0;
    for (size_t at = 0; at + KV_RESIDUE_MARK <= len; at++) {
        size_t i = 0;
        while (i < KV_RESIDUE_MARK && (data[at + i] ^ MASK) == masked[which][i])
            i++;
        n_found += i == KV_RESIDUE_MARK;
    }
    return n_found;
}

static size_t scan_range(int mem, unsigned long from, unsigned long to)
{
    static uint8_t chunk[CHUNK + KV_RESIDUE_MARK - 1];
    size_t n_found = 0;
    for (unsigned long at = from; at < to; at += CHUNK) {
        size_t want = to - at < sizeof(chunk) ? to - at : sizeof(chunk);
        ssize_t n = pread(mem, chunk, want, (off_t)at);
        for (size_t which = 0; n > 0 && which < n_marks; which++)
            n_found += count_in(chunk, (size_t)n, which);
        kv_wipe(chunk, sizeof(chunk)); /* or it would be found itself */
    }
    return n_found;
}

size_t kv_residue_count(void)
{
    char line[512];
    size_t n_found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    KV_ASSERT(maps != NULL && mem >= 0);
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long from = 0;
        unsigned long to = 0;
        char access[8] = "";
        if (sscanf(line, "%lx-%lx %7s", &from, &to, access) == 3 && access[0] == 'r' &&
            access[1] == 'w' && to - from < (256UL << 20))
            n_found += scan_range(mem, from, to);
    }
    close(mem);
    (void)fclose(maps); /* only read */
    return n_found;
}

uint8_t *kv_residue_plant(void)
{
    uint8_t *planted = malloc(KV_RESIDUE_MARK);
    KV_ASSERT(planted != NULL);
    for (size_t i = 0; i < KV_RESIDUE_MARK; i++)
        planted[i] = masked[0][i] ^ MASK;
    return planted;
}

void kv_residue_pull(uint8_t *planted)
{
    kv_wipe(planted, KV_RESIDUE_MARK);
    free(planted);
}
