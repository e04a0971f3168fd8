/* SPDX-License-Identifier: MIT */
/*
 * main() for a fuzz target outside the fuzz preset: feeds every file of a corpus folder to
 * LLVMFuzzerTestOneInput() once, so that what a fuzzer once found stays found in every build.
 *
 * An empty or missing corpus fails: a replay of nothing proves nothing.
 * Usage: PROGRAM CORPUS_FOLDER
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads a whole file; the caller frees *ret_data. */
static int read_file(const char *path, uint8_t **ret_data, size_t *ret_size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    struct stat status;
    if (fstat(fileno(file), &status) < 0 || !S_ISREG(status.st_mode)) {
        fclose(file);
        return -EINVAL;
    }
    size_t size = (size_t)status.st_size;
    uint8_t *data = malloc(size + 1); /* never malloc(0) */
    size_t got = data ? fread(data, 1, size, file) : 0;
    fclose(file);
    if (!data || got != size) {
        free(data);
        return data ? -EIO : -ENOMEM;
    }
    *ret_data = data;
    *ret_size = size;
    return 0;
}

/* The target gets a block of exactly its size, so that ASan sees a read one byte past it. */
static int replay(const char *path)
{
    uint8_t *data = NULL, *exact;
    size_t size = 0;
    int error = read_file(path, &data, &size);
    if (error)
        return error;
    exact = size ? realloc(data, size) : data;
    LLVMFuzzerTestOneInput(exact ? exact : data, size);
    free(exact ? exact : data);
    return 0;
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    int tested = 0, failing = 0;
    if (!folder) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER (which must exist)\n", argv[0]);
        return 2;
    }
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[PATH_MAX];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", argv[1], entry->d_name);
        int error = replay(path);
        if (error)
            fprintf(stderr, "%s: %s\n", path, strerror(-error));
        tested++;
        failing += error != 0;
    }
    closedir(folder);
    printf("Tested: %d | Failing: %d\n", tested, failing);
    return tested == 0 || failing ? 1 : 0;
}
