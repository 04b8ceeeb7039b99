/* tests/fuzz/replay.c - runs a fuzz target over files, without a fuzzer.
 *
 * Every argument is a file, or a directory whose files are taken (not its subdirectories). Linked
 * with one target each; `make test` replays the checked-in corpora with it. */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replayed;

static void die(const char *path)
{
    fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
    exit(EXIT_FAILURE);
}

/* The copy has exactly the size of the file, so that AddressSanitizer sees the first
 * byte beyond. */
static void replay_file(const char *path, size_t size)
{
    uint8_t *data = malloc(size);
    FILE *f = fopen(path, "rb");

    if (f == NULL || (data == NULL && size > 0))
        die(path);
    if (fread(data, 1, size, f) != size) {
        errno = EIO;
        die(path);
    }
    fclose(f);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    replayed++;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void replay(const char *path, int depth);

static void replay_directory(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, by_name);
    char child[4096];

    if (n == -1)
        die(path);
    for (int i = 0; i < n; i++) {
        int len = snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);

        if (len < 0 || (size_t)len >= sizeof(child)) {
            errno = ENAMETOOLONG;
            die(path);
        }
        if (entries[i]->d_name[0] != '.')
            replay(child, 1);
        free(entries[i]);
    }
    free(entries);
}

static void replay(const char *path, int depth)
{
    struct stat st;

    if (stat(path, &st) == -1)
        die(path);
    if (S_ISREG(st.st_mode))
        replay_file(path, (size_t)st.st_size);
    else if (S_ISDIR(st.st_mode) && depth == 0)
        replay_directory(path);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        replay(argv[i], 0);
    printf("replayed %zu inputs\n", replayed);
    return replayed == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
