#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "cmd/common.h"

static const struct {
    const char *name, *about;
    int (*run)(int argc, char **argv);
} commands[] = {
        {"plan", "what would happen to every Job, when and why; changes nothing", cmd_plan},
        {"sweep", "one pass: record and delete what is due, then exit", cmd_sweep},
        {"run", "the controller: watch, record, delete", cmd_run},
        {"history", "the register of runs: list, show, verify", cmd_history},
        {"check", "is the configuration valid, and may I do here what it asks", cmd_check},
        {"version", "print the version", cmd_version},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *out) {
    fprintf(out, "Usage: sexton COMMAND [OPTIONS]\n\n"
                 "Records every Kubernetes Job that finishes, and deletes it when its time is up.\n\nCommands:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].about);
    fprintf(out, "\n'sexton COMMAND --help' tells more. Exit codes: 0 done, 1 failed, 2 usage or configuration.\n");
}

int cmd_version(int argc, char **argv) {
    (void)argv;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("Usage: sexton version\n\nPrints the version.\n");
        return EXIT_DONE;
    }
    if (argc > 1) {
        fprintf(stderr, "sexton version: unexpected argument '%s'\n", argv[1]);
        return EXIT_USAGE;
    }
    printf("sexton %s\n", SEXTON_VERSION);
    return EXIT_DONE;
}

/* Descriptors 0 to 2 open, so that no pipe or database lands on one of them and is written over by a message. */
static void open_standard_files(void) {
    for (int fd; (fd = open("/dev/null", O_RDWR)) >= 0;) {
        if (fd > STDERR_FILENO) {
            close(fd);
            return;
        }
    }
}

int main(int argc, char **argv) {
    open_standard_files();
    /* One heap for both threads: what one allocates and the other frees would else pile up in two. And give back what a
     * first list took. */
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_TRIM_THRESHOLD, 256 * 1024);
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (argc > 2 && (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0)) {
        static char help[] = "--help";
        char *swapped[] = {argv[2], help, NULL};
        for (size_t i = 0; i < COMMANDS; i++) {
            if (strcmp(commands[i].name, argv[2]) == 0)
                return commands[i].run(2, swapped);
        }
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return EXIT_DONE;
    }
    if (strcmp(name, "--version") == 0)
        name = "version";
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "sexton: unknown command '%s' (see 'sexton --help')\n", name);
    return EXIT_USAGE;
}
