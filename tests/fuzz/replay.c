/*
 * Runs a fuzz target on every file of the folders in argv, for builds without libFuzzer: 'make check' with gcc. Prints
 * how many inputs ran; none is a failure.
 */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Number of inputs run: 0 or 1; -1 when the file cannot be read. */
static int run_file(const char *path) {
    struct stat info;
    if (stat(path, &info) < 0 || !(S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))) {
        fprintf(stderr, "replay: %s cannot be read\n", path);
        return -1;
    }
    if (S_ISDIR(info.st_mode))
        return 0;
    /* Exactly as large as the input, so that AddressSanitizer sees a read past its end. */
    uint8_t *data = malloc(info.st_size ? (size_t)info.st_size : 1);
    FILE *file = fopen(path, "r");
    int result = -1;
    if (data && file && fread(data, 1, (size_t)info.st_size, file) == (size_t)info.st_size) {
        LLVMFuzzerTestOneInput(data, (size_t)info.st_size);
        result = 1;
    } else {
        fprintf(stderr, "replay: %s cannot be read\n", path);
    }
    if (file)
        fclose(file);
    free(data);
    return result;
}

/* Number of inputs run, -1 on failure. */
static int run_folder(const char *folder) {
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, NULL, alphasort), inputs = 0;
    if (n < 0) {
        perror(folder);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        free(entries[i]);
        int result = inputs < 0 ? 0 : run_file(path);
        inputs = result < 0 ? -1 : inputs + result;
    }
    free(entries);
    return inputs;
}

int main(int argc, char **argv) {
    int inputs = 0;
    for (int i = 1; i < argc; i++) {
        int n = run_folder(argv[i]);
        if (n < 0)
            return 1;
        inputs += n;
    }
    printf("%d inputs ran\n", inputs);
    return inputs ? 0 : 1;
}
