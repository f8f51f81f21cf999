/*
 * Runs a fuzz target over stored inputs without a fuzzer: one call per plain file
 * of each folder (or file) named on the command line. So every compiler and every
 * sanitizer build repeats what fuzzing once found.
 *
 * Each input sits alone on the heap at its exact size; a read behind its end is
 * visible to a sanitizer. No input at all is a failure: the path was wrong.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX ((size_t)8 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Returns 0, or 1 after telling why. */
static int replay_file(const char *path, size_t len)
{
    int rc = 1;
    uint8_t *data = NULL;
    FILE *file = fopen(path, "rb");
    if (file == NULL || len > INPUT_MAX)
        goto out;
    data = malloc(len == 0 ? 1 : len);
    if (data == NULL || fread(data, 1, len, file) != len)
        goto out;
    (void)LLVMFuzzerTestOneInput(data, len); /* always 0 by libFuzzer's contract */
    rc = 0;
out:
    if (rc != 0)
        (void)fprintf(stderr, "replay: cannot read %s\n", path);
    free(data);
    if (file != NULL)
        (void)fclose(file); /* read only */
    return rc;
}

static int replay_folder(const char *path, unsigned *n_inputs)
{
    int rc = 0;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        (void)fprintf(stderr, "replay: cannot open folder %s\n", path);
        return 1;
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL;
         entry = readdir(dir)) {
        char name[4096];
        struct stat st;
        int n = snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(name) || stat(name, &st) != 0 ||
            !S_ISREG(st.st_mode))
            continue;
        rc |= replay_file(name, (size_t)st.st_size);
        (*n_inputs)++;
    }
    (void)closedir(dir); /* read only */
    return rc;
}

int main(int argc, char **argv)
{
    unsigned n_inputs = 0;
    int rc = 0;
    if (LLVMFuzzerInitialize != NULL)
        (void)LLVMFuzzerInitialize(&argc, &argv); /* always 0 by contract */
    for (int i = 1; i < argc; i++) {
        struct stat st;
        if (stat(argv[i], &st) == 0 && S_ISREG(st.st_mode)) {
            rc |= replay_file(argv[i], (size_t)st.st_size);
            n_inputs++;
        } else {
            rc |= replay_folder(argv[i], &n_inputs);
        }
    }
    (void)printf("replayed %u inputs\n", n_inputs);
    return rc != 0 || n_inputs == 0 ? 1 : 0;
}
